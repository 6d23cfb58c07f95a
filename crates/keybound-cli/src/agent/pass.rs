//! One request through the agent: let in, aimed, signed, sent, answered.

use std::convert::Infallible;
use std::sync::Arc;

use bytes::Bytes;
use http::header::{CONNECTION, CONTENT_LENGTH, CONTENT_TYPE, PROXY_AUTHENTICATE, UPGRADE, WWW_AUTHENTICATE};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response, StatusCode, Version};
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use keybound_client::{Client, Error};

use super::fields;
use super::guard::{Hosts, Secret, Stranger, admit};
use super::lines::{Asked, Keeping};
use super::targets::{Astray, Targets};
use super::upload::{self, Broken};
use crate::access::Access;

/// Says in an answer of the agent's own what is wrong, for programs.
const AGENT_ERROR: HeaderName = HeaderName::from_static("keybound-agent-error");

/// The body of an answer.
type Body = BoxBody<Bytes, Error>;

type Answer = Response<Body>;

/// What all requests share.
pub(super) struct Agency {
    client: Client,
    targets: Targets,
    secret: Option<Secret>,
    hosts: Hosts,
    access: Access,
}

impl Agency {
    pub(super) const fn new(
        client: Client,
        targets: Targets,
        secret: Option<Secret>,
        hosts: Hosts,
        access: Access,
    ) -> Self {
        Self { client, targets, secret, hosts, access }
    }

    /// Takes the key that its name means by now for new tokens; the one before stays for the tokens it has.
    pub(super) fn rotate(&self) {
        match self.access.current_key() {
            Ok(key) if key.thumbprint() == self.client.jkt() => tracing::info!("the key is still the same"),
            Ok(key) => {
                let jkt = key.thumbprint();
                match self.client.rotate(Arc::new(key)) {
                    Ok(()) => tracing::info!(%jkt, "new tokens are of another key"),
                    Err(why) => tracing::warn!(%why, "the key stays"),
                }
            }
            Err(why) => tracing::warn!(why = why.message(), "the key stays"),
        }
    }

    /// Answers one request, and says so in the log.
    pub(super) async fn answer(
        self: Arc<Self>,
        request: Request<Incoming>,
        asked: Asked,
    ) -> Result<Response<Keeping<Body>>, Infallible> {
        let (method, path, version) = (request.method().clone(), request.uri().path().to_owned(), request.version());
        let (answer, busy) = match self.admit(&request) {
            Ok(proxied) => {
                let busy = asked.admitted();
                (self.pass(request, proxied).await, Some(busy))
            }
            Err(mut answer) => {
                asked.refused();
                if version != Version::HTTP_2 {
                    answer.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
                }
                (*answer, None)
            }
        };
        let status = answer.status().as_u16();
        match answer.headers().get(AGENT_ERROR).and_then(|code| code.to_str().ok()) {
            None => tracing::info!(%method, path, status, "passed on"),
            Some(code) => tracing::warn!(%method, path, status, code, "not passed on"),
        }
        Ok(answer.map(|body| Keeping::new(body, busy)))
    }

    /// Lets a request in, and says whether the agent is a proxy to it.
    fn admit(&self, request: &Request<Incoming>) -> Result<bool, Box<Answer>> {
        if request.method() == Method::CONNECT {
            return Err(Box::new(own(StatusCode::METHOD_NOT_ALLOWED, "connect", CONNECT)));
        }
        let named = request.uri().authority();
        let proxied = named.is_some_and(|named| !self.hosts.are_meant(named.as_str(), request.version()));
        match admit(request.uri(), request.headers(), self.secret.as_ref(), &self.hosts) {
            Ok(()) => Ok(proxied),
            Err(stranger) => Err(Box::new(turned_away(stranger, proxied))),
        }
    }

    async fn pass(&self, request: Request<Incoming>, proxied: bool) -> Answer {
        let (target, url) = match self.targets.find(request.uri(), proxied) {
            Ok((target, url)) => (target.clone(), url),
            Err(Astray::Elsewhere(host)) => {
                return own(
                    StatusCode::FORBIDDEN,
                    "target",
                    &format!("{host} is none of the agent's targets; --target allows it"),
                );
            }
            Err(Astray::NoPlace) => return own(StatusCode::NOT_FOUND, "target", NO_PLACE),
        };
        let (head, body) = request.into_parts();
        if head.headers.get(UPGRADE).is_some_and(|to| to.as_bytes().eq_ignore_ascii_case(b"websocket")) {
            return own(
                StatusCode::NOT_IMPLEMENTED,
                "upgrade",
                "the agent passes on requests and answers, no WebSockets",
            );
        }
        let length = head.headers.get(CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse::<u64>().ok());
        let body = match upload::gather(body, length).await {
            Ok(body) => body,
            Err(Broken::Slow) => return own(StatusCode::REQUEST_TIMEOUT, "body", "the body of the request stalled"),
            Err(Broken::Off(why)) => return own(StatusCode::BAD_REQUEST, "body", &why.to_string()),
        };
        let mut named = head.headers;
        fields::onward(&mut named);
        let outward = self.client.request(head.method, &url).body(body);
        // A redirect that leads away from the target is for the program to follow, or not.
        let mut outward = outward.redirects_within(move |next| target.holds(next.as_str()));
        for (name, value) in &named {
            outward = outward.header(name.clone(), value.clone());
        }
        match outward.send().await {
            Ok(response) => back(response),
            Err(Error::Refused(refused)) => back(refused.into_response()),
            // The same, to another server.
            Err(Error::RedirectAcross { response, .. }) => back(*response),
            Err(error) => failed(&error),
        }
    }
}

const NO_PLACE: &str =
    "no target has its place there; below one with a path, neither do dots, backslashes and encoded slashes";

const CONNECT: &str = "what is in a tunnel cannot be signed: use the target's http:// URL with this proxy, the agent goes on by https; \
                       or its place at the agent";

fn back(response: keybound_client::Response) -> Answer {
    let (mut head, body) = Response::from(response).into_parts();
    fields::back(&mut head.headers);
    let mut answer = Response::new(BodyExt::boxed(body));
    *answer.status_mut() = head.status;
    *answer.headers_mut() = head.headers;
    answer
}

fn turned_away(stranger: Stranger, proxied: bool) -> Answer {
    match stranger {
        Stranger::Host => own(StatusCode::MISDIRECTED_REQUEST, "host", "the agent goes by the address it listens at"),
        Stranger::Page => own(StatusCode::FORBIDDEN, "page", "the agent is not for pages in a browser"),
        Stranger::Secret => {
            let (status, field) = match proxied {
                true => (StatusCode::PROXY_AUTHENTICATION_REQUIRED, PROXY_AUTHENTICATE),
                false => (StatusCode::UNAUTHORIZED, WWW_AUTHENTICATE),
            };
            let mut answer = own(
                status,
                "secret",
                "the agent's secret is missing or wrong: it is the password, or the Bearer token",
            );
            answer.headers_mut().insert(field, HeaderValue::from_static("Basic realm=\"keybound agent\""));
            answer
        }
    }
}

/// Nothing came back that could be passed on.
fn failed(error: &Error) -> Answer {
    let (status, code) = match error {
        Error::Timeout { .. } => (StatusCode::GATEWAY_TIMEOUT, "timeout"),
        Error::Url | Error::Field(_) => (StatusCode::BAD_REQUEST, "request"),
        Error::TokenRequest(_) | Error::NoToken | Error::Store(_) => (StatusCode::BAD_GATEWAY, "token"),
        Error::NoCommonAlg { .. } => (StatusCode::BAD_GATEWAY, "algorithm"),
        Error::Redirects { .. } | Error::RedirectNowhere(_) | Error::BodyGone(_) => {
            (StatusCode::BAD_GATEWAY, "redirect")
        }
        _ => (StatusCode::BAD_GATEWAY, "target"),
    };
    own(status, code, &error.to_string())
}

/// An answer of the agent itself.
fn own(status: StatusCode, code: &'static str, text: &str) -> Answer {
    let body = Full::new(Bytes::from(format!("keybound agent: {text}\n"))).map_err(|never| match never {});
    let mut answer = Response::new(BodyExt::boxed(body));
    *answer.status_mut() = status;
    let mut named = HeaderMap::new();
    named.insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    named.insert(AGENT_ERROR, HeaderValue::from_static(code));
    *answer.headers_mut() = named;
    answer
}
