//! Servers that lie: a typed error that says what and who, in bounded time and memory.

use std::time::Duration;

use axum::body::Body;
use bytes::Bytes;
use futures_util::stream;
use http::Method;
use keybound_client::{Error, MetadataFault, PlainHttp};
use serde_json::json;

use crate::support::{METADATA, Server, answer, metadata, token_response, with_issuer, with_token, world};

// R-CLI-25
#[tokio::test]
async fn metadata_that_is_not_the_issuers() {
    type Change = fn(&mut serde_json::Value);
    let cases: [(&str, Change); 4] = [
        ("another issuer", |metadata| metadata["issuer"] = json!("https://id.example.com")),
        ("a slash more", |metadata| metadata["issuer"] = json!(format!("{}/", metadata["issuer"].as_str().unwrap()))),
        ("no token endpoint", |metadata| metadata["token_endpoint"] = json!(null)),
        ("plain http elsewhere", |metadata| metadata["token_endpoint"] = json!("http://id.example.com/token")),
    ];
    for (name, change) in cases {
        let server = Server::start(move |seen, _| {
            let mut metadata = metadata(&format!("http://{}", seen.field("host").unwrap()));
            change(&mut metadata);
            answer(200, &[], metadata.to_string())
        })
        .await;
        let error = with_issuer(&server.url("")).build().unwrap().token().await.unwrap_err();
        let Error::TokenRequest(why) = &error else { panic!("{name}: {error:?}") };
        assert!(matches!(**why, Error::Metadata { .. } | Error::PlainHttp(_)), "{name}: {error:?}");
        assert_eq!(server.count("/token"), 0, "{name}");
    }
}

#[tokio::test]
async fn metadata_that_is_not_there() {
    let server = Server::start(|_, _| answer(404, &[], "")).await;
    let error = with_issuer(&server.url("")).build().unwrap().token().await.unwrap_err();
    let Error::TokenRequest(why) = &error else { panic!("{error:?}") };
    assert!(matches!(**why, Error::Metadata { fault: MetadataFault::Absent { .. }, .. }), "{error:?}");
    assert_eq!(server.count(METADATA), 1);
}

// R-CLI-09, R-CLI-11
#[tokio::test]
async fn tokens_of_another_type() {
    for (body, bound) in [
        (json!({"access_token": "t", "token_type": "Bearer"}), false),
        (json!({"access_token": "t"}), false),
        (json!({"access_token": "t", "token_type": "dPoP"}), true),
        (json!({"access_token": "t", "token_type": ["DPoP"]}), false),
    ] {
        let server = world(
            {
                let body = body.clone();
                move |_, _| answer(200, &[], body.to_string())
            },
            |_, _| answer(200, &[], ""),
        )
        .await;
        let outcome = with_issuer(&server.url("")).build().unwrap().get(&server.url("/r")).send().await;
        assert_eq!(outcome.is_ok(), bound, "{body}: {outcome:?}");
        assert_eq!(server.count("/r"), usize::from(bound), "{body}");
    }
}

#[tokio::test]
async fn answers_without_end() {
    let endless = || {
        let piece = Bytes::from(vec![b' '; 64 << 10]);
        Body::from_stream(stream::repeat_with(move || Ok::<_, std::convert::Infallible>(piece.clone())))
    };
    let server = Server::start(move |_, _| answer(200, &[], endless())).await;
    let error = with_issuer(&server.url("")).build().unwrap().token().await.unwrap_err();
    let Error::TokenRequest(why) = &error else { panic!("{error:?}") };
    assert!(matches!(**why, Error::TooLarge { .. }), "{error:?}");

    let server = world(move |_, _| answer(200, &[], endless()), |_, _| answer(200, &[], "")).await;
    let error = with_issuer(&server.url("")).build().unwrap().token().await.unwrap_err();
    let Error::TokenRequest(why) = &error else { panic!("{error:?}") };
    assert!(matches!(**why, Error::TooLarge { .. }), "{error:?}");

    let server = Server::start(move |_, _| answer(200, &[], endless())).await;
    let response = with_token().build().unwrap().get(&server.url("/")).send().await.unwrap();
    assert!(matches!(response.bytes(1 << 20).await, Err(Error::TooLarge { .. })));
}

#[tokio::test]
async fn no_answer_at_all() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    let client = with_token().answer_timeout(Duration::from_millis(100)).build().unwrap();
    let error = client.get(&url).send().await.unwrap_err();
    assert!(matches!(error, Error::Timeout { .. }), "{error:?}");
    drop(listener);
    let error = client.get(&url).send().await.unwrap_err();
    assert!(matches!(error, Error::Network { .. }), "{error:?}");
}

// R-CLI-12
#[tokio::test]
async fn plain_http_is_for_loopback_and_by_leave() {
    let server = Server::start(|_, _| answer(200, &[], "")).await;
    let never = with_token().plain_http(PlainHttp::Never).build().unwrap();
    assert!(matches!(never.get(&server.url("/")).send().await, Err(Error::PlainHttp(_))));
    let client = with_token().build().unwrap();
    for url in ["http://api.example.com/", "http://127.0.0.1.example.com/", "http://10.0.0.1/"] {
        assert!(matches!(client.get(url).send().await, Err(Error::PlainHttp(_))), "{url}");
    }
    for url in ["api.example.com", "ftp://127.0.0.1/", "http://user@127.0.0.1/", "http://127.0.0.1\\@a/", ""] {
        assert!(matches!(client.get(url).send().await, Err(Error::Url)), "{url}");
    }
    assert_eq!(server.seen().len(), 0);
}

// R-CLI-20, R-SEC-13
#[tokio::test]
async fn nothing_secret_in_errors() {
    let server = world(
        |_, _| answer(400, &[], json!({"error": "invalid_client", "error_description": "no\u{1b}[31m"}).to_string()),
        |_, _| token_response("x", 1),
    )
    .await;
    let client = with_issuer(&server.url("")).build().unwrap();
    let error = client.request(Method::GET, &server.url("/r?secret=1")).send().await.unwrap_err();
    for text in [error.to_string(), format!("{error:?}"), format!("{client:?}")] {
        assert!(!text.contains("secret=1") && !text.contains("eyJ") && !text.contains('\u{1b}'), "{text}");
    }
}
