//! What `explain` found, for people and as JSON.

use keybound::crypto::KeyKind;
use keybound::jwk::PublicJwk;
use keybound::refusal::Refusal;
use keybound::time::UnixTime;
use serde_json::{Value, json};

use super::moment;
use crate::outcome::Failure;
use crate::output;
use crate::style::{BAD, FAINT, GOOD, PLAIN, STRONG};

/// A proof taken apart.
pub(super) struct Report {
    pub(super) header: Option<Value>,
    pub(super) payload: Option<Value>,
    pub(super) jkt: Option<PublicJwk>,
    pub(super) at: UnixTime,
    pub(super) checks: Vec<Check>,
}

/// One check and its verdict.
pub(super) struct Check {
    name: &'static str,
    step: &'static str,
    verdict: Verdict,
}

pub(super) enum Verdict {
    Passed,
    Refused(Refusal),
    /// Nothing to compare with; what would help.
    Open(&'static str),
}

impl Check {
    pub(super) const fn new(name: &'static str, step: &'static str, verdict: Verdict) -> Self {
        Self { name, step, verdict }
    }

    fn to_json(&self) -> Value {
        let mut object = json!({"check": self.name, "step": format!("RFC 9449 {}", self.step)});
        match &self.verdict {
            Verdict::Passed => object["verdict"] = "passed".into(),
            Verdict::Open(note) => {
                object["verdict"] = "open".into();
                object["note"] = (*note).into();
            }
            Verdict::Refused(refusal) => {
                let entry = refusal.reason().entry();
                object["verdict"] = "refused".into();
                object["reason"] = entry.code.into();
                object["meaning"] = entry.meaning.into();
                object["detail"] = refusal.detail().into();
                object["advice"] = entry.advice.into();
            }
        }
        object
    }

    fn print(&self) -> Result<(), Failure> {
        let (name, step) = (self.name, self.step);
        match &self.verdict {
            Verdict::Passed => output::styled(format_args!("  {GOOD}pass{PLAIN}  {name:<10} {FAINT}{step}{PLAIN}")),
            Verdict::Open(note) => output::styled(format_args!("  {FAINT}open  {name:<10} {step}  {note}{PLAIN}")),
            Verdict::Refused(refusal) => {
                let entry = refusal.reason().entry();
                output::styled(format_args!(
                    "  {BAD}fail{PLAIN}  {name:<10} {FAINT}{step}{PLAIN}  {STRONG}{}{PLAIN}: {}",
                    entry.code, entry.meaning
                ))?;
                if let Some(detail) = refusal.detail() {
                    output::line(format_args!("        {detail}"))?;
                }
                output::styled(format_args!("        {FAINT}{}{PLAIN}", entry.advice))
            }
        }
    }
}

impl Report {
    /// Whether no check failed.
    pub(super) fn is_good(&self) -> bool {
        !self.checks.iter().any(|check| matches!(check.verdict, Verdict::Refused(_)))
    }

    pub(super) fn print(&self, as_json: bool) -> Result<(), Failure> {
        if as_json {
            let checks: Vec<_> = self.checks.iter().map(Check::to_json).collect();
            let object = json!({
                "header": self.header,
                "payload": self.payload,
                "jkt": self.jkt.as_ref().map(|jwk| jwk.thumbprint().to_string()),
                "at": self.at.as_secs(),
                "checks": checks,
                "verdict": if self.is_good() { "passed" } else { "refused" },
            });
            return output::line(format_args!("{object:#}"));
        }
        for (title, part) in [("header", &self.header), ("payload", &self.payload)] {
            match part {
                Some(part) => output::styled(format_args!("{STRONG}{title}{PLAIN}\n{part:#}"))?,
                None => output::styled(format_args!("{STRONG}{title}{PLAIN}\n  cannot be decoded"))?,
            }
        }
        if let Some(jwk) = &self.jkt {
            let kind = kind_name(jwk.kind());
            output::styled(format_args!("{STRONG}key{PLAIN}\n  {kind}, jkt {}", jwk.thumbprint()))?;
        }
        output::styled(format_args!(
            "{STRONG}checks{PLAIN} {FAINT}of RFC 9449, as of {}{PLAIN}",
            moment(self.at).as_str().unwrap_or_default()
        ))?;
        self.checks.iter().try_for_each(Check::print)
    }
}

/// As the registry of JOSE names it.
const fn kind_name(kind: KeyKind) -> &'static str {
    match kind {
        KeyKind::P256 => "P-256",
        KeyKind::P384 => "P-384",
        KeyKind::P521 => "P-521",
        KeyKind::Ed25519 => "Ed25519",
        KeyKind::Rsa => "RSA",
        _ => "of a new kind",
    }
}
