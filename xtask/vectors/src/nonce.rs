//! Nonces of ours and of others, their life, and the barrier after a restart.

use keybound::nonce::Role;
use serde_json::{Value, json};

use super::case::{Case, ENDPOINT, ISSUER, NOW, ORIGIN, World, fresh_nonce, nonce};

pub(super) fn cases(world: &World) -> Vec<Case<'_>> {
    [accepted(world), refused(world), barrier(world), barrier_and_window(world), servers(world)].concat()
}

fn with<'w>(world: &'w World, policy: &str, nonce: impl Into<Value>) -> Case<'w> {
    world.resource().policy("nonce/policy", policy).proof(|proof| proof.set("nonce", nonce))
}

const HERE: Role = Role::ResourceServer;

fn accepted<'w>(world: &'w World) -> Vec<Case<'w>> {
    let admit = |case: Case<'w>, name: &str, title: &str, why| {
        let rows = &["R-NONCE-01", "R-NONCE-08", "R-NONCE-09", "R-NONCE-10", "R-NONCE-11", "R-NONCE-14", "R-NONCE-22"];
        case.admitted("RFC 9449 8", rows, name, title, why)
    };
    let ring = json!([
        {"id": 2, "secret": keybound::jws::encode_base64url(&[2; 32])},
        {"id": 1, "secret": keybound::jws::encode_base64url(&[1; 32])},
    ]);
    let timed = |iat: u64| {
        let case = world.resource();
        case.proof(|proof| proof.set("nonce", fresh_nonce(0)).set("iat", iat))
    };
    let wide = "a nonce of ours tells the time, and iat is kept within a day";
    vec![
        admit(
            with(world, "offer", fresh_nonce(0)),
            "nonce-offered",
            "a fresh nonce where nonces are offered",
            "it is ours",
        ),
        admit(
            with(world, "require", fresh_nonce(0)),
            "nonce-required",
            "a fresh nonce where one is required",
            "it is ours",
        ),
        admit(
            with(world, "require", fresh_nonce(150)),
            "nonce-half-its-life",
            "a nonce at half its life",
            "it lives 300 s",
        ),
        admit(with(world, "require", fresh_nonce(300)), "nonce-oldest", "a nonce in its last second", "it lives 300 s"),
        admit(
            with(world, "require", nonce(1, HERE, ORIGIN, 42, NOW + 5)),
            "nonce-of-a-clock-ahead",
            "a nonce of a node whose clock is 5 s ahead",
            "clocks of nodes may differ by that",
        ),
        admit(
            with(world, "require", fresh_nonce(10)).policy("nonce/keys", ring),
            "nonce-previous-key",
            "a nonce of the previous key of the ring",
            "turning the key does not break requests in flight",
        ),
        admit(world.resource(), "nonce-none-offered", "no nonce where nonces are offered", "none is demanded"),
        admit(
            with(world, "off", "anything at all"),
            "nonce-ignored",
            "a foreign nonce where nonces are off",
            "it is ignored",
        ),
        admit(timed(NOW - 86_400), "nonce-times-slow-clock", "a nonce of ours, and iat a day ago", wide),
        admit(timed(NOW + 86_400), "nonce-times-fast-clock", "a nonce of ours, and iat a day ahead", wide),
    ]
}

fn refused(world: &World) -> Vec<Case<'_>> {
    let rows = &["R-NONCE-05", "R-NONCE-06", "R-NONCE-07", "R-NONCE-13", "R-NONCE-04"];
    let unknown = |name: &str, nonce: String, title: &str| {
        let why = "only the server makes its nonces, and each is for one purpose";
        with(world, "offer", nonce).refused("nonce.unknown", rows, name, title, why)
    };
    let stale = |name: &str, nonce: String, title: &str| {
        let why = "a nonce lives as long as it lives, under the epoch it was made in";
        with(world, "offer", nonce).refused("nonce.stale", rows, name, title, why)
    };
    let good = fresh_nonce(0);
    let altered = format!("{}{}", &good[..43], if good.ends_with('A') { "B" } else { "A" });
    let timestamp = NOW.to_string();
    let day = |iat: u64, code, name: &str, title: &str| {
        let case = world.resource().proof(|proof| proof.set("nonce", fresh_nonce(0)).set("iat", iat));
        let why = "even a proof timed by its nonce has an iat within a day";
        case.refused(code, &["R-NONCE-11", "R-SEC-07"], name, title, why)
    };
    vec![
        world.resource().policy("nonce/policy", "require").refused(
            "nonce.missing",
            rows,
            "required",
            "no nonce where one is required",
            "once nonces are required, each proof has one",
        ),
        with(world, "require", "").refused("nonce.unknown", rows, "empty", "an empty nonce", "it is not one of ours"),
        unknown("text", "eyJ7S_zG.eyJH0-Z.HX4w-7v".into(), "a nonce of another make"),
        unknown("timestamp", timestamp, "a bare timestamp"),
        unknown("altered", altered, "a nonce with its last letter changed"),
        unknown("padded", format!("{good}="), "a nonce with padding"),
        unknown("upper-case", good.to_uppercase(), "a nonce in upper case"),
        unknown("other-key", nonce(9, HERE, ORIGIN, 42, NOW), "a nonce of a key that is not in the ring"),
        unknown(
            "same-number-other-secret",
            {
                let nonces = keybound::nonce::StatelessNonces::new(keybound::nonce::NonceKey::new(1, [8; 32]));
                let purpose = keybound::nonce::Purpose::new(HERE, ORIGIN, 42);
                let now = keybound::time::UnixTime::from_secs(NOW);
                keybound::nonce::NonceSource::issue(&nonces, purpose, now).as_str().to_owned()
            },
            "a nonce of another secret under the same number",
        ),
        unknown("other-origin", nonce(1, HERE, "https://other.example", 42, NOW), "a nonce for another origin"),
        unknown(
            "authorization-server",
            nonce(1, Role::AuthorizationServer, ORIGIN, 42, NOW),
            "a nonce of the authorization server of the same origin",
        ),
        stale("expired", fresh_nonce(301), "a nonce 301 s old"),
        stale("from-the-future", nonce(1, HERE, ORIGIN, 42, NOW + 6), "a nonce from 6 s ahead"),
        stale("other-epoch", nonce(1, HERE, ORIGIN, 41, NOW), "a nonce of an earlier epoch"),
        day(NOW - 86_401, "iat.past", "a-day-with-nonce", "a nonce of ours, and iat a day and a second ago"),
        day(NOW + 86_401, "iat.future", "a-day-with-nonce", "a nonce of ours, and iat a day and a second ahead"),
    ]
}

/// The replay store opened 20 s ago: what was accepted before is not remembered.
fn barrier(world: &World) -> Vec<Case<'_>> {
    let restarted = |policy: &str, iat: u64| {
        let case = world.resource().policy("epoch/opened", NOW - 20).policy("nonce/policy", policy);
        case.proof(|proof| proof.set("iat", iat))
    };
    let rows = &["R-SEC-03", "R-NONCE-12"];
    let why = "the proof may have been accepted before the memory began";
    let mut cases = Vec::new();
    for policy in ["off", "offer"] {
        let refuse = |iat: u64, name: &str, title: &str| {
            let name = format!("{name}-{policy}");
            restarted(policy, iat).refused("nonce.barrier", rows, &name, &format!("{title}; nonces: {policy}"), why)
        };
        cases.push(refuse(NOW, "now", "20 s after a restart, iat is now"));
        cases.push(refuse(NOW - 30, "before", "20 s after a restart, iat is before it"));
        cases.push(refuse(NOW + 40, "edge", "iat is 60 s after the restart, the most that could be ahead then"));
        let why = "no node can have accepted it before the restart: it lay too far ahead";
        cases.push(restarted(policy, NOW + 41).admitted(
            "RFC 9449 11.1",
            rows,
            &format!("barrier-beyond-{policy}"),
            &format!("iat is 61 s after the restart; nonces: {policy}"),
            why,
        ));
        let nonce = fresh_nonce(10);
        let case = world.resource().policy("epoch/opened", NOW - 20).policy("nonce/policy", policy);
        let why = "the nonce was made under this epoch, and so was the proof";
        cases.push(case.proof(|proof| proof.set("nonce", nonce)).admitted(
            "RFC 9449 11.1",
            rows,
            &format!("barrier-nonce-{policy}"),
            &format!("20 s after a restart, with a nonce; nonces: {policy}"),
            why,
        ));
    }
    let gone = world.resource().policy("epoch/opened", NOW - 361).policy("nonce/policy", "off");
    cases.push(gone.admitted(
        "RFC 9449 11.1",
        rows,
        "barrier-fallen",
        "361 s after a restart",
        "whatever was accepted before is too old by now",
    ));
    let standing = world.resource().policy("epoch/opened", NOW - 360).proof(|proof| proof.set("iat", NOW - 300));
    cases.push(standing.refused("nonce.barrier", rows, "last-second", "360 s after a restart, iat at both edges", why));
    let stale = with(world, "off", nonce(1, HERE, ORIGIN, 41, NOW - 30)).policy("epoch/opened", NOW - 20);
    cases.push(stale.refused(
        "nonce.stale",
        rows,
        "barrier-off",
        "a nonce from before the restart; nonces: off",
        "at a barrier the nonce alone tells when the proof was made",
    ));
    let text = with(world, "off", "anything at all").policy("epoch/opened", NOW - 20);
    cases.push(text.refused(
        "nonce.unknown",
        rows,
        "barrier-off",
        "a foreign nonce after a restart; nonces: off",
        "at a barrier the nonce alone tells when the proof was made",
    ));
    cases
}

/// After a restart too, a proof outside the window is told so, and the answer brings the nonce that gets past both.
fn barrier_and_window(world: &World) -> Vec<Case<'_>> {
    let rows = &["R-SEC-03", "R-NONCE-12", "R-PRF-35", "R-PRF-36"];
    let why = "nobody accepts it whatever was accepted before, and a new nonce gets the client past the barrier";
    let opened =
        |ago: u64, policy: &str| world.resource().policy("epoch/opened", NOW - ago).policy("nonce/policy", policy);
    let outside = [
        ("iat.past", NOW - 301, "iat is 301 s ago"),
        ("iat.past", 0, "iat is 1970"),
        ("iat.future", NOW + 61, "iat is 61 s ahead"),
    ];
    let mut cases = Vec::new();
    for policy in ["off", "offer"] {
        for (code, iat, title) in outside {
            let name = if iat == 0 { format!("barrier-epoch-{policy}") } else { format!("barrier-{policy}") };
            let case = opened(20, policy).proof(|proof| proof.set("iat", iat)).answer(401, Some("use_dpop_nonce"));
            let title = format!("20 s after a restart, {title}; nonces: {policy}");
            cases.push(case.refused(code, rows, &name, &title, why));
        }
    }
    let fapi = opened(20, "offer").policy("max_age", 60).policy("max_future", 10).policy("iat_always_in_window", true);
    let fapi = fapi.proof(|proof| proof.set("iat", NOW - 61)).answer(401, Some("use_dpop_nonce"));
    cases.push(fapi.refused("iat.past", rows, "barrier-fapi", "20 s after a restart, past a window of 60 s", why));
    let server = world.token_request().policy("epoch/opened", NOW - 20).proof(|proof| proof.set("iat", NOW - 301));
    let server = server.answer(400, Some("use_dpop_nonce"));
    let title = "a token request 20 s after a restart, iat is 301 s ago";
    cases.push(server.refused("iat.past", rows, "barrier-as", title, why));
    let fallen = opened(361, "off").proof(|proof| proof.set("iat", NOW - 301));
    let why = "the barrier is gone, and a nonce would not help";
    let title = "361 s after a restart, iat is 301 s ago; nonces: off";
    cases.push(fallen.refused("iat.past", rows, "barrier-fallen", title, why));
    let standing = opened(360, "off").proof(|proof| proof.set("iat", NOW - 301));
    let standing = standing.answer(401, Some("use_dpop_nonce"));
    let title = "360 s after a restart, iat is 301 s ago; nonces: off";
    cases.push(standing.refused("iat.past", rows, "barrier-last-second", title, "the barrier still stands"));
    cases
}

fn servers(world: &World) -> Vec<Case<'_>> {
    let rows = &["R-NONCE-01", "R-NONCE-13", "R-ERR-16"];
    let with = |nonce: String| {
        world.token_request().policy("nonce/policy", "require").proof(|proof| proof.set("nonce", nonce))
    };
    let at = |role, origin: &str, issued| nonce(1, role, origin, 42, issued);
    vec![
        with(at(Role::AuthorizationServer, ISSUER, NOW)).admitted(
            "RFC 9449 8",
            rows,
            "as-nonce",
            "a token request with a nonce where one is required",
            "it is ours, for this role and origin",
        ),
        world.token_request().policy("nonce/policy", "require").refused(
            "nonce.missing",
            rows,
            "as",
            "a token request without a nonce where one is required",
            "the answer brings one",
        ),
        with(at(Role::ResourceServer, ISSUER, NOW)).refused(
            "nonce.unknown",
            rows,
            "as-role",
            "a nonce of a resource of the same origin",
            "nonces of one role are worthless at the other",
        ),
        with(at(Role::AuthorizationServer, ENDPOINT, NOW)).refused(
            "nonce.unknown",
            rows,
            "as-origin",
            "a nonce for something that is no origin",
            "a nonce is for one origin",
        ),
        with(at(Role::AuthorizationServer, ISSUER, NOW - 301)).refused(
            "nonce.stale",
            rows,
            "as",
            "a token request with an old nonce",
            "the answer brings a new one",
        ),
        world.token_request().policy("epoch/opened", NOW - 20).refused(
            "nonce.barrier",
            rows,
            "as",
            "a token request 20 s after a restart",
            "the proof may have been accepted before",
        ),
    ]
}
