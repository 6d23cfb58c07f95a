//! Every reason code there is, in one table: those of tokens and proofs, of faults on our own side, and of the gateway itself.
//!
//! ```
//! use keybound_gateway::reasons::Row;
//!
//! let row = Row::of("framing.ambiguous").unwrap();
//! assert_eq!(row.answer, "400");
//! ```

use keybound::refusal::{Fault, Outcome, Reason};
use serde_json::{Value, json};

use crate::answer::Problem;

/// One code, for somebody who reads it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Row {
    /// The code, as it stands in answers, logs and metrics.
    pub code: &'static str,
    /// Where the rule stands.
    pub rule: &'static str,
    /// What the client is told: an error code of OAuth, or a status.
    pub answer: String,
    /// What was found.
    pub meaning: &'static str,
    /// What can be done about it.
    pub advice: &'static str,
}

impl Row {
    /// Every code once. Where the gateway raises what is also a reason of the protocol, the row is that of the reason.
    pub fn all() -> impl Iterator<Item = Self> {
        let own = Problem::ALL.iter().filter(|problem| Reason::from_code(problem.code()).is_none());
        let reasons = Reason::ALL.iter().map(|reason| Self::from(*reason));
        reasons.chain(Fault::ALL.iter().map(|fault| Self::from(*fault))).chain(own.map(|problem| Self::from(*problem)))
    }

    /// The row of this code.
    pub fn of(code: &str) -> Option<Self> {
        Self::all().find(|row| row.code == code)
    }

    /// An object with a member for each field.
    pub fn json(&self) -> Value {
        let Self { code, rule, answer, meaning, advice } = self;
        json!({"code": code, "rule": rule, "answer": answer, "meaning": meaning, "advice": advice})
    }
}

impl From<Reason> for Row {
    fn from(reason: Reason) -> Self {
        let entry = reason.entry();
        let answer = match entry.outcome {
            Outcome::Challenge => "401 with challenges and no error".to_owned(),
            Outcome::Error(error) => error.as_str().to_owned(),
            Outcome::Status(status) => status.to_string(),
            _ => String::new(),
        };
        Self { code: entry.code, rule: entry.rule, answer, meaning: entry.meaning, advice: entry.advice }
    }
}

impl From<Fault> for Row {
    fn from(fault: Fault) -> Self {
        let (code, meaning, advice) = (fault.code(), fault.meaning(), fault.advice());
        Self { code, rule: "a fault on the server's side", answer: "503".to_owned(), meaning, advice }
    }
}

impl From<Problem> for Row {
    fn from(problem: Problem) -> Self {
        let (code, meaning, advice) = (problem.code(), problem.meaning(), problem.advice());
        Self { code, rule: "the gateway's own", answer: problem.status().as_u16().to_string(), meaning, advice }
    }
}
