//! Where the browser comes back to: an address of loopback, for one answer of the issuer.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{CACHE_CONTROL, CONTENT_TYPE};
use http::{HeaderValue, Method, Request, Response, StatusCode};
use http_body_util::Full;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use keybound::client::Secret;
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use crate::error::{Error, visible};
use crate::login::Login;

/// Longer than the time between two octets of a browser on the same machine.
const SLOW: Duration = Duration::from_secs(10);

/// Connections at once; a browser opens a few.
const CONNECTIONS: usize = 16;

/// A listener that awaits the answer.
pub(super) struct Callback {
    listener: TcpListener,
    path: Box<str>,
    uri: String,
}

/// Whom the answer must come from.
struct Expected {
    path: Box<str>,
    state: Box<str>,
    issuer: Box<str>,
    /// The issuer names itself in its answers: one without a name is not its own.
    named: bool,
}

type Answer = Result<Secret, Error>;

impl Callback {
    pub(super) async fn bind(login: &Login) -> Result<Self, Error> {
        let listener = TcpListener::bind(SocketAddr::new(login.host, login.port)).await.map_err(Error::Login)?;
        let address = listener.local_addr().map_err(Error::Login)?;
        Ok(Self { listener, path: login.path.clone(), uri: format!("http://{address}{}", login.path) })
    }

    pub(super) fn uri(&self) -> &str {
        &self.uri
    }

    /// The code, once the browser brings it. What comes with another `state`, or for another path, is not the answer: anything
    /// on this machine can connect here.
    pub(super) async fn wait(
        &self,
        state: &str,
        issuer: &str,
        named: Option<&str>,
        patience: Duration,
    ) -> Result<Secret, Error> {
        let expected = Arc::new(Expected {
            path: self.path.clone(),
            state: state.into(),
            issuer: issuer.into(),
            named: named.is_some(),
        });
        let (sender, mut answers) = mpsc::channel(1);
        let mut connections = JoinSet::new();
        let serve = async {
            loop {
                tokio::select! {
                    answer = answers.recv() => break answer,
                    _ = connections.join_next(), if connections.len() >= CONNECTIONS => {}
                    accepted = self.listener.accept(), if connections.len() < CONNECTIONS => {
                        let Ok((stream, _)) = accepted else { continue };
                        let (expected, sender) = (Arc::clone(&expected), sender.clone());
                        connections.spawn(connection(TokioIo::new(stream), expected, sender));
                    }
                }
            }
        };
        let answer = tokio::time::timeout(patience, serve).await;
        // The page for the browser may still be on its way.
        let _ = tokio::time::timeout(Duration::from_millis(500), async {
            while connections.join_next().await.is_some() {}
        })
        .await;
        match answer {
            Ok(Some(answer)) => answer,
            Ok(None) | Err(_) => Err(Error::LoginLate { limit: patience }),
        }
    }
}

async fn connection(io: TokioIo<tokio::net::TcpStream>, expected: Arc<Expected>, answers: mpsc::Sender<Answer>) {
    let service = service_fn(move |request: Request<hyper::body::Incoming>| {
        let (expected, answers) = (Arc::clone(&expected), answers.clone());
        async move {
            let (status, text) = match expected.judge(request.method(), request.uri()) {
                None => (StatusCode::NOT_FOUND, "Nothing is here."),
                Some(answer) => {
                    let text = match &answer {
                        Ok(_) => "You are logged in and may close this window.",
                        Err(_) => {
                            "The login failed; the program that asked for it says why. You may close this window."
                        }
                    };
                    // A second answer, of a page that was loaded again, changes nothing.
                    let _ = answers.try_send(answer);
                    (StatusCode::OK, text)
                }
            };
            Ok::<_, Infallible>(page(status, text))
        }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(SLOW)
        .keep_alive(false)
        .serve_connection(io, service);
    // A browser that goes away has no say in the login.
    let _ = connection.await;
}

fn page(status: StatusCode, text: &'static str) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from_static(text.as_bytes())));
    *response.status_mut() = status;
    let fields = response.headers_mut();
    fields.insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    fields.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

impl Expected {
    /// The issuer's answer (RFC 6749 section 4.1.2, RFC 9207), or nothing if it is none.
    fn judge(&self, method: &Method, uri: &http::Uri) -> Option<Answer> {
        if method != Method::GET || uri.path() != &*self.path {
            return None;
        }
        let query = uri.query().unwrap_or_default();
        let one = |wanted: &str| {
            let mut found = url::form_urlencoded::parse(query.as_bytes()).filter(|(name, _)| name == wanted);
            let first = found.next().map(|(_, value)| value.into_owned());
            found.next().is_none().then_some(first).flatten()
        };
        if one("state").as_deref() != Some(&*self.state) {
            return None;
        }
        let fault = |fault| Error::TokenResponse { issuer: self.issuer.clone(), fault };
        match one("iss") {
            Some(iss) if iss != *self.issuer => {
                let found = visible(&iss).into();
                return Some(Err(Error::OtherIssuer { issuer: self.issuer.clone(), found }));
            }
            None if self.named => return Some(Err(fault("its answer to the login does not name it (iss)"))),
            _ => {}
        }
        if let Some(error) = one("error") {
            return Some(Err(Error::LoginRefused {
                issuer: self.issuer.clone(),
                error: visible(&error).into(),
                description: one("error_description").map(|text| visible(&text).into()),
            }));
        }
        Some(one("code").map(Secret::new).ok_or_else(|| fault("its answer to the login has no code")))
    }
}
