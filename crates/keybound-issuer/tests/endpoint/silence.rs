//! What stands in the log, and what does not.

use std::io;
use std::sync::{Arc, LazyLock, Mutex};
use std::time::Duration;

use keybound::crypto::AlgSet;
use keybound::verify::NoncePolicy;
use tracing_subscriber::fmt::MakeWriter;

use super::support::{SECRET, config, issuer, key, post, proof, send};

/// Everything that is logged by this program, at every level and in every thread. A log of one test would miss events whose
/// first use is in the thread of another.
static LOG: LazyLock<Log> = LazyLock::new(|| {
    let log = Log::default();
    let subscriber = tracing_subscriber::fmt().with_max_level(tracing::Level::TRACE).with_writer(log.clone());
    tracing::subscriber::set_global_default(subscriber.finish()).expect("the only one");
    log
});

#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl io::Write for Log {
    fn write(&mut self, octets: &[u8]) -> io::Result<usize> {
        self.0.lock().expect("no panic").extend_from_slice(octets);
        Ok(octets.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<'w> MakeWriter<'w> for Log {
    type Writer = Self;

    fn make_writer(&'w self) -> Self {
        self.clone()
    }
}

impl Log {
    fn text(&self) -> String {
        String::from_utf8(self.0.lock().expect("no panic").clone()).expect("text")
    }
}

// R-SEC-13: neither on success nor on refusal, at no level.
#[tokio::test]
async fn secrets_are_not_logged() {
    let log = &*LOG;
    let issuer = issuer(config("https://id.example.com"), NoncePolicy::Offer, AlgSet::ALL);
    let proof = proof(&key(), 1, None);
    let issued = send(&issuer, post(Some(&proof), "")).await;
    let token = issued.body["access_token"].as_str().expect("a token").to_owned();
    for refused in [post(Some(&proof), ""), post(Some("a.b.c"), ""), post(Some(&proof[..proof.len() - 1]), "&scope=x")]
    {
        assert_eq!(send(&issuer, refused).await.status, 400);
    }
    let text = log.text();
    assert!(!text.is_empty());
    let nonce = issued.headers["dpop-nonce"].to_str().expect("text");
    let signature = |jws: &str| jws.rsplit('.').next().expect("a segment")[..20].to_owned();
    for secret in [SECRET, &signature(&proof), &signature(&token), nonce] {
        assert!(!text.contains(secret), "{secret} in {text}");
    }
}

// R-SEC-08
#[test]
fn a_long_life_of_tokens_is_warned_of() {
    let log = &*LOG;
    for (seconds, warned) in [(3600, false), (3601, true)] {
        let config = config("https://id.example.com").token_lifetime(Duration::from_secs(seconds));
        let _issuer = issuer(config, NoncePolicy::Offer, AlgSet::ALL);
        assert_eq!(log.text().contains("longer than an hour"), warned, "{seconds} s: {}", log.text());
    }
}
