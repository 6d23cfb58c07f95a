//! Local users: their names, their passwords as hashes, and what else is known of them. Some stand in the configuration, all
//! others are records of the store.

use core::fmt;
use std::sync::Arc;

use keybound::refusal::Fault;
use keybound::time::UnixTime;
use unicode_normalization::UnicodeNormalization as _;

use crate::audit::{Audit, Entry, Event};
use crate::handle;
use crate::people::PasswordHash;
use crate::store::{Change, Kind, NEVER, Record, Store, Written, parse, to_json};

mod user;

use self::user::Stored;
pub use self::user::User;

/// The longest name, in characters.
pub(crate) const MAX_NAME: usize = 64;

/// The longest full name or address, in octets.
const MAX_TEXT: usize = 256;

/// How often a change is tried that others come in between of.
const TRIES: usize = 8;

/// A user to be: for [`Users::create`], or for [`IssuerConfig::user`](crate::IssuerConfig::user).
///
/// ```
/// use keybound_issuer::PasswordHash;
/// use keybound_issuer::users::NewUser;
///
/// let hash = PasswordHash::of("correct horse battery staple")?;
/// let user = NewUser::new("alice").password(hash).full_name("Alice Liddell").email("alice@example.com");
/// # let _ = user;
/// # Ok::<(), keybound_issuer::PasswordHashError>(())
/// ```
#[derive(Clone, Debug)]
#[must_use]
pub struct NewUser {
    pub(crate) name: Box<str>,
    password: Option<PasswordHash>,
    full_name: Option<Box<str>>,
    email: Option<Box<str>>,
}

impl NewUser {
    /// With this name to sign in with, and no password: letters and digits of any script and `.`, `_`, `-`, `+`, `@`, at most 64.
    pub fn new(name: impl Into<Box<str>>) -> Self {
        Self { name: name.into(), password: None, full_name: None, email: None }
    }

    /// With this password.
    pub fn password(mut self, hash: PasswordHash) -> Self {
        self.password = Some(hash);
        self
    }

    /// As people call them: `name` of OpenID Connect.
    pub fn full_name(mut self, name: impl Into<Box<str>>) -> Self {
        self.full_name = Some(name.into());
        self
    }

    /// Where mail reaches them.
    pub fn email(mut self, email: impl Into<Box<str>>) -> Self {
        self.email = Some(email.into());
        self
    }

    /// The user of a configuration, who is called the same in tokens.
    pub(crate) fn configured(&self) -> Result<User, UserError> {
        let name = self.checked()?;
        let user = self.user(name, self.name.clone(), UnixTime::from_secs(0));
        Ok(User { is_configured: true, ..user })
    }

    fn user(&self, id: Box<str>, subject: Box<str>, now: UnixTime) -> User {
        let stored = Stored {
            name: self.name.clone(),
            subject,
            password_hash: self.password.as_ref().map(|hash| hash.to_string().into()),
            full_name: self.full_name.clone(),
            email: self.email.clone(),
            disabled: false,
            created: now.as_secs(),
        };
        User { id, stored, is_configured: false }
    }

    /// Under which name it is found.
    fn checked(&self) -> Result<Box<str>, UserError> {
        let id = identity(&self.name).ok_or(UserError::Name)?;
        let texts = [&self.full_name, &self.email];
        if texts.into_iter().flatten().all(|text| is_text(text)) { Ok(id) } else { Err(UserError::Text) }
    }
}

/// Whether somebody can be called that.
///
/// ```
/// use keybound_issuer::users::is_name;
///
/// assert!(is_name("alice") && is_name("müller@example.com"));
/// assert!(!is_name("al ice") && !is_name(""));
/// ```
pub fn is_name(name: &str) -> bool {
    identity(name).is_some()
}

/// Whether it is a full name or an address.
pub(crate) fn is_text(text: &str) -> bool {
    text.len() <= MAX_TEXT && !text.trim().is_empty() && !text.chars().any(char::is_control)
}

/// One form for all the ways to write a name, or nothing if it is none. Upper and lower case are the same.
pub(crate) fn identity(name: &str) -> Option<Box<str>> {
    let id: String = name.nfkc().flat_map(char::to_lowercase).take(MAX_NAME + 1).nfkc().collect();
    let fits = |letter: char| letter.is_alphanumeric() || matches!(letter, '.' | '_' | '-' | '+' | '@');
    (!id.is_empty() && id.chars().count() <= MAX_NAME && id.chars().all(fits)).then(|| id.into())
}

/// What dies with a user: records that belong to one have this family.
pub(crate) fn family(subject: &str) -> Box<str> {
    ["user:", subject].concat().into()
}

/// What ends when a user is disabled or gets another password: the sessions.
pub(crate) fn family_of_sessions(subject: &str) -> Box<str> {
    ["sessions:", subject].concat().into()
}

/// What is forgotten when somebody takes back all that a user allowed: that it was allowed.
pub(crate) fn family_of_consents(subject: &str) -> Box<str> {
    ["consents:", subject].concat().into()
}

/// The local users. Clones share the store.
///
/// ```
/// # fn block_on<T>(work: impl Future<Output = T>) -> T {
/// #     let mut context = std::task::Context::from_waker(std::task::Waker::noop());
/// #     match std::pin::pin!(work).poll(&mut context) { std::task::Poll::Ready(done) => done, _ => panic!() }
/// # }
/// use std::sync::Arc;
/// use keybound::time::UnixTime;
/// use keybound_issuer::store::MemoryStore;
/// use keybound_issuer::users::{NewUser, Users};
///
/// let now = UnixTime::from_secs(1_700_000_000);
/// let users = Users::new(Arc::new(MemoryStore::new(now)));
/// # block_on(async {
/// let alice = users.create(NewUser::new("Alice"), now).await?;
/// assert_eq!(users.find("alice", now).await?.map(|user| user.subject().to_owned()).as_deref(), Some(alice.subject()));
/// users.disable("alice", now).await?;
/// users.delete("alice", now).await?;
/// assert!(users.find("alice", now).await?.is_none());
/// # Ok::<(), keybound_issuer::users::UserError>(())
/// # }).unwrap();
/// ```
#[derive(Clone, Debug)]
pub struct Users {
    configured: Arc<[User]>,
    store: Arc<dyn Store>,
    noting: Option<Noting>,
}

/// Where it is noted what is done to users, and by whom.
#[derive(Clone, Debug)]
pub(crate) struct Noting {
    pub(crate) audit: Audit,
    pub(crate) by: &'static str,
}

impl Users {
    /// Those of this store. What an issuer has in its configuration besides, [`Issuer::users`](crate::Issuer::users) knows.
    pub fn new(store: Arc<dyn Store>) -> Self {
        Self { configured: Arc::default(), store, noting: None }
    }

    pub(crate) fn with_configured(configured: Vec<User>, store: Arc<dyn Store>) -> Self {
        Self { configured: configured.into(), store, noting: None }
    }

    /// The same, with an entry in the audit log for each change.
    pub(crate) fn noting(self, noting: Noting) -> Self {
        Self { noting: Some(noting), ..self }
    }

    /// Makes the changes, with their entry; whether they found what they need.
    async fn write(&self, event: Event, subject: &str, mut changes: Vec<Change>, now: UnixTime) -> Result<bool, Fault> {
        let noted = self.noting.as_ref().map(|Noting { audit, by }| {
            let entry = Entry::new(event, now).by(by).subject(subject);
            changes.extend(audit.change(&entry));
            (audit, entry)
        });
        let written = self.store.write(changes, now).await? == Written::Done;
        if let Some((audit, entry)) = noted.filter(|_| written) {
            audit.tell(&entry).await;
        }
        Ok(written)
    }

    /// Makes a user.
    ///
    /// # Errors
    ///
    /// [`UserError::Name`], [`UserError::Text`], [`UserError::Taken`], and [`UserError::Failed`] if the store fails.
    pub async fn create(&self, new: NewUser, now: UnixTime) -> Result<User, UserError> {
        self.create_with(new, now, |_| Vec::new()).await
    }

    /// The same with what else is to be written for this `sub`, all of it or nothing.
    pub(crate) async fn create_with(
        &self,
        new: NewUser,
        now: UnixTime,
        also: impl FnOnce(&str) -> Vec<Change>,
    ) -> Result<User, UserError> {
        let id = new.checked()?;
        if self.configured.iter().any(|user| user.id == id) {
            return Err(UserError::Taken);
        }
        let user = new.user(id.clone(), handle::name()?.into(), now);
        let insert = |kind, name: &str, body| Change::Insert {
            kind,
            id: name.into(),
            family: family(user.subject()),
            expires: NEVER,
            body,
        };
        let mut changes =
            vec![insert(Kind::USER, &id, to_json(&user.stored)), insert(Kind::SUBJECT, user.subject(), to_json(&id))];
        changes.extend(user.has_password().then(|| has_password(&user)));
        changes.extend(also(user.subject()));
        if self.write(Event::UserAdded, user.subject(), changes, now).await? { Ok(user) } else { Err(UserError::Taken) }
    }

    /// The user of this name.
    ///
    /// # Errors
    ///
    /// [`Fault::StoreUnavailable`].
    pub async fn find(&self, name: &str, now: UnixTime) -> Result<Option<User>, Fault> {
        let Some(id) = identity(name) else { return Ok(None) };
        if let Some(user) = self.configured.iter().find(|user| user.id == id) {
            return Ok(Some(user.clone()));
        }
        let record = self.store.read(Kind::USER, &id, now).await?;
        record.map(|record| user(id, &record)).transpose()
    }

    /// The user with this `sub`.
    ///
    /// # Errors
    ///
    /// [`Fault::StoreUnavailable`].
    pub async fn find_by_subject(&self, subject: &str, now: UnixTime) -> Result<Option<User>, Fault> {
        if let Some(user) = self.configured.iter().find(|user| user.subject() == subject) {
            return Ok(Some(user.clone()));
        }
        let Some(record) = self.store.read(Kind::SUBJECT, subject, now).await? else { return Ok(None) };
        let id: Box<str> = parse(&record)?;
        let found = self.find(&id, now).await?;
        Ok(found.filter(|user| user.subject() == subject))
    }

    /// The users of the store whose [`User::id`] comes after this one, at most `limit`, in an order of the store's own. Those of the
    /// configuration are not among them: [`Users::configured`].
    ///
    /// # Errors
    ///
    /// [`Fault::StoreUnavailable`].
    pub async fn list(&self, after: &str, limit: u32, now: UnixTime) -> Result<Vec<User>, Fault> {
        let found = self.store.list(Kind::USER, after, limit, now).await?;
        found.into_iter().map(|(id, record)| user(id, &record)).collect()
    }

    /// The users of the configuration.
    pub fn configured(&self) -> impl Iterator<Item = &User> {
        self.configured.iter()
    }

    /// Gives a user another password, or none. Whoever is signed in as this user is not any more.
    ///
    /// # Errors
    ///
    /// [`UserError::Unknown`], [`UserError::Configured`], and [`UserError::Failed`] if the store fails.
    pub async fn set_password(&self, name: &str, hash: Option<PasswordHash>, now: UnixTime) -> Result<User, UserError> {
        let hash: Option<Box<str>> = hash.map(|hash| hash.to_string().into());
        let change = |stored: &mut Stored| stored.password_hash.clone_from(&hash);
        self.change(Event::UserPassword, name, now, change, ends_with_password).await
    }

    /// Lets nobody sign in as this user, and ends what is signed in: refresh tokens are refused as long as it lasts.
    ///
    /// # Errors
    ///
    /// As [`Users::set_password`].
    pub async fn disable(&self, name: &str, now: UnixTime) -> Result<User, UserError> {
        self.change(Event::UserDisabled, name, now, |stored| stored.disabled = true, ends).await
    }

    /// Takes [`Users::disable`] back.
    ///
    /// # Errors
    ///
    /// As [`Users::set_password`].
    pub async fn enable(&self, name: &str, now: UnixTime) -> Result<User, UserError> {
        self.change(Event::UserEnabled, name, now, |stored| stored.disabled = false, nothing_else).await
    }

    /// Says who they are: what is `None` is not known any more.
    ///
    /// # Errors
    ///
    /// [`UserError::Text`], and as [`Users::set_password`].
    pub async fn describe(
        &self,
        name: &str,
        full_name: Option<&str>,
        email: Option<&str>,
        now: UnixTime,
    ) -> Result<User, UserError> {
        let (full_name, email): (Option<Box<str>>, Option<Box<str>>) = (full_name.map(Box::from), email.map(Box::from));
        let described = NewUser { full_name, email, ..NewUser::new(name) };
        described.checked()?;
        let change = |stored: &mut Stored| {
            stored.full_name.clone_from(&described.full_name);
            stored.email.clone_from(&described.email);
        };
        self.change(Event::UserChanged, name, now, change, nothing_else).await
    }

    /// Deletes a user, with everything that is the user's; nothing is issued for them from then on.
    ///
    /// # Errors
    ///
    /// As [`Users::set_password`].
    pub async fn delete(&self, name: &str, now: UnixTime) -> Result<(), UserError> {
        let user = self.changeable(name, now).await?.0;
        let changes = vec![
            Change::Take { kind: Kind::USER, id: user.id.clone() },
            Change::Take { kind: Kind::SUBJECT, id: user.subject().into() },
            Change::DeleteFamily { family: family(user.subject()) },
            Change::DeleteFamily { family: family_of_sessions(user.subject()) },
            Change::DeleteFamily { family: family_of_consents(user.subject()) },
        ];
        let deleted = self.write(Event::UserDeleted, user.subject(), changes, now).await?;
        if deleted { Ok(()) } else { Err(UserError::Unknown) }
    }

    async fn changeable(&self, name: &str, now: UnixTime) -> Result<(User, u64), UserError> {
        let id = identity(name).ok_or(UserError::Unknown)?;
        if self.configured.iter().any(|user| user.id == id) {
            return Err(UserError::Configured);
        }
        let record = self.store.read(Kind::USER, &id, now).await?.ok_or(UserError::Unknown)?;
        Ok((user(id, &record)?, record.version))
    }

    async fn change(
        &self,
        event: Event,
        name: &str,
        now: UnixTime,
        change: impl Fn(&mut Stored) + Send + Sync,
        also: fn(&User) -> Vec<Change>,
    ) -> Result<User, UserError> {
        for _ in 0..TRIES {
            let (mut user, version) = self.changeable(name, now).await?;
            change(&mut user.stored);
            let (id, body) = (user.id.clone(), to_json(&user.stored));
            let mut changes = vec![Change::Replace { kind: Kind::USER, id, version, expires: NEVER, body }];
            changes.extend(also(&user));
            if self.write(event, user.subject(), changes, now).await? {
                return Ok(user);
            }
        }
        Err(Fault::StoreUnavailable.into())
    }
}

/// What ends with it: the sessions.
fn ends(user: &User) -> Vec<Change> {
    vec![Change::DeleteFamily { family: family_of_sessions(user.subject()) }]
}

fn ends_with_password(user: &User) -> Vec<Change> {
    let mut changes = ends(user);
    changes.push(Change::Delete { kind: Kind::PASSWORD, id: user.id.clone() });
    changes.extend(user.has_password().then(|| has_password(user)));
    changes
}

fn nothing_else(_: &User) -> Vec<Change> {
    Vec::new()
}

/// For whoever asks if anybody has one, without a look at everybody.
fn has_password(user: &User) -> Change {
    let family = family(user.subject());
    Change::Insert { kind: Kind::PASSWORD, id: user.id.clone(), family, expires: NEVER, body: "{}".into() }
}

fn user(id: Box<str>, record: &Record) -> Result<User, Fault> {
    Ok(User { id, stored: parse(record)?, is_configured: false })
}

/// What is wrong with a change of a user.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum UserError {
    /// That is no name.
    Name,
    /// A full name or an address is empty, too long or holds control characters.
    Text,
    /// There is somebody of this name.
    Taken,
    /// There is nobody of this name.
    Unknown,
    /// The user stands in the configuration: it is changed there.
    Configured,
    /// The store failed, or there is no randomness.
    Failed(Fault),
}

impl From<Fault> for UserError {
    fn from(fault: Fault) -> Self {
        Self::Failed(fault)
    }
}

impl fmt::Display for UserError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Name => "a user name is of letters, digits and . _ - + @, at most 64 of them",
            Self::Text => "a full name or an address is a line of at most 256 octets",
            Self::Taken => "there is a user of this name already",
            Self::Unknown => "there is no user of this name",
            Self::Configured => "this user stands in the configuration: change it there",
            Self::Failed(fault) => fault.meaning(),
        })
    }
}

impl core::error::Error for UserError {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_have_one_form() {
        for (name, expected) in [
            ("alice", Some("alice")),
            ("Alice.Liddell+x@Example.COM", Some("alice.liddell+x@example.com")),
            ("MÜLLER", Some("müller")),
            ("mu\u{308}ller", Some("müller")),
            ("\u{ff41}lice", Some("alice")),
            ("", None),
            ("al ice", None),
            (" alice", None),
            ("al\u{0}ice", None),
            ("al\u{200b}ice", None),
            ("<b>", None),
            (&"a".repeat(64), Some(&"a".repeat(64))),
            (&"a".repeat(65), None),
            // One character that stands for eighteen.
            (&"\u{fdfa}".repeat(64), None),
        ] {
            assert_eq!(identity(name).as_deref(), expected, "{name:?}");
        }
    }
}
