//! What happened, for people as it happens, and for programs at the end.

use std::fmt;
use std::time::Instant;

use keybound::refusal::Reason;
use serde_json::{Value, json};

use super::cast::Cast;
use super::meaning;
use super::wire::Answer;
use crate::outcome::Failure;
use crate::output;
use crate::style::{BAD, FAINT, GOOD, PLAIN, STRONG};

type Done = Result<(), Failure>;

/// One request and what came of it.
pub(super) struct Finding {
    case: &'static str,
    tried: String,
    answer: Answer,
    tries: u32,
    /// Of an attack, what it must be refused for.
    expected: Option<Reason>,
}

impl Finding {
    pub(super) fn honest(case: &'static str, tried: impl Into<String>, answer: &Answer, tries: u32) -> Self {
        Self { case, tried: tried.into(), answer: answer.clone(), tries, expected: None }
    }

    pub(super) fn attack(case: &'static str, tried: &str, expected: Reason, answer: &Answer) -> Self {
        Self { case, tried: tried.to_owned(), answer: answer.clone(), tries: 1, expected: Some(expected) }
    }

    fn passed(&self) -> bool {
        (200..300).contains(&self.answer.status)
    }

    fn is_good(&self) -> bool {
        match self.expected {
            None => self.passed(),
            Some(expected) => !self.passed() && self.answer.reason.as_deref() == Some(expected.code()),
        }
    }

    fn to_json(&self) -> Value {
        json!({
            "case": self.case,
            "kind": if self.expected.is_some() { "attack" } else { "honest" },
            "status": self.answer.status,
            "error": self.answer.error,
            "reason": self.answer.reason,
            "expected_reason": self.expected.map(Reason::code),
            "ok": self.is_good(),
        })
    }

    /// What became of it, in one word.
    fn verdict(&self) -> &'static str {
        match (self.expected, self.passed()) {
            (None, true) => "passed",
            (None, false) => "REFUSED",
            (Some(_), true) => "GOT IN",
            (Some(_), false) => "refused",
        }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let colour = if self.is_good() { GOOD } else { BAD };
        let error = self.answer.error.as_deref().unwrap_or_default();
        let reason = self.answer.reason.as_deref().unwrap_or_default();
        write!(f, "  {colour}{:<7}{PLAIN}  {:<55}", self.verdict(), self.tried)?;
        if self.passed() {
            write!(f, "{}", self.answer.status)?;
            if self.tries > 1 {
                write!(f, "  {FAINT}at the second try, with the nonce that the first one brought{PLAIN}")?;
            }
        } else {
            write!(f, "{}  {error:<18}  {STRONG}{reason}{PLAIN}", self.answer.status)?;
            if let Some(meaning) = meaning(reason) {
                write!(f, "\n  {:<7}  {FAINT}{meaning}{PLAIN}", "")?;
            }
        }
        match self.expected.filter(|_| !self.is_good()) {
            Some(expected) => write!(f, "\n  {:<7}  {BAD}expected: {}{PLAIN}", "", expected.code()),
            None => Ok(()),
        }
    }
}

/// All findings so far.
pub(super) struct Report {
    as_json: bool,
    began: Instant,
    findings: Vec<Finding>,
}

impl Report {
    pub(super) fn new(as_json: bool) -> Self {
        Self { as_json, began: Instant::now(), findings: Vec::new() }
    }

    pub(super) fn begin(&self, cast: &Cast) -> Done {
        self.say(format_args!(
            "{STRONG}keybound demo{PLAIN}: an issuer on http://{}, a gateway on http://{}, each a process of its own.",
            cast.issuer(),
            cast.gateway()
        ))
    }

    pub(super) fn act(&self, title: &str) -> Done {
        self.say(format_args!("\n{STRONG}{title}{PLAIN}"))
    }

    pub(super) fn add(&mut self, finding: Finding) -> Done {
        let said = self.say(&finding);
        self.findings.push(finding);
        said
    }

    /// The summary, or the array.
    pub(super) fn end(&self) -> Done {
        if self.as_json {
            let array: Value = self.findings.iter().map(Finding::to_json).collect();
            return output::line(format_args!("{array:#}"));
        }
        let count = |attack: bool, good: bool| {
            let of_kind = |finding: &&Finding| finding.expected.is_some() == attack && finding.is_good() == good;
            self.findings.iter().filter(of_kind).count()
        };
        let seconds = self.began.elapsed().as_secs_f64();
        if self.is_good() {
            let (attacks, honest) = (count(true, true), count(false, true));
            return self.say(format_args!(
                "\n{GOOD}All {attacks} attacks were refused, each for its own reason, and all {honest} honest requests passed{PLAIN} \
                 {FAINT}({seconds:.1} s){PLAIN}\nWhat a reason means: keybound explain key.mismatch"
            ));
        }
        let (attacks, honest) = (count(true, false), count(false, false));
        self.say(format_args!(
            "\n{BAD}Not refused as they must be: {attacks} attacks. Not let in: {honest} honest requests{PLAIN} \
             {FAINT}({seconds:.1} s){PLAIN}"
        ))
    }

    /// Whether every honest request passed, and every attack got its reason.
    pub(super) fn is_good(&self) -> bool {
        !self.findings.is_empty() && self.findings.iter().all(Finding::is_good)
    }

    fn say(&self, text: impl fmt::Display) -> Done {
        if self.as_json { Ok(()) } else { output::styled(text) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(status: u16, reason: Option<&str>) -> Answer {
        Answer { status, error: None, reason: reason.map(str::to_owned), nonce: None }
    }

    #[test]
    fn an_attack_fails_for_its_own_reason_or_the_demo_does() {
        for (status, reason, good) in [
            (401, Some("replay.seen"), true),
            (401, Some("nonce.barrier"), false),
            (401, None, false),
            (200, None, false),
            (200, Some("replay.seen"), false),
            (503, Some("token.keys"), false),
        ] {
            let finding = Finding::attack("replayed", "again", Reason::ReplaySeen, &answer(status, reason));
            assert_eq!(finding.is_good(), good, "{status} {reason:?}");
            assert_eq!(finding.to_json()["ok"], good);
            let mut report = Report::new(true);
            report.add(Finding::honest("first", "first", &answer(200, None), 1)).unwrap();
            report.add(finding).unwrap();
            assert_eq!(report.is_good(), good);
        }
    }

    #[test]
    fn an_honest_request_that_is_refused_fails_the_demo() {
        for (status, good) in [(200, true), (401, false), (502, false)] {
            let finding = Finding::honest("first", "first", &answer(status, None), 2);
            assert_eq!((finding.is_good(), &finding.to_json()["expected_reason"]), (good, &Value::Null));
        }
        assert!(!Report::new(false).is_good(), "nothing played is nothing shown");
    }
}
