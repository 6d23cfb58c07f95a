//! What `--trace` shows: requests and answers, and each proof taken apart. A proof and a token can be used by who reads them,
//! so neither is shown whole: no signature, no token, and of nonce and `jti` the beginning.

use http::header::AUTHORIZATION;
use http::{HeaderMap, Method, StatusCode, Version};
use keybound::challenge::DPOP;
use keybound::jwk::PublicJwk;
use keybound::jws::json::{Number, Object, Value};
use keybound::jws::{decode_base64url, encode_base64url};
use keybound_client::{Url, Watch};
use sha2::{Digest as _, Sha256};

use super::report::Verbose;
use crate::output;
use crate::style::{FAINT, PLAIN, STRONG};

/// How much of a secret is shown, so that two can be told apart.
const BEGINNING: usize = 6;

/// Shows on standard error what `-v` shows, with the proofs.
#[derive(Debug)]
pub(super) struct Trace;

impl Watch for Trace {
    fn sending(&self, method: &Method, url: &Url, fields: &HeaderMap) {
        Verbose.sending(method, url, fields);
        let proof = fields.get(&DPOP).and_then(|proof| proof.to_str().ok());
        let token = fields.get(AUTHORIZATION).and_then(|value| value.to_str().ok()?.strip_prefix("DPoP "));
        if let Some(lines) = proof.and_then(|proof| apart(proof, token)) {
            output::aside(format_args!("{FAINT}*{PLAIN} {STRONG}proof{PLAIN}"));
            lines.iter().for_each(|line| output::aside(format_args!("{FAINT}*{PLAIN}   {line}")));
            output::aside(format_args!("{FAINT}*{PLAIN}"));
        }
    }

    fn answered(&self, version: Version, status: StatusCode, fields: &HeaderMap) {
        Verbose.answered(version, status, fields);
    }
}

/// What a proof says, a line for each part.
fn apart(proof: &str, token: Option<&str>) -> Option<Vec<String>> {
    let mut segments = proof.split('.');
    let (header, payload) = (decode_base64url(segments.next()?).ok()?, decode_base64url(segments.next()?).ok()?);
    let (header, payload) = (Object::parse(&header).ok()?, Object::parse(&payload).ok()?);
    let mut lines = Vec::new();
    let text = |value: &Value<'_>| value.as_str().map(str::to_owned);
    for (name, value) in header.iter() {
        lines.push(match name {
            "jwk" => format!("jwk   {}", key(value)),
            _ => format!("{name:<5} {}", text(value).unwrap_or_default()),
        });
    }
    for (name, value) in payload.iter() {
        lines.push(match (name, value) {
            ("jti" | "nonce", _) => format!("{name:<5} {}", beginning(&text(value)?)),
            ("iat", Value::Number(Number::Whole(seconds))) => format!("iat   {seconds} ({})", time(*seconds)),
            ("ath", _) => format!("ath   {}", of_token(&text(value)?, token)),
            _ => format!("{name:<5} {}", text(value).unwrap_or_default()),
        });
    }
    Some(lines)
}

fn key(value: &Value<'_>) -> String {
    match PublicJwk::from_json(value.to_json().to_string().as_bytes()) {
        Ok(key) => format!("{:?} {}", key.kind(), key.thumbprint()),
        Err(_) => "unreadable".to_owned(),
    }
}

fn beginning(secret: &str) -> String {
    let shown: String = secret.chars().take(BEGINNING).collect();
    format!("{shown}… ({} characters)", secret.chars().count())
}

fn of_token(ath: &str, token: Option<&str>) -> String {
    let own = token.is_some_and(|token| encode_base64url(&Sha256::digest(token)) == ath);
    format!("{ath} ({})", if own { "of the token in this request" } else { "of another token" })
}

fn time(seconds: u64) -> String {
    let time = i64::try_from(seconds).ok().and_then(|seconds| jiff::Timestamp::from_second(seconds).ok());
    time.map(|time| time.to_string()).unwrap_or_default()
}
