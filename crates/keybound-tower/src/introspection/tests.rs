use std::collections::HashMap;

use keybound::crypto::aws_lc::{AwsLc, SoftwareKey};
use keybound::crypto::{Alg, AlgSet};
use keybound::jws::encode_base64url;
use keybound::refusal::Reason;
use keybound::time::UnixTime;
use keybound::token::jwt::KeySet;
use serde_json::{Value, json};
use tokio::sync::watch;

use super::*;
use crate::fetch::FetchError;
use crate::tokens::{Issuer, TokenMemory, Tokens, Voucher};

const ISSUER: &str = "https://id.example.com";
const ENDPOINT: &str = "https://id.example.com/introspect";
const JKT: &str = "0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I";

/// An endpoint that knows some tokens, and answers when the gate is open.
#[derive(Debug)]
struct Endpoint {
    known: Mutex<HashMap<String, Vec<u8>>>,
    /// What is said instead of an answer.
    down: Mutex<Option<FetchError>>,
    /// The same, of tokens that begin so.
    chokes_on: Mutex<Option<&'static str>>,
    asked: Mutex<Vec<(String, Option<HeaderText>, &'static str)>>,
    gate: watch::Sender<bool>,
}

type HeaderText = String;

impl Endpoint {
    fn knowing(tokens: &[&str]) -> Arc<Self> {
        let known = tokens.iter().map(|token| ((*token).to_owned(), active(ISSUER).to_string().into_bytes())).collect();
        Arc::new(Self {
            known: Mutex::new(known),
            down: Mutex::default(),
            chokes_on: Mutex::default(),
            asked: Mutex::default(),
            gate: watch::Sender::new(true),
        })
    }

    fn questions(&self) -> usize {
        self.asked.lock().len()
    }
}

impl Ask for Endpoint {
    fn ask<'a>(&'a self, question: Question<'a>) -> Asking<'a> {
        let authorization = question.authorization.map(|value| value.to_str().unwrap().to_owned());
        self.asked.lock().push((question.form.as_str().to_owned(), authorization, question.accept));
        let token = question.form.as_str().split('&').find_map(|pair| pair.strip_prefix("token=")).unwrap().to_owned();
        Box::pin(async move {
            let mut gate = self.gate.subscribe();
            drop(gate.wait_for(|open| *open).await);
            if let Some(error) = &*self.down.lock() {
                return Err(error.clone());
            }
            if self.chokes_on.lock().is_some_and(|beginning| token.starts_with(beginning)) {
                return Err(FetchError::Status(500));
            }
            let inactive = br#"{"active":false}"#.to_vec();
            Ok(Said::new(self.known.lock().get(&token).cloned().unwrap_or(inactive)))
        })
    }
}

fn active(issuer: &str) -> Value {
    json!({
        "active": true, "iss": issuer, "aud": "here", "sub": "s", "client_id": "c", "exp": 1_700_003_600,
        "token_type": "DPoP", "cnf": { "jkt": JKT },
    })
}

#[derive(Debug, Default)]
struct Hand(Mutex<Duration>);

impl Clock for Hand {
    fn now(&self) -> UnixTime {
        UnixTime::from_secs(1_700_000_000).plus(self.uptime())
    }

    fn uptime(&self) -> Duration {
        *self.0.lock()
    }
}

struct Scene {
    tokens: Tokens,
    hand: Arc<Hand>,
    clock: Arc<dyn Clock>,
}

fn introspection(endpoint: &Arc<Endpoint>) -> Introspection {
    let secret = AskAs::SecretBasic(Secret::new("s3cret"));
    Introspection::new(ENDPOINT, "gateway", secret, endpoint.clone()).unwrap()
}

impl Scene {
    fn of(issuers: impl IntoIterator<Item = (&'static str, Voucher)>) -> Self {
        let issuer = |(name, voucher)| Issuer { policy: TokenPolicy::new(name, ["here"]), voucher };
        let hand = Arc::new(Hand::default());
        let tokens = Tokens::new(issuers.into_iter().map(issuer).collect(), TokenMemory::new(1 << 20));
        Self { tokens, clock: hand.clone(), hand }
    }

    fn asking(endpoint: &Arc<Endpoint>) -> Self {
        Self::of([(ISSUER, introspection(endpoint).into())])
    }

    fn wait(&self, seconds: u64) {
        *self.hand.0.lock() += Duration::from_secs(seconds);
    }

    /// Whose token it is, remembered as if its request had been admitted.
    async fn issuer_of(&self, token: &str) -> Result<String, &'static str> {
        let token = AccessToken::parse(token).unwrap();
        let resolved = self
            .tokens
            .resolve(token, &crate::Policy::required(), &self.clock)
            .await
            .map_err(|denial| denial.code())?;
        let (valid, unremembered) = resolved.split();
        self.tokens.remember(unremembered);
        Ok(valid.facts().issuer().to_owned())
    }
}

fn signed(key: &SoftwareKey, typ: &str, claims: &Value) -> String {
    let header = json!({"typ": typ, "alg": "ES256"}).to_string();
    let input = [header, claims.to_string()].map(|part| encode_base64url(part.as_bytes())).join(".");
    let signature = encode_base64url(&key.sign(input.as_bytes()).unwrap());
    format!("{input}.{signature}")
}

fn keys_of(key: &SoftwareKey) -> KeySet {
    let text = format!(r#"{{"keys":[{}]}}"#, key.public_jwk().to_json());
    KeySet::read_strictly(text.as_bytes(), &AwsLc, AlgSet::ALL).unwrap()
}

// R-RS-05, R-RS-24: believed for a short time, under the whole token
#[tokio::test]
async fn an_answer_is_believed_for_a_while() {
    let endpoint = Endpoint::knowing(&["opaque"]);
    let scene = Scene::asking(&endpoint);
    assert_eq!(scene.issuer_of("opaque").await, Ok(ISSUER.into()));
    scene.wait(29);
    assert_eq!(scene.issuer_of("opaque").await, Ok(ISSUER.into()));
    assert_eq!(endpoint.questions(), 1);
    assert_eq!(scene.issuer_of("opaqu").await, Err("token.inactive"));
    scene.wait(1);
    endpoint.known.lock().clear();
    assert_eq!(scene.issuer_of("opaque").await, Err(Reason::TokenInactive.code()));
    assert_eq!(endpoint.questions(), 3);
}

#[tokio::test]
async fn an_answer_is_not_believed_beyond_exp() {
    let endpoint = Endpoint::knowing(&["opaque"]);
    let scene = Scene::asking(&endpoint);
    scene.wait(3590);
    assert_eq!(scene.issuer_of("opaque").await, Ok(ISSUER.into()));
    scene.wait(15);
    assert_eq!(scene.issuer_of("opaque").await, Err("token.expired"));
    assert_eq!(endpoint.questions(), 1);
}

// R-RS-21, R-RS-23
#[tokio::test]
async fn who_asks_says_so() {
    let key = Arc::new(SoftwareKey::generate(Alg::Es256).unwrap());
    for ask_as in [
        AskAs::SecretBasic(Secret::new("s3 cret")),
        AskAs::SecretPost(Secret::new("s3 cret")),
        AskAs::PrivateKeyJwt { key, kid: Some("k".into()) },
    ] {
        let endpoint = Endpoint::knowing(&["opaque"]);
        let basic = matches!(ask_as, AskAs::SecretBasic(_));
        let post = matches!(ask_as, AskAs::SecretPost(_));
        let introspection = Introspection::new(ENDPOINT, "gateway", ask_as, endpoint.clone()).unwrap();
        let scene = Scene::of([(ISSUER, introspection.into())]);
        assert_eq!(scene.issuer_of("opaque").await, Ok(ISSUER.into()));
        let (form, authorization, accept) = endpoint.asked.lock().pop().unwrap();
        assert!(form.starts_with("token=opaque&token_type_hint=access_token"), "{form}");
        assert_eq!(authorization.as_deref(), basic.then_some("Basic Z2F0ZXdheTpzMytjcmV0"));
        assert_eq!(form.contains("client_secret=s3+cret"), post, "{form}");
        assert_eq!(form.contains("client_assertion=ey"), !basic && !post, "{form}");
        assert_eq!(accept, "application/json");
    }
}

#[tokio::test(start_paused = true)]
async fn one_question_for_all_who_wait() {
    let endpoint = Endpoint::knowing(&["opaque"]);
    let scene = Scene::asking(&endpoint);
    endpoint.gate.send_replace(false);
    let all = async { tokio::join!(scene.issuer_of("opaque"), scene.issuer_of("opaque"), scene.issuer_of("opaque")) };
    let open = async {
        tokio::task::yield_now().await;
        endpoint.gate.send_replace(true);
    };
    let ((first, second, third), ()) = tokio::join!(all, open);
    assert_eq!([first, second, third], [(); 3].map(|()| Ok(ISSUER.to_owned())));
    assert_eq!(endpoint.questions(), 1);
}

#[tokio::test]
async fn who_goes_away_leaves_nothing_behind() {
    let endpoint = Endpoint::knowing(&["opaque"]);
    let asking = introspection(&endpoint);
    let scene = Scene::of([(ISSUER, asking.clone().into())]);
    endpoint.gate.send_replace(false);
    for token in ["opaque", "another"] {
        let gone = futures_util::FutureExt::now_or_never(scene.issuer_of(token));
        assert_eq!(gone, None);
    }
    assert_eq!(asking.0.flights.lock().len(), 0);
    endpoint.gate.send_replace(true);
    assert_eq!(scene.issuer_of("opaque").await, Ok(ISSUER.into()));
}

/// A route that takes the tokens of one issuer does not show them to another, nor believes what another said of them before.
#[tokio::test]
async fn who_is_not_taken_is_not_asked() {
    const OTHER: &str = "https://other.example.com";
    let (endpoint, other) = (Endpoint::knowing(&["opaque"]), Endpoint::knowing(&[]));
    let scene = Scene::of([(OTHER, introspection(&other).into()), (ISSUER, introspection(&endpoint).into())]);
    let resolve = async |taken: &'static str| {
        let policy = crate::Policy::required().issuers([taken]);
        let resolved = scene.tokens.resolve(AccessToken::parse("opaque").unwrap(), &policy, &scene.clock).await;
        resolved.map(|resolved| resolved.token.facts().issuer().to_owned()).map_err(|denial| denial.code())
    };
    assert_eq!(resolve(ISSUER).await, Ok(ISSUER.into()));
    assert_eq!((endpoint.questions(), other.questions()), (1, 0));
    assert_eq!(resolve(OTHER).await, Err("token.inactive"));
    assert_eq!((endpoint.questions(), other.questions()), (1, 1));
    // Remembered by a route that takes it.
    assert_eq!(scene.issuer_of("opaque").await, Ok(ISSUER.into()));
    assert_eq!(resolve(OTHER).await, Err("token.issuer"));
}

// R-SEC-12
#[tokio::test]
async fn strangers_cannot_ask_without_end() {
    let endpoint = Endpoint::knowing(&["opaque", "admitted"]);
    let scene = Scene::asking(&endpoint);
    assert_eq!(scene.issuer_of("admitted").await, Ok(ISSUER.into()));
    scene.wait(30);
    endpoint.gate.send_replace(false);
    let names: Vec<String> = (0..MAX_FLIGHTS_OF_STRANGERS).map(|number| format!("stranger{number}")).collect();
    let mut strangers: Vec<_> = names.iter().map(|name| Box::pin(scene.issuer_of(name))).collect();
    for stranger in &mut strangers {
        assert!(futures_util::FutureExt::now_or_never(stranger).is_none());
    }
    assert_eq!(scene.issuer_of("opaque").await, Err("introspection.unavailable"));
    // Who was admitted with a token has a place still.
    let mut admitted = Box::pin(scene.issuer_of("admitted"));
    assert!(futures_util::FutureExt::now_or_never(&mut admitted).is_none());
    endpoint.gate.send_replace(true);
    assert_eq!(admitted.await, Ok(ISSUER.into()));
    endpoint.gate.send_replace(false);
    drop(strangers);
    endpoint.gate.send_replace(true);
    assert_eq!(scene.issuer_of("opaque").await, Ok(ISSUER.into()));
}

fn unreachable() -> Option<FetchError> {
    Some(FetchError::Unreachable("connection refused".into()))
}

// R-RS-23, R-ERR-21: closed while there is no answer, and open again by itself
#[tokio::test]
async fn an_issuer_that_is_down_is_left_alone_for_a_while() {
    let endpoint = Endpoint::knowing(&["opaque"]);
    let scene = Scene::asking(&endpoint);
    *endpoint.down.lock() = unreachable();
    for number in 0..10 {
        assert_eq!(scene.issuer_of(&format!("token{number}")).await, Err("introspection.unavailable"));
    }
    assert_eq!(endpoint.questions(), 3);
    *endpoint.down.lock() = None;
    assert_eq!(scene.issuer_of("opaque").await, Err("introspection.unavailable"));
    scene.wait(1);
    assert_eq!(scene.issuer_of("opaque").await, Ok(ISSUER.into()));
    endpoint.known.lock().insert("odd".into(), b"<html>".to_vec());
    assert_eq!(scene.issuer_of("odd").await, Err("introspection.unavailable"));
}

// R-SEC-12: whatever strangers get it to say or not to say, others are asked about
#[tokio::test]
async fn a_token_without_an_answer_costs_no_other_one() {
    let endpoint = Endpoint::knowing(&["opaque", "another"]);
    let scene = Scene::asking(&endpoint);
    *endpoint.chokes_on.lock() = Some("rubbish");
    endpoint.known.lock().insert("odd".into(), b"<html>".to_vec());
    for number in 0..50 {
        for rubbish in [&*format!("rubbish{number}"), "odd"] {
            assert_eq!(scene.issuer_of(rubbish).await, Err("introspection.unavailable"));
        }
    }
    assert_eq!(scene.issuer_of("opaque").await, Ok(ISSUER.into()));
    // Nor does one that is slow.
    *endpoint.down.lock() = Some(FetchError::Transport("no answer in time".into()));
    for number in 0..50 {
        assert_eq!(scene.issuer_of(&format!("slow{number}")).await, Err("introspection.unavailable"));
    }
    assert!(scene.tokens.key_states(&scene.clock)[0].usable, "one stranger does not make the gateway unready");
    *endpoint.down.lock() = None;
    assert_eq!(scene.issuer_of("another").await, Ok(ISSUER.into()));

    // The token itself is not asked about again and again.
    let before = endpoint.questions();
    for _ in 0..10 {
        assert_eq!(scene.issuer_of("rubbish").await, Err("introspection.unavailable"));
    }
    assert_eq!(endpoint.questions() - before, 3);
    *endpoint.chokes_on.lock() = None;
    scene.wait(1);
    assert_eq!(scene.issuer_of("rubbish").await, Err("token.inactive"));
}

#[tokio::test]
async fn opaque_tokens_and_jwts_on_one_route() {
    let key = SoftwareKey::generate(Alg::Es256).unwrap();
    let claims = |issuer: &str| {
        json!({
            "iss": issuer, "aud": "here", "sub": "s", "client_id": "c", "jti": "j", "iat": 1_700_000_000_u64,
            "exp": 1_700_003_600_u64,
        })
    };
    let jwt_issuer = "https://jwt.example.com";
    let of_asked = signed(&key, "at+jwt", &claims(ISSUER));
    let plain = signed(&key, "JWT", &claims(ISSUER));
    let endpoint = Endpoint::knowing(&["opaque", &of_asked, &plain]);
    let other = Endpoint::knowing(&[]);
    let scene = Scene::of([
        (jwt_issuer, keys_of(&key).into()),
        ("https://other.example.com", introspection(&other).into()),
        (ISSUER, introspection(&endpoint).into()),
    ]);
    assert_eq!(scene.issuer_of(&signed(&key, "at+jwt", &claims(jwt_issuer))).await, Ok(jwt_issuer.into()));
    assert_eq!(scene.issuer_of("opaque").await, Ok(ISSUER.into()));
    assert_eq!(scene.issuer_of(&of_asked).await, Ok(ISSUER.into()));
    assert_eq!(scene.issuer_of(&plain).await, Ok(ISSUER.into()));
    assert_eq!((endpoint.questions(), other.questions()), (3, 1), "a JWT is shown to the issuer it names alone");
    // R-RS-13: the type of a JWT is only overlooked where the issuer is asked
    assert_eq!(scene.issuer_of(&signed(&key, "JWT", &claims(jwt_issuer))).await, Err("token.type"));
    assert_eq!(scene.issuer_of(&signed(&key, "at+jwt", &claims("https://no.example.com"))).await, Err("token.issuer"));
    assert_eq!(scene.issuer_of("unknown").await, Err("token.inactive"));
    *other.down.lock() = unreachable();
    assert_eq!(scene.issuer_of("unknown").await, Err("introspection.unavailable"), "the one that is down may know it");
    assert_eq!(scene.issuer_of("opaque").await, Ok(ISSUER.into()));
}

// R-RS-25
#[tokio::test]
async fn signed_answers() {
    let key = SoftwareKey::generate(Alg::Es256).unwrap();
    let stranger = SoftwareKey::generate(Alg::Es256).unwrap();
    let claims =
        |iss: &str, aud: &str, name: &str| json!({"iss": iss, "aud": aud, "iat": 1_700_000_000, name: active(ISSUER)});
    let good = claims(ISSUER, "gateway", "token_introspection");
    let with = |changes: Value| {
        let mut claims = good.clone();
        claims.as_object_mut().unwrap().extend(changes.as_object().unwrap().clone());
        claims
    };
    let mut timeless = good.clone();
    timeless.as_object_mut().unwrap().remove("iat");
    let typ = "token-introspection+jwt";
    for (answer, expected) in [
        (signed(&key, typ, &good), Ok(ISSUER.to_owned())),
        (signed(&stranger, typ, &good), Err("introspection.unavailable")),
        (signed(&key, "at+jwt", &good), Err("introspection.unavailable")),
        (signed(&key, typ, &claims("https://a", "gateway", "token_introspection")), Err("introspection.unavailable")),
        (signed(&key, typ, &claims(ISSUER, "other", "token_introspection")), Err("introspection.unavailable")),
        (signed(&key, typ, &claims(ISSUER, "gateway", "other")), Err("introspection.unavailable")),
        (
            signed(&key, typ, &with(json!({"aud": ["gateway"], "token_introspection": {"active": false}}))),
            Err("token.inactive"),
        ),
        // Kept by somebody, of another time, or without one (RFC 9701 section 5).
        (signed(&key, typ, &with(json!({"iat": 1_699_999_700}))), Ok(ISSUER.to_owned())),
        (signed(&key, typ, &with(json!({"iat": 1_699_999_699}))), Err("introspection.unavailable")),
        (signed(&key, typ, &with(json!({"iat": 1_700_000_060}))), Ok(ISSUER.to_owned())),
        (signed(&key, typ, &with(json!({"iat": 1_700_000_061}))), Err("introspection.unavailable")),
        (signed(&key, typ, &with(json!({"iat": null}))), Err("introspection.unavailable")),
        (signed(&key, typ, &with(json!({"iat": "1700000000"}))), Err("introspection.unavailable")),
        (signed(&key, typ, &timeless), Err("introspection.unavailable")),
        (signed(&key, typ, &with(json!({"exp": 1_700_000_030, "nbf": 1_699_999_990}))), Ok(ISSUER.to_owned())),
        (signed(&key, typ, &with(json!({"exp": 1_699_999_940}))), Err("introspection.unavailable")),
        (signed(&key, typ, &with(json!({"exp": "never"}))), Err("introspection.unavailable")),
        (signed(&key, typ, &with(json!({"nbf": 1_700_000_061}))), Err("introspection.unavailable")),
        (active(ISSUER).to_string(), Err("introspection.unavailable")),
    ] {
        let endpoint = Endpoint::knowing(&[]);
        endpoint.known.lock().insert("opaque".into(), answer.clone().into_bytes());
        let scene = Scene::of([(ISSUER, introspection(&endpoint).signed(keys_of(&key)).into())]);
        assert_eq!(scene.issuer_of("opaque").await, expected, "{answer}");
        assert_eq!(endpoint.asked.lock()[0].2, "application/token-introspection+jwt");
    }
}

#[test]
fn nothing_secret_shows() {
    let shown = format!("{:?}", introspection(&Endpoint::knowing(&[])));
    assert_eq!(shown, "Introspection(https://id.example.com/introspect)");
    for endpoint in ["http://id.example.com/introspect", "/introspect", ""] {
        let made = Introspection::new(endpoint, "g", AskAs::SecretPost(Secret::new("s")), Endpoint::knowing(&[]));
        assert_eq!(made.unwrap_err(), IntrospectionError::Endpoint, "{endpoint}");
    }
}
