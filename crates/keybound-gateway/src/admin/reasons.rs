//! The table of reasons, for the console.

use keybound::refusal::{Fault, Outcome, Reason};
use serde_json::{Value, json};

use crate::answer::Problem;

/// Every reason: those of tokens and proofs, our own faults, and those of the gateway.
pub(super) fn table() -> Value {
    let reasons = Reason::ALL.iter().map(|reason| {
        let entry = reason.entry();
        let answer = match entry.outcome {
            Outcome::Challenge => "401 with challenges and no error".to_owned(),
            Outcome::Error(error) => error.as_str().to_owned(),
            Outcome::Status(status) => status.to_string(),
            _ => String::new(),
        };
        json!({"code": entry.code, "rule": entry.rule, "answer": answer, "meaning": entry.meaning, "advice": entry.advice})
    });
    let faults = Fault::ALL.iter().map(|fault| {
        let rule = "a fault on our own side";
        json!({"code": fault.code(), "rule": rule, "answer": "503", "meaning": fault.meaning(), "advice": fault.advice()})
    });
    let known = |problem: &&Problem| Reason::from_code(problem.code()).is_none();
    let problems = Problem::ALL.iter().filter(known).map(|problem| {
        let answer = problem.status().as_u16().to_string();
        json!({"code": problem.code(), "rule": "the gateway's own", "answer": answer, "meaning": plain(problem.meaning())})
    });
    json!({ "reasons": reasons.chain(faults).chain(problems).collect::<Vec<_>>() })
}

/// A sentence of documentation, as it is read outside of it: without marks for code and numbers of requirements.
fn plain(documentation: &str) -> String {
    let text = documentation.trim().replace('`', "");
    let text = text.split(" (R-").next().unwrap_or_default();
    let text = text.trim_end_matches('.');
    let mut letters = text.chars();
    letters.next().map(|first| first.to_lowercase().chain(letters).collect()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_code_once_and_in_words() {
        let table = table();
        let rows = table["reasons"].as_array().unwrap();
        let mut codes: Vec<_> = rows.iter().map(|row| row["code"].as_str().unwrap()).collect();
        codes.sort_unstable();
        let mut once = codes.clone();
        once.dedup();
        assert_eq!(codes, once);
        for row in rows {
            let meaning = row["meaning"].as_str().unwrap();
            assert!(meaning.len() > 5 && !meaning.contains('`') && !meaning.contains("R-"), "{row}");
        }
    }
}
