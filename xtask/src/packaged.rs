//! What is shipped, as it is run: the Debian package installed, removed and purged in a root of its own; the units as systemd
//! reads them; the static binary alone in a root that it cannot write to.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::{fs, io};

use crate::package::{self, Compression};
use crate::run;
use crate::test::{Outcome, heading, installed, keybound};

mod alone;

/// All of it, in `target/packaged`, which is made anew.
pub(crate) fn all() -> Outcome {
    heading("packaging: Debian package, systemd units, static binary");
    installed("systemd-analyze", "--version", &["systemd"])?;
    let target = run::target_directory()?;
    let folder = target.join("packaged");
    if folder.exists() {
        fs::remove_dir_all(&folder)?;
    }
    fs::create_dir_all(&folder)?;
    let program = keybound(&target)?;
    let package = package::build_debian(&program, &folder, Compression::None)?;
    in_a_root_of_its_own(&package, &folder.join("root"))?;
    alone::runs(&folder.join("alone"))?;
    fs::remove_dir_all(&folder)?;
    Ok((true, vec!["package installed, removed, purged".into(), "units verified".into(), "static binary ran".into()]))
}

/// dpkg with another root: what runs there is told so by `DPKG_ROOT`, and the machine stays as it is.
fn in_a_root_of_its_own(package: &Path, root: &Path) -> io::Result<()> {
    for folder in ["var/lib/dpkg/info", "var/lib/dpkg/updates", "var/lib/dpkg/triggers", "etc"] {
        fs::create_dir_all(root.join(folder))?;
    }
    fs::write(root.join("var/lib/dpkg/status"), "")?;
    dpkg(root, &["--install"], &[package])?;
    let there = |path: &str| root.join(path).exists();
    ensure(
        there("usr/bin/keybound") && there("usr/share/man/man1/keybound-serve.1.gz"),
        "program or manual is missing",
    )?;
    ensure(there("usr/share/bash-completion/completions/keybound"), "completions are missing")?;
    succeeds(Command::new(root.join("usr/bin/keybound")).arg("--version"))?;
    let configuration = root.join("etc/keybound/keybound.toml");
    succeeds(Command::new(root.join("usr/bin/keybound")).args(["config", "check"]).arg(&configuration))?;
    let users = fs::read_to_string(root.join("etc/passwd"))?;
    ensure(users.lines().any(|line| line.starts_with("keybound:")), "there is no user keybound")?;
    units(root)?;

    // What the machine's owner has written outlives an upgrade and a removal, and goes with a purge.
    let own = format!("{}\n# changed here\n", fs::read_to_string(&configuration)?);
    fs::write(&configuration, &own)?;
    dpkg(root, &["--install", "--force-confdef"], &[package])?;
    fs::create_dir_all(root.join("var/lib/keybound"))?;
    fs::write(root.join("var/lib/keybound/issuer-key.json"), "{}")?;
    dpkg(root, &["--remove"], &[Path::new("keybound")])?;
    ensure(!there("usr/bin/keybound") && !there("lib/systemd/system/keybound.service"), "removal leaves files")?;
    ensure(fs::read_to_string(&configuration)? == own, "the configuration was not kept")?;
    ensure(there("var/lib/keybound/issuer-key.json"), "a removal took the state")?;
    dpkg(root, &["--purge"], &[Path::new("keybound")])?;
    ensure(!there("etc/keybound") && !there("var/lib/keybound"), "a purge leaves configuration or state")
}

fn dpkg(root: &Path, how: &[&str], what: &[&Path]) -> io::Result<()> {
    let mut dpkg = Command::new("dpkg");
    dpkg.arg(format!("--root={}", root.display())).args(["--force-script-chrootless", "--force-depends"]);
    // Programs in sbin are what dpkg looks for first, and a user's path may lack it.
    dpkg.args(how).args(what).env("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin");
    succeeds(&mut dpkg)
}

/// The most that `systemd-analyze security` may find exposed, in tenths; the unit has 12.
const MOST_EXPOSED: u32 = 15;

/// The units as installed. The manager's own units are the machine's.
fn units(root: &Path) -> io::Result<()> {
    let [service, socket] =
        ["keybound.service", "keybound.socket"].map(|unit| root.join("lib/systemd/system").join(unit));
    // The program is looked for where it will be, which is not where it is now.
    let folder = root.with_file_name("units");
    fs::create_dir_all(&folder)?;
    let program = root.join("usr/bin/keybound");
    let text = fs::read_to_string(&service)?.replace("=/usr/bin/keybound ", &format!("={} ", program.display()));
    let moved: PathBuf = folder.join("keybound.service");
    fs::write(&moved, text)?;
    let beside = folder.join("keybound.socket");
    fs::copy(socket, &beside)?;
    let mut verify = Command::new("systemd-analyze");
    let output = verify.args(["verify", "--man=no", "--recursive-errors=no"]).args([&moved, &beside]).output()?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure(output.status.success() && said.trim().is_empty(), &format!("systemd-analyze verify: {said}"))?;
    let mut security = Command::new("systemd-analyze");
    security.args(["security", "--offline=true", "--no-pager", &format!("--threshold={MOST_EXPOSED}")]).arg(&moved);
    let output = security.output()?;
    let table = String::from_utf8_lossy(&output.stdout);
    let verdict = table.lines().last().unwrap_or_default();
    println!("{verdict}");
    ensure(output.status.success(), &format!("systemd-analyze security: {verdict}"))
}

fn succeeds(command: &mut Command) -> io::Result<()> {
    let words = format!("{command:?}");
    ensure(run::succeeds(command), &format!("failed: {words}"))
}

fn ensure(holds: bool, otherwise: &str) -> io::Result<()> {
    if holds { Ok(()) } else { Err(io::Error::other(otherwise)) }
}
