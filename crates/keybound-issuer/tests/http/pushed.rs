//! Pushed authorization requests.

use keybound_issuer::IssuerConfig;

use crate::people::{Parameters, form, of_web, proof_for};
use crate::registration::{good, open, registered};
use crate::support::{Answer, HOLDER, LITTLE_ROOM, MARK, Request, Server, Setup, THIEF};

fn asked() -> Parameters {
    Parameters::authorization()
}

fn jkt() -> String {
    HOLDER.thumbprint().to_string()
}

fn push(server: &Server, request: &Request) -> Answer {
    server.raw(request.octets())
}

/// The browser brings the client's name and the reference.
fn front(answer: &Answer) -> Parameters {
    assert_eq!(answer.status, 201, "{answer:?}");
    let uri = answer.json()["request_uri"].as_str().unwrap().to_owned();
    asked()
        .without("response_type")
        .without("redirect_uri")
        .without("state")
        .without("code_challenge")
        .without("code_challenge_method")
        .set("request_uri", uri)
}

// R-AS-16, R-AS-18, R-AS-21: by parameter, by proof, by both.
#[test]
fn each_way_binds_the_code() {
    let server = Setup::new().approving().start();
    let proof = || proof_for(&server, &HOLDER, "/par");
    for request in [
        form("/par", &asked().set("dpop_jkt", jkt())),
        form("/par", &asked()).dpop(&proof()),
        form("/par", &asked().set("dpop_jkt", jkt())).dpop(&proof()),
    ] {
        let answer = push(&server, &request);
        assert_eq!((answer.status, answer.field("cache-control")), (201, Some("no-store")));
        assert_eq!(answer.json()["expires_in"], 90);
        let code = server.code(&front(&answer));
        let redemption = Parameters::redemption(&code);
        assert_eq!(server.redeem(&redemption, None).error().1, "proof.required");
        assert_eq!(server.redeem(&redemption, Some(&THIEF)).error().1, "grant.key");
        assert_eq!(server.redeem(&redemption, Some(&HOLDER)).json()["token_type"], "DPoP");
    }
}

/// Strangers have room for so much, whoever they say they are; who authenticates has room all the same.
#[test]
fn what_strangers_push_is_bounded() {
    let small = |config: IssuerConfig| config.auto_approve("alice").room_for_strangers(LITTLE_ROOM);
    let server = Setup::new().approving().changed(small).start();
    let state = |octets: usize| asked().set("state", "s".repeat(octets));
    let long = push(&server, &form("/par", &state(8 << 10)));
    assert_eq!((long.status, long.error().1.as_str()), (400, "request.malformed"));
    let most = form("/par", &state(7 << 10));
    let (pushed, full) = server.repeat(&most, 201);
    assert!((55..70).contains(&pushed), "{pushed}");
    assert_eq!((full.status, full.error().1.as_str()), (503, "store.full"));
    assert_eq!(push(&server, &of_web(form("/par", &asked().without("client_id")))).status, 201);
    server.turn(180);
    assert_eq!(push(&server, &form("/par", &asked())).status, 201);
}

/// Who registered a moment ago is a stranger, by whatever secret.
#[test]
fn what_strangers_push_who_registered_is_bounded() {
    let small = |config: IssuerConfig| open(config).room_for_strangers(LITTLE_ROOM);
    let server = Setup::new().registering(small).start();
    let (id, secret) = registered(&server, &good());
    let push_of = |octets: usize| form("/par", &asked().without("client_id").set("state", "s".repeat(octets)));
    let (pushed, full) = server.repeat(&push_of(7 << 10).basic(&id, &secret), 201);
    assert!((55..70).contains(&pushed), "{pushed}");
    assert_eq!((full.status, full.error().1.as_str()), (503, "store.full"));
    // Another name is no other stranger.
    let (id, secret) = registered(&server, &good());
    assert_eq!(push(&server, &push_of(7 << 10).basic(&id, &secret)).status, 503);
    assert_eq!(push(&server, &of_web(push_of(1))).status, 201);
    server.turn(180);
    assert_eq!(push(&server, &push_of(1).basic(&id, &secret)).status, 201);
}

// R-AS-20
#[test]
fn what_stands_beside_the_reference_counts_for_nothing() {
    let server = Setup::new().approving().start();
    let answer = push(&server, &form("/par", &asked().set("dpop_jkt", jkt()).set("scope", "read")));
    let beside = front(&answer)
        .set("dpop_jkt", THIEF.thumbprint().to_string())
        .set("scope", "write")
        .set("redirect_uri", "https://zebra7.example")
        .set("response_type", "token");
    let code = server.code(&beside);
    let redemption = Parameters::redemption(&code);
    assert_eq!(server.redeem(&redemption, Some(&THIEF)).error().1, "grant.key");
    assert_eq!(server.redeem(&redemption, Some(&HOLDER)).json()["scope"], "read");
}

// R-AS-15, R-AS-17, R-AS-19, R-AS-27, R-ERR-19
#[test]
fn what_is_wrong_is_said_at_once() {
    let server = Setup::new().approving().start();
    let proof = || proof_for(&server, &HOLDER, "/par");
    let push = |request: Request| {
        let answer = server.raw(request.octets());
        assert_eq!(answer.field("cache-control"), Some("no-store"), "{answer:?}");
        assert!(!answer.body.contains(MARK));
        let (error, reason) = answer.error();
        (answer.status, error, reason)
    };
    let good = || form("/par", &asked());
    let web = || of_web(form("/par", &asked().without("client_id")));
    for (request, status, error, reason) in [
        (good().dpop(&proof().claim("htu", "http://localhost:8090/token")), 400, "invalid_dpop_proof", "htu.mismatch"),
        (good().dpop(&proof().claim("htm", "GET")), 400, "invalid_dpop_proof", "htm.mismatch"),
        (good().dpop(&proof().claim("nonce", MARK)), 400, "use_dpop_nonce", "nonce.unknown"),
        (
            form("/par", &asked().set("dpop_jkt", THIEF.thumbprint().to_string())).dpop(&proof()),
            400,
            "invalid_request",
            "jkt.conflict",
        ),
        (form("/par", &asked().set("dpop_jkt", "abc")), 400, "invalid_request", "jkt.malformed"),
        (form("/par", &asked().set("request_uri", MARK)), 400, "invalid_request", "request.malformed"),
        (form("/par", &asked().set("redirect_uri", "https://zebra7")), 400, "invalid_request", "redirect.invalid"),
        (form("/par", &asked().without("code_challenge")), 400, "invalid_request", "pkce.missing"),
        (form("/par", &asked().set("client_id", "web")), 401, "invalid_client", "client.authentication"),
        (
            form("/par", &asked().without("client_id")).basic("web", MARK),
            401,
            "invalid_client",
            "client.authentication",
        ),
        (form("/par", &asked().set("client_id", MARK)), 401, "invalid_client", "client.authentication"),
    ] {
        assert_eq!(push(request), (status, error.to_owned(), reason.to_owned()));
    }
    assert_eq!(server.raw(web().octets()).status, 201);
    let used = proof();
    assert_eq!(server.raw(good().dpop(&used).octets()).status, 201);
    assert_eq!(push(good().dpop(&used)).2, "replay.seen");
}

/// RFC 9126 section 4: by the client that pushed it, once, and soon.
#[test]
fn a_reference_is_good_once_for_its_client() {
    let server = Setup::new().approving().start();
    let answer = push(&server, &form("/par", &asked()));
    let refused = |parameters: &Parameters| {
        let answer = server.browse(parameters);
        assert_eq!((answer.status, answer.field("location")), (400, None));
        answer.body
    };
    let good = front(&answer);
    assert!(refused(&good.clone().set("client_id", "bound-app")).contains("request.uri"));
    assert!(refused(&good.clone().set("request_uri", "https://zebra7.example/object")).contains("request.uri"));
    assert!(refused(&good.clone().set("client_id", MARK)).contains("redirect.invalid"));
    server.code(&good);
    assert!(refused(&good).contains("request.uri"), "it was used");
    let late = front(&push(&server, &form("/par", &asked())));
    server.turn(91);
    assert!(refused(&late).contains("request.uri"));
}
