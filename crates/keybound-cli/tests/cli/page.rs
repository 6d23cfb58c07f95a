//! `docs/commands.md` is printed from the help of each command. After a change there:
//! `UPDATE=1 cargo test -p keybound-cli --test cli page`.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use crate::support::Place;

/// The commands of this help.
fn commands(help: &str) -> Vec<String> {
    let Some((_, after)) = help.split_once("\nCommands:\n") else { return Vec::new() };
    let rows = after.lines().take_while(|line| !line.is_empty()).filter(|line| !line.starts_with("   "));
    let names = rows.filter_map(|row| row.split_whitespace().next()).filter(|name| *name != "help");
    names.map(str::to_owned).collect()
}

/// The help of a command and of each command below it. Of the width, 100 columns are the most.
fn print(place: &Place, text: &mut String, words: &[&str]) {
    let said = place.run_with(&[("COLUMNS", "100")], &[words, &["--help"]].concat());
    let help = said.good();
    if !words.is_empty() {
        let lines = help.trim_end().lines().map(str::trim_end).collect::<Vec<_>>().join("\n");
        let level = "#".repeat(words.len() + 1);
        write!(text, "\n{level} keybound {}\n\n```text\n{lines}\n```\n", words.join(" ")).unwrap();
    }
    for name in commands(help) {
        print(place, text, &[words, &[&name]].concat());
    }
}

#[test]
fn the_page_is_the_help() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/commands.md");
    let mut printed = "# Commands\n\nWhat `--help` says of each command; this page is printed from it. The exit status is 0 if all is done, 1 if \
                       something was refused or\nfailed, and 2 if the command line or a configuration is wrong. `keybound man COMMAND` prints \
                       the same as a manual page, and\n`keybound completions SHELL` what a shell needs to complete it.\n"
        .to_owned();
    print(&Place::new(), &mut printed, &[]);
    if std::env::var_os("UPDATE").is_some() {
        fs::write(&path, &printed).unwrap();
    }
    let written = fs::read_to_string(&path).unwrap_or_default();
    let renew = "UPDATE=1 cargo test -p keybound-cli --test cli page";
    assert!(written == printed, "docs/commands.md is not what the commands say; renew it: {renew}");
}

/// Each command, by its words.
fn all(place: &Place, words: &[&str]) -> Vec<Vec<String>> {
    let help = place.run(&[words, &["--help"]].concat());
    let below = commands(help.good()).into_iter().flat_map(|name| all(place, &[words, &[&name]].concat()));
    std::iter::once(words.iter().map(|word| (*word).to_owned()).collect()).chain(below).collect()
}

#[test]
fn every_command_has_a_manual_page_and_is_completed() {
    let place = Place::new();
    let all = all(&place, &[]);
    assert!(all.len() > 20, "{all:?}");
    for words in &all {
        let said = place.run(&[&["man"][..], &words.iter().map(String::as_str).collect::<Vec<_>>()].concat());
        let name = [&["keybound".to_owned()][..], words].concat().join("-");
        assert!(said.good().contains(&format!(".TH {name} 1 ")) && said.stdout.contains(".SH SYNOPSIS"), "{words:?}");
    }
    assert_eq!(place.run(&["man", "nothing"]).status, 2);
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let said = place.run(&["completions", shell]);
        for words in all.iter().filter(|words| words.len() == 1) {
            assert!(said.good().contains(&words[0]), "{shell} {words:?}");
        }
        assert!(said.stdout.contains("data-binary"), "{shell}");
    }
}
