use std::collections::HashMap;

use keybound::crypto::aws_lc::{AwsLc, SoftwareKey};
use keybound::crypto::{Alg, Signer as _};
use keybound::jws::encode_base64url;
use keybound::request::AccessToken;
use keybound::time::UnixTime;
use keybound::token::jwt::SignedJwt;

use super::*;
use crate::fetch::Fetching;

const ISSUER: &str = "https://id.example.com/a";
const RFC8414: &str = "https://id.example.com/.well-known/oauth-authorization-server/a";
const OPENID: &str = "https://id.example.com/a/.well-known/openid-configuration";
const JWKS: &str = "https://id.example.com/a/jwks";

/// An issuer of which every page is a value, and that answers when the gate is open.
#[derive(Debug)]
struct Pages {
    pages: Mutex<HashMap<&'static str, Result<Document, FetchError>>>,
    asked: Mutex<Vec<String>>,
    gate: watch::Sender<bool>,
}

impl Pages {
    fn up(kids: &[&str]) -> Arc<Self> {
        let pages = Arc::new(Self { pages: Mutex::default(), asked: Mutex::default(), gate: watch::Sender::new(true) });
        pages.put(RFC8414, Ok(metadata(ISSUER)));
        pages.put(JWKS, Ok(key_set(kids)));
        pages
    }

    fn put(&self, location: &'static str, page: Result<Document, FetchError>) {
        self.pages.lock().insert(location, page);
    }

    fn down(&self) {
        for location in [RFC8414, OPENID, JWKS] {
            self.put(location, Err(FetchError::Transport("no answer".into())));
        }
    }

    /// How often the keys were asked for.
    fn fetches(&self) -> usize {
        self.asked.lock().iter().filter(|location| **location == JWKS).count()
    }
}

impl Fetch for Pages {
    fn fetch<'f>(&'f self, location: &'f str) -> Fetching<'f> {
        self.asked.lock().push(location.to_owned());
        Box::pin(async move {
            let mut gate = self.gate.subscribe();
            drop(gate.wait_for(|open| *open).await);
            let missing = Err(FetchError::Status(404));
            self.pages.lock().get(location).cloned().unwrap_or(missing)
        })
    }
}

/// A clock that is turned by hand.
#[derive(Debug, Default)]
struct Hand(Mutex<Duration>);

impl Clock for Hand {
    fn now(&self) -> UnixTime {
        UnixTime::from_secs(1_700_000_000).plus(*self.0.lock())
    }

    fn uptime(&self) -> Duration {
        *self.0.lock()
    }
}

struct Scene {
    pages: Arc<Pages>,
    hand: Arc<Hand>,
    clock: Arc<dyn Clock>,
    keys: DiscoveredKeys,
}

impl Scene {
    fn new(kids: &[&str]) -> Self {
        let pages = Pages::up(kids);
        let hand = Arc::new(Hand::default());
        let fetch: Arc<dyn Fetch> = pages.clone();
        Self {
            keys: DiscoveredKeys::new(ISSUER, Arc::new(AwsLc), AlgSet::ALL, fetch).unwrap(),
            clock: hand.clone(),
            pages,
            hand,
        }
    }

    fn wait(&self, seconds: u64) {
        *self.hand.0.lock() += Duration::from_secs(seconds);
    }

    /// Whether a key was found for a token that names this one.
    async fn finds(&self, kid: &str) -> Result<bool, Fault> {
        let text = jwt(kid);
        let jwt = SignedJwt::parse(AccessToken::parse(&text).unwrap()).unwrap();
        let keys = self.keys.fitting(&|keys| jwt.finds_key(keys), &self.clock).await?;
        Ok(jwt.finds_key(&keys))
    }

    /// Waits for the fetch under way, if there is one.
    async fn landed(&self) {
        let flight = self.keys.0.schedule.lock().flight.clone();
        if let Some(mut flight) = flight {
            let _closed = flight.changed().await;
        }
    }
}

fn metadata(issuer: &str) -> Document {
    Document::new(format!(r#"{{"issuer":"{issuer}","jwks_uri":"{JWKS}"}}"#).into_bytes())
}

fn key_set(kids: &[&str]) -> Document {
    let keys: Vec<_> = kids
        .iter()
        .map(|kid| {
            let key = SoftwareKey::generate(Alg::Es256).unwrap().public_jwk().to_json();
            key.replacen('{', &format!(r#"{{"kid":"{kid}","#), 1)
        })
        .collect();
    Document::new(format!(r#"{{"keys":[{}]}}"#, keys.join(",")).into_bytes())
}

fn jwt(kid: &str) -> String {
    let header = format!(r#"{{"typ":"at+jwt","alg":"ES256","kid":"{kid}"}}"#);
    format!("{}.e30.AAAA", encode_base64url(header.as_bytes()))
}

#[tokio::test]
async fn fetched_once_while_fresh() {
    let scene = Scene::new(&["a"]);
    assert_eq!(scene.pages.fetches(), 0, "nothing is fetched before it is needed");
    for _ in 0..10 {
        assert_eq!(scene.finds("a").await, Ok(true));
        scene.wait(59);
    }
    assert_eq!(*scene.pages.asked.lock(), [RFC8414, JWKS]);
}

#[tokio::test]
async fn stale_keys_serve_while_new_ones_come() {
    let scene = Scene::new(&["a"]);
    assert_eq!(scene.finds("a").await, Ok(true));
    scene.pages.put(JWKS, Ok(key_set(&["b"])));
    scene.wait(600);
    scene.pages.gate.send_replace(false);
    assert_eq!(scene.finds("a").await, Ok(true), "nobody waits for the refresh");
    scene.pages.gate.send_replace(true);
    scene.landed().await;
    assert_eq!(scene.finds("b").await, Ok(true));
    assert_eq!(scene.finds("a").await, Ok(false), "the key has left the set");
}

#[tokio::test]
async fn freshness_is_what_the_issuer_says_within_bounds() {
    for (said, fresh) in [(None, 600), (Some(0), 60), (Some(300), 300), (Some(1 << 40), 3600)] {
        let scene = Scene::new(&["a"]);
        let mut document = key_set(&["a"]);
        document.max_age = said.map(Duration::from_secs);
        scene.pages.put(JWKS, Ok(document));
        assert_eq!(scene.finds("a").await, Ok(true));
        scene.wait(fresh - 1);
        assert_eq!(scene.finds("a").await, Ok(true));
        scene.landed().await;
        assert_eq!(scene.pages.fetches(), 1, "{said:?}");
        scene.wait(1);
        assert_eq!(scene.finds("a").await, Ok(true));
        scene.landed().await;
        assert_eq!(scene.pages.fetches(), 2, "{said:?}");
    }
}

#[tokio::test]
async fn old_keys_outlive_their_issuer_for_a_day() {
    let scene = Scene::new(&["a"]);
    assert_eq!(scene.finds("a").await, Ok(true));
    scene.pages.down();
    for _ in 0..24 {
        scene.wait(3599);
        assert_eq!(scene.finds("a").await, Ok(true));
        scene.landed().await;
    }
    scene.wait(24);
    assert_eq!(scene.finds("a").await, Err(Fault::KeysUnavailable));
}

// R-SEC-16
#[tokio::test]
async fn a_crowd_causes_one_fetch() {
    let scene = Arc::new(Scene::new(&["a"]));
    scene.pages.gate.send_replace(false);
    let crowd: Vec<_> = (0..50)
        .map(|_| {
            let scene = Arc::clone(&scene);
            tokio::spawn(async move { scene.finds("a").await })
        })
        .collect();
    tokio::task::yield_now().await;
    scene.pages.gate.send_replace(true);
    for one in crowd {
        assert_eq!(one.await.unwrap(), Ok(true));
    }
    assert_eq!(*scene.pages.asked.lock(), [RFC8414, JWKS]);
}

#[tokio::test]
async fn one_who_goes_away_takes_nobody_along() {
    let scene = Scene::new(&["a"]);
    scene.pages.gate.send_replace(false);
    {
        let mut first = Box::pin(scene.finds("a"));
        let pending = std::future::poll_fn(|cx| core::task::Poll::Ready(first.as_mut().poll(cx).is_pending())).await;
        assert!(pending);
    }
    scene.pages.gate.send_replace(true);
    assert_eq!(scene.finds("a").await, Ok(true));
    assert_eq!(scene.pages.fetches(), 1);
}

// R-SEC-16
#[tokio::test]
async fn unknown_keys_cause_one_fetch_in_a_cooldown() {
    let scene = Scene::new(&["a"]);
    assert_eq!(scene.finds("a").await, Ok(true));
    for number in 0..100 {
        assert_eq!(scene.finds(&format!("x{number}")).await, Ok(false));
    }
    assert_eq!(scene.pages.fetches(), 2);
    scene.wait(29);
    assert_eq!(scene.finds("x").await, Ok(false));
    assert_eq!(scene.pages.fetches(), 2);
    scene.wait(1);
    assert_eq!(scene.finds("x").await, Ok(false));
    assert_eq!(scene.pages.fetches(), 3);
}

#[tokio::test]
async fn a_turned_key_is_found_at_once() {
    let scene = Scene::new(&["a"]);
    assert_eq!(scene.finds("a").await, Ok(true));
    scene.pages.put(JWKS, Ok(key_set(&["a", "b"])));
    assert_eq!(scene.finds("b").await, Ok(true));
}

// R-ERR-21: nobody knows whether it is a new key, so that the token is not said to be bad.
#[tokio::test]
async fn an_unknown_key_of_a_silent_issuer_is_no_refusal() {
    let scene = Scene::new(&["a"]);
    assert_eq!(scene.finds("a").await, Ok(true));
    scene.pages.down();
    assert_eq!(scene.finds("b").await, Err(Fault::KeysUnavailable));
    assert_eq!(scene.finds("a").await, Ok(true));
}

#[tokio::test]
async fn an_issuer_that_is_down_is_left_alone_and_found_again() {
    let scene = Scene::new(&["a"]);
    scene.pages.down();
    let asked = || scene.pages.asked.lock().len();
    // 1 s, 2 s, 4 s, … of rest after each failure, and never more than 30 s.
    for rest in [1, 2, 4, 8, 16, 30, 30] {
        let before = asked();
        for _ in 0..10 {
            assert_eq!(scene.finds("a").await, Err(Fault::KeysUnavailable));
        }
        assert_eq!(asked(), before + 2, "both places of metadata, once");
        scene.wait(rest - 1);
        assert_eq!(scene.finds("a").await, Err(Fault::KeysUnavailable));
        assert_eq!(asked(), before + 2, "{rest} s of rest");
        scene.wait(1);
    }
    scene.pages.put(RFC8414, Ok(metadata(ISSUER)));
    scene.pages.put(JWKS, Ok(key_set(&["a"])));
    assert_eq!(scene.finds("a").await, Ok(true));
    assert_eq!(scene.keys.0.schedule.lock().failures, 0);
}

#[tokio::test]
async fn openid_metadata_will_do() {
    for first in
        [Err(FetchError::Status(404)), Ok(Document::new(b"<html>".to_vec())), Ok(metadata("https://id.example.com"))]
    {
        let scene = Scene::new(&["a"]);
        scene.pages.put(RFC8414, first);
        scene.pages.put(OPENID, Ok(metadata(ISSUER)));
        assert_eq!(scene.finds("a").await, Ok(true));
    }
}

// R-CLI-25, and the bounds of R-SEC-16
#[tokio::test]
async fn documents_that_are_not_believed() {
    for (location, page) in [
        (RFC8414, metadata("https://other.example.com")),
        (RFC8414, Document::new(vec![b' '; MAX_DOCUMENT + 1])),
        (JWKS, Document::new(b"{}".to_vec())),
        (JWKS, Document::new(br#"{"keys":[]}"#.to_vec())),
        (JWKS, Document::new(br#"{"keys":[{"kty":"oct","k":"AAAA"}]}"#.to_vec())),
        (JWKS, Document::new(vec![b' '; MAX_DOCUMENT + 1])),
    ] {
        let scene = Scene::new(&["a"]);
        scene.pages.put(location, Ok(page));
        assert_eq!(scene.finds("a").await, Err(Fault::KeysUnavailable), "{location}");
    }
}

#[tokio::test]
async fn keys_that_moved_are_found_by_new_metadata() {
    let scene = Scene::new(&["a"]);
    assert_eq!(scene.finds("a").await, Ok(true));
    let moved = "https://keys.example.net/a";
    let text = format!(r#"{{"issuer":"{ISSUER}","jwks_uri":"{moved}"}}"#);
    scene.pages.put(RFC8414, Ok(Document::new(text.into_bytes())));
    scene.pages.put(JWKS, Err(FetchError::Status(410)));
    scene.pages.put(moved, Ok(key_set(&["b"])));
    assert_eq!(scene.finds("b").await, Err(Fault::KeysUnavailable));
    scene.wait(30);
    assert_eq!(scene.finds("b").await, Ok(true));
}

#[tokio::test(start_paused = true)]
async fn nobody_waits_for_ever() {
    let scene = Scene::new(&["a"]);
    scene.pages.gate.send_replace(false);
    assert_eq!(scene.finds("a").await, Err(Fault::KeysUnavailable));
}

#[test]
fn without_a_runtime_nothing_is_fetched() {
    let scene = Scene::new(&["a"]);
    scene.keys.prefetch(&scene.clock);
    assert_eq!(scene.pages.asked.lock().len(), 0);
}

#[tokio::test]
async fn its_state_is_told_without_asking() {
    let scene = Scene::new(&["a"]);
    let state = scene.keys.state(&scene.clock);
    assert_eq!((&*state.issuer, state.source, state.usable, state.age), (ISSUER, KeySource::Discovered, false, None));
    assert_eq!(scene.pages.asked.lock().len(), 0);

    scene.pages.down();
    assert_eq!(scene.finds("a").await, Err(Fault::KeysUnavailable));
    let state = scene.keys.state(&scene.clock);
    assert_eq!((state.usable, state.failures), (false, 1));
    assert_eq!(state.trouble.as_deref(), Some(&*format!("{RFC8414}: no answer")));

    scene.pages.put(RFC8414, Ok(metadata(ISSUER)));
    scene.pages.put(JWKS, Ok(key_set(&["a"])));
    scene.wait(2);
    assert_eq!(scene.finds("a").await, Ok(true));
    scene.wait(5);
    let state = scene.keys.state(&scene.clock);
    assert_eq!((state.usable, state.failures, state.trouble), (true, 0, None));
    assert_eq!(state.age, Some(Duration::from_secs(5)));
}
