//! Sign-in through another OpenID provider (OpenID Connect Core section 3.1), as its client: where a browser is sent, and what is
//! believed of what it brings back. Pages and users are elsewhere.
//!
//! Nothing a provider says is shown to anybody: what goes wrong is a [`Trouble`], in words of ours.

mod metadata;
mod settings;
#[cfg(test)]
mod tests;

use core::fmt;
use core::time::Duration;
use std::sync::Arc;

use keybound::client::{CLIENT_ASSERTION_TYPE, Form as Body, Secret, basic_credentials, client_assertion};
use keybound::crypto::AlgSet;
use keybound::crypto::aws_lc::{AwsLc, random_array};
use keybound::jws::encode_base64url;
use keybound::time::UnixTime;
use keybound::token::id_token::{Expected, IdClaims, IdToken, IdTokenError};
use keybound::token::jwt::KeySet;
use keybound_tower::fetch::{Fetch as _, FetchError, HttpFetch};
use keybound_tower::introspection::{Ask as _, HttpAsk, Question};
use parking_lot::Mutex;
use serde::Deserialize;
use sha2::{Digest as _, Sha256};

use self::metadata::Metadata;
pub use self::settings::{SignInAuthentication, SignInError, SignInProvider};
use crate::authorization::add;
use crate::form::Form;

/// How long metadata and keys are fresh.
const FRESH: Duration = Duration::from_secs(600);

/// How long a provider is left alone that did not answer, and how long between two looks for a key that is not there.
const REST: Duration = Duration::from_secs(5);

/// The longest code that is passed on.
const MAX_CODE: usize = 4096;

/// A provider that users may come from.
pub(crate) struct Provider {
    settings: SignInProvider,
    /// Where it sends browsers back to: an address of this provider alone, so that no other's answer arrives there.
    redirect_uri: Box<str>,
    fetch: HttpFetch,
    ask: HttpAsk,
    known: Mutex<Known>,
    /// One fetch at a time.
    flight: tokio::sync::Mutex<()>,
}

#[derive(Default)]
struct Known {
    found: Option<(Arc<Found>, UnixTime)>,
    rest_until: Option<UnixTime>,
}

struct Found {
    metadata: Metadata,
    keys: KeySet,
}

/// What belongs to one journey of one browser there and back. Nothing of it is stored: it comes of the secret in the browser's
/// cookie and the state in the address, so that an answer is good with both alone.
pub(crate) struct Journey<'j> {
    /// The secret of the browser's cookie.
    pub(crate) browser: &'j str,
    /// `state`, whose digest is stored until it comes back.
    pub(crate) state: &'j str,
}

impl Journey<'_> {
    fn derived(&self, what: &str) -> String {
        let mut digest = Sha256::new();
        for part in [what, self.browser, self.state] {
            digest.update((part.len() as u64).to_be_bytes());
            digest.update(part.as_bytes());
        }
        encode_base64url(&digest.finalize())
    }

    fn nonce(&self) -> String {
        self.derived("nonce of an ID token")
    }

    /// Of PKCE (RFC 7636 section 4.1): 43 characters.
    fn verifier(&self) -> String {
        self.derived("code verifier")
    }

    fn challenge(&self) -> String {
        encode_base64url(&Sha256::digest(self.verifier()))
    }
}

impl Provider {
    /// This one, for an issuer whose address for it is `redirect_uri`.
    pub(crate) fn new(settings: SignInProvider, redirect_uri: &str) -> Self {
        let flight = tokio::sync::Mutex::new(());
        let (fetch, ask, known) = (HttpFetch::new(), HttpAsk::new(), Mutex::default());
        Self { settings, redirect_uri: redirect_uri.into(), fetch, ask, known, flight }
    }

    pub(crate) fn settings(&self) -> &SignInProvider {
        &self.settings
    }

    /// Where the browser goes. `fresh` asks for a person who shows anew who they are.
    pub(crate) async fn begin(&self, journey: &Journey<'_>, fresh: bool, now: UnixTime) -> Result<String, Trouble> {
        let found = self.found(now).await?;
        let mut location = found.metadata.authorization_endpoint.clone();
        let (nonce, challenge) = (journey.nonce(), journey.challenge());
        for (name, value) in [
            ("response_type", "code"),
            ("client_id", &*self.settings.client_id),
            ("redirect_uri", &self.redirect_uri),
            ("scope", &self.settings.scope_text()),
            ("state", journey.state),
            ("nonce", &nonce),
            ("code_challenge", &challenge),
            ("code_challenge_method", "S256"),
        ] {
            add(&mut location, name, value);
        }
        if fresh {
            add(&mut location, "prompt", "login");
            add(&mut location, "max_age", "0");
        }
        Ok(location)
    }

    /// Who signed in there, by what the browser brought back. The caller has found the state to be one of this browser that was
    /// used for the first time. Who had to show anew who they are did so at or after `since`.
    pub(crate) async fn finish(
        &self,
        journey: &Journey<'_>,
        answer: &Form,
        since: Option<UnixTime>,
        now: UnixTime,
    ) -> Result<IdClaims, Trouble> {
        let found = self.found(now).await?;
        // RFC 9207 section 2.4: before anything else is believed, be it an error.
        match answer.raw("iss") {
            Some(iss) if iss != &*self.settings.issuer => return Err(Trouble::MixedUp),
            None if found.metadata.says_iss => return Err(Trouble::MixedUp),
            _ => {}
        }
        if let Some(error) = answer.raw("error") {
            return Err(if error == "access_denied" { Trouble::Denied } else { Trouble::Refused });
        }
        let code = answer.get("code").filter(|code| code.len() <= MAX_CODE).ok_or(Trouble::Refused)?;
        let text = self.redeem(journey, code, &found.metadata, now).await?;
        let claims = self.verify(&text, journey, &found, now).await?;
        match (since, claims.auth_time()) {
            (Some(_), None) => Err(Trouble::Undated),
            (Some(since), Some(time)) if time.plus(REST) < since => Err(Trouble::Old),
            _ => Ok(claims),
        }
    }

    /// The ID token that the code is worth.
    async fn redeem(
        &self,
        journey: &Journey<'_>,
        code: &str,
        metadata: &Metadata,
        now: UnixTime,
    ) -> Result<String, Trouble> {
        let mut question = Question::new(&metadata.token_endpoint, "application/json");
        question
            .form
            .pair("grant_type", "authorization_code")
            .pair("code", code)
            .pair("redirect_uri", &self.redirect_uri)
            .pair("code_verifier", &journey.verifier());
        question.authorization = self.authenticate(&mut question.form, now)?;
        let said = self.ask.ask(question).await.map_err(|error| match error {
            // What it would not have is the code or this client; nothing there gets better by waiting.
            FetchError::Status(status) if (400..500).contains(&status) => Trouble::Token(status),
            error => Trouble::Fetch(error),
        })?;
        let answer: TokenAnswer = serde_json::from_slice(&said.body).map_err(|_| Trouble::TokenMalformed)?;
        Ok(answer.id_token)
    }

    /// Puts into the form who this client is, or says what field does.
    fn authenticate(&self, body: &mut Body, now: UnixTime) -> Result<Option<http::HeaderValue>, Trouble> {
        let id = &*self.settings.client_id;
        match &self.settings.authentication {
            SignInAuthentication::SecretBasic(secret) => {
                return Ok(Some(basic_credentials(id, &Secret::new(secret.expose()))));
            }
            SignInAuthentication::SecretPost(secret) => {
                body.pair("client_id", id).pair("client_secret", secret.expose());
            }
            SignInAuthentication::PrivateKeyJwt { key, kid } => {
                let jti = random_array().map_err(|_| Trouble::Signing)?;
                let made = client_assertion(&**key, kid.as_deref(), id, &self.settings.issuer, jti, now);
                let assertion = made.map_err(|_| Trouble::Signing)?;
                body.pair("client_id", id)
                    .pair("client_assertion_type", CLIENT_ASSERTION_TYPE)
                    .pair("client_assertion", &assertion);
            }
            SignInAuthentication::None => {
                body.pair("client_id", id);
            }
        }
        Ok(None)
    }

    async fn verify(
        &self,
        text: &str,
        journey: &Journey<'_>,
        found: &Arc<Found>,
        now: UnixTime,
    ) -> Result<IdClaims, Trouble> {
        let token = IdToken::parse(text)?;
        // It may have turned its keys.
        let newer = if token.finds_key(&found.keys) { None } else { self.look_again(found, now).await? };
        let keys = newer.as_ref().map_or(&found.keys, |newer| &newer.keys);
        let nonce = journey.nonce();
        let expected = Expected { issuer: &self.settings.issuer, client_id: &self.settings.client_id, nonce: &nonce };
        Ok(token.verify(keys, expected, now)?)
    }

    /// Metadata and keys that are fresh.
    async fn found(&self, now: UnixTime) -> Result<Arc<Found>, Trouble> {
        let at_hand = || {
            let known = self.known.lock();
            let found = known.found.as_ref().filter(|(_, since)| now <= since.plus(FRESH));
            (found.map(|(found, _)| Arc::clone(found)), known.rest_until.is_some_and(|until| now < until))
        };
        if let (Some(found), _) = at_hand() {
            return Ok(found);
        }
        let _flight = self.flight.lock().await;
        match at_hand() {
            (Some(found), _) => Ok(found),
            (None, true) => Err(Trouble::Resting),
            (None, false) => self.fetched(now).await,
        }
    }

    /// What it has now, if it was not looked at a moment ago.
    async fn look_again(&self, found: &Arc<Found>, now: UnixTime) -> Result<Option<Arc<Found>>, Trouble> {
        let _flight = self.flight.lock().await;
        let since = {
            let known = self.known.lock();
            match &known.found {
                Some((newer, _)) if !Arc::ptr_eq(newer, found) => return Ok(Some(Arc::clone(newer))),
                Some((_, since)) => *since,
                None => now,
            }
        };
        if now < since.plus(REST) {
            return Ok(None);
        }
        self.fetched(now).await.map(Some)
    }

    async fn fetched(&self, now: UnixTime) -> Result<Arc<Found>, Trouble> {
        let fetched = self.fetch_both().await;
        let mut known = self.known.lock();
        match fetched {
            Ok(found) => {
                let found = Arc::new(found);
                *known = Known { found: Some((Arc::clone(&found), now)), rest_until: None };
                Ok(found)
            }
            Err(trouble) => {
                known.rest_until = Some(now.plus(REST));
                Err(trouble)
            }
        }
    }

    async fn fetch_both(&self) -> Result<Found, Trouble> {
        let location = metadata::location(&self.settings.issuer);
        let document = self.fetch.fetch(&location).await.map_err(Trouble::Fetch)?;
        let metadata = Metadata::parse(&document.body, &self.settings.issuer)?;
        let document = self.fetch.fetch(&metadata.jwks_uri).await.map_err(Trouble::Fetch)?;
        let keys = KeySet::read_served(&document.body, &AwsLc, AlgSet::ALL).map_err(|_| Trouble::Keys)?;
        Ok(Found { metadata, keys })
    }
}

impl fmt::Debug for Provider {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Provider").field("settings", &self.settings).finish_non_exhaustive()
    }
}

/// The answer to the code (OpenID Connect Core section 3.1.3.3). Its access token is of no use here.
#[derive(Deserialize)]
struct TokenAnswer {
    id_token: String,
}

/// Why nobody came back signed in. The log is told all of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Trouble {
    /// It does not answer, or not with what was asked for.
    Fetch(FetchError),
    /// It did not answer a moment ago.
    Resting,
    /// Its metadata are none, or another issuer's.
    Metadata,
    /// An endpoint of its metadata is not https.
    Place,
    /// There is no key among its keys.
    Keys,
    /// The browser came back from another provider.
    MixedUp,
    /// The person, or the provider, said no.
    Denied,
    /// It answered with another error, or without a code.
    Refused,
    /// Its token endpoint said no, with this status.
    Token(u16),
    /// What its token endpoint said is no JSON with an ID token.
    TokenMalformed,
    /// The ID token is not to be believed.
    IdToken(IdTokenError),
    /// The person did not show anew who they are.
    Old,
    /// The person had to show anew who they are, and it does not say when they did.
    Undated,
    /// This client could not sign its assertion.
    Signing,
}

impl From<IdTokenError> for Trouble {
    fn from(error: IdTokenError) -> Self {
        Self::IdToken(error)
    }
}

impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Fetch(error) => write!(f, "{error}"),
            Self::Resting => f.write_str("it did not answer a moment ago"),
            Self::Metadata => f.write_str("its metadata are incomplete, or another issuer's"),
            Self::Place => f.write_str("an endpoint of its metadata is not https"),
            Self::Keys => f.write_str("its key set holds no key for signatures"),
            Self::MixedUp => f.write_str("the answer is another provider's (RFC 9207)"),
            Self::Denied => f.write_str("the person or the provider said no"),
            Self::Refused => f.write_str("it answered with an error"),
            Self::Token(status) => write!(f, "its token endpoint answered with status {status}"),
            Self::TokenMalformed => f.write_str("its token endpoint gave no ID token"),
            Self::IdToken(error) => write!(f, "{error}"),
            Self::Old => f.write_str("its user was not asked anew"),
            Self::Undated => f.write_str("its ID token has no auth_time, so its user may not have been asked anew"),
            Self::Signing => f.write_str("no client assertion could be made"),
        }
    }
}
