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
    pub(crate) links: Vec<Once>,
    /// The access tokens that came, by name.
    pub(crate) issued: Vec<String>,
    /// Requests whose answer did not come.
    pub(crate) lost: usize,
}

/// All that one client has done until the end.
#[derive(Default)]
pub(crate) struct Story {
    pub(crate) chains: Vec<Chain>,
    pub(crate) assertions: Vec<Once>,
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
                story.assert(&mut peer, signer, issuer).is_err()
            } else {
                story.begin(make(), random).is_err()
            };
            if !ended {
                acknowledged();
            }
        }
        story
    }

    fn assert(&mut self, peer: &mut Peer, signer: &SoftwareKey, issuer: &str) -> Result<(), Lost> {
        let assertion = assertion(signer, issuer);
        let form =
            format!("grant_type=client_credentials&client_assertion_type={ASSERTION}&client_assertion={assertion}");
        self.assertions.push(Once { state: State::Doubtful, form: form.clone() });
        let answer = done(peer.token(&form))?;
        self.issued.push(jti(&answer));
        self.assertions.last_mut().expect("it was pushed").state = State::Spent;
        Ok(())
    }

    fn begin(&mut self, mut peer: Peer, random: &mut Random) -> Result<(), Lost> {
        let (code, verifier) = code(&mut peer)?;
        let form = redemption(&code, &verifier);
        self.chains.push(Chain { peer, links: vec![Once::good(form)], issued: Vec::new(), lost: 0 });
        let chain = self.chains.last_mut().expect("it was pushed");
        for _ in 0..random.below(4) {
            chain.go_on()?;
        }
        if chain.links.len() > 1 && random.below(3) == 0 { chain.revoke() } else { Ok(()) }
    }
}

/// A new code, and the verifier that goes with it.
pub(crate) fn code(peer: &mut Peer) -> Result<(String, String), Lost> {
    let verifier = [unique(), unique()].concat();
    let challenge = encode_base64url(&Sha256::digest(&verifier));
    let target = format!(
        "/authorize?response_type=code&client_id=app&redirect_uri={REDIRECT}&scope=read&code_challenge={challenge}\
         &code_challenge_method=S256"
    );
    let answer = match peer.get(&target) {
        Ok(answer) if answer.status == 303 => answer,
        // A page for a person, who may come again.
        Ok(answer) if answer.status == 503 && answer.fields.contains_key("retry-after") => return Err(Lost),
        Ok(answer) => panic!("no code: {answer:?}"),
        Err(_) => return Err(Lost),
    };
    let location = &answer.fields["location"];
    let (_, code) = location.split_once("code=").unwrap_or_else(|| panic!("no code: {location}"));
    Ok((code.split('&').next().expect("the first part").to_owned(), verifier))
}

/// The token request that redeems it.
pub(crate) fn redemption(code: &str, verifier: &str) -> String {
    format!("grant_type=authorization_code&client_id=app&code={code}&redirect_uri={REDIRECT}&code_verifier={verifier}")
}

impl Chain {
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
        Ok(answer) if answer.status == 200 => Ok(answer),
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

/// The name of the access token of this answer.
pub(crate) fn jti(answer: &Answer) -> String {
    let token = answer.json()["access_token"].as_str().expect("an access token").to_owned();
    let claims = decode_base64url(token.split('.').nth(1).expect("a JWT")).expect("base64url");
    let claims: Value = serde_json::from_slice(&claims).expect("claims");
    claims["jti"].as_str().expect("a name").to_owned()
}
