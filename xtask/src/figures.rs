//! `cargo xtask figures`: runs the benchmarks and prints each figure beside its yardstick of the same run.

use std::io;
use std::process::{ExitCode, Stdio};

use serde_json::{Map, Value, json};

use crate::test::{installed, npm};
use crate::{postgres, run};

/// Every benchmark, by the name of its program in `benches/`.
const NAMES: [&str; 9] = ["verify", "prove", "replay", "start", "gateway", "dpop-price", "client", "redis", "issuer"];

/// Runs the benchmarks of these names, or all of them.
pub(crate) fn print(words: &[&str]) -> ExitCode {
    let json = words.contains(&"--json");
    let wanted: Vec<&str> = words.iter().copied().filter(|word| *word != "--json").collect();
    if let Some(unknown) = wanted.iter().find(|name| !NAMES.contains(name)) {
        eprintln!("the figure {unknown:?} does not exist; there are {}", NAMES.join(", "));
        return ExitCode::from(2);
    }
    let mut all = Map::new();
    if !json {
        println!("{}", line(["figure", "value", "unit", "yardstick", "ratio", "aim"]));
    }
    for name in NAMES.into_iter().filter(|name| wanted.is_empty() || wanted.contains(name)) {
        let Some(figures) = measure(name) else { return ExitCode::FAILURE };
        for figure in figures {
            if !json {
                println!("{}", line(cells(&figure).each_ref().map(String::as_str)));
            }
            let name = figure["name"].as_str().unwrap_or(name).to_owned();
            let [value, unit, yardstick, ratio, aim] =
                ["value", "unit", "yardstick", "ratio", "aim"].map(|member| figure[member].clone());
            let figure = json!({"value": value, "unit": unit, "yardstick": yardstick, "ratio": ratio, "aim": aim});
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
    let mut arguments =
        vec!["run", "--release", "--quiet", "-p", "keybound-benches", "--features", "peers", "--bin", name];
    if name == "redis"
        && let Err(error) = installed("redis-benchmark", "--version", &["redis-server", "redis-tools"])
    {
        eprintln!("{error}");
        return None;
    }
    if name == "issuer" {
        return beside_oidc_provider(&arguments).unwrap_or_else(|error| {
            eprintln!("{error}");
            None
        });
    }
    let program = if name == "start" { Some(build_keybound()?) } else { None };
    if let Some(program) = &program {
        arguments.extend(["--", program]);
    }
    measured(name, &arguments)
}

/// The issuer's, with Node, the packages of `interop/node` and a PostgreSQL server, which ends with it.
fn beside_oidc_provider(arguments: &[&str]) -> io::Result<Option<Vec<Value>>> {
    let (_, node) = npm("node", &run::target_directory()?)?;
    let server = postgres::start()?;
    let (node, url, process) = (node.display().to_string(), server.url(), server.process()?);
    Ok(measured("issuer", &[arguments, &["--", &node, &url, &process]].concat()))
}

/// Runs cargo with these arguments for the figures it prints.
fn measured(name: &str, arguments: &[&str]) -> Option<Vec<Value>> {
    let output = run::command().args(arguments).stderr(Stdio::inherit()).output().ok()?;
    if !output.status.success() {
        eprintln!("the benchmark {name} failed");
        return None;
    }
    let figures = String::from_utf8(output.stdout).ok()?;
    let figure =
        |line| serde_json::from_str(line).inspect_err(|_| eprintln!("the benchmark {name} says no figure: {line}"));
    figures.lines().map(figure).collect::<Result<_, _>>().ok()
}

/// Builds the program `keybound` and says where it is.
fn build_keybound() -> Option<String> {
    let arguments = ["build", "--release", "--quiet", "-p", "keybound-cli", "--message-format", "json"];
    let output = run::command().args(arguments).stderr(Stdio::inherit()).output().ok()?;
    let messages = String::from_utf8(output.stdout).ok()?;
    let program = messages.lines().rev().find_map(|line| {
        let message: Value = serde_json::from_str(line).ok()?;
        message["executable"].as_str().map(str::to_owned)
    });
    if program.is_none() {
        eprintln!("keybound could not be built");
    }
    program
}

fn cells(figure: &Value) -> [String; 6] {
    let text = |name: &str| match &figure[name] {
        Value::Null => "-".to_owned(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    };
    let mut cells = ["name", "value", "unit", "yardstick", "ratio", "aim"].map(text);
    if !figure["aim"].is_null() {
        let of = if figure["aim_of"] == "ratio" { "ratio" } else { figure["unit"].as_str().unwrap_or_default() };
        cells[5] = format!("{} {of}", figure["aim"]);
    }
    cells
}

fn line([name, value, unit, yardstick, ratio, aim]: [&str; 6]) -> String {
    format!("{name:<30} {value:>12} {unit:<20} {yardstick:>12} {ratio:>8}   {aim}").trim_end().to_owned()
}
