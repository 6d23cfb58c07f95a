//! What every store must do, as cases to run on yours from a test: feature `store-suite`. A case that fails panics and says
//! what it expected.

use core::time::Duration;
use std::sync::Arc;

use futures_util::future::join_all;
use keybound::time::UnixTime;

use super::{Change, Kind, NEVER, Record, Store, Written};
use crate::PasswordHash;
use crate::users::{NewUser, UserError, Users};

/// How many take the same thing at once.
const CROWD: usize = 50;

/// Runs every case on `store`. `run` is a text that no earlier run on the same store had.
///
/// ```
/// # fn block_on(suite: impl Future<Output = ()>) {
/// #     let mut context = std::task::Context::from_waker(std::task::Waker::noop());
/// #     assert!(std::pin::pin!(suite).poll(&mut context).is_ready());
/// # }
/// use std::sync::Arc;
/// use keybound::time::UnixTime;
/// use keybound_issuer::store::{MemoryStore, suite};
///
/// let now = UnixTime::from_secs(1_700_000_000);
/// block_on(suite::run(&(Arc::new(MemoryStore::new(now)) as _), "first", now));
/// ```
pub async fn run(store: &Arc<dyn Store>, run: &str, now: UnixTime) {
    inserts_once(store, run, now).await;
    replaces_what_was_read(store, run, now).await;
    does_all_or_nothing(store, run, now).await;
    families_die_together(store, run, now).await;
    expired_records_are_not_there(store, run, now).await;
    lists_a_kind(store, run, now).await;
    keeps_any_text(store, run, now).await;
    one_of_many_succeeds(store, run, now).await;
    takes_what_comes_at_once(store, run, now).await;
    keeps_users(store, run, now).await;
    ends_what_is_a_users(store, run, now).await;
}

fn insert(id: &str, family: &str, expires: UnixTime) -> Change {
    Change::Insert { kind: Kind::CODE, id: id.into(), family: family.into(), expires, body: "{}".into() }
}

fn replace(id: &str, version: u64, body: &str, expires: UnixTime) -> Change {
    Change::Replace { kind: Kind::CODE, id: id.into(), version, expires, body: body.into() }
}

async fn read(store: &Arc<dyn Store>, id: &str, now: UnixTime) -> Option<Record> {
    store.read(Kind::CODE, id, now).await.expect("a store that works")
}

async fn write(store: &Arc<dyn Store>, changes: Vec<Change>, now: UnixTime) -> Written {
    store.write(changes, now).await.expect("a store that works")
}

async fn inserts_once(store: &Arc<dyn Store>, run: &str, now: UnixTime) {
    let id = format!("{run} once");
    let later = now.plus(Duration::from_secs(60));
    assert_eq!(read(store, &id, now).await, None, "nothing is there before");
    assert_eq!(write(store, vec![insert(&id, "", later)], now).await, Written::Done);
    assert_eq!(write(store, vec![insert(&id, "", later)], now).await, Written::Conflict(0), "there is one already");
    let record = read(store, &id, now).await.expect("what was inserted");
    assert_eq!((record.expires, &*record.body, &*record.family), (later, "{}", ""));
    let other = store.read(Kind::GRANT, &id, now).await.expect("a store that works");
    assert_eq!(other, None, "a name is of one kind");
    let take = || vec![Change::Take { kind: Kind::CODE, id: id.as_str().into() }];
    assert_eq!(write(store, take(), now).await, Written::Done);
    assert_eq!(write(store, take(), now).await, Written::Conflict(0), "taken once");
    let delete = vec![Change::Delete { kind: Kind::CODE, id: id.as_str().into() }];
    assert_eq!(write(store, delete, now).await, Written::Done, "nothing to delete is no conflict");
}

async fn replaces_what_was_read(store: &Arc<dyn Store>, run: &str, now: UnixTime) {
    let id = format!("{run} replaced");
    let later = now.plus(Duration::from_secs(60));
    let _ = write(store, vec![insert(&id, "f", later)], now).await;
    let before = read(store, &id, now).await.expect("what was inserted");
    let after = later.plus(Duration::from_secs(1));
    let change = || vec![replace(&id, before.version, "[1]", after)];
    assert_eq!(write(store, change(), now).await, Written::Done);
    assert_eq!(write(store, change(), now).await, Written::Conflict(0), "it is not the one that was read");
    let record = read(store, &id, now).await.expect("what was replaced");
    assert_eq!((&*record.body, record.expires, &*record.family), ("[1]", after, "f"));
    let extend = |id: &str| Change::Extend { kind: Kind::CODE, id: id.into(), expires: later };
    assert_eq!(write(store, vec![extend(&id)], now).await, Written::Done);
    assert_eq!(read(store, &id, now).await.expect("what was extended").expires, later);
    assert_eq!(write(store, vec![extend("nobody")], now).await, Written::Conflict(0), "there is nothing to extend");
}

async fn does_all_or_nothing(store: &Arc<dyn Store>, run: &str, now: UnixTime) {
    let [one, two, three] = ["one", "two", "three"].map(|name| format!("{run} {name}"));
    let later = now.plus(Duration::from_secs(60));
    let _ = write(store, vec![insert(&one, "", later)], now).await;
    let changes = vec![
        Change::Take { kind: Kind::CODE, id: one.as_str().into() },
        insert(&two, "", later),
        Change::Take { kind: Kind::CODE, id: three.as_str().into() },
    ];
    assert_eq!(write(store, changes, now).await, Written::Conflict(2), "the position of what was missing");
    assert!(read(store, &one, now).await.is_some(), "what was taken is back");
    assert!(read(store, &two, now).await.is_none(), "what was inserted is gone");
}

async fn families_die_together(store: &Arc<dyn Store>, run: &str, now: UnixTime) {
    let later = now.plus(Duration::from_secs(60));
    let family = format!("{run} family");
    let [one, two, stranger, alone] = ["a", "b", "c", "d"].map(|name| format!("{run} member {name}"));
    let changes = vec![
        insert(&one, &family, later),
        insert(&two, &family, later),
        insert(&stranger, "another", later),
        insert(&alone, "", later),
    ];
    assert_eq!(write(store, changes, now).await, Written::Done);
    let delete = vec![Change::DeleteFamily { family: family.as_str().into() }];
    assert_eq!(write(store, delete, now).await, Written::Done);
    let delete = vec![Change::DeleteFamily { family: "".into() }];
    assert_eq!(write(store, delete, now).await, Written::Done);
    for (id, is_there) in [(&one, false), (&two, false), (&stranger, true), (&alone, true)] {
        assert_eq!(read(store, id, now).await.is_some(), is_there, "{id}");
    }
}

async fn expired_records_are_not_there(store: &Arc<dyn Store>, run: &str, now: UnixTime) {
    let id = format!("{run} short");
    let last = now.plus(Duration::from_secs(10));
    let _ = write(store, vec![insert(&id, "", last)], now).await;
    assert!(read(store, &id, last).await.is_some(), "its last second");
    assert!(read(store, &id, last.plus(Duration::from_secs(1))).await.is_none(), "and after");
    let forever = format!("{run} forever");
    let _ = write(store, vec![insert(&forever, "", super::NEVER)], now).await;
    let record = read(store, &forever, now.plus(Duration::from_secs(1 << 40))).await.expect("for ever");
    assert_eq!(record.expires, super::NEVER);
    let _ = write(store, vec![Change::Delete { kind: Kind::CODE, id: forever.into() }], now).await;
}

async fn lists_a_kind(store: &Arc<dyn Store>, run: &str, now: UnixTime) {
    let later = now.plus(Duration::from_secs(60));
    let names: Vec<String> = (0..5).map(|number| format!("{run} listed {number}")).collect();
    let changes = names.iter().map(|id| Change::Insert {
        kind: Kind::CLIENT,
        id: id.as_str().into(),
        family: "".into(),
        expires: later,
        body: "{}".into(),
    });
    assert_eq!(write(store, changes.collect(), now).await, Written::Done);
    let mut found = Vec::new();
    let mut after = format!("{run} listed");
    loop {
        let page = store.list(Kind::CLIENT, &after, 2, now).await.expect("a store that works");
        let Some((last, _)) = page.last() else { break };
        after = last.to_string();
        found.extend(page.into_iter().map(|(id, _)| id.to_string()).filter(|id| id.starts_with(run)));
    }
    assert_eq!(found, names, "each once, over pages of two");
}

async fn keeps_any_text(store: &Arc<dyn Store>, run: &str, now: UnixTime) {
    let later = now.plus(Duration::from_secs(60));
    for odd in ["'; DROP TABLE keybound_record; --", "$1 ? :a @b", "é\u{1F511}\n\\\"%_", &"x".repeat(10_000)] {
        let id = format!("{run} {}", odd.get(..40.min(odd.len())).unwrap_or(odd));
        let body: Box<str> = odd.into();
        let change = Change::Insert {
            kind: Kind::CODE,
            id: id.as_str().into(),
            family: "".into(),
            expires: later,
            body: body.clone(),
        };
        assert_eq!(write(store, vec![change], now).await, Written::Done);
        assert_eq!(read(store, &id, now).await.expect("what was written").body, body);
    }
}

/// Fifty at once redeem the same thing, each for something of its own.
async fn one_of_many_succeeds(store: &Arc<dyn Store>, run: &str, now: UnixTime) {
    let id = format!("{run} crowded");
    let later = now.plus(Duration::from_secs(60));
    let _ = write(store, vec![insert(&id, "", later)], now).await;
    let version = read(store, &id, now).await.expect("what was inserted").version;
    let redemptions = (0..CROWD).map(|number| {
        let changes = vec![replace(&id, version, "[]", later), insert(&format!("{id} {number}"), "", later)];
        async move { store.write(changes, now).await.expect("a store that works") }
    });
    let written = join_all(redemptions).await;
    assert_eq!(written.iter().filter(|written| **written == Written::Done).count(), 1, "one of {CROWD}");
    let mut issued = 0;
    for number in 0..CROWD {
        issued += usize::from(read(store, &format!("{id} {number}"), now).await.is_some());
    }
    assert_eq!(issued, 1, "and what it wrote is there, nothing else");
}

/// New records at the same time, of odd text, and each of them twice: one of both is written, as it is, and hinders no other.
async fn takes_what_comes_at_once(store: &Arc<dyn Store>, run: &str, now: UnixTime) {
    let texts = ["{\"a\":[1]}", "'; --", "é\u{1F511}\n\\\"%_\u{1}", "\\u0000 \\ud800", "", "a\u{1f}b", "\u{1f}"];
    let change = |number: usize| Change::Insert {
        kind: [Kind::CODE, Kind::GRANT][number % 2],
        id: format!("{run} 'at once' {number}").into(),
        family: format!("{run}\t\"{number}").into(),
        expires: if number.is_multiple_of(3) { NEVER } else { now.plus(Duration::from_secs(60)) },
        body: texts[number % texts.len()].into(),
    };
    let written = |number| async move { store.write(vec![change(number)], now).await.expect("a store that works") };
    let both = join_all((0..2 * CROWD).map(|number| written(number % CROWD))).await;
    for number in 0..CROWD {
        let mut each = [both[number], both[CROWD + number]];
        each.sort_by_key(|written| *written != Written::Done);
        assert_eq!(each, [Written::Done, Written::Conflict(0)], "{number}");
        let Change::Insert { kind, id, family, expires, body } = change(number) else { continue };
        let record = store.read(kind, &id, now).await.expect("a store that works").expect("what was written");
        assert_eq!((record.family, record.expires, record.body), (family, expires, body), "{number}");
    }
}

/// A name that no other run has.
fn name_of(run: &str, who: &str) -> String {
    let run: String = run.chars().filter(char::is_ascii_alphanumeric).collect();
    format!("{who}.{run}")
}

async fn keeps_users(store: &Arc<dyn Store>, run: &str, now: UnixTime) {
    let users = Users::new(Arc::clone(store));
    let hash: PasswordHash =
        "$argon2id$v=19$m=8,t=1,p=1$c29tZXNhbHQ$cTXXzFIgnK0vkTAJRnSUvXHrmkuYJSuyWMzP0pIP3GA".parse().expect("a hash");
    let [alice, bob] = ["Alice", "Bob"].map(|who| name_of(run, who));
    let new = || NewUser::new(alice.as_str()).password(hash.clone()).full_name("Alice 'A'").email("a@example.com");
    let made = users.create(new(), now).await.expect("a new user");
    assert_eq!(users.create(new(), now).await.err(), Some(UserError::Taken), "once");
    let lower = NewUser::new(alice.to_lowercase());
    assert_eq!(users.create(lower, now).await.err(), Some(UserError::Taken), "in any case of its letters");
    let other = users.create(NewUser::new(bob.as_str()), now).await.expect("another user");
    assert_ne!(made.subject(), other.subject());
    for found in [users.find(&alice.to_uppercase(), now).await, users.find_by_subject(made.subject(), now).await] {
        let found = found.expect("a store that works").expect("the user");
        assert_eq!((found.name(), found.subject(), found.has_password()), (&*alice, made.subject(), true));
        assert_eq!((found.full_name(), found.email()), (Some("Alice 'A'"), Some("a@example.com")));
        assert_eq!((found.is_disabled(), found.is_configured(), found.created()), (false, false, now));
    }
    let mut listed = Vec::new();
    let mut after = String::new();
    loop {
        let page = users.list(&after, 1, now).await.expect("a store that works");
        let Some(last) = page.last() else { break };
        after = last.id().to_owned();
        listed.extend(page.iter().map(|user| user.name().to_owned()).filter(|name| *name == alice || *name == bob));
    }
    assert_eq!(listed, [alice.as_str(), bob.as_str()], "each once, in the order of their names");
    let described = users.describe(&bob, None, Some("b@example.com"), now).await.expect("a change");
    assert_eq!((described.full_name(), described.email()), (None, Some("b@example.com")));
    assert!(users.set_password(&bob, Some(hash.clone()), now).await.expect("a change").has_password());
    assert!(!users.set_password(&bob, None, now).await.expect("a change").has_password());
    for who in [&alice, &bob] {
        users.delete(who, now).await.expect("a user");
        assert!(users.find(who, now).await.expect("a store that works").is_none());
        assert_eq!(users.delete(who, now).await, Err(UserError::Unknown));
        assert_eq!(users.disable(who, now).await.err(), Some(UserError::Unknown));
    }
    assert!(users.find_by_subject(made.subject(), now).await.expect("a store that works").is_none());
    let again = users.create(new(), now).await.expect("a user of a name that is free again");
    assert_ne!(again.subject(), made.subject(), "nobody inherits a sub");
    users.delete(&alice, now).await.expect("a user");
}

async fn ends_what_is_a_users(store: &Arc<dyn Store>, run: &str, now: UnixTime) {
    let users = Users::new(Arc::clone(store));
    let later = now.plus(Duration::from_secs(60));
    let name = name_of(run, "carol");
    let user = users.create(NewUser::new(name.as_str()), now).await.expect("a new user");
    let (session, own) = (format!("{run} session"), format!("{run} own"));
    let sign_in = || insert(&session, &crate::users::family_of_sessions(user.subject()), later);
    let changes = vec![sign_in(), insert(&own, &crate::users::family(user.subject()), later)];
    assert_eq!(write(store, changes, now).await, Written::Done);
    assert!(users.disable(&name, now).await.expect("a user").is_disabled());
    assert!(read(store, &session, now).await.is_none(), "who is disabled is signed in nowhere");
    assert!(!users.enable(&name, now).await.expect("a user").is_disabled());
    assert_eq!(write(store, vec![sign_in()], now).await, Written::Done);
    let _ = users.describe(&name, Some("Carol"), None, now).await.expect("a user");
    assert!(read(store, &session, now).await.is_some(), "another name ends nothing");
    let _ = users.set_password(&name, None, now).await.expect("a user");
    assert!(read(store, &session, now).await.is_none(), "another password does");
    assert_eq!(write(store, vec![sign_in()], now).await, Written::Done);
    assert!(read(store, &own, now).await.is_some(), "what is the user's is there until the user goes");
    users.delete(&name, now).await.expect("a user");
    assert!(read(store, &session, now).await.is_none() && read(store, &own, now).await.is_none());
}
