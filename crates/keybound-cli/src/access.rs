//! How `token` and `request` get at bound tokens: the issuer, the client, its secret and its key.

mod kept;
mod own_key;
mod profile;
mod show;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::Args;
use keybound::client::permitted;
use keybound::crypto::Signer;
use keybound::crypto::aws_lc::SoftwareKey;
use keybound::request::TargetUri;
use keybound_client::files::{TokenFiles, read_key};
use keybound_client::{
    Access as Way, Authentication, Client, ClientBuilder, DeviceCode, Error, Login, PlainHttp, Secret, Token,
    TokenExchange,
};

pub(crate) use self::kept::Cache;
use self::kept::Kept;
use self::own_key::own_key;
use self::show::OnTerminal;
use crate::key;
use crate::outcome::Failure;

type Result<T> = std::result::Result<T, Failure>;

/// A secret or a token on one line; longer files are something else.
const MAX_SECRET: u64 = 64 * 1024;

/// The options about the issuer.
#[derive(Clone, Debug, Default, Args)]
#[command(next_help_heading = "Access")]
pub(crate) struct Access {
    /// The issuer of the token, as it names itself in its metadata
    #[arg(long, value_name = "URL", value_parser = reachable)]
    issuer: Option<String>,
    /// Let each resource name its issuer (RFC 9728); tokens are got from these issuers alone, may be given again
    #[arg(long, value_name = "URL", value_parser = reachable, conflicts_with = "issuer")]
    discover: Vec<String>,
    /// The client to get the token as
    #[arg(long, value_name = "ID")]
    client_id: Option<String>,
    /// The client's secret; better in KEYBOUND_CLIENT_SECRET or a file, other users see command lines
    #[arg(
        long,
        value_name = "SECRET",
        allow_hyphen_values = true,
        conflicts_with_all = ["client_secret_file", "private_key"]
    )]
    client_secret: Option<String>,
    /// A file with the client's secret
    #[arg(long, value_name = "FILE", conflicts_with = "private_key")]
    client_secret_file: Option<PathBuf>,
    /// Authenticate by an assertion signed with this private key, a JWK or PEM (private_key_jwt)
    #[arg(long, value_name = "FILE")]
    private_key: Option<PathBuf>,
    /// The kid that the assertion names
    #[arg(long, value_name = "KID", requires = "private_key")]
    key_id: Option<String>,
    /// The scope to ask for
    #[arg(long, value_name = "SCOPE")]
    scope: Option<String>,
    /// What the token is for (RFC 8707); may be given again
    #[arg(long, value_name = "URL")]
    resource: Vec<String>,
    /// The key to bind the token to: a name or a file; without it, one is made for this issuer and client and kept
    #[arg(long, value_name = "NAME|FILE")]
    key: Option<String>,
    /// Log in with the browser on this machine: authorization code, PKCE, dpop_jkt; once, the session is kept
    #[arg(long, conflicts_with_all = ["device", "refresh_token_file", "exchange"])]
    login: bool,
    /// With --login, only print the URL to open
    #[arg(long, requires = "login")]
    no_browser: bool,
    /// With --login, the port of 127.0.0.1 where the answer is awaited; any that is free, unless set
    #[arg(long, value_name = "PORT", requires = "login")]
    redirect_port: Option<u16>,
    /// With --login, the path of the redirect URI (default /callback)
    #[arg(long, value_name = "PATH", requires = "login", value_parser = path)]
    redirect_path: Option<String>,
    /// Log in on another device: a URL and a code are shown
    #[arg(long, conflicts_with_all = ["refresh_token_file", "exchange"])]
    device: bool,
    /// Go on with the session of the refresh token in this file
    #[arg(long, value_name = "FILE", conflicts_with = "exchange")]
    refresh_token_file: Option<PathBuf>,
    /// Exchange the access token in this file (RFC 8693)
    #[arg(long, value_name = "FILE")]
    exchange: Option<PathBuf>,
    /// With --exchange, the name of the service the token is for; may be given again
    #[arg(long, value_name = "NAME", requires = "exchange")]
    audience: Vec<String>,
    /// Take what is not given here from this table of the file with profiles
    #[arg(long, value_name = "NAME", env = "KEYBOUND_PROFILE", hide_env = true)]
    profile: Option<String>,
    /// The file with profiles, TOML (default profiles.toml in $KEYBOUND_HOME, else in the platform's directory for data)
    #[arg(long, value_name = "FILE", requires = "profile")]
    profiles: Option<PathBuf>,
}

impl Access {
    /// The same, with what the profile says of things that the command line leaves open.
    pub(crate) fn settled(&self) -> Result<Self> {
        let mut settled = self.clone();
        if let Some(name) = &self.profile {
            profile::read(self.profiles.as_deref(), name)?.fill(&mut settled);
        }
        settled.check()?;
        Ok(settled)
    }

    /// What clap cannot see, for the other half may stand in a profile.
    fn check(&self) -> Result<()> {
        if !self.has_issuer() {
            let lonely = [
                (self.client_id.is_some(), "--client-id"),
                (self.client_secret.is_some(), "--client-secret"),
                (self.client_secret_file.is_some(), "--client-secret-file"),
                (self.private_key.is_some(), "--private-key"),
                (self.scope.is_some(), "--scope"),
                (!self.resource.is_empty(), "--resource"),
                (self.login, "--login"),
                (self.device, "--device"),
                (self.refresh_token_file.is_some(), "--refresh-token-file"),
                (self.exchange.is_some(), "--exchange"),
            ];
            if let Some((_, option)) = lonely.into_iter().find(|(given, _)| *given) {
                return Err(Failure::usage(format!("{option} needs --issuer (or --discover)")));
            }
        } else if self.client_id.is_none() {
            return Err(Failure::usage("--issuer and --client-id are needed to get a token"));
        }
        Ok(())
    }

    /// Whether there is an issuer to ask.
    pub(crate) const fn has_issuer(&self) -> bool {
        self.issuer.is_some() || !self.discover.is_empty()
    }

    /// Whether resources say which issuer.
    pub(crate) const fn discovers(&self) -> bool {
        !self.discover.is_empty()
    }

    /// A client that gets its tokens from the issuer and keeps them in this user's files, where it looks first as said.
    pub(crate) fn client(&self, cache: Cache) -> Result<ClientBuilder> {
        // First what may be wrong: no key is made for a mistake.
        let ways = match &self.issuer {
            Some(issuer) => vec![self.way(issuer)?],
            None => self.discover.iter().map(|issuer| self.way(issuer)).collect::<Result<_>>()?,
        };
        let (key, former) = self.keys()?;
        let files =
            TokenFiles::of_user().ok_or_else(|| Failure::usage("there is no home directory; set KEYBOUND_HOME"))?;
        let builder = builder(Arc::new(key)).store(Arc::new(Kept { files, cache }));
        let builder = former.into_iter().fold(builder, |builder, key| builder.former_key(Arc::new(key)));
        Ok(if self.discovers() {
            discovering(builder, &self.discover, ways)
        } else {
            ways.into_iter().fold(builder, ClientBuilder::access)
        })
    }

    /// A client that holds `key`, whatever the options say, and keeps its tokens to itself.
    pub(crate) fn client_of(&self, key: Arc<dyn Signer>) -> Result<ClientBuilder> {
        let (issuer, _) = self.named()?;
        Ok(builder(key).access(self.way(issuer)?))
    }

    /// The key for new tokens, and its former ones.
    fn keys(&self) -> Result<(SoftwareKey, Vec<SoftwareKey>)> {
        match &self.key {
            Some(key) => key::load_all(key),
            None => self.named().and_then(|(issuer, client_id)| own_key(issuer, client_id)),
        }
    }

    /// The key for new tokens, as it is by now.
    pub(crate) fn current_key(&self) -> Result<SoftwareKey> {
        self.keys().map(|(key, _)| key)
    }

    /// The key of the options, if there is one.
    pub(crate) fn key(&self) -> Result<Option<SoftwareKey>> {
        self.key.as_deref().map(key::load).transpose()
    }

    /// The issuer, or the first of several, and the client.
    fn named(&self) -> Result<(&str, &str)> {
        match (self.issuer.as_ref().or(self.discover.first()), &self.client_id) {
            (Some(issuer), Some(client_id)) => Ok((issuer, client_id)),
            _ => Err(Failure::usage("--issuer and --client-id are needed to get a token")),
        }
    }

    /// How to ask `issuer` for a token.
    fn way(&self, issuer: &str) -> Result<Way> {
        let (_, client_id) = self.named()?;
        let mut way = if self.login {
            Way::authorization_code(issuer, client_id, self.browser())
        } else if self.device {
            Way::device_code(issuer, client_id, DeviceCode::new(OnTerminal::Device))
        } else if let Some(path) = &self.refresh_token_file {
            Way::refresh(issuer, client_id, Secret::new(secret_of(path)?))
        } else if let Some(path) = &self.exchange {
            let exchange = TokenExchange::of_access_token(Secret::new(secret_of(path)?));
            let exchange = self.audience.iter().fold(exchange, |exchange, name| exchange.audience(name.as_str()));
            Way::token_exchange(issuer, client_id, exchange)
        } else {
            Way::client_credentials(issuer, client_id)
        };
        way = way.authentication(self.authentication()?);
        if let Some(scope) = &self.scope {
            way = way.scope(scope.as_str());
        }
        Ok(self.resource.iter().fold(way, |way, resource| way.resource(resource.as_str())))
    }

    fn browser(&self) -> Login {
        let mut login = Login::new(if self.no_browser { OnTerminal::Alone } else { OnTerminal::Browser });
        if let Some(port) = self.redirect_port {
            login = login.port(port);
        }
        match &self.redirect_path {
            Some(path) => login.path(path.as_str()),
            None => login,
        }
    }

    /// A client with a token that is there already.
    pub(crate) fn client_with(&self, token: String) -> Result<ClientBuilder> {
        let key = self.key.as_deref().ok_or_else(|| {
            Failure::usage("--token needs --key: the token is of use only with the key it is bound to")
        })?;
        let token = Token::new(token).map_err(Failure::usage)?;
        Ok(builder(Arc::new(key::load_for(key, token.secret())?)).token(token))
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

/// A client that takes tokens from these issuers, where a resource names them.
fn discovering(builder: ClientBuilder, issuers: &[String], ways: Vec<Way>) -> ClientBuilder {
    let ways: Vec<(String, Way)> = issuers.iter().cloned().zip(ways).collect();
    builder.discover(move |issuer: &str| ways.iter().find(|(known, _)| known == issuer).map(|(_, way)| way.clone()))
}

fn path(text: &str) -> std::result::Result<String, String> {
    if text.starts_with('/') { Ok(text.to_owned()) } else { Err("a path begins with /".to_owned()) }
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

pub(crate) fn secret_of(path: &Path) -> Result<String> {
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
