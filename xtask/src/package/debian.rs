//! The Debian package, put together by `dpkg-deb` out of `packaging/` and what the program prints about itself.

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::{fs, io};

use crate::package::root;
use crate::run;

/// How much time is spent on making it small.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Compression {
    None,
    Small,
}

/// Commands with a manual page of their own.
const PAGES: [&str; 12] =
    ["serve", "demo", "issuer", "key", "proof", "explain", "token", "request", "load", "config", "completions", "man"];

/// Where shells look for completions.
const COMPLETIONS: [(&str, &str); 3] = [
    ("bash", "usr/share/bash-completion/completions/keybound"),
    ("zsh", "usr/share/zsh/vendor-completions/_keybound"),
    ("fish", "usr/share/fish/vendor_completions.d/keybound.fish"),
];

/// Files of the project, and where they go.
const FILES: [(&str, &str); 8] = [
    ("packaging/systemd/keybound.service", "lib/systemd/system/keybound.service"),
    ("packaging/systemd/keybound.socket", "lib/systemd/system/keybound.socket"),
    ("packaging/systemd/keybound.sysusers", "usr/lib/sysusers.d/keybound.conf"),
    ("packaging/keybound.toml", "etc/keybound/keybound.toml"),
    ("packaging/debian/copyright", "usr/share/doc/keybound/copyright"),
    ("LICENSE-MIT", "usr/share/doc/keybound/LICENSE-MIT"),
    ("LICENSE-APACHE", "usr/share/doc/keybound/LICENSE-APACHE"),
    ("docs/grafana-dashboard.json", "usr/share/doc/keybound/grafana-dashboard.json"),
];

const SCRIPTS: [&str; 3] = ["postinst", "prerm", "postrm"];

/// Builds the package of this program in `folder`, and says where it is.
pub(crate) fn build(program: &Path, folder: &Path, compression: Compression) -> io::Result<PathBuf> {
    let version = printed(program, &["--version"])?;
    let version = String::from_utf8_lossy(&version).trim().rsplit(' ').next().unwrap_or_default().to_owned();
    let architecture = output(Command::new("dpkg").arg("--print-architecture"))?;
    let architecture = String::from_utf8_lossy(&architecture).trim().to_owned();
    let tree = folder.join("debian");
    if tree.exists() {
        fs::remove_dir_all(&tree)?;
    }
    fill(&tree, program)?;
    describe(&tree, program, &version, &architecture)?;

    let package = folder.join(format!("keybound_{version}_{architecture}.deb"));
    let mut build = Command::new("dpkg-deb");
    build.args(["--root-owner-group", if matches!(compression, Compression::None) { "-Znone" } else { "-Zxz" }]);
    // Of one commit there is one package, whenever it is built.
    let time = output(Command::new("git").args(["log", "-1", "--format=%ct"]).current_dir(root())).unwrap_or_default();
    let time = String::from_utf8_lossy(&time).trim().to_owned();
    build.env("SOURCE_DATE_EPOCH", if time.is_empty() { "0" } else { &time });
    if !run::succeeds(build.arg("--build").arg(&tree).arg(&package)) {
        return Err(io::Error::other("dpkg-deb could not build the package"));
    }
    fs::remove_dir_all(&tree)?;
    Ok(package)
}

/// What is installed.
fn fill(tree: &Path, program: &Path) -> io::Result<()> {
    let binary = tree.join("usr/bin/keybound");
    fs::create_dir_all(tree.join("usr/bin"))?;
    fs::copy(program, &binary)?;
    fs::set_permissions(&binary, Permissions::from_mode(0o755))?;
    for (from, to) in FILES {
        write(&tree.join(to), &fs::read(root().join(from))?)?;
    }
    for (shell, to) in COMPLETIONS {
        write(&tree.join(to), &printed(program, &["completions", shell])?)?;
    }
    let manual = tree.join("usr/share/man/man1");
    write(&manual.join("keybound.1"), &printed(program, &["man"])?)?;
    for page in PAGES {
        write(&manual.join(format!("keybound-{page}.1")), &printed(program, &["man", page])?)?;
    }
    let changes = tree.join("usr/share/doc/keybound/changelog");
    write(&changes, &fs::read(root().join("CHANGELOG.md"))?)?;
    let pages = fs::read_dir(&manual)?.map(|page| Ok(page?.path())).collect::<io::Result<Vec<_>>>()?;
    output(Command::new("gzip").args(["--best", "--no-name"]).args(pages).arg(changes)).map(drop)
}

/// What dpkg reads: what it is, which file is the machine's to change, and what is done around it.
fn describe(tree: &Path, program: &Path, version: &str, architecture: &str) -> io::Result<()> {
    let libc = newest_libc(&fs::read(program)?).ok_or_else(|| io::Error::other("the program names no libc"))?;
    let control = format!(
        "Package: keybound\n\
         Version: {version}\n\
         Architecture: {architecture}\n\
         Maintainer: The keybound authors <keybound@users.noreply.github.com>\n\
         Section: net\n\
         Priority: optional\n\
         Homepage: https://github.com/keybound/keybound\n\
         Depends: libc6 (>= {libc}), libgcc-s1, systemd | systemd-standalone-sysusers\n\
         Recommends: ca-certificates\n\
         Description: gateway that makes stolen access tokens useless (DPoP, RFC 9449)\n \
         keybound checks on every request that the client holds the key its access\n \
         token is bound to, as a reverse proxy or for nginx, Caddy, HAProxy and\n \
         Traefik. It is also an issuer, a client and tools for tests.\n"
    );
    write(&tree.join("DEBIAN/control"), control.as_bytes())?;
    write(&tree.join("DEBIAN/conffiles"), b"/etc/keybound/keybound.toml\n")?;
    for script in SCRIPTS {
        let to = tree.join("DEBIAN").join(script);
        write(&to, &fs::read(root().join("packaging/debian").join(script))?)?;
        fs::set_permissions(to, Permissions::from_mode(0o755))?;
    }
    Ok(())
}

/// The newest version of the C library whose symbols the program asks for: `GLIBC_2.34` among its strings.
fn newest_libc(program: &[u8]) -> Option<String> {
    const NAME: &[u8] = b"GLIBC_2.";
    let versions = program.windows(NAME.len() + 3).filter_map(|window| {
        let minor = window.strip_prefix(NAME)?;
        let digits = minor.iter().take_while(|octet| octet.is_ascii_digit()).count();
        std::str::from_utf8(minor.get(..digits)?).ok()?.parse::<u32>().ok()
    });
    versions.max().map(|minor| format!("2.{minor}"))
}

fn write(to: &Path, text: &[u8]) -> io::Result<()> {
    // Each folder as a package wants it, whatever the user's mask is.
    let mut missing: Vec<&Path> = to.ancestors().skip(1).take_while(|folder| !folder.exists()).collect();
    while let Some(folder) = missing.pop() {
        fs::create_dir(folder)?;
        fs::set_permissions(folder, Permissions::from_mode(0o755))?;
    }
    fs::write(to, text)?;
    fs::set_permissions(to, Permissions::from_mode(0o644))
}

/// What the program prints.
fn printed(program: &Path, arguments: &[&str]) -> io::Result<Vec<u8>> {
    output(Command::new(program).args(arguments))
}

fn output(command: &mut Command) -> io::Result<Vec<u8>> {
    let output = command.output()?;
    if output.status.success() {
        return Ok(output.stdout);
    }
    let said = String::from_utf8_lossy(&output.stderr);
    Err(io::Error::other(format!("{} failed: {}", command.get_program().display(), said.trim())))
}
