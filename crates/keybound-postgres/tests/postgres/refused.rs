//! What cannot be a store is said at the start, in words, and without the password.

use std::fs;

use keybound::refusal::Fault;
use keybound::replay::{ReplayStore as _, Seen};
use keybound_postgres::PostgresSettings;

use crate::support::{Place, Proof, connected, data, eventually, refused};

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs PostgreSQL"]
async fn postgres_says_what_is_wrong() {
    let place = Place::new("refused").await;
    let url = |user: &str, database: &str| {
        let (_, at) = place.server.url().split_once('@').expect("a user");
        let (address, _) = at.split_once('/').expect("a database");
        format!("postgres://{user}@{address}/{database}")
    };
    let settings = |url: &str| PostgresSettings::from_url(url).expect("a URL").schema("test_refused").expect("a name");
    place.run("DROP ROLE IF EXISTS poor; CREATE ROLE poor LOGIN PASSWORD 'right'").await;
    let rules = data().join("pg_hba.conf");
    let all = fs::read_to_string(&rules).expect("rules");
    fs::write(&rules, format!("host all poor 127.0.0.1/32 scram-sha-256\n{all}")).expect("rules");
    place.run("SELECT pg_reload_conf()").await;

    for (url, is_configuration, words) in [
        (url("poor:hunter2", "postgres"), true, "user name or password is wrong"),
        (url("nobody", "postgres"), true, "user name or password is wrong"),
        (url("keybound", "missing"), true, "database \"missing\" does not exist"),
        (url("poor:right", "postgres"), true, "run CREATE SCHEMA test_refused AUTHORIZATION"),
        (url("keybound", "postgres?sslmode=require"), true, "TLS fails"),
        ("postgres://keybound@127.0.0.1:1/postgres".to_owned(), false, "cannot be reached"),
    ] {
        let error = refused(settings(&url)).await;
        let said = error.to_string();
        assert!(said.contains(words) && said.starts_with("PostgreSQL at postgres://127.0.0.1:"), "{url}: {said}");
        assert_eq!(error.is_configuration(), is_configuration, "{said}");
        assert!(!said.contains("hunter2"), "{said}");
    }
    // A schema that somebody has made for it is enough.
    place.run("CREATE SCHEMA test_refused AUTHORIZATION poor").await;
    connected(settings(&url("poor", "postgres")).password("right")).await;
    place.run("UPDATE {}.version SET version = 2").await;
    let said = refused(place.settings()).await.to_string();
    assert!(said.contains("its tables in test_refused are of version 2, and this is version 1"), "{said}");

    place.run("ALTER ROLE poor SET default_transaction_read_only = on").await;
    let error = refused(settings(&url("poor", "postgres")).password("right")).await;
    assert!(error.to_string().contains("takes no writes") && !error.is_configuration(), "{error}");

    fs::write(&rules, all).expect("rules");
    place.run("SELECT pg_reload_conf(); DROP SCHEMA {} CASCADE; DROP ROLE poor").await;
}

// A crash that leaves the marker and takes proofs would not show: that is seen at the start, and while it runs.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs PostgreSQL"]
async fn postgres_with_tables_that_are_logged_is_refused() {
    let place = Place::new("logged").await;
    let node = place.node().await;
    let (before, used) = (node.epoch(), Proof::new(1, "used"));
    assert_eq!(used.at(&node).await, Ok(Seen::Never));
    place.run("ALTER TABLE {}.proofs_3 SET LOGGED").await;
    let error = refused(place.settings()).await;
    assert!(error.is_configuration() && error.to_string().contains("UNLOGGED any more (proofs_3)"), "{error}");
    eventually("it to be noticed", async || !node.figures().is_there).await;
    assert_eq!(used.at(&node).await, Err(Fault::ReplayUnreachable));
    place.run("ALTER TABLE {}.proofs_3 SET UNLOGGED").await;
    eventually("a new epoch", async || node.figures().is_there && node.epoch() != before).await;
    assert_eq!(used.under(before, &node).await, Ok(Seen::Forgotten));
}
