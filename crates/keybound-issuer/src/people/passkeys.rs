//! The passkeys of users in the store: each under its own name, and the list of a user's under the user's.

use core::fmt;

use keybound::crypto::Alg;
use keybound::jwk::PublicJwk;
use keybound::jws::encode_base64url;
use keybound::refusal::Fault;
use keybound::time::UnixTime;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use super::interaction::Ongoing;
use super::session::Present;
use crate::State;
use crate::exchange::write;
use crate::form::Form;
use crate::handle;
use crate::store::{Change, Kind, NEVER, parse, to_json};
use crate::users::{self, User};
use crate::webauthn::{Assertion, Attestation, Flaw, Known};

/// The most passkeys of one user.
pub(super) const MOST: usize = 20;

/// The longest name of one, in characters.
pub(super) const MAX_LABEL: usize = 40;

/// What is kept of a passkey.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Stored {
    subject: Box<str>,
    jwk: Box<str>,
    alg: Box<str>,
    sign_count: u32,
    backup_eligible: bool,
}

/// What is kept of a user's passkeys.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Passkeys {
    /// What authenticators call the user: random, so that it says nothing about anybody.
    pub(super) handle: Box<str>,
    pub(super) listed: Vec<Listed>,
    #[serde(skip)]
    pub(super) version: u64,
}

/// One of them, as its user sees it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Listed {
    /// As the browser has it, so that no authenticator takes a second one.
    pub(super) credential: Box<str>,
    pub(super) label: Box<str>,
}

/// Why a passkey was not taken.
#[derive(Debug)]
pub(super) enum Unfit {
    Failed(Fault),
    Flawed(Flaw),
    /// Nobody has this one any more.
    Unknown,
    /// There are too many.
    Full,
    /// Somebody has it, or the list was changed in between.
    Conflict,
}

impl From<Fault> for Unfit {
    fn from(fault: Fault) -> Self {
        Self::Failed(fault)
    }
}

impl From<Flaw> for Unfit {
    fn from(flaw: Flaw) -> Self {
        Self::Flawed(flaw)
    }
}

/// Under which name a passkey is stored.
fn name(credential: &str) -> Box<str> {
    handle::digest(credential)
}

/// The passkeys of this user, who gets a handle with the first look.
pub(super) async fn of_user(state: &State, subject: &str, now: UnixTime) -> Result<Passkeys, Fault> {
    for _ in 0..2 {
        if let Some(record) = state.store.read(Kind::PASSKEYS, subject, now).await? {
            return Ok(Passkeys { version: record.version, ..parse(&record)? });
        }
        let new = Passkeys { handle: handle::secret()?.into(), listed: Vec::new(), version: 0 };
        let insert = Change::Insert {
            kind: Kind::PASSKEYS,
            id: subject.into(),
            family: users::family(subject),
            expires: NEVER,
            body: to_json(&new),
        };
        // Whoever was first has made it.
        let _ = write(state, vec![insert], now).await?;
    }
    Err(Fault::StoreUnavailable)
}

impl Passkeys {
    fn replaced(&self, subject: &str) -> Change {
        Change::Replace {
            kind: Kind::PASSKEYS,
            id: subject.into(),
            version: self.version,
            expires: NEVER,
            body: to_json(self),
        }
    }
}

/// The challenge of a page: of this browser, of what the page is about, and of the moment, for whatever uses it changes the
/// version. Who has it has the browser's cookie.
fn challenge(what: &str, browser: &str, about: &str, version: u64) -> String {
    let version = version.to_string();
    let mut digest = Sha256::new();
    for part in ["challenge", what, browser, about, &version] {
        digest.update((part.len() as u64).to_be_bytes());
        digest.update(part.as_bytes());
    }
    encode_base64url(&digest.finalize())
}

/// For signing in on the page of an interaction.
pub(super) fn challenge_of(ongoing: &Ongoing<'_>) -> String {
    challenge("sign in", ongoing.browser, &ongoing.id, ongoing.version())
}

/// For a new passkey of somebody who is signed in.
pub(super) fn challenge_for(present: &Present, browser: &str, passkeys: &Passkeys) -> String {
    challenge("register", browser, &present.id, passkeys.version)
}

/// Whose passkey this is; and what remembers that it was used, to be written with what comes of it.
pub(super) async fn sign_in(
    state: &State,
    ongoing: &Ongoing<'_>,
    form: &Form,
    now: UnixTime,
) -> Result<(User, Change), Unfit> {
    let party = state.relying_party.as_ref().ok_or(Unfit::Unknown)?;
    let text = |field| form.get(field).unwrap_or_default();
    let id = name(text("credential"));
    let record = state.store.read(Kind::PASSKEY, &id, now).await?.ok_or(Unfit::Unknown)?;
    let mut stored: Stored = parse(&record)?;
    let user = state.users.find_by_subject(&stored.subject, now).await?.filter(|user| !user.is_disabled());
    let user = user.ok_or(Unfit::Unknown)?;
    let passkeys = of_user(state, &stored.subject, now).await?;
    let jwk = PublicJwk::from_json(stored.jwk.as_bytes()).map_err(|_| Flaw::Key)?;
    let known = Known {
        jwk: &jwk,
        alg: Alg::from_name(&stored.alg).ok_or(Flaw::Key)?,
        sign_count: stored.sign_count,
        backup_eligible: stored.backup_eligible,
        user_handle: &passkeys.handle,
    };
    let response = Assertion {
        client_data: text("client_data"),
        authenticator_data: text("authenticator_data"),
        signature: text("signature"),
        user_handle: text("user_handle"),
    };
    stored.sign_count = party.verify(response, known, &challenge_of(ongoing))?;
    let (version, expires) = (record.version, record.expires);
    let used = Change::Replace { kind: Kind::PASSKEY, id, version, expires, body: to_json(&stored) };
    Ok((user, used))
}

/// Gives a user another passkey, which the browser has just made.
pub(super) async fn add(
    state: &State,
    present: &Present,
    browser: &str,
    form: &Form,
    now: UnixTime,
) -> Result<(), Unfit> {
    let party = state.relying_party.as_ref().ok_or(Unfit::Unknown)?;
    let text = |field| form.get(field).unwrap_or_default();
    let subject = present.user.subject();
    let mut passkeys = of_user(state, subject, now).await?;
    if passkeys.listed.len() >= MOST {
        return Err(Unfit::Full);
    }
    let response = Attestation { client_data: text("client_data"), attestation_object: text("attestation_object") };
    let made = party.register(response, &challenge_for(present, browser, &passkeys))?;
    let label = label(text("label"), passkeys.listed.len());
    passkeys.listed.push(Listed { credential: made.id.clone(), label });
    let stored = Stored {
        subject: subject.into(),
        jwk: made.jwk.to_json().into(),
        alg: made.alg.name().into(),
        sign_count: made.sign_count,
        backup_eligible: made.backup_eligible,
    };
    let insert = Change::Insert {
        kind: Kind::PASSKEY,
        id: name(&made.id),
        family: users::family(subject),
        expires: NEVER,
        body: to_json(&stored),
    };
    // A credential that somebody has is nobody else's (section 7.1, step 26).
    match write(state, vec![passkeys.replaced(subject), insert], now).await? {
        Ok(()) => Ok(()),
        Err(_) => Err(Unfit::Conflict),
    }
}

/// Takes one away.
pub(super) async fn remove(state: &State, subject: &str, credential: &str, now: UnixTime) -> Result<(), Fault> {
    let mut passkeys = of_user(state, subject, now).await?;
    let before = passkeys.listed.len();
    passkeys.listed.retain(|listed| *listed.credential != *credential);
    if passkeys.listed.len() < before {
        let gone = Change::Delete { kind: Kind::PASSKEY, id: name(credential) };
        // Of two pages at once the second finds the list changed, and shows it.
        let _ = write(state, vec![passkeys.replaced(subject), gone], now).await?;
    }
    Ok(())
}

/// What its user calls it: one line of sensible length.
fn label(text: &str, others: usize) -> Box<str> {
    let label: String = text.chars().filter(|letter| !letter.is_control()).take(MAX_LABEL).collect();
    match label.trim() {
        "" => usual_label(others).into(),
        label => label.into(),
    }
}

/// What it is called unless its user says otherwise.
pub(super) fn usual_label(others: usize) -> String {
    format!("Passkey {}", others + 1)
}

impl fmt::Display for Unfit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Failed(fault) => f.write_str(fault.meaning()),
            Self::Flawed(flaw) => write!(f, "{flaw}"),
            Self::Unknown => f.write_str("nobody has this passkey"),
            Self::Full => f.write_str("its user has too many"),
            Self::Conflict => f.write_str("somebody has it, or the list was changed in between"),
        }
    }
}
