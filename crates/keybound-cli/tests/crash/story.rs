//! What a client does, step by step, with a record of what it was told: that a step was done, or nothing.

use keybound::crypto::aws_lc::SoftwareKey;
use keybound::jws::{decode_base64url, encode_base64url};
use serde_json::Value;
use sha2::{Digest as _, Sha256};

use crate::http::{Answer, Peer, assertion, unique};
use crate::random::Random;

pub(crate) const REDIRECT: &str = "https://app.example.com/back";

const ASSERTION: &str = "urn%3Aietf%3Aparams%3Aoauth%3Aclient-assertion-type%3Ajwt-bearer";

/// How far something that is good once has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum State {
    /// It was acknowledged, and nobody has tried it.
    Good,
    /// It was tried, or was to be revoked, and nobody knows what became of that.
    Doubtful,
    /// That it was used, or revoked, was acknowledged.
    Spent,
}

/// A code, a refresh token or an assertion.
#[derive(Clone, Debug)]
pub(crate) struct Once {
    pub(crate) state: State,
    /// The token request that uses it.
    pub(crate) form: String,
}

impl Once {
    fn good(form: String) -> Self {
        Self { state: State::Good, form }
    }
}

/// What came of one code, in order: the code, then each refresh token.
pub(crate) struct Chain {
    pub(crate) peer: Peer,
    /// Its code is one of a device: when it is used again, nothing is revoked.
    pub(crate) is_of_device: bool,
    pub(crate) links: Vec<Once>,
    /// The access tokens that came, by name.
    pub(crate) issued: Vec<String>,
    /// Requests whose answer did not come.
    pub(crate) lost: usize,
}

/// A pushed request, which gets one code.
#[derive(Debug)]
pub(crate) struct Pushed {
    pub(crate) state: State,
    /// What the browser opens.
    pub(crate) target: String,
    verifier: String,
}

/// A device that somebody is about to connect.
pub(crate) struct Waiting {
    pub(crate) peer: Peer,
    /// The page on which that is done.
    pub(crate) target: String,
    /// The token request of the device.
    pub(crate) form: String,
}

/// An access token that belongs to no grant: good until it is revoked.
#[derive(Debug)]
pub(crate) struct Token {
    pub(crate) state: State,
    pub(crate) text: String,
}

/// All that one client has done until the end.
#[derive(Default)]
pub(crate) struct Story {
    pub(crate) chains: Vec<Chain>,
    pub(crate) assertions: Vec<Once>,
    pub(crate) tokens: Vec<Token>,
    pub(crate) pushed: Vec<Pushed>,
    pub(crate) waiting: Vec<Waiting>,
    pub(crate) issued: Vec<String>,
}

/// There was no answer, so there is nothing more to be done.
#[derive(Debug)]
pub(crate) struct Lost;

impl Story {
    /// Does one thing after the other until there is no answer, and says of each that it is done.
    pub(crate) fn of(
        make: impl Fn() -> Peer,
        signer: &SoftwareKey,
        issuer: &str,
        random: &mut Random,
        acknowledged: impl Fn(),
    ) -> Self {
        let mut story = Self::default();
        let (mut peer, mut ended) = (make(), false);
        while !ended {
            ended = if random.below(3) == 0 {
                story.assert(&mut peer, signer, issuer, random).is_err()
            } else {
                story.begin(make(), random).is_err()
            };
            if !ended {
                acknowledged();
            }
        }
        story
    }

    /// A token of a client that authenticates by an assertion; now and then it is revoked, by another assertion.
    fn assert(&mut self, peer: &mut Peer, signer: &SoftwareKey, issuer: &str, random: &mut Random) -> Result<(), Lost> {
        let form = self.asserted(signer, issuer);
        let answer = done(peer.token(&["grant_type=client_credentials&", &*form].concat()))?;
        self.issued.push(jti(&answer));
        self.assertions.last_mut().expect("it was pushed").state = State::Spent;
        self.tokens.push(Token { state: State::Good, text: access_token(&answer) });
        if random.below(2) == 0 { self.give_back(peer, signer, issuer) } else { Ok(()) }
    }

    /// What authenticates the client, by an assertion that is to be used now.
    fn asserted(&mut self, signer: &SoftwareKey, issuer: &str) -> String {
        let form = authentication(signer, issuer);
        let redeeming = ["grant_type=client_credentials&", &*form].concat();
        self.assertions.push(Once { state: State::Doubtful, form: redeeming });
        form
    }

    fn give_back(&mut self, peer: &mut Peer, signer: &SoftwareKey, issuer: &str) -> Result<(), Lost> {
        let form = self.asserted(signer, issuer);
        let token = self.tokens.last_mut().expect("there is one");
        token.state = State::Doubtful;
        done(peer.post("/revoke", &format!("token={}&{form}", token.text)))?;
        token.state = State::Spent;
        self.assertions.last_mut().expect("it was pushed").state = State::Spent;
        Ok(())
    }

    /// A request that is pushed, and the token request that redeems its code; nothing if nobody comes for that.
    fn push(&mut self, peer: &mut Peer, random: &mut Random) -> Result<Option<String>, Lost> {
        let (verifier, request) = authorization();
        let answer = done(peer.post("/par", &format!("{request}&dpop_jkt={}", peer.jkt())))?;
        let reference = answer.json()["request_uri"].as_str().expect("a reference").to_owned();
        let target = format!("/authorize?client_id=app&request_uri={reference}");
        self.pushed.push(Pushed { state: State::Good, target, verifier });
        if random.below(4) == 0 {
            return Ok(None);
        }
        let pushed = self.pushed.last_mut().expect("it was pushed");
        pushed.state = State::Doubtful;
        let code = code_of(peer.get(&pushed.target))?;
        pushed.state = State::Spent;
        Ok(Some(redemption(&code, &pushed.verifier)))
    }

    /// A device that begins, and that somebody connects.
    fn connect(&mut self, mut peer: Peer) -> Result<Chain, Lost> {
        let form = format!("client_id=app&scope=read&dpop_jkt={}", peer.jkt());
        let answer = done(peer.post("/device_authorization", &form))?;
        let (form, target) = device(&answer);
        self.waiting.push(Waiting { peer, target, form });
        let waiting = self.waiting.last_mut().expect("it was pushed");
        done(waiting.peer.get(&waiting.target))?;
        let Waiting { peer, form, .. } = self.waiting.pop().expect("it was pushed");
        Ok(Chain { is_of_device: true, ..Chain::of(peer, form) })
    }

    fn begin(&mut self, mut peer: Peer, random: &mut Random) -> Result<(), Lost> {
        let chain = match random.below(3) {
            0 => self.connect(peer)?,
            1 => match self.push(&mut peer, random)? {
                Some(form) => Chain::of(peer, form),
                None => return Ok(()),
            },
            _ => {
                let (code, verifier) = code(&mut peer)?;
                Chain::of(peer, redemption(&code, &verifier))
            }
        };
        self.chains.push(chain);
        let chain = self.chains.last_mut().expect("it was pushed");
        for _ in 0..random.below(4) {
            chain.go_on()?;
        }
        if chain.links.len() > 1 && random.below(3) == 0 { chain.revoke() } else { Ok(()) }
    }
}

/// A new code, and the verifier that goes with it.
pub(crate) fn code(peer: &mut Peer) -> Result<(String, String), Lost> {
    let (verifier, request) = authorization();
    Ok((code_of(peer.get(&["/authorize?", &*request].concat()))?, verifier))
}

/// A verifier, and the request for a code that goes with it.
pub(crate) fn authorization() -> (String, String) {
    let verifier = [unique(), unique()].concat();
    let challenge = encode_base64url(&Sha256::digest(&verifier));
    let request = format!(
        "response_type=code&client_id=app&redirect_uri={REDIRECT}&scope=read&code_challenge={challenge}\
         &code_challenge_method=S256"
    );
    (verifier, request)
}

/// The code with which the browser is sent back.
fn code_of(answer: std::io::Result<Answer>) -> Result<String, Lost> {
    match answer {
        Ok(answer) if answer.status == 303 => {
            let location = &answer.fields["location"];
            let (_, code) = location.split_once("code=").unwrap_or_else(|| panic!("no code: {location}"));
            Ok(code.split('&').next().expect("the first part").to_owned())
        }
        // A page for a person, who may come again.
        Ok(answer) if answer.is_unavailable() => Err(Lost),
        Ok(answer) => panic!("no code: {answer:?}"),
        Err(_) => Err(Lost),
    }
}

/// The token request of the device that was answered so, and the page on which it is connected.
pub(crate) fn device(answer: &Answer) -> (String, String) {
    let codes = answer.json();
    let text = |name: &str| codes[name].as_str().expect("a code").to_owned();
    let grant = "urn%3Aietf%3Aparams%3Aoauth%3Agrant-type%3Adevice_code";
    let form = format!("grant_type={grant}&client_id=app&device_code={}", text("device_code"));
    (form, format!("/device?user_code={}", text("user_code")))
}

/// What authenticates the client that asserts, by a new assertion.
pub(crate) fn authentication(signer: &SoftwareKey, issuer: &str) -> String {
    format!("client_assertion_type={ASSERTION}&client_assertion={}", assertion(signer, issuer))
}

/// The token request that redeems it.
pub(crate) fn redemption(code: &str, verifier: &str) -> String {
    format!("grant_type=authorization_code&client_id=app&code={code}&redirect_uri={REDIRECT}&code_verifier={verifier}")
}

impl Chain {
    pub(crate) fn of(peer: Peer, form: String) -> Self {
        Self { peer, is_of_device: false, links: vec![Once::good(form)], issued: Vec::new(), lost: 0 }
    }

    /// Uses the last link, and gets the next one.
    fn go_on(&mut self) -> Result<(), Lost> {
        let last = self.links.last_mut().expect("a chain has a beginning");
        last.state = State::Doubtful;
        self.lost += 1;
        let answer = done(self.peer.token(&last.form))?;
        self.lost -= 1;
        last.state = State::Spent;
        self.issued.push(jti(&answer));
        self.links.push(Once::good(refresh(&answer)));
        Ok(())
    }

    fn revoke(&mut self) -> Result<(), Lost> {
        let last = self.links.last_mut().expect("a chain has a beginning");
        last.state = State::Doubtful;
        let (_, token) = last.form.rsplit_once('=').expect("a form");
        done(self.peer.post("/revoke", &format!("client_id=app&token={token}")))?;
        last.state = State::Spent;
        Ok(())
    }
}

/// What was done; a client that does nothing wrong is refused nothing.
fn done(answer: std::io::Result<Answer>) -> Result<Answer, Lost> {
    match answer {
        Ok(answer) if matches!(answer.status, 200 | 201) => Ok(answer),
        Ok(answer) if answer.is_unavailable() => Err(Lost),
        Ok(answer) => panic!("refused what is good: {answer:?}"),
        Err(_) => Err(Lost),
    }
}

/// The token request that uses the refresh token of this answer.
pub(crate) fn refresh(answer: &Answer) -> String {
    let token = answer.json()["refresh_token"].as_str().expect("a refresh token").to_owned();
    format!("grant_type=refresh_token&client_id=app&refresh_token={token}")
}

/// The access token of this answer.
pub(crate) fn access_token(answer: &Answer) -> String {
    answer.json()["access_token"].as_str().expect("an access token").to_owned()
}

/// Its name.
pub(crate) fn jti(answer: &Answer) -> String {
    let token = access_token(answer);
    let claims = decode_base64url(token.split('.').nth(1).expect("a JWT")).expect("base64url");
    let claims: Value = serde_json::from_slice(&claims).expect("claims");
    claims["jti"].as_str().expect("a name").to_owned()
}
