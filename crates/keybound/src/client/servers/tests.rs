use std::sync::Arc;
use std::time::SystemTime;

use http::{HeaderName, HeaderValue};
use proptest::prelude::*;

use super::*;
use crate::challenge::DPOP_NONCE;

const API: &str = "https://api.example.com";
const RS: Role = Role::ResourceServer;
const AS: Role = Role::AuthorizationServer;
const NOW: UnixTime = UnixTime::from_secs(1_700_000_000);

fn fields(fields: &[(HeaderName, &str)]) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for (name, value) in fields {
        headers.append(name, HeaderValue::from_str(value).unwrap());
    }
    headers
}

fn nonce(value: &str) -> HeaderMap {
    fields(&[(DPOP_NONCE.clone(), value)])
}

fn newest(servers: &ServerMemory, origin: &str, role: Role) -> Option<String> {
    servers.newest(origin, role).map(|nonce| nonce.as_str().to_owned())
}

fn date(time: UnixTime) -> String {
    httpdate::fmt_http_date(SystemTime::UNIX_EPOCH + Duration::from_secs(time.as_secs()))
}

// R-NONCE-16, R-NONCE-17: the newest wins; a response without one, or with a bad one, takes nothing away.
#[test]
fn the_newest_nonce_wins() {
    let servers = ServerMemory::new();
    for (headers, expected) in [
        (HeaderMap::new(), None),
        (nonce("a"), Some("a")),
        (nonce("b"), Some("b")),
        (HeaderMap::new(), Some("b")),
        (nonce("c d"), Some("b")),
        (nonce(&"x".repeat(4096)), Some("b")),
        (
            fields(&[(DPOP_NONCE.clone(), "c"), (DPOP_NONCE.clone(), "c")]),
            Some("b"),
        ),
        (nonce("a"), Some("a")),
    ] {
        servers.learn(API, RS, &headers, NOW);
        assert_eq!(newest(&servers, API, RS).as_deref(), expected, "{headers:?}");
    }
}

// R-NONCE-18
#[test]
fn nonces_stay_with_their_server_and_role() {
    let servers = ServerMemory::new();
    servers.learn(API, RS, &nonce("rs"), NOW);
    assert_eq!(newest(&servers, API, AS), None);
    for origin in [
        "http://api.example.com",
        "https://api.example.com:8443",
        "https://example.com",
        "",
    ] {
        assert_eq!(newest(&servers, origin, RS), None, "{origin}");
    }
    servers.learn(API, AS, &nonce("as"), NOW);
    assert_eq!(newest(&servers, API, AS).as_deref(), Some("as"));
    assert_eq!(newest(&servers, API, RS).as_deref(), Some("rs"));
}

#[test]
fn the_server_heard_of_least_recently_is_forgotten() {
    let servers = ServerMemory::with_capacity(NonZeroUsize::new(2).unwrap());
    for origin in ["https://a", "https://b", "https://a", "https://c"] {
        servers.learn(origin, RS, &nonce("n"), NOW);
    }
    let known = |origin| newest(&servers, origin, RS).is_some();
    assert_eq!(
        [known("https://a"), known("https://b"), known("https://c")],
        [true, false, true]
    );
    // What says nothing pushes nobody out.
    servers.learn("https://d", RS, &HeaderMap::new(), NOW);
    servers.learn("https://e", RS, &fields(&[(DATE, &date(NOW))]), NOW);
    assert!(known("https://a") && known("https://c"));
    servers.learn(&format!("https://{}", "h".repeat(MAX_ORIGIN)), RS, &nonce("n"), NOW);
    assert!(known("https://a") && known("https://c"));
}

// R-CLI-19: bounded, per server, and never from a date that a cache has kept.
#[test]
fn the_clock_of_a_server_is_learnt_within_bounds() {
    let (ahead, behind) = (
        |seconds| NOW.plus(Duration::from_secs(seconds)),
        |seconds| NOW.minus(Duration::from_secs(seconds)),
    );
    for (said, expected) in [
        (NOW, NOW),
        (ahead(5), NOW),
        (ahead(6), ahead(6)),
        (behind(5), NOW),
        (behind(6), behind(6)),
        (ahead(86_400), ahead(86_400)),
        (ahead(86_401), NOW),
        (behind(86_400), behind(86_400)),
        (behind(86_401), NOW),
    ] {
        let servers = ServerMemory::new();
        servers.learn(API, RS, &fields(&[(DATE, &date(said))]), NOW);
        assert_eq!(servers.time_at(API, NOW), expected, "{said}");
        assert_eq!(servers.time_at("https://other.example", NOW), NOW);
    }
    for headers in [
        fields(&[(DATE, &date(ahead(900))), (AGE, "900")]),
        fields(&[(DATE, "yesterday")]),
        fields(&[(DATE, "Sun, 99 Nov 1994 08:49:37 GMT")]),
        fields(&[(DATE, "")]),
    ] {
        let servers = ServerMemory::new();
        servers.learn(API, RS, &headers, NOW);
        assert_eq!(servers.time_at(API, NOW), NOW, "{headers:?}");
    }
}

#[test]
fn a_clock_that_was_set_right_is_followed() {
    let servers = ServerMemory::new();
    for (said, expected) in [(400, 400), (0, 0), (90, 90)] {
        let said = NOW.plus(Duration::from_secs(said));
        servers.learn(API, RS, &fields(&[(DATE, &date(said))]), NOW);
        assert_eq!(servers.time_at(API, NOW), NOW.plus(Duration::from_secs(expected)));
    }
}

// R-CLI-26
#[test]
fn many_threads_share_it() {
    let servers = Arc::new(ServerMemory::with_capacity(NonZeroUsize::new(8).unwrap()));
    std::thread::scope(|scope| {
        for thread in 0..4 {
            let servers = &servers;
            scope.spawn(move || {
                for number in 0..200 {
                    let origin = format!("https://{}.example", (thread + number) % 12);
                    servers.learn(&origin, RS, &nonce(&format!("n{thread}-{number}")), NOW);
                    servers.newest(&origin, RS);
                }
            });
        }
    });
    assert_eq!(servers.table.lock().servers.len(), 8);
}

proptest! {
    #[test]
    fn no_date_panics(text in any::<Vec<u8>>(), now in any::<u64>()) {
        if let Ok(value) = HeaderValue::from_bytes(&text) {
            let headers = HeaderMap::from_iter([(DATE, value)]);
            ServerMemory::new().learn(API, RS, &headers, UnixTime::from_secs(now));
        }
    }

    #[test]
    fn no_likely_date_panics(text in "(Sun|Mon), [0-9]{2} (Jan|Feb) [0-9]{4} [0-9]{2}:[0-9]{2}:[0-9]{2} GMT", now in any::<u64>()) {
        ServerMemory::new().learn(API, RS, &fields(&[(DATE, &text)]), UnixTime::from_secs(now));
    }
}
