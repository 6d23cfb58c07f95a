//! Metadata, tokens, fields of answers.

use axum::body::Body;
use http::{Method, Request};
use keybound::crypto::aws_lc::{AwsLc, SoftwareKey};
use keybound::crypto::{Alg, AlgSet, Signer as _};
use keybound::jws::{decode_base64url, encode_base64url};
use keybound::nonce::Nonce;
use keybound::request::AccessToken;
use keybound::token::TokenPolicy;
use keybound::token::jwt::{KeySet, SignedJwt};
use keybound::verify::NoncePolicy;
use keybound_issuer::{Authentication, Client, GrantType};
use serde_json::{Value, json};

use super::support::{NOW, config, get, issuer, key, post, proof, send};

const ID: &str = "https://id.example.com";

// R-MD-01, R-MD-04: between host and path of the issuer; and nothing empty but the list that RFC 8414 demands.
#[tokio::test]
async fn metadata_is_where_clients_look() {
    for (url, path) in [
        (ID, "/.well-known/oauth-authorization-server"),
        ("https://id.example.com/tenant/one", "/.well-known/oauth-authorization-server/tenant/one"),
    ] {
        let issuer = issuer(config(url), NoncePolicy::Offer, AlgSet::ALL);
        let answer = send(&issuer, get(path)).await;
        assert_eq!((answer.status, &answer.body["issuer"]), (200, &json!(url)));
        assert_eq!(answer.headers["content-type"], "application/json");
        assert_eq!(answer.body["token_endpoint"], format!("{url}/token"));
        for (name, value) in answer.body.as_object().expect("an object") {
            assert!(name == "response_types_supported" || *value != json!([]), "{name}");
        }
    }
}

// R-AS-12, R-RS-27: the list in the metadata is the list that is enforced.
#[tokio::test]
async fn the_advertised_algorithms_are_the_accepted_ones() {
    let few = [Alg::Ed25519, Alg::Ps256].into_iter().collect();
    for (algs, names) in
        [(few, json!(["Ed25519", "PS256"])), (AlgSet::ALL, AlgSet::ALL.iter().map(Alg::name).collect::<Value>())]
    {
        let issuer = issuer(config(ID), NoncePolicy::Offer, algs);
        let answer = send(&issuer, get("/.well-known/oauth-authorization-server")).await;
        assert_eq!(answer.body["dpop_signing_alg_values_supported"], names);
        let answer = send(&issuer, post(Some(&proof(&key(), 1, None)), "")).await;
        let accepted = algs.contains(Alg::Es256);
        let expected = if accepted { (200, Value::Null) } else { (400, json!("alg.unsupported")) };
        assert_eq!((answer.status, answer.body["error_description"].clone()), expected);
    }
}

// R-AS-03, R-AS-04, R-AS-29, R-RS-18, R-MD-01: the published keys verify it, and all its claims are there.
#[tokio::test]
async fn a_token_says_what_it_must() {
    let issuer = issuer(config(ID), NoncePolicy::Offer, AlgSet::ALL);
    let jwks = send(&issuer, get("/jwks")).await.body.to_string();
    let keys = KeySet::read_strictly(jwks.as_bytes(), &AwsLc, AlgSet::ALL).expect("public keys for signatures");
    let key = key();
    let jkt = key.thumbprint().to_string();
    for (proof, token_type, cnf) in
        [(Some(proof(&key, 1, None)), "DPoP", json!({ "jkt": jkt })), (None, "Bearer", Value::Null)]
    {
        let answer = send(&issuer, post(proof.as_deref(), "&scope=orders:read")).await;
        assert_eq!((answer.status, answer.body["token_type"].as_str()), (200, Some(token_type)));
        let token = answer.body["access_token"].as_str().expect("a token");
        let header = decode_base64url(token.split('.').next().expect("a header")).expect("base64url");
        assert_eq!(serde_json::from_slice::<Value>(&header).expect("JSON")["typ"], "at+jwt");
        let jwt = SignedJwt::parse(AccessToken::parse(token).expect("a token68")).expect("a JWT");
        let (facts, _) = jwt.verify(&keys).expect("signed by a published key");
        assert!(facts.judge(&TokenPolicy::new(ID, ["https://api.example.com"]), NOW).is_ok());
        let claims = Value::Object(facts.claims().clone());
        for name in ["iss", "exp", "aud", "sub", "client_id", "iat", "jti"] {
            assert!(!claims[name].is_null(), "{name}");
        }
        assert_eq!((&claims["scope"], &claims["cnf"]), (&json!("orders:read"), &cnf));
    }
}

// R-AS-28, R-AS-31, R-NONCE-02, R-RS-29: whatever the answer is.
#[tokio::test]
async fn every_answer_of_the_token_endpoint() {
    let issuer = issuer(config(ID), NoncePolicy::Offer, AlgSet::ALL);
    let key = key();
    let used = proof(&key, 3, None);
    for (status, request) in [
        (200, post(None, "")),
        (200, post(Some(&proof(&key, 1, None)), "")),
        (200, post(Some(&used), "")),
        (400, post(Some(&used), "")),
        (400, post(Some("a.b.c"), "")),
        (400, post(None, "&scope=admin")),
        (400, post(None, "&client_id=other")),
        (
            401,
            Request::post("/token")
                .header("host", "id.example.com")
                .header("content-type", "application/x-www-form-urlencoded")
                .body(Body::from("grant_type=client_credentials&client_id=app&client_secret=wrong"))
                .expect("a request"),
        ),
    ] {
        let answer = send(&issuer, request).await;
        assert_eq!(answer.status, status, "{answer:?}");
        assert_eq!(answer.headers["cache-control"], "no-store");
        assert!(answer.headers.get_all("dpop-nonce").iter().count() <= 1);
        let exposed = answer.headers["access-control-expose-headers"].to_str().expect("text");
        assert!(exposed.contains("DPoP-Nonce") && exposed.contains("WWW-Authenticate"), "{exposed}");
        // R-ERR-15: never a challenge of DPoP.
        let challenged = answer.headers.get_all("www-authenticate").iter();
        assert!(challenged.into_iter().all(|value| !value.as_bytes().starts_with(b"DPoP")));
    }
    let preflight = Request::builder().method(Method::OPTIONS).uri("/token").header("host", "id.example.com");
    let answer = send(&issuer, preflight.body(Body::empty()).expect("a request")).await;
    assert!((200..300).contains(&answer.status));
    let allowed = answer.headers["access-control-allow-headers"].to_str().expect("text");
    assert!(allowed.contains("DPoP") && allowed.contains("Authorization"), "{allowed}");
}

// R-NONCE-01, R-NONCE-06, R-NONCE-21: a parameter of the name that OpenID Connect uses is not the nonce of the proof.
#[tokio::test]
async fn the_nonce_is_in_the_proof_alone() {
    let issuer = issuer(config(ID), NoncePolicy::Require, AlgSet::ALL);
    let key = key();
    let challenged = send(&issuer, post(Some(&proof(&key, 1, None)), "")).await;
    assert_eq!((challenged.status, &challenged.body["error"]), (400, &json!("use_dpop_nonce")));
    let nonce = challenged.headers["dpop-nonce"].to_str().expect("text").to_owned();
    let in_form = send(&issuer, post(Some(&proof(&key, 2, None)), &format!("&nonce={nonce}"))).await;
    assert_eq!((in_form.status, &in_form.body["error"]), (400, &json!("use_dpop_nonce")));
    let nonce = Nonce::parse(&nonce).expect("a nonce");
    let both = send(&issuer, post(Some(&proof(&key, 3, Some(&nonce))), "&nonce=n-0S6_WzA2Mj")).await;
    assert_eq!(both.status, 200);
}

// R-SEC-18, R-AS-27: the key a client authenticates with vouches for no proof, and a proof for no client.
#[tokio::test]
async fn the_key_of_an_assertion_is_not_the_key_of_the_proof() {
    let (own, holder) = (key(), key());
    let set =
        json!({ "keys": [serde_json::from_str::<Value>(&own.public_jwk().to_json()).expect("JSON")] }).to_string();
    let keys = KeySet::read_strictly(set.as_bytes(), &AwsLc, AlgSet::ALL).expect("a key set");
    let client = Client::new("job", Authentication::PrivateKeyJwt(keys)).grant_type(GrantType::ClientCredentials);
    let issuer = issuer(config(ID).client(client.dpop_bound_access_tokens()), NoncePolicy::Offer, AlgSet::ALL);
    let ask = |assertion: &str, proof: &str| {
        let kind = "urn%3Aietf%3Aparams%3Aoauth%3Aclient-assertion-type%3Ajwt-bearer";
        let body = format!(
            "grant_type=client_credentials&client_assertion_type={kind}&client_assertion={assertion}&client_id=job"
        );
        Request::post("/token")
            .header("host", "id.example.com")
            .header("content-type", "application/x-www-form-urlencoded")
            .header("dpop", proof)
            .body(Body::from(body))
            .expect("a request")
    };
    // Signed by the key of the proof, which is nobody's credential.
    let forged = send(&issuer, ask(&assertion(&holder, "1"), &proof(&holder, 1, None))).await;
    assert_eq!((forged.status, &forged.body["error"]), (401, &json!("invalid_client")));
    let issued = send(&issuer, ask(&assertion(&own, "2"), &proof(&holder, 2, None))).await;
    assert_eq!(issued.status, 200, "{issued:?}");
    let token = issued.body["access_token"].as_str().expect("a token");
    let claims = decode_base64url(token.split('.').nth(1).expect("claims")).expect("base64url");
    let claims: Value = serde_json::from_slice(&claims).expect("JSON");
    assert_eq!(claims["cnf"]["jkt"], holder.thumbprint().to_string());
}

fn assertion(key: &SoftwareKey, jti: &str) -> String {
    let part = |value: &Value| encode_base64url(value.to_string().as_bytes());
    let now = NOW.as_secs();
    let claims = json!({ "iss": "job", "sub": "job", "aud": ID, "jti": jti, "iat": now, "exp": now + 60 });
    let signed = format!("{}.{}", part(&json!({ "alg": "ES256" })), part(&claims));
    format!("{signed}.{}", encode_base64url(&key.sign(signed.as_bytes()).expect("a signature")))
}
