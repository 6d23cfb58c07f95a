//! The way there through TLS: whom to believe, and for which name.

use core::time::Duration;
use std::fs;
use std::path::PathBuf;

use keybound::replay::Seen;
use keybound_issuer::store::{Location, open};
use keybound_postgres::{ConnectError, PostgresSettings};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};
use tokio::time::Instant;

use crate::support::{PATIENCE, Place, Proof, connected, data, eventually, now, refused, shell};

/// For so long does an issuer wait for its database.
const WAITED: Duration = Duration::from_secs(9);

/// A server that speaks TLS by a certificate for `localhost`, until this is dropped; an authority it is of, and another.
struct Stage<'p> {
    place: &'p Place,
    folder: tempfile::TempDir,
}

fn authority() -> CertifiedIssuer<'static, KeyPair> {
    let mut params = CertificateParams::new(Vec::new()).expect("parameters");
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    CertifiedIssuer::self_signed(params, KeyPair::generate().expect("a key")).expect("an authority")
}

impl<'p> Stage<'p> {
    async fn new(place: &'p Place) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let ours = authority();
        fs::write(folder.path().join("ours.pem"), ours.pem()).expect("a file");
        fs::write(folder.path().join("another.pem"), authority().pem()).expect("a file");
        let key = KeyPair::generate().expect("a key");
        let mut params = CertificateParams::new(vec!["localhost".to_owned()]).expect("parameters");
        params.distinguished_name.push(DnType::CommonName, "server");
        let certificate = params.signed_by(&key, &ours).expect("a certificate");
        // They have to be the server's own, and its key nobody else's to read.
        for (name, text) in [("tls.pem", certificate.pem()), ("tls.key", key.serialize_pem())] {
            let given = data().with_file_name(format!("given-{name}"));
            fs::write(&given, text).expect("a file");
            let line = format!("install -m 600 {} {}", given.display(), data().join(name).display());
            assert!(shell(&line));
            fs::remove_file(given).expect("it is there");
        }
        for setting in ["ssl_cert_file = 'tls.pem'", "ssl_key_file = 'tls.key'", "ssl = on"] {
            place.run(&format!("ALTER SYSTEM SET {setting}")).await;
        }
        let stage = Self { place, folder };
        stage.reload("on").await;
        stage
    }

    async fn reload(&self, expected: &str) {
        self.place.run("SELECT pg_reload_conf()").await;
        let question = format!("SELECT count(*) FROM pg_settings WHERE name = 'ssl' AND setting = '{expected}'");
        eventually("its settings", async || self.place.number(&question).await == 1).await;
    }

    fn url(&self, host: &str, mode: &str, authority: &str) -> String {
        let url: sqlx::postgres::PgConnectOptions = self.place.server.url().parse().expect("a URL");
        let (port, path): (_, PathBuf) = (url.get_port(), self.folder.path().join(authority));
        format!("postgres://keybound@{host}:{port}/postgres?sslmode={mode}&sslrootcert={}", path.display())
    }

    fn settings(&self, host: &str, mode: &str, authority: &str) -> PostgresSettings {
        let url = self.url(host, mode, authority);
        PostgresSettings::from_url(&url).expect("a URL").schema("test_tls").expect("a name")
    }

    async fn refused(&self, host: &str, mode: &str, authority: &str) -> ConnectError {
        refused(self.settings(host, mode, authority)).await
    }

    async fn end(self) {
        for setting in ["ssl", "ssl_cert_file", "ssl_key_file"] {
            self.place.run(&format!("ALTER SYSTEM RESET {setting}")).await;
        }
        self.reload("off").await;
    }
}

/// Where it is called so, by whom it is to be vouched for, and what is said of it.
const NOT_BELIEVED: [(&str, &str, &str, &str); 3] = [
    ("127.0.0.1", "verify-full", "ours.pem", "not valid for name"),
    ("localhost", "verify-full", "another.pem", "invalid peer certificate"),
    ("localhost", "verify-ca", "another.pem", "invalid peer certificate"),
];

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs PostgreSQL"]
async fn postgres_is_believed_by_its_certificate_and_for_its_name() {
    let place = Place::new("tls").await;
    let stage = Stage::new(&place).await;
    for mode in ["verify-full", "verify-ca"] {
        let store = connected(stage.settings("localhost", mode, "ours.pem").timeout(PATIENCE)).await;
        assert_eq!(Proof::new(1, mode).at(&store).await, Ok(Seen::Never));
        assert_eq!(Proof::new(1, mode).at(&store).await, Ok(Seen::Before));
        let in_the_clear = "SELECT count(*) FROM pg_stat_ssl JOIN pg_stat_activity USING (pid) \
                            WHERE application_name = 'keybound' AND NOT ssl";
        assert_eq!(place.number(in_the_clear).await, 0);
        let ciphered = in_the_clear.replace("NOT ssl", "ssl");
        assert!(place.number(&ciphered).await > 0);
    }
    for (host, mode, authority, words) in NOT_BELIEVED {
        let error = stage.refused(host, mode, authority).await;
        let said = error.to_string();
        assert!(said.contains("TLS fails") && said.contains(words), "{host} {mode} {authority}: {said}");
        assert!(error.is_configuration(), "{said}");
    }
    stage.end().await;
}

/// The store of an issuer, which waits for a server that is not there yet: this one is, and will be no other.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs PostgreSQL"]
async fn postgres_that_is_not_believed_is_not_waited_for_by_an_issuer() {
    let place = Place::new("tls_issuer").await;
    let stage = Stage::new(&place).await;
    let opened = async |url: String| {
        let opening = move || open(&Location::Postgres(url.into()), now());
        tokio::task::spawn_blocking(opening).await.expect("no panic").map_err(|error| error.to_string())
    };
    let right = stage.url("localhost", "verify-full", "ours.pem");
    opened(right.clone()).await.expect("a store");
    for (host, mode, authority, words) in NOT_BELIEVED {
        let begun = Instant::now();
        let said = opened(stage.url(host, mode, authority)).await.expect_err("no store");
        assert!(said.contains("TLS fails") && said.contains(words), "{host} {mode} {authority}: {said}");
        assert!(begun.elapsed() < WAITED, "{said}");
    }
    let (encrypted, begun) = (stage.url("localhost", "require", "ours.pem"), Instant::now());
    stage.end().await;
    let said = opened(encrypted).await.expect_err("no store");
    assert!(said.contains("TLS fails: ") && said.contains("does not support TLS"), "{said}");
    // The certificates went with the stage.
    let said = opened(right).await.expect_err("no store");
    assert!(said.contains("sslrootcert") && said.contains("No such file"), "{said}");
    assert!(begun.elapsed() < WAITED, "{said}");
}
