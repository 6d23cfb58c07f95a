//! After the crash: what was acknowledged is so, what was not is done once or not at all, and nothing is good twice.

use std::collections::HashMap;
use std::thread;

use crate::http::{Answer, Peer};
use crate::story::{Chain, Once, State, jti, refresh};

/// What was issued, to be found in the audit log.
#[derive(Default)]
pub(crate) struct Ledger {
    /// Names of access tokens that came.
    pub(crate) issued: Vec<String>,
    /// By grant: how many tokens came, and how many requests may have issued one that did not.
    pub(crate) grants: HashMap<String, (usize, usize)>,
}

impl Ledger {
    pub(crate) fn add(&mut self, other: Self) {
        self.issued.extend(other.issued);
        self.grants.extend(other.grants);
    }
}

/// Everything a chain promises. Its end is that nothing of it is good any more.
pub(crate) fn chain(mut chain: Chain, ledger: &mut Ledger) {
    let last = chain.links.last().expect("a chain has a beginning").clone();
    chain.peer.reconnect();
    let mut issued = chain.issued;
    let next = match last.state {
        State::Good => Some(redeemed_once(&mut chain.peer, &last).unwrap_or_else(|| panic!("lost: {last:?}"))),
        State::Doubtful => redeemed_once(&mut chain.peer, &last),
        State::Spent => {
            assert_refused(&mut chain.peer, &last.form);
            None
        }
    };
    issued.extend(next.as_ref().map(jti));
    // A second use has revoked all that came of it (R-AS-08, R-AS-35).
    let links = chain.links.iter().map(|link| link.form.clone()).chain(next.as_ref().map(refresh));
    for form in links {
        assert_refused(&mut chain.peer, &form);
    }
    if let Some((grant, _)) = issued.first().and_then(|jti| jti.split_once('.')) {
        ledger.grants.insert(grant.to_owned(), (issued.len(), chain.lost));
    }
    ledger.issued.extend(issued);
}

/// An assertion: at most once, whoever knows it.
pub(crate) fn assertion(peer: &mut Peer, once: &Once, ledger: &mut Ledger) {
    if once.state == State::Doubtful {
        ledger.issued.extend(redeemed_once(peer, once).as_ref().map(jti));
    }
    assert_refused(peer, &once.form);
}

/// Two at once try; what the one got that succeeded, if one did.
fn redeemed_once(peer: &mut Peer, once: &Once) -> Option<Answer> {
    let mut twin = peer.twin();
    let answers = thread::scope(|scope| {
        let other = scope.spawn(|| twin.token(&once.form).expect("an answer"));
        [peer.token(&once.form).expect("an answer"), other.join().expect("no panic")]
    });
    for answer in &answers {
        assert!(answer.status == 200 || is_refused(answer), "{answer:?}");
    }
    let mut good = answers.into_iter().filter(|answer| answer.status == 200);
    let first = good.next();
    assert!(good.next().is_none(), "issued twice: {once:?}");
    first
}

pub(crate) fn assert_refused(peer: &mut Peer, form: &str) {
    let answer = peer.token(form).expect("an answer");
    assert!(is_refused(&answer), "good again: {form}: {answer:?}");
}

fn is_refused(answer: &Answer) -> bool {
    let error = &answer.json()["error"];
    (answer.status == 400 && *error == "invalid_grant") || (answer.status == 401 && *error == "invalid_client")
}
