//! Servers that lie: a typed error that says what and who, in bounded time and memory.

use std::time::Duration;

use axum::body::Body;
use bytes::Bytes;
use futures_util::stream;
use http::Method;
use keybound_client::{Error, MetadataFault, PlainHttp, Registration};
use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use crate::support::{
    METADATA, Server, USE_NONCE, answer, key, metadata, token_response, with_issuer, with_token, world,
};
use crate::tokens::INVALID_TOKEN;

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

    // Metadata of a resource, and what a registration is answered.
    let server = Server::start(move |seen, _| match &*seen.target {
        "/r" => answer(401, &[("www-authenticate", "DPoP")], ""),
        _ => answer(200, &[], endless()),
    })
    .await;
    let client = key().discover(|_: &str| None).build().unwrap();
    let error = client.get(&server.url("/r")).send().await.unwrap_err();
    assert!(matches!(error, Error::TooLarge { .. }), "{error:?}");
    assert!(error.to_string().contains(&server.address.to_string()), "{error}");
    let server = Server::start(move |seen, _| match &*seen.target {
        METADATA => {
            let issuer = format!("http://{}", seen.field("host").unwrap());
            let mut metadata = metadata(&issuer);
            metadata["registration_endpoint"] = json!(format!("{issuer}/register"));
            answer(200, &[], metadata.to_string())
        }
        _ => answer(201, &[], endless()),
    })
    .await;
    let registration = Registration::native("job", ["http://127.0.0.1/back"]);
    let error = client.register(&server.url(""), &registration).await.unwrap_err();
    assert!(matches!(error, Error::TooLarge { .. }), "{error:?}");

    let server = Server::start(move |_, _| answer(200, &[], endless())).await;
    let response = with_token().build().unwrap().get(&server.url("/")).send().await.unwrap();
    assert!(matches!(response.bytes(1 << 20).await, Err(Error::TooLarge { .. })));
}

// R-NONCE-19: what nobody reads of a challenge keeps nobody waiting
#[tokio::test]
async fn a_challenge_without_end() {
    let endless = |pause: Duration| {
        Body::from_stream(stream::unfold((), move |()| async move {
            tokio::time::sleep(pause).await;
            Some((Ok::<_, std::convert::Infallible>(Bytes::from(vec![b' '; 4 << 10])), ()))
        }))
    };
    for pause in [Duration::ZERO, Duration::from_secs(60)] {
        let server = Server::start(move |seen, _| match seen.nonce() {
            None => answer(401, &[("www-authenticate", USE_NONCE), ("dpop-nonce", "n")], endless(pause)),
            Some(_) => answer(200, &[], "here"),
        })
        .await;
        let begun = std::time::Instant::now();
        let response = with_token().build().unwrap().get(&server.url("/")).send().await.unwrap();
        assert_eq!((response.status().as_u16(), response.tries()), (200, 2));
        assert!(begun.elapsed() < Duration::from_secs(10), "{pause:?}");
    }
}

// Whoever reads of it learns which server it was.
#[tokio::test]
async fn each_lie_is_told_with_its_teller() {
    type Lie = (u16, &'static [(&'static str, &'static str)], &'static str);
    let lies: [Lie; 8] = [
        (401, &[("www-authenticate", USE_NONCE), ("dpop-nonce", "n")], "nonce"), // for ever
        (401, &[("www-authenticate", USE_NONCE), ("dpop-nonce", "a"), ("dpop-nonce", "b")], "nonce"),
        (401, &[("www-authenticate", USE_NONCE), ("dpop-nonce", "a b")], "nonce"),
        (401, &[("www-authenticate", USE_NONCE)], "nonce"),
        (401, &[("www-authenticate", INVALID_TOKEN)], "invalid_token"),
        (302, &[("location", "https://elsewhere.example/")], "https://elsewhere.example"),
        (302, &[("location", "/a"), ("location", "/b")], "redirects without a usable Location"),
        (302, &[("location", "/")], "redirects in a row"),
    ];
    for (status, fields, what) in lies {
        let server = Server::start(move |_, _| answer(status, fields, "")).await;
        let error = with_token().build().unwrap().get(&server.url("/")).send().await.unwrap_err().to_string();
        assert!(error.contains(what) && error.contains(&server.address.to_string()), "{fields:?}: {error}");
        assert!(server.seen().len() <= 6, "{fields:?}");
    }
    for (token, what) in [
        (json!({"access_token": "t", "token_type": "Bearer"}), "not bound to a key"),
        (json!({"access_token": "t t", "token_type": "DPoP"}), "cannot be sent"),
        (json!({"token_type": "DPoP"}), "no access_token"),
        (json!([]), "not one JSON object"),
    ] {
        let token = token.to_string();
        let server = world(move |_, _| answer(200, &[], token.clone()), |_, _| answer(200, &[], "")).await;
        let error = with_issuer(&server.url("")).build().unwrap().token().await.unwrap_err().to_string();
        assert!(error.contains(what) && error.contains(&server.address.to_string()), "{error}");
    }
    // R-CLI-15: what stands in the quotes of another challenge is none of ours, and no error.
    let quoted = r#"Basic realm="x, DPoP error=\"use_dpop_nonce\"""#;
    let fields = [("www-authenticate", quoted), ("dpop-nonce", "n")];
    let server = Server::start(move |_, _| answer(401, &fields, "")).await;
    let response = with_token().build().unwrap().get(&server.url("/")).send().await.unwrap();
    assert_eq!((response.status().as_u16(), response.tries()), (401, 1));
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

/// A server that sends this, octet after octet, for as long as somebody reads.
async fn dripping(head: &'static str, drop: &'static str, pause: Duration) -> String {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            tokio::spawn(async move { drip(stream, head, drop, pause).await });
        }
    });
    url
}

/// Until nobody reads any more.
async fn drip(
    mut stream: tokio::net::TcpStream,
    head: &'static str,
    drop: &'static str,
    pause: Duration,
) -> std::io::Result<()> {
    if stream.read(&mut [0; 4096]).await? == 0 {
        return Ok(());
    }
    stream.write_all(head.as_bytes()).await?;
    loop {
        stream.write_all(drop.as_bytes()).await?;
        tokio::time::sleep(pause).await;
    }
}

// However the time goes by: before the head, within it, and with a body that never ends but for what is read whole.
#[tokio::test]
async fn slow_answers_have_their_time() {
    let pause = Duration::from_millis(20);
    let limit = Duration::from_millis(300);
    for (head, drop) in
        [("", "H"), ("HTTP/1.1 200 OK\r\n", "x-a: b\r\n"), ("HTTP/1.1 200 OK\r\ncontent-length: 60000\r\n\r\n", " ")]
    {
        let url = dripping(head, drop, pause).await;
        let begun = std::time::Instant::now();
        let error = with_issuer(&url).answer_timeout(limit).build().unwrap().token().await.unwrap_err();
        let Error::TokenRequest(why) = &error else { panic!("{head}: {error:?}") };
        assert!(matches!(**why, Error::Timeout { .. } | Error::Network { .. }), "{head}: {error:?}");
        assert!(begun.elapsed() < Duration::from_secs(10), "{head}");
    }
    // A resource may send for as long as it likes, but not fall silent.
    let url = dripping("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n", "a", Duration::from_secs(60)).await;
    let limit = Duration::from_secs(5);
    let mut response = with_token().answer_timeout(limit).build().unwrap().get(&url).send().await.unwrap();
    assert_eq!(response.chunk().await.unwrap().unwrap(), "a");
    assert!(matches!(response.chunk().await, Err(Error::Timeout { .. })));
}

// Fields without end: the connection is given up, and not all of the memory taken.
#[tokio::test]
async fn fields_without_end() {
    let line = "x-a: bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb\r\n";
    let url = dripping("HTTP/1.1 200 OK\r\n", line, Duration::ZERO).await;
    let error = with_token().build().unwrap().get(&url).send().await.unwrap_err();
    assert!(matches!(error, Error::Network { .. }), "{error:?}");
}

// R-NONCE-19, R-NONCE-20: the token endpoint demands nonces for ever, doubled, and malformed
#[tokio::test]
async fn an_issuer_that_is_never_content() {
    for (nonces, asked) in [(&["a"][..], 2), (&["a", "b"], 1), (&["a\"b"], 1), (&[""], 1), (&[], 1)] {
        let server = world(
            move |_, _| {
                let nonces: Vec<_> = nonces.iter().map(|nonce| ("dpop-nonce", *nonce)).collect();
                answer(400, &nonces, json!({"error": "use_dpop_nonce"}).to_string())
            },
            |_, _| answer(200, &[], ""),
        )
        .await;
        let error = with_issuer(&server.url("")).build().unwrap().token().await.unwrap_err();
        let Error::TokenRequest(why) = &error else { panic!("{nonces:?}: {error:?}") };
        assert!(matches!(**why, Error::TokenRefused { .. }), "{nonces:?}: {error:?}");
        assert!(error.to_string().contains("use_dpop_nonce"), "{error}");
        assert_eq!(server.count("/token"), asked, "{nonces:?}");
    }
}
