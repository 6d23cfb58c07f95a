//! An issuer for somebody else's test: on a loopback port of its own, with a client for each kind and every grant, gone when
//! dropped.

use core::fmt;
use core::time::Duration;
use std::io;
use std::sync::Arc;

use keybound::authorization_server::AuthorizationServer;
use keybound::crypto::aws_lc::{AwsLc, random_array};
use keybound::jws::encode_base64url;
use keybound::nonce::{NonceKey, StatelessNonces};
use keybound::replay::Epoch;
use keybound::replay::memory::{MemoryLimits, MemoryStore};
use keybound::time::UnixTime;
use keybound::verify::Verifier;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

use crate::{Authentication, Client, Clock, GrantType, Issuer, IssuerConfig, Keys, Secret};

/// An issuer that runs inside a test, with everything random and nothing on disk. Dropping it stops it.
///
/// | client | authenticates | grants | scopes |
/// |---|---|---|---|
/// | [`client_id`](Self::client_id) | [`client_secret`](Self::client_secret), `client_secret_basic` | client credentials, authorization code, refresh token, device code | `read`, `write` |
/// | [`APP`](Self::APP) | not at all | authorization code, refresh token, device code | `openid`, `read`, `write` |
/// | [`LEGACY`](Self::LEGACY) | as the first | client credentials, token exchange | `read`, `write` |
///
/// The first two get bound tokens only; the last gets bearer tokens where it sends no proof, and exchanges them for bound ones.
/// [`USER`](Self::USER) is signed in wherever a person is asked and agrees to everything, with no page: a browser that follows
/// the authorization request, or a program that opens `verification_uri_complete` of a device, is sent on at once; a browser is asked about a device. Codes go to
/// [`REDIRECT_URI`](Self::REDIRECT_URI), at any port. Tokens are for [`AUDIENCE`](Self::AUDIENCE).
///
/// An issuer that has just started demands a nonce of every proof for a minute, because it does not know what was used before.
/// This one, whose address is new, demands none; it offers them.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use keybound_issuer::TestIssuer;
///
/// let issuer = TestIssuer::start().await?;
/// println!("POST {} as {}", issuer.token_endpoint(), issuer.client_id());
/// # Ok(())
/// # }
/// ```
pub struct TestIssuer {
    issuer: Issuer,
    client_secret: String,
    running: JoinHandle<io::Result<()>>,
}

impl TestIssuer {
    /// The resource its tokens are for.
    pub const AUDIENCE: &'static str = "https://api.example.com";

    /// The public client.
    pub const APP: &'static str = "test-app";

    /// The client that has bearer tokens still.
    pub const LEGACY: &'static str = "test-legacy";

    /// `sub` of tokens that a person allowed.
    pub const USER: &'static str = "alice";

    /// Where codes are sent: this address, at any port (RFC 8252 section 7.3).
    pub const REDIRECT_URI: &'static str = "http://127.0.0.1/callback";

    const CLIENT: &'static str = "test-client";

    /// Starts it on the running tokio runtime.
    ///
    /// # Errors
    ///
    /// Why there is no listener on loopback.
    pub async fn start() -> io::Result<Self> {
        Self::start_with(|config| config).await
    }

    /// Starts it with other settings: more clients, another lifetime.
    ///
    /// # Errors
    ///
    /// Why there is no listener on loopback, or what is wrong with the settings.
    pub async fn start_with(change: impl FnOnce(IssuerConfig) -> IssuerConfig) -> io::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let client_secret = encode_base64url(&random_array::<16>().map_err(io::Error::other)?);
        let url = format!("http://{}", listener.local_addr()?);
        let config =
            clients(&client_secret)?.into_iter().fold(IssuerConfig::new(url, Self::AUDIENCE), IssuerConfig::client);
        let config = config.auto_approve(Self::USER);
        let issuer = issuer(change(config)).map_err(io::Error::other)?;
        let running = tokio::spawn({
            let issuer = issuer.clone();
            async move { issuer.serve(listener, std::future::pending()).await }
        });
        Ok(Self { issuer, client_secret, running })
    }

    /// The issuer itself: its keys, its identifier.
    pub const fn issuer(&self) -> &Issuer {
        &self.issuer
    }

    /// The issuer identifier, `http://127.0.0.1:` and a port.
    pub fn url(&self) -> &str {
        self.issuer.identifier()
    }

    /// Where tokens are asked for.
    pub fn token_endpoint(&self) -> &str {
        self.issuer.token_endpoint()
    }

    /// The identifier of the client that authenticates and gets bound tokens.
    pub const fn client_id(&self) -> &'static str {
        Self::CLIENT
    }

    /// The secret of that client, and of [`LEGACY`](Self::LEGACY).
    pub fn client_secret(&self) -> &str {
        &self.client_secret
    }
}

/// No barrier of before stands any more.
const LONG_AGO: Duration = Duration::from_secs(2 * 86_400);

fn clients(secret: &str) -> io::Result<[Client; 3]> {
    let authentication =
        || Ok::<_, io::Error>(Authentication::SecretBasic(Secret::new(secret.to_owned()).map_err(io::Error::other)?));
    let for_people = |client: Client| {
        client
            .grant_type(GrantType::AuthorizationCode)
            .grant_type(GrantType::RefreshToken)
            .grant_type(GrantType::DeviceCode)
            .redirect_uri(TestIssuer::REDIRECT_URI)
            .dpop_bound_access_tokens()
    };
    let client = Client::new(TestIssuer::CLIENT, authentication()?).grant_type(GrantType::ClientCredentials);
    let legacy = Client::new(TestIssuer::LEGACY, authentication()?)
        .grant_type(GrantType::ClientCredentials)
        .grant_type(GrantType::TokenExchange);
    let app = Client::new(TestIssuer::APP, Authentication::None).scope("openid read write");
    Ok([for_people(client.scope("read write")), for_people(app), legacy.scope("read write")])
}

fn issuer(config: IssuerConfig) -> Result<Issuer, Box<dyn core::error::Error + Send + Sync>> {
    let clock = Clock::system();
    let long_ago = UnixTime::from_secs(clock.now().as_secs().saturating_sub(LONG_AGO.as_secs()));
    let epoch = Epoch::new(u64::from_be_bytes(random_array()?), long_ago);
    let replays = Arc::new(MemoryStore::new(MemoryLimits::new(), random_array()?, epoch)?);
    let nonces = Arc::new(StatelessNonces::new(NonceKey::new(1, random_array()?)));
    let server = AuthorizationServer::new(Verifier::builder(Arc::new(AwsLc), nonces).build()?);
    Ok(Issuer::new(config, Keys::generate()?, server, replays, clock)?)
}

impl Drop for TestIssuer {
    fn drop(&mut self) {
        self.running.abort();
    }
}

impl fmt::Debug for TestIssuer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TestIssuer({})", self.url())
    }
}
