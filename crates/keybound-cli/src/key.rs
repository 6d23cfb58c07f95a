//! `keybound key`: the keys of a client. A private key is printed only where `--private` asks for it.

use std::io::Read as _;
use std::path::{Path, PathBuf};

use clap::{Args, Subcommand, ValueEnum};
use keybound::crypto::aws_lc::SoftwareKey;
use keybound::crypto::{Alg, KeyKind, Signer as _};
use keybound::jwk::PublicJwk;
use keybound::jws::decode_base64url;
use keybound_client::files::{Keeper, KeyFileError, KeyStore, is_former, parse_key, read_key, read_public_jwk};
use serde_json::{Value, json};
use zeroize::Zeroizing;

use crate::access::variable;
use crate::ask::agreed;
use crate::outcome::{Failure, Outcome, Result};
use crate::output;
use crate::style::{FAINT, PLAIN};

/// The longest key on standard input; one of RSA-4096 takes 4 KiB.
const MAX_KEY: usize = 64 * 1024;

/// Make, import, show, rotate and delete the keys of a client
///
/// Keys are private JWK files that only you can read, in `$KEYBOUND_HOME/keys` if that is set, else under the platform's
/// directory for data.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  keybound key new orders
  keybound key import orders ./orders.pem
  keybound key rotate orders
  keybound key thumbprint ./other.pem")]
pub(crate) struct Key {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Make a key under a new name
    #[command(after_help = "Example: keybound key new orders --alg Ed25519")]
    New {
        /// Of letters, digits, hyphens, underscores and dots, a letter or digit first
        name: String,
        /// The algorithm of its signatures
        #[arg(long, default_value = "ES256")]
        alg: Alg,
        /// The size of an RSA key in bits: 2048, 3072 or 4096 (default 2048)
        #[arg(long, value_name = "BITS")]
        size: Option<u32>,
        /// Where the key is kept: in its file, or by the Secret Service of the desktop in builds that have that (default
        /// $KEYBOUND_KEY_STORE, else file)
        #[arg(long, value_enum, value_name = "WHERE")]
        key_store: Option<Where>,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Take over a private key under a new name: a JWK, or PEM (PKCS#8, SEC 1, PKCS#1), not encrypted
    #[command(after_help = "Examples:
  keybound key import orders orders.pem
  openssl pkey -in encrypted.pem | keybound key import orders -")]
    Import {
        /// Of letters, digits, hyphens, underscores and dots, a letter or digit first
        name: String,
        /// The file, which only you may be able to read; - is standard input
        file: PathBuf,
        /// The algorithm of its signatures, for RSA; else the one the key names, or the usual one of its kind
        #[arg(long)]
        alg: Option<Alg>,
        /// Where the key is kept: in its file, or by the Secret Service of the desktop in builds that have that (default
        /// $KEYBOUND_KEY_STORE, else file)
        #[arg(long, value_enum, value_name = "WHERE")]
        key_store: Option<Where>,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Put a new key in the place of one, which stays as NAME~1 for the tokens that it has
    ///
    /// `token`, `request` and `agent` use the new key for new tokens and the old one until its tokens end. A session whose
    /// refresh token is bound to the old key goes on with it; a new login is of the new key. Once nothing needs the old key any
    /// more: keybound key delete NAME~1.
    #[command(after_help = "Example: keybound key rotate orders")]
    Rotate {
        /// The key's name
        name: String,
        /// The algorithm of the new key, if not that of the old one
        #[arg(long)]
        alg: Option<Alg>,
        /// The size of an RSA key in bits: 2048, 3072 or 4096 (default 2048)
        #[arg(long, value_name = "BITS")]
        size: Option<u32>,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Print a key as JWK, its public half unless --private is given
    #[command(after_help = "Example: keybound key show orders")]
    Show {
        /// A key's name, or a file with a private or public JWK or a private PEM
        #[arg(value_name = "NAME|FILE")]
        key: String,
        /// Print the private half too
        #[arg(long)]
        private: bool,
    },
    /// Print the thumbprint of a key (RFC 7638): what tokens are bound to
    #[command(after_help = "Example: keybound key thumbprint orders")]
    Thumbprint {
        /// A key's name, or a file with a private or public JWK or a private PEM
        #[arg(value_name = "NAME|FILE")]
        key: String,
    },
    /// List the keys with algorithm and thumbprint, former ones too
    #[command(after_help = "Example: keybound key list --json")]
    List {
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Delete a key, with its former ones unless it is one of them; tokens bound to it are of no use any more
    #[command(after_help = "Example: keybound key delete orders --yes")]
    Delete {
        /// The key's name
        name: String,
        /// Do not ask
        #[arg(long, short)]
        yes: bool,
    },
}

/// Where a key is kept.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum Where {
    File,
    Os,
}

impl Where {
    const fn keeper(self) -> Keeper {
        match self {
            Self::File => Keeper::File,
            Self::Os => Keeper::Os,
        }
    }
}

impl Key {
    pub(crate) fn run(&self) -> Result {
        match &self.command {
            Command::New { name, alg, size, key_store, json } => add(name, &generate(*alg, *size)?, *key_store, *json),
            Command::Import { name, file, alg, key_store, json } => add(name, &foreign(file, *alg)?, *key_store, *json),
            Command::Rotate { name, alg, size, json } => rotate(name, *alg, *size, *json),
            Command::Show { key, private } => show(key, *private),
            Command::Thumbprint { key } => {
                output::line(public(key)?.thumbprint())?;
                Ok(Outcome::Done)
            }
            Command::List { json } => list(*json),
            Command::Delete { name, yes } => delete(name, *yes),
        }
    }
}

fn add(name: &str, key: &SoftwareKey, place: Option<Where>, as_json: bool) -> Result {
    let keys = store()?;
    let keys = if let Some(place) = place { keys.kept_by(place.keeper()) } else { keys };
    keys.add(name, key).map_err(failure)?;
    said(name, key, None, as_json)
}

fn generate(alg: Alg, size: Option<u32>) -> std::result::Result<SoftwareKey, Failure> {
    let key = match size {
        None => SoftwareKey::generate(alg),
        Some(_) if alg.key_kind() != KeyKind::Rsa => {
            return Err(Failure::usage(format!("--size is for RSA keys; {alg} has one size")));
        }
        Some(size) => SoftwareKey::generate_rsa(alg, size),
    };
    key.map_err(Failure::usage)
}

/// The key of another program, from a file or from standard input.
fn foreign(file: &Path, alg: Option<Alg>) -> std::result::Result<SoftwareKey, Failure> {
    let key = if file == Path::new("-") {
        let mut text = Zeroizing::new(Vec::with_capacity(MAX_KEY));
        std::io::stdin().take(MAX_KEY as u64).read_to_end(&mut text).map_err(Failure::failed)?;
        parse_key(&text).map_err(failure)?
    } else {
        read_key(file).map_err(failure)?
    };
    match alg {
        Some(alg) => key.with_alg(alg).map_err(Failure::usage),
        None => Ok(key),
    }
}

fn rotate(name: &str, alg: Option<Alg>, size: Option<u32>, as_json: bool) -> Result {
    let keys = store()?;
    let old = keys.load(name).map_err(failure)?;
    let key = generate(alg.unwrap_or_else(|| old.alg()), size)?;
    let former = keys.rotate(name, &key).map_err(failure)?;
    said(name, &key, Some(&former), as_json)
}

/// Says which key there is now, and what became of the one before.
fn said(name: &str, key: &SoftwareKey, former: Option<&str>, as_json: bool) -> Result {
    if as_json {
        let mut row = row(name, key);
        if let Some(former) = former {
            row["former"] = former.into();
        }
        output::line(row)?;
    } else {
        output::line(format_args!("{name}  {}  {}", key.alg(), key.thumbprint()))?;
        if let Some(former) = former {
            output::aside(format_args!("{FAINT}the key before it is {former}, for the tokens it has{PLAIN}"));
        }
    }
    Ok(Outcome::Done)
}

fn row(name: &str, key: &SoftwareKey) -> Value {
    let (alg, jkt) = (key.alg().name(), key.thumbprint().to_string());
    match is_former(name) {
        None => json!({"name": name, "alg": alg, "jkt": jkt}),
        Some((of, _)) => json!({"name": name, "alg": alg, "jkt": jkt, "former_of": of}),
    }
}

fn show(key: &str, private: bool) -> Result {
    if private {
        let text = load(key)?.to_private_jwk().map_err(Failure::failed)?;
        output::write(text.as_bytes())?;
        output::write(b"\n")?;
    } else {
        output::line(public(key)?.to_json())?;
    }
    Ok(Outcome::Done)
}

/// The public half of the key that an argument means; a public JWK may be read by others.
fn public(argument: &str) -> std::result::Result<PublicJwk, Failure> {
    if !store()?.contains(argument)
        && let Some(public) = read_public_jwk(Path::new(argument))
    {
        return Ok(public);
    }
    Ok(load(argument)?.public_jwk().clone())
}

/// Every key, also those that cannot be read: these go to standard error and make the status 1.
fn list(as_json: bool) -> Result {
    let keys = store()?;
    let names = keys.names().map_err(failure)?;
    let width = names.iter().map(String::len).max().unwrap_or(0);
    let mut outcome = Outcome::Done;
    let mut rows = Vec::new();
    for name in &names {
        match keys.load(name) {
            Ok(key) if as_json => rows.push(row(name, &key)),
            Ok(key) => {
                let former = if is_former(name).is_some() { "  former" } else { "" };
                let line = format_args!("{name:width$}  {:<7}  {}{former}", key.alg().name(), key.thumbprint());
                output::line(line)?;
            }
            Err(why) => {
                failure(why).report();
                outcome = Outcome::Refused;
            }
        }
    }
    if as_json {
        output::line(format_args!("{:#}", Value::from(rows)))?;
    }
    Ok(outcome)
}

fn delete(name: &str, yes: bool) -> Result {
    let keys = store()?;
    let all = keys.names().map_err(failure)?;
    let former: Vec<&String> = all.iter().filter(|other| is_former(other).is_some_and(|(of, _)| of == name)).collect();
    if !keys.contains(name) {
        let directory = keys.directory().display();
        return Err(Failure::usage(format_args!("there is no key {name:?} in {directory}")));
    }
    let more = match former.len() {
        0 => String::new(),
        count => format!(" and {count} former of it"),
    };
    if !agreed(yes, &format!("delete the key {name}{more}? Tokens bound to it are of no use then."))? {
        return Ok(Outcome::Refused);
    }
    keys.delete(name).map_err(failure)?;
    former.into_iter().try_for_each(|former| keys.delete(former).map_err(failure))?;
    Ok(Outcome::Done)
}

/// The keys of this user. New ones are kept where the environment says.
pub(crate) fn store() -> std::result::Result<KeyStore, Failure> {
    let keys = KeyStore::of_user().ok_or_else(|| Failure::usage("there is no home directory; set KEYBOUND_HOME"))?;
    let Some(place) = variable("KEYBOUND_KEY_STORE")? else { return Ok(keys) };
    let place = Where::from_str(&place, false).map_err(|_| Failure::usage("KEYBOUND_KEY_STORE is file or os"))?;
    Ok(keys.kept_by(place.keeper()))
}

/// The key that an argument means: a name, or else a file.
pub(crate) fn load(argument: &str) -> std::result::Result<SoftwareKey, Failure> {
    let keys = store()?;
    if keys.contains(argument) {
        return keys.load(argument).map_err(failure);
    }
    read_key(Path::new(argument)).map_err(|why| {
        if why.is_absent() {
            let directory = keys.directory().display();
            Failure::usage(format!("there is no key {argument:?} in {directory}, and no file of that name"))
        } else {
            failure(why)
        }
    })
}

/// The key that an argument means; of it and its former ones the one that `token` is bound to, as far as that can be read in it.
pub(crate) fn load_for(argument: &str, token: &str) -> std::result::Result<SoftwareKey, Failure> {
    let Some(jkt) = bound_to(token) else { return load(argument) };
    let (key, former) = load_all(argument)?;
    let fits = |key: &SoftwareKey| key.thumbprint().to_string() == jkt;
    // Where none fits, the server says so.
    Ok(if fits(&key) { key } else { former.into_iter().find(fits).unwrap_or(key) })
}

/// `cnf.jkt` of a JWT (RFC 9449 section 6.1). Nobody's word is taken for it: a wrong one gets a proof that fits nothing.
fn bound_to(token: &str) -> Option<String> {
    let payload = decode_base64url(token.split('.').nth(1)?).ok()?;
    let claims: Value = serde_json::from_slice(&payload).ok()?;
    claims.get("cnf")?.get("jkt")?.as_str().map(str::to_owned)
}

/// The key that an argument means, and behind it its former ones, the last one first.
pub(crate) fn load_all(argument: &str) -> std::result::Result<(SoftwareKey, Vec<SoftwareKey>), Failure> {
    let key = load(argument)?;
    let keys = store()?;
    let former = if keys.contains(argument) { keys.former(argument).map_err(failure)? } else { Vec::new() };
    Ok((key, former))
}

/// A name that is none, is taken, or leads to nothing is for whoever typed it to mend.
pub(crate) fn failure(why: KeyFileError) -> Failure {
    if why.is_misnamed() || why.exists() || why.is_absent() { Failure::usage(why) } else { Failure::failed(why) }
}
