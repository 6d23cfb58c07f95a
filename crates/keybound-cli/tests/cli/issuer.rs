//! `keybound issuer`: alone, with a file or without one.

use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt as _;

use keybound::crypto::Alg;
use keybound::crypto::aws_lc::SoftwareKey;

use crate::support::{Place, after, body, claims, free_address, get};

#[test]
fn without_a_file_it_issues_bound_tokens() {
    let place = Place::new();
    let mut service = place.start(&["issuer", "--listen", "127.0.0.1:0"]);
    let export = service.line("export KEYBOUND_CLIENT_SECRET=");
    let printed = service.line("keybound token ");
    let address = service.address();

    let metadata = body(&get(address, "/.well-known/oauth-authorization-server", ""));
    assert_eq!(metadata["issuer"], format!("http://{address}"));
    assert_eq!(metadata["token_endpoint"], format!("http://{address}/token"));
    assert!(metadata["dpop_signing_alg_values_supported"].as_array().unwrap().contains(&"ES256".into()));

    let words: Vec<&str> = printed.split_whitespace().skip(1).chain(["--json"]).collect();
    let secret = [("KEYBOUND_CLIENT_SECRET", after(&export, "export KEYBOUND_CLIENT_SECRET="))];
    let said = place.run_with(&secret, &words);
    said.good();
    let answer = said.json();
    let token = claims(answer["access_token"].as_str().unwrap());
    assert_eq!(token["cnf"]["jkt"], answer["jkt"]); // R-AS-03
    assert_eq!(answer["jkt"], place.run(&["key", "list", "--json"]).json()[0]["jkt"]);
    assert_eq!((&token["iss"], &token["aud"]), (&metadata["issuer"], &"http://127.0.0.1:8080".into()));

    assert!(get(address, "/elsewhere", "").starts_with("HTTP/1.1 404 "));
    assert_eq!(service.terminate(), Some(0));
    assert_eq!(fs::read_dir(place.work()).unwrap().count(), 0);
}

#[test]
fn its_listener_is_as_strict_as_the_gateways() {
    let place = Place::new();
    let mut service = place.start(&["issuer", "--listen", "127.0.0.1:0"]);
    let address = service.address();
    let answer = get(address, "/.well-known/oauth-authorization-server", "Host: evil.example\r\n");
    assert!(answer.starts_with("HTTP/1.1 400 "), "{answer}"); // R-URI-10
    assert_eq!(body(&answer)["reason"], "host.invalid");
    let answer = get(address, "/jwks", "Content-Length: 0\r\nTransfer-Encoding: chunked\r\n");
    assert!(answer.starts_with("HTTP/1.1 400 "), "{answer}");
}

#[test]
fn says_what_it_cannot_start_with() {
    let place = Place::new();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap();
    let said = place.run(&["issuer", "--listen", &address.to_string()]);
    assert_eq!(said.status, 1);
    assert!(said.stderr.contains("pick another port: keybound issuer --listen 127.0.0.1:"), "{said:?}");

    let said = place.run(&["issuer", "--listen", "0.0.0.0:0"]);
    let expected = "error: without --config, issuer is for trying out: it listens on loopback only; to listen \
                    elsewhere, give --config\n";
    assert_eq!((said.status, &*said.stderr), (2, expected));

    for (text, expected) in [
        ("[listen]\naddress = \"127.0.0.1:0\"\n", "issuer.toml: authorization_server: there is none"),
        (
            "[authorization_server]\nurl = \"http://127.0.0.1:1\"\n",
            "issuer.toml:2: authorization_server.audience: is missing",
        ),
        (
            "[authorization_server]\nurl = \"http://127.0.0.1:1\"\naudience = [\"x:y\"]\nstore = \"disk\"\n",
            "issuer.toml:4: authorization_server.store: \"disk\" is not a store",
        ),
    ] {
        place.write("issuer.toml", text);
        let said = place.run(&["issuer", "--config", "issuer.toml"]);
        assert_eq!(said.status, 2, "{said:?}");
        assert!(said.stderr.starts_with(&format!("error: {expected}")), "{said:?}");
        assert_eq!(place.run(&["config", "check", "--issuer", "issuer.toml"]).stderr, said.stderr);
    }
}

#[test]
fn its_key_outlives_it_and_is_never_replaced() {
    let place = Place::new();
    let address = free_address();
    fs::create_dir(place.work().join("etc")).unwrap();
    place.write(
        "etc/issuer.toml",
        &format!(
            "[listen]\naddress = \"{address}\"\n[authorization_server]\nurl = \"http://{address}\"\n\
             audience = [\"https://api.example.com\"]\nsigning_key = \"issuer-key.json\"\n"
        ),
    );
    let start = || place.start(&["issuer", "--config", "etc/issuer.toml"]);
    let keys = || {
        let mut service = start();
        service.address();
        let keys = body(&get(address, "/jwks", ""));
        assert_eq!(service.terminate(), Some(0));
        keys
    };
    let first = keys();
    assert_eq!(keys(), first);
    let path = place.work().join("etc/issuer-key.json"); // beside the configuration, not where it was started
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    assert!(first["keys"][0].get("d").is_none());

    fs::write(&path, "spoilt").unwrap();
    let said = place.run(&["issuer", "--config", "etc/issuer.toml"]);
    assert_eq!(said.status, 2, "{said:?}");
    assert!(said.stderr.contains("etc/issuer-key.json: no PEM block with a private key"), "{said:?}");
    assert_eq!(fs::read_to_string(&path).unwrap(), "spoilt");
}

#[test]
fn its_keys_are_listed_rotated_and_revoked_while_it_runs() {
    let place = Place::new();
    let address = free_address();
    place.write(
        "issuer.toml",
        &format!(
            "[listen]\naddress = \"{address}\"\n[authorization_server]\nurl = \"http://{address}\"\n\
             audience = [\"https://api.example.com\"]\nstore = \"sqlite:id.db\"\n"
        ),
    );
    let kids = |keys: &serde_json::Value| -> Vec<String> {
        keys.as_array().unwrap().iter().map(|key| key["kid"].as_str().unwrap().to_owned()).collect()
    };
    let published = || kids(&body(&get(address, "/jwks", ""))["keys"]);
    let command = |words: &[&str]| {
        let said = place.run(&[&["issuer", "key"], words, &["--config", "issuer.toml", "--json"]].concat());
        assert_eq!(said.status, 0, "{said:?}");
        serde_json::from_str::<serde_json::Value>(&said.stdout).unwrap()
    };
    let sealing = place.work().join("id.db.key");
    for what in ["list", "rotate"] {
        let said = place.run(&["issuer", "key", what, "--config", "issuer.toml"]);
        let words = "id.db: there is no such file; the issuer makes it when it starts";
        assert!(said.status == 2 && said.stderr.contains(words), "{said:?}");
        assert!(!place.work().join("id.db").exists() && !sealing.exists(), "nothing is made by looking");
    }
    let mut service = place.start(&["issuer", "--config", "issuer.toml"]);
    service.address();
    assert_eq!(fs::metadata(&sealing).unwrap().permissions().mode() & 0o777, 0o600);
    let first = command(&["list"]);
    assert_eq!(kids(&first), published());
    assert_eq!([&first[0]["state"], &first[1]["state"]], ["signing", "next"]);

    // The next one was published a moment ago: it waits until verifiers may know it.
    let waiting = command(&["rotate"]);
    assert_eq!(kids(&waiting), kids(&first));
    assert_eq!(waiting[1]["signs"], waiting[1]["published"].as_u64().unwrap() + 3600);

    let stolen = kids(&first)[0].clone();
    let after = command(&["rotate", "--revoke", &stolen]);
    assert_eq!(kids(&after)[0], kids(&first)[1]);
    assert_eq!([&after[0]["state"], &after[1]["state"]], ["signing", "next"]);
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(30);
    while published() != kids(&after) {
        assert!(std::time::Instant::now() < deadline, "the running issuer does not learn of it");
        std::thread::sleep(std::time::Duration::from_millis(50));
    }
    let said = place.run(&["issuer", "key", "rotate", "--config", "issuer.toml", "--revoke", &stolen]);
    assert_eq!(
        (said.status, said.stderr.contains(&format!("there is no signing key {stolen:?}"))),
        (2, true),
        "{said:?}"
    );
    assert_eq!(service.terminate(), Some(0));

    // Without what they are sealed under, nothing starts, and nothing is made in its place.
    let aside = place.work().join("aside");
    fs::rename(&sealing, &aside).unwrap();
    let said = place.run(&["issuer", "--config", "issuer.toml"]);
    assert_eq!(said.status, 2, "{said:?}");
    assert!(
        said.stderr.contains("id.db.key: is not there, and the signing keys in the store were sealed under it"),
        "{said:?}"
    );
    assert!(!sealing.exists());
    fs::write(&sealing, format!("{}\n", "A".repeat(43))).unwrap();
    fs::set_permissions(&sealing, fs::Permissions::from_mode(0o600)).unwrap();
    let said = place.run(&["issuer", "--config", "issuer.toml"]);
    assert_eq!(said.status, 2, "{said:?}");
    assert!(said.stderr.contains("was sealed under another key"), "{said:?}");
    fs::rename(&aside, &sealing).unwrap();
    assert_eq!(kids(&command(&["list"])), kids(&after));
}

#[test]
fn another_key_in_its_file_follows_at_sighup() {
    let place = Place::new();
    let address = free_address();
    place.write(
        "issuer.toml",
        &format!(
            "[listen]\naddress = \"{address}\"\n[authorization_server]\nurl = \"http://{address}\"\n\
             audience = [\"https://api.example.com\"]\nsigning_key = \"issuer-key.json\"\n"
        ),
    );
    let mut service = place.start(&["issuer", "--config", "issuer.toml"]);
    service.address();
    let published = || body(&get(address, "/jwks", ""))["keys"].as_array().unwrap().clone();
    let first = published();
    assert_eq!(first.len(), 1);
    let next = SoftwareKey::generate(Alg::Ed25519).unwrap();
    fs::write(place.work().join("issuer-key.json"), next.to_private_jwk().unwrap().as_bytes()).unwrap();
    service.signal("HUP");
    service.line("SIGHUP: signing_key was read again");
    let both = published();
    assert_eq!((both.len(), &both[0]), (2, &first[0]));
    assert_eq!(both[1]["kid"], next.thumbprint().to_string());
    assert_eq!(service.terminate(), Some(0));
}
