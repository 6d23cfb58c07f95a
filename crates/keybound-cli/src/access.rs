//! How `token` and `request` get at bound tokens: the issuer, the client, its secret and its key.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::Args;
use data_encoding::HEXLOWER;
use keybound::client::permitted;
use keybound::crypto::aws_lc::SoftwareKey;
use keybound::crypto::{Alg, Signer};
use keybound::request::TargetUri;
use keybound_client::files::{TokenFiles, read_key};
use keybound_client::{
    Access as Way, Authentication, Client, ClientBuilder, Error, PlainHttp, Secret, Token, TokenId, TokenStore,
};
use sha2::{Digest as _, Sha256};

use crate::outcome::Failure;
use crate::style::{FAINT, PLAIN};
use crate::{key, output};

type Result<T> = std::result::Result<T, Failure>;

/// A secret on one line; longer files are something else.
const MAX_SECRET: u64 = 4096;

/// The options about the issuer.
#[derive(Debug, Args)]
#[command(next_help_heading = "Access")]
pub(crate) struct Access {
    /// The issuer of the token, as it names itself in its metadata
    #[arg(long, value_name = "URL", requires = "client_id", value_parser = reachable)]
    issuer: Option<String>,
    /// The client to get the token as
    #[arg(long, value_name = "ID", requires = "issuer")]
    client_id: Option<String>,
    /// The client's secret; better in KEYBOUND_CLIENT_SECRET or a file, other users see command lines
    #[arg(
        long,
        value_name = "SECRET",
        allow_hyphen_values = true,
        requires = "issuer",
        conflicts_with_all = ["client_secret_file", "private_key"]
    )]
    client_secret: Option<String>,
    /// A file with the client's secret
    #[arg(long, value_name = "FILE", requires = "issuer", conflicts_with = "private_key")]
    client_secret_file: Option<PathBuf>,
    /// Authenticate by an assertion signed with this private key, a JWK or PEM (private_key_jwt)
    #[arg(long, value_name = "FILE", requires = "issuer")]
    private_key: Option<PathBuf>,
    /// The kid that the assertion names
    #[arg(long, value_name = "KID", requires = "private_key")]
    key_id: Option<String>,
    /// The scope to ask for
    #[arg(long, value_name = "SCOPE", requires = "issuer")]
    scope: Option<String>,
    /// What the token is for (RFC 8707); may be given again
    #[arg(long, value_name = "URL", requires = "issuer")]
    resource: Vec<String>,
    /// The key to bind the token to: a name or a file; without it, one is made for this issuer and client and kept
    #[arg(long, value_name = "NAME|FILE")]
    key: Option<String>,
}

impl Access {
    /// Whether there is an issuer to ask.
    pub(crate) const fn has_issuer(&self) -> bool {
        self.issuer.is_some()
    }

    /// A client that gets its tokens from the issuer and keeps them in this user's files, where it looks first as said.
    pub(crate) fn client(&self, cache: Cache) -> Result<ClientBuilder> {
        let (issuer, client_id) = self.issuer()?;
        // First what may be wrong: no key is made for a mistake.
        let access = self.way()?;
        let key = match &self.key {
            Some(key) => key::load(key)?,
            None => own_key(issuer, client_id)?,
        };
        let files =
            TokenFiles::of_user().ok_or_else(|| Failure::usage("there is no home directory; set KEYBOUND_HOME"))?;
        Ok(builder(Arc::new(key)).access(access).store(Arc::new(Kept { files, cache })))
    }

    /// A client that holds `key`, whatever the options say, and keeps its tokens to itself.
    pub(crate) fn client_of(&self, key: Arc<dyn Signer>) -> Result<ClientBuilder> {
        Ok(builder(key).access(self.way()?))
    }

    /// The key of the options, if there is one.
    pub(crate) fn key(&self) -> Result<Option<SoftwareKey>> {
        self.key.as_deref().map(key::load).transpose()
    }

    fn issuer(&self) -> Result<(&str, &str)> {
        match (&self.issuer, &self.client_id) {
            (Some(issuer), Some(client_id)) => Ok((issuer, client_id)),
            _ => Err(Failure::usage("--issuer and --client-id are needed to get a token")),
        }
    }

    /// How to ask for a token.
    fn way(&self) -> Result<Way> {
        let (issuer, client_id) = self.issuer()?;
        let mut access = Way::client_credentials(issuer, client_id).authentication(self.authentication()?);
        if let Some(scope) = &self.scope {
            access = access.scope(scope.as_str());
        }
        for resource in &self.resource {
            access = access.resource(resource.as_str());
        }
        Ok(access)
    }

    /// A client with a token that is there already.
    pub(crate) fn client_with(&self, token: String) -> Result<ClientBuilder> {
        let key = self.key.as_deref().ok_or_else(|| {
            Failure::usage("--token needs --key: the token is of use only with the key it is bound to")
        })?;
        let token = Token::new(token).map_err(Failure::usage)?;
        Ok(builder(Arc::new(key::load(key)?)).token(token))
    }

    fn authentication(&self) -> Result<Authentication> {
        if let Some(path) = &self.private_key {
            let key: Arc<dyn Signer> = Arc::new(read_key(path).map_err(key::failure)?);
            let kid = self.key_id.as_deref().map(Into::into);
            return Ok(Authentication::PrivateKeyJwt { key, kid });
        }
        let secret = match (&self.client_secret, &self.client_secret_file) {
            (Some(secret), _) => Some(secret.clone()),
            (None, Some(path)) => Some(secret_of(path)?),
            (None, None) => variable("KEYBOUND_CLIENT_SECRET")?,
        };
        Ok(secret.map_or(Authentication::None, |secret| Authentication::Secret(Secret::new(secret))))
    }
}

/// A URL that tokens and proofs may be sent to (R-CLI-12).
pub(crate) fn target(text: &str) -> std::result::Result<TargetUri, String> {
    let target = TargetUri::parse(text).map_err(|_| Error::Url.to_string())?;
    match permitted(&target, PlainHttp::Loopback) {
        Ok(_) => Ok(target),
        Err(_) => Err(Error::PlainHttp(target).to_string()),
    }
}

/// The same, as it was typed.
pub(crate) fn reachable(text: &str) -> std::result::Result<String, String> {
    target(text).map(|_| text.to_owned())
}

fn builder(key: Arc<dyn Signer>) -> ClientBuilder {
    Client::builder(key).plain_http(PlainHttp::Loopback)
}

/// An environment variable, if it is set and not empty.
pub(crate) fn variable(name: &str) -> Result<Option<String>> {
    match std::env::var_os(name).filter(|value| !value.is_empty()) {
        None => Ok(None),
        Some(value) => {
            let text = value.into_string();
            text.map(Some).map_err(|_| Failure::usage(format!("{name} is not UTF-8")))
        }
    }
}

fn secret_of(path: &Path) -> Result<String> {
    use std::io::Read as _;

    let failed = |why: &dyn std::fmt::Display| Failure::usage(format!("{}: {why}", path.display()));
    let mut text = String::new();
    let file = std::fs::File::open(path).map_err(|why| failed(&why))?;
    let length = file.take(MAX_SECRET).read_to_string(&mut text).map_err(|why| failed(&why))?;
    if length as u64 == MAX_SECRET {
        return Err(failed(&"too long for a secret"));
    }
    let secret = text.trim_end_matches(['\r', '\n']);
    if secret.is_empty() {
        return Err(failed(&"there is no secret in it"));
    }
    Ok(secret.to_owned())
}

/// The key of this issuer and client (R-CLI-28), made when first needed.
fn own_key(issuer: &str, client_id: &str) -> Result<SoftwareKey> {
    let keys = key::store()?;
    let name = own_name(issuer, client_id);
    if !keys.contains(&name) {
        let key = SoftwareKey::generate(Alg::Es256).map_err(Failure::failed)?;
        match keys.add(&name, &key) {
            Ok(()) => {
                output::aside(format_args!("{FAINT}made the key {name} for this issuer and client{PLAIN}"));
                return Ok(key);
            }
            Err(why) if why.exists() => {} // another run was first
            Err(why) => return Err(key::failure(why)),
        }
    }
    keys.load(&name).map_err(key::failure)
}

/// Readable, and different for different issuers and clients.
fn own_name(issuer: &str, client_id: &str) -> String {
    let host = issuer.split_once("://").map_or(issuer, |(_, rest)| rest);
    let plain = |text: &str| -> String {
        let fit = |char: char| {
            if char.is_ascii_alphanumeric() || char == '.' { char } else { '-' }
        };
        text.chars().map(fit).take(32).collect()
    };
    let digest = Sha256::new().chain_update(issuer).chain_update([0]).chain_update(client_id).finalize();
    let digest = HEXLOWER.encode(&digest[..6]);
    format!("auto-{}-{}-{digest}", plain(host), plain(client_id))
}

/// Whether a token is taken from the files of an earlier run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Cache {
    /// Without a word.
    Used,
    /// And said, for then nothing else of the command line was put to the test.
    Shown,
    /// Not at all, only kept for the next.
    Skipped,
}

/// The tokens in this user's files.
#[derive(Debug)]
struct Kept {
    files: TokenFiles,
    cache: Cache,
}

impl TokenStore for Kept {
    fn load(&self, id: &TokenId) -> Option<Token> {
        if self.cache == Cache::Skipped {
            return None;
        }
        let token = self.files.load(id)?;
        let good = token.expires().is_some() && !token.is_due(std::time::SystemTime::now().into());
        if good && self.cache == Cache::Shown {
            output::aside(format_args!(
                "{FAINT}token from the cache; the issuer is not asked (--fresh asks it){PLAIN}"
            ));
        }
        Some(token)
    }

    fn save(&self, id: &TokenId, token: &Token) -> std::io::Result<()> {
        self.files.save(id, token)
    }
}
