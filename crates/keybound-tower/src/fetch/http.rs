//! Documents over HTTP, each on a connection of its own: they are fetched minutes apart.

use core::time::Duration;
use std::sync::OnceLock;

use reqwest::header::{ACCEPT, CACHE_CONTROL, HeaderMap, HeaderValue};
use reqwest::redirect::Policy;
use reqwest::{Client, ClientBuilder, Response};

use super::{Document, Fetch, FetchError, Fetching, MAX_DOCUMENT};

const CONNECT: Duration = Duration::from_secs(3);
const TOTAL: Duration = Duration::from_secs(5);

/// Gets documents over HTTPS, and over HTTP from loopback hosts. The client behind it, with the roots of the operating
/// system, is made at first use.
#[derive(Debug, Default)]
pub struct HttpFetch {
    client: OnceLock<Client>,
}

impl HttpFetch {
    /// One without a client yet.
    pub const fn new() -> Self {
        Self { client: OnceLock::new() }
    }

    fn client(&self) -> Result<&Client, FetchError> {
        if let Some(client) = self.client.get() {
            return Ok(client);
        }
        let made = client().pool_max_idle_per_host(0).build().map_err(|error| transport(&error))?;
        Ok(self.client.get_or_init(|| made))
    }

    async fn get(&self, location: &str) -> Result<Document, FetchError> {
        let request = self.client()?.get(location).header(ACCEPT, "application/json");
        let response = request.send().await.map_err(|error| transport(&error))?;
        if response.status() != 200 {
            return Err(FetchError::Status(response.status().as_u16()));
        }
        let max_age = max_age(response.headers());
        Ok(Document { body: bounded(response).await?, max_age })
    }
}

impl Fetch for HttpFetch {
    fn fetch<'f>(&'f self, location: &'f str) -> Fetching<'f> {
        Box::pin(self.get(location))
    }
}

/// What every client of ours that speaks to issuers has in common.
pub(crate) fn client() -> ClientBuilder {
    Client::builder()
        .user_agent(concat!("keybound/", env!("CARGO_PKG_VERSION")))
        .redirect(Policy::none())
        .referer(false)
        .connect_timeout(CONNECT)
        .timeout(TOTAL)
}

/// The body, given up as soon as it is too long, whatever its length was said to be.
pub(crate) async fn bounded(mut response: Response) -> Result<Vec<u8>, FetchError> {
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(|error| transport(&error))? {
        if body.len() + chunk.len() > MAX_DOCUMENT {
            return Err(FetchError::Oversized);
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body)
}

/// `max-age`; zero where the document must not be kept or not be used without asking again.
fn max_age(headers: &HeaderMap) -> Option<Duration> {
    let lines = headers.get_all(CACHE_CONTROL).iter().map(HeaderValue::to_str);
    let mut found = None;
    for directive in lines.flatten().flat_map(|line| line.split(',')) {
        let (name, value) = directive.split_once('=').unwrap_or((directive, ""));
        match &*name.trim().to_ascii_lowercase() {
            "no-store" | "no-cache" => return Some(Duration::ZERO),
            "max-age" => found = value.trim().trim_matches('"').parse().ok().map(Duration::from_secs).or(found),
            _ => {}
        }
    }
    found
}

/// What happened, down to the cause, without the address: it stands in the log line already.
pub(crate) fn transport(error: &reqwest::Error) -> FetchError {
    use std::error::Error as _;

    let mut why = if error.is_timeout() { "no answer in time".to_owned() } else { "no answer".to_owned() };
    let mut cause = error.source();
    while let Some(error) = cause {
        why.push_str(": ");
        why.push_str(&error.to_string());
        cause = error.source();
    }
    if error.is_connect() { FetchError::Unreachable(why.into()) } else { FetchError::Transport(why.into()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn freshness_as_it_is_written() {
        for (lines, expected) in [
            (&[][..], None),
            (&["max-age=300"], Some(300)),
            (&["public, Max-Age=\"60\" "], Some(60)),
            (&["public", "max-age=7"], Some(7)),
            (&["max-age=300, no-cache"], Some(0)),
            (&["no-store"], Some(0)),
            (&["max-age=-1"], None),
            (&["max-age=99999999999999999999999"], None),
            (&["s-maxage=5"], None),
        ] {
            let mut headers = HeaderMap::new();
            for line in lines {
                headers.append(CACHE_CONTROL, HeaderValue::from_static(line));
            }
            assert_eq!(max_age(&headers), expected.map(Duration::from_secs), "{lines:?}");
        }
    }
}
