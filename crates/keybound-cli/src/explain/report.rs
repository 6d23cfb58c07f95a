//! What `explain` found, for people and as JSON.

use keybound::jwk::PublicJwk;
use keybound::refusal::Refusal;
use keybound::time::UnixTime;
use serde_json::{Value, json};

use super::moment;
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

    fn print(&self) {
        let (name, step) = (self.name, self.step);
        match &self.verdict {
            Verdict::Passed => anstream::println!("  {GOOD}pass{PLAIN}  {name:<10} {FAINT}{step}{PLAIN}"),
            Verdict::Open(note) => anstream::println!("  {FAINT}open  {name:<10} {step}  {note}{PLAIN}"),
            Verdict::Refused(refusal) => {
                let entry = refusal.reason().entry();
                anstream::println!(
                    "  {BAD}fail{PLAIN}  {name:<10} {FAINT}{step}{PLAIN}  {STRONG}{}{PLAIN}: {}",
                    entry.code,
                    entry.meaning
                );
                if let Some(detail) = refusal.detail() {
                    println!("        {detail}");
                }
                anstream::println!("        {FAINT}{}{PLAIN}", entry.advice);
            }
        }
    }
}

impl Report {
    /// Whether no check failed.
    pub(super) fn is_good(&self) -> bool {
        !self
            .checks
            .iter()
            .any(|check| matches!(check.verdict, Verdict::Refused(_)))
    }

    pub(super) fn print(&self, as_json: bool) {
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
            println!("{object:#}");
            return;
        }
        for (title, part) in [("header", &self.header), ("payload", &self.payload)] {
            match part {
                Some(part) => anstream::println!("{STRONG}{title}{PLAIN}\n{part:#}"),
                None => anstream::println!("{STRONG}{title}{PLAIN}\n  cannot be decoded"),
            }
        }
        if let Some(jwk) = &self.jkt {
            anstream::println!("{STRONG}key{PLAIN}\n  {:?}, jkt {}", jwk.kind(), jwk.thumbprint());
        }
        anstream::println!(
            "{STRONG}checks{PLAIN} {FAINT}of RFC 9449, as of {}{PLAIN}",
            moment(self.at).as_str().unwrap_or_default()
        );
        self.checks.iter().for_each(Check::print);
    }
}
