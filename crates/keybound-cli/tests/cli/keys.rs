//! `keybound key`.

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Command;

use crate::support::{Place, after};

/// P-256 as `openssl ecparam -genkey` writes it.
const SEC1: &str = "-----BEGIN EC PRIVATE KEY-----
MHcCAQEEIBdb5s2MghD8sBLbv8HFwpUCIlal7WjYJZAGmqa2naCCoAoGCCqGSM49
AwEHoUQDQgAEJLoQvq2051hELmat7FRWWT/dR14akGBG3iP3TM6/1LCKtcNWaSWU
KcvejDcAqF8G5rod5hFbcXO/XmkkNpaH3Q==
-----END EC PRIVATE KEY-----
";

/// On a curve that is none of ours.
const SECP256K1: &str = "-----BEGIN EC PRIVATE KEY-----
MHQCAQEEIDNzuQzrbqrmVOE3vaem2Vw2MOdmkpxYihfazu9aNhGdoAcGBSuBBAAK
oUQDQgAE9g3W55afFPlDTTcA72BcBmRToq1XzdRUsnFssBVWv+k+EVEX6ZMLzUYd
gOdMCnbKDlHFiILQjYCgyiL5VmaE0w==
-----END EC PRIVATE KEY-----
";

/// RSA of 1024 bits.
const SHORT: &str = "-----BEGIN RSA PRIVATE KEY-----
MIICXQIBAAKBgQDFTxrqR7P7kgYhFGAXmn5nWBH8yDtkpTrEpQ4bThJDhHJsoj5w
nb00/3rAa9Yuz+P9VX6avrD8DxCdIwr2vGiCRS40iyTvJ98w7nd11jpPMt0d7Q0P
ZTT3Z5Q6kZ6ZI3Pd7pIBIln6U3gFccITl0pfgp6c37SwlizRHuyjR2VXIwIDAQAB
AoGBAJu3hJxlHmxqoB+3Puch7KSO4xNGy2jw5eKQCQQPp2ZVvyBxIyops0uCXVRD
RvQG6f3jXVmvKWqkUQ5Su7Jim27fBhg7fPG8EXFPsprrjp+KzBVychbbVRhQhl24
wZ6AyAZSY7AP9X9SDTrFkxn6Kr+dvepJfXAgNuykPM8Pny0RAkEA/OTaU8CnXLEy
3kDafqotNUWolxsrDRINDx86CjO6Nl+37U/VNp3+mTTbq9q2fxTqjX+eecy621KL
r54uFKXUbQJBAMe7e4dhXTNK1N4dT8WNzRG89G/uqI6Fq5tpOI/k8yrvd4gaiI7i
FqKwn4I5cvIIzZ8AXajqD3WVZizYx/PO/88CQQCIG4OF4AIzWQtPowf1dBGwwjTi
XrTk6/orUVsjcoOeEBYlmvnd01rbih9Qdv4Rl2hFj5Hza8SFlf+oHTIf2sBhAkBK
kohjmommvfjOWVlQZEo9pjQJmqzaUbQp2VZh+1SDIleZvHZiCq3y3kkf4P02uuyy
wfs2NvXArCAy/FljgVTnAkAKoeqbhpfIOVfV13EMvS24z6wGaKnpgc9pjepI9P99
mkw4Gcr0w3TxR1xzxJWzgp8nk2n+23Jb7OAuKpxfFtC+
-----END RSA PRIVATE KEY-----
";

/// A key file of others, which is its owner's alone.
fn private(place: &Place, name: &str, text: &str) {
    let path = place.write(name, text);
    mode(&path, 0o600);
}

fn mode(path: &Path, mode: u32) {
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
}

#[test]
fn a_key_from_its_making_to_its_end() {
    let place = Place::new();
    let made = place.run(&["key", "new", "orders", "--json"]).json();
    assert_eq!((&made["name"], &made["alg"]), (&"orders".into(), &"ES256".into()));
    let jkt = made["jkt"].as_str().unwrap();

    assert_eq!(place.run(&["key", "thumbprint", "orders"]).good(), format!("{jkt}\n"));
    assert_eq!(place.run(&["key", "list"]).good(), format!("orders  ES256    {jkt}\n"));
    assert_eq!(place.run(&["key", "list", "--json"]).json(), serde_json::json!([made]));

    let public = place.run(&["key", "show", "orders"]).json();
    assert!(public.get("d").is_none(), "a private key is shown only where it is asked for");
    let private = place.run(&["key", "show", "orders", "--private"]);
    assert!(private.json().get("d").is_some());
    place.write("copy.jwk", private.good());
    let said = place.run(&["key", "thumbprint", "copy.jwk"]);
    assert_eq!(said.status, 1, "{said:?}");
    assert!(said.stderr.contains("others may read it (mode 644); mend that: chmod 600 copy.jwk"), "{said:?}");

    let said = place.run(&["key", "new", "orders"]);
    assert_eq!(said.status, 2, "{said:?}");
    assert!(said.stderr.contains("is there already and stays; delete it first, or take another name"), "{said:?}");

    let said = place.run(&["key", "delete", "orders"]);
    assert_eq!((said.status, &*said.stderr), (2, "error: nobody is here to be asked; give --yes\n"));
    for args in [&["key", "delete", "order"][..], &["key", "delete", "order", "--yes"]] {
        let said = place.run(args);
        assert!(said.status == 2 && said.stderr.starts_with("error: there is no key \"order\" in "), "{said:?}");
    }
    place.run(&["key", "delete", "orders", "--yes"]).good();
    assert_eq!(place.run(&["key", "list", "--json"]).json(), serde_json::json!([]));
    let said = place.run(&["key", "show", "orders"]);
    assert_eq!(said.status, 2);
    assert!(said.stderr.starts_with("error: there is no key \"orders\" in "), "{said:?}");
}

#[test]
fn names_lead_nowhere_else() {
    let place = Place::new();
    for name in ["../orders", "a/b", ".hidden", "a b", ""] {
        let said = place.run(&["key", "new", name]);
        assert_eq!(said.status, 2, "{said:?}");
        assert!(said.stderr.contains("is no name for a key"), "{said:?}");
    }
    let said = place.run(&["key", "new", "small", "--alg", "RS256", "--size", "1024"]);
    assert_eq!(said.status, 2, "{said:?}");
    let said = place.run(&["key", "new", "mac", "--alg", "HS256"]);
    assert_eq!(said.status, 2, "{said:?}");
}

#[test]
fn a_public_key_is_enough_for_what_is_public() {
    let place = Place::new();
    place.run(&["key", "new", "orders"]).good();
    let public = place.run(&["key", "show", "orders"]);
    place.write("public.jwk", public.good()); // others may read it
    let thumbprint = place.run(&["key", "thumbprint", "orders"]);
    assert_eq!(place.run(&["key", "thumbprint", "public.jwk"]).good(), thumbprint.good());
    assert_eq!(place.run(&["key", "show", "public.jwk"]).good(), public.good());
    let said = place.run(&["key", "show", "--private", "public.jwk"]);
    assert_eq!((said.status, &*said.stdout), (1, ""), "{said:?}");
    place.write("public.pem", "-----BEGIN PUBLIC KEY-----\nMCowBQYDK2VwAyEA\n-----END PUBLIC KEY-----\n");
    for file in ["public.jwk", "public.pem"] {
        let said = place.run(&["proof", "--key", file, "https://api.example.com/"]);
        assert!(said.stderr.starts_with(&format!("error: {file}: a public key; give the private one")), "{said:?}");
    }
}

// Nobody writes to the pipe: whoever opened it would wait for ever.
#[test]
fn a_pipe_is_no_key() {
    let place = Place::new();
    assert!(Command::new("mkfifo").arg(place.work().join("pipe")).status().unwrap().success());
    for args in [
        &["key", "thumbprint", "pipe"][..],
        &["key", "show", "pipe"],
        &["proof", "--key", "pipe", "https://api.example.com/"],
    ] {
        let said = place.run(args);
        assert_eq!((said.status, &*said.stderr), (1, "error: pipe: not a regular file\n"), "{args:?}");
    }
}

#[test]
fn keys_of_other_programs_are_taken_over() {
    let place = Place::new();
    let generated = rcgen::KeyPair::generate_for(&rcgen::PKCS_ED25519).unwrap();
    private(&place, "pkcs8.pem", &generated.serialize_pem());
    private(&place, "sec1.pem", SEC1);
    for (name, file, alg) in [("a", "pkcs8.pem", "Ed25519"), ("b", "sec1.pem", "ES256")] {
        let made = place.run(&["key", "import", name, file, "--json"]).json();
        assert_eq!((&made["name"], &made["alg"]), (&name.into(), &alg.into()));
        let kept = place.path().join(format!("home/keys/{name}.jwk"));
        assert_eq!(kept.metadata().unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(place.run(&["key", "thumbprint", file]).good(), place.run(&["key", "thumbprint", name]).good());
    }
    // From a pipe, and as JWK; RSA by the algorithm that is asked for.
    let b = place.run(&["key", "show", "b", "--private"]);
    assert!(place.run_on(b.good(), &["key", "import", "c", "-"]).good().starts_with("c  ES256  "));
    place.run(&["key", "new", "rsa", "--alg", "RS256"]).good();
    let rsa = place.run(&["key", "show", "rsa", "--private"]);
    let said = place.run_on(rsa.good(), &["key", "import", "d", "-", "--alg", "PS256", "--json"]);
    assert_eq!(said.json()["alg"], "PS256");

    let before = place.run(&["key", "list"]);
    let said = place.run(&["key", "import", "a", "sec1.pem"]);
    assert_eq!(said.status, 2, "{said:?}");
    assert!(said.stderr.contains("is there already and stays"), "{said:?}");
    assert_eq!(place.run(&["key", "list"]).good(), before.good());
}

#[test]
fn what_is_no_good_key_is_not_taken_over() {
    let place = Place::new();
    private(
        &place,
        "encrypted.pem",
        "-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE KEY-----\n",
    );
    private(&place, "curve.pem", SECP256K1);
    private(&place, "short.pem", SHORT);
    private(&place, "cut.pem", &SEC1[..90]);
    private(&place, "public.pem", "-----BEGIN PUBLIC KEY-----\nMCowBQYDK2VwAyEA\n-----END PUBLIC KEY-----\n");
    private(&place, "mac.jwk", r#"{"kty":"oct","k":"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"}"#);
    private(&place, "empty", "");
    private(&place, "long", &"x".repeat(65 * 1024));
    place.write("open.pem", SEC1);
    mode(&place.work().join("open.pem"), 0o644);
    for (args, status, expected) in [
        (&["encrypted.pem"][..], 1, "the key is encrypted; decrypt it first"),
        (&["curve.pem"], 1, "not a private key of a supported kind"),
        (&["short.pem"], 1, "RSA of 2048 to 4096 bits"),
        (&["cut.pem"], 1, "its base64 is damaged"),
        (&["public.pem"], 1, "a public key; give the private one"),
        (&["mac.jwk"], 1, "mac.jwk: "),
        (&["empty"], 1, "no PEM block"),
        (&["long"], 1, "larger than 64 KiB"),
        (&["open.pem"], 1, "chmod 600 open.pem"),
        (&["absent.pem"], 2, "absent.pem: No such file"),
    ] {
        let said = place.run(&[&["key", "import", "k"], args].concat());
        assert_eq!((said.status, &*said.stdout), (status, ""), "{args:?}: {said:?}");
        assert!(said.stderr.contains(expected), "{args:?}: {said:?}");
        assert!(!said.stderr.contains("MHcC"), "{said:?}");
    }
    private(&place, "sec1.pem", SEC1);
    let said = place.run(&["key", "import", "k", "sec1.pem", "--alg", "RS256"]);
    assert_eq!(said.status, 2, "{said:?}");
    assert!(said.stderr.contains("RS256 does not work with a key of the kind P256"), "{said:?}");
    assert_eq!(place.run(&["key", "list", "--json"]).json(), serde_json::json!([]));
}

// A new key for new tokens, while the old one finishes.
#[test]
fn a_key_is_rotated() {
    let place = Place::new();
    let mut api = place.start(&["serve", "--listen", "127.0.0.1:0"]);
    let secret = after(&api.line("export KEYBOUND_CLIENT_SECRET="), "export KEYBOUND_CLIENT_SECRET=").to_owned();
    let (issuer, url) = (format!("http://{}/issuer", api.address()), format!("http://{}/hello", api.address()));
    let access = ["--issuer", &issuer, "--client-id", "demo", "--client-secret", &secret, "--key", "orders"];
    let token = |more: &[&str]| place.run(&[&["token", "--json"], &access[..], more].concat()).json();
    let seen = || place.run(&[&["request"], &access[..], &[&url]].concat()).json()["jkt"].clone();

    let old = place.run(&["key", "new", "orders", "--json"]).json()["jkt"].clone();
    let first = token(&[]);
    assert_eq!(first["jkt"], old);

    let rotated = place.run(&["key", "rotate", "orders", "--json"]).json();
    let new = rotated["jkt"].clone();
    assert_eq!((&rotated["name"], &rotated["former"]), (&"orders".into(), &"orders~1".into()));
    let list =
        format!("orders    ES256    {}\norders~1  ES256    {}  former\n", new.as_str().unwrap(), old.as_str().unwrap());
    assert_eq!(place.run(&["key", "list"]).good(), list);
    assert_eq!(place.run(&["key", "list", "--json"]).json()[1]["former_of"], "orders");

    assert_eq!(token(&[])["access_token"], first["access_token"]);
    assert_eq!(seen(), old, "its token has not ended");
    // The same token, given: its key is found by what it says.
    let given = first["access_token"].as_str().unwrap();
    let said = place.run(&["request", "--token", given, "--key", "orders", &url]);
    assert_eq!(said.json()["jkt"], old, "{said:?}");
    let proof = place.run(&["proof", "--key", "orders", "--token", given, &url]);
    let explained = place.run(&["explain", "--json", proof.good().trim()]).json();
    assert_eq!(explained["jkt"], old, "{explained}");
    assert_eq!(token(&["--fresh"])["jkt"], new);
    assert_eq!(seen(), new);

    // Once more, by another algorithm; both former keys are there, and go when the key goes.
    let third = place.run(&["key", "rotate", "orders", "--alg", "Ed25519"]);
    assert!(third.good().starts_with("orders  Ed25519  "), "{third:?}");
    assert!(third.stderr.contains("the key before it is orders~2"), "{third:?}");
    place.run(&["key", "delete", "orders~1", "--yes"]).good();
    assert_eq!(seen(), new);
    let broken = place.path().join("home/keys/orders~2.jwk");
    std::fs::write(&broken, "{").unwrap();
    let said = place.run(&[&["request"], &access[..], &[&url]].concat());
    assert_eq!(said.status, 1, "a key that cannot be read is said, not passed over: {said:?}");
    assert!(said.stderr.contains("orders~2.jwk"), "{said:?}");
    place.run(&["key", "delete", "orders", "--yes"]).good();
    assert_eq!(place.run(&["key", "list"]).good(), "");

    for (args, expected) in [
        (&["key", "rotate", "orders"][..], "No such file"),
        (&["key", "rotate", "orders~1"], "No such file"),
        (&["key", "new", "orders~1"], "is no name for a key"),
    ] {
        let said = place.run(args);
        assert_eq!(said.status, 2, "{said:?}");
        assert!(said.stderr.contains(expected), "{said:?}");
    }
}

// Without the feature for it, a key is not put elsewhere than asked for: that is said.
#[cfg(not(feature = "os-key-store"))]
#[test]
fn a_keeper_that_is_not_in_this_build() {
    let place = Place::new();
    for (variables, args) in [
        (&[][..], &["key", "new", "k", "--key-store", "os"][..]),
        (&[("KEYBOUND_KEY_STORE", "os")], &["key", "new", "k"]),
    ] {
        let said = place.run_with(variables, args);
        assert_eq!(said.status, 1, "{said:?}");
        assert!(said.stderr.contains("is not in this build"), "{said:?}");
    }
    let said = place.run_with(&[("KEYBOUND_KEY_STORE", "safe")], &["key", "new", "k"]);
    assert_eq!((said.status, &*said.stderr), (2, "error: KEYBOUND_KEY_STORE is file or os\n"));
    place.run_with(&[("KEYBOUND_KEY_STORE", "os")], &["key", "new", "k", "--key-store", "file"]).good();
}

// Whatever is in the way is named.
#[test]
fn a_file_where_keys_and_tokens_are_to_be() {
    let place = Place::new();
    let home = place.write("home", "a file").display().to_string();
    let variables: [(&str, &str); 1] = [("KEYBOUND_HOME", &home)];
    let issuer = ["token", "--issuer", "http://127.0.0.1:1", "--client-id", "a"];
    for words in [&["key", "new", "k"][..], &issuer] {
        let said = place.run_with(&variables, words);
        assert!(said.status == 1 && said.stderr.contains(&home), "{said:?}");
        assert!(!said.stderr.contains("is there already"), "{said:?}");
    }
    std::fs::remove_file(&home).unwrap();
    std::fs::create_dir(&home).unwrap();
    place.write("home/tokens", "a file");
    let said = place.run_with(&variables, &issuer);
    assert!(said.status == 1 && said.stderr.contains(&format!("{home}/tokens")), "{said:?}");
}

#[test]
fn a_ring_of_nonce_keys_is_made_once_and_turned_where_it_is() {
    let place = Place::new();
    let run = |words: &[&str]| place.run(&[&["config", "nonce-keys"], words].concat());
    let said = run(&["--turn", "ring.json"]);
    assert!(said.status == 2 && said.stderr.contains("ring.json: No such file"), "{said:?}");
    assert_eq!(run(&["--json", "ring.json"]).json()["current"], 1);
    let said = run(&["ring.json"]);
    assert!(said.status == 2 && said.stderr.contains("ring.json is there already and stays"), "{said:?}");
    assert_eq!(run(&["--turn", "--json", "ring.json"]).json()["current"], 2);
    place.write("open.json", "{}");
    assert_eq!(run(&["--turn", "open.json"]).status, 1);
}
