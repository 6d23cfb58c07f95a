//! A gateway whose memory of used proofs is in a folder: killed, started again, out of room, and not the only one.

use std::fs;
use std::hash::Hasher as _;
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Command, Stdio};

use keybound::crypto::aws_lc::SoftwareKey;
use keybound::crypto::{Alg, Signer as _};
use serde_json::json;
use siphasher::sip::SipHasher13;

use crate::client::{Client, ISSUER, ORIGIN, now};
use crate::serve::sample;
use crate::support::{Place, Service, after, body, free_address, get};

const SERVE: [&str; 3] = ["serve", "--config", "keybound.toml"];

/// A client with a token, and the configuration of a gateway that accepts it.
struct Scene {
    place: Place,
    client: Client,
    admin: SocketAddr,
}

impl Scene {
    fn new() -> Self {
        let (place, issuer) = (Place::new(), SoftwareKey::generate(Alg::Es256).unwrap());
        place.write("jwks.json", &format!(r#"{{"keys":[{}]}}"#, issuer.public_jwk().to_json()));
        let scene = Self { place, client: Client::new(&issuer), admin: free_address() };
        scene.configure("300s");
        scene
    }

    fn configure(&self, max_age: &str) {
        let text = format!(
            "[listen]\naddress = \"127.0.0.1:0\"\nadmin = \"{}\"\n[limits]\nconnections = 100\n[[origin]]\nurl = {ORIGIN:?}\n[[issuer]]\nurl = {ISSUER:?}\n\
             audience = [{ORIGIN:?}]\njwks_file = \"jwks.json\"\n[[route]]\npath = \"/\"\nupstream = [\"{}\"]\n[proof]\n\
             nonce = \"off\"\nmax_age = \"{max_age}\"\n[replay]\nstore = \"file:proofs\"\n",
            self.admin,
            sample()
        );
        self.place.write("keybound.toml", &text);
    }

    fn folder(&self) -> std::path::PathBuf {
        self.place.work().join("proofs")
    }

    fn start(&self) -> (Service, SocketAddr) {
        let mut command = Command::new("sh");
        let plain = self.place.command(&SERVE);
        for (name, value) in plain.get_envs() {
            match value {
                Some(value) => command.env(name, value),
                None => command.env_remove(name),
            };
        }
        // For a file that may grow no more: a full disk sends no signal, and the limit that plays it does.
        command.args(["-c", "trap '' XFSZ; exec \"$0\" \"$@\""]).arg(plain.get_program()).args(plain.get_args());
        let mut service = Service::start({
            command.current_dir(self.place.work()).stdout(Stdio::piped());
            command
        });
        let address = service.address();
        (service, address)
    }

    /// The fields of a request with a proof of its own.
    fn fields(&self, nonce: Option<&str>) -> String {
        self.client.fields(nonce)
    }
}

/// `200`, or the reason.
fn outcome(address: SocketAddr, fields: &str) -> String {
    let answer = get(address, "/a", fields);
    if answer.starts_with("HTTP/1.1 200 ") {
        return "200".to_owned();
    }
    match answer.split_once("error_description=\"") {
        Some((_, rest)) => rest.split('"').next().unwrap().to_owned(),
        None => body(&answer)["reason"].as_str().unwrap_or(&answer).to_owned(),
    }
}

/// As if the epoch had begun two days ago, so that no barrier stands.
fn age(folder: &Path) {
    let file = folder.join("head");
    let mut head = fs::read(&file).unwrap();
    let two_days_ago = now().as_secs() - 2 * 86_400;
    head[16..24].copy_from_slice(&two_days_ago.to_be_bytes());
    let mut check = SipHasher13::new_with_key(head[24..40].try_into().unwrap());
    check.write(&head[..48]);
    head[48..56].copy_from_slice(&check.finish().to_be_bytes());
    fs::write(file, head).unwrap();
}

fn proofs(folder: &Path) -> std::path::PathBuf {
    let paths = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let mut proofs = paths.filter(|path| path.extension().is_some_and(|extension| extension == "proofs"));
    proofs.next().expect("a file of proofs")
}

// R-SEC-02, R-SEC-03: what was used before a process was killed is refused by the next, and nobody needs a nonce.
#[test]
fn a_killed_gateway_remembers() {
    let scene = Scene::new();
    let (service, address) = scene.start();
    assert_eq!(outcome(address, &scene.fields(None)), "nonce.barrier", "a new folder begins an epoch");
    drop(service);
    age(&scene.folder());
    let (service, address) = scene.start();
    let used: Vec<_> = (0..20).map(|_| scene.fields(None)).collect();
    for fields in &used {
        assert_eq!(outcome(address, fields), "200");
    }
    // By SIGKILL.
    drop(service);
    let (service, address) = scene.start();
    for fields in &used {
        assert_eq!(outcome(address, fields), "replay.seen");
    }
    assert_eq!(outcome(address, &scene.fields(None)), "200");
    drop(service);

    // A file that was cut off may have held anything: it costs a nonce, once.
    let file = proofs(&scene.folder());
    let octets = fs::read(&file).unwrap();
    fs::write(&file, &octets[..octets.len() - 48]).unwrap();
    let (mut service, address) = scene.start();
    service.line("used proofs may be missing");
    for fields in used.iter().chain([&scene.fields(None)]) {
        assert_eq!(outcome(address, fields), "nonce.barrier");
    }
    let answer = get(address, "/a", &scene.fields(None));
    let nonce = after(&answer, "dpop-nonce: ").lines().next().unwrap();
    let recovered = scene.fields(Some(nonce));
    assert_eq!(outcome(address, &recovered), "200");
    assert_eq!(outcome(address, &recovered), "replay.seen");
}

// R-SEC-02, R-SEC-03: what does not fit any more is left out, and costs a nonce once, in place of the start.
#[test]
fn a_memory_that_has_become_too_small_asks_for_a_nonce_once() {
    let scene = Scene::new();
    drop(scene.start());
    age(&scene.folder());
    let (service, address) = scene.start();
    let used: Vec<_> = (0..20).map(|_| scene.fields(None)).collect();
    for fields in &used {
        assert_eq!(outcome(address, fields), "200");
    }
    drop(service);
    let settings = fs::read_to_string(scene.place.work().join("keybound.toml")).unwrap();
    scene.place.write("keybound.toml", &format!("{settings}per_key = 8\n"));
    let (mut service, address) = scene.start();
    service.line("do not fit into the memory or the quota that is set");
    for fields in &used {
        assert_eq!(outcome(address, fields), "nonce.barrier");
    }
    drop(service);
    scene.place.write("keybound.toml", &settings);
    let (_service, address) = scene.start();
    for fields in &used {
        assert_eq!(outcome(address, fields), "nonce.barrier");
    }
    let answer = get(address, "/a", &scene.fields(None));
    let nonce = after(&answer, "dpop-nonce: ").lines().next().unwrap();
    assert_eq!(outcome(address, &scene.fields(Some(nonce))), "200");
}

// Windows that change while nobody runs are as good as a reload.
#[test]
fn another_window_at_the_next_start_begins_an_epoch() {
    let scene = Scene::new();
    drop(scene.start());
    age(&scene.folder());
    let (service, address) = scene.start();
    let used = scene.fields(None);
    assert_eq!(outcome(address, &used), "200");
    drop(service);
    scene.configure("600s");
    let (_service, address) = scene.start();
    assert_eq!(outcome(address, &used), "nonce.barrier");
}

// R-ERR-21: what cannot be written down is not admitted, and is as soon as there is room.
#[test]
fn a_full_disk_is_503_until_there_is_room() {
    let scene = Scene::new();
    drop(scene.start());
    age(&scene.folder());
    let (mut service, address) = scene.start();
    let used = scene.fields(None);
    assert_eq!(outcome(address, &used), "200");
    service.limit_files("1");
    for _ in 0..3 {
        assert_eq!(outcome(address, &scene.fields(None)), "replay.full");
    }
    service.line("there is no room on the disk");
    assert_eq!(outcome(address, &used), "replay.seen", "what was used is still known");
    let metrics = get(scene.admin, "/metrics", "");
    assert!(metrics.contains("keybound_replay_no_room_total 3"), "{metrics}");
    assert!(metrics.contains("keybound_replay_store_there 1"), "{metrics}");
    service.limit_files("unlimited");
    let after_all = scene.fields(None);
    assert_eq!(outcome(address, &after_all), "200");
    service.line("used proofs can be written down again");
    drop(service);
    let (_service, address) = scene.start();
    for fields in [&used, &after_all] {
        assert_eq!(outcome(address, fields), "replay.seen");
    }
}

// A disk that fails is not one that is full: a restart is what mends it, and whoever looks after the process learns it.
#[test]
fn a_disk_that_fails_makes_the_gateway_unready() {
    let scene = Scene::new();
    drop(scene.start());
    age(&scene.folder());
    let (mut service, address) = scene.start();
    assert!(get(scene.admin, "/readyz", "").starts_with("HTTP/1.1 200 "));
    break_folder(&scene.folder());
    assert_eq!(outcome(address, &scene.fields(None)), "replay.unreachable");
    service.line("none is recorded until a restart");
    assert_eq!(outcome(address, &scene.fields(None)), "replay.unreachable");
    let answer = get(scene.admin, "/readyz", "");
    assert!(answer.starts_with("HTTP/1.1 503 "), "{answer}");
    // The keys of its issuer are fixed: it is all that is missing, and it is said once.
    let broken = "the replay store file:proofs could not be written to";
    assert_eq!(body(&answer), json!({ "ready": false, "missing": [broken], "degraded": [] }));
}

// An issuer records the proofs of token requests there: without it, it issues nothing.
#[test]
fn a_disk_that_fails_makes_an_issuer_unready() {
    let (place, [address, admin]) = (Place::new(), [(); 2].map(|()| free_address()));
    place.write("issuer.toml", &issuer_alone(address, admin));
    let mut service = place.start(&["issuer", "--config", "issuer.toml"]);
    service.line("listening address=");
    let ready = json!({ "ready": true, "missing": [], "degraded": [] });
    assert_eq!(body(&get(admin, "/readyz", KNOWN)), ready);
    break_folder(&place.work().join("proofs"));
    let issuer = format!("http://{address}");
    let arguments = ["token", "--issuer", &issuer, "--client-id", "fixed", "--fresh"];
    let said = place.run_with(&[("KEYBOUND_CLIENT_SECRET", "0123456789abcdef")], &arguments);
    assert!(said.status != 0 && said.stderr.contains("replay.unreachable"), "{said:?}");
    let answer = get(admin, "/readyz", KNOWN);
    assert!(answer.starts_with("HTTP/1.1 503 "), "{answer}");
    let broken = "the replay store file:proofs could not be written to";
    assert_eq!(body(&answer), json!({ "ready": false, "missing": [broken], "degraded": [] }));
    assert_eq!(body(&get(admin, "/readyz", "")), json!({ "ready": false }), "to whoever does not know the secret");
}

const KNOWN: &str = "Authorization: Bearer 0123456789abcdef0123456789abcdef\r\n";

fn issuer_alone(address: SocketAddr, admin: SocketAddr) -> String {
    format!(
        r#"[listen]
address = "{address}"
admin = "{admin}"
admin_secret = "0123456789abcdef0123456789abcdef"
[proof]
nonce = "off"
[replay]
store = "file:proofs"
[authorization_server]
url = "http://{address}"
audience = ["{ORIGIN}"]
[[authorization_server.client]]
client_id = "fixed"
client_secret = "0123456789abcdef"
grant_types = ["client_credentials"]
scope = ["read"]
dpop_bound_access_tokens = true
"#
    )
}

/// Where the file of proofs would be there is a folder.
fn break_folder(folder: &Path) {
    let number = now().as_secs() >> 8;
    for number in number..number + 4 {
        fs::create_dir(folder.join(format!("{number}.proofs"))).unwrap();
    }
}

#[test]
fn a_folder_has_one_gateway() {
    let scene = Scene::new();
    let (first, address) = scene.start();
    assert!(outcome(address, &scene.fields(None)).starts_with("nonce."));
    let text = fs::read_to_string(scene.place.work().join("keybound.toml")).unwrap();
    scene.place.write("keybound.toml", &text.replace(&scene.admin.to_string(), &free_address().to_string()));
    let said = scene.place.run(&SERVE);
    assert_eq!(said.status, 2, "{said:?}");
    assert_eq!(said.stderr, "error: replay.store: file:proofs: another process has this folder\n");
    drop(first);
    drop(scene.start());

    // Something else in it is left alone.
    fs::write(scene.folder().join("head"), "a poem").unwrap();
    let said = scene.place.run(&SERVE);
    assert_eq!(
        (said.status, &*said.stderr),
        (2, "error: replay.store: file:proofs: there is something else in this folder, or of a later version\n")
    );
    assert_eq!(fs::read_to_string(scene.folder().join("head")).unwrap(), "a poem");
}
