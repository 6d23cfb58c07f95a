//! Runs the commands of a page and compares what they print with what the page shows. On a page `…` stands for anything, in a
//! line or as a line of its own; values that differ in each run are compared by their length.

use std::io::{self, BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::{fs, mem};

/// How the page writes what has another place here.
const PROGRAM: &str = "target/release/keybound";
const GATEWAY: &str = "127.0.0.1:8080";
const CONSOLE: &str = "127.0.0.1:8081";
const SERVE: &str = "cargo run --release -- serve";

/// One command, and the lines under it.
#[derive(Debug, Default)]
struct Step {
    command: String,
    shown: Vec<String>,
}

/// Runs what the page shows against the `serve` that it starts first, and returns how many commands were run. `folder` is for
/// what the commands keep.
pub(super) fn run(page: &Path, program: &Path, folder: &Path) -> io::Result<usize> {
    let (server, shell) =
        steps(&fs::read_to_string(page)?).into_iter().partition::<Vec<_>, _>(|step| step.command == SERVE);
    let [server] = &server[..] else { return Err(io::Error::other("the page has to start serve once")) };
    let mut service = Service::start(program, folder)?;
    compare(server, &service.said, &|shown| shown.to_owned())?;
    let mut settings = format!("{}\n", service.export);
    let mut count = 1;
    // What takes long, the tour and the tools of other pages, is tested elsewhere.
    for step in shell.into_iter().filter(|step| !step.command.starts_with("cargo ")) {
        let command = service.here(&step.command);
        let output = Command::new("sh").args(["-c", &format!("{settings}{command}")]).envs(service.home()).output()?;
        if is_setting(&step.command) {
            settings.push_str(&format!("{command}\n"));
        }
        let said: Vec<_> = String::from_utf8_lossy(&output.stdout).lines().map(str::to_owned).collect();
        compare(&step, &said, &|shown| service.here(shown))?;
        count += 1;
    }
    service.end()?;
    Ok(count)
}

/// The commands of blocks that are marked as `console`.
fn steps(page: &str) -> Vec<Step> {
    let mut steps = Vec::new();
    let mut inside = false;
    for line in page.lines() {
        match line.strip_prefix("$ ") {
            _ if line.starts_with("```") => inside = line == "```console",
            Some(command) if inside => steps.push(Step { command: command.to_owned(), shown: Vec::new() }),
            None if inside => steps.last_mut().map_or((), |step| step.shown.push(line.to_owned())),
            _ => {}
        }
    }
    steps
}

/// Whether the shell keeps something that later commands need.
fn is_setting(command: &str) -> bool {
    command.split_once('=').is_some_and(|(name, _)| name.chars().all(|letter| letter.is_ascii_uppercase()))
}

fn compare(step: &Step, said: &[String], here: &dyn Fn(&str) -> String) -> io::Result<()> {
    let expected: Vec<_> = step.shown.iter().map(|line| masked(&here(line))).collect();
    let found: Vec<_> = said.iter().map(|line| masked(line.trim_end_matches('\r'))).collect();
    if fits(&expected, &found) {
        return Ok(());
    }
    let message = format!("{:?} says\n{}\nand the page shows\n{}", step.command, found.join("\n"), expected.join("\n"));
    Err(io::Error::other(message))
}

/// Secrets and thumbprints by their length.
fn masked(line: &str) -> String {
    let (mut masked, mut word) = (String::new(), String::new());
    for letter in line.chars().chain(['\n']) {
        if letter.is_ascii_alphanumeric() || letter == '_' || letter == '-' {
            word.push(letter);
            continue;
        }
        let word = mem::take(&mut word);
        masked.push_str(if [22, 43].contains(&word.len()) { "####" } else { &word });
        masked.push(letter);
    }
    masked.trim_end().to_owned()
}

fn fits(expected: &[String], found: &[String]) -> bool {
    match (expected, found) {
        ([], []) => true,
        ([any, rest @ ..], _) if any == "…" => (0..=found.len()).any(|skipped| fits(rest, &found[skipped..])),
        ([first, expected @ ..], [line, found @ ..]) => line_fits(first, line) && fits(expected, found),
        _ => false,
    }
}

fn line_fits(expected: &str, found: &str) -> bool {
    match expected.split_once('…') {
        Some((start, end)) => found.strip_prefix(start).is_some_and(|rest| rest.ends_with(end)),
        None => expected == found,
    }
}

/// `keybound serve`, which ends with this.
struct Service {
    child: Child,
    program: PathBuf,
    folder: PathBuf,
    gateway: String,
    console: String,
    /// What it said, as the page would show it.
    said: Vec<String>,
    export: String,
}

impl Service {
    fn start(program: &Path, folder: &Path) -> io::Result<Self> {
        fs::create_dir_all(folder)?;
        let mut child = Command::new(program)
            .args(["serve", "--listen", "127.0.0.1:0", "--end-with-stdin"])
            .env("KEYBOUND_LISTEN_ADMIN", "127.0.0.1:0")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()?;
        let said = child.stdout.take().ok_or_else(|| io::Error::other("there is no output"))?;
        let mut lines = Vec::new();
        for line in BufReader::new(said).lines() {
            let line = line?;
            let last = line.ends_with("Ctrl-C ends it.");
            lines.push(line);
            if last {
                break;
            }
        }
        let address = |line: usize| lines.get(line).and_then(|line| line.split("http://").nth(1)).map(address);
        let (gateway, console) = (address(0).unwrap_or_default(), address(1).unwrap_or_default());
        let export = lines.iter().find(|line| line.starts_with("export ")).cloned().unwrap_or_default();
        let as_shown = |line: &String| {
            // It names itself by the path from here.
            let own = line.split_once(" request ").map(|(own, _)| own);
            let line = own.map_or_else(|| line.clone(), |own| line.replacen(own, PROGRAM, 1));
            line.replace(&gateway, GATEWAY).replace(&console, CONSOLE)
        };
        let said = lines.iter().map(as_shown).collect();
        Ok(Self { child, program: program.to_owned(), folder: folder.to_owned(), gateway, console, said, export })
    }

    /// A command or line of the page, for this machine.
    fn here(&self, shown: &str) -> String {
        let own = self.program.display().to_string();
        shown.replace(PROGRAM, &own).replace(GATEWAY, &self.gateway).replace(CONSOLE, &self.console)
    }

    fn home(&self) -> [(&'static str, PathBuf); 1] {
        [("KEYBOUND_HOME", self.folder.clone())]
    }

    fn end(&mut self) -> io::Result<()> {
        drop(self.child.stdin.take());
        self.child.wait()?;
        fs::remove_dir_all(&self.folder)
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        // It ends when this end of its input is gone, however we leave.
        drop(self.child.stdin.take());
        let _ = self.child.wait();
    }
}

/// IP address and port, without what follows.
fn address(text: &str) -> String {
    let end =
        text.find(|letter: char| !letter.is_ascii_digit() && letter != '.' && letter != ':').unwrap_or(text.len());
    text[..end].trim_end_matches('.').to_owned()
}
