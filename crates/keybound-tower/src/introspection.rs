//! Tokens whose issuer is asked what they are (RFC 7662): one question at a time for each token, few at a time in all, and
//! no request gets through while there is no answer.

mod ask;
#[cfg(feature = "discovery")]
mod http;
mod rest;

use core::fmt;
use core::time::Duration;
use std::collections::HashMap;
use std::sync::Arc;

use keybound::client::{CLIENT_ASSERTION_TYPE, Secret, basic_credentials, client_assertion};
use keybound::crypto::Signer;
use keybound::crypto::aws_lc::random_array;
use keybound::refusal::{Denial, Fault};
use keybound::request::{AccessToken, TargetUri};
use keybound::token::introspection::{MissingAudience, SIGNED_ANSWER, SignedAnswer, read_answer};
use keybound::token::{TokenFacts, TokenPolicy};
use parking_lot::Mutex;
use tokio::sync::OnceCell;

pub use self::ask::{Ask, Asking, Question, Said};
#[cfg(feature = "discovery")]
pub use self::http::HttpAsk;
use self::rest::Rests;
use crate::Clock;
use crate::fetch::FetchError;
use crate::tokens::IssuerKeys;

/// How long an answer is believed unless set otherwise: that late a revocation is noticed.
pub const DEFAULT_KEEP: Duration = Duration::from_secs(30);

/// The longest that may be set.
pub const MAX_KEEP: Duration = Duration::from_secs(5 * 60);

/// Questions at once; strangers can cause them, so there is an end to it.
const MAX_FLIGHTS: usize = 256;

/// How many there may be for one more about a token that nobody was admitted with. The rest is for those that were: an endpoint
/// that is slow about what strangers send does not keep them waiting.
const MAX_FLIGHTS_OF_STRANGERS: usize = 192;

/// Who sends a token that the issuer is asked about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Caller {
    /// Somebody who was admitted with it lately.
    Admitted,
    /// Anybody.
    Stranger,
}

impl Caller {
    const fn most_flights(self) -> usize {
        match self {
            Self::Admitted => MAX_FLIGHTS,
            Self::Stranger => MAX_FLIGHTS_OF_STRANGERS,
        }
    }
}

/// How we show the issuer who asks (R-RS-23).
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum AskAs {
    /// A secret in the `Authorization` field (`client_secret_basic`).
    SecretBasic(Secret),
    /// A secret in the form (`client_secret_post`).
    SecretPost(Secret),
    /// An assertion signed with this key, made anew for each question (`private_key_jwt`).
    PrivateKeyJwt {
        /// The key.
        key: Arc<dyn Signer>,
        /// The `kid` it is registered under, if the issuer wants one.
        kid: Option<Box<str>>,
    },
}

/// What is wrong with an [`Introspection`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum IntrospectionError {
    /// The endpoint is neither an https URI nor an http URI of a loopback host.
    Endpoint,
    /// Answers would be believed for more than [`MAX_KEEP`].
    Keep,
}

impl fmt::Display for IntrospectionError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Endpoint => f.write_str("the introspection endpoint is no https URI"),
            Self::Keep => write!(f, "answers are believed for at most {MAX_KEEP:?}"),
        }
    }
}

impl core::error::Error for IntrospectionError {}

/// Asks an issuer about its tokens, opaque or not. Clones share everything.
///
/// ```
/// use std::sync::Arc;
/// use keybound::client::Secret;
/// use keybound_tower::introspection::{AskAs, HttpAsk, Introspection};
///
/// let secret = AskAs::SecretBasic(Secret::new("s3cret"));
/// let ask = Arc::new(HttpAsk::new());
/// let introspection = Introspection::new("https://id.example.com/introspect", "gateway", secret, ask)?;
/// # let _ = introspection;
/// # Ok::<(), keybound_tower::introspection::IntrospectionError>(())
/// ```
#[derive(Clone)]
pub struct Introspection(Arc<Inner>);

#[derive(Clone)]
struct Settings {
    endpoint: Box<str>,
    client_id: Box<str>,
    ask_as: AskAs,
    ask: Arc<dyn Ask>,
    signed: Option<IssuerKeys>,
    missing: MissingAudience,
    keep: Duration,
}

struct Inner {
    settings: Settings,
    flights: Mutex<HashMap<[u8; 32], Flight>>,
    rests: Mutex<Rests>,
}

/// One question and all who wait for its answer. If the one who asked goes away, the next asks.
type Flight = Arc<OnceCell<Result<Arc<TokenFacts>, Denial>>>;

impl Introspection {
    /// Asks at `endpoint`, under the name `client_id`.
    ///
    /// # Errors
    ///
    /// [`IntrospectionError::Endpoint`].
    pub fn new(endpoint: &str, client_id: &str, ask_as: AskAs, ask: Arc<dyn Ask>) -> Result<Self, IntrospectionError> {
        let uri = TargetUri::parse(endpoint).map_err(|_| IntrospectionError::Endpoint)?;
        if !uri.is_https() && !uri.is_loopback() {
            return Err(IntrospectionError::Endpoint);
        }
        Ok(Self::of(Settings {
            endpoint: endpoint.into(),
            client_id: client_id.into(),
            ask_as,
            ask,
            signed: None,
            missing: MissingAudience::Refuse,
            keep: DEFAULT_KEEP,
        }))
    }

    /// Takes signed answers and no others (RFC 9701), under these keys of the issuer.
    #[must_use]
    pub fn signed(self, keys: impl Into<IssuerKeys>) -> Self {
        Self::of(Settings { signed: Some(keys.into()), ..self.0.settings.clone() })
    }

    /// What an answer without `aud` is worth; it is refused unless set.
    #[must_use]
    pub fn missing_audience(self, missing: MissingAudience) -> Self {
        Self::of(Settings { missing, ..self.0.settings.clone() })
    }

    /// How long an answer is believed; [`DEFAULT_KEEP`] unless set, and never beyond the token's `exp`.
    ///
    /// # Errors
    ///
    /// [`IntrospectionError::Keep`].
    pub fn keep(self, keep: Duration) -> Result<Self, IntrospectionError> {
        if keep > MAX_KEEP {
            return Err(IntrospectionError::Keep);
        }
        Ok(Self::of(Settings { keep, ..self.0.settings.clone() }))
    }

    fn of(settings: Settings) -> Self {
        Self(Arc::new(Inner { settings, flights: Mutex::default(), rests: Mutex::default() }))
    }

    /// Until when an answer of now is believed.
    pub(crate) fn believed_until(&self, clock: &Arc<dyn Clock>) -> Duration {
        clock.uptime().saturating_add(self.0.settings.keep)
    }

    /// Whether an answer that is believed `until` then still is; it has been used again if so.
    pub(crate) fn still_believed(&self, until: Duration, clock: &Arc<dyn Clock>) -> bool {
        let Some(left) = until.checked_sub(clock.uptime()).filter(|left| !left.is_zero()) else { return false };
        let Settings { ask, keep, .. } = &self.0.settings;
        ask.believed(keep.saturating_sub(left));
        true
    }

    /// What the issuer says of the token. It is not judged yet.
    pub(crate) async fn ask(
        &self,
        token: AccessToken<'_>,
        caller: Caller,
        policy: &TokenPolicy,
        clock: &Arc<dyn Clock>,
    ) -> Result<Arc<TokenFacts>, Denial> {
        let seat = Seat::take(&self.0, token.hash(), caller)?;
        let outcome = seat.flight.get_or_init(|| self.0.question(token, policy, clock)).await.clone();
        self.0.land(&seat);
        outcome
    }
}

impl Introspection {
    /// How many questions in a row failed, and whether the issuer is asked at the moment.
    pub(crate) fn health(&self, clock: &Arc<dyn Clock>) -> (u32, bool) {
        let rests = self.0.rests.lock();
        (rests.failures(), rests.may_reach(clock.uptime()))
    }
}

impl Inner {
    async fn question(
        &self,
        token: AccessToken<'_>,
        policy: &TokenPolicy,
        clock: &Arc<dyn Clock>,
    ) -> Result<Arc<TokenFacts>, Denial> {
        let hash = token.hash();
        if !self.rests.lock().may_ask(&hash, clock.uptime()) {
            return Err(Fault::IntrospectionUnavailable.into());
        }
        let said = self.settings.ask.ask(self.phrase(token, policy.issuer(), clock)?).await;
        let unreachable = matches!(said, Err(FetchError::Unreachable(_)));
        let answer = self.read(said, policy, clock).await;
        let mut rests = self.rests.lock();
        match &answer {
            _ if unreachable => rests.unreached(clock.uptime()),
            Ok(_) | Err(Denial::Refused(_)) => rests.answered(&hash),
            Err(_) => rests.unanswered(hash, clock.uptime()),
        }
        drop(rests);
        answer
    }

    /// The answer out of what was said.
    async fn read(
        &self,
        said: Result<Said, FetchError>,
        policy: &TokenPolicy,
        clock: &Arc<dyn Clock>,
    ) -> Result<Arc<TokenFacts>, Denial> {
        let Settings { endpoint, client_id, signed, missing, .. } = &self.settings;
        let said = said.map_err(|error| {
            tracing::warn!(%endpoint, %error, "the issuer could not be asked about a token");
            Fault::IntrospectionUnavailable
        })?;
        let read = match signed {
            None => read_answer(&said.body, policy, *missing),
            Some(keys) => {
                let text = core::str::from_utf8(&said.body).map_err(|_| Fault::IntrospectionUnavailable)?;
                let answer = SignedAnswer::parse(text)?;
                let keys = keys.fitting(&|keys| answer.finds_key(keys), clock).await?;
                answer.read(&keys.set, client_id, policy, *missing, clock.now())
            }
        };
        read.inspect_err(|denial| {
            if let Denial::Failed(_) = denial {
                tracing::warn!(%endpoint, signed = signed.is_some(), "the issuer's answer about a token is no answer");
            }
        })
    }

    /// The question, with who asks. A proof of the client never goes along (R-RS-21).
    fn phrase(&self, token: AccessToken<'_>, issuer: &str, clock: &Arc<dyn Clock>) -> Result<Question<'_>, Fault> {
        let Settings { endpoint, client_id, ask_as, signed, .. } = &self.settings;
        let accept = if signed.is_some() { SIGNED_ANSWER } else { "application/json" };
        let mut question = Question::new(endpoint, accept);
        question.form.pair("token", token.secret());
        question.form.pair("token_type_hint", "access_token");
        match ask_as {
            AskAs::SecretBasic(secret) => question.authorization = Some(basic_credentials(client_id, secret)),
            AskAs::SecretPost(secret) => {
                question.form.pair("client_id", client_id);
                question.form.pair("client_secret", secret.expose());
            }
            AskAs::PrivateKeyJwt { key, kid } => {
                let jti = random_array().map_err(|_| Fault::CryptoFailure)?;
                let assertion = client_assertion(&**key, kid.as_deref(), client_id, issuer, jti, clock.now());
                question.form.pair("client_id", client_id);
                question.form.pair("client_assertion_type", CLIENT_ASSERTION_TYPE);
                question.form.pair("client_assertion", &assertion.map_err(|_| Fault::CryptoFailure)?);
            }
        }
        Ok(question)
    }

    /// The answer is there: who comes later asks again.
    fn land(&self, seat: &Seat<'_>) {
        let mut flights = self.flights.lock();
        if flights.get(&seat.hash).is_some_and(|flight| Arc::ptr_eq(flight, &seat.flight)) {
            flights.remove(&seat.hash);
        }
    }
}

/// A place among those who wait for one answer.
struct Seat<'i> {
    inner: &'i Inner,
    hash: [u8; 32],
    flight: Flight,
}

impl<'i> Seat<'i> {
    fn take(inner: &'i Inner, hash: [u8; 32], caller: Caller) -> Result<Self, Fault> {
        let mut flights = inner.flights.lock();
        if flights.len() >= caller.most_flights() && !flights.contains_key(&hash) {
            tracing::warn!(endpoint = %inner.settings.endpoint, "too many questions about tokens at once");
            return Err(Fault::IntrospectionUnavailable);
        }
        let flight = Arc::clone(flights.entry(hash).or_default());
        drop(flights);
        Ok(Self { inner, hash, flight })
    }
}

impl Drop for Seat<'_> {
    /// The last one to go away without an answer takes the question along.
    fn drop(&mut self) {
        let mut flights = self.inner.flights.lock();
        let alone = |flight: &Flight| Arc::ptr_eq(flight, &self.flight) && Arc::strong_count(flight) == 2;
        if flights.get(&self.hash).is_some_and(alone) {
            flights.remove(&self.hash);
        }
    }
}

impl fmt::Debug for Introspection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Introspection({})", self.0.settings.endpoint)
    }
}

#[cfg(test)]
mod tests;
