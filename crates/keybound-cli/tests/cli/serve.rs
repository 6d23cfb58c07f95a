//! `keybound serve`, self-contained and with a file.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::thread;
use std::time::Duration;

use crate::support::{PATIENCE, Place, Service, after, body, free_address, get, say};

/// The secret and the two commands that `serve` prints, words apart.
fn printed(service: &mut Service) -> (String, Vec<String>, String) {
    let export = service.line("export KEYBOUND_CLIENT_SECRET=");
    let request = service.line("keybound request ");
    let curl = service.line("curl -i ");
    // The very program that printed it: nobody has to put it on a path first.
    assert_eq!(request.split_whitespace().next(), Some(env!("CARGO_BIN_EXE_keybound")));
    let words = request.split_whitespace().skip(1).map(str::to_owned).collect();
    (after(&export, "export KEYBOUND_CLIENT_SECRET=").to_owned(), words, after(&curl, "curl -i http://").to_owned())
}

#[test]
fn the_printed_lines_get_in_and_curl_does_not() {
    let place = Place::new();
    let mut service = place.start(&["serve", "--listen", "127.0.0.1:0"]);
    let (secret, request, curl) = printed(&mut service);
    let address = service.address();
    assert_eq!(curl, format!("{address}/hello"));

    let words: Vec<&str> = request.iter().map(String::as_str).collect();
    let said = place.run_with(&[("KEYBOUND_CLIENT_SECRET", &secret)], &words);
    assert!(said.good().contains("the gateway let you in"), "{said:?}");
    let jkt = said.json()["jkt"].as_str().unwrap().to_owned();
    assert_eq!(jkt.len(), 43, "the API is told whose key it was");

    let answer = get(address, "/hello", "");
    assert!(answer.starts_with("HTTP/1.1 401 "), "{answer}");
    assert!(answer.contains("www-authenticate: DPoP "), "{answer}");

    assert_eq!(service.terminate(), Some(0));
    assert_eq!(fs::read_dir(place.work()).unwrap().count(), 0, "nothing is written to the working directory");
    assert!(TcpStream::connect(address).is_err(), "nobody listens any more");
}

#[test]
fn without_a_file_it_stays_on_loopback() {
    let place = Place::new();
    for address in ["0.0.0.0:0", "192.0.2.1:8080", "[::]:0"] {
        let said = place.run(&["serve", "--listen", address]);
        assert_eq!(said.status, 2, "{said:?}");
        let expected = "error: without --config, serve is for trying out: it listens on loopback only; to listen elsewhere, \
                        give --config\n";
        assert_eq!(said.stderr, expected);
    }
    let said = place.run(&["serve", "--listen", "8080"]);
    assert_eq!((said.status, &*said.stderr), (2, "error: \"8080\" is no address such as 127.0.0.1:8080\n"));
}

/// The first step of a migration: nothing is asked for, and so nobody's tokens are.
#[test]
fn open_routes_need_no_issuer() {
    let place = Place::new();
    let text = gateway("127.0.0.1:0", "http://127.0.0.1:9", &sample());
    let (before, rest) = text.split_once("[[issuer]]").unwrap();
    let (_, route) = rest.split_once("\n\n").unwrap();
    place.write("keybound.toml", &format!("{before}{route}mode = \"open\"\n"));
    place.run(&["config", "check", "keybound.toml"]).good();
    let mut service = place.start(&["serve", "--config", "keybound.toml"]);
    let address = service.address();
    let answer = get(address, "/hello", "");
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    assert_eq!(service.terminate(), Some(0));
}

#[test]
fn a_port_in_use_names_the_command_that_picks_another() {
    let place = Place::new();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap();
    let said = place.run(&["serve", "--listen", &address.to_string()]);
    assert_eq!(said.status, 1, "{said:?}");
    let expected =
        format!("error: {address} is in use by another program; pick another port: keybound serve --listen 127.0.0.1:");
    assert!(said.stderr.starts_with(&expected), "{said:?}");

    place.write("keybound.toml", &gateway(&address.to_string(), "http://127.0.0.1:9", "http://127.0.0.1:9"));
    let said = place.run(&["serve", "--config", "keybound.toml"]);
    assert_eq!(said.status, 1, "{said:?}");
    assert!(said.stderr.contains("keybound serve --config keybound.toml --listen 127.0.0.1:"), "{said:?}");

    // The advice is good.
    let advice = after(&said.stderr, "pick another port: keybound ");
    let mut service = place.start(&advice.split_whitespace().collect::<Vec<_>>());
    assert!(advice.ends_with(&service.address().to_string()));
}

#[test]
fn five_mistakes_are_five_lines_and_status_2() {
    let place = Place::new();
    place.write(
        "keybound.toml",
        r#"
[listen]
adress = "127.0.0.1:8080"
[[origin]]
url = "http://api.example.com"
[[route]]
path = "/orders"
upstream = ["http://127.0.0.1:9000"]
mode = "requird"
[authorization_server]
url = "http://127.0.0.1:8080/issuer"
store = "disk"
[proof]
max_future = "90s"
"#,
    );
    let said = place.run(&["serve", "--config", "keybound.toml"]);
    assert_eq!((said.status, &*said.stdout), (2, ""));
    let expected = r#"error: keybound.toml:3: listen.adress: is not a setting; did you mean address?
keybound.toml:5: origin[0].url: "http://api.example.com" is plain http; use https: http is for loopback only
keybound.toml:9: route[0].mode: "requird" is not a mode; use required, optional, report or open
keybound.toml:12: authorization_server.store: "disk" is not a store; use "sqlite:keybound.db", "postgres://USER@HOST/DATABASE" or "memory"
keybound.toml:14: proof.max_future: is longer than 60s, which is the most
"#;
    assert_eq!(said.stderr, expected);
    assert_eq!(place.run(&["config", "check", "keybound.toml"]).stderr, expected);
}

#[test]
fn key_files_that_cannot_be_used_are_named() {
    let place = Place::new();
    let with = |jwks: &str| {
        let text = gateway(&free_address().to_string(), "http://127.0.0.1:9", "http://127.0.0.1:9");
        text.replace("[[route]]", &format!("jwks_file = \"{jwks}\"\n[[route]]"))
    };
    place.write("none.json", "this is no key set");
    place.write("private.json", r#"{"keys":[{"kty":"oct","k":"c2VjcmV0"}]}"#);
    for (file, expected) in [
        ("missing.json", "keybound.toml:10: issuer[0].jwks_file: \"missing.json\" cannot be read: No such file"),
        ("none.json", "keybound.toml:10: issuer[0].jwks_file: \"none.json\": not a JWK set"),
        ("private.json", "keybound.toml:10: issuer[0].jwks_file: \"private.json\": keys[0]: "),
    ] {
        place.write("keybound.toml", &with(file));
        let said = place.run(&["serve", "--config", "keybound.toml"]);
        assert_eq!(said.status, 2, "{said:?}");
        assert!(said.stderr.starts_with(&format!("error: {expected}")), "{said:?}");
        assert!(!said.stderr.contains("c2VjcmV0"), "{said:?}");
        assert_eq!(place.run(&["config", "check", "keybound.toml"]).stderr, said.stderr);
    }
}

/// Checking is reading as `serve` would: with the environment; and its mistakes can be read by programs.
#[test]
fn a_check_reads_the_environment_and_prints_json() {
    let place = Place::new();
    let text = gateway(&free_address().to_string(), "http://127.0.0.1:9", "http://127.0.0.1:9");
    place.write("keybound.toml", &text);
    let check = ["config", "check", "keybound.toml"];
    let said = place.run(&check);
    assert_eq!((said.status, &*said.stdout), (0, "keybound.toml: no mistakes\n"));
    let variable = [("KEYBOUND_PROOF_NONCE", "maybe")];
    let said = place.run_with(&variable, &check);
    let expected =
        "error: KEYBOUND_PROOF_NONCE: proof.nonce: \"maybe\" is not a nonce policy; use off, offer or require\n";
    assert_eq!((said.status, &*said.stderr), (2, expected));

    let json = ["config", "check", "--json", "keybound.toml"];
    let said = place.run(&json);
    assert_eq!((said.status, &*said.stdout, &*said.stderr), (0, "", ""));
    place.write("keybound.toml", &["odd = 1\n", &*text].concat());
    let said = place.run_with(&variable, &json);
    assert_eq!((said.status, &*said.stderr), (2, ""));
    let objects: Vec<serde_json::Value> = said.stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let expected = serde_json::json!([
        {"file": "keybound.toml", "line": 1, "variable": null, "setting": "odd",
         "message": "is not a table of the configuration; keybound config default lists all"},
        {"file": "keybound.toml", "line": null, "variable": "KEYBOUND_PROOF_NONCE", "setting": "proof.nonce",
         "message": "\"maybe\" is not a nonce policy; use off, offer or require"},
    ]);
    assert_eq!(serde_json::Value::from(objects), expected);
    for what in ["check", "default", "schema"] {
        let said = place.run(&["config", what, "--help"]);
        assert!(said.stdout.contains("Example"), "{said:?}");
        assert!(said.stdout.contains(&format!("keybound config {what}")), "{said:?}");
    }
}

/// All or nothing: a file with mistakes is told about, line by line, and changes nothing.
#[test]
fn a_hangup_reads_the_file_again() {
    let place = Place::new();
    let text = gateway(&free_address().to_string(), "http://127.0.0.1:9", &sample());
    let more = |path: &str, mode: &str| {
        format!("{text}[[route]]\npath = \"{path}\"\nupstream = [\"{}\"]\nmode = \"{mode}\"\n", sample())
    };
    place.write("keybound.toml", &more("/before", "open"));
    let mut service = place.start(&["serve", "--config", "keybound.toml"]);
    let address = service.address();
    let status = |path: &str| get(address, path, "")[9..12].to_owned();
    assert_eq!((&*status("/before"), &*status("/after")), ("200", "401"));

    place.write("keybound.toml", &more("/after", "opne"));
    service.signal("HUP");
    service.line("route[1].mode: \"opne\" is not a mode");
    service.line("the one before stays in force");
    assert_eq!((&*status("/before"), &*status("/after")), ("200", "401"));

    place.write("keybound.toml", &more("/after", "open"));
    service.signal("HUP");
    service.line("read again and is in force");
    assert_eq!((&*status("/before"), &*status("/after")), ("401", "200"));
    assert_eq!(service.terminate(), Some(0));
}

/// What is set holds at once, for what is not logged otherwise.
#[test]
fn the_level_of_the_log_changes_while_it_runs() {
    let place = Place::new();
    let text = gateway("127.0.0.1:0", "http://127.0.0.1:9", &sample());
    place.write("keybound.toml", &text.replace("[[route]]", "[[route]]\nmode = \"open\""));
    let mut service = place.start(&["serve", "--config", "keybound.toml"]);
    let address = service.address();
    let admin = after(&service.line(" admin="), " admin=").parse().unwrap();
    let level = |filter: &str| {
        let length = filter.len();
        let fields = format!("Host: {admin}\r\nConnection: close\r\nContent-Length: {length}\r\n");
        body(&say(admin, format!("POST /loglevel HTTP/1.1\r\n{fields}\r\n{filter}")))
    };
    assert_eq!(body(&get(admin, "/loglevel", ""))["level"], "info");
    // Why a connection broke off is no news, unless somebody wants to know.
    let break_off = || assert!(say(address, "no HTTP\r\n\r\n").starts_with("HTTP/1.1 400 "));
    assert_eq!(level("info,keybound_gateway::front=debug")["level"], "keybound_gateway::front=debug,info");
    service.line("the log level was changed filter=\"info,keybound_gateway::front=debug\"");
    break_off();
    service.line("DEBUG keybound_gateway::front");
    assert!(level("dbug")["error"].as_str().unwrap().contains("\"dbug\" is not a level"));
    assert_eq!(level("error")["level"], "error");
    break_off();
    service.signal("TERM");
    assert_eq!(service.ended().code(), Some(0));
    assert_eq!(service.said().iter().filter(|line| line.contains("DEBUG")).count(), 1, "of the first alone");
}

/// Other proxies ask at a listener of its own, which begins and ends with the gateway's.
#[test]
fn decisions_have_a_listener_of_their_own() {
    let place = Place::new();
    let [address, admin, decisions, ext_authz] = [(); 4].map(|()| free_address());
    let text = gateway(&address.to_string(), "http://127.0.0.1:9", &sample());
    let text = text + "[[route]]\npath = \"/public\"\nmode = \"open\"\n";
    let text = text.replace("admin = \"127.0.0.1:0\"", &format!("admin = \"{admin}\""));
    let peers = format!("ext_authz = \"{ext_authz}\"\ndecision_peers = [\"127.0.0.1\"]\n");
    let at = |listener: &str| text.replace("[listen]\n", &format!("[listen]\ndecisions = \"{listener}\"\n{peers}"));
    place.write("keybound.toml", &at(&decisions.to_string()));
    let mut service = place.start(&["serve", "--config", "keybound.toml"]);
    assert_eq!(service.address(), address);
    service.line(&format!("listening for questions of other proxies address={decisions}"));
    service.line(&format!("listening for questions of Envoy address={ext_authz}"));

    let ask = |path: &str| get(decisions, "/any", &format!("X-Forwarded-Method: GET\r\nX-Forwarded-Uri: {path}\r\n"));
    assert!(ask("/public").starts_with("HTTP/1.1 200 "));
    let answer = ask("/hello");
    assert!(answer.starts_with("HTTP/1.1 401 ") && answer.contains("www-authenticate: DPoP "), "{answer}");
    assert!(get(decisions, "/public", "").starts_with("HTTP/1.1 500 "));
    service.line("x-forwarded-method is missing");
    assert!(get(ext_authz, "/public", "").starts_with("HTTP/1.1 415 "), "that is no gRPC");
    service.line("this is no call of gRPC");
    let asked = body(&get(admin, "/status.json", ""))["asked"].clone();
    let listener = |at: usize| (asked[at]["setting"].clone(), asked[at]["address"].clone());
    assert_eq!(listener(0), ("listen.decisions".into(), decisions.to_string().into()), "{asked}");
    assert_eq!(listener(1), ("listen.ext_authz".into(), ext_authz.to_string().into()), "{asked}");
    let metrics = get(admin, "/metrics", "");
    assert!(metrics.contains("keybound_decision_connections{listener=\"ext_authz\"} "), "{metrics}");
    assert!(metrics.contains("reason=\"decision.fields\""), "{metrics}");
    assert!(get(address, "/public", "").starts_with("HTTP/1.1 404 "), "it has no upstream");

    place.write("keybound.toml", &at("127.0.0.1:9"));
    service.signal("HUP");
    service.line("listen.decisions: differs from what this process runs with, and needs a restart");

    // A second one finds the port taken, and says which setting it is.
    place.write("keybound.toml", &at(&decisions.to_string()));
    let taken = place.run(&["serve", "--listen", &free_address().to_string(), "--config", "keybound.toml"]);
    assert_eq!(taken.status, 1, "{taken:?}");
    assert!(taken.stderr.contains("[listen] decisions = "), "{taken:?}");
    assert_eq!(service.terminate(), Some(0));
    for port in [address, decisions, ext_authz] {
        assert!(TcpStream::connect(port).is_err(), "nobody listens any more");
    }
}

/// Who is not among the peers of Envoy's listener is not answered, and the log says so; another port for it needs a restart.
#[test]
fn envoys_listener_is_for_its_peers() {
    let place = Place::new();
    let [address, ext_authz, other] = [(); 3].map(|()| free_address());
    let at = |listener: std::net::SocketAddr| {
        let listen = format!("[listen]\next_authz = \"{listener}\"\ndecision_peers = [\"192.0.2.1\"]\n");
        gateway(&address.to_string(), "http://127.0.0.1:9", &sample()).replace("[listen]\n", &listen)
    };
    place.write("keybound.toml", &at(ext_authz));
    let mut service = place.start(&["serve", "--config", "keybound.toml"]);
    assert_eq!(service.address(), address);
    let answer = get(ext_authz, "/", "Content-Type: application/grpc\r\n");
    assert!(answer.starts_with("HTTP/1.1 200 ") && answer.contains("grpc-status: 7\r\n"), "{answer}");
    service.line("a question to listen.ext_authz from an address that is not in listen.decision_peers");
    place.write("keybound.toml", &at(other));
    service.signal("HUP");
    service.line("listen.ext_authz: differs from what this process runs with, and needs a restart");
    place.write("keybound.toml", &at(ext_authz));
    let taken = place.run(&["serve", "--listen", &other.to_string(), "--config", "keybound.toml"]);
    assert_eq!(taken.status, 1, "{taken:?}");
    assert!(taken.stderr.contains("[listen] ext_authz = "), "{taken:?}");
    assert_eq!(service.terminate(), Some(0));
}

/// An issuer that is down at the start costs its tokens a 503, until it is there; nobody restarts anything.
#[test]
fn an_issuer_that_is_down_is_waited_for() {
    let place = Place::new();
    let (issuer_address, upstream) = (free_address(), sample());
    place.write("issuer.toml", &issuer(&issuer_address.to_string()));
    place.write("keybound.toml", &gateway(&free_address().to_string(), &format!("http://{issuer_address}"), &upstream));
    let start_issuer = || {
        let mut issuer = place.start(&["issuer", "--config", "issuer.toml"]);
        issuer.address();
        issuer
    };

    // A token from before: the issuer's key outlives it.
    let running = start_issuer();
    let access = ["--issuer", &format!("http://{issuer_address}"), "--client-id", "demo"];
    let secret = [("KEYBOUND_CLIENT_SECRET", "sixteen characters")];
    let token = place.run_with(&secret, &[&["token"][..], &access].concat());
    let key = place.run(&["key", "list", "--json"]).json()[0]["name"].as_str().unwrap().to_owned();
    assert_eq!(running.terminate(), Some(0));

    let mut service = place.start(&["serve", "--config", "keybound.toml"]);
    let url = format!("http://{}/hello", service.address());
    let ask =
        || place.run_with(&[("KEYBOUND_TOKEN", token.good().trim())], &["request", "--json", "--key", &key, &url]);
    let said = ask();
    assert_eq!((said.status, said.json()["status"].as_u64()), (1, Some(503)), "{said:?}");

    let _running = start_issuer();
    let answer = (0..30).map(|_| ask()).find(|said| {
        let answer = said.json();
        let wait = answer["headers"]["retry-after"][0].as_str().map(|seconds| seconds.parse().unwrap());
        // As the answer says, and no more than that.
        wait.map(Duration::from_secs).inspect(|wait| thread::sleep(*wait));
        answer["status"] == 200
    });
    assert!(answer.expect("it recovers by itself").good().contains("the sample answers"));
}

#[test]
fn sigterm_lets_the_request_in_flight_finish() {
    let place = Place::new();
    let upstream = TcpListener::bind("127.0.0.1:0").unwrap();
    let upstream_url = format!("http://{}", upstream.local_addr().unwrap());
    let text = gateway(&free_address().to_string(), "http://127.0.0.1:9", &upstream_url);
    place.write("keybound.toml", &text.replace("[[route]]", "[[route]]\nmode = \"open\""));
    let mut service = place.start(&["serve", "--config", "keybound.toml"]);
    let address = service.address();
    let asking = thread::spawn(move || get(address, "/slow", ""));
    let (mut stream, _) = upstream.accept().unwrap();
    stream.read_exact(&mut [0; 4]).unwrap();
    service.signal("TERM");
    while TcpStream::connect(address).is_ok() {
        thread::yield_now(); // until it takes no more connections
    }
    stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\nfinished").unwrap();
    let answer = asking.join().unwrap();
    assert!(answer.starts_with("HTTP/1.1 200 ") && answer.ends_with("finished"), "{answer}");
    assert_eq!(service.ended().code(), Some(0));
}

pub(crate) fn gateway(listen: &str, issuer: &str, upstream: &str) -> String {
    format!(
        r#"[listen]
address = "{listen}"
admin = "127.0.0.1:0"
[[origin]]
url = "http://{listen}"
[[issuer]]
url = "{issuer}"
audience = ["https://api.example.com"]

[[route]]
path = "/"
upstream = ["{upstream}"]
"#
    )
}

fn issuer(address: &str) -> String {
    format!(
        r#"
[listen]
address = "{address}"
[authorization_server]
url = "http://{address}"
audience = ["https://api.example.com"]
signing_key = "issuer-key.json"
[[authorization_server.client]]
client_id = "demo"
client_secret = "sixteen characters"
grant_types = ["client_credentials"]
"#
    )
}

/// An upstream that answers everything alike, for as long as the test runs.
pub(crate) fn sample() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            stream.set_read_timeout(Some(PATIENCE)).unwrap();
            thread::spawn(move || answer_all(stream));
        }
    });
    url
}

fn answer_all(mut stream: TcpStream) {
    let mut seen = Vec::new();
    let mut piece = [0; 4096];
    while let Ok(octets @ 1..) = stream.read(&mut piece) {
        seen.extend_from_slice(&piece[..octets]);
        if seen.ends_with(b"\r\n\r\n") {
            seen.clear();
            let answer = b"HTTP/1.1 200 OK\r\nContent-Length: 18\r\n\r\nthe sample answers";
            if stream.write_all(answer).is_err() {
                return;
            }
        }
    }
}
