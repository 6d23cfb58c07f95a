//! `keybound issuer client|user|audit`: on the store of an issuer that runs.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::fs::PermissionsExt as _;

use serde_json::{Value, json};

use crate::support::{PATIENCE, Place, Service, body, free_address, get};

const SECRET: &str = "a-secret-of-administrators";

/// An issuer on a file, which runs, with an admin listener of its own.
struct Scene {
    place: Place,
    service: Service,
    address: SocketAddr,
    admin: SocketAddr,
}

impl Scene {
    fn new() -> Self {
        let (place, address, admin) = (Place::new(), free_address(), free_address());
        let secret = place.write("secret", SECRET);
        fs::set_permissions(secret, fs::Permissions::from_mode(0o600)).unwrap();
        let text = format!(
            "[listen]\naddress = \"{address}\"\nadmin = \"{admin}\"\nadmin_secret_file = \"secret\"\n\
             [authorization_server]\nurl = \"http://{address}\"\naudience = [\"https://api.example.com\"]\n\
             store = \"sqlite:id.db\"\naudit_file = \"audit.jsonl\"\n\
             [[authorization_server.client]]\nclient_id = \"fixed\"\nclient_secret = \"0123456789abcdef\"\n\
             grant_types = [\"client_credentials\"]\n"
        );
        place.write("issuer.toml", &text);
        let mut service = place.start(&["issuer", "--config", "issuer.toml"]);
        service.address();
        Self { place, service, address, admin }
    }

    fn run(&self, args: &[&str]) -> crate::support::Said {
        self.place.run(&[&["issuer"], args, &["--config", "issuer.toml"]].concat())
    }

    /// Whether this client gets a token now.
    fn token(&self, id: &str, secret: &str) -> bool {
        let issuer = format!("http://{}", self.address);
        let args = ["token", "--issuer", &issuer, "--client-id", id, "--fresh"];
        self.place.run_with(&[("KEYBOUND_CLIENT_SECRET", secret)], &args).status == 0
    }

    fn entries(&self, args: &[&str]) -> Vec<Value> {
        let said = self.run(&[&["audit", "--json"], args].concat());
        said.good().lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }
}

#[test]
fn clients_change_under_a_running_issuer() {
    let scene = Scene::new();
    let add = ["client", "add", "orders", "--grant", "client_credentials", "--scope", "read write", "--json"];
    let added = scene.run(&add);
    added.good();
    let client = added.json();
    let secret = client["client_secret"].as_str().unwrap().to_owned();
    assert_eq!((&client["dpop_bound_access_tokens"], &client["scope"]), (&json!(true), &json!("read write")));
    assert!(scene.token("orders", &secret));

    let again = scene.run(&add);
    assert_eq!((again.status, &*again.stderr), (2, "error: there is a client or user \"orders\" already\n"));
    let fixed = scene.run(&["client", "delete", "fixed", "--yes"]);
    assert!(fixed.status == 2 && fixed.stderr.contains("stands in the configuration"), "{fixed:?}");

    let text = scene.run(&["client", "secret", "orders"]);
    let other = crate::support::after(text.good(), "client_secret").trim().to_owned();
    assert!(!scene.token("orders", &secret) && scene.token("orders", &other));

    scene.run(&["client", "update", "orders", "--scope", "read", "--name", "Orders"]).good();
    let shown = scene.run(&["client", "show", "orders", "--json"]).json();
    assert_eq!(
        (&shown["scope"], &shown["client_name"], &shown["client_secret"]),
        (&json!("read"), &json!("Orders"), &Value::Null)
    );
    let listed = scene.run(&["client", "list"]);
    assert_eq!(listed.good(), "orders  client_secret_basic  client_credentials\n");

    let asked = scene.run(&["client", "delete", "orders"]);
    assert!(asked.status == 2 && asked.stderr.contains("--yes"), "{asked:?}");
    scene.run(&["client", "delete", "orders", "--yes"]).good();
    assert!(!scene.token("orders", &other));
    assert_eq!(scene.run(&["client", "show", "orders"]).status, 2);

    // A replay memory that is new wants a nonce of each proof first.
    let all = scene.entries(&[]);
    let asked: Vec<&Value> = all.iter().filter(|row| row["reason"] != "nonce.barrier").collect();
    let events: Vec<&str> = asked.iter().map(|row| row["event"].as_str().unwrap()).collect();
    let expected = [
        "key.made",
        "key.made",
        "client.registered",
        "token.issued",
        "client.secret",
        "request.refused",
        "token.issued",
        "client.changed",
        "client.deleted",
        "request.refused",
    ];
    assert_eq!(events, expected);
    let refused = scene.entries(&["--reason", "client.authentication", "--client", "orders", "--since", "1h"]);
    assert_eq!(refused.len(), 1, "of a client that is there: {refused:?}");
    assert_eq!(scene.entries(&["--limit", "1"])[0]["event"], "request.refused");
    assert_eq!(scene.entries(&["--event", "client."]).len(), 4);
    let text = scene.run(&["audit", "--event", "client.deleted"]);
    assert!(text.good().contains("client.deleted") && text.stdout.contains("  by=command  client=orders"), "{text:?}");
    assert_eq!(scene.run(&["audit", "--event", "client"]).status, 2);

    // What the issuer appended, and what the commands did: one file.
    let file = std::fs::read_to_string(scene.place.work().join("audit.jsonl")).unwrap();
    assert_eq!(file.lines().count(), all.len());
    let log = scene.place.path().join("work/id.db");
    let stored = String::from_utf8_lossy(&std::fs::read(log).unwrap()).into_owned();
    for made in [&secret, &other] {
        assert!(!stored.contains(made.as_str()) && !file.contains(made.as_str()), "a secret is kept");
    }
    assert_eq!(scene.service.terminate(), Some(0));
}

#[test]
fn users_come_and_go() {
    let scene = Scene::new();
    let password = "correct horse battery staple";
    let args =
        ["issuer", "user", "add", "Alice", "--config", "issuer.toml", "--password-stdin", "--email", "a@example.com"];
    let added = scene.place.run_on(&format!("{password}\n"), &args);
    assert!(added.good().contains("has_password  true") && !added.stdout.contains(password), "{added:?}");
    let made = scene.run(&["user", "add", "bob", "--generate", "--json"]).json();
    assert_eq!(made["password"].as_str().unwrap().len(), 24);
    assert_eq!(scene.run(&["user", "add", "ALICE", "--no-password"]).status, 2);
    let asked = scene.run(&["user", "add", "carol"]);
    assert!(asked.status == 2 && asked.stderr.contains("--password-stdin"), "{asked:?}");
    assert_eq!(scene.run(&["user", "add", "a b", "--no-password"]).status, 2);

    assert_eq!(scene.run(&["user", "disable", "alice", "--json"]).json()["disabled"], true);
    let listed = scene.run(&["user", "list"]);
    let rows: Vec<&str> = listed.good().lines().collect();
    assert!(
        rows.len() == 2 && rows[0].starts_with("Alice  disabled") && rows[1].starts_with("bob    enabled"),
        "{rows:?}"
    );
    assert_eq!(scene.run(&["user", "enable", "alice", "--json"]).json()["disabled"], false);
    for (text, fault) in [
        ("another one\nand a second line\n", "more than one line"),
        ("another one\n\n", "more than one line"),
        ("another\rone", "more than one line"),
        ("\n", "no password"),
        ("", "no password"),
    ] {
        scene.place.write("new", text);
        let refused = scene.run(&["user", "password", "alice", "--password-file", "new"]);
        assert!(
            refused.status == 2 && refused.stderr.contains(&format!("new: holds {fault}")),
            "{text:?}: {refused:?}"
        );
        let args = ["issuer", "user", "password", "alice", "--config", "issuer.toml", "--password-stdin"];
        let refused = scene.place.run_on(text, &args);
        assert!(
            refused.status == 2 && refused.stderr.contains(&format!("standard input: holds {fault}")),
            "{refused:?}"
        );
    }
    scene.place.write("new", "another one\r\n");
    scene.run(&["user", "password", "alice", "--password-file", "new"]).good();
    assert_eq!(scene.run(&["user", "revoke", "alice"]).good(), "");
    scene.run(&["user", "delete", "alice", "--yes"]).good();
    assert_eq!(scene.run(&["user", "show", "alice"]).status, 2);
    let events: Vec<_> = scene.entries(&["--event", "user."]).iter().map(|row| row["event"].clone()).collect();
    let expected = ["user.added", "user.added", "user.disabled", "user.enabled", "user.password", "user.deleted"];
    assert_eq!(events, expected);
}

/// As `tail -f -n 2` does: two from before, and then only what is new, in its order.
#[test]
fn the_log_is_followed_from_so_many_on() {
    let scene = Scene::new();
    let add = |id: &str| scene.run(&["client", "add", id, "--grant", "client_credentials"]).good().to_owned();
    for id in ["a", "b", "c"] {
        add(id);
    }
    let filter = ["--event", "client.registered", "--json"];
    let follow = ["--config", "issuer.toml", "--follow", "--limit", "2"];
    let mut followed = scene.place.start(&[&["issuer", "audit"], &filter[..], &follow[..]].concat());
    followed.line("\"client\":\"c\"");
    add("d");
    followed.line("\"client\":\"d\"");
    let rows = followed.said().iter().map(|line| serde_json::from_str::<Value>(line).unwrap());
    let clients: Vec<_> = rows.map(|row| row["client"].clone()).collect();
    assert_eq!(clients, ["b", "c", "d"]);
    assert_eq!(scene.entries(&["--limit", "0"]), [Value::Null; 0]);
}

#[test]
fn a_store_can_be_named_and_must_be_one() {
    let place = Place::new();
    let run = |args: &[&str]| place.run(&[&["issuer", "client"], args].concat());
    let add = ["add", "a", "--grant", "device_code", "--store", "sqlite:id.db", "--json"];
    let mistyped = run(&add);
    assert!(mistyped.status == 2 && mistyped.stderr.contains("--create"), "{mistyped:?}");
    let added = run(&[&add[..], &["--create"]].concat());
    assert_eq!(added.json()["grant_types"], json!(["urn:ietf:params:oauth:grant-type:device_code"]));
    assert_eq!(run(&["list", "--store", "sqlite:id.db", "--json"]).json().as_array().unwrap().len(), 1);
    for (args, said) in [
        (&["list"][..], "--config"),
        (&["list", "--store", "sqlite:idd.db"], "sqlite:idd.db: there is no such file"),
        (&["delete", "a", "--store", "sqlite:idd.db"], "sqlite:idd.db: there is no such file"),
        (&["add", "b", "--config", "x.toml", "--create", "--grant", "client_credentials"], "--store"),
        (&["list", "--store", "memory"], "admin listener"),
        (&["list", "--store", "mysql://x"], "not a store; give sqlite:FILE or postgres://"),
        (&["list", "--store", "id.db"], "if it is an SQLite file: sqlite:id.db"),
        (&["list", "--config", "none.toml"], "none.toml"),
        (&["add", "b", "--store", "sqlite:id.db"], "--grant"),
        (
            &["add", "b", "--store", "sqlite:id.db", "--grant", "password"],
            "not a grant of this issuer; there are authorization_code, client_credentials, ",
        ),
        (&["update", "a", "--store", "sqlite:id.db"], "--scope"),
        (&["secret", "b", "--store", "sqlite:id.db"], "there is no client \"b\""),
    ] {
        let refused = run(args);
        assert!(refused.status == 2 && refused.stderr.contains(said), "{args:?}: {refused:?}");
    }
    for args in [
        &["user", "list"][..],
        &["user", "show", "a"],
        &["user", "add", "a", "--no-password"],
        &["user", "password", "a", "--generate"],
        &["user", "revoke", "a"],
        &["audit"],
    ] {
        let refused = place.run(&[&["issuer"], args, &["--store", "sqlite:idd.db"]].concat());
        assert!(refused.status == 2 && refused.stderr.contains("there is no such file"), "{args:?}: {refused:?}");
    }
    assert!(!place.work().join("idd.db").exists(), "nothing comes of a name that was mistyped");

    // Where a configuration names the store, the first client may be there before the issuer.
    let text = "[authorization_server]\nurl = \"http://127.0.0.1:1\"\naudience = [\"x:y\"]\n";
    place.write("new.toml", &format!("{text}store = \"sqlite:new.db\"\n"));
    let refused = run(&["list", "--config", "new.toml"]);
    let said = "new.db: there is no such file; the issuer makes it when it starts";
    assert!(refused.status == 2 && refused.stderr.contains(said), "{refused:?}");
    assert!(!place.work().join("new.db").exists());
    run(&["add", "a", "--config", "new.toml", "--grant", "client_credentials"]).good();
    run(&["list", "--config", "new.toml"]).good();
    place.write("memory.toml", text);
    let refused = run(&["list", "--config", "memory.toml"]);
    assert!(refused.status == 2 && refused.stderr.contains("authorization_server.store: is memory"), "{refused:?}");
    place.write("broken.db", "this is no database, whatever it is called");
    let refused = run(&["list", "--store", "sqlite:broken.db"]);
    assert!(refused.status == 1 && refused.stderr.contains("damaged or no SQLite database"), "{refused:?}");
}

/// What left is in the log, whatever becomes of the process.
#[test]
fn a_token_that_left_is_in_the_log_after_kill_9() {
    let mut scene = Scene::new();
    let issuer = format!("http://{}", scene.address);
    let args = ["token", "--issuer", &issuer, "--client-id", "fixed", "--fresh"];
    let mut issued = Vec::new();
    for _ in 0..5 {
        let said = scene.place.run_with(&[("KEYBOUND_CLIENT_SECRET", "0123456789abcdef")], &args);
        issued.push(crate::support::claims(said.good())["jti"].clone());
    }
    scene.service.signal("KILL");
    scene.service.ended();
    let entries = scene.entries(&["--event", "token.issued", "--client", "fixed"]);
    let noted: Vec<_> = entries.iter().map(|row| row["jti"].clone()).collect();
    assert_eq!(noted, issued);
}

fn asked(address: SocketAddr, method: &str, path: &str, fields: &str, text: &str) -> String {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let length = text.len();
    let head =
        format!("{method} {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\nContent-Length: {length}\r\n");
    stream.write_all(format!("{head}{fields}\r\n{text}").as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

#[test]
fn the_admin_listener_of_an_issuer_alone() {
    let scene = Scene::new();
    let secret = format!("Authorization: Bearer {SECRET}\r\n");
    assert!(get(scene.admin, "/healthz", "").starts_with("HTTP/1.1 200 "));
    assert_eq!(body(&get(scene.admin, "/readyz", "")), json!({ "ready": true }));
    let ready = json!({ "ready": true, "missing": [], "degraded": [] });
    assert_eq!(body(&get(scene.admin, "/readyz", &secret)), ready);
    for path in ["/metrics", "/v1/clients", "/elsewhere"] {
        assert!(get(scene.admin, path, "").starts_with("HTTP/1.1 401 "), "{path}");
    }
    let client = json!({ "client_id": "orders", "grant_types": ["client_credentials"], "scope": "read" }).to_string();
    let fields = format!("{secret}Content-Type: application/json\r\n");
    let added = asked(scene.admin, "POST", "/v1/clients", &fields, &client);
    assert!(added.starts_with("HTTP/1.1 201 "), "{added}");
    assert!(scene.token("orders", body(&added)["client_secret"].as_str().unwrap()));
    assert!(!scene.token("orders", "x"));
    let metrics = get(scene.admin, "/metrics", &secret);
    for line in [
        "keybound_issuer_tokens_total{grant=\"client_credentials\",token_type=\"DPoP\"} 1",
        "keybound_issuer_refusals_total{endpoint=\"token\",reason=\"client.authentication\"} 1",
        // One proof was used, in a memory of this process.
        "keybound_replay_entries 1",
        "keybound_replay_store_there 1",
        "keybound_replay_memory_limit_bytes 268435456",
    ] {
        assert!(metrics.contains(line), "{line}: {metrics}");
    }
    assert_eq!(body(&get(scene.admin, "/openapi.json", ""))["openapi"], "3.1.1");
    let strange = format!("{secret}Origin: https://evil.example\r\n");
    assert!(get(scene.admin, "/v1/clients", &strange).starts_with("HTTP/1.1 403 "));
    let answer = get(scene.admin, "/v1/audit?event=token.issued", &secret);
    assert_eq!(body(&answer)["entries"].as_array().unwrap().len(), 1);
    assert_eq!(scene.service.terminate(), Some(0));
}
