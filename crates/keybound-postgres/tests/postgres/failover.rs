//! A copy of the server that takes over.

use std::fs;
use std::net::TcpListener;
use std::path::PathBuf;

use keybound::replay::{ReplayStore as _, Seen};
use keybound_postgres::PostgresSettings;

use crate::support::{PATIENCE, Place, Proof, connected, refused, shell};

/// A copy, gone when dropped.
struct Replica {
    folder: PathBuf,
    port: u16,
}

impl Replica {
    fn of(place: &Place) -> Self {
        let folder = std::env::temp_dir().join(format!("keybound-replica-{}", std::process::id()));
        // Beside it, the user of the server may write.
        let folder = crate::support::data().with_file_name(folder.file_name().expect("a name"));
        let mut replica = Self { folder, port: 0 };
        let (url, path) = (place.server.url(), replica.folder.display());
        assert!(shell(&format!("BIN/pg_basebackup -d {url} -D {path} -R -X stream -c fast")));
        // No sooner: meanwhile another might take it.
        replica.port = TcpListener::bind("127.0.0.1:0").expect("a port").local_addr().expect("an address").port();
        let options = format!(
            "-p {} -h 127.0.0.1 -k {}",
            replica.port,
            crate::support::data().parent().expect("a folder").display()
        );
        assert!(shell(&format!("BIN/pg_ctl start -w -t 60 -D {path} -o \"{options}\" -l {path}/log >/dev/null")));
        replica
    }

    fn settings(&self) -> PostgresSettings {
        let url = format!("postgres://keybound@127.0.0.1:{}/postgres", self.port);
        PostgresSettings::from_url(&url).expect("a URL").timeout(PATIENCE).schema("test_failover").expect("a name")
    }
}

impl Drop for Replica {
    fn drop(&mut self) {
        let path = self.folder.display();
        shell(&format!("BIN/pg_ctl stop -m immediate -D {path} >/dev/null"));
        if let Err(error) = fs::remove_dir_all(&self.folder) {
            eprintln!("{path}: {error}");
        }
    }
}

// What a copy has not, or not yet, is not missed: it has no marker, and so an epoch of its own.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs PostgreSQL"]
async fn postgres_that_takes_over_begins_an_epoch() {
    let place = Place::new("failover").await;
    let node = place.node().await;
    let replica = Replica::of(&place);
    let used = Proof::new(1, "used");
    assert_eq!(used.at(&node).await, Ok(Seen::Never));
    let said = refused(replica.settings()).await.to_string();
    assert!(said.ends_with("is a replica, where nothing can be recorded"), "{said}");
    assert!(shell(&format!("BIN/pg_ctl promote -w -D {} >/dev/null", replica.folder.display())));

    let after = connected(replica.settings().may_fail_over()).await;
    assert_ne!(after.epoch().id(), node.epoch().id());
    assert_eq!(used.under(node.epoch(), &after).await, Ok(Seen::Forgotten));
    // Two that both take themselves for the primary: a nonce of the one is good at the other nowhere, and without one nothing passes.
    assert!(after.needs_nonces());
    assert_eq!(after.epoch(), keybound::replay::Epoch::of_nonces_alone(after.epoch().id()));
    assert_eq!(Proof::new(1, "new").at(&after).await, Ok(Seen::Never));
}
