//! The issuer of a configuration: embedded in a gateway, alone, or looked after from another process.

use core::time::Duration;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::SystemTime;

use keybound::authorization_server::AuthorizationServer;
use keybound::crypto::aws_lc::SoftwareKey;
use keybound::replay::ReplayStore;
use keybound::time::UnixTime;
use keybound_issuer::admin::Administration;
use keybound_issuer::audit::{self, Audit};
use keybound_issuer::keys::{SealingKeys, StoredKey};
use keybound_issuer::store::{self, Location, OpenError, Store};
use keybound_issuer::users::NewUser;
use keybound_issuer::{Authentication, Clock, Issuer, IssuerConfig, Keys, Registration, Secret};
use keybound_tower::RingNonces;

use super::{EngineError, Lasting, Replays, look_at_ring, policy_of_nonces, verifier};
use crate::admin::Running;
use crate::config::{self, ClientAuthentication, Config, Sealing};
use crate::nonce_ring::{self, Watched};
use crate::signing_key;

/// How often it is looked what has expired, whether a memory that was away is back, and for another nonce ring.
const OFTEN: Duration = Duration::from_secs(1);

/// An issuer with no gateway around it, and what it shares with others or must not let go stale while it runs.
#[derive(Debug)]
pub struct IssuerAlone {
    issuer: Issuer,
    config: Config,
    replays: Arc<Replays>,
    nonces: RingNonces,
}

impl IssuerAlone {
    /// That of this configuration.
    ///
    /// # Errors
    ///
    /// The first thing that cannot be had.
    pub fn new(config: &Config) -> Result<Self, EngineError> {
        let settings = settings_of_issuer(config)?;
        let Lasting { store: replays, nonces, .. } = Lasting::new(config, None)?;
        let kept = issuer_store(settings)?;
        let audit = issuer_audit(settings)?;
        let keys = signing_keys(settings, &kept, &audit)?;
        let parts = Parts { keys, store: kept, audit };
        let lived = nonces.lives(config.proof.nonce_lifetime);
        let issuer = embedded_issuer(settings, config, lived, Arc::clone(&replays), parts)?;
        Ok(Self { issuer, config: config.clone(), replays, nonces })
    }

    /// It.
    pub const fn issuer(&self) -> &Issuer {
        &self.issuer
    }

    /// The memory of used proofs.
    pub fn replays(&self) -> &Replays {
        &self.replays
    }

    /// The bytes that it may take.
    pub(crate) const fn replay_memory(&self) -> u64 {
        self.config.replay.memory
    }

    /// Looks after the memory of used proofs and the nonce ring, on a thread of its own, until what is returned is dropped.
    ///
    /// # Errors
    ///
    /// If there can be no thread for it.
    pub fn look_after(self: &Arc<Self>) -> io::Result<Running> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build()?;
        let alone = Arc::clone(self);
        Running::start("keybound-tends", move |mut ended| {
            runtime.block_on(async {
                let mut ring = Watched::default();
                loop {
                    look_at_ring(&alone.config, &mut ring, &alone.nonces);
                    alone.replays.tend(SystemTime::now().into()).await;
                    if tokio::time::timeout(OFTEN, &mut ended).await.is_ok() {
                        return;
                    }
                }
            });
        })
    }

    /// Reads the files of the one signing key and of the nonce ring again, as far as there are such files: all or nothing. Another key
    /// is published at once, and signs later. The settings whose files were read.
    ///
    /// # Errors
    ///
    /// Why a file is of no use; what was before goes on.
    pub fn read_again(&self) -> Result<Vec<&'static str>, EngineError> {
        let settings = settings_of_issuer(&self.config)?;
        let key = key_of_file(settings)?;
        let file = self.config.nonce_ring.shared().and_then(|shared| shared.file.as_ref());
        let fault =
            |path: &PathBuf, why| EngineError::new("proof.nonce_keys", format_args!("{}: {why}", path.display()));
        let ring = file.map(|path| nonce_ring::read(path).map_err(|why| fault(path, why))).transpose()?;
        let mut read = Vec::new();
        if let Some(key) = key {
            self.issuer.keys().follow_with(key, settings.keys.settings.ahead(), SystemTime::now().into());
            read.push("signing_key");
        }
        if let Some(ring) = ring {
            self.nonces.replace(ring);
            read.push("proof.nonce_keys");
        }
        Ok(read)
    }
}

/// Looks after the clients and users of the issuer that is configured so, on its store, which is there. Nothing runs.
///
/// # Errors
///
/// If there is no issuer, its store is in the memory of one, or cannot be opened.
pub fn administration(config: &Config) -> Result<Administration, EngineError> {
    administration_on(config, existing_store)
}

/// The same, with a store that is made if there is none: for what an issuer is to have when it starts for the first time.
///
/// # Errors
///
/// As [`administration`].
pub fn administration_or_new(config: &Config) -> Result<Administration, EngineError> {
    administration_on(config, |settings| opened(store::open_at_once, settings))
}

fn administration_on(
    config: &Config,
    open: impl FnOnce(&config::AuthorizationServer) -> Result<Arc<dyn Store>, EngineError>,
) -> Result<Administration, EngineError> {
    let settings = settings_of_issuer(config)?;
    if settings.store == Location::Memory {
        let why = "is memory, which only the running issuer sees; ask it at its admin listener, or set a database";
        return Err(EngineError::new("authorization_server.store", why));
    }
    administration_of(settings, config, open(settings)?, issuer_audit(settings)?)
}

/// As [`administration`], with the signing keys, which its store keeps; it makes the first ones if there are none.
///
/// # Errors
///
/// Why there are none.
pub fn administration_with_keys(config: &Config) -> Result<Administration, EngineError> {
    let settings = settings_of_issuer(config)?;
    keys_are_kept(settings)?;
    let (store, audit) = (existing_store(settings)?, issuer_audit(settings)?);
    let keys = signing_keys(settings, &store, &audit)?;
    Ok(administration_of(settings, config, store, audit)?.with_keys(keys))
}

/// The signing keys that its store keeps, as they are. Nothing is made.
///
/// # Errors
///
/// Why nobody can tell.
pub async fn stored_keys(config: &Config) -> Result<Vec<StoredKey>, EngineError> {
    let settings = settings_of_issuer(config)?;
    keys_are_kept(settings)?;
    // Keys that are there have one already.
    let sealing = || sealing_keys(settings.keys.sealing.clone(), true);
    Keys::stored(existing_store(settings)?, sealing, &settings.keys.settings, Clock::system())
        .await
        .map_err(|error| EngineError::new("authorization_server.keys", error))
}

fn administration_of(
    settings: &config::AuthorizationServer,
    config: &Config,
    store: Arc<dyn Store>,
    audit: Audit,
) -> Result<Administration, EngineError> {
    let administration = Administration::new(store, audit.clone(), Clock::system(), audit::COMMAND);
    Ok(administration.with_configuration(&issuer_config(settings, config, audit)?))
}

/// Whether the issuer keeps its keys where another process can look after them.
fn keys_are_kept(settings: &config::AuthorizationServer) -> Result<(), EngineError> {
    if settings.signing_key.is_some() {
        let why = "it is the one key that signs, and you look after it: put another one in the file and send SIGHUP";
        return Err(EngineError::new("authorization_server.signing_key", why));
    }
    if settings.keys.module.is_some() {
        let why = "it is the one key that signs, and you look after it";
        return Err(EngineError::new("authorization_server.keys.pkcs11", why));
    }
    if settings.store == Location::Memory {
        let why = "keys in the memory of another process are out of reach";
        return Err(EngineError::new("authorization_server.store", why));
    }
    Ok(())
}

/// The embedded issuer's keys: that of its file, or those that it keeps in its store.
pub(super) fn signing_keys(
    settings: &config::AuthorizationServer,
    store: &Arc<dyn Store>,
    audit: &Audit,
) -> Result<Keys, EngineError> {
    if let Some(key) = key_of_file(settings)? {
        return Ok(Keys::new(key));
    }
    if let Some(key) = &settings.keys.module {
        return key_in_module(key).map_err(|error| EngineError::new("authorization_server.keys.pkcs11", error));
    }
    let sealing = settings.keys.sealing.clone();
    let sealing = move |is_used| sealing_keys(sealing, is_used);
    Keys::start(Arc::clone(store), sealing, &settings.keys.settings, Clock::system(), Some(audit.clone()))
        .map_err(|error| EngineError::new("authorization_server.keys", error))
}

/// What signing keys are sealed under; `is_used` where some are.
fn sealing_keys(sealing: Sealing, is_used: bool) -> Result<SealingKeys, String> {
    match sealing {
        Sealing::Random => SealingKeys::generate().map_err(|error| error.to_string()),
        Sealing::Beside(path) => signing_key::sealing_or_new(&path, is_used),
        Sealing::With(keys) => Ok(keys),
    }
}

#[cfg(feature = "pkcs11")]
fn key_in_module(key: &config::KeyInModule) -> Result<Keys, keybound_client::pkcs11::Pkcs11Error> {
    let config::KeyInModule { module, token, key, pin, alg } = key;
    keybound_client::pkcs11::Pkcs11Key::open(module, token, key, pin, *alg).map(Keys::waiting)
}

#[cfg(not(feature = "pkcs11"))]
fn key_in_module(_: &config::KeyInModule) -> Result<Keys, &'static str> {
    Err("this program was built without it")
}

/// The key of the file that is named, if one is.
pub(super) fn key_of_file(settings: &config::AuthorizationServer) -> Result<Option<SoftwareKey>, EngineError> {
    let open = |path: &PathBuf| signing_key::open("authorization_server.signing_key", path);
    settings.signing_key.as_ref().map(open).transpose()
}

fn settings_of_issuer(config: &Config) -> Result<&config::AuthorizationServer, EngineError> {
    let settings = config.authorization_server.as_ref();
    settings.ok_or_else(|| EngineError("authorization_server: there is none".to_owned()))
}

/// Where the embedded issuer keeps what it must not forget.
pub(super) fn issuer_store(settings: &config::AuthorizationServer) -> Result<Arc<dyn Store>, EngineError> {
    opened(store::open, settings)
}

/// The same for a command about what is there.
fn existing_store(settings: &config::AuthorizationServer) -> Result<Arc<dyn Store>, EngineError> {
    opened(store::open_existing, settings)
}

fn opened(
    open: impl FnOnce(&Location, UnixTime) -> Result<Arc<dyn Store>, OpenError>,
    settings: &config::AuthorizationServer,
) -> Result<Arc<dyn Store>, EngineError> {
    open(&settings.store, SystemTime::now().into()).map_err(|error| {
        let hint = if error.is_absent() { "; the issuer makes it when it starts" } else { "" };
        EngineError::new("authorization_server.store", format_args!("{error}{hint}"))
    })
}

/// Where the embedded issuer notes what happens.
pub(super) fn issuer_audit(settings: &config::AuthorizationServer) -> Result<Audit, EngineError> {
    Audit::new(settings.audit_lifetime, settings.audit_file.as_deref())
        .map_err(|error| EngineError::new("authorization_server.audit_file", error))
}

/// What an issuer takes over from the one before.
pub(super) struct Parts {
    pub(super) keys: Keys,
    pub(super) store: Arc<dyn Store>,
    pub(super) audit: Audit,
}

pub(super) fn embedded_issuer(
    settings: &config::AuthorizationServer,
    config: &Config,
    nonces: RingNonces,
    records: Arc<impl ReplayStore + 'static>,
    parts: Parts,
) -> Result<Issuer, EngineError> {
    let Parts { keys, store, audit } = parts;
    let issuer = issuer_config(settings, config, audit)?;
    let server = AuthorizationServer::new(verifier(&config.proof, nonces)?);
    Issuer::with_store(issuer, keys, server, records, store, Clock::system())
        .map_err(|error| EngineError::new("authorization_server", error))
}

fn issuer_config(
    settings: &config::AuthorizationServer,
    config: &Config,
    audit: Audit,
) -> Result<IssuerConfig, EngineError> {
    let origins = config.origins.iter().map(config::PublicUrl::as_str);
    let mut audience = origins.chain(settings.audience.iter().map(String::as_str));
    let mut issuer = IssuerConfig::new(settings.url.as_str(), audience.next().unwrap_or_default()).audit(audit);
    for resource in audience {
        issuer = issuer.audience(resource);
    }
    for client in &settings.clients {
        issuer = issuer.client(registered(client)?);
    }
    for user in &settings.users {
        issuer = issuer.user(person(user));
    }
    issuer = issuer.session_lifetime(settings.session_lifetime).assertions_per_client(config.replay.per_key);
    issuer = issuer.replay_memory(usize::try_from(config.replay.memory).unwrap_or(usize::MAX));
    for (endpoint, policy) in &settings.nonces {
        issuer = issuer.nonce_policy(*endpoint, policy_of_nonces(*policy));
    }
    for provider in &settings.sign_in {
        issuer = issuer.sign_in(provider.clone());
    }
    let who = match &settings.registration {
        config::Registration::Off => Registration::Off,
        config::Registration::Open => Registration::Open,
        config::Registration::WithToken(token) => Registration::WithToken(
            Secret::new(token.clone())
                .map_err(|error| EngineError::new("authorization_server.registration_token", error))?,
        ),
    };
    issuer = issuer.registration(who, settings.registration_scope.join(" "));
    if config.proof.fapi {
        issuer = issuer.fapi();
    }
    if let Some(user) = &settings.auto_approve {
        issuer = issuer.auto_approve(user.as_str());
    }
    Ok(issuer)
}

fn person(user: &config::User) -> NewUser {
    let mut new = NewUser::new(user.username.as_str()).password(user.password_hash.clone());
    if let Some(name) = &user.name {
        new = new.full_name(name.as_str());
    }
    match &user.email {
        Some(email) => new.email(email.as_str()),
        None => new,
    }
}

fn registered(client: &config::Client) -> Result<keybound_issuer::Client, EngineError> {
    let name = format!("client {}", client.id);
    let secret = || {
        let secret = client.secret.clone().unwrap_or_default();
        Secret::new(secret).map_err(|error| EngineError::new(&name, error))
    };
    let authentication = match &client.authentication {
        ClientAuthentication::SecretBasic => Authentication::SecretBasic(secret()?),
        ClientAuthentication::SecretPost => Authentication::SecretPost(secret()?),
        ClientAuthentication::PrivateKeyJwt(file) => Authentication::PrivateKeyJwt(file.keys.clone()),
        ClientAuthentication::None => Authentication::None,
    };
    let mut registered = keybound_issuer::Client::new(client.id.as_str(), authentication).scope(client.scope.join(" "));
    if let Some(name) = &client.name {
        registered = registered.name(name.as_str());
    }
    for grant_type in &client.grant_types {
        registered = registered.grant_type(*grant_type);
    }
    for uri in &client.redirect_uris {
        registered = registered.redirect_uri(uri.as_str());
    }
    for uri in &client.post_logout_redirect_uris {
        registered = registered.post_logout_redirect_uri(uri.as_str());
    }
    if let Some(file) = &client.keys {
        registered = registered.keys(file.keys.clone());
    }
    Ok(if client.dpop_bound_access_tokens { registered.dpop_bound_access_tokens() } else { registered })
}

#[cfg(test)]
mod tests {
    use core::pin::pin;
    use core::task::{Context, Poll, Waker};

    use keybound::jwk::Thumbprint;
    use keybound::replay::ReplayEntry;
    use keybound::time::UnixTime;

    use super::*;
    use crate::config::{NonceRingAt, NonceRingPlace, Overrides, Reader};

    fn alone(file: &std::path::Path) -> Arc<IssuerAlone> {
        let text = "[listen]\naddress = \"127.0.0.1:0\"\n[authorization_server]\nurl = \"http://127.0.0.1:1\"\n\
                    audience = [\"https://api.example.com\"]\n[replay]\nwhen_unavailable = \"nonce-only\"\n";
        let flags = Overrides::default().reader(Reader::Issuer);
        let mut config = Config::from_parts(text, std::path::Path::new("issuer.toml"), [], &flags).unwrap();
        // In a file it goes with a memory that processes share.
        let ring = NonceRingAt { file: Some(file.to_owned()), ring: nonce_ring::make(file).unwrap() };
        config.nonce_ring = NonceRingPlace::Shared(ring);
        Arc::new(IssuerAlone::new(&config).unwrap())
    }

    #[test]
    fn an_issuer_alone_follows_the_ring_and_forgets_what_has_expired() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("ring.json");
        let alone = alone(&file);
        let expires = UnixTime::from(SystemTime::now()).plus(Duration::from_secs(1));
        let entry =
            ReplayEntry::new(Thumbprint::from_bytes([7; 32]), "x", "https://a/", alone.replays().epoch(), expires);
        let recorded = pin!(alone.replays().record(&entry, SystemTime::now().into()))
            .poll(&mut Context::from_waker(Waker::noop()));
        assert!(matches!(recorded, Poll::Ready(Ok(_))), "{recorded:?}");
        assert_eq!(alone.replays().entries(), 1);
        let looked_after = alone.look_after().unwrap();
        for id in 2..4 {
            nonce_ring::turn(&file).unwrap();
            let turned = || alone.nonces.ring().current_id() == id;
            redis_rig::wait_until("the ring of another process", turned).unwrap();
        }
        redis_rig::wait_until("what has expired to go", || alone.replays().entries() == 0).unwrap();
        drop(looked_after);

        nonce_ring::turn(&file).unwrap();
        assert_eq!(alone.read_again().unwrap(), ["proof.nonce_keys"]);
        assert_eq!(alone.nonces.ring().current_id(), 4);
        std::fs::write(&file, "{}").unwrap();
        let error = alone.read_again().unwrap_err().to_string();
        assert!(error.starts_with("proof.nonce_keys: ") && error.contains("not a nonce ring"), "{error}");
        assert_eq!(alone.nonces.ring().current_id(), 4, "the one before stays in force");
    }
}
