use axum::body::Body;
use http::header::{CONTENT_TYPE, COOKIE, HOST, LOCATION, RETRY_AFTER, SET_COOKIE};
use http::{Request, Response, StatusCode};
use http_body_util::BodyExt as _;
use tower::ServiceExt as _;

use super::*;
use crate::TestIssuer;
use crate::users::NewUser;

fn of_network(last: u8) -> From<'static> {
    From::Peer(Some([192, 0, 2, last].into()))
}

#[test]
fn one_network_shuts_nobody_else_out() {
    let queue = Queue::default();
    let mut places: Vec<_> = core::iter::from_fn(|| queue.enter(of_network(1))).collect();
    assert_eq!(places.len(), PART);
    assert!(queue.enter(of_network(2)).is_some() && queue.enter(From::Known("one of it")).is_some());
    places.pop();
    assert!(queue.enter(of_network(1)).is_some(), "one has gone");
}

#[test]
fn one_browser_shuts_no_other_one_out() {
    let queue = Queue::default();
    let places: Vec<_> = core::iter::from_fn(|| queue.enter(From::Known("alice's"))).collect();
    assert_eq!(places.len(), PART_OF_PAIR);
    assert!(queue.enter(From::Known("bob's")).is_some());
    drop(places);
    assert!(queue.enter(From::Known("alice's")).is_some());
}

#[test]
fn it_is_never_longer_than_it_may_be() {
    let queue = Queue::default();
    let everybody: Vec<_> = core::iter::from_fn(|| queue.enter(From::Peer(None))).collect();
    assert_eq!(everybody.len(), MOST - KEPT);
    assert!(queue.enter(of_network(1)).is_none(), "nor is there a place for others");
    let mut pairs = 0..;
    let known: Vec<_> = core::iter::from_fn(|| queue.enter(From::Known(&pairs.next()?.to_string()))).collect();
    assert_eq!(known.len(), KEPT);
    drop((everybody, known));
    let left = queue.0.lock();
    assert_eq!((left.all, left.of.len()), (0, 0));
}

/// A browser's request, with the cookies that came with `before`.
async fn ask(issuer: &TestIssuer, at: &str, before: Option<&Response<Body>>, form: Option<String>) -> Response<Body> {
    let mut request = Request::builder().uri(at).header(HOST, issuer.url().trim_start_matches("http://"));
    for cookie in before.iter().flat_map(|before| before.headers().get_all(SET_COOKIE)) {
        request = request.header(COOKIE, cookie.to_str().unwrap().split(';').next().unwrap());
    }
    if form.is_some() {
        request = request.method("POST").header(CONTENT_TYPE, "application/x-www-form-urlencoded");
    }
    let request = request.body(form.map(Body::from).unwrap_or_default()).unwrap();
    issuer.issuer().router().oneshot(request).await.unwrap()
}

async fn text(response: Response<Body>) -> String {
    String::from_utf8(response.into_body().collect().await.unwrap().to_bytes().to_vec()).unwrap()
}

/// The page comes back with the name in it, and says when to come again; then there is a place, which the answer leaves behind.
#[tokio::test]
async fn a_page_says_that_there_is_no_place() {
    let alice = || NewUser::new("alice").password(crate::PasswordHash::of("correct horse").unwrap());
    let issuer = TestIssuer::start_with(|config| config.user(alice())).await.unwrap();
    let queue = &issuer.issuer().state.people.queue;
    let begun = ask(&issuer, "/device", None, None).await;
    let at = begun.headers()[LOCATION].to_str().unwrap().strip_prefix(issuer.url()).unwrap().to_owned();
    let page = text(ask(&issuer, &at, Some(&begun), None).await).await;
    let token = page.split("name=\"csrf\" value=\"").nth(1).unwrap().split('"').next().unwrap();
    let form = |password: &str| Some(format!("step=password&csrf={token}&username=alice&password={password}"));
    let everybody: Vec<_> = core::iter::from_fn(|| queue.enter(From::Peer(None))).collect();
    let busy = ask(&issuer, &at, Some(&begun), form("correct+horse")).await;
    assert_eq!((busy.status(), &busy.headers()[RETRY_AFTER]), (StatusCode::SERVICE_UNAVAILABLE, &"3".parse().unwrap()));
    let busy = text(busy).await;
    assert!(busy.contains("Many people sign in at this moment") && busy.contains("value=\"alice\""), "{busy}");
    drop(everybody);
    let signed_in = ask(&issuer, &at, Some(&begun), form("correct+horse")).await;
    assert_eq!(signed_in.status(), StatusCode::SEE_OTHER, "it was no try");
    assert_eq!(queue.0.lock().all, 0);
}
