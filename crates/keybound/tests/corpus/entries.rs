//! One function for each parser that reads what strangers send: it must not panic, and what it lets through must hold.
//! The fuzz targets and the tests that replay their corpus call the same ones.

use core::time::Duration;
use std::sync::Arc;

use http::{HeaderMap, HeaderName, HeaderValue, Method, Request};
use keybound::authorization_server::{AuthorizationServer, ClientAssertion, dpop_jkt};
use keybound::challenge::{Challenge, DpopChallenge, nonce_of, parse_challenges, parse_line};
use keybound::client::Answer;
use keybound::crypto::aws_lc::{AwsLc, SoftwareKey};
use keybound::crypto::{Alg, AlgSet, BadSignature, Crypto, PreparedKey, Signer as _};
use keybound::jwk::{PublicJwk, Thumbprint};
use keybound::jws::json::{Object, Value};
use keybound::jws::{decode_base64url, encode_base64url};
use keybound::nonce::{Nonce, NonceKey, NonceSource as _, Purpose, Role, StatelessNonces};
use keybound::proof::{ParsedProof, decode_for_display};
use keybound::refusal::{Reason, Refusal};
use keybound::replay::Epoch;
use keybound::request::{
    AccessToken, FormScan, Origin, Origins, Presented, ProofField, RequestPath, TargetUri, form_holds_token,
};
use keybound::time::UnixTime;
use keybound::token::TokenPolicy;
use keybound::token::introspection::{MissingAudience, SignedAnswer, read_answer};
use keybound::token::jwt::{KeySet, SignedJwt};
use keybound::verify::{NoncePolicy, Verifier};

const NOW: UnixTime = UnixTime::from_secs(1_700_000_000);
const EPOCH: Epoch = Epoch::new(7, UnixTime::from_secs(1_600_000_000));
const API: &str = "https://api.example.com";

/// A parser, by the name of its folder in `fuzz/corpus`.
pub(crate) type Entry = fn(&[u8]);

/// Every parser of this crate.
#[allow(dead_code, reason = "a fuzz target calls one")]
pub(crate) const ENTRIES: [(&str, Entry); 9] = [
    ("access_token", access_token),
    ("challenge", challenge),
    ("introspection", introspection),
    ("json", json),
    ("jwk", jwk),
    ("private_key", private_key),
    ("proof", proof),
    ("request", request),
    ("uri", uri),
];

/// Takes every signature for good, so that what lies behind the check is reached without one.
#[derive(Debug)]
struct Anything;

impl Crypto for Anything {
    fn prepare(&self, _: &PublicJwk, _: Alg) -> Result<Arc<dyn PreparedKey>, Reason> {
        Ok(Arc::new(Self))
    }
}

impl PreparedKey for Anything {
    fn verify(&self, _: &[u8], _: &[u8]) -> Result<(), BadSignature> {
        Ok(())
    }
}

/// A proof field; or header and claims as JSON with a line feed between, which are put into the compact form here.
pub(crate) fn proof(data: &[u8]) {
    let field = compact(data);
    let Ok(proof) = ProofField::from_octets(&field) else { return };
    let _ = decode_for_display(proof.as_str());
    if let Ok(parsed) = ParsedProof::parse(proof) {
        assert!(parsed.jwk().fits(parsed.alg()));
        let verifier = verifier(Arc::new(AwsLc), NoncePolicy::Offer);
        let target = TargetUri::parse("https://api.example.com/orders").expect("a URI");
        let examined = verifier.examine(&parsed, &Method::GET, &target, None, EPOCH, NOW);
        assert_eq!(examined.findings().len(), 8);
    }
    for policy in [NoncePolicy::Off, NoncePolicy::Offer, NoncePolicy::Require] {
        at_both_servers(&field, policy);
    }
}

fn at_both_servers(field: &[u8], policy: NoncePolicy) {
    let Ok(value) = HeaderValue::from_bytes(field) else { return };
    let request = Request::get("/orders").header("authorization", "DPoP Kz~8mXK1EalYznwH-LC-1fBAo.4Ljp~zsPE_NeO.gxU");
    let Ok(request) = request.header("dpop", value).body(()) else { return };
    let (parts, ()) = request.into_parts();
    let origin: Origin = API.parse().expect("an origin");
    let Ok(Presented::Dpop(resource)) = Presented::read(&parts, &origin) else { return };
    // What was learnt from the header must not change what is said of the proof.
    let (fresh, knowing) = (verifier(Arc::new(Anything), policy), verifier(Arc::new(Anything), policy));
    let first = fresh.verify(&resource, EPOCH, NOW);
    if let Ok(verified) = &first {
        assert!((1..=256).contains(&verified.jti().len()));
        assert!(verified.iat_offset().unsigned_abs() <= 24 * 60 * 60);
        knowing.remember(verified);
    }
    let again = knowing.verify(&resource, EPOCH, NOW);
    assert_eq!(outcome(&first), outcome(&again));

    let server = AuthorizationServer::new(verifier(Arc::new(Anything), policy));
    let endpoint = TargetUri::parse("https://api.example.com/token").expect("a URI");
    if let Ok(proven) = server.verify(&parts.headers, &endpoint, EPOCH, NOW) {
        assert!(proven.is_some_and(|proven| !proven.proof().jti().is_empty()));
    }
}

fn outcome<T>(result: &Result<T, Refusal>) -> Option<Reason> {
    result.as_ref().err().map(Refusal::reason)
}

fn verifier(crypto: Arc<dyn Crypto>, policy: NoncePolicy) -> Verifier {
    let nonces = Arc::new(StatelessNonces::new(NonceKey::new(1, [7; 32])));
    Verifier::builder(crypto, nonces).nonce_policy(policy).known_headers(8).build().expect("settings that hold")
}

/// The octets as they are, or two JSON texts as a compact JWS with a signature of 64 octets.
fn compact(data: &[u8]) -> Vec<u8> {
    let mut lines = data.splitn(2, |octet| *octet == b'\n');
    match (lines.next(), lines.next()) {
        (Some(header), Some(payload)) => {
            let signature = encode_base64url(&[1; 64]);
            format!("{}.{}.{signature}", encode_base64url(header), encode_base64url(payload)).into_bytes()
        }
        _ => data.to_vec(),
    }
}

/// An access token, as [`proof`] is given; also read as a client assertion.
pub(crate) fn access_token(data: &[u8]) {
    let text = compact(data);
    let Ok(text) = core::str::from_utf8(&text) else { return };
    if let Ok(assertion) = ClientAssertion::parse(text) {
        let _ = (assertion.client_id().len(), format!("{assertion:?}"));
    }
    let Some(token) = AccessToken::parse(text) else { return };
    let Ok(jwt) = SignedJwt::parse(token) else { return };
    let _ = (jwt.claimed_issuer(), jwt.kid());
    let keys = br#"{"keys":[{"kty":"OKP","crv":"Ed25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"},
        {"kty":"EC","crv":"P-256","kid":"1","x":"l8tFrhx-34tV3hRICRDY9zCkDlpBhF42UQUfWVAWBFs","y":"9VE4jf_Ok_o64zbTTlcuNJajHmt6v9TDVrU0CdvGRDA"}]}"#;
    let real = KeySet::read_strictly(keys, &AwsLc, AlgSet::ALL).expect("two keys");
    let _ = jwt.verify(&real);
    let keys = KeySet::read_strictly(keys, &Anything, AlgSet::ALL).expect("two keys");
    let Ok((facts, mark)) = jwt.verify(&keys) else { return };
    assert!(keys.holds(&mark) && jwt.finds_key(&keys));
    let policy = TokenPolicy::new("https://id.example.com", [API]);
    let Ok(valid) = facts.judge(&policy, NOW) else { return };
    assert!(facts.issuer() == "https://id.example.com" && facts.expires() > NOW.minus(Duration::from_secs(5)));
    if valid.as_bearer().is_ok() {
        assert!(!facts.claims().contains_key("cnf"));
    }
}

/// What an issuer answers about a token: JSON, or signed as [`proof`] is given.
pub(crate) fn introspection(data: &[u8]) {
    let policy = TokenPolicy::new("https://id.example.com", [API]);
    for missing in [MissingAudience::Refuse, MissingAudience::Accept] {
        if let Ok(facts) = read_answer(data, &policy, missing) {
            // R-RS-22: nothing but a plain yes is one.
            let answer = Object::parse(data).expect("what was read is JSON");
            assert_eq!(answer.get("active").and_then(Value::as_bool), Some(true));
            let _ = facts.judge(&policy, NOW).map(|valid| valid.as_bearer().is_ok());
        }
    }
    let text = compact(data);
    let Ok(answer) = core::str::from_utf8(&text).map(SignedAnswer::parse) else { return };
    let Ok(answer) = answer else { return };
    let keys = br#"{"keys":[{"kty":"OKP","crv":"Ed25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}]}"#;
    let keys = KeySet::read_strictly(keys, &Anything, AlgSet::ALL).expect("a key");
    let _ = answer.finds_key(&keys);
    let _ = answer.read(&keys, "https://api.example.com", &policy, MissingAudience::Refuse, NOW);
}

/// The value of `WWW-Authenticate`, several lines of it, or the JSON error of a token endpoint.
pub(crate) fn challenge(data: &[u8]) {
    let mut headers = HeaderMap::new();
    for line in data.split(|octet| *octet == b'\n') {
        if let Ok(value) = HeaderValue::from_bytes(line) {
            headers.append("www-authenticate", value.clone());
            headers.append("dpop-nonce", value);
        }
    }
    let _ = nonce_of(&headers);
    if let Some(found) = DpopChallenge::find(&headers) {
        assert!(found.challenge().is("dpop"));
        let _ = (found.error(), found.algs(), found.scope(), found.resource_metadata(), found.error_description());
    }
    let _ = Answer::new(http::StatusCode::BAD_REQUEST, &headers).token_body(data);
    let Ok(text) = core::str::from_utf8(data) else { return };
    let _ = Nonce::parse(text);
    let _ = parse_challenges(text.lines());
    if let Ok(challenges) = parse_line(text) {
        let printed = challenges.iter().map(print).collect::<Vec<_>>().join(", ");
        assert_eq!(parse_line(&printed).as_ref(), Ok(&challenges), "{printed}");
    }
}

fn print(challenge: &Challenge) -> String {
    let params = challenge
        .params()
        .map(|(name, value)| format!("{name}=\"{}\"", value.replace('\\', "\\\\").replace('"', "\\\"")));
    let params = params.collect::<Vec<_>>().join(", ");
    [challenge.scheme(), challenge.token68().unwrap_or_default(), &params].join(" ").trim_end().to_owned()
}

/// JSON text, and the smaller texts of the protocol.
pub(crate) fn json(data: &[u8]) {
    let strict = Value::parse(data);
    let forgiving = serde_json::from_slice::<serde_json::Value>(data);
    if let Ok(value) = &strict {
        let printed = value.to_json().to_string();
        assert_eq!(forgiving.expect("strict JSON is JSON"), value.to_json());
        // A float may move by its last digit each time it is read.
        let again = serde_json::from_str(&printed).expect("what was printed is JSON");
        assert_eq!(Value::parse(printed.as_bytes()).map(|again| again.to_json()), Ok(again));
    }
    assert_eq!(matches!(strict, Ok(Value::Object(_))), Object::parse(data).is_ok());
    let Ok(text) = core::str::from_utf8(data) else { return };
    if let Ok(octets) = decode_base64url(text) {
        assert_eq!(encode_base64url(&octets), text);
    }
    if let Ok(jkt) = text.parse::<Thumbprint>() {
        assert_eq!(jkt.to_string(), text);
    }
    let _ = dpop_jkt(text.split(' '));
    let nonces = StatelessNonces::new(NonceKey::new(1, [7; 32]));
    let _ = nonces.judge(text, Purpose::new(Role::ResourceServer, API, 7), NOW);
}

/// A public key, or a set of them.
pub(crate) fn jwk(data: &[u8]) {
    if let Ok(key) = PublicJwk::from_json(data) {
        let printed = key.to_json();
        let again = PublicJwk::from_json(printed.as_bytes()).expect("what parsed prints");
        assert!(again == key && again.thumbprint() == key.thumbprint() && again.to_json() == printed);
        for alg in Alg::ALL.into_iter().filter(|alg| key.fits(*alg)) {
            if let Ok(prepared) = AwsLc.prepare(&key, alg) {
                // R-PRF-18: no key that one constant signature verifies under.
                assert!(prepared.verify(data, &[0; 64]).is_err());
            }
        }
    }
    let strict = KeySet::read_strictly(data, &AwsLc, AlgSet::ALL);
    assert!(strict.is_err() || KeySet::read_served(data, &AwsLc, AlgSet::ALL).is_ok());
}

/// A private key: JWK, PEM or PKCS#8.
pub(crate) fn private_key(data: &[u8]) {
    let text = core::str::from_utf8(data).unwrap_or_default();
    for key in [SoftwareKey::from_jwk(data), SoftwareKey::from_pem(text, None), SoftwareKey::from_pkcs8_der(data, None)]
    {
        let Ok(key) = key else { continue };
        let exported = key.to_private_jwk().expect("a key can be written");
        let again = SoftwareKey::from_jwk(exported.as_bytes()).expect("and read");
        assert_eq!(again.thumbprint(), key.thumbprint());
        let signature = again.sign(b"message").expect("the key signs");
        let prepared = AwsLc.prepare(key.public_jwk(), key.alg()).expect("its public half is fit");
        assert!(prepared.verify(b"message", &signature).is_ok());
    }
}

/// A request: method and target on the first line, a field on each other, the body after an empty one.
pub(crate) fn request(data: &[u8]) {
    let end = data.windows(2).position(|pair| pair == b"\n\n").unwrap_or(data.len());
    let (head, body) = data.split_at(end);
    let body = body.get(2..).unwrap_or_default();
    for length in [1, 3, body.len().max(1)] {
        let mut scan = FormScan::new();
        let found = body.chunks(length).any(|piece| scan.read(piece)) || scan.end();
        assert_eq!(found, form_holds_token(body));
    }
    let mut lines = head.split(|octet| *octet == b'\n');
    let line = lines.next().unwrap_or_default();
    let blank = line.iter().position(|octet| *octet == b' ').unwrap_or(0);
    let (method, target) = line.split_at(blank);
    let mut request = Request::builder().method(method).uri(target.get(1..).unwrap_or_default());
    for line in lines {
        let colon = line.iter().position(|octet| *octet == b':').unwrap_or(line.len());
        let (name, value) = line.split_at(colon);
        if let (Ok(name), Ok(value)) =
            (HeaderName::from_bytes(name), HeaderValue::from_bytes(value.get(1..).unwrap_or_default()))
        {
            request = request.header(name, value);
        }
    }
    let Ok(request) = request.body(()) else { return };
    let (parts, ()) = request.into_parts();
    let declared = [API, "https://other.example.com:8443/base", "http://localhost:8080"];
    let origins = Origins::new(declared.iter().map(|origin| origin.parse().expect("an origin")).collect());
    if let Ok(origin) = origins.expect("origins that differ").choose(&parts) {
        assert!(declared.contains(&origin.to_string().as_str()));
    }
    let origin: Origin = API.parse().expect("an origin");
    let _ = Presented::scheme(&parts.headers);
    if let Ok(presented) = Presented::read(&parts, &origin) {
        assert_eq!(parts.headers.get_all("authorization").iter().count(), 1);
        assert!(AccessToken::parse(presented.access_token().secret()).is_some());
        if let Presented::Dpop(request) = presented {
            assert_eq!(parts.headers.get_all("dpop").iter().count(), 1);
            assert!(request.target().as_str().starts_with("https://api.example.com/"));
        }
    }
}

/// A URI, an origin, a path.
pub(crate) fn uri(data: &[u8]) {
    let Ok(text) = core::str::from_utf8(data) else { return };
    if let Ok(uri) = TargetUri::parse(text) {
        let again = TargetUri::parse(uri.as_str()).expect("a normal form parses");
        assert_eq!(again, uri);
        assert_eq!([uri.origin(), uri.path()].concat(), uri.as_str());
        assert!(
            uri.as_str().is_ascii() && !uri.as_str().contains(['?', '#', '\\', '@', ' ']) || uri.path().contains('@')
        );
        assert!(uri.path().starts_with('/'));
        let _ = (uri.is_loopback(), uri.is_https());
    }
    if let Ok(origin) = text.parse::<Origin>() {
        assert_eq!(origin.to_string().parse::<Origin>().as_ref(), Ok(&origin));
    }
    if let Ok(path) = RequestPath::parse(text) {
        let normal = path.as_str().to_owned();
        let again = RequestPath::parse(&normal).expect("a normal form parses");
        assert_eq!(again.as_str(), normal);
        let origin: Origin = API.parse().expect("an origin");
        let target = origin.target(&again);
        assert_eq!(TargetUri::parse(target.as_str()).as_ref(), Ok(&target));
        if let Ok(plain) = path.unambiguous() {
            assert!(!plain.as_str().contains('\\') && !plain.as_str().contains("%2F"));
        }
    }
}
