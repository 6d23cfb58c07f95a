//! What a token endpoint has to do for DPoP (RFC 9449 section 5), around the client authentication and the grants it has:
//! `cargo run -p keybound --example token_endpoint`.

use std::error::Error;
use std::io::{self, Write};
use std::sync::Arc;

use http::{HeaderMap, HeaderValue, Method, StatusCode};
use keybound::authorization_server::{AuthorizationServer, GrantBinding, TokenBinding, token_type};
use keybound::challenge::TokenErrorAnswer;
use keybound::client::{Attempt, PlainHttp, Prover, ServerMemory, permitted};
use keybound::crypto::Alg;
use keybound::crypto::aws_lc::{AwsLc, SoftwareKey, random_array};
use keybound::nonce::{NonceKey, StatelessNonces};
use keybound::refusal::Denial;
use keybound::replay::Epoch;
use keybound::replay::memory::{MemoryLimits, MemoryStore};
use keybound::request::TargetUri;
use keybound::time::UnixTime;
use keybound::verify::Verifier;
use serde_json::json;

// ANCHOR: endpoint
/// What an authorization server keeps for DPoP.
struct TokenEndpoint {
    server: AuthorizationServer,
    /// As clients call it, from outside any proxy.
    address: TargetUri,
    /// In this process; or any other [`keybound::replay::ReplayStore`].
    used: MemoryStore,
}

impl TokenEndpoint {
    /// Answers a POST whose fields are these.
    fn answer(&self, fields: &HeaderMap, now: UnixTime) -> (StatusCode, HeaderMap, String) {
        let mut headers = HeaderMap::new();
        match self.redeem(fields, now) {
            Ok(binding) => {
                headers.insert("cache-control", HeaderValue::from_static("no-store"));
                let token = signed_token(binding.as_ref());
                let body =
                    json!({"access_token": token, "token_type": token_type(binding.as_ref()), "expires_in": 300});
                (StatusCode::OK, headers, body.to_string())
            }
            Err(denial) => {
                // A refusal that demands a nonce has to bring one.
                let demanded = matches!(&denial, Denial::Refused(refusal) if refusal.demands_nonce());
                let nonce = demanded.then(|| self.server.issue_nonce(&self.address, self.used.epoch(), now));
                let answer = TokenErrorAnswer::new(&denial, nonce.as_ref());
                answer.apply(&mut headers);
                (answer.status(), headers, answer.body())
            }
        }
    }

    /// The order matters: a refused proof consumes nothing, and a stranger fills no memory.
    fn redeem(&self, fields: &HeaderMap, now: UnixTime) -> Result<Option<TokenBinding>, Denial> {
        let proven = self.server.verify(fields, &self.address, self.used.epoch(), now)?;
        // Here: authenticate the client, and look at its grant. What is the grant bound to, if to anything?
        GrantBinding::AnyKey.check(proven.as_ref())?;
        let Some(proven) = proven else { return Ok(None) };
        let seen = self.used.record_now(&proven.replay_entry(), now)?;
        let binding = proven.bind(seen)?;
        // Here: redeem the grant, in one atomic step.
        Ok(Some(binding))
    }
}

/// Here: sign the claims you have, with `cnf` among them.
fn signed_token(binding: Option<&TokenBinding>) -> String {
    let mut claims = json!({"iss": "https://id.example.com", "sub": "alice"});
    if let Some(binding) = binding {
        claims["cnf"] = binding.cnf();
    }
    claims.to_string()
}
// ANCHOR_END: endpoint

fn main() -> Result<(), Box<dyn Error>> {
    show(&mut io::stdout())
}

/// A client asks twice with one proof, and once with none.
pub(crate) fn show(out: &mut impl Write) -> Result<(), Box<dyn Error>> {
    let now = UnixTime::from_secs(1_700_000_000);
    let nonces = StatelessNonces::new(NonceKey::new(1, random_array()?));
    // An hour old: a memory that has just begun asks for a nonce first.
    let epoch = Epoch::new(u64::from_be_bytes(random_array()?), now.minus(core::time::Duration::from_secs(3600)));
    let endpoint = TokenEndpoint {
        server: AuthorizationServer::new(Verifier::builder(Arc::new(AwsLc), Arc::new(nonces)).build()?),
        address: TargetUri::parse("https://id.example.com/token")?,
        used: MemoryStore::new(MemoryLimits::new(), random_array()?, epoch)?,
    };

    let key = SoftwareKey::generate(Alg::Es256)?;
    writeln!(out, "the client's key is {}", key.thumbprint())?;
    let attempt = Attempt::at_authorization_server(&Method::POST, permitted(&endpoint.address, PlainHttp::Never)?);
    let mut fields = HeaderMap::new();
    attempt.prove(&Prover::of(&key)?, &ServerMemory::new(), random_array()?, now).sign(&key)?.apply(&mut fields);
    for (what, fields) in [("a proof", &fields), ("the same again", &fields), ("no proof", &HeaderMap::new())] {
        let (status, _, body) = endpoint.answer(fields, now);
        writeln!(out, "{what}: {status} {body}")?;
    }
    Ok(())
}
