//! Keys: which one is used, when it changes, and what a server's clock and list of algorithms have to do with it.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use keybound::crypto::aws_lc::SoftwareKey;
use keybound::crypto::{Alg, Signer as _, SigningFailed};
use keybound::jwk::PublicJwk;
use keybound_client::files::TokenFiles;
use keybound_client::{Access, AsyncSigner, Client, Error, Key, PlainHttp, Secret, Signing, Token};
use serde_json::json;

use crate::support::{
    METADATA, Server, USE_NONCE, answer, challenge, key, metadata, part, token_response, with_token, world,
};

fn software(alg: Alg) -> Arc<SoftwareKey> {
    Arc::new(SoftwareKey::generate(alg).unwrap())
}

fn alg(seen: &crate::support::Seen) -> String {
    part(seen.field("dpop").unwrap(), 0)["alg"].as_str().unwrap().to_owned()
}

// R-CLI-13: of several keys, the first that the issuer takes
#[tokio::test]
async fn the_key_is_one_the_issuer_takes() {
    let server = world(|_, _| token_response("t", 300), |_, _| answer(200, &[], "")).await; // takes ES256 alone
    let first = software(Alg::Ed25519);
    let client = Client::builder(Arc::clone(&first))
        .or_key(software(Alg::Es256))
        .plain_http(PlainHttp::Loopback)
        .access(Access::client_credentials(server.url(""), "job"))
        .build()
        .unwrap();
    client.get(&server.url("/r")).send().await.unwrap();
    for seen in server.seen().iter().filter(|seen| seen.target != METADATA) {
        assert_eq!(alg(seen), "ES256");
    }
    let client = Client::builder(first).plain_http(PlainHttp::Loopback);
    let client = client.access(Access::client_credentials(server.url(""), "job")).build().unwrap();
    let error = client.token().await.unwrap_err();
    let Error::TokenRequest(why) = &error else { panic!("{error:?}") };
    assert!(matches!(**why, Error::NoCommonAlg { .. }), "{error:?}");
    assert_eq!(server.count("/token"), 1, "nothing is sent that cannot be accepted");
}

// R-CLI-13: the algs of a challenge lead to a token of another key
#[tokio::test]
async fn a_resource_that_takes_another_algorithm_gets_another_token() {
    let server = Server::start(|seen, _| match &*seen.target {
        METADATA => {
            let mut metadata = metadata(&format!("http://{}", seen.field("host").unwrap()));
            metadata["dpop_signing_alg_values_supported"] = json!(["Ed25519", "ES256"]);
            answer(200, &[], metadata.to_string())
        }
        "/token" => token_response(&alg(seen), 300),
        _ if alg(seen) == "ES256" => answer(200, &[], ""),
        _ => challenge(r#"DPoP error="invalid_token", algs="ES256 PS256""#, &[]),
    })
    .await;
    let client = Client::builder(software(Alg::Ed25519))
        .or_key(software(Alg::Es256))
        .plain_http(PlainHttp::Loopback)
        .access(Access::client_credentials(server.url(""), "job"))
        .build()
        .unwrap();
    let response = client.get(&server.url("/r")).send().await.unwrap();
    assert_eq!((response.status().as_u16(), response.tries()), (200, 2));
    assert_eq!(client.get(&server.url("/r")).send().await.unwrap().tries(), 1);
    assert_eq!(server.count("/token"), 2);
}

// R-CLI-11: a bound token as bearer only where that was said, for that origin alone
#[tokio::test]
async fn bearer_by_explicit_leave_alone() {
    let script = |seen: &crate::support::Seen, _: usize| match seen.field("authorization") {
        Some("Bearer tok.en") if seen.field("dpop").is_none() => answer(200, &[], ""),
        _ => challenge(r#"Bearer realm="old""#, &[]),
    };
    let (old, other) = (Server::start(script).await, Server::start(script).await);
    let client = with_token().build().unwrap();
    assert_eq!(client.get(&old.url("/")).send().await.unwrap().status(), 401);
    assert_eq!(old.seen().len(), 1);

    let client = with_token().danger_bearer_at(old.url("")).build().unwrap();
    let response = client.get(&old.url("/")).send().await.unwrap();
    assert_eq!((response.status().as_u16(), response.tries()), (200, 2));
    assert_eq!(client.get(&old.url("/")).send().await.unwrap().tries(), 1, "it is remembered");
    let response = client.get(&other.url("/")).send().await.unwrap();
    assert_eq!((response.status().as_u16(), response.tries()), (401, 1));
}

// R-CLI-11: never where the server asks for proofs
#[tokio::test]
async fn no_bearer_where_proofs_are_asked_for() {
    let server = Server::start(|_, _| challenge(r#"Bearer, DPoP algs="ES256""#, &[])).await;
    let client = with_token().danger_bearer_at(server.url("")).build().unwrap();
    assert_eq!(client.get(&server.url("/")).send().await.unwrap().status(), 401);
    assert!(server.seen().iter().all(|seen| seen.field("authorization") == Some("DPoP tok.en")));
}

// R-CLI-09: an unbound token is kept only by leave, and sent as what it is
#[tokio::test]
async fn unbound_tokens_by_explicit_leave_alone() {
    let server = world(
        |_, _| answer(200, &[], json!({"access_token": "t", "token_type": "bearer", "expires_in": 300}).to_string()),
        |_, _| answer(200, &[], ""),
    )
    .await;
    let access = || Access::client_credentials(server.url(""), "job");
    assert!(key().access(access()).build().unwrap().get(&server.url("/r")).send().await.is_err());
    assert_eq!(server.count("/r"), 0);
    key().access(access()).danger_accept_unbound().build().unwrap().get(&server.url("/r")).send().await.unwrap();
    let sent = server.seen().pop().unwrap();
    assert_eq!((sent.field("authorization"), sent.field("dpop")), (Some("Bearer t"), None));
}

// R-CLI-19: the offset is learnt with the challenge, is bounded, and stays with its server
#[tokio::test]
async fn a_clock_that_is_off_is_corrected_for_its_server() {
    let date = |offset: i64| {
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs();
        let time = SystemTime::UNIX_EPOCH + Duration::from_secs(now.checked_add_signed(offset).unwrap());
        httpdate::fmt_http_date(time)
    };
    for (offset, followed) in [(1200, true), (-1200, true), (40 * 24 * 3600, false)] {
        let server = Server::start(move |seen, _| {
            let date = date(offset);
            let demand: &[_] = &[("www-authenticate", USE_NONCE), ("dpop-nonce", "n"), ("date", &date)];
            if seen.nonce().is_none() { answer(401, demand, "") } else { answer(200, &[("date", &date)], "") }
        })
        .await;
        let other = Server::start(|_, _| answer(200, &[], "")).await;
        let client = with_token().build().unwrap();
        assert_eq!(client.get(&server.url("/")).send().await.unwrap().tries(), 2);
        client.get(&other.url("/")).send().await.unwrap();
        let iat = |seen: &crate::support::Seen| seen.proof()["iat"].as_i64().unwrap();
        let seen = server.seen();
        let moved = iat(&seen[1]) - iat(&seen[0]);
        let expected = if followed { offset } else { 0 };
        assert!((moved - expected).abs() <= 60, "{offset}: moved by {moved}");
        assert!((iat(&other.seen()[0]) - iat(&seen[0])).abs() <= 60, "another server has a clock of its own");
    }
}

/// Signs when its turn comes, as a service does.
#[derive(Debug)]
struct Service(SoftwareKey);

impl AsyncSigner for Service {
    fn alg(&self) -> Alg {
        self.0.alg()
    }

    fn public_jwk(&self) -> &PublicJwk {
        self.0.public_jwk()
    }

    fn sign<'s>(&'s self, message: &'s [u8]) -> Signing<'s> {
        Box::pin(async move {
            tokio::task::yield_now().await;
            self.0.sign(message)
        })
    }
}

/// A service that is away.
#[derive(Debug)]
struct Away(SoftwareKey);

impl AsyncSigner for Away {
    fn alg(&self) -> Alg {
        self.0.alg()
    }

    fn public_jwk(&self) -> &PublicJwk {
        self.0.public_jwk()
    }

    fn sign<'s>(&'s self, _: &'s [u8]) -> Signing<'s> {
        Box::pin(async { Err(SigningFailed::new("the service does not answer")) })
    }
}

#[tokio::test]
async fn keys_behind_a_service_sign_when_asked() {
    let server = world(|_, _| token_response("t", 300), |_, _| answer(200, &[], "")).await;
    let access = || Access::client_credentials(server.url(""), "job");
    let remote = Key::remote(Service(SoftwareKey::generate(Alg::Es256).unwrap()));
    let client = Client::builder(remote).plain_http(PlainHttp::Loopback).access(access()).build().unwrap();
    assert_eq!(client.get(&server.url("/r")).send().await.unwrap().status(), 200);
    let away = Key::remote(Away(SoftwareKey::generate(Alg::Es256).unwrap()));
    let client = Client::builder(away).plain_http(PlainHttp::Loopback).token(Token::new("t").unwrap()).build().unwrap();
    let error = client.get(&server.url("/r")).send().await.unwrap_err();
    assert_eq!(error.to_string(), "signing failed: the service does not answer");
}

// A new key for new tokens, while the old one finishes.
#[tokio::test]
async fn a_new_key_waits_for_the_next_token() {
    let server = world(
        |_, before| token_response(&format!("t{before}"), 300),
        |seen, _| match seen.field("authorization") {
            Some("DPoP t0") if seen.target == "/gone" => challenge(r#"DPoP error="invalid_token""#, &[]),
            _ => answer(200, &[], ""),
        },
    )
    .await;
    let client = key().access(Access::client_credentials(server.url(""), "job")).build().unwrap();
    let old = client.jkt();
    client.get(&server.url("/r")).send().await.unwrap();
    client.rotate(software(Alg::Es256)).unwrap();
    assert_ne!(client.jkt(), old);
    client.get(&server.url("/r")).send().await.unwrap();
    client.get(&server.url("/gone")).send().await.unwrap();
    let used = |seen: &crate::support::Seen| {
        let jwk = part(seen.field("dpop").unwrap(), 0)["jwk"].to_string();
        (seen.field("authorization").unwrap().to_owned(), PublicJwk::from_json(jwk.as_bytes()).unwrap().thumbprint())
    };
    let seen: Vec<_> = server.seen().iter().filter(|seen| ["/r", "/gone"].contains(&&*seen.target)).map(used).collect();
    let new = client.jkt();
    let expected = [("DPoP t0", old), ("DPoP t0", old), ("DPoP t0", old), ("DPoP t1", new)];
    assert_eq!(seen, expected.map(|(token, jkt)| (token.to_owned(), jkt)));
}

// R-CLI-08: the refresh token of a public client stays with its key, and is not sent with another
#[tokio::test]
async fn a_refresh_token_keeps_its_key() {
    let server = world(
        |_, before| {
            let body = json!({
                "access_token": format!("t{before}"),
                "token_type": "DPoP",
                "expires_in": 0, // so that each request needs a new one
                "refresh_token": format!("r{before}"),
            });
            answer(200, &[], body.to_string())
        },
        |_, _| answer(200, &[], ""),
    )
    .await;
    let owner = software(Alg::Es256);
    let access = || Access::refresh_bound(server.url(""), "app", Secret::new("r"), owner.thumbprint());
    let client = Client::builder(Arc::clone(&owner)).plain_http(PlainHttp::Loopback).access(access()).build().unwrap();
    client.get(&server.url("/r")).send().await.unwrap();
    client.rotate(software(Alg::Es256)).unwrap();
    client.get(&server.url("/r")).send().await.unwrap();
    let asked: Vec<_> = server.seen().into_iter().filter(|seen| seen.target == "/token").collect();
    assert_eq!(asked.len(), 2);
    for (seen, refresh) in asked.iter().zip(["refresh_token=r&", "refresh_token=r0&"]) {
        assert!(format!("{}&", seen.body).contains(refresh), "{}", seen.body);
        let jwk = part(seen.field("dpop").unwrap(), 0)["jwk"].to_string();
        assert_eq!(PublicJwk::from_json(jwk.as_bytes()).unwrap().thumbprint(), owner.thumbprint());
    }

    let client = key().access(access()).build().unwrap();
    let error = client.token().await.unwrap_err();
    let Error::TokenRequest(why) = &error else { panic!("{error:?}") };
    assert!(matches!(**why, Error::KeyGone(jkt) if jkt == owner.thumbprint()), "{error:?}");
    assert_eq!(server.count("/token"), 2, "nothing was sent");
}

// R-CLI-08: a session that is kept goes on with its key after the key was replaced, and a new one is of the new key
#[tokio::test]
async fn a_session_that_is_kept_stays_with_its_former_key() {
    let server = world(
        |_, before| {
            let body = json!({
                "access_token": format!("t{before}"),
                "token_type": "DPoP",
                "expires_in": 0, // so that each request needs a new one
                "refresh_token": format!("r{before}"),
            });
            answer(200, &[], body.to_string())
        },
        |_, _| answer(200, &[], ""),
    )
    .await;
    let folder = tempfile::tempdir().unwrap();
    let files = Arc::new(TokenFiles::new(folder.path()));
    let (old, new) = (software(Alg::Es256), software(Alg::Es256));
    let client = |key: &Arc<SoftwareKey>, former: &[&Arc<SoftwareKey>]| {
        let access = Access::refresh(server.url(""), "app", Secret::new("r"));
        let builder = Client::builder(Arc::clone(key)).plain_http(PlainHttp::Loopback).access(access);
        let builder = builder.store(Arc::<TokenFiles>::clone(&files));
        former.iter().fold(builder, |builder, key| builder.former_key(Arc::clone(key))).build().unwrap()
    };
    client(&old, &[]).get(&server.url("/r")).send().await.unwrap();
    let later = client(&new, &[&old]);
    later.get(&server.url("/r")).send().await.unwrap();
    assert_eq!((later.jkt(), later.token_and_key().await.unwrap().1), (new.thumbprint(), old.thumbprint()));
    let asked = || server.seen().into_iter().filter(|seen| seen.target == "/token");
    for (seen, refresh) in asked().zip(["refresh_token=r&", "refresh_token=r0&", "refresh_token=r1&"]) {
        assert!(format!("{}&", seen.body).contains(refresh), "{}", seen.body);
        let jwk = part(seen.field("dpop").unwrap(), 0)["jwk"].to_string();
        assert_eq!(PublicJwk::from_json(jwk.as_bytes()).unwrap().thumbprint(), old.thumbprint());
    }
    assert_eq!(asked().count(), 3);

    // Without it nothing of the session is touched.
    client(&new, &[]).get(&server.url("/r")).send().await.unwrap();
    let last = asked().last().unwrap();
    assert!(format!("{}&", last.body).contains("refresh_token=r&"), "{}", last.body);
}
