//! The authorization server of the play: one token endpoint, codes and refresh tokens, no sockets and no clients' secrets.

use core::cell::{Cell, RefCell};
use std::collections::HashMap;

use http::request::Parts;
use http::{HeaderMap, Method, StatusCode};
use keybound::authorization_server::{AuthorizationServer, GrantBinding, TokenBinding, token_type};
use keybound::challenge::TokenErrorAnswer;
use keybound::client::{Attempt, Binding, PlainHttp, Unbound, judge_token_type, permitted};
use keybound::crypto::aws_lc::{AwsLc, SoftwareKey};
use keybound::crypto::{Alg, AlgSet, Signer as _};
use keybound::jws::encode_base64url;
use keybound::refusal::{Denial, Reason};
use keybound::replay::Epoch;
use keybound::replay::memory::MemoryStore;
use keybound::request::TargetUri;
use keybound::time::UnixTime;
use keybound::token::jwt::KeySet;
use keybound::verify::NoncePolicy;
use serde_json::{Value, json};

use super::cast::{API, Answer, Client, Resource, Settings, Trip, at};

pub(crate) const TOKEN: &str = "https://id.example.com/token";

/// An authorization server that has been up for a week, and its key.
pub(crate) struct Issuer {
    pub(crate) settings: Settings,
    pub(crate) server: AuthorizationServer,
    pub(crate) store: MemoryStore,
    /// Codes that were not redeemed, and what each is bound to.
    pub(crate) codes: RefCell<HashMap<&'static str, GrantBinding>>,
    /// An epoch to open between judging the next proof and recording it.
    pub(crate) interrupted: Cell<Option<Epoch>>,
    pub(crate) endpoint: TargetUri,
    key: SoftwareKey,
}

impl Issuer {
    pub(crate) fn new(settings: Settings) -> Self {
        Self {
            server: AuthorizationServer::new(settings.verifier()),
            store: settings.store(100, at(-7 * 24 * 3600)),
            settings,
            codes: RefCell::default(),
            interrupted: Cell::new(None),
            endpoint: TargetUri::parse(TOKEN).unwrap(),
            key: SoftwareKey::generate(Alg::Es256).unwrap(),
        }
    }

    /// Its keys, as a resource server has them.
    pub(crate) fn keys(&self) -> KeySet {
        let set = format!(r#"{{"keys":[{}]}}"#, self.key.public_jwk().to_json());
        KeySet::read_strictly(set.as_bytes(), &AwsLc, AlgSet::ALL).unwrap()
    }

    /// Ends, with everything it remembers but its codes, and begins again at `now`.
    pub(crate) fn restart(&mut self, now: UnixTime) {
        self.store = self.settings.store(self.store.epoch().id() + 1, now);
        self.server = AuthorizationServer::new(self.settings.verifier());
    }

    /// Answers a request that redeems this code.
    pub(crate) fn answer(&self, parts: &Parts, code: &str, now: UnixTime) -> Answer {
        let mut nonce_due = false;
        let decided = self.redeem(parts, code, now, &mut nonce_due);
        let demanded = matches!(&decided, Err(Denial::Refused(refusal)) if refusal.demands_nonce());
        let nonce = (nonce_due || demanded).then(|| self.server.issue_nonce(&self.endpoint, self.store.epoch(), now));
        let mut headers = HeaderMap::new();
        match decided {
            Ok(binding) => {
                if let Some(nonce) = nonce {
                    headers.insert("dpop-nonce", nonce.as_str().parse().unwrap());
                }
                let token = self.token(binding.as_ref(), now);
                let body = json!({ "access_token": token, "token_type": token_type(binding.as_ref()) }).to_string();
                Answer { status: StatusCode::OK, headers, body, code: "admit" }
            }
            Err(denial) => {
                let answer = TokenErrorAnswer::new(&denial, nonce.as_ref());
                answer.apply(&mut headers);
                Answer { status: answer.status(), headers, body: answer.body(), code: denial.code() }
            }
        }
    }

    fn redeem(
        &self,
        parts: &Parts,
        code: &str,
        now: UnixTime,
        nonce_due: &mut bool,
    ) -> Result<Option<TokenBinding>, Denial> {
        let proven = self.server.verify(&parts.headers, &self.endpoint, self.store.epoch(), now)?;
        let grant = self.codes.borrow().get(code).copied().ok_or(Reason::GrantInvalid)?;
        grant.check(proven.as_ref())?;
        let binding = match proven {
            Some(proven) => {
                *nonce_due = proven.proof().nonce_due();
                if let Some(epoch) = self.interrupted.take() {
                    self.store.raise(epoch);
                }
                let seen = self.store.record_now(&proven.replay_entry(), now)?;
                Some(proven.bind(seen)?)
            }
            None => None,
        };
        self.codes.borrow_mut().remove(code).ok_or(Reason::GrantInvalid)?;
        Ok(binding)
    }

    /// A token of RFC 9068 for alice, good for an hour.
    pub(crate) fn token(&self, binding: Option<&TokenBinding>, now: UnixTime) -> String {
        let mut claims = json!({
            "iss": "https://id.example.com", "aud": API, "sub": "alice", "client_id": "app", "jti": "t-1",
            "iat": now.as_secs(), "exp": now.as_secs() + 3600, "scope": "orders:read",
        });
        if let Some(binding) = binding {
            claims["cnf"] = binding.cnf();
        }
        let header = json!({ "typ": "at+jwt", "alg": "ES256" });
        let segment = |value: &Value| encode_base64url(value.to_string().as_bytes());
        let signed = format!("{}.{}", segment(&header), segment(&claims));
        let signature = self.key.sign(signed.as_bytes()).unwrap();
        format!("{signed}.{}", encode_base64url(&signature))
    }
}

impl Client {
    /// The attempt to redeem a code: POST to the token endpoint.
    pub(crate) fn redeem(&self, issuer: &Issuer, code: &str, now: UnixTime) -> Trip {
        let target = permitted(&issuer.endpoint, PlainHttp::Never).unwrap();
        let attempt = Attempt::at_authorization_server(&Method::POST, target);
        self.travel(attempt, &Method::POST, TOKEN, now, |parts| issuer.answer(parts, code, now))
    }

    /// A POST to the token endpoint as it goes over the wire.
    pub(crate) fn post(&self, issuer: &Issuer, now: UnixTime) -> Parts {
        let target = permitted(&issuer.endpoint, PlainHttp::Never).unwrap();
        self.send(Attempt::at_authorization_server(&Method::POST, target), &Method::POST, TOKEN, now).parts
    }

    /// Gets a bound token with this code and keeps it.
    pub(crate) fn obtain(&mut self, issuer: &Issuer, code: &'static str, now: UnixTime) -> Trip {
        issuer.codes.borrow_mut().insert(code, GrantBinding::AnyKey);
        let trip = self.redeem(issuer, code, now);
        let body: Value = serde_json::from_str(&trip.last().body).unwrap();
        let bound = judge_token_type(body["token_type"].as_str(), Unbound::Refuse);
        assert_eq!(bound, Ok(Binding::Bound), "{trip:?}"); // R-CLI-09
        self.keep(body["access_token"].as_str().unwrap());
        trip
    }
}

/// The three of them under one policy, and the client has its token.
pub(crate) fn cast(policy: NoncePolicy) -> (Client, Issuer, Resource) {
    cast_with(Settings::new(policy))
}

pub(crate) fn cast_with(settings: Settings) -> (Client, Issuer, Resource) {
    let issuer = Issuer::new(Settings::new(settings.policy));
    let resource = Resource::new(settings, &issuer.keys());
    let mut client = Client::new(Alg::Es256);
    client.obtain(&issuer, "first", at(-100));
    (client, issuer, resource)
}
