//! An issuer for somebody else's test: on a loopback port of its own, with one client, gone when dropped.

use core::fmt;
use std::io;
use std::sync::Arc;

use keybound::authorization_server::AuthorizationServer;
use keybound::crypto::aws_lc::{AwsLc, random_array};
use keybound::jws::encode_base64url;
use keybound::nonce::{NonceKey, StatelessNonces};
use keybound::replay::Epoch;
use keybound::replay::memory::{MemoryLimits, MemoryStore};
use keybound::verify::Verifier;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

use crate::{Authentication, Client, Clock, GrantType, Issuer, IssuerConfig, Keys, Secret};

/// An issuer that runs inside a test, with everything random and nothing on disk. Dropping it stops it.
///
/// Its one client may use `client_credentials`, authenticates by `client_secret_basic`, has the scopes `read` and `write`,
/// and gets bound tokens only. Tokens are for [`TestIssuer::AUDIENCE`].
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
        let secret = Secret::new(client_secret.clone()).map_err(io::Error::other)?;
        let client = Client::new(Self::CLIENT, Authentication::SecretBasic(secret))
            .grant_type(GrantType::ClientCredentials)
            .scope("read write")
            .dpop_bound_access_tokens();
        let config = IssuerConfig::new(format!("http://{}", listener.local_addr()?), Self::AUDIENCE).client(client);
        let issuer = issuer(change(config)).map_err(io::Error::other)?;
        let running = tokio::spawn({
            let issuer = issuer.clone();
            async move { issuer.serve(listener, std::future::pending()).await }
        });
        Ok(Self {
            issuer,
            client_secret,
            running,
        })
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

    /// The identifier of its client.
    pub const fn client_id(&self) -> &'static str {
        Self::CLIENT
    }

    /// The secret of its client.
    pub fn client_secret(&self) -> &str {
        &self.client_secret
    }
}

fn issuer(config: IssuerConfig) -> Result<Issuer, Box<dyn core::error::Error + Send + Sync>> {
    let clock = Clock::system();
    let epoch = Epoch::new(u64::from_be_bytes(random_array()?), clock.now());
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
