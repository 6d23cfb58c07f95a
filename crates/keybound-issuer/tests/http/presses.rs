//! A button that is pressed again before the first press has its answer.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use keybound::time::UnixTime;
use keybound_issuer::store::{Change, Found, Kind, Pending, Record, Store, Written};
use tokio::sync::{Notify, mpsc};

use crate::browser::{Browser, Shown};
use crate::people::Parameters;
use crate::support::{Place, START, Setup};

/// A store that is slow once, when it is asked what the user has allowed before.
#[derive(Debug)]
struct Held {
    kept: Arc<dyn Store>,
    is_due: AtomicBool,
    begun: mpsc::UnboundedSender<()>,
    goes_on: Notify,
}

impl Store for Held {
    fn opened(&self) -> UnixTime {
        self.kept.opened()
    }

    fn read<'a>(&'a self, kind: Kind, id: &'a str, now: UnixTime) -> Pending<'a, Option<Record>> {
        Box::pin(async move {
            if kind == Kind::CONSENT && self.is_due.swap(false, Ordering::SeqCst) {
                self.begun.send(()).expect("the test waits for it");
                self.goes_on.notified().await;
            }
            self.kept.read(kind, id, now).await
        })
    }

    fn list<'a>(&'a self, kind: Kind, after: &'a str, limit: u32, now: UnixTime) -> Pending<'a, Found> {
        self.kept.list(kind, after, limit, now)
    }

    fn write(&self, changes: Vec<Change>, now: UnixTime) -> Pending<'_, Written> {
        self.kept.write(changes, now)
    }
}

/// What comes of a press that is held up while `allow` is pressed, on the same page or on `another` that asks for the same; and of
/// that one.
fn while_allowed(step: &str, another: bool) -> [Shown; 2] {
    let place = Place::new();
    let (begun, mut begins) = mpsc::unbounded_channel();
    let kept = place.open(UnixTime::from_secs(START - 86_400));
    let store = Arc::new(Held { kept, is_due: AtomicBool::new(false), begun, goes_on: Notify::new() });
    let server = Setup::new().of_people().keeping(Arc::clone(&store) as Arc<dyn Store>).start();
    let mut browser = Browser::of(&server);
    let page = browser.authorize(&Parameters::authorization());
    let page = browser.sign_in(&page, "alice");
    let mut first = browser.clone();
    let other = if another { browser.authorize(&Parameters::authorization()) } else { page.clone() };
    store.is_due.store(true, Ordering::SeqCst);
    thread::scope(|scope| {
        let held = scope.spawn(|| first.press(&page, step, &[]));
        begins.blocking_recv().expect("it is looked for");
        let through = browser.press(&other, "allow", &[]);
        store.goes_on.notify_one();
        [held.join().unwrap(), through]
    })
}

#[test]
fn both_presses_have_the_code() {
    let answers = while_allowed("allow", false);
    let codes = answers.each_ref().map(|shown| shown.back("code"));
    assert!(codes[0].is_some() && codes[0] == codes[1], "{answers:?}");
}

/// Whatever they allow elsewhere meanwhile, nothing comes of a page on which somebody says no.
#[test]
fn a_no_is_no_yes() {
    let [no, yes] = while_allowed("deny", true);
    assert!(yes.back("code").is_some(), "{yes:?}");
    assert_eq!((no.back("code"), no.back("error").as_deref()), (None, Some("access_denied")), "{no:?}");
    let [no, yes] = while_allowed("deny", false);
    assert!(yes.back("code").is_some() && no.left_for.is_none(), "{no:?}");
    assert_eq!(no.status, 400, "it is over: {no:?}");
}
