//! One request over the network and its answer: where it may go, how long it may take, how much of it is read.

use std::error::Error as StdError;
use std::fmt;
use std::time::Duration;

use http::header::{HOST, LOCATION};
use http::{HeaderMap, Method, StatusCode, Version};
use keybound::client::{Permitted, PlainHttp, permitted};
use keybound::request::TargetUri;
use reqwest::Url;
use reqwest::redirect::Policy;
use zeroize::Zeroizing;

use crate::error::Error;

/// A body longer than this is not worth a connection.
const MAX_DISCARDED: usize = 16 * 1024;

/// And neither is one that takes longer.
const DISCARD: Duration = Duration::from_millis(500);

/// Sees every request as it is sent and every answer as it comes: for a log, or for `keybound request -v`.
///
/// Fields that hold a token, a proof or a secret are marked as sensitive
/// ([`HeaderValue::is_sensitive`](http::HeaderValue::is_sensitive)): leave their values out.
pub trait Watch: Send + Sync + fmt::Debug {
    /// A request is about to be sent.
    fn sending(&self, method: &Method, url: &Url, fields: &HeaderMap);

    /// The head of its answer is here.
    fn answered(&self, version: Version, status: StatusCode, fields: &HeaderMap);
}

/// A URL as it is sent, and as it is signed.
#[derive(Clone)]
pub(crate) struct Target {
    url: Url,
    uri: TargetUri,
}

impl Target {
    /// Reads an absolute URL. What the library underneath would repair before it sends it is refused: server and proof
    /// would be about different URLs.
    pub(crate) fn parse(text: &str) -> Result<Self, Error> {
        let uri = TargetUri::parse(text).map_err(|_| Error::Url)?;
        let mut url = Url::parse(text).map_err(|_| Error::Url)?;
        if url.as_str() == text && url.fragment().is_none() {
            return Ok(Self { url, uri }); // there is nothing that was repaired
        }
        url.set_fragment(None);
        let sent = TargetUri::parse(url.as_str()).map_err(|_| Error::Url)?;
        if sent == uri { Ok(Self { url, uri }) } else { Err(Error::Url) }
    }

    /// The target that `location` names, seen from this one (RFC 9110 section 10.2.2).
    pub(crate) fn join(&self, headers: &HeaderMap) -> Result<Self, Error> {
        let nowhere = || Error::RedirectNowhere(self.uri.clone());
        let mut fields = headers.get_all(LOCATION).iter();
        let (Some(location), None) = (fields.next(), fields.next()) else {
            return Err(nowhere());
        };
        let location = location.to_str().map_err(|_| nowhere())?;
        let url = self.url.join(location).map_err(|_| nowhere())?;
        Self::parse(url.as_str()).map_err(|_| nowhere())
    }

    pub(crate) const fn uri(&self) -> &TargetUri {
        &self.uri
    }

    pub(crate) const fn url(&self) -> &Url {
        &self.url
    }

    pub(crate) fn permitted(&self, plain: PlainHttp) -> Result<Permitted<'_>, Error> {
        permitted(&self.uri, plain).map_err(|_| Error::PlainHttp(self.uri.clone()))
    }
}

/// How long things may take.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    /// Until there is a connection.
    pub(crate) connect: Duration,
    /// From sending a request until the head of its answer, and between two pieces of its body.
    pub(crate) answer: Duration,
}

/// How often it is asked whether a connection of HTTP/2 still leads anywhere, while requests are on it, and how long the answer
/// may take: without that, all requests to a server that is gone would go the same way.
const ALIVE: (Duration, Duration) = (Duration::from_secs(15), Duration::from_secs(10));

/// What an HTTP client is made with.
#[derive(Debug)]
pub(crate) struct Settings {
    pub(crate) limits: Limits,
    pub(crate) roots: Vec<reqwest::Certificate>,
    /// Resources speak HTTP/2, also where it is not negotiated.
    pub(crate) http2: bool,
}

impl Settings {
    fn client(&self) -> reqwest::Result<reqwest::ClientBuilder> {
        let (interval, patience) = ALIVE;
        let client = reqwest::Client::builder()
            .user_agent(concat!("keybound/", env!("CARGO_PKG_VERSION")))
            .tls_certs_merge(self.roots.iter().cloned())
            .redirect(Policy::none())
            .retry(reqwest::retry::never()) // R-CLI-01: what is sent again has a new proof
            .referer(false)
            .connect_timeout(self.limits.connect)
            .http2_keep_alive_interval(interval)
            .http2_keep_alive_timeout(patience)
            // Plain http is for loopback, which needs no proxy; a proxy would carry it off this machine.
            .no_proxy();
        let Some(proxy) = https_proxy() else { return Ok(client) };
        Ok(client.proxy(reqwest::Proxy::https(proxy.as_str())?.no_proxy(reqwest::NoProxy::from_env())))
    }
}

/// Whom a request is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum To {
    Issuer,
    Resource,
}

/// The HTTP client underneath, which follows no redirects and sends nothing twice.
#[derive(Debug)]
pub(crate) struct Transport {
    http: reqwest::Client,
    /// For resources, if they have one of their own.
    resources: Option<reqwest::Client>,
    limits: Limits,
    watch: Option<Box<dyn Watch>>,
}

impl Transport {
    pub(crate) fn new(settings: &Settings, watch: Option<Box<dyn Watch>>) -> Result<Self, Error> {
        let make = |http2: bool| {
            let client = settings.client()?;
            if http2 { client.http2_prior_knowledge().build() } else { client.build() }
        };
        let http = make(false).map_err(Error::Settings)?;
        let resources = settings.http2.then(|| make(true)).transpose().map_err(Error::Settings)?;
        Ok(Self { http, resources, limits: settings.limits, watch })
    }

    pub(crate) const fn limits(&self) -> Limits {
        self.limits
    }

    /// Sends one request and waits for the head of its answer.
    pub(crate) async fn send(
        &self,
        to: To,
        method: &Method,
        target: &Target,
        fields: HeaderMap,
        body: reqwest::Body,
    ) -> Result<reqwest::Response, Error> {
        if let Some(watch) = &self.watch {
            watch.sending(method, &target.url, &fields);
        }
        let mut request = reqwest::Request::new(method.clone(), target.url.clone());
        *request.headers_mut() = fields;
        *request.body_mut() = Some(body);
        let own = self.resources.as_ref().filter(|_| to == To::Resource);
        let sending = own.unwrap_or(&self.http).execute(request);
        let response = within(self.limits.answer, target.uri.origin(), sending).await?;
        if let Some(watch) = &self.watch {
            watch.answered(response.version(), response.status(), response.headers());
        }
        Ok(response)
    }

    /// Reads what is left of a short body that nobody wants, so that the connection can be used again.
    pub(crate) async fn discard(&self, mut response: reqwest::Response) {
        let reading = async {
            let mut room = MAX_DISCARDED;
            while let Ok(Some(chunk)) = response.chunk().await {
                let Some(left) = room.checked_sub(chunk.len()) else {
                    return;
                };
                room = left;
            }
        };
        // Late, the connection is closed instead: that costs a new one and nothing else.
        let _ = tokio::time::timeout(DISCARD, reading).await;
    }

    /// All of a body, which is short: `limit` octets at most, and all of it in the time of one answer.
    pub(crate) async fn read(
        &self,
        mut response: reqwest::Response,
        server: &str,
        limit: usize,
    ) -> Result<Zeroizing<Vec<u8>>, Error> {
        let reading = async {
            let mut octets = Zeroizing::new(Vec::with_capacity(limit.min(4096)));
            while let Some(chunk) = response.chunk().await.map_err(|source| network(server, source))? {
                if octets.len() + chunk.len() > limit {
                    let server = server.into();
                    return Err(Error::TooLarge { server, limit });
                }
                octets.extend_from_slice(&chunk);
            }
            Ok(octets)
        };
        let late = |_| late(server, self.limits.answer);
        tokio::time::timeout(self.limits.answer, reading).await.map_err(late)?
    }
}

/// Waits for `step` of an exchange with `server`, but no longer than `limit`.
pub(crate) async fn within<T>(
    limit: Duration,
    server: &str,
    step: impl Future<Output = reqwest::Result<T>>,
) -> Result<T, Error> {
    match tokio::time::timeout(limit, step).await {
        Ok(done) => done.map_err(|source| network(server, source)),
        Err(_) => Err(late(server, limit)),
    }
}

fn late(server: &str, limit: Duration) -> Error {
    Error::Timeout { server: server.into(), limit }
}

pub(crate) fn network(server: &str, source: reqwest::Error) -> Error {
    Error::Network {
        server: server.into(),
        source: source.without_url(), // its query may hold secrets
    }
}

/// Whether the server said of a request that it did not look at it (RFC 9113 section 8.7): it may be sent again, whatever it is.
pub(crate) fn is_unseen(error: &Error) -> bool {
    let Error::Network { source, .. } = error else { return false };
    let mut cause: Option<&dyn StdError> = Some(source);
    while let Some(why) = cause {
        if let Some(why) = why.downcast_ref::<h2::Error>() {
            return why.is_remote()
                && (why.is_go_away() && why.reason() == Some(h2::Reason::NO_ERROR)
                    || why.is_reset() && why.reason() == Some(h2::Reason::REFUSED_STREAM));
        }
        cause = why.source();
    }
    false
}

/// The first that is set and not empty, as other programs read them.
fn https_proxy() -> Option<String> {
    ["https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"]
        .into_iter()
        .find_map(|name| std::env::var(name).ok().filter(|value| !value.is_empty()))
}

/// Fields that are not the caller's to set: they hold what this client proves, or say what the proof and the framing say.
pub(crate) const RESERVED: [http::HeaderName; 7] = [
    http::header::AUTHORIZATION,
    http::header::CONNECTION,
    http::header::CONTENT_LENGTH,
    http::HeaderName::from_static("dpop"),
    HOST,
    http::header::TRANSFER_ENCODING,
    http::header::UPGRADE,
];
