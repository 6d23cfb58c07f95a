//! The layer around a service of bare hyper, with an issuer behind a real socket.
#![cfg(feature = "discovery")]

#[path = "../examples/support/cast.rs"]
#[expect(dead_code, reason = "the examples use the rest")]
mod cast;
mod support;

use core::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use cast::{Client, Issuer, now};
use http::{Method, Request, Response};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper_util::rt::TokioIo;
use hyper_util::service::TowerToHyperService;
use keybound::crypto::AlgSet;
use keybound::crypto::aws_lc::AwsLc;
use keybound::replay::MemoryStore;
use keybound::request::{AccessToken, Origins};
use keybound::token::{Admission, TokenPolicy};
use keybound_tower::fetch::{Fetch as _, FetchError, HttpFetch, MAX_DOCUMENT};
use keybound_tower::{DiscoveredKeys, Policy, ProtectLayer, ResourceServer};
use support::send;
use tokio::net::TcpListener;
use tower::{Layer as _, Service, service_fn};

// ANCHOR: serve
/// Serves with hyper alone.
async fn serve<S, B>(listener: TcpListener, service: S)
where
    S: Service<Request<Incoming>, Response = Response<B>, Error = Infallible> + Clone + Send + 'static,
    S::Future: Send,
    B: http_body::Body<Data = Bytes, Error = Infallible> + Send + 'static,
{
    while let Ok((stream, _)) = listener.accept().await {
        let service = TowerToHyperService::new(service.clone());
        tokio::spawn(hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service));
    }
}
// ANCHOR_END: serve

async fn bind() -> (TcpListener, String) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let origin = format!("http://{}", listener.local_addr().unwrap());
    (listener, origin)
}

/// An issuer that serves metadata and keys, and counts how often.
async fn issuer(jwks: String) -> (String, Arc<AtomicUsize>) {
    let (listener, origin) = bind().await;
    let metadata = format!(r#"{{"issuer":"{origin}","jwks_uri":"{origin}/jwks"}}"#);
    let asked = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&asked);
    let pages = service_fn(move |request: Request<Incoming>| {
        count.fetch_add(1, Ordering::Relaxed);
        let page = match request.uri().path() {
            "/.well-known/openid-configuration" => Some(metadata.clone()),
            "/jwks" => Some(jwks.clone()),
            _ => None,
        };
        async move {
            let mut response = Response::new(Full::<Bytes>::from(page.clone().unwrap_or_default()));
            if page.is_none() {
                *response.status_mut() = http::StatusCode::NOT_FOUND;
            }
            Ok::<_, Infallible>(response)
        }
    });
    tokio::spawn(serve(listener, pages));
    (origin, asked)
}

// R-SEC-16, R-CLI-25
#[tokio::test]
async fn keys_by_discovery_and_a_service_of_hyper() {
    let (signer, client) = (Issuer::new().unwrap(), Client::new().unwrap());
    let (issuer, asked) = issuer(signer.jwks()).await;
    let (listener, origin) = bind().await;
    let keys = DiscoveredKeys::new(&issuer, Arc::new(AwsLc), AlgSet::ALL, Arc::new(HttpFetch::new())).unwrap();
    let origins = Origins::new(vec![origin.parse().unwrap()]).unwrap();
    let verifier = cast::verifier().unwrap().build().unwrap();
    let server: ResourceServer<MemoryStore> = ResourceServer::builder(verifier, origins, cast::replays(now()).unwrap())
        .issuer(TokenPolicy::new(&*issuer, [&*origin]), keys)
        .build()
        .unwrap();
    let inner = service_fn(async |request: Request<Incoming>| {
        let admission = request.extensions().get::<Admission>().unwrap();
        Ok::<_, Infallible>(Response::new(Full::<Bytes>::from(admission.subject().to_owned())))
    });
    tokio::spawn(serve(listener, ProtectLayer::new(server, Policy::required()).layer(inner)));

    let mut claims = Issuer::claims(&client, &origin, "", now());
    claims["iss"] = issuer.into();
    let token = signer.sign(&claims).unwrap();
    assert!(AccessToken::parse(&token).is_some());
    for _ in 0..3 {
        let proof = client.prove(&Method::GET, &origin, &token, None, now()).unwrap();
        let fields = [("authorization", &*format!("DPoP {token}")), ("dpop", &*proof)];
        let answer = send(Method::GET, &origin, &fields).await;
        assert_eq!((answer.status.as_u16(), &*answer.body), (200, "alice"));
    }
    assert_eq!(asked.load(Ordering::Relaxed), 3, "two places of metadata and the keys, once");
}

// R-SEC-16: bounded, not redirected, and told apart.
#[tokio::test]
async fn what_is_not_fetched() {
    let (listener, origin) = bind().await;
    let pages = service_fn(async |request: Request<Incoming>| {
        let octets = match request.uri().path() {
            "/exact" => MAX_DOCUMENT,
            "/more" => MAX_DOCUMENT + 1,
            _ => 0,
        };
        let mut response = Response::new(Full::<Bytes>::from(vec![b' '; octets]));
        if octets == 0 {
            *response.status_mut() = http::StatusCode::FOUND;
            response.headers_mut().insert("location", http::HeaderValue::from_static("/exact"));
        } else {
            let freshness = http::HeaderValue::from_static("public, max-age=120");
            response.headers_mut().insert("cache-control", freshness);
        }
        Ok::<_, Infallible>(response)
    });
    tokio::spawn(serve(listener, pages));
    let fetch = HttpFetch::new();
    let document = fetch.fetch(&format!("{origin}/exact")).await.unwrap();
    assert_eq!(document.body.len(), MAX_DOCUMENT);
    assert_eq!(document.max_age, Some(core::time::Duration::from_secs(120)));
    let error = fetch.fetch(&format!("{origin}/more")).await.unwrap_err();
    assert_eq!(error, FetchError::Oversized);
    let error = fetch.fetch(&format!("{origin}/elsewhere")).await.unwrap_err();
    assert_eq!(error, FetchError::Status(302));
    let error = fetch.fetch("http://127.0.0.1:1/").await.unwrap_err();
    assert!(matches!(error, FetchError::Unreachable(_)), "{error}");
}
