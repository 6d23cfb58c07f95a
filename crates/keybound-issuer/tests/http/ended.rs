//! What ends when a password is another one, and when what was allowed is taken back.

use std::sync::Arc;

use keybound::time::UnixTime;
use keybound_issuer::store::{Change, Found, Kind, Pending, Record, Store, Written};
use keybound_issuer::users::{NewUser, Users};
use keybound_issuer::{IssuerConfig, PasswordHash};

use crate::browser::{Browser, HASH, with_users};
use crate::people::{Parameters, form};
use crate::support::{Place, START, Setup};

/// Of a client that is asked for once.
fn asked() -> Parameters {
    Parameters::authorization().set("client_id", "web").set("scope", "read")
}

fn block_on<T>(work: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(work)
}

/// A store in which the user gets another password at the very moment when a session begins.
#[derive(Debug)]
struct Hurried(Arc<dyn Store>);

impl Store for Hurried {
    fn opened(&self) -> UnixTime {
        self.0.opened()
    }

    fn read<'a>(&'a self, kind: Kind, id: &'a str, now: UnixTime) -> Pending<'a, Option<Record>> {
        self.0.read(kind, id, now)
    }

    fn list<'a>(&'a self, kind: Kind, after: &'a str, limit: u32, now: UnixTime) -> Pending<'a, Found> {
        self.0.list(kind, after, limit, now)
    }

    fn write(&self, changes: Vec<Change>, now: UnixTime) -> Pending<'_, Written> {
        Box::pin(async move {
            let is_session = |change: &Change| matches!(change, Change::Insert { kind, .. } if *kind == Kind::SESSION);
            if changes.iter().any(is_session) {
                let users = Users::new(Arc::clone(&self.0));
                let new = PasswordHash::of("another one").unwrap();
                users.set_password("carol", Some(new), now).await.unwrap();
            }
            self.0.write(changes, now).await
        })
    }
}

/// Whoever tries again and again with the old one is in the middle of it whenever it is changed.
#[test]
fn an_old_password_begins_no_session_at_the_last_moment() {
    let now = UnixTime::from_secs(START);
    let place = Place::new();
    let kept = place.open(now);
    let users = Users::new(Arc::clone(&kept));
    block_on(users.create(NewUser::new("carol").password(HASH.parse().unwrap()), now)).unwrap();
    let server = Setup::new().of_people().keeping(Arc::new(Hurried(kept))).start();
    let mut browser = Browser::of(&server);
    let page = browser.authorize(&asked());
    let page = browser.sign_in(&page, "carol");
    assert!(page.asks_for_password(), "{page:?}");
    assert!(browser.authorize(&asked()).asks_for_password());
}

/// The configuration is where the password of such a user is changed.
#[test]
fn another_password_in_the_configuration_ends_sessions() {
    let place = Place::new();
    let store = place.open(UnixTime::from_secs(START));
    let first = Setup::new().of_people().keeping(Arc::clone(&store)).start();
    let mut browser = Browser::of(&first);
    browser.code(&asked());
    let cookies = browser.cookies.clone();
    let on =
        |config: fn(IssuerConfig) -> IssuerConfig| Setup::new().registering(config).keeping(Arc::clone(&store)).start();
    let same = on(with_users);
    let mut browser = Browser::of(&same);
    browser.cookies.clone_from(&cookies);
    assert!(browser.authorize(&asked()).back("code").is_some(), "a session outlives its server");
    let other = on(|config| config.user(NewUser::new("alice").password(PasswordHash::of("another one").unwrap())));
    let mut browser = Browser::of(&other);
    browser.cookies.clone_from(&cookies);
    assert!(browser.authorize(&asked()).asks_for_password());
}

/// Otherwise the client has it again as soon as a browser passes by.
#[test]
fn what_was_taken_back_is_not_given_again_unasked() {
    let server = Setup::new().of_people().start();
    let administration = server.issuer.administration();
    let mut browser = Browser::of(&server);
    for all in [false, true] {
        let code = browser.code(&asked());
        let other = asked().set("client_id", "objects");
        browser.code(&other);
        let redemption = Parameters::redemption(&code).without("client_id");
        let redemption = crate::people::of_web(form("/token", &redemption));
        assert_eq!(server.token(&redemption).status, 200);
        let grants = block_on(administration.grants("alice", "", 10)).unwrap();
        assert_eq!(grants.len(), 1);
        assert!(browser.authorize(&asked()).back("code").is_some(), "it is remembered");
        match all {
            true => assert_eq!(block_on(administration.revoke_grants("alice")), Ok(1)),
            false => assert_eq!(block_on(administration.revoke_grant("alice", &grants[0].id)), Ok(())),
        }
        assert!(browser.authorize(&asked()).asks_for_consent());
        assert_eq!(browser.authorize(&other).asks_for_consent(), all, "what another client may");
    }
}
