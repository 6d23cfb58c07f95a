//! Devices without a browser: two codes, a person somewhere else, and questions until the person has decided.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use keybound::crypto::Alg;
use keybound::crypto::aws_lc::SoftwareKey;
use keybound::time::UnixTime;
use keybound::verify::NoncePolicy;
use keybound_issuer::store::{Change, Found, Kind, Pending, Record, Store, Written};
use keybound_issuer::{IssuerConfig, Registration};
use serde_json::{Value, json};
use tokio::sync::Barrier;

use crate::people::{Parameters, form, proof_for, to_local};
use crate::registration::{open, registered};
use crate::support::{Answer, HOLDER, LITTLE_ROOM, MARK, Place, Request, SECRET, START, Server, Setup, THIEF};

const GRANT: &str = "urn:ietf:params:oauth:grant-type:device_code";

fn begun() -> Parameters {
    Parameters::of_app().set("scope", "read")
}

/// What a device gets that begins with this key.
fn begin(server: &Server, key: Option<&'static SoftwareKey>) -> Value {
    let request = form("/device_authorization", &begun());
    let request = match key {
        Some(key) => request.dpop(&proof_for(server, key, "/device_authorization")),
        None => request,
    };
    let answer = server.token(&request);
    assert_eq!(answer.status, 200, "{answer:?}");
    answer.json()
}

fn ask(server: &Server, codes: &Value, key: Option<&'static SoftwareKey>) -> Answer {
    let code = codes["device_code"].as_str().unwrap();
    server.redeem(&Parameters::of_app().set("grant_type", GRANT).set("device_code", code), key)
}

/// A person brings the code, spelled as people spell.
fn bring(server: &Server, codes: &Value) -> Answer {
    let code = codes["user_code"].as_str().unwrap().replace('-', "+").to_lowercase();
    server.raw(to_local(&format!("GET /device?user_code={code}")).octets())
}

// R-AS-03, R-AS-13: the tokens are bound to the key the device began with.
#[test]
fn a_device_gets_tokens_when_somebody_has_agreed() {
    let server = Setup::new().approving().start();
    let codes = begin(&server, Some(&HOLDER));
    assert_eq!((&codes["expires_in"], &codes["interval"]), (&600.into(), &5.into()));
    assert_eq!(codes["verification_uri"], "http://localhost:8090/device");
    let pending = ask(&server, &codes, Some(&HOLDER));
    assert_eq!(pending.error(), ("authorization_pending".into(), "device.pending".into()));
    assert_eq!(bring(&server, &codes).status, 200);
    server.turn(5);
    assert_eq!(ask(&server, &codes, None).error().1, "proof.required");
    assert_eq!(ask(&server, &codes, Some(&THIEF)).error().1, "grant.key");
    let answer = ask(&server, &codes, Some(&HOLDER));
    assert_eq!(answer.access_token().claims["sub"], "alice");
    let refreshed = server.redeem(&Parameters::refresh(&answer.refresh_token()), Some(&HOLDER));
    assert_eq!(refreshed.json()["scope"], "read");
    assert_eq!(ask(&server, &codes, Some(&HOLDER)).error().1, "grant.invalid", "once");
    assert_is_alive(&server, &refreshed);
    assert_eq!(bring(&server, &codes).status, 400, "and by one person");
}

/// What came of a code goes on, whoever asked with it again.
#[track_caller]
fn assert_is_alive(server: &Server, tokens: &Answer) {
    let token = tokens.access_token().text;
    let question = form("/introspect", &Parameters::none().set("token", token)).basic("web", SECRET);
    assert_eq!(server.token(&question).json()["active"], true);
    assert_eq!(server.redeem(&Parameters::refresh(&tokens.refresh_token()), Some(&HOLDER)).status, 200);
}

/// A store in which whoever asks for a device waits until somebody else has found it, too, if that is on.
#[derive(Debug)]
struct Abreast {
    kept: Arc<dyn Store>,
    both: Barrier,
    is_on: AtomicBool,
}

impl Store for Abreast {
    fn opened(&self) -> UnixTime {
        self.kept.opened()
    }

    fn read<'a>(&'a self, kind: Kind, id: &'a str, now: UnixTime) -> Pending<'a, Option<Record>> {
        Box::pin(async move {
            let found = self.kept.read(kind, id, now).await;
            if kind == Kind::DEVICE && self.is_on.load(Ordering::SeqCst) {
                self.both.wait().await;
            }
            found
        })
    }

    fn list<'a>(&'a self, kind: Kind, after: &'a str, limit: u32, now: UnixTime) -> Pending<'a, Found> {
        self.kept.list(kind, after, limit, now)
    }

    fn write(&self, changes: Vec<Change>, now: UnixTime) -> Pending<'_, Written> {
        self.kept.write(changes, now)
    }
}

/// A device whose first answer is on its way: it does not lose what is in it by having asked twice.
#[test]
fn who_asks_at_the_same_moment_takes_nothing_from_the_first() {
    let place = Place::new();
    let kept = place.open(UnixTime::from_secs(START - 86_400));
    let store = Arc::new(Abreast { kept, both: Barrier::new(2), is_on: AtomicBool::new(false) });
    let server = Setup::new().approving().keeping(Arc::clone(&store) as Arc<dyn Store>).start();
    let codes = begin(&server, Some(&HOLDER));
    assert_eq!(bring(&server, &codes).status, 200);
    store.is_on.store(true, Ordering::SeqCst);
    let mut answers = thread::scope(|scope| {
        let asking = [(); 2].map(|()| scope.spawn(|| ask(&server, &codes, Some(&HOLDER))));
        asking.map(|asking| asking.join().unwrap())
    });
    store.is_on.store(false, Ordering::SeqCst);
    answers.sort_by_key(|answer| answer.status);
    let [first, other] = &answers;
    assert_eq!((other.status, other.error().1.as_str()), (400, "grant.invalid"));
    assert_is_alive(&server, first);
}

/// A device that asks many times at once, or two who have its code, get one answer with tokens.
#[test]
fn a_code_is_redeemed_once_by_many_at_once() {
    let server = Setup::new().approving().start();
    let codes = begin(&server, Some(&HOLDER));
    assert_eq!(bring(&server, &codes).status, 200);
    let mut statuses = thread::scope(|scope| {
        let asking: Vec<_> = (0..16).map(|_| scope.spawn(|| ask(&server, &codes, Some(&HOLDER)).status)).collect();
        asking.into_iter().map(|asking| asking.join().unwrap()).collect::<Vec<_>>()
    });
    statuses.sort_unstable();
    assert_eq!((statuses[0], statuses[1], statuses[15]), (200, 400, 400), "{statuses:?}");
}

/// Without a key at the beginning, the one at the end counts.
#[test]
fn a_device_may_begin_without_a_key() {
    let server = Setup::new().approving().start();
    let codes = begin(&server, None);
    bring(&server, &codes);
    assert_eq!(ask(&server, &codes, Some(&HOLDER)).json()["token_type"], "DPoP");
}

/// RFC 8628 section 3.5
#[test]
fn a_hasty_device_waits_longer() {
    let server = Setup::new().approving().start();
    let codes = begin(&server, None);
    let asked = |seconds| {
        server.turn(seconds);
        ask(&server, &codes, None).error().0
    };
    assert_eq!(asked(0), "authorization_pending");
    assert_eq!(asked(4), "slow_down");
    assert_eq!(asked(9), "slow_down", "now it is ten");
    assert_eq!(asked(15), "authorization_pending", "and then fifteen");
    server.turn(600);
    assert_eq!(asked(0), "expired_token");
    assert_eq!(bring(&server, &codes).status, 400);
}

// R-AS-22, R-AS-23
#[test]
fn what_is_refused_leaves_the_code() {
    let server = Setup::new().approving().nonces(NoncePolicy::Require).start();
    let codes = begin(&server, None);
    bring(&server, &codes);
    let code = codes["device_code"].as_str().unwrap();
    let good = Parameters::of_app().set("grant_type", GRANT).set("device_code", code);
    let demand = server.redeem(&good, Some(&HOLDER));
    assert_eq!(demand.error(), ("use_dpop_nonce".into(), "nonce.missing".into()));
    for (parameters, reason) in [
        (good.clone().set("device_code", MARK), "grant.invalid"),
        (good.clone().without("device_code"), "request.malformed"),
        (good.clone().set("client_id", "bound-app"), "grant.invalid"),
        (good.clone().set("client_id", "public"), "client.forbidden"),
        (good.clone().set("resource", "https://billing.example.com"), "target.invalid"),
    ] {
        assert_eq!(server.redeem(&parameters, None).error().1, reason, "{}", parameters.text());
    }
    let nonce = demand.field("dpop-nonce").unwrap().to_owned();
    let proof = proof_for(&server, &HOLDER, "/token").claim("nonce", nonce);
    assert_eq!(server.token(&form("/token", &good).dpop(&proof)).status, 200);
}

/// Who registered a moment ago is a stranger, by whatever secret; others have room all the same.
#[test]
fn what_strangers_begin_who_registered_is_bounded() {
    // As much of it is kept with each code.
    let long = |config: IssuerConfig| {
        config.registration(Registration::Open, "s".repeat(7 << 10)).room_for_strangers(LITTLE_ROOM)
    };
    let server = Setup::new().registering(long).start();
    let (id, secret) = registered(&server, &json!({ "grant_types": [GRANT] }));
    let begin = |id: &str, secret: &str| form("/device_authorization", &Parameters::none()).basic(id, secret);
    let (begun, full) = server.repeat(&begin(&id, &secret), 200);
    assert!((55..70).contains(&begun), "{begun}");
    assert_eq!((full.status, full.error().1.as_str()), (503, "store.full"));
    let (id, secret) = registered(&server, &json!({ "grant_types": [GRANT] }));
    assert_eq!(server.token(&begin(&id, &secret)).status, 503, "another name is no other stranger");
    assert_eq!(server.token(&begin("web", SECRET)).status, 200);
    // As many again, once; then only when those before are over.
    server.turn(1200 - START % 1200);
    let (again, _) = server.repeat(&begin(&id, &secret), 200);
    assert!((55..70).contains(&again), "{again}");
    server.turn(600);
    assert_eq!(server.token(&begin(&id, &secret)).status, 503);
    server.turn(600);
    assert_eq!(server.token(&begin(&id, &secret)).status, 200);
}

/// As many proofs of strangers as the next test lets in.
const PLACES: usize = 16;

/// A new key costs nothing, and neither does a name where anybody may register: the quota of one key bounds no stranger.
#[test]
fn strangers_take_a_part_of_the_memory_of_proofs() {
    let small = |config: IssuerConfig| open(config).replay_memory(PLACES * 32 * 8);
    let server = Setup::new().registering(small).start();
    let (id, secret) = registered(&server, &json!({ "grant_types": [GRANT] }));
    let by_stranger = |path: &str, parameters: &Parameters| form(path, parameters).basic(&id, &secret);
    let codes = server.token(&by_stranger("/device_authorization", &Parameters::none())).json();
    let question = |codes: &Value| {
        Parameters::none().set("grant_type", GRANT).set("device_code", codes["device_code"].as_str().unwrap())
    };
    let by_stranger = || by_stranger("/token", &question(&codes));
    let of_public = begin(&server, None);
    let by_public = || form("/token", &question(&of_public).set("client_id", "app"));
    let send = |request: Request, path: &str| {
        let key: &'static SoftwareKey = Box::leak(Box::new(SoftwareKey::generate(Alg::Es256).unwrap()));
        server.raw(request.dpop(&proof_for(&server, key, path)).octets())
    };
    for place in 0..PLACES {
        let answer = send(if place % 2 == 0 { by_stranger() } else { by_public() }, "/token");
        assert!(answer.error().1.starts_with("device."), "{answer:?}");
    }
    for (request, path) in [
        (by_stranger(), "/token"),
        (by_public(), "/token"),
        (form("/device_authorization", &begun()), "/device_authorization"),
        (form("/par", &Parameters::authorization()), "/par"),
    ] {
        let full = send(request, path);
        assert_eq!((full.status, full.error().1.as_str()), (429, "replay.quota"), "{path}");
        let next = 366 - START % 366;
        assert_eq!(full.field("retry-after"), Some(next.to_string().as_str()));
    }
    // Who is known, and what was granted, goes on.
    let machine = Parameters::none().set("grant_type", "client_credentials");
    assert_eq!(send(form("/token", &machine).basic("web", SECRET), "/token").status, 200);
    let code = server.code(&Parameters::authorization());
    assert_eq!(send(form("/token", &Parameters::redemption(&code)), "/token").status, 200);
    server.turn(366 - START % 366);
    assert!(send(by_stranger(), "/token").error().1.starts_with("device."));
}

#[test]
fn what_is_wrong_with_the_beginning() {
    let server = Setup::new().approving().start();
    for (parameters, reason) in [
        (begun().set("client_id", "public"), "client.forbidden"),
        (begun().set("client_id", MARK), "client.authentication"),
        (begun().set("scope", MARK), "scope.invalid"),
        (begun().set("resource", MARK), "target.invalid"),
        (begun().set("dpop_jkt", MARK), "jkt.malformed"),
    ] {
        assert_eq!(server.token(&form("/device_authorization", &parameters)).error().1, reason);
    }
    let elsewhere = proof_for(&server, &HOLDER, "/token");
    let answer = server.token(&form("/device_authorization", &begun()).dpop(&elsewhere));
    assert_eq!(answer.error().1, "htu.mismatch");
}

/// Any page can begin with a key of its own and have the developer's browser open the code, as an image for example.
#[test]
fn no_page_connects_its_device_by_leading_a_browser_here() {
    let server = Setup::new().approving().start();
    let codes = begin(&server, Some(&HOLDER));
    let code = codes["user_code"].as_str().unwrap();
    let visit = |fields: &[&str]| {
        let visit = to_local(&format!("GET /device?user_code={code}"));
        let answer = server.raw(fields.iter().fold(visit, |visit, field| visit.field(*field)).octets());
        server.turn(5);
        (answer, ask(&server, &codes, Some(&HOLDER)))
    };
    for fields in [
        &["Sec-Fetch-Site: cross-site", "Sec-Fetch-Mode: no-cors", "Sec-Fetch-Dest: image"][..],
        &["Sec-Fetch-Site: same-site"],
        // So it says too of somebody who typed another address, which redirects.
        &["Sec-Fetch-Site: none", "Sec-Fetch-Mode: navigate"],
        &["Sec-Fetch-Site: same-origin", "Sec-Fetch-Site: cross-site"],
        &["Sec-Fetch-Site: cross-site", "Referer: http://localhost:8090/device"],
        &["Sec-Fetch-Site: same-origin", "Origin: https://evil.example"],
        &["Origin: https://evil.example"],
        &["Origin: null"],
        &["Referer: https://evil.example/"],
        &["Referer: http://localhost:80901/"],
        // A browser from before those fields, and a page that hides its address.
        &["User-Agent: Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7)"],
    ] {
        let (answer, asked) = visit(fields);
        assert_eq!(asked.error().1, "device.pending", "{fields:?}");
        assert_eq!(answer.status, 200, "{fields:?}");
        assert!(answer.body.contains(code) && answer.body.contains("alice"), "{}", answer.body);
        assert!(answer.body.contains(&format!("href=\"?user_code={code}\"")), "{}", answer.body);
    }
}

/// The link of that page, as browsers follow it, and a program, which nobody leads.
#[test]
fn whoever_was_asked_or_is_no_browser_connects_a_device() {
    let agent = "User-Agent: Mozilla/5.0 (X11; Linux x86_64)";
    for fields in [
        &[agent, "Sec-Fetch-Site: same-origin", "Referer: http://localhost:8090/device?user_code=BCDF-BCDF"][..],
        &[agent, "Sec-Fetch-Site: same-origin"],
        &[agent, "Referer: http://localhost:8090/device?user_code=BCDF-BCDF"],
        &["User-Agent: curl/8.14.1", "Accept: */*"],
        &[],
    ] {
        let server = Setup::new().approving().start();
        let codes = begin(&server, Some(&HOLDER));
        let visit = to_local(&format!("GET /device?user_code={}", codes["user_code"].as_str().unwrap()));
        let answer = server.raw(fields.iter().fold(visit, |visit, field| visit.field(*field)).octets());
        assert!(answer.body.contains("Your device is connected"), "{}", answer.body);
        assert_eq!(ask(&server, &codes, Some(&HOLDER)).access_token().claims["sub"], "alice", "{fields:?}");
    }
}
