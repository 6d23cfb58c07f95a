//! The values that the specifications give themselves: `vectors/spec`.
#![expect(clippy::disallowed_methods, reason = "tests read the project's own files")]

use std::fs;
use std::path::Path;
use std::sync::Arc;

use http::{HeaderMap, HeaderValue, Method, Request};
use keybound::authorization_server::AuthorizationServer;
use keybound::challenge::{DPOP, DPOP_NONCE, DpopChallenge, ErrorCode, NonceField, nonce_of, parse_challenges};
use keybound::crypto::aws_lc::AwsLc;
use keybound::crypto::{Alg, Crypto as _};
use keybound::jwk::PublicJwk;
use keybound::jws::{decode_base64url, encode_base64url};
use keybound::nonce::{Nonce, NonceKey, StatelessNonces};
use keybound::proof::{ParsedProof, TYP, decode_for_display};
use keybound::refusal::Reason;
use keybound::replay::Epoch;
use keybound::request::{AccessToken, Origin, Presented, ProofField, TargetUri};
use keybound::time::UnixTime;
use keybound::token::jwt::SignedJwt;
use keybound::verify::Verifier;
use serde_json::Value;

/// The files used here.
pub(crate) const USED: [&str; 11] = [
    "ath.json",
    "authorization-header.json",
    "base64url.json",
    "jwk-thumbprints.json",
    "jws-signatures.json",
    "nonce.json",
    "registered-names.json",
    "rfc9449-access-token.json",
    "rfc9449-proofs.json",
    "token68.json",
    "www-authenticate.json",
];

/// `request/uri/tests.rs` has the one. The other is of PKCE, which no endpoint of ours takes part in yet.
pub(crate) const USED_ELSEWHERE: [&str; 2] = ["pkce.json", "uri-normalization.json"];

fn spec(name: &str) -> Value {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../vectors/spec").join(name);
    serde_json::from_slice(&fs::read(path).expect("a file of the specifications")).expect("JSON")
}

fn list(value: &Value) -> &[Value] {
    value.as_array().expect("a list")
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_else(|| panic!("{value} is no string"))
}

fn texts(value: &Value) -> Vec<&str> {
    list(value).iter().map(text).collect()
}

fn verifier() -> Verifier {
    let nonces = StatelessNonces::new(NonceKey::new(1, [7; 32]));
    Verifier::builder(Arc::new(AwsLc), Arc::new(nonces)).build().expect("the defaults hold together")
}

// R-TOK-04
#[test]
fn hashes_of_access_tokens() {
    for case in list(&spec("ath.json")["cases"]) {
        let token = AccessToken::parse(text(&case["access_token"])).expect("a token68");
        assert_eq!(encode_base64url(&token.hash()), text(&case["ath"]), "{}", case["id"]);
    }
}

// R-RS-01, R-RS-02
#[test]
fn credentials() {
    let origin: Origin = "https://resource.example.org".parse().expect("an origin");
    for case in list(&spec("authorization-header.json")["cases"]) {
        let mut request = Request::new(());
        let lines =
            case["field_lines"].as_array().map_or_else(|| vec![&case["field_value"]], |lines| lines.iter().collect());
        for line in lines {
            let value = HeaderValue::from_str(text(line)).expect("a field value");
            request.headers_mut().append("authorization", value);
        }
        request.headers_mut().insert(&DPOP, HeaderValue::from_static("a.b.c"));
        let (parts, ()) = request.into_parts();
        match Presented::read(&parts, &origin) {
            Ok(presented) => assert_eq!(presented.access_token().secret(), text(&case["token"]), "{case}"),
            Err(refusal) => {
                assert_eq!(case["malformed"], true, "{case}: {refusal}");
                let expected = match case["error"].as_str() {
                    Some("invalid_request") => Reason::CredentialsRepeated,
                    _ => Reason::CredentialsMalformed,
                };
                assert_eq!(refusal.reason(), expected, "{case}");
            }
        }
    }
}

// R-PRF-06, R-PRF-07
#[test]
fn base64url() {
    let spec = spec("base64url.json");
    for case in list(&spec["decode_ok"]) {
        let octets = decode_base64url(text(&case["text"])).unwrap_or_else(|_| panic!("{case}"));
        let hex: String = octets.iter().map(|octet| format!("{octet:02x}")).collect();
        assert_eq!(hex, text(&case["hex"]));
        assert_eq!(encode_base64url(&octets), text(&case["text"]));
    }
    for case in list(&spec["decode_fail"]) {
        assert!(decode_base64url(text(&case["text"])).is_err(), "{case}");
    }
}

// R-TOK-01, R-TOK-02, R-PRF-21
#[test]
fn thumbprints() {
    for case in list(&spec("jwk-thumbprints.json")["cases"]) {
        let jwk = PublicJwk::from_json(case["jwk"].to_string().as_bytes()).unwrap_or_else(|_| panic!("{case}"));
        assert_eq!(jwk.to_json(), text(&case["canonical_json"]), "{}", case["id"]);
        assert_eq!(jwk.thumbprint().to_string(), text(&case["thumbprint"]), "{}", case["id"]);
    }
}

// R-PRF-13, R-PRF-23
#[test]
fn signatures() {
    for case in list(&spec("jws-signatures.json")["cases"]) {
        let (input, signature) = text(&case["jws"]).rsplit_once('.').expect("a compact JWS");
        let alg = Alg::from_name(text(&case["alg"]));
        let verifies = alg.is_some_and(|alg| {
            let jwk = PublicJwk::from_json(case["jwk"].to_string().as_bytes()).expect("a public key");
            let signature = decode_base64url(signature).expect("base64url");
            let key = AwsLc.prepare(&jwk, alg).expect("a good key");
            key.verify(input.as_bytes(), &signature).is_ok()
        });
        assert_eq!(verifies, case["valid"].as_bool() == Some(true) && alg.is_some(), "{}", case["id"]);
    }
}

// R-NONCE-03, R-NONCE-01
#[test]
fn nonces_and_their_challenges() {
    let spec = spec("nonce.json");
    for case in list(&spec["valid"]) {
        let nonce = Nonce::parse(text(&case["nonce"])).unwrap_or_else(|| panic!("{case}"));
        assert_eq!(nonce.as_str(), text(&case["nonce"]));
    }
    for case in list(&spec["invalid"]) {
        assert!(Nonce::parse(text(&case["nonce"])).is_none(), "{case}");
    }
    for example in ["as_challenge", "rs_challenge", "next_nonce_on_success"] {
        let mut headers = HeaderMap::new();
        for (name, value) in spec[example]["headers"].as_object().expect("fields") {
            let name = http::HeaderName::from_bytes(name.as_bytes()).expect("a field name");
            headers.append(name, HeaderValue::from_str(text(value)).expect("a field value"));
        }
        let given = text(&spec[example]["headers"]["DPoP-Nonce"]);
        assert!(matches!(nonce_of(&headers), NonceField::One(nonce) if nonce.as_str() == given), "{example}");
        if example == "rs_challenge" {
            let challenge = DpopChallenge::find(&headers).expect("a DPoP challenge");
            assert_eq!(challenge.error(), Some(ErrorCode::UseDpopNonce));
        }
    }
}

// R-PRF-12, R-PRF-13, R-PRF-16
#[test]
fn names() {
    let spec = spec("registered-names.json");
    let fields = texts(&spec["http_fields"]);
    assert!(DPOP.as_str().eq_ignore_ascii_case(fields[0]) && DPOP_NONCE.as_str().eq_ignore_ascii_case(fields[1]));
    assert_eq!(TYP, text(&spec["typ"]));
    for code in spec["errors"].as_object().expect("codes").keys() {
        assert!(code.parse::<ErrorCode>().is_ok(), "{code}");
    }
    let mut known = texts(&spec["jws_algs"]["asymmetric_signature"]);
    let mut ours = Alg::ALL.map(Alg::name).to_vec();
    known.sort_unstable();
    ours.sort_unstable();
    assert_eq!(ours, known);
    for list in ["never", "other_registered"] {
        assert!(texts(&spec["jws_algs"][list]).iter().all(|name| Alg::from_name(name).is_none()));
    }
    for members in spec["private_jwk_members"].as_object().expect("kinds of keys").values() {
        for member in texts(members) {
            let jwk = format!(r#"{{"kty":"EC","crv":"P-256","{member}":null}}"#);
            assert_eq!(PublicJwk::from_json(jwk.as_bytes()), Err(Reason::KeyPrivate), "{member}");
        }
    }
}

// R-RS-13, R-TOK-07
#[test]
fn access_tokens() {
    let spec = spec("rfc9449-access-token.json");
    let jwt = AccessToken::parse(text(&spec["jwt_access_token"]["jwt"])).expect("a token68");
    let [header, payload] = decode_for_display(jwt.secret());
    assert_eq!(
        (header, payload),
        (Some(spec["jwt_access_token"]["header"].clone()), Some(spec["jwt_access_token"]["payload"].clone()))
    );
    let refusal = SignedJwt::parse(jwt).expect_err("it has no typ");
    assert_eq!(refusal.reason(), Reason::TokenType);
    let jwk = spec["jwt_access_token"]["bound_jwk"].to_string();
    let jkt = PublicJwk::from_json(jwk.as_bytes()).expect("a public key").thumbprint().to_string();
    for bound in ["jwt_access_token", "introspection_response"] {
        assert_eq!(jkt, text(&spec[bound]["bound_jkt"]), "{bound}");
    }
    let opaque = AccessToken::parse(text(&spec["opaque_access_token"]["token"])).expect("a token68");
    assert_eq!(encode_base64url(&opaque.hash()), text(&spec["opaque_access_token"]["ath"]));
}

// R-PRF-03, R-PRF-23, R-PRF-38, R-AS-01
#[test]
fn proofs() {
    let verifier = verifier();
    let server = AuthorizationServer::new(self::verifier());
    for case in list(&spec("rfc9449-proofs.json")["cases"]) {
        let field = ProofField::from_octets(text(&case["proof"]).as_bytes()).expect("a token68");
        let shown = decode_for_display(field.as_str());
        assert_eq!(shown, [Some(case["header"].clone()), Some(case["payload"].clone())], "{}", case["id"]);
        let proof = ParsedProof::parse(field).unwrap_or_else(|refusal| panic!("{}: {refusal}", case["id"]));
        assert_eq!(proof.jwk().thumbprint().to_string(), text(&case["jkt"]));
        let method: Method = text(&case["request"]["method"]).parse().expect("a method");
        let target = TargetUri::parse(text(&case["request"]["target_uri"])).expect("a URI");
        let token = case["request"]["access_token"].as_str().and_then(AccessToken::parse);
        let now = UnixTime::from_secs(case["now"].as_u64().expect("a time"));
        let epoch = Epoch::new(1, UnixTime::from_secs(0));
        let examination = verifier.examine(&proof, &method, &target, token, epoch, now);
        for finding in examination.findings() {
            assert!(finding.refusal().is_none(), "{}: {finding:?}", case["id"]);
        }
        if token.is_none() {
            let mut headers = HeaderMap::new();
            headers.insert("DPoP", HeaderValue::from_str(field.as_str()).expect("a token68"));
            let proven = server.verify(&headers, &target, epoch, now).expect("a good proof");
            assert_eq!(proven.expect("there is a field").jkt().to_string(), text(&case["jkt"]));
        }
    }
}

// R-PRF-04
#[test]
fn token68() {
    let spec = spec("token68.json");
    for valid in texts(&spec["valid"]) {
        assert!(AccessToken::parse(valid).is_some() && ProofField::from_octets(valid.as_bytes()).is_ok(), "{valid}");
    }
    for case in list(&spec["invalid"]) {
        let invalid = text(&case["text"]);
        assert!(
            AccessToken::parse(invalid).is_none() && ProofField::from_octets(invalid.as_bytes()).is_err(),
            "{case}"
        );
    }
}

// R-CLI-14, R-CLI-15
#[test]
fn challenges() {
    for case in list(&spec("www-authenticate.json")["cases"]) {
        let found = parse_challenges(texts(&case["field_lines"]));
        let expected = list(&case["challenges"]);
        assert_eq!(found.len(), expected.len(), "{case}");
        for (found, expected) in found.iter().zip(expected) {
            assert!(found.is(text(&expected["scheme"])), "{case}");
            assert_eq!(found.token68(), expected["token68"].as_str(), "{case}");
            let params = expected["params"].as_object().expect("parameters");
            assert_eq!(found.params().count(), params.len(), "{case}");
            for (name, value) in params {
                assert_eq!(found.param(name), value.as_str(), "{case}");
            }
        }
    }
}
