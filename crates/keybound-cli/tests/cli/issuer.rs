//! `keybound issuer`: alone, with a file or without one.

use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt as _;

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
