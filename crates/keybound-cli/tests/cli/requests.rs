//! `keybound token` and `keybound request` against the self-contained default.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt as _;

use serde_json::Value;

use crate::support::{Place, Said, Service, after, claims, free_address};

struct Api {
    place: Place,
    /// Stopped when this is dropped.
    _service: Service,
    secret: String,
    base: String,
    issuer: String,
}

impl Api {
    fn start() -> Self {
        let place = Place::new();
        let mut service = place.start(&["serve", "--listen", "127.0.0.1:0"]);
        let export = service.line("export KEYBOUND_CLIENT_SECRET=");
        let base = format!("http://{}", service.address());
        let secret = after(&export, "export KEYBOUND_CLIENT_SECRET=").to_owned();
        Self { place, _service: service, secret, issuer: format!("{base}/issuer"), base }
    }

    fn url(&self, path: &str) -> String {
        format!("{}{path}", self.base)
    }

    /// `command` as the client `demo`, with its secret in the environment.
    fn run(&self, command: &str, args: &[&str]) -> Said {
        let access = [command, "--issuer", &self.issuer, "--client-id", "demo"];
        self.place.run_with(&[("KEYBOUND_CLIENT_SECRET", &self.secret)], &[&access[..], args].concat())
    }
}

fn lines(said: &Said) -> Vec<Value> {
    said.stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

// R-CLI-17: the newest nonce is used from then on, and one token serves all.
#[test]
fn several_urls_share_token_and_nonce() {
    let api = Api::start();
    let urls = [api.url("/hello"), api.url("/orders/1"), api.url("/orders/2?page=1")];
    let urls: Vec<&str> = urls.iter().map(String::as_str).collect();
    let said = api.run("request", &[&["--json", "-v"][..], &urls].concat());
    said.good();
    let answers = lines(&said);
    let attempts: Vec<_> = answers.iter().map(|answer| answer["attempts"].as_u64().unwrap()).collect();
    assert_eq!(attempts, [2, 1, 1], "{said:?}"); // the first was told the nonce
    let asked = said.stderr.lines().filter(|line| line.contains("> POST ") && line.ends_with("/issuer/token")).count();
    assert_eq!(asked, 2, "one token, got with the issuer's nonce: {said:?}");
    assert!(!said.stderr.contains("DPoP ey") && !said.stderr.contains(&api.secret), "no secrets: {said:?}");

    // And the next run has the token from this user's files.
    let said = api.run("request", &[&["-v"][..], &urls].concat());
    assert!(said.good().contains("\"path\": \"/orders/2\""), "{said:?}");
    assert!(!said.stderr.contains("/issuer/token"), "{said:?}");
    assert!(said.stderr.contains("token from the cache; the issuer is not asked"), "{said:?}");
    let said = api.run("request", &[&["-v", "--fresh"][..], &urls].concat());
    assert!(said.good().contains("\"path\": \"/orders/2\""), "{said:?}");
    assert!(said.stderr.contains("/issuer/token") && !said.stderr.contains("from the cache"), "{said:?}");
}

#[test]
fn sends_what_it_is_told_to() {
    let api = Api::start();
    let said = api.run("request", &["-d", "sku=17", "-i", &api.url("/orders")]);
    assert!(said.good().starts_with("HTTP/1.1 200 OK\r\n"), "{said:?}");
    assert!(said.stdout.contains("\"method\": \"POST\""), "{said:?}");
    let said = api.run("request", &["-X", "DELETE", "-o", "answer.json", &api.url("/orders/1")]);
    assert_eq!(said.good(), "");
    let kept = fs::read_to_string(api.place.work().join("answer.json")).unwrap();
    assert!(kept.contains("\"method\": \"DELETE\""), "{kept}");
    let said = api.run("request", &["-H", "Authorization: Bearer x", &api.url("/hello")]);
    assert_eq!(said.status, 2, "the client's own fields stay its own: {said:?}");
}

#[test]
fn a_token_is_kept_until_a_fresh_one_is_asked_for() {
    let api = Api::start();
    let first = api.run("token", &[]);
    assert_eq!(api.run("token", &[]).good(), first.good());
    let said = api.run("token", &["--fresh", "--json"]);
    let fresh = said.json();
    assert_ne!(fresh["access_token"], first.stdout.trim());
    assert_eq!(fresh["token_type"], "DPoP");
    assert_eq!(claims(fresh["access_token"].as_str().unwrap())["cnf"]["jkt"], fresh["jkt"]);

    // With its key, it can be handed over; with another key it is worth nothing.
    let key = api.place.run(&["key", "list", "--json"]).json()[0]["name"].as_str().unwrap().to_owned();
    api.place.run(&["key", "new", "thief"]).good();
    let token = [("KEYBOUND_TOKEN", fresh["access_token"].as_str().unwrap())];
    api.place.run_with(&token, &["request", "--key", &key, &api.url("/hello")]).good();
    let said = api.place.run_with(&token, &["request", "--key", "thief", &api.url("/hello")]);
    assert_eq!(said.status, 1);
    assert!(said.stderr.contains("401 Unauthorized invalid_token\n  key.mismatch: "), "{said:?}");
    assert!(said.stderr.contains("  do: use the key the token was issued for\n"), "{said:?}");
}

#[test]
fn the_secret_comes_from_a_file_or_the_environment() {
    let api = Api::start();
    let access = ["token", "--issuer", &api.issuer, "--client-id", "demo", "--fresh"];
    api.place.write("secret", &format!("{}\n", api.secret));
    api.place.run(&[&access[..], &["--client-secret-file", "secret"]].concat()).good();
    api.place.run(&[&access[..], &["--client-secret", &api.secret]].concat()).good();
    api.place.run_with(&[("KEYBOUND_CLIENT_SECRET", &api.secret)], &access).good();

    let wrong = api.place.run_with(&[("KEYBOUND_CLIENT_SECRET", "another secret")], &access);
    let none = api.place.run(&access);
    for said in [wrong, none] {
        assert_eq!(said.status, 1, "{said:?}");
        assert!(said.stderr.contains("client.authentication"), "{said:?}");
        assert!(!said.stderr.contains("another secret"), "{said:?}");
    }
    api.place.write("empty", "\n");
    for (file, expected) in [("empty", "empty: there is no secret in it"), ("missing", "missing: No such file")] {
        let said = api.place.run(&[&access[..], &["--client-secret-file", file]].concat());
        assert_eq!(said.status, 2, "{said:?}");
        assert!(said.stderr.starts_with(&format!("error: {expected}")), "{said:?}");
    }
}

// R-CLI-28
#[test]
fn each_client_has_a_key_of_its_own() {
    let api = Api::start();
    let keys = || {
        let listed = api.place.run(&["key", "list", "--json"]).json();
        listed.as_array().unwrap().iter().map(|key| key["jkt"].to_string()).collect::<Vec<_>>()
    };
    api.run("token", &[]).good();
    api.run("token", &["--fresh"]).good();
    let [first] = &keys()[..] else { panic!("{:?}", keys()) };
    let other = ["token", "--issuer", &api.issuer, "--client-id", "other"];
    assert_eq!(api.place.run(&other).status, 1, "the issuer does not know it");
    let both = keys();
    assert_eq!(both.len(), 2);
    assert_ne!(both[0], both[1]);
    assert!(both.contains(first), "{both:?}");
}

// What is wrong with a key is said, and it stays as it is: another one would end whatever is bound to it.
#[test]
fn a_damaged_key_is_not_replaced() {
    let api = Api::start();
    api.run("token", &[]).good();
    let mut keys = fs::read_dir(api.place.path().join("home/keys")).unwrap();
    let path = keys.next().unwrap().unwrap().path();
    let whole = fs::read_to_string(&path).unwrap();
    let other = whole.replace("\"d\":\"", "\"d\":\"AAAA");
    for (text, mode, expected) in [
        ("", 0o600, "no PEM block"),
        (&whole[..whole.len() / 2], 0o600, "not a JWK"),
        (&other, 0o600, ""),
        (&whole, 0o644, "chmod 600"),
    ] {
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, Permissions::from_mode(mode)).unwrap();
        let said = api.run("token", &["--fresh"]);
        assert_eq!((said.status, &*said.stdout), (1, ""), "{said:?}");
        assert!(said.stderr.starts_with(&format!("error: {}: ", path.display())), "{said:?}");
        assert!(said.stderr.contains(expected), "{said:?}");
        assert_eq!(fs::read_to_string(&path).unwrap(), text);
    }
    fs::remove_file(&path).unwrap();
    let said = api.run("token", &["--fresh"]);
    said.good();
    assert!(said.stderr.contains("made the key auto-"), "a new one is not made in silence: {said:?}");
}

// RFC 9728: the resource's 401 says which issuer, and tokens are got from none that was not named
#[test]
fn the_resource_names_its_issuer() {
    let api = Api::start();
    let secret = [("KEYBOUND_CLIENT_SECRET", &*api.secret)];
    let run = |issuer: &str| {
        let url = api.url("/orders?page=1");
        api.place.run_with(&secret, &["request", "--discover", issuer, "--client-id", "demo", "-v", &url])
    };
    let said = run(&api.issuer);
    assert!(said.good().contains("\"client\": \"demo\""), "{said:?}");
    assert!(said.stderr.contains("/.well-known/oauth-protected-resource"), "{said:?}");
    let said = run("https://other.example");
    assert_eq!(said.status, 1, "{said:?}");
    assert!(
        said.stderr.contains(&format!("no issuer that this client gets tokens from, but [{}]", api.issuer)),
        "{said:?}"
    );
}

// R-CLI-12
#[test]
fn plain_http_stays_on_this_machine() {
    let place = Place::new();
    place.run(&["key", "new", "k"]).good();
    // 192.0.2.0/24 is nobody's: were it asked, this would be a timeout.
    let said = place.run(&["request", "--key", "k", "--token", "abc", "http://192.0.2.1/orders"]);
    assert_eq!(said.status, 2, "{said:?}");
    assert!(said.stderr.contains("is plain http: tokens and proofs go over https only"), "{said:?}");
    let said = place.run(&["token", "--issuer", "http://192.0.2.1", "--client-id", "demo"]);
    assert_eq!(said.status, 2, "{said:?}");
    assert!(said.stderr.contains("is plain http"), "{said:?}");
}

#[test]
fn what_is_missing_is_asked_for() {
    let place = Place::new();
    for (args, expected) in [
        (&["request", "https://api.example.com/"][..], "there is no token: give --issuer and --client-id to get one"),
        (&["token"], "--issuer and --client-id are needed to get a token"),
        (&["request", "--token", "abc", "https://api.example.com/"], "--key"),
        (&["request"], "<URL>"),
    ] {
        let said = place.run(args);
        assert_eq!(said.status, 2, "{said:?}");
        assert!(said.stderr.contains(expected), "{said:?}");
    }
}

#[test]
fn mistakes_on_the_command_line_are_told_from_failures() {
    let place = Place::new();
    place.run(&["key", "new", "k"]).good();
    let nowhere = format!("http://{}", free_address());
    let (request, token) = (["request", "--key", "k", "--token", "abc"], ["token", "--client-id", "demo"]);
    for (mut args, expected) in [
        ([&request[..], &["notaurl"]].concat(), "not an absolute http or https URL"),
        ([&request[..], &["-H", "DPoP: x"]].concat(), "the field dpop is set by this client"),
        ([&request[..], &["-d", "@nofile"]].concat(), "nofile: No such file"),
        (vec!["request", "--key", "nokey", "--token", "abc"], "there is no key \"nokey\""),
        ([&token[..], &["--issuer", "notaurl"]].concat(), "not an absolute http or https URL"),
        ([&token[..], &["--issuer", "http://id.example.com"]].concat(), "is plain http"),
        ([&token[..], &["--issuer", &nowhere, "--client-secret-file", "nofile"]].concat(), "nofile: No such file"),
        ([&token[..], &["--issuer", &nowhere, "--private-key", "nofile"]].concat(), "nofile: No such file"),
    ] {
        if args[0] == "request" {
            args.push(&nowhere);
        }
        let said = place.run(&args);
        assert_eq!(said.status, 2, "{args:?}: {said:?}");
        assert!(said.stderr.contains(expected), "{args:?}: {said:?}");
    }
    let keys = place.run(&["key", "list"]);
    assert_eq!(keys.good().lines().count(), 1, "no key is made for a mistake: {keys:?}");
}

#[test]
fn who_is_not_there_is_said_in_one_line() {
    let place = Place::new();
    place.run(&["key", "new", "k"]).good();
    let nowhere = format!("http://{}", free_address());
    let expected = format!("{nowhere} cannot be reached: Connection refused (os error 111); is it running?\n");
    let said = place.run(&["request", "--key", "k", "--token", "abc", &nowhere]);
    assert_eq!((said.status, said.stderr), (1, format!("error: {nowhere}: {expected}")));
    let said = place.run(&["token", "--issuer", &nowhere, "--client-id", "demo", "--key", "k"]);
    assert_eq!((said.status, said.stderr), (1, format!("error: {expected}")));
}
