//! However much one connection sends or is sent, others are heard meanwhile. There is one worker, and it is held up until the request of
//! another connection has come: what it does before that is answered is counted.

use core::convert::Infallible;
use core::pin::Pin;
use core::task::{Context, Poll};
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex, mpsc};

use bytes::Bytes;
use http::Response;
use http_body::Frame;
use keybound_gateway::body::Body;
use keybound_gateway::front::{Handler, Inbound};

use super::support::{Gateway, PATIENCE};

/// What the greedy one would have if it could; it fits into what the system keeps for a connection.
const ALL: usize = 300;

/// Two shares and what is begun of a third: it may be at one when the request comes, and another turn of its may come first.
const MOST: usize = 12;

/// What is done for the greedy one: requests that are answered, or pieces of a body that are given.
#[derive(Clone)]
struct Work {
    done: Arc<AtomicUsize>,
    begun: mpsc::Sender<()>,
    go_on: Arc<Mutex<mpsc::Receiver<()>>>,
}

impl Work {
    /// With the first piece the worker is held up until it may go on.
    fn piece(&self) -> usize {
        let before = self.done.fetch_add(1, SeqCst);
        if before == 0 {
            self.begun.send(()).unwrap();
            self.go_on.lock().unwrap().recv_timeout(PATIENCE).unwrap();
        }
        before
    }
}

/// Answers `/greedy` at once, `/endless` with pieces that are all there, and anything else with how much was done for those.
struct Counting(Work);

impl Handler for Counting {
    async fn handle(&self, inbound: Inbound) -> Response<Body> {
        match inbound.head.uri.path() {
            "/greedy" => {
                self.0.piece();
                Response::new(Body::empty())
            }
            "/endless" => Response::new(Body::streaming(Pieces(self.0.clone()))),
            _ => {
                let mut response = Response::new(Body::empty());
                response.headers_mut().insert("done", self.0.done.load(SeqCst).into());
                response
            }
        }
    }
}

struct Pieces(Work);

impl http_body::Body for Pieces {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let more = self.0.piece() < ALL;
        Poll::Ready(more.then(|| Ok(Frame::data(Bytes::from_static(b"a piece of many")))))
    }
}

/// How much was done for a connection that sends this, before another one is answered.
fn done_before_another_is_heard(octets: &str) -> usize {
    let (begun, has_begun) = mpsc::channel();
    let (go_on, waits) = mpsc::channel();
    let work = Work { done: Arc::default(), begun, go_on: Arc::new(Mutex::new(waits)) };
    let route = "[[route]]\npath = \"/\"\nmode = \"open\"\nupstream = [\"http://127.0.0.1:9\"]\n";
    let gateway = Gateway::handling("", route, move |_, _| Counting(work.clone()));
    let mut other = gateway.client();
    other.send("GET /other HTTP/1.1\r\nHost: api.example.com\r\n\r\n");
    assert_eq!(other.answer().field("done"), Some("0"));
    let mut greedy = gateway.client();
    greedy.send(octets);
    has_begun.recv_timeout(PATIENCE).expect("a beginning");
    other.send("GET /other HTTP/1.1\r\nHost: api.example.com\r\n\r\n");
    go_on.send(()).unwrap();
    other.answer().field("done").expect("a number").parse().expect("a number")
}

#[test]
fn whoever_pipelines_does_not_hold_up_others() {
    let many = "GET /greedy HTTP/1.1\r\nHost: api.example.com\r\n\r\n".repeat(ALL);
    let done = done_before_another_is_heard(&many);
    assert!((1..=MOST).contains(&done), "{done}");
}

#[test]
fn a_body_that_goes_on_does_not_hold_up_others() {
    let done = done_before_another_is_heard("GET /endless HTTP/1.1\r\nHost: api.example.com\r\n\r\n");
    assert!((1..=MOST).contains(&done), "{done}");
}
