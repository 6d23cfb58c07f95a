//! `cargo xtask figures`: runs the benchmarks and prints each figure beside its yardstick of the same run.

use std::process::{ExitCode, Stdio};

use serde_json::{Map, Value};

use crate::run;

/// Every benchmark, by the name of its program in `benches/`.
const NAMES: [&str; 5] = ["verify", "prove", "replay", "gateway", "dpop-price"];

/// Runs the benchmarks of these names, or all of them.
pub(crate) fn print(words: &[&str]) -> ExitCode {
    let json = words.contains(&"--json");
    let wanted: Vec<&str> = words.iter().copied().filter(|word| *word != "--json").collect();
    if let Some(unknown) = wanted.iter().find(|name| !NAMES.contains(name)) {
        eprintln!("there is no figure {unknown:?}; there are {}", NAMES.join(", "));
        return ExitCode::from(2);
    }
    let mut all = Map::new();
    for name in NAMES.into_iter().filter(|name| wanted.is_empty() || wanted.contains(name)) {
        let Some(figures) = measure(name) else { return ExitCode::FAILURE };
        for figure in figures {
            if !json {
                println!("{}", line(&figure));
            }
            let name = figure["name"].as_str().unwrap_or(name).to_owned();
            all.insert(name, figure);
        }
    }
    if json {
        println!("{:#}", Value::Object(all));
    }
    ExitCode::SUCCESS
}

/// One program of `benches/`, which prints a JSON object for each figure.
fn measure(name: &str) -> Option<Vec<Value>> {
    let arguments = ["run", "--release", "--quiet", "-p", "keybound-benches", "--features", "peers", "--bin", name];
    let output = run::command().args(arguments).stderr(Stdio::inherit()).output().ok()?;
    if !output.status.success() {
        eprintln!("the benchmark {name} failed");
        return None;
    }
    String::from_utf8(output.stdout).ok()?.lines().map(|line| serde_json::from_str(line).ok()).collect()
}

fn line(figure: &Value) -> String {
    let text = |name: &str| match &figure[name] {
        Value::Null => "-".to_owned(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    };
    let [name, value, unit, yardstick, ratio, aim] = ["name", "value", "unit", "yardstick", "ratio", "aim"].map(text);
    format!("{name:<40} {value:>14} {unit:<28} yardstick {yardstick:>12}  ratio {ratio:>8}  aim {aim}")
}
