//! `docs/refusals.md` is printed from the tables of reasons. After a change there:
//! `UPDATE=1 cargo test -p keybound-gateway --test refusals`.

use std::collections::HashSet;
use std::fmt::Write as _;
use std::path::Path;

use keybound_gateway::reasons::Row;

fn document() -> String {
    let mut text = "# Reason codes\n\nWhy a request was refused or failed. The code stands in the answer, in the log and in the metric \
                    `keybound_refusals`; `keybound\nexplain CODE` prints its row. This page is printed from the tables in the code.\n"
        .to_owned();
    for Row { code, rule, answer, meaning, advice, .. } in Row::all() {
        write!(text, "\n## {code}\n\n{meaning}\n\n- rule: {rule}\n- answer: {answer}\n- do: {advice}\n").unwrap();
    }
    text
}

#[test]
fn the_document_is_the_tables() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/refusals.md");
    let printed = document();
    if std::env::var_os("UPDATE").is_some() {
        std::fs::write(&path, &printed).unwrap();
    }
    let written = std::fs::read_to_string(&path).unwrap_or_default();
    let renew = "UPDATE=1 cargo test -p keybound-gateway --test refusals";
    assert!(written == printed, "docs/refusals.md is not what the tables say; renew it: {renew}");
}

#[test]
fn each_code_is_there_once_and_in_words() {
    let mut codes = HashSet::new();
    for row in Row::all() {
        assert!(codes.insert(row.code), "{} twice", row.code);
        for words in [row.meaning, row.advice] {
            assert!(words.len() > 5 && !words.ends_with('.') && !words.contains(['`', '|']), "{row:?}");
        }
    }
    for problem in keybound_gateway::answer::Problem::ALL {
        assert!(codes.contains(problem.code()), "{problem}");
    }
}
