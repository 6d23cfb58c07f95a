//! Prints the table of keys as a page of the book.

use core::fmt::Write as _;

use super::keys::{self, Absent, KEYS, Key, Kind, SECTIONS, Section};

/// `docs/settings.md`: every setting with its meaning, what may be written for it, its default and its variable.
pub fn reference_text() -> String {
    let mut text = String::from(
        "# Settings\n\n\
         Every setting of the file that `keybound serve --config FILE` reads. This page is printed from the code, as are\n\
         `keybound config default`, which is a file to begin with, and `keybound config schema`, for editors.\n\
         `keybound config check FILE` finds every mistake at once.\n\n\
         - **Over the file** goes the environment, by the variable named at each setting (lists with commas between), and\n  \
         over both go the flags. Settings of tables that may stand several times have no variable.\n\
         - **Times** are a number and `ms`, `s`, `m`, `h` or `d`; **sizes** a number and `B`, `KiB`, `MiB`, `GiB` or `TiB`.\n\
         - **Paths of files** are relative to the file.\n\
         - A setting that does not exist is a mistake, not a remark.\n",
    );
    for section in SECTIONS {
        print_section(&mut text, section);
        for key in KEYS.iter().filter(|key| keys::is_in(key.path, section.path)) {
            print_key(&mut text, key);
        }
    }
    text
}

fn print_section(text: &mut String, section: &Section) {
    let header = if section.repeated { format!("[[{}]]", section.path) } else { format!("[{}]", section.path) };
    let _ = writeln!(text, "\n## `{header}`\n\n{}", paragraph(section.doc));
    if section.repeated {
        let _ = writeln!(text, "\nIt may stand several times.");
    }
}

fn print_key(text: &mut String, key: &Key) {
    let _ = writeln!(text, "\n### {}\n\n{}\n\n- value: {}", key.path, paragraph(key.doc), value(key.kind));
    match key.absent {
        Absent::Is(value) => writeln!(text, "- default: `{value}`"),
        Absent::Unset(example) => writeln!(text, "- default: not set\n- example: `{example}`"),
        Absent::Required(example) => writeln!(text, "- default: none, it must be written\n- example: `{example}`"),
        Absent::Expected(example) => {
            writeln!(text, "- default: none, it must be written but for what is said above\n- example: `{example}`")
        }
        Absent::ByPreset { default, fapi, mcp } => {
            writeln!(
                text,
                "- default: by `proof.preset`\n  - default: `{default}`\n  - fapi: `{fapi}`\n  - mcp: `{mcp}`"
            )
        }
    }
    .and_then(|()| match keys::settable().any(|settable| settable.path == key.path) {
        true => writeln!(text, "- variable: `{}`", keys::variable(key)),
        false => Ok(()),
    })
    // Writing to a string does not fail.
    .unwrap_or_default();
}

fn value(kind: Kind) -> String {
    let of = |words: &[&str]| words.iter().map(|word| format!("`{word}`")).collect::<Vec<_>>().join(", ");
    match kind {
        Kind::Text => "text".to_owned(),
        Kind::Duration => "time".to_owned(),
        Kind::Size => "size".to_owned(),
        Kind::Count { least, most } => format!("whole number from {least} to {most}"),
        Kind::Flag => "`true` or `false`".to_owned(),
        Kind::Choice(choices) => format!("one of {}", of(choices)),
        Kind::Texts => "list of texts".to_owned(),
        Kind::Algorithms => "list of algorithms".to_owned(),
        Kind::Table => "table".to_owned(),
    }
}

/// In one line, with nothing in it that Markdown would take for its own.
fn paragraph(doc: &str) -> String {
    let escaped = |char| matches!(char, '[' | ']' | '*' | '<' | '`').then_some('\\').into_iter().chain([char]);
    doc.replace('\n', " ").chars().flat_map(escaped).collect()
}
