//! Every reason code an answer of the gateway can have, each once, with a number.

use std::sync::LazyLock;

use keybound::refusal::{Fault, Reason};

use crate::answer::Problem;

static CODES: LazyLock<Vec<&'static str>> = LazyLock::new(|| {
    let reasons = Reason::ALL.iter().map(|reason| reason.code());
    let faults = Fault::ALL.iter().map(|fault| fault.code());
    let problems = Problem::ALL.iter().map(|problem| problem.code());
    let mut codes = Vec::new();
    // Some of the gateway's own stand in the table of refusals too.
    for code in reasons.chain(faults).chain(problems) {
        if !codes.contains(&code) {
            codes.push(code);
        }
    }
    codes
});

/// How many there are.
pub(super) fn count() -> usize {
    CODES.len()
}

/// The number of a code; only refusals ask for it.
pub(super) fn number(code: &str) -> Option<usize> {
    CODES.iter().position(|known| *known == code)
}

/// The codes, by their numbers.
pub(super) fn all() -> &'static [&'static str] {
    &CODES
}
