//! Keys: at hand, or behind a service that signs when it is asked to.

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;

use keybound::client::{AlgMisfit, Attempt, Prover, Sent, ServerMemory, choose_alg};
use keybound::crypto::{Alg, AlgSet, Signer, SigningFailed};
use keybound::jwk::{PublicJwk, Thumbprint};
use parking_lot::RwLock;

use crate::client::{jti, now};
use crate::error::Error;

/// What comes of asking a service to sign.
pub type Signing<'s> = Pin<Box<dyn Future<Output = Result<Vec<u8>, SigningFailed>> + Send + 's>>;

/// A private key that answers slowly: in an HSM, in a cloud's key service.
///
/// ```
/// use keybound::crypto::{Alg, Signer as _, SigningFailed, aws_lc::SoftwareKey};
/// use keybound::jwk::PublicJwk;
/// use keybound_client::{AsyncSigner, Client, Key, Signing};
///
/// /// Stands for a key service.
/// #[derive(Debug)]
/// struct Service(SoftwareKey);
///
/// impl AsyncSigner for Service {
///     fn alg(&self) -> Alg { Alg::Es256 }
///     fn public_jwk(&self) -> &PublicJwk { self.0.public_jwk() }
///     fn sign<'s>(&'s self, message: &'s [u8]) -> Signing<'s> {
///         Box::pin(async move { self.0.sign(message) }) // a request to the service
///     }
/// }
///
/// let key = Key::remote(Service(SoftwareKey::generate(Alg::Es256)?));
/// let client = Client::builder(key).build()?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub trait AsyncSigner: Send + Sync + fmt::Debug {
    /// The algorithm of its signatures.
    fn alg(&self) -> Alg;

    /// The public half. It is asked for once, and at hand.
    fn public_jwk(&self) -> &PublicJwk;

    /// Signs `message`, in the form JWS wants: R and S at full length, not DER.
    fn sign<'s>(&'s self, message: &'s [u8]) -> Signing<'s>;
}

/// A key that a [`Client`](crate::Client) proves. It is never printed.
#[derive(Clone)]
pub struct Key(Kind);

#[derive(Clone)]
enum Kind {
    Local(Arc<dyn Signer>),
    Remote(Arc<dyn AsyncSigner>),
}

impl Key {
    /// A key behind a service.
    pub fn remote(signer: impl AsyncSigner + 'static) -> Self {
        Self(Kind::Remote(Arc::new(signer)))
    }

    /// The algorithm of its signatures.
    pub fn alg(&self) -> Alg {
        match &self.0 {
            Kind::Local(signer) => signer.alg(),
            Kind::Remote(signer) => signer.alg(),
        }
    }

    /// The public half.
    pub fn public_jwk(&self) -> &PublicJwk {
        match &self.0 {
            Kind::Local(signer) => signer.public_jwk(),
            Kind::Remote(signer) => signer.public_jwk(),
        }
    }

    async fn sign(&self, message: &[u8]) -> Result<Vec<u8>, SigningFailed> {
        match &self.0 {
            Kind::Local(signer) => signer.sign(message),
            Kind::Remote(signer) => signer.sign(message).await,
        }
    }
}

impl<S: Signer + 'static> From<Arc<S>> for Key {
    fn from(signer: Arc<S>) -> Self {
        Self(Kind::Local(signer))
    }
}

impl From<Arc<dyn Signer>> for Key {
    fn from(signer: Arc<dyn Signer>) -> Self {
        Self(Kind::Local(signer))
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Key({}, {})", self.alg(), self.public_jwk().thumbprint())
    }
}

/// A key ready for proofs.
pub(crate) struct Holder {
    key: Key,
    prover: Prover,
    jkt: Thumbprint,
}

impl Holder {
    pub(crate) fn of(key: Key) -> Result<Self, AlgMisfit> {
        let prover = Prover::new(key.alg(), key.public_jwk())?;
        let jkt = key.public_jwk().thumbprint();
        Ok(Self { key, prover, jkt })
    }

    pub(crate) fn alg(&self) -> Alg {
        self.key.alg()
    }

    pub(crate) const fn jkt(&self) -> &Thumbprint {
        &self.jkt
    }

    /// A proof for this attempt and no other (R-CLI-01).
    pub(crate) async fn prove<'r, T>(
        &self,
        attempt: Attempt<'r, T>,
        servers: &ServerMemory,
    ) -> Result<Sent<'r, T>, Error> {
        let proving = attempt.prove(&self.prover, servers, jti()?, now());
        let signature = self.key.sign(proving.signing_input()).await?;
        Ok(proving.with_signature(&signature)?)
    }
}

impl fmt::Debug for Holder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.key.fmt(f)
    }
}

/// Former keys that are remembered, when keys change while the client runs.
const MAX_FORMER: usize = 8;

/// The keys of a client. The lists are replaced as a whole.
#[derive(Debug)]
pub(crate) struct Keys(RwLock<Rings>);

#[derive(Clone, Debug)]
struct Rings {
    /// For new tokens, the preferred first.
    current: Arc<[Arc<Holder>]>,
    /// For the tokens that they have, the last one first.
    former: Arc<[Arc<Holder>]>,
}

impl Keys {
    pub(crate) fn new(current: Vec<Arc<Holder>>, former: Vec<Arc<Holder>>) -> Self {
        Self(RwLock::new(Rings { current: current.into(), former: former.into() }))
    }

    /// Those for new tokens.
    pub(crate) fn current(&self) -> Arc<[Arc<Holder>]> {
        Arc::clone(&self.0.read().current)
    }

    /// These, and behind them the former ones.
    pub(crate) fn all(&self) -> Vec<Arc<Holder>> {
        let rings = self.0.read().clone();
        rings.current.iter().chain(&*rings.former).cloned().collect()
    }

    /// Puts `holder` in the place of the first key, which becomes a former one.
    pub(crate) fn rotate(&self, holder: Arc<Holder>) {
        let mut rings = self.0.write();
        let former = rings.current.iter().take(1).chain(&*rings.former).take(MAX_FORMER.max(rings.former.len()));
        let former = former.cloned().collect();
        let current = std::iter::once(holder).chain(rings.current.iter().skip(1).cloned()).collect();
        *rings = Rings { current, former };
    }

    /// The first key whose algorithm is on all these lists, as far as they are known (R-CLI-13).
    pub(crate) fn choose(&self, server: &str, theirs: &[AlgSet]) -> Result<Arc<Holder>, Error> {
        let all = self.current();
        let fits = |holder: &&Arc<Holder>| theirs.iter().all(|list| list.contains(holder.alg()));
        if let Some(holder) = all.iter().find(fits) {
            return Ok(Arc::clone(holder));
        }
        let ours: AlgSet = all.iter().map(|holder| holder.alg()).collect();
        match choose_alg(ours, theirs) {
            Err(lists) => Err(Error::NoCommonAlg { server: server.into(), lists }),
            Ok(_) => Err(Error::NoToken), // a client without keys cannot be built
        }
    }
}
