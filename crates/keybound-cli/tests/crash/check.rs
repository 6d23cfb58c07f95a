//! After the crash: what was acknowledged is so, what was not is done once or not at all, and nothing is good twice.

use std::collections::HashMap;
use std::thread;

use crate::http::{Answer, Peer};
use crate::issuer::Issuer;
use crate::story::{Chain, Once, Pushed, State, Token, Waiting, authentication, jti, refresh};

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
    let mut next = match last.state {
        State::Good => Some(redeemed_once(&mut chain.peer, &last).unwrap_or_else(|| panic!("lost: {last:?}"))),
        State::Doubtful => redeemed_once(&mut chain.peer, &last),
        State::Spent => {
            assert_refused(&mut chain.peer, &last.form);
            None
        }
    };
    if chain.is_of_device && chain.links.len() == 1 {
        // Who asked again with that has revoked nothing.
        let first = next.map(|answer| (jti(&answer), Once { state: State::Good, form: refresh(&answer) }));
        next = first.map(|(jti, link)| {
            issued.push(jti);
            chain.links.push(link.clone());
            redeemed_once(&mut chain.peer, &link).unwrap_or_else(|| panic!("lost: {link:?}"))
        });
    }
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

/// A pushed request: it gets one code, whoever opens it.
pub(crate) fn pushed(peer: &mut Peer, pushed: &Pushed) {
    let mut twin = peer.twin();
    let codes = thread::scope(|scope| {
        let other = scope.spawn(|| gets_code(&mut twin, &pushed.target));
        usize::from(gets_code(peer, &pushed.target)) + usize::from(other.join().expect("no panic"))
    });
    let expected = match pushed.state {
        State::Good => 1..=1,
        State::Doubtful => 0..=1,
        State::Spent => 0..=0,
    };
    assert!(expected.contains(&codes), "{codes} codes: {pushed:?}");
    assert!(!gets_code(peer, &pushed.target), "good again: {pushed:?}");
}

fn gets_code(peer: &mut Peer, target: &str) -> bool {
    let answer = peer.get(target).expect("an answer");
    assert!(matches!(answer.status, 303 | 400), "{answer:?}");
    answer.status == 303
}

/// A device whose code was acknowledged: it is connected already, or can be, and gets its tokens.
pub(crate) fn waiting(waiting: Waiting, ledger: &mut Ledger) {
    let Waiting { mut peer, target, form } = waiting;
    peer.reconnect();
    let answer = peer.get(&target).expect("an answer");
    assert!(matches!(answer.status, 200 | 400), "{answer:?}");
    chain(Chain { is_of_device: true, ..Chain::of(peer, form) }, ledger);
}

/// An access token: as it was acknowledged to be, and dead from now on.
pub(crate) fn token(peer: &mut Peer, issuer: &Issuer, token: &Token) {
    let is_live = is_active(peer, issuer, &token.text);
    assert!(token.state == State::Doubtful || is_live == (token.state == State::Good), "{token:?}");
    if is_live {
        let form = authentication(issuer.signer(), &issuer.url());
        let answer = peer.post("/revoke", &format!("token={}&{form}", token.text)).expect("an answer");
        assert_eq!(answer.status, 200, "{answer:?}");
    }
    assert!(!is_active(peer, issuer, &token.text), "{token:?}");
}

pub(crate) fn is_active(peer: &mut Peer, issuer: &Issuer, token: &str) -> bool {
    let form = authentication(issuer.signer(), &issuer.url());
    let answer = peer.post("/introspect", &format!("token={token}&{form}")).expect("an answer");
    assert_eq!(answer.status, 200, "{answer:?}");
    answer.json()["active"] == true
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
