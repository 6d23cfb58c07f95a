//! Where an administrator works: the store of a configuration, or one that is named. And where a password comes from.

use std::io::{self, Read as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use clap::Args;
use keybound::time::UnixTime;
use keybound_gateway::config::{Config, Overrides, Reader};
use keybound_gateway::engine::{self, EngineError};
use keybound_issuer::Clock;
use keybound_issuer::admin::{AdminError, Administration};
use keybound_issuer::audit::{Audit, COMMAND};
use keybound_issuer::store::{self, Location, OpenError, Store};
use zeroize::Zeroizing;

use crate::ask::somebody_is_here;
use crate::outcome::Failure;
use crate::output;
use crate::service::environment;
use crate::token::block_on;

/// So many are read at once.
pub(super) const PAGE: u32 = 500;

/// The longest secret that is read.
const LONGEST: u64 = 4096;

/// Which store.
#[derive(Debug, Args)]
#[group(required = true, multiple = true)]
pub(super) struct Place {
    /// The configuration of the issuer, whose authorization_server.store it is
    #[arg(long, value_name = "FILE", env = "KEYBOUND_CONFIG")]
    config: Option<PathBuf>,
    /// The store itself: sqlite:FILE, or postgres://USER@HOST/DATABASE
    #[arg(long, value_name = "STORE", value_parser = named)]
    store: Option<Location>,
}

/// The same for what may be the first in it. A store that is only named has to be meant: its name may be mistyped.
#[derive(Debug, Args)]
pub(super) struct NewPlace {
    #[command(flatten)]
    place: Place,
    /// Make the database of --store if there is none yet; that of --config is made in any case
    #[arg(long, requires = "store")]
    create: bool,
}

impl Place {
    /// Opens what is there.
    pub(super) fn open(&self) -> Result<Administration, Failure> {
        self.open_by(store::open_existing, engine::administration)
    }

    fn open_by(
        &self,
        named: impl FnOnce(&Location, UnixTime) -> Result<Arc<dyn Store>, OpenError>,
        configured: impl FnOnce(&Config) -> Result<Administration, EngineError>,
    ) -> Result<Administration, Failure> {
        match (&self.store, &self.config) {
            (Some(location), _) => {
                let store = named(location, SystemTime::now().into()).map_err(not_opened)?;
                Ok(Administration::new(store, Audit::default(), Clock::system(), COMMAND))
            }
            (None, Some(file)) => configured(&configuration(file)?).map_err(Failure::configuration),
            (None, None) => Err(Failure::usage("give --config or --store")),
        }
    }
}

impl NewPlace {
    /// Opens it, and makes it first if that is meant.
    pub(super) fn open(&self) -> Result<Administration, Failure> {
        let named = if self.create { store::open_at_once } else { store::open_existing };
        self.place.open_by(named, engine::administration_or_new)
    }
}

fn not_opened(error: OpenError) -> Failure {
    if error.is_absent() {
        let hint = "an issuer makes it when it starts; `client add` and `user add` do so with --create";
        return Failure::usage(format_args!("{error}; {hint}"));
    }
    Failure::failed(error)
}

/// The configuration of an issuer alone, or of a gateway with one in it.
pub(super) fn configuration(file: &Path) -> Result<Config, Failure> {
    let load = |reader| Config::load(file, environment(), &Overrides::default().reader(reader));
    let config = load(Reader::Issuer).or_else(|mistakes| load(Reader::Serve).map_err(|_| mistakes));
    config.map_err(Failure::configuration)
}

/// A store of which there is something outside the issuer.
fn named(text: &str) -> Result<Location, String> {
    match text.parse() {
        Ok(Location::Memory) => {
            Err("what is in the memory of an issuer is there alone; ask it at its admin listener".to_owned())
        }
        Ok(location) => Ok(location),
        Err(_) if Path::new(text).is_file() => Err(format!("not a store; if it is an SQLite file: sqlite:{text}")),
        Err(_) => Err("not a store; give sqlite:FILE or postgres://USER@HOST/DATABASE".to_owned()),
    }
}

/// Of a client, a user or a signing key; what is for whoever typed it to mend is told from what failed.
pub(super) fn failure(of: &'static str) -> impl Fn(AdminError) -> Failure + Copy {
    move |error| match error {
        AdminError::Unknown(name) => Failure::usage(format_args!("there is no {of} {name:?}")),
        AdminError::Failed(_) | AdminError::Changed | AdminError::NotHere(_) | AdminError::Keys(_) => {
            Failure::failed(error)
        }
        error => Failure::usage(error),
    }
}

/// All of what comes in pages: `page` gives some, behind what it is handed, and what to hand it the next time, if there is more.
pub(super) fn all<T>(
    page: impl AsyncFn(&str) -> Result<(Vec<T>, Option<Box<str>>), AdminError>,
) -> Result<Vec<T>, Failure> {
    let mut all = Vec::new();
    let mut after = Some(Box::default());
    while let Some(behind) = after {
        let (some, next) = block_on(page(&behind))?.map_err(failure("page"))?;
        all.extend(some);
        after = next;
    }
    Ok(all)
}

/// Where a password comes from. None of these is the command line, which others can read.
#[derive(Debug, Args)]
#[group(multiple = false)]
pub(super) struct Source {
    /// Read the password from this file: one line, whose line break is no part of it
    #[arg(long, value_name = "FILE")]
    password_file: Option<PathBuf>,
    /// Read it from standard input, in the same way
    #[arg(long)]
    password_stdin: bool,
    /// Make one, and print it
    #[arg(long)]
    generate: bool,
    /// Give no password: the user signs in in other ways, or not at all
    #[arg(long)]
    no_password: bool,
}

/// A password.
pub(super) enum Password {
    None,
    Known(Zeroizing<String>),
    Made(Zeroizing<String>),
}

impl Password {
    pub(super) fn as_deref(&self) -> Option<&str> {
        match self {
            Self::None => None,
            Self::Known(text) | Self::Made(text) => Some(text),
        }
    }

    pub(super) fn made(&self) -> Option<&str> {
        if let Self::Made(text) = self { Some(text) } else { None }
    }
}

/// What was made is told once: where it cannot be, that is said, and how to make another.
pub(super) fn told_once(printed: Result<(), Failure>, what: &str, again: &str) -> Result<(), Failure> {
    printed.map_err(|failure| {
        let why = if failure.message().is_empty() { "nobody reads it" } else { failure.message() };
        Failure::failed(format_args!("it is done, but {what} may be lost: {why}; make another by `{again}`"))
    })
}

impl Source {
    /// The password; of a person at a terminal it is asked for, twice.
    pub(super) fn read(&self) -> Result<Password, Failure> {
        if self.no_password {
            return Ok(Password::None);
        }
        if self.generate {
            let octets: [u8; 18] = keybound::crypto::aws_lc::random_array().map_err(Failure::failed)?;
            return Ok(Password::Made(Zeroizing::new(keybound::jws::encode_base64url(&octets))));
        }
        if let Some(file) = &self.password_file {
            let opened = std::fs::File::open(file);
            let read = opened.and_then(line).map_err(|error| Failure::usage(format!("{}: {error}", file.display())));
            return read.map(Password::Known);
        }
        if self.password_stdin {
            let read = line(io::stdin().lock());
            return read.map(Password::Known).map_err(|error| Failure::usage(format!("standard input: {error}")));
        }
        somebody_is_here(" for a password; give --password-stdin, --password-file, --generate or --no-password")?;
        let ask = |prompt| rpassword::prompt_password(prompt).map(Zeroizing::new).map_err(Failure::failed);
        let (first, second) = (ask("password: ")?, ask("once more: ")?);
        if first == second { Ok(Password::Known(first)) } else { Err(Failure::usage("these are two passwords")) }
    }
}

/// One line: a password with a line break in it could be typed nowhere.
fn line(from: impl io::Read) -> io::Result<Zeroizing<String>> {
    let unfit = |why| Err(io::Error::new(io::ErrorKind::InvalidData, why));
    let mut text = Zeroizing::new(String::with_capacity(LONGEST as usize + 1));
    from.take(LONGEST + 1).read_to_string(&mut text)?;
    if text.len() as u64 > LONGEST {
        return unfit("is too long for a password");
    }
    let end = text.strip_suffix("\r\n").or_else(|| text.strip_suffix('\n')).map_or(text.len(), str::len);
    text.truncate(end);
    match &**text {
        "" => unfit("holds no password"),
        line if line.contains(['\r', '\n']) => unfit("holds more than one line, and a password is one"),
        _ => Ok(text),
    }
}

/// Prints facts: as an object, or a line for each.
pub(super) fn print(facts: &serde_json::Map<String, serde_json::Value>, json: bool) -> Result<(), Failure> {
    if json {
        return output::line(format_args!("{:#}", serde_json::Value::from(facts.clone())));
    }
    let width = facts.keys().map(String::len).max().unwrap_or(0);
    for (name, value) in facts {
        output::line(format_args!("{name:width$}  {}", plain(value)))?;
    }
    Ok(())
}

/// A value as people read it.
pub(super) fn plain(value: &serde_json::Value) -> String {
    match value {
        serde_json::Value::String(text) => output::tame(text),
        serde_json::Value::Null => "-".to_owned(),
        serde_json::Value::Array(values) if values.is_empty() => "-".to_owned(),
        serde_json::Value::Array(values) => values.iter().map(plain).collect::<Vec<_>>().join(" "),
        other => output::tame(&other.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_clients_say_of_themselves_moves_no_cursor() {
        for (value, shown) in [
            (json!("Orders & \"Co\" é"), "Orders & \"Co\" é"),
            (json!("a\u{1b}[2J\rb\nc"), "a\\u{1b}[2J\\u{d}b\\u{a}c"),
            (json!("\u{9b}31m\u{7f}"), "\\u{9b}31m\\u{7f}"),
            (json!("\u{202e}txet\u{200b}"), "\\u{202e}txet\\u{200b}"),
            (json!("\u{61c}a\u{ad}b\u{180e}c"), "\\u{61c}a\\u{ad}b\\u{180e}c"),
            (
                json!("\u{fff9}a\u{fffb}\u{e0001}\u{e0041}\u{e007f}"),
                "\\u{fff9}a\\u{fffb}\\u{e0001}\\u{e0041}\\u{e007f}",
            ),
            (json!(["a\u{7}", "b"]), "a\\u{7} b"),
            (json!({ "kid": "\u{9b}2J" }), "{\"kid\":\"\\u{9b}2J\"}"),
        ] {
            assert_eq!(plain(&value), shown, "{value}");
        }
    }
}
