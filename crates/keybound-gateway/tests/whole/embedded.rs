//! The issuer inside a gateway, as its configuration has it: the profile of FAPI, and nonces by endpoint.

use http::Method;
use keybound::client::{Credentials, ProofClaims, Prover};
use keybound::crypto::aws_lc::{SoftwareKey, random_array};
use keybound::crypto::{Alg, Signer as _};
use keybound::nonce::Nonce;
use keybound::request::TargetUri;
use keybound::time::UnixTime;
use serde_json::Value;

use crate::scene::{Running, Scene, now, route};
use crate::support::{Answer, Upstream};

const ISSUER: &str = "http://127.0.0.1:8080/issuer";
const HOST: &str = "127.0.0.1:8080";
const SECRET: &str = "0123456789abcdef";
const BACK: &str = "http://127.0.0.1:9999/back";
/// The code verifier of RFC 7636 appendix B, and its challenge.
const VERIFIER: &str = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";
const CHALLENGE: &str = "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM";

const CODE: &str = "authorization_code";
const DEVICE: &str = "urn:ietf:params:oauth:grant-type:device_code";

/// A gateway whose issuer approves by itself, with this before its issuer's table and that in it.
fn text(upstream: &Upstream, before: &str, inside: &str) -> String {
    format!(
        "[listen]\naddress = \"127.0.0.1:0\"\nworkers = 1\n[[origin]]\nurl = \"http://{HOST}\"\n{before}\n\
         [authorization_server]\nurl = \"{ISSUER}\"\nstore = \"memory\"\nauto_approve = \"alice\"\n{inside}\n\
         [[authorization_server.client]]\nclient_id = \"app\"\nclient_secret = \"{SECRET}\"\n\
         token_endpoint_auth_method = \"client_secret_post\"\nscope = [\"openid\"]\nredirect_uris = [\"{BACK}\"]\n\
         grant_types = [\"client_credentials\", \"{CODE}\", \"refresh_token\", \"{DEVICE}\"]\n\
         dpop_bound_access_tokens = false\n{}",
        route("/", upstream.address, "mode = \"open\""),
    )
}

/// A client of that issuer.
struct Caller {
    gateway: Running,
    key: SoftwareKey,
}

impl Caller {
    fn of(scene: &Scene, text: &str) -> Self {
        let config = scene.try_config(text).unwrap_or_else(|errors| panic!("{errors}"));
        Self { gateway: Running::start(config), key: SoftwareKey::generate(Alg::Es256).unwrap() }
    }

    fn proof(&self, path: &str, nonce: Option<&str>) -> String {
        self.proof_at(now(), path, nonce, None)
    }

    fn proof_at(&self, iat: UnixTime, path: &str, nonce: Option<&str>, token: Option<&str>) -> String {
        signed(&self.key, iat, path, nonce, token)
    }

    fn post(&self, path: &str, form: &str, proof: Option<&str>) -> Answer {
        let form = format!("client_id=app&client_secret={SECRET}&{form}");
        let proof = proof.map(|proof| format!("DPoP: {proof}\r\n")).unwrap_or_default();
        self.gateway.send(format!(
            "POST /issuer{path} HTTP/1.1\r\nHost: {HOST}\r\nContent-Type: application/x-www-form-urlencoded\r\n\
             Content-Length: {}\r\n{proof}\r\n{form}",
            form.len()
        ))
    }

    fn get(&self, path: &str, fields: &str) -> Answer {
        self.gateway.send(format!("GET /issuer{path} HTTP/1.1\r\nHost: {HOST}\r\n{fields}\r\n"))
    }

    fn machine(&self, proof: Option<&str>) -> Answer {
        self.post("/token", "grant_type=client_credentials", proof)
    }

    /// With a nonce, if one is wanted first.
    fn twice(&self, path: &str, form: &str) -> Answer {
        let first = self.post(path, form, Some(&self.proof(path, None)));
        match first.field("dpop-nonce").filter(|_| first.status == 400) {
            Some(nonce) => self.post(path, form, Some(&self.proof(path, Some(nonce)))),
            None => first,
        }
    }

    /// What comes of a code.
    fn tokens(&self) -> Value {
        let asked = format!(
            "/authorize?client_id=app&response_type=code&redirect_uri={BACK}&scope=openid&code_challenge={CHALLENGE}&\
             code_challenge_method=S256"
        );
        let answer = self.get(&asked, "");
        let location = answer.field("location").unwrap_or_else(|| panic!("{answer:?}"));
        let code = location.split_once("code=").unwrap().1.split('&').next().unwrap();
        let form = format!("grant_type={CODE}&code={code}&redirect_uri={BACK}&code_verifier={VERIFIER}");
        json(&self.twice("/token", &form))
    }

    fn claims(&self, token: &str, nonce: Option<&str>) -> Answer {
        let target = TargetUri::parse(&format!("{ISSUER}/userinfo")).unwrap();
        let proof = prove(&self.key, &Method::GET, &target, now(), nonce, Some(token));
        self.get("/userinfo", &format!("Authorization: DPoP {token}\r\nDPoP: {proof}\r\n"))
    }
}

fn signed(key: &SoftwareKey, iat: UnixTime, path: &str, nonce: Option<&str>, token: Option<&str>) -> String {
    let target = TargetUri::parse(&format!("{ISSUER}{path}")).unwrap();
    prove(key, &Method::POST, &target, iat, nonce, token)
}

fn prove(
    key: &SoftwareKey,
    method: &Method,
    target: &TargetUri,
    iat: UnixTime,
    nonce: Option<&str>,
    token: Option<&str>,
) -> String {
    let credentials = token.map(|token| Credentials::new(token).unwrap());
    let nonce = nonce.map(|nonce| Nonce::parse(nonce).unwrap());
    let mut claims = ProofClaims::new(method, target, random_array().unwrap(), iat);
    if let Some(credentials) = &credentials {
        claims = claims.credentials(credentials);
    }
    if let Some(nonce) = &nonce {
        claims = claims.nonce(nonce);
    }
    Prover::of(key).unwrap().prepare(&claims).sign(key).unwrap().as_str().to_owned()
}

fn json(answer: &Answer) -> Value {
    serde_json::from_slice(&answer.body).unwrap_or_else(|_| panic!("{answer:?}"))
}

/// Status and reason of an answer for clients.
fn said(answer: &Answer) -> (u16, String) {
    (answer.status, json(answer)["error_description"].as_str().unwrap_or_default().to_owned())
}

// R-AS-32, R-AS-33
#[test]
fn the_profile_of_fapi() {
    let (scene, upstream) = (Scene::new(), Upstream::echo());
    let caller = Caller::of(&scene, &text(&upstream, "[proof]\npreset = \"fapi\"", ""));
    // No token for anybody without a proof, nor for one without a nonce.
    assert_eq!(said(&caller.machine(None)), (400, "proof.required".to_owned()));
    let demanded = caller.machine(Some(&caller.proof("/token", None)));
    assert_eq!(said(&demanded), (400, "nonce.missing".to_owned()));
    let nonce = demanded.field("dpop-nonce").unwrap();
    // The windows hold, nonce or not.
    let by = |seconds: i64| UnixTime::from_secs(now().as_secs().checked_add_signed(seconds).unwrap());
    for (seconds, reason) in [(-120, "iat.past"), (40, "iat.future"), (0, "")] {
        let answer = caller.machine(Some(&caller.proof_at(by(seconds), "/token", Some(nonce), None)));
        let status = if reason.is_empty() { 200 } else { 400 };
        assert_eq!(said(&answer), (status, reason.to_owned()), "{seconds}");
    }
    // What is advertised is what passes.
    let metadata = json(
        &caller
            .gateway
            .send(format!("GET /.well-known/oauth-authorization-server/issuer HTTP/1.1\r\nHost: {HOST}\r\n\r\n")),
    );
    let advertised: Vec<&str> =
        metadata["dpop_signing_alg_values_supported"].as_array().unwrap().iter().filter_map(Value::as_str).collect();
    for alg in [Alg::Es256, Alg::Ed25519, Alg::Ps256, Alg::EdDsa, Alg::Es384, Alg::Rs256] {
        let key = SoftwareKey::generate(alg).unwrap();
        let answer = caller.machine(Some(&signed(&key, now(), "/token", Some(nonce), None)));
        let passes = matches!(alg, Alg::Es256 | Alg::Ed25519 | Alg::Ps256 | Alg::EdDsa);
        let expected = if passes { (200, "") } else { (400, "alg.unsupported") };
        assert_eq!((answer.status, said(&answer).1.as_str()), expected, "{alg}");
        assert_eq!(advertised.contains(&key.alg().name()), passes, "{alg} in {advertised:?}");
    }
    // A client that authenticates keeps its refresh token.
    let tokens = caller.tokens();
    let refresh = tokens["refresh_token"].as_str().unwrap();
    for _ in 0..2 {
        let answer = json(&caller.twice("/token", &format!("grant_type=refresh_token&refresh_token={refresh}")));
        assert_eq!(answer["token_type"], "DPoP");
        assert!(answer["refresh_token"].as_str().is_none_or(|again| again == refresh), "{answer}");
    }
}

/// Each endpoint by its own setting, beside the others and the routes, which go by that of all.
#[test]
fn nonces_by_endpoint() {
    let (scene, upstream) = (Scene::new(), Upstream::echo());
    let par = format!("response_type=code&redirect_uri={BACK}&code_challenge={CHALLENGE}&code_challenge_method=S256");
    let endpoints = [
        ("token", "/token", "grant_type=client_credentials"),
        ("par", "/par", &par),
        ("device_authorization", "/device_authorization", ""),
    ];
    for (name, ..) in endpoints {
        let nonces = format!("[authorization_server.nonce]\n{name} = \"require\"");
        let caller = Caller::of(&scene, &text(&upstream, "", &nonces));
        for (other, path, form) in endpoints {
            // The memory of a gateway that has just started remembers nothing: it wants a nonce once, whatever is set.
            let expected = if other == name { "nonce.missing" } else { "nonce.barrier" };
            let first = caller.post(path, form, Some(&caller.proof(path, None)));
            assert_eq!(said(&first), (400, expected.to_owned()), "{other} where {name} demands them");
            let with = caller.proof(path, first.field("dpop-nonce"));
            let answer = caller.post(path, form, Some(&with));
            assert!(matches!(answer.status, 200 | 201), "{other}: {answer:?}");
            // The memory is one.
            assert_eq!(said(&caller.post(path, form, Some(&with))), (400, "replay.seen".to_owned()), "{other}");
        }
        let token = caller.tokens()["access_token"].as_str().unwrap().to_owned();
        assert_eq!(caller.claims(&token, None).reason(), "nonce.barrier");
    }
    let caller = Caller::of(&scene, &text(&upstream, "", "[authorization_server.nonce]\nuserinfo = \"require\""));
    let token = caller.tokens()["access_token"].as_str().unwrap().to_owned();
    let demanded = caller.claims(&token, None);
    assert_eq!((demanded.status, &*demanded.reason()), (401, "nonce.missing"));
    let answer = caller.claims(&token, demanded.field("dpop-nonce"));
    assert_eq!((answer.status, json(&answer)["sub"].as_str()), (200, Some("alice")));
    assert_eq!(said(&caller.machine(Some(&caller.proof("/token", None)))).1, "nonce.barrier");
}

// R-SEC-03: an endpoint that goes by another policy keeps its proofs for another time.
#[test]
fn another_policy_of_an_endpoint_raises_a_barrier() {
    let (scene, upstream) = (Scene::new(), Upstream::echo());
    let caller = Caller::of(&scene, &text(&upstream, "", ""));
    let barred = caller.machine(Some(&caller.proof("/token", None)));
    let used = caller.proof("/token", barred.field("dpop-nonce"));
    assert_eq!(caller.machine(Some(&used)).status, 200);
    let changed = text(&upstream, "", "[authorization_server.nonce]\ntoken = \"off\"");
    caller.gateway.live.reload(scene.try_config(&changed).unwrap()).unwrap();
    let answer = caller.machine(Some(&used));
    assert_eq!(said(&answer), (400, "nonce.stale".to_owned()));
    let nonce = answer.field("dpop-nonce").unwrap();
    assert_eq!(caller.machine(Some(&caller.proof("/token", Some(nonce)))).status, 200);
}
