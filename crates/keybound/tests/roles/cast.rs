//! The client and the resource server of the play, and what they share.

use core::cell::Cell;
use core::time::Duration;
use std::sync::Arc;

use http::request::Parts;
use http::{HeaderMap, Method, Request, StatusCode};
use keybound::challenge::{Challenges, ResourceAnswer};
use keybound::client::{self, Attempt, Credentials, PlainHttp, Prover, Replay, Sent, ServerMemory, Verdict, permitted};
use keybound::crypto::Alg;
use keybound::crypto::aws_lc::{AwsLc, SoftwareKey};
use keybound::jws::decode_base64url;
use keybound::nonce::{NonceKey, Role, StatelessNonces};
use keybound::refusal::{Denial, Reason};
use keybound::replay::memory::{MemoryLimits, MemoryStore};
use keybound::replay::{Epoch, Seen};
use keybound::request::{Origin, Presented, TargetUri};
use keybound::time::UnixTime;
use keybound::token::TokenPolicy;
use keybound::token::jwt::{KeySet, SignedJwt};
use keybound::verify::{NoncePolicy, Verifier};
use serde_json::Value;

pub(crate) const START: UnixTime = UnixTime::from_secs(1_700_000_000);
pub(crate) const API: &str = "https://api.example.com";
pub(crate) const ORDERS: &str = "https://api.example.com/orders?page=2";

/// `START` and so many seconds more, or less.
pub(crate) fn at(seconds: i64) -> UnixTime {
    let span = Duration::from_secs(seconds.unsigned_abs());
    if seconds < 0 { START.minus(span) } else { START.plus(span) }
}

/// What a server answers.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: String,
    /// `admit`, or the code of the reason or fault.
    pub(crate) code: &'static str,
}

impl Answer {
    pub(crate) fn nonces(&self) -> usize {
        self.headers.get_all("dpop-nonce").iter().count()
    }

    pub(crate) fn error(&self) -> Option<String> {
        let body: Value = serde_json::from_str(&self.body).ok()?;
        body["error"].as_str().map(str::to_owned)
    }
}

/// How a server checks proofs and how much it remembers.
#[derive(Clone)]
pub(crate) struct Settings {
    pub(crate) policy: NoncePolicy,
    pub(crate) nonces: StatelessNonces,
    pub(crate) strict_iat: bool,
    pub(crate) limits: MemoryLimits,
}

impl Settings {
    pub(crate) fn new(policy: NoncePolicy) -> Self {
        let nonces = StatelessNonces::new(NonceKey::new(1, [1; 32]));
        Self { policy, nonces, strict_iat: false, limits: MemoryLimits::new() }
    }

    pub(crate) fn verifier(&self) -> Verifier {
        let builder = Verifier::builder(Arc::new(AwsLc), Arc::new(self.nonces.clone())).nonce_policy(self.policy);
        let builder = if self.strict_iat { builder.iat_always_in_window() } else { builder };
        builder.build().unwrap()
    }

    /// An empty store whose epoch begins at `opened`.
    pub(crate) fn store(&self, id: u64, opened: UnixTime) -> MemoryStore {
        let mut key = [0; 16];
        key[..8].copy_from_slice(&id.to_be_bytes());
        MemoryStore::new(self.limits, key, Epoch::new(id, opened)).unwrap()
    }
}

/// A protected resource that has been up for a week.
pub(crate) struct Resource {
    pub(crate) settings: Settings,
    pub(crate) verifier: Verifier,
    pub(crate) store: MemoryStore,
    pub(crate) scope: Vec<&'static str>,
    /// An epoch to open between judging the next proof and recording it.
    pub(crate) interrupted: Cell<Option<Epoch>>,
    origin: Origin,
    keys: KeySet,
    policy: TokenPolicy,
}

impl Resource {
    pub(crate) fn new(settings: Settings, keys: &KeySet) -> Self {
        Self {
            verifier: settings.verifier(),
            store: settings.store(1, at(-7 * 24 * 3600)),
            settings,
            scope: vec!["orders:read"],
            interrupted: Cell::new(None),
            origin: API.parse().unwrap(),
            keys: keys.clone(),
            policy: TokenPolicy::new("https://id.example.com", [API]),
        }
    }

    /// Ends, with everything it remembers, and begins again at `now`.
    pub(crate) fn restart(&mut self, now: UnixTime) {
        self.store = self.settings.store(self.store.epoch().id() + 1, now);
        self.verifier = self.settings.verifier();
    }

    pub(crate) fn answer(&self, parts: &Parts, now: UnixTime) -> Answer {
        let mut nonce_due = false;
        let decided = self.decide(parts, now, &mut nonce_due);
        let demanded = matches!(&decided, Err(Denial::Refused(refusal)) if refusal.demands_nonce());
        let nonce = (nonce_due || demanded)
            .then(|| self.verifier.issue_nonce(Role::ResourceServer, API, self.store.epoch(), now));
        let mut headers = HeaderMap::new();
        let Err(denial) = decided else {
            if let Some(nonce) = nonce {
                headers.insert("dpop-nonce", nonce.as_str().parse().unwrap());
            }
            return Answer { status: StatusCode::OK, headers, body: "an order".to_owned(), code: "admit" };
        };
        let challenges = Challenges::dpop(self.verifier.algorithms()).unwrap();
        let answer = ResourceAnswer::new(&denial, &challenges, Presented::scheme(&parts.headers), nonce.as_ref());
        answer.apply(&mut headers);
        Answer { status: answer.status(), headers, body: answer.body(), code: denial.code() }
    }

    fn decide(&self, parts: &Parts, now: UnixTime, nonce_due: &mut bool) -> Result<(), Denial> {
        let presented = Presented::read(parts, &self.origin)?;
        let Presented::Dpop(request) = presented else {
            let (facts, _) = SignedJwt::parse(presented.access_token())?.verify(&self.keys)?;
            let _unbound = facts.judge(&self.policy, now)?.as_bearer()?;
            return Err(Reason::TokenUnbound.into());
        };
        let proof = self.verifier.verify(&request, self.store.epoch(), now)?;
        *nonce_due = proof.nonce_due();
        let (facts, _) = SignedJwt::parse(request.access_token())?.verify(&self.keys)?;
        let bound = proof.bind(facts.judge(&self.policy, now)?)?.require_scope(&self.scope)?;
        if let Some(epoch) = self.interrupted.take() {
            self.store.raise(epoch);
        }
        let seen = self.store.record_now(&bound.replay_entry(), now)?;
        if seen == Seen::Never {
            self.verifier.remember(bound.proof());
        }
        assert_eq!(bound.admit(seen)?.subject(), "alice");
        Ok(())
    }
}

/// A client with one key, what it knows of servers, and a clock of its own.
pub(crate) struct Client {
    pub(crate) key: SoftwareKey,
    pub(crate) servers: ServerMemory,
    /// By how many seconds its clock is ahead.
    pub(crate) ahead: i64,
    prover: Prover,
    token: Option<Credentials>,
    jti: Cell<u128>,
}

/// A request that went out, and what it takes to learn from its answer.
pub(crate) struct Flight<'c, T> {
    pub(crate) parts: Parts,
    pub(crate) sent: Sent<'c, T>,
}

/// A request with all its answers: one, or two if there was a retry.
#[derive(Debug)]
pub(crate) struct Trip {
    pub(crate) answers: Vec<Answer>,
    /// What the client made of the last one.
    pub(crate) verdict: String,
}

impl Trip {
    pub(crate) fn codes(&self) -> Vec<&'static str> {
        self.answers.iter().map(|answer| answer.code).collect()
    }

    pub(crate) fn last(&self) -> &Answer {
        self.answers.last().unwrap()
    }
}

impl Client {
    pub(crate) fn new(alg: Alg) -> Self {
        let key = SoftwareKey::generate(alg).unwrap();
        let prover = Prover::of(&key).unwrap();
        Self { key, servers: ServerMemory::new(), ahead: 0, prover, token: None, jti: Cell::new(1) }
    }

    /// Keeps the token it will send from now on.
    pub(crate) fn keep(&mut self, token: &str) {
        self.token = Some(Credentials::new(token).unwrap());
    }

    pub(crate) fn clock(&self, now: UnixTime) -> UnixTime {
        let span = Duration::from_secs(self.ahead.unsigned_abs());
        if self.ahead < 0 { now.minus(span) } else { now.plus(span) }
    }

    /// Sends an attempt: the request, with a proof by the client's own clock.
    pub(crate) fn send<'c, T>(
        &self,
        attempt: Attempt<'c, T>,
        method: &Method,
        uri: &str,
        now: UnixTime,
    ) -> Flight<'c, T> {
        let jti = self.jti.replace(self.jti.get() + 1);
        let proving = attempt.prove(&self.prover, &self.servers, jti.to_be_bytes(), self.clock(now));
        let sent = proving.sign(&self.key).unwrap();
        let path = &uri[uri.find("example.com").unwrap() + "example.com".len()..];
        let (mut parts, ()) = Request::builder().method(method).uri(path).body(()).unwrap().into_parts();
        sent.apply(&mut parts.headers);
        Flight { parts, sent }
    }

    /// A GET with a proof, as it goes over the wire; nobody learns from its answer.
    pub(crate) fn get(&self, uri: &str, now: UnixTime) -> Parts {
        let target = TargetUri::parse(uri).unwrap();
        let attempt = Attempt::at_resource(
            &Method::GET,
            permitted(&target, PlainHttp::Never).unwrap(),
            self.token.as_ref().unwrap(),
        );
        self.send(attempt, &Method::GET, uri, now).parts
    }

    /// A GET of the orders, retried once if the resource wants a nonce.
    pub(crate) fn order(&self, resource: &Resource, now: UnixTime) -> Trip {
        let target = TargetUri::parse(ORDERS).unwrap();
        let target = permitted(&target, PlainHttp::Never).unwrap();
        let attempt = Attempt::at_resource(&Method::GET, target, self.token.as_ref().unwrap());
        self.travel(attempt, &Method::GET, ORDERS, now, |parts| resource.answer(parts, now))
    }

    /// Sends, learns, and retries once if that is what it learnt.
    pub(crate) fn travel(
        &self,
        attempt: Attempt<'_>,
        method: &Method,
        uri: &str,
        now: UnixTime,
        server: impl Fn(&Parts) -> Answer,
    ) -> Trip {
        let clock = self.clock(now);
        let first = self.send(attempt, method, uri, now);
        let answer = server(&first.parts);
        let verdict = first.sent.learn(&self.servers, read(&answer), Replay::Possible, clock);
        let Verdict::RetryOnce(retry) = verdict else {
            return Trip { answers: vec![answer], verdict: name(&verdict) };
        };
        let second = self.send(retry, method, uri, now);
        let last = server(&second.parts);
        let verdict = second.sent.learn(&self.servers, read(&last), clock);
        Trip { answers: vec![answer, last], verdict: name(&verdict) }
    }
}

pub(crate) fn read(answer: &Answer) -> client::Answer<'_> {
    client::Answer::new(answer.status, &answer.headers).token_body(answer.body.as_bytes())
}

fn name<R>(verdict: &Verdict<R>) -> String {
    match verdict {
        Verdict::Done => "Done".to_owned(),
        Verdict::RetryOnce(_) => "RetryOnce".to_owned(),
        Verdict::Challenged(why) => format!("Challenged({why:?})"),
        Verdict::TokenRefused => "TokenRefused".to_owned(),
        Verdict::ProofRefused => "ProofRefused".to_owned(),
        Verdict::ScopeInsufficient => "ScopeInsufficient".to_owned(),
        other => panic!("an unknown verdict: {}", core::any::type_name_of_val(other)),
    }
}

/// A claim of the proof in this request.
pub(crate) fn claim(parts: &Parts, name: &str) -> Option<Value> {
    let proof = parts.headers["dpop"].to_str().unwrap();
    let payload = decode_base64url(proof.split('.').nth(1).unwrap()).unwrap();
    serde_json::from_slice::<Value>(&payload).unwrap().get(name).cloned()
}
