//! Refresh tokens: many that are live, and requests that use some of them.

use std::collections::VecDeque;
use std::sync::Mutex;
use std::time::{Duration, Instant, SystemTime};

use futures_util::StreamExt as _;
use futures_util::future::join_all;
use http::Method;
use http::header::{AUTHORIZATION, CONTENT_TYPE, LOCATION};
use keybound::client::{ProofClaims, Prover};
use keybound::crypto::Alg;
use keybound::crypto::aws_lc::{SoftwareKey, random_array};
use keybound::jws::encode_base64url;
use keybound::nonce::Nonce;
use keybound::request::TargetUri;
use keybound::time::UnixTime;
use keybound_issuer::store::{self, Change, Kind, Record};
use serde_json::Value;
use sha2::{Digest as _, Sha256};
use tokio::runtime::Runtime;

use super::issuer::REDIRECT;
use super::{BASIC, Issuer};

/// Requests at once.
const LANES: usize = 16;

/// Tokens that are stored in one write.
const WRITTEN: usize = 2_000;

/// A client of an issuer with its refresh tokens.
#[derive(Debug)]
pub struct Refreshing<'i> {
    issuer: &'i Issuer,
    http: reqwest::Client,
    key: SoftwareKey,
    prover: Prover,
    target: TargetUri,
    tokens: Mutex<Vec<String>>,
    nonce: Mutex<Option<Nonce>>,
}

/// What some requests came to.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Refreshed {
    /// Processor time of the issuer for each, in nanoseconds.
    pub nanos: f64,
    /// Half of them took no longer, in milliseconds.
    pub median: f64,
}

impl<'i> Refreshing<'i> {
    /// Gets a refresh token from the issuer as a person would, and puts as many copies of what it keeps of it beside it.
    pub fn with(runtime: &Runtime, issuer: &'i Issuer, live: usize) -> Self {
        let key = SoftwareKey::generate(Alg::Es256).expect("the library makes keys");
        let client = reqwest::Client::builder().no_proxy().redirect(reqwest::redirect::Policy::none());
        let refreshing = Self {
            issuer,
            http: client.build().expect("a client"),
            prover: Prover::of(&key).expect("a key that fits its algorithm"),
            key,
            target: TargetUri::parse(&issuer.url("/token")).expect("a URL of loopback"),
            tokens: Mutex::default(),
            nonce: Mutex::default(),
        };
        let tokens = runtime.block_on(async {
            let sample = refreshing.begin().await;
            fill(issuer, &sample, live).await
        });
        *refreshing.tokens.lock().expect("nobody panicked") = tokens;
        refreshing
    }

    /// So many requests, each with another of the tokens, which the next one replaces. Their proofs are signed before.
    pub fn refresh(&self, runtime: &Runtime, count: usize) -> Refreshed {
        // One ahead, for a nonce that is new.
        runtime.block_on(self.one(self.proof(), Duration::ZERO));
        let proofs: Mutex<VecDeque<String>> = Mutex::new((0..count).map(|_| self.proof()).collect());
        let (before, begun) = (self.issuer.process().cpu_time(), Instant::now());
        let lane = || async {
            let mut took = Vec::new();
            loop {
                let proof = proofs.lock().expect("nobody panicked").pop_front();
                let Some(proof) = proof else { return took };
                took.push(self.one(proof, begun.elapsed()).await);
            }
        };
        let took = runtime.block_on(join_all((0..LANES).map(|_| lane())));
        let spent = self.issuer.process().cpu_time().saturating_sub(before);
        let mut took: Vec<Duration> = took.into_iter().flatten().collect();
        took.sort();
        Refreshed { nanos: spent.as_nanos() as f64 / count as f64, median: took[took.len() / 2].as_secs_f64() * 1e3 }
    }

    /// One of them, anywhere in the store.
    async fn one(&self, proof: String, seed: Duration) -> Duration {
        let token = {
            let mut tokens = self.tokens.lock().expect("nobody panicked");
            let place = (seed.as_nanos() as usize).wrapping_mul(0x9e37_79b9_7f4a_7c15) % tokens.len();
            tokens.swap_remove(place)
        };
        let begun = Instant::now();
        let next = self.ask(&format!("grant_type=refresh_token&refresh_token={token}"), proof).await;
        let took = begun.elapsed();
        self.tokens.lock().expect("nobody panicked").push(next);
        took
    }

    /// The authorization code flow, with a browser that `auto_approve` lets through.
    async fn begin(&self) -> String {
        let verifier = encode_base64url(&random_array::<32>().expect("the library has random numbers"));
        let challenge = digest(&verifier);
        let query = format!(
            "response_type=code&client_id=bench&redirect_uri={REDIRECT}&scope=read&code_challenge={challenge}&code_challenge_method=S256"
        );
        let answer = self.http.get(self.issuer.url(&format!("/authorize?{query}"))).send().await.expect("an answer");
        let location = answer.headers().get(LOCATION).and_then(|location| location.to_str().ok()).map(str::to_owned);
        let location = location.unwrap_or_else(|| panic!("no redirect: {}", answer.status()));
        let code = location.split(['?', '&']).find_map(|part| part.strip_prefix("code=")).expect("a code");
        let form =
            format!("grant_type=authorization_code&code={code}&redirect_uri={REDIRECT}&code_verifier={verifier}");
        self.ask(&form, self.proof()).await
    }

    /// The refresh token of the answer. Where a nonce is demanded, there is a second try, with a new proof.
    async fn ask(&self, form: &str, proof: String) -> String {
        let mut proof = proof;
        for _ in 0..2 {
            let request = self.http.post(self.issuer.url("/token")).header(AUTHORIZATION, BASIC).header("dpop", proof);
            let request = request.header(CONTENT_TYPE, "application/x-www-form-urlencoded");
            let answer = request.body(form.to_owned()).send().await.expect("an answer");
            let nonce = answer.headers().get("dpop-nonce").and_then(|nonce| Nonce::parse(nonce.to_str().ok()?));
            if nonce.is_some() {
                *self.nonce.lock().expect("nobody panicked") = nonce;
            }
            let body = answer.bytes().await.expect("a body");
            let body: Value = serde_json::from_slice(&body).expect("JSON");
            match body["refresh_token"].as_str() {
                Some(token) => return token.to_owned(),
                None if body["error"] == "use_dpop_nonce" => proof = self.proof(),
                None => panic!("refused: {body}"),
            }
        }
        panic!("a new nonce was refused");
    }

    fn proof(&self) -> String {
        let jti = random_array().expect("the library has random numbers");
        let claims = ProofClaims::new(&Method::POST, &self.target, jti, UnixTime::from(SystemTime::now()));
        let nonce = self.nonce.lock().expect("nobody panicked").clone();
        let claims = nonce.iter().fold(claims, |claims, nonce| claims.nonce(nonce));
        self.prover.prepare(&claims).sign(&self.key).expect("a signature").as_str().to_owned()
    }
}

fn digest(text: &str) -> String {
    encode_base64url(&Sha256::digest(text.as_bytes()))
}

/// Tokens that the issuer would know, for each has the records that it made for the sample.
async fn fill(issuer: &Issuer, sample: &str, live: usize) -> Vec<String> {
    let now = UnixTime::from(SystemTime::now());
    let store = store::open(issuer.store(), now).expect("the store that the issuer has open");
    let read = async |kind, id: &str| store.read(kind, id, now).await.expect("an answer").expect("a record");
    let token = read(Kind::REFRESH, &digest(sample)).await;
    let grant = read(Kind::GRANT, &token.family).await;
    let mut tokens: Vec<(String, String)> = (0..live.saturating_sub(1))
        .map(|number| {
            let token = format!("a-refresh-token-of-the-benchmark-{number:010}");
            (digest(&token), token)
        })
        .collect();
    // In their order, which is easier for a tree.
    tokens.sort();
    let writes = tokens.chunks(WRITTEN).enumerate().map(|(chunk, tokens)| {
        let first = chunk * WRITTEN;
        let changes = tokens.iter().enumerate().flat_map(|(number, (id, _))| {
            let family: Box<str> = format!("{}{:022}", &token.family[..16], first + number).into();
            [copy(Kind::GRANT, &family, &family, &grant), copy(Kind::REFRESH, id, &family, &token)]
        });
        let changes = changes.collect();
        let store = &store;
        async move { assert_eq!(store.write(changes, now).await, Ok(store::Written::Done), "a write") }
    });
    // As many as PostgreSQL has connections; SQLite does some of them together.
    futures_util::stream::iter(writes).buffer_unordered(8).collect::<()>().await;
    let tokens = tokens.into_iter().map(|(_, token)| token);
    tokens.chain([sample.to_owned()]).collect()
}

fn copy(kind: Kind, id: &str, family: &str, of: &Record) -> Change {
    Change::Insert { kind, id: id.into(), family: family.into(), expires: of.expires, body: of.body.clone() }
}
