//! What comes of several requests, role `as-flow`: a browser that goes to an authorization server and back, and the client
//! behind it. The values that an answer gives stand for their names in braces in the requests after it.

use serde_json::json;

use super::case::{Case, NOW, World};

const FORM: &str = "application/x-www-form-urlencoded";

/// On loopback, where somebody is approved without a page.
const SERVER: &str = "http://localhost:8090";

/// The challenge of [`VERIFIER`]: RFC 7636 appendix B.
const AUTHORIZATION: &str = "/authorize?response_type=code&client_id=app&redirect_uri=https%3A%2F%2Fapp.example.com%2Fback\
    &code_challenge=E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM&code_challenge_method=S256";

const VERIFIER: &str = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";

const REDEMPTION: &str =
    "grant_type=authorization_code&client_id=app&code={code}&redirect_uri=https%3A%2F%2Fapp.example.com%2Fback";

/// What is stored of the password `correct horse`, made with little memory: it is not for use.
const PASSWORD_HASH: &str =
    "$argon2id$v=19$m=8,t=1,p=1$+C4f67MQrSoF4qvwplvyQQ$R/qX4hbHxWWwaf5VXrPkMcafJ3honlSMrDlFvNaLi/o";

/// Of where browsers are sent and of how people sign in the requirements say nothing.
const NONE: &[&str] = &[];

pub(super) fn cases(world: &World) -> Vec<Case<'_>> {
    [browser(world), people(world), codes(world), devices(world), registrations(world)].concat()
}

/// A server that knows the client `app` and approves `alice`.
fn server(world: &World) -> Case<'_> {
    world
        .token_request()
        .role("as-flow")
        .host(Some("localhost:8090"))
        .policy("issuer", SERVER)
        .policy("endpoint", format!("{SERVER}/token"))
        .policy("resources", json!(["https://api.example.com"]))
        .policy("auto_approve", "alice")
        .policy(
            "clients",
            json!([{"client_id": "app", "token_endpoint_auth_method": "none",
                "grant_types": ["authorization_code", "refresh_token", "urn:ietf:params:oauth:grant-type:device_code"], "scope": "orders:read",
                "redirect_uris": ["https://app.example.com/back"], "dpop_bound_access_tokens": false}]),
        )
}

/// What a browser asks for.
fn visit<'w>(world: &'w World, target: &str) -> Case<'w> {
    server(world).method("GET").target(target).proofs(|_| Vec::new()).no_body()
}

/// A token request with a good proof.
fn post<'w>(world: &'w World, body: &str) -> Case<'w> {
    server(world).body(FORM, body).proof(|proof| proof.set("htu", format!("{SERVER}/token")))
}

fn browser(world: &World) -> Vec<Case<'_>> {
    let without = |name: &str| {
        let pair = |pair: &&str| !pair.trim_start_matches("/authorize?").starts_with(&format!("{name}="));
        let rest: Vec<&str> = AUTHORIZATION.split('&').filter(pair).collect();
        let rest = rest.join("&");
        if rest.starts_with("/authorize?") { rest } else { format!("/authorize?{rest}") }
    };
    let nobody = |target: &str| visit(world, target).policy("auto_approve", json!(null));
    vec![
        visit(world, &without("redirect_uri")).refused(
            "redirect.invalid",
            NONE,
            "missing",
            "an authorization request without redirect_uri",
            "a browser is sent to registered addresses and nowhere else",
        ),
        visit(world, &AUTHORIZATION.replace("app.example.com%2Fback", "other.example%2Fback")).refused(
            "redirect.invalid",
            NONE,
            "other",
            "a redirect_uri that is not registered",
            "a browser is sent to registered addresses and nowhere else",
        ),
        visit(world, &AUTHORIZATION.replace("response_type=code", "response_type=token")).refused(
            "response.unsupported",
            &["R-AS-36"],
            "implicit",
            "response_type=token",
            "tokens come from the token endpoint alone",
        ),
        visit(world, &without("code_challenge")).refused(
            "pkce.missing",
            &["R-AS-34"],
            "challenge",
            "no code_challenge",
            "a stolen code is worth nothing without the verifier",
        ),
        visit(world, &AUTHORIZATION.replace("=S256", "=plain")).refused(
            "pkce.missing",
            &["R-AS-34"],
            "plain",
            "the method plain",
            "who sees the request sees the verifier",
        ),
        visit(world, "/authorize?client_id=app&request_uri=urn:ietf:params:oauth:request_uri:unknown").refused(
            "request.uri",
            &["R-AS-20"],
            "unknown",
            "a request_uri that nobody pushed",
            "what is not there was not asked for",
        ),
        visit(world, "/authorize?client_id=app&request=eyJhbGciOiJub25lIn0.e30.").refused(
            "request.object",
            &["R-AS-16"],
            "unsigned",
            "a request object that nobody signed, of a client without keys",
            "what is not signed is not the client's",
        ),
        nobody(&[AUTHORIZATION, "&prompt=none"].concat()).refused(
            "login.required",
            NONE,
            "prompt-none",
            "nobody is signed in, and no page may be shown",
            "the client asks again with a page",
        ),
        nobody(AUTHORIZATION).refused(
            "login.denied",
            NONE,
            "nobody",
            "nobody can sign in",
            "an issuer without users issues no codes",
        ),
    ]
}

/// A server on which somebody may sign in, and what browsers send there.
fn people(world: &World) -> Vec<Case<'_>> {
    let users = json!([{"username": "alice", "password_hash": PASSWORD_HASH}]);
    let visit = |target: &str| visit(world, target).policy("auto_approve", json!(null)).policy("users", users.clone());
    let cookies = "keybound-browser={keybound-browser}; keybound-session={keybound-session}";
    let show = || visit("{location}").field("Cookie", "keybound-browser={keybound-browser}");
    let sign_in = |site: &str| {
        show()
            .method("POST")
            .field("Sec-Fetch-Site", site)
            .body(FORM, "csrf={csrf}&username=alice&password=correct+horse&step=password")
    };
    vec![
        visit(&[AUTHORIZATION, "&prompt=none"].concat())
            .field("Cookie", cookies)
            .after(&visit(AUTHORIZATION), NOW)
            .after(&show(), NOW)
            .after(&sign_in("same-origin"), NOW)
            .refused(
                "consent.required",
                NONE,
                "prompt-none",
                "somebody who is signed in and has allowed nothing, and no page may be shown",
                "the client asks again with a page",
            ),
        sign_in("cross-site").after(&visit(AUTHORIZATION), NOW).after(&show(), NOW).refused(
            "login.forged",
            NONE,
            "cross-site",
            "a form that the page of another site sends",
            "nobody signs somebody else in",
        ),
        sign_in("same-origin").after(&visit(AUTHORIZATION), NOW).refused(
            "login.forged",
            NONE,
            "no-token",
            "a form without the token of its page",
            "whoever has not seen the page has not sent its form",
        ),
        visit("{location}").after(&visit(AUTHORIZATION), NOW).refused(
            "login.over",
            NONE,
            "another-browser",
            "the address of a page in a browser that did not begin there",
            "nobody finishes what somebody else began",
        ),
        show().at(NOW + 901).after(&visit(AUTHORIZATION), NOW).refused(
            "login.over",
            NONE,
            "late",
            "a page that was begun more than a quarter of an hour ago",
            "the client begins again",
        ),
    ]
}

fn codes(world: &World) -> Vec<Case<'_>> {
    let redeem = |verifier: &str| {
        post(world, &format!("{REDEMPTION}&code_verifier={verifier}")).after(&visit(world, AUTHORIZATION), NOW)
    };
    vec![
        redeem(VERIFIER).admitted(
            "RFC 6749 4.1",
            &["R-AS-03", "R-AS-34"],
            "flow-code",
            "a code with its verifier and a proof",
            "the token is bound",
        ),
        redeem("E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM").refused(
            "pkce.mismatch",
            &["R-AS-34"],
            "challenge",
            "the challenge in place of the verifier",
            "whoever saw the request has not the verifier",
        ),
        redeem("").refused("pkce.mismatch", &["R-AS-34"], "missing", "no verifier", "the code alone is not enough"),
        post(world, &format!("{REDEMPTION}&code_verifier={VERIFIER}"))
            .proof(|proof| proof.set("htu", format!("{SERVER}/token")).set("jti", "another"))
            .after(&visit(world, AUTHORIZATION), NOW)
            .after(&post(world, &format!("{REDEMPTION}&code_verifier={VERIFIER}")), NOW)
            .refused("grant.invalid", &["R-AS-35"], "code-twice", "a code that was redeemed", "a code is good once"),
    ]
}

fn devices(world: &World) -> Vec<Case<'_>> {
    let begin = || {
        let case = server(world).target("/device_authorization").proofs(|_| Vec::new());
        case.body(FORM, "client_id=app")
    };
    let ask = |jti: &str| {
        let body = "grant_type=urn:ietf:params:oauth:grant-type:device_code&client_id=app&device_code={device_code}";
        server(world)
            .body(FORM, body)
            .proof(|proof| proof.set("htu", format!("{SERVER}/token")).set("jti", jti))
            .after(&begin(), NOW)
    };
    let late = ask("first").at(NOW + 601);
    vec![
        ask("first").refused(
            "device.pending",
            &["R-AS-22"],
            "first",
            "a device that asks before anybody has decided",
            "it asks again; its code is as good as before",
        ),
        ask("second").tried(&ask("first"), NOW).refused(
            "device.slow",
            &["R-AS-22"],
            "twice",
            "a device that asks twice in a second",
            "it waits five seconds longer from now on",
        ),
        late.proof(|proof| proof.set("htu", format!("{SERVER}/token")).set("iat", NOW + 601)).refused(
            "device.expired",
            &["R-AS-22"],
            "late",
            "a device that asks a second after its ten minutes",
            "nobody has decided, and nobody will",
        ),
    ]
}

fn registrations(world: &World) -> Vec<Case<'_>> {
    let register = |metadata: &str| {
        server(world)
            .target("/register")
            .proofs(|_| Vec::new())
            .body("application/json", metadata)
            .policy("registration", "open")
    };
    vec![
        register(r#"{"redirect_uris":["https://app.example.com/back"],"dpop_bound_access_tokens":"true"}"#).refused(
            "registration.metadata",
            &["R-AS-11"],
            "bound-text",
            "dpop_bound_access_tokens as a text",
            "it is a boolean, and what is not one is not guessed at",
        ),
        register(r#"{"redirect_uris":["http://app.example.com/back"]}"#).refused(
            "registration.redirect",
            &["R-AS-11"],
            "http",
            "a redirect URI of plain http off loopback",
            "codes do not travel in the clear",
        ),
        register(r#"{"redirect_uris":["https://app.example.com/back"]}"#).policy("registration", "token").refused(
            "registration.token",
            &["R-AS-11"],
            "missing",
            "no initial access token where one is wanted",
            "not everybody may register",
        ),
    ]
}
