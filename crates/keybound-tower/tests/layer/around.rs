//! Around the decision: browsers, rewritten targets, layers outside, mistakes in the settings.

use super::*;

#[tokio::test]
async fn the_reason_rides_in_the_answer() {
    let scene = Scene::new();
    let layer = ProtectLayer::new(scene.server.clone(), Policy::required());
    let inner = service_fn(async |_: Request<Empty<Bytes>>| Ok::<_, Infallible>(Response::new(Empty::<Bytes>::new())));
    let response = layer.layer(inner).oneshot(request(&[])).await.unwrap();
    let denial = response.extensions().get::<Denial>().unwrap();
    assert_eq!(denial, &Denial::from(Reason::CredentialsMissing));
}

// R-URI-08, R-URI-10
#[tokio::test]
async fn the_target_is_what_the_client_aimed_at() {
    let scene = Scene::new();
    let token = scene.token();
    let layer = ProtectLayer::new(scene.server.clone(), Policy::required());
    let inner = service_fn(async |request: Request<Empty<Bytes>>| {
        let path = request.uri().to_string();
        Ok::<_, Infallible>(Response::new(Full::<Bytes>::from(path)))
    });
    let stripped = |layer: ProtectLayer<MemoryStore>| {
        let mut request = request(&dpop(&token, &scene.proof(&token)).fields());
        let original = core::mem::replace(request.uri_mut(), "/".parse().unwrap());
        request.extensions_mut().insert(original);
        async move { Answer::read(layer.layer(inner).oneshot(request).await.unwrap()).await }
    };
    assert_eq!(stripped(layer.clone()).await.reason(), "htu.mismatch");
    let answer = stripped(layer.target(|parts| parts.extensions.get().cloned())).await;
    assert_eq!((answer.status.as_u16(), &*answer.body), (200, "/"), "the service sees what it saw before");

    let two_hosts = scene.ask(&Policy::required(), &[("host", "api.example.com")]).await;
    assert_eq!((two_hosts.status.as_u16(), two_hosts.reason()), (400, "host.invalid"));
}

// R-RS-28
#[tokio::test]
async fn preflight_without_a_proof_and_exposure_always() {
    let scene = Scene::new();
    let token = scene.token();
    let layer = ProtectLayer::new(scene.server.clone(), Policy::required());
    let page = ("origin", "https://app.example");
    for fields in [&[page][..], &[page, ("authorization", "DPoP x")], &dpop(&token, &scene.proof(&token)).fields()[..]]
    {
        let answer = ask(&layer, fields).await;
        assert_eq!(answer.line("access-control-expose-headers"), "WWW-Authenticate, DPoP-Nonce");
        assert_eq!(answer.line("access-control-allow-origin"), "*");
    }

    let inner = service_fn(async |_: Request<Empty<Bytes>>| {
        let mut response = Response::new(Full::<Bytes>::from("inner"));
        *response.status_mut() = http::StatusCode::ACCEPTED;
        Ok::<_, Infallible>(response)
    });
    let preflight = |layer: ProtectLayer<MemoryStore>, surplus: Option<(&'static str, &'static str)>| {
        let mut request = request(&[page, ("access-control-request-method", "PUT")]);
        *request.method_mut() = Method::OPTIONS;
        if let Some((name, value)) = surplus {
            request.headers_mut().insert(name, value.parse().unwrap());
        }
        async move { Answer::read(layer.layer(inner).oneshot(request).await.unwrap()).await }
    };
    let here = preflight(layer.clone(), None).await;
    assert_eq!(here.status, 204);
    assert!(here.line("access-control-allow-headers").starts_with("Authorization, DPoP"));
    let by_inner = preflight(layer.clone().cors(Cors::any().preflight(Preflight::Inner)), None).await;
    assert_eq!((by_inner.status.as_u16(), &*by_inner.body), (202, "inner"));
    let with_credentials = preflight(layer, Some(("authorization", "DPoP x"))).await;
    assert_eq!(with_credentials.status, 401, "no preflight has credentials");
}

#[test]
fn every_mistake_in_the_settings_at_once() {
    let scene = Scene::new();
    let verifier = cast::verifier().unwrap().build().unwrap();
    let origins = keybound::request::Origins::new(vec![ORIGIN.parse().unwrap()]).unwrap();
    let none: [&str; 0] = [];
    let errors = ResourceServer::builder(verifier, origins, cast::replays(START).unwrap())
        .issuer(TokenPolicy::new("https://a.example", none), scene.keys.clone())
        .issuer(TokenPolicy::new("https://a.example", ["x"]), scene.keys.clone())
        .resource_metadata("nowhere")
        .build()
        .unwrap_err();
    assert_eq!(errors.iter().count(), 3, "{errors}");
    assert_eq!(errors.to_string().lines().count(), 3);
}
