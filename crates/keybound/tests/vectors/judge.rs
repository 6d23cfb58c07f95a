//! Judges one vector through the public interface alone, as a server would.

use core::time::Duration;
use std::sync::Arc;

use http::request::Parts;
use http::{HeaderName, HeaderValue, Request};
use keybound::authorization_server::{AuthorizationServer, GrantBinding, dpop_jkt, pushed_binding};
use keybound::challenge::{Challenges, ResourceAnswer, TokenErrorAnswer};
use keybound::crypto::aws_lc::AwsLc;
use keybound::crypto::{Alg, AlgSet};
use keybound::jws::decode_base64url;
use keybound::nonce::{NonceKey, StatelessNonces};
use keybound::refusal::{Denial, Reason};
use keybound::replay::memory::{MemoryLimits, MemoryStore};
use keybound::replay::{Epoch, ReplayEntry, Seen};
use keybound::request::{Origins, Presented, RequestPath, ResourceRequest, TargetUri, form_holds_token};
use keybound::time::UnixTime;
use keybound::token::introspection::{MissingAudience, read_answer};
use keybound::token::jwt::{KeySet, SignedJwt};
use keybound::token::{TokenPolicy, ValidToken};
use keybound::verify::{NoncePolicy, Verifier, VerifierBuilder};
use serde_json::Value;

/// What a server says to a request: let through, or refused with a status and an error.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Verdict {
    pub(crate) code: String,
    pub(crate) status: u64,
    pub(crate) error: Option<String>,
}

/// A vector with what it asks for made ready: one server, one replay store.
pub(crate) struct Bench<'v> {
    vector: &'v Value,
    server: AuthorizationServer,
    store: MemoryStore,
}

impl<'v> Bench<'v> {
    pub(crate) fn new(vector: &'v Value) -> Self {
        let policy = &vector["policy"];
        let epoch = Epoch::new(number(&policy["epoch"]["id"]), time(&policy["epoch"]["opened"]));
        let limits = match policy["per_key"].as_u64() {
            Some(most) => MemoryLimits::new().per_key(u32::try_from(most).expect("a small quota")),
            None => MemoryLimits::new(),
        };
        Self {
            vector,
            server: AuthorizationServer::new(verifier(policy)),
            store: MemoryStore::new(limits, [7; 16], epoch).expect("room for entries"),
        }
    }

    /// The requests before it, all of which are let through, and then the request itself.
    pub(crate) fn judge(&self) -> Verdict {
        for before in self.vector["before"].as_array().expect("a list") {
            let verdict = self.answer(&before["request"], time(&before["now"]));
            assert_eq!(verdict.code, "admit", "the request before it");
        }
        self.answer(&self.vector["request"], time(&self.vector["now"]))
    }

    fn answer(&self, request: &Value, now: UnixTime) -> Verdict {
        let parts = parts(request);
        let body = request["body"].as_str().unwrap_or_default();
        let server = self.vector["role"] == "as";
        let judged = match self.vector["role"].as_str() {
            Some("as") => self.token_request(&parts, body, now),
            _ => self.resource(&parts, body, now),
        };
        let (code, status, error) = match judged {
            Ok(()) => ("admit", 200, None),
            Err(denial) if server => {
                let answer = TokenErrorAnswer::new(&denial, None);
                (denial.code(), answer.status().as_u16(), Some(answer.error().to_owned()))
            }
            Err(denial) => {
                let algs = self.server.verifier().algorithms();
                let challenges = Challenges::dpop(algs).expect("a list of algorithms");
                let answer = ResourceAnswer::new(&denial, &challenges, Presented::scheme(&parts.headers), None);
                let error = answer.error().map(|error| error.to_string());
                (denial.code(), answer.status().as_u16(), error)
            }
        };
        Verdict { code: code.to_owned(), status: status.into(), error }
    }

    fn resource(&self, parts: &Parts, body: &str, now: UnixTime) -> Result<(), Denial> {
        let policy = &self.vector["policy"];
        let origins = texts(&policy["origins"]).map(|origin| origin.parse().expect("a declared origin"));
        let origins = Origins::new(origins.collect()).expect("origins that Host can tell apart");
        let origin = origins.choose(parts)?;
        if self.vector["role"] == "gateway" {
            RequestPath::parse(parts.uri.path())?.unambiguous()?;
        }
        if is_form(parts) && form_holds_token(body.as_bytes()) {
            let also = parts.headers.contains_key("authorization");
            let reason = if also { Reason::CredentialsRepeated } else { Reason::CredentialsForm };
            return Err(reason.into());
        }
        match Presented::read(parts, origin)? {
            Presented::Dpop(request) => self.bound(&request, now),
            presented => {
                let token = self.valid_token(presented.access_token(), now)?.as_bearer()?;
                match policy["unbound_tokens"].as_str() {
                    Some("served") => Ok(token.require_scope(&self.scope()).map(drop)?),
                    _ => Err(Reason::TokenUnbound.into()),
                }
            }
        }
    }

    fn bound(&self, request: &ResourceRequest<'_>, now: UnixTime) -> Result<(), Denial> {
        let verifier = self.server.verifier();
        let proof = verifier.verify(request, self.store.epoch(), now)?;
        let token = self.valid_token(request.access_token(), now)?;
        let bound = proof.bind(token)?.require_scope(&self.scope())?;
        let seen = self.record(&bound.replay_entry(), now)?;
        verifier.remember(bound.proof());
        let admission = bound.admit(seen)?;
        assert_eq!(admission.subject(), "alice");
        Ok(())
    }

    fn token_request(&self, parts: &Parts, body: &str, now: UnixTime) -> Result<(), Denial> {
        let policy = &self.vector["policy"];
        let endpoint: TargetUri = text(&policy["endpoint"]).parse().expect("a URI");
        let proven = self.server.verify(&parts.headers, &endpoint, self.store.epoch(), now)?;
        let values: Vec<String> = url::form_urlencoded::parse(body.as_bytes())
            .filter(|(name, _)| name == "dpop_jkt")
            .map(|(_, value)| value.into_owned())
            .collect();
        pushed_binding(dpop_jkt(values.iter().map(String::as_str))?, proven.as_ref())?;
        let grant = match &policy["grant"] {
            Value::String(grant) if grant == "free" => GrantBinding::Free,
            Value::String(_) => GrantBinding::AnyKey,
            bound => GrantBinding::Key(text(&bound["jkt"]).parse().expect("a thumbprint")),
        };
        grant.check(proven.as_ref())?;
        if let Some(proven) = proven {
            let seen = self.record(&proven.replay_entry(), now)?;
            self.server.remember(&proven);
            let _binding = proven.bind(seen)?;
        }
        Ok(())
    }

    fn record(&self, entry: &ReplayEntry<'_>, now: UnixTime) -> Result<Seen, Denial> {
        if self.vector["policy"]["store"] == "reopened" {
            self.store.raise(Epoch::new(99, now));
        }
        Ok(self.store.record_now(entry, now)?)
    }

    fn valid_token(&self, token: keybound::request::AccessToken<'_>, now: UnixTime) -> Result<ValidToken, Denial> {
        let policy = &self.vector["policy"];
        let judged = TokenPolicy::new(text(&policy["issuer"]), texts(&policy["audience"]));
        if self.vector["role"] == "rs-introspection" {
            let answer = policy["introspection"].to_string();
            let facts = read_answer(answer.as_bytes(), &judged, MissingAudience::Refuse)?;
            return Ok(facts.judge(&judged, now)?);
        }
        let algs = algs(&policy["token_algorithms"]);
        let keys = policy["jwks"].to_string();
        let keys = KeySet::read_strictly(keys.as_bytes(), &AwsLc, algs).expect("a key set");
        let (facts, _) = SignedJwt::parse(token)?.verify(&keys)?;
        Ok(facts.judge(&judged, now)?)
    }

    fn scope(&self) -> Vec<&str> {
        texts(&self.vector["policy"]["scope"]).collect()
    }
}

fn verifier(policy: &Value) -> Verifier {
    let mut keys = policy["nonce"]["keys"].as_array().expect("a ring").iter().map(|key| {
        let secret = decode_base64url(text(&key["secret"])).expect("base64url");
        let id = u8::try_from(number(&key["id"])).expect("a small number");
        NonceKey::new(id, secret.try_into().expect("32 octets"))
    });
    let mut nonces = StatelessNonces::new(keys.next().expect("a current key"));
    if let Some(previous) = keys.next() {
        nonces = nonces.previous(previous);
    }
    let nonces = nonces.lives(span(&policy["nonce"]["lifetime"]));
    let nonce_policy = match text(&policy["nonce"]["policy"]) {
        "off" => NoncePolicy::Off,
        "offer" => NoncePolicy::Offer,
        "require" => NoncePolicy::Require,
        unknown => panic!("{unknown} is no nonce policy"),
    };
    let builder: VerifierBuilder = Verifier::builder(Arc::new(AwsLc), Arc::new(nonces))
        .algorithms(algs(&policy["algorithms"]))
        .max_age(span(&policy["max_age"]))
        .max_future(span(&policy["max_future"]))
        .nonce_policy(nonce_policy);
    let builder = match policy["iat_always_in_window"].as_bool() {
        Some(true) => builder.iat_always_in_window(),
        _ => builder,
    };
    builder.build().expect("settings that hold together")
}

fn parts(request: &Value) -> Parts {
    let mut built = Request::new(());
    *built.method_mut() = text(&request["method"]).parse().expect("a method");
    *built.uri_mut() = text(&request["target"]).parse().expect("a request target");
    for field in request["headers"].as_array().expect("a list of fields") {
        let name = HeaderName::from_bytes(text(&field[0]).as_bytes()).expect("a field name");
        let value = HeaderValue::from_bytes(text(&field[1]).as_bytes()).expect("a field value");
        built.headers_mut().append(name, value);
    }
    built.into_parts().0
}

fn is_form(parts: &Parts) -> bool {
    let content_type = parts.headers.get("content-type");
    content_type.is_some_and(|value| value == "application/x-www-form-urlencoded")
}

fn algs(names: &Value) -> AlgSet {
    texts(names).map(|name| Alg::from_name(name).expect("an algorithm")).collect()
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_else(|| panic!("{value} is no string"))
}

fn texts(value: &Value) -> impl Iterator<Item = &str> {
    value.as_array().expect("a list").iter().map(text)
}

fn number(value: &Value) -> u64 {
    value.as_u64().expect("a whole number")
}

fn time(value: &Value) -> UnixTime {
    UnixTime::from_secs(number(value))
}

fn span(value: &Value) -> Duration {
    Duration::from_secs(number(value))
}
