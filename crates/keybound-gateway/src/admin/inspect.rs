//! Takes a proof apart and shows what each check of this gateway says of it, now and here. It is neither recorded nor logged.

use std::time::SystemTime;

use http::{Method, StatusCode};
use keybound::proof::{ParsedProof, decode_for_display};
use keybound::refusal::{Reason, Refusal};
use keybound::request::{AccessToken, ProofField, TargetUri};
use keybound::time::UnixTime;
use serde_json::{Value, json};

use super::answer::{self, Answer};
use crate::engine::Engine;

/// What somebody wants looked at.
struct Asked {
    proof: String,
    method: Option<Method>,
    url: Option<TargetUri>,
    token: Option<String>,
    at: Option<UnixTime>,
}

/// The answer to `{"proof": .., "method": .., "url": .., "token": .., "at": ..}`, of which only the proof must be there.
pub(super) fn answer(engine: &Engine, body: &[u8]) -> Answer {
    let examined = asked(body).and_then(|asked| examine(engine, &asked));
    match examined {
        Ok(report) => answer::json(StatusCode::OK, &report),
        Err(words) => answer::error(StatusCode::BAD_REQUEST, words),
    }
}

fn asked(body: &[u8]) -> Result<Asked, &'static str> {
    let body: Value = serde_json::from_slice(body).map_err(|_| "send JSON: {\"proof\": \"..\"}")?;
    let text = |name: &str| body[name].as_str().map(str::trim).filter(|text| !text.is_empty());
    let method = text("method").map(str::parse).transpose().map_err(|_| "that is no method")?;
    let url = text("url").map(TargetUri::parse).transpose().map_err(|_| "that is no absolute URL")?;
    Ok(Asked {
        proof: text("proof").ok_or("there is no proof")?.to_owned(),
        method,
        url,
        token: text("token").map(str::to_owned),
        at: body["at"].as_u64().map(UnixTime::from_secs),
    })
}

fn examine(engine: &Engine, asked: &Asked) -> Result<Value, &'static str> {
    let at = asked.at.unwrap_or_else(|| SystemTime::now().into());
    let [header, payload] = decode_for_display(&asked.proof);
    let mut checks = Vec::new();
    let mut jkt = None;
    match ProofField::from_octets(asked.proof.as_bytes()).and_then(ParsedProof::parse) {
        Err(refusal) => checks.push(refused("form", FORM, &refusal)),
        Ok(proof) => {
            checks.push(passed("form", FORM));
            jkt = Some(proof.jwk().thumbprint().to_string());
            claims(engine, asked, &proof, payload.as_ref(), at, &mut checks)?;
            binding(asked, jkt.as_deref(), &mut checks);
        }
    }
    let good = checks.iter().all(|check| check["verdict"] != "refused");
    let verdict = if good { "passed" } else { "refused" };
    Ok(json!({
        "header": header, "payload": payload, "jkt": jkt, "at": at.as_secs(), "checks": checks, "verdict": verdict,
    }))
}

const FORM: &str = "4.3(1) to (5), (7)";

/// What the verifier of this gateway says; what nothing was given for is compared with the proof itself, and said to be open.
fn claims(
    engine: &Engine,
    asked: &Asked,
    proof: &ParsedProof<'_>,
    payload: Option<&Value>,
    at: UnixTime,
    checks: &mut Vec<Value>,
) -> Result<(), &'static str> {
    let claim = |name: &str| payload.and_then(|payload| payload.get(name)?.as_str());
    let method = asked.method.clone().or_else(|| claim("htm")?.parse().ok()).unwrap_or_default();
    let anywhere = || TargetUri::parse("https://localhost/").map_err(|_| "there is no URL to compare with");
    let url = match asked.url.clone().or_else(|| TargetUri::parse(claim("htu")?).ok()) {
        Some(url) => url,
        None => anywhere()?,
    };
    let token = match asked.token.as_deref().map(AccessToken::parse) {
        Some(None) => return Err("the token is not one that a field can carry"),
        Some(token) => token,
        None => None,
    };
    let server = &engine.server;
    let examination = server.verifier().examine(proof, &method, &url, token, engine.replays().epoch(), at);
    for finding in examination.findings() {
        let (name, step) = (finding.name(), finding.step());
        checks.push(match (name, finding.refusal()) {
            (_, Some(refusal)) => refused(name, step, refusal),
            ("htm", None) if asked.method.is_none() => open(name, step, "give a method to compare it with"),
            ("htu", None) if asked.url.is_none() => open(name, step, "give a URL to compare it with"),
            ("ath", None) if asked.token.is_none() => open(name, step, "give a token to compare it with"),
            ("nonce", None) if claim("nonce").is_none() => open(name, step, "there is none, and none is demanded here"),
            (_, None) => passed(name, step),
        });
    }
    Ok(())
}

/// Whether the token, if it is a JWT, names this key. Its signature is not checked here.
fn binding(asked: &Asked, jkt: Option<&str>, checks: &mut Vec<Value>) {
    const STEP: &str = "4.3(12)";
    let Some(token) = &asked.token else { return };
    let [_, claims] = decode_for_display(token);
    let named = claims.as_ref().and_then(|claims| claims.get("cnf")?.get("jkt")?.as_str());
    checks.push(match named {
        Some(named) if Some(named) == jkt => passed("binding", STEP),
        Some(_) => refused("binding", STEP, &Reason::KeyMismatch.into()),
        None if claims.is_some() => refused("binding", STEP, &Reason::TokenUnbound.into()),
        None => open("binding", STEP, "the token is opaque; its issuer knows what it is bound to"),
    });
}

fn passed(name: &str, step: &str) -> Value {
    json!({"check": name, "step": format!("RFC 9449 {step}"), "verdict": "passed"})
}

fn open(name: &str, step: &str, note: &str) -> Value {
    json!({"check": name, "step": format!("RFC 9449 {step}"), "verdict": "open", "note": note})
}

fn refused(name: &str, step: &str, refusal: &Refusal) -> Value {
    let entry = refusal.reason().entry();
    json!({
        "check": name, "step": format!("RFC 9449 {step}"), "verdict": "refused", "reason": entry.code,
        "meaning": entry.meaning, "detail": refusal.detail(), "advice": entry.advice,
    })
}
