//! One line for a decision: who, where, why. Of token and proof there is a mark to tell them by, never the thing itself.

use data_encoding::HEXLOWER;
use http::header::AUTHORIZATION;
use http::request::Parts;
use keybound::proof::decode_for_display;
use sha2::{Digest as _, Sha256};

use super::ring::Decision;
use super::{Meter, Terms};
use crate::config::LoggedDecisions;

/// What decisions are logged as; a filter can name it.
const TARGET: &str = "keybound::decision";

/// So many octets of a token's digest: enough to find lines of the same one.
const DIGEST: usize = 6;

/// So much of a `jti`.
const JTI: usize = 32;

/// By what a token and a proof can be told from others.
#[derive(Debug)]
pub(super) struct Marks {
    token: Option<String>,
    jti: Option<String>,
}

impl Marks {
    /// Made only where a line will be written.
    pub(super) fn of(parts: &Parts) -> Self {
        let token = parts.headers.get(AUTHORIZATION).and_then(|value| {
            let token = value.as_bytes().splitn(2, |octet| *octet == b' ').nth(1)?;
            Some(HEXLOWER.encode(&Sha256::digest(token.trim_ascii())[..DIGEST]))
        });
        let jti = parts.headers.get("dpop").and_then(|proof| {
            let [_, payload] = decode_for_display(proof.to_str().ok()?);
            Some(payload?.get("jti")?.as_str()?.chars().take(JTI).collect())
        });
        Self { token, jti }
    }
}

/// Whether there will be a line.
pub(super) fn is_wanted(admitted: bool, logged: LoggedDecisions) -> bool {
    if admitted && logged == LoggedDecisions::Refused {
        tracing::enabled!(target: TARGET, tracing::Level::DEBUG)
    } else {
        tracing::enabled!(target: TARGET, tracing::Level::INFO)
    }
}

/// A line to be.
pub(super) struct Line<'a> {
    pub(super) decision: &'a Decision,
    pub(super) meter: &'a Meter,
    pub(super) client: &'a str,
    /// What was expected and found.
    pub(super) detail: Option<&'a str>,
    pub(super) marks: Option<&'a Marks>,
}

macro_rules! event {
    ($level:ident, $line:expr, $what:literal) => {{
        let Line { decision, meter, client, detail, marks } = $line;
        tracing::$level!(
            target: TARGET,
            route = meter.route(),
            mode = meter.terms().as_str(),
            method = (!decision.method.is_empty()).then_some(decision.method),
            status = decision.status,
            reason = decision.reason,
            detail,
            client = (!client.is_empty()).then_some(*client),
            jkt = decision.jkt.map(|jkt| jkt.to_string()),
            iat_offset = decision.iat_offset,
            jti = marks.and_then(|marks| marks.jti.as_deref()),
            token_sha256 = marks.and_then(|marks| marks.token.as_deref()),
            $what
        );
    }};
}

impl Line<'_> {
    /// Writes it, if its level is on.
    pub(super) fn write(&self, logged: LoggedDecisions) {
        match (self.decision.reason, self.meter.terms(), logged) {
            (None, _, LoggedDecisions::Refused) => event!(debug, self, "admitted"),
            (None, _, LoggedDecisions::All) => event!(info, self, "admitted"),
            (Some(_), Terms::Report, _) => event!(info, self, "would be refused"),
            (Some(_), ..) => event!(info, self, "refused"),
        }
    }
}
