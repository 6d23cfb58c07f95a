//! Credentials of a request to a resource, the binding of its token, and replays.

use serde_json::{Value, json};

use super::case::{Case, NOW, World};

const FORM: &str = "application/x-www-form-urlencoded";

pub(super) fn cases(world: &World) -> Vec<Case<'_>> {
    [repeated(world), malformed(world), bindings(world), replays(world)].concat()
}

fn repeated<'w>(world: &'w World) -> Vec<Case<'w>> {
    let good = || world.resource();
    let none = || good().authorization(|_| Vec::new()).proofs(|_| Vec::new());
    let rows = &["R-RS-10", "R-RS-11", "R-SEC-17", "R-ERR-08"];
    let twice = |case: Case<'w>, name: &str, title: &str| {
        case.refused("credentials.repeated", rows, name, title, "a token comes once and in one way")
    };
    let query = |name: &str, query: &str, title: &str| {
        let case = none().target(format!("/orders?{query}"));
        case.refused("credentials.query", rows, name, title, "query strings end in logs")
    };
    let form = |name: &str, body: String, title: &str| {
        let case = none().method("POST").body(FORM, body);
        case.refused("credentials.form", rows, name, title, "a bound token comes in Authorization")
    };
    let missing = |case: Case<'w>, name: &str, title: &str| {
        let rows = &["R-ERR-05", "R-RS-12", "R-SEC-10", "R-RS-32"];
        case.refused("credentials.missing", rows, name, title, "there is no token, and so no error to tell")
    };
    let token = good().token_of().to_owned();
    vec![
        twice(
            good().authorization(|token| vec![format!("DPoP {token}"), format!("DPoP {token}")]),
            "same-twice",
            "the same credentials in two fields",
        ),
        twice(
            good().authorization(|token| vec![format!("DPoP {token}"), format!("Bearer {token}")]),
            "dpop-and-bearer",
            "both schemes at once",
        ),
        twice(
            good().authorization(|token| vec!["Basic YTpi".into(), format!("DPoP {token}")]),
            "basic-and-dpop",
            "credentials of another scheme before",
        ),
        twice(good().target("/orders?access_token=abc"), "header-and-query", "a token in the query as well"),
        twice(
            good().target("/orders?a=1&access%5Ftoken=abc"),
            "header-and-escaped-query",
            "a token in the query, its name escaped",
        ),
        twice(
            good().method("POST").proof(|proof| proof.set("htm", "POST")).body(FORM, "access_token=abc"),
            "header-and-form",
            "a token in the body as well",
        ),
        query("plain", &format!("access_token={token}"), "the token in the query"),
        query("last", "page=2&access_token=abc", "a token at the end of the query"),
        query("escaped", "%61ccess%5Ftoken=abc", "a token in the query, its name escaped"),
        query("empty", "access_token=", "an empty token in the query"),
        form("plain", format!("access_token={token}"), "the token in the body"),
        form("escaped", format!("a=b&access%5ftoken={token}"), "the token in the body, its name escaped"),
        missing(none(), "nothing", "no credentials"),
        missing(good().authorization(|_| Vec::new()), "proof-alone", "a good proof and no token"),
        missing(good().authorization(|_| vec!["Basic YTpi".into()]), "basic", "credentials of another scheme"),
        missing(
            good().authorization(|token| vec![format!("DPoPx {token}")]),
            "scheme-longer",
            "a scheme that begins alike",
        ),
        missing(
            good().authorization(|_| Vec::new()).field("Proxy-Authorization", format!("DPoP {token}")),
            "proxy-authorization",
            "the token in Proxy-Authorization",
        ),
        missing(good().authorization(|_| vec![String::new()]), "empty-field", "an empty Authorization field"),
    ]
}

fn malformed(world: &World) -> Vec<Case<'_>> {
    type Change = fn(&str) -> String;
    let cases: [(&str, &str, Change); 11] = [
        ("no-token", "the scheme alone", |_| "DPoP".into()),
        ("space-alone", "the scheme and a space", |_| "DPoP ".into()),
        ("tab", "a tab for the space", |token| format!("DPoP\t{token}")),
        ("space-and-tab", "a space and a tab", |token| format!("DPoP \t{token}")),
        ("two-tokens", "two tokens", |token| format!("DPoP {token} {token}")),
        ("comma", "two credentials in one field", |token| format!("DPoP {token}, DPoP {token}")),
        ("quoted", "a token in quotes", |token| format!("DPoP \"{token}\"")),
        ("parameter", "a parameter for a token", |token| format!("DPoP token=\"{token}\"")),
        ("padding-alone", "nothing but padding", |_| "DPoP =".into()),
        ("equals-inside", "an equals sign inside the token", |token| format!("DPoP a={token}")),
        ("bearer-no-token", "Bearer alone", |_| "Bearer".into()),
    ];
    cases
        .into_iter()
        .map(|(name, title, change)| {
            let case = world.resource().authorization(|token| vec![change(token)]);
            let why = "credentials are the scheme, one or more spaces, one token68";
            case.refused("credentials.malformed", &["R-RS-02", "R-ERR-09"], name, title, why)
        })
        .collect()
}

fn bindings<'w>(world: &'w World) -> Vec<Case<'w>> {
    let cnf = |value: Value| world.resource().token(world.token(&world.p256).set("cnf", value));
    let jkt = world.p256.jkt();
    let x5t = "bwcK0esc3ACC3DB2Y5_lESsXE8o9ltc05O89jdN-dg2";
    let mut cases = Vec::new();
    for (name, value, title) in [
        ("null", Value::Null, "cnf is null"),
        ("string", json!(jkt), "cnf is the thumbprint itself"),
        ("array", json!([{"jkt": jkt}]), "cnf is an array"),
        ("empty", json!({}), "cnf is empty"),
        ("jkt-null", json!({"jkt": null}), "jkt is null"),
        ("jkt-number", json!({"jkt": 1}), "jkt is a number"),
        ("jkt-array", json!({"jkt": [jkt]}), "jkt is an array"),
        ("jkt-empty", json!({"jkt": ""}), "jkt is empty"),
        ("jkt-short", json!({"jkt": jkt[1..]}), "jkt lacks a letter"),
        ("jkt-padded", json!({"jkt": format!("{jkt}=")}), "jkt has padding"),
        ("jkt-name-case", json!({"JKT": jkt}), "the name is spelled JKT"),
        ("certificate", json!({"x5t#S256": x5t}), "a certificate is demanded"),
        ("certificate-and-jkt", json!({"jkt": jkt, "x5t#S256": x5t}), "a certificate is demanded as well"),
        ("key-itself", json!({"jwk": world.p256.public()}), "cnf holds the key itself"),
        ("unknown-method", json!({"jkt": jkt, "future": true}), "an unknown method beside jkt"),
    ] {
        let why = "the token must be confirmed by jkt alone, or it is good under no scheme";
        let rows = &["R-RS-05", "R-RS-08", "R-RS-09", "R-ERR-11"];
        cases.push(cnf(value).refused("token.confirmation", rows, name, title, why));
    }
    let bearer = |case: Case<'w>| case.authorization(|token| vec![format!("Bearer {token}")]);
    let served = |case: Case<'w>| case.policy("unbound_tokens", "served");
    let why = "a bound token under Bearer is a stolen one for all the server knows";
    let rows = &["R-RS-06", "R-ERR-07"];
    cases.extend([
        served(bearer(world.resource())).refused(
            "token.downgrade",
            rows,
            "with-proof",
            "a bound token as Bearer, with a good proof",
            why,
        ),
        served(bearer(world.resource().proofs(|_| Vec::new()))).refused(
            "token.downgrade",
            rows,
            "without-proof",
            "a bound token as Bearer, without a proof",
            why,
        ),
        bearer(world.resource().proofs(|_| Vec::new())).refused(
            "token.downgrade",
            rows,
            "dpop-only",
            "a bound token as Bearer where only DPoP is served",
            why,
        ),
        world.resource().authorization(|token| vec![format!("bEARER {token}")]).refused(
            "token.downgrade",
            rows,
            "scheme-case",
            "a bound token as bEARER",
            why,
        ),
        served(bearer(cnf(json!({"x5t#S256": x5t})))).refused(
            "token.confirmation",
            &["R-RS-08"],
            "bearer-certificate",
            "a token that demands a certificate, as Bearer",
            "a method that is not understood is not passed over",
        ),
    ]);
    let unbound = || world.resource().token(world.token(&world.p256).unset("cnf"));
    let why = "this resource takes bound tokens only under DPoP";
    cases.extend([
        unbound().refused("token.unbound", &["R-RS-07", "R-ERR-11"], "dpop", "an unbound token with a good proof", why),
        served(unbound()).refused(
            "token.unbound",
            &["R-RS-07"],
            "dpop-where-bearer-is-served",
            "an unbound token under DPoP where unbound ones are served",
            why,
        ),
        bearer(unbound()).refused(
            "token.unbound",
            &["R-RS-26"],
            "bearer",
            "an unbound token as Bearer where none are served",
            "unbound tokens are refused under any scheme",
        ),
    ]);
    let stolen = |name: &str, case: Case<'w>, title: &str| {
        case.refused(
            "key.mismatch",
            &["R-PRF-39", "R-ERR-11", "R-TOK-01"],
            name,
            title,
            "a thief has the token and not the key",
        )
    };
    cases.extend([
        stolen("thief", world.resource().token(world.token(&world.thief)), "a token bound to another key of the kind"),
        stolen(
            "other-kind",
            world.resource().token(world.token(&world.ed25519)),
            "a token bound to a key of another kind",
        ),
        stolen(
            "swapped-kind",
            world.resource_of(&world.rsa, "PS256").token(world.token(&world.p256)),
            "a proof by an RSA key",
        ),
        cnf(json!({"jkt": "A".repeat(43)})).refused(
            "key.mismatch",
            &["R-PRF-39"],
            "zeros",
            "jkt of nothing but zeros",
            "it is the thumbprint of no key of ours",
        ),
    ]);
    for (name, scope, title) in [
        ("other", json!("orders:write"), "the token has another scope"),
        ("longer", json!("orders:read:all"), "a scope that begins alike"),
        ("case", json!("Orders:Read"), "the scope in another letter case"),
        ("empty", json!(""), "an empty scope"),
    ] {
        let case = world.resource().token(world.token(&world.p256).set("scope", scope));
        cases.push(case.refused(
            "scope.insufficient",
            &["R-RS-20", "R-ERR-13"],
            name,
            title,
            "the token is good and not enough",
        ));
    }
    let none = world.resource().token(world.token(&world.p256).unset("scope"));
    cases.push(none.refused(
        "scope.insufficient",
        &["R-RS-20"],
        "missing",
        "the token has no scope",
        "the token is good and not enough",
    ));
    cases
}

fn replays<'w>(world: &'w World) -> Vec<Case<'w>> {
    let rows = &["R-PRF-40", "R-SEC-02", "R-SEC-03"];
    let why = "a proof is accepted once in its whole acceptance time";
    let good = world.resource();
    let seen = |case: Case<'w>, earlier: &Case<'w>, at: u64, name: &str, title: &str| {
        case.after(earlier, at).refused("replay.seen", rows, name, title, why)
    };
    let ahead = world.resource().proof(|proof| proof.set("iat", NOW + 60));
    let later = ahead.clone().at(NOW + 360);
    let nonce = good.clone().proof(|proof| proof.set("nonce", super::case::fresh_nonce(0)).set("iat", NOW - 86_000));
    vec![
        seen(good.clone(), &good, NOW, "at-once", "the same request again"),
        seen(good.clone().at(NOW + 300), &good, NOW, "last-second", "the same request in the last second of its life"),
        seen(later, &ahead, NOW, "from-the-future", "a proof from 60 s ahead, again 360 s later"),
        seen(
            nonce.clone().at(NOW + 300),
            &nonce,
            NOW,
            "timed-by-nonce",
            "a proof timed by its nonce, in its last second",
        ),
        seen(good.clone().target("/orders?page=2"), &good, NOW, "other-query", "the same proof with another query"),
        seen(
            good.clone().proof(|proof| proof.set("htu", "HTTPS://api.example.com:443/./orders")),
            &good,
            NOW,
            "other-spelling",
            "the same jti with htu in another spelling",
        ),
        seen(
            good.clone().proof(|proof| proof.set("iat", NOW - 1)),
            &good,
            NOW,
            "same-jti",
            "another proof with the same jti",
        ),
        good.clone().policy("store", "reopened").refused(
            "replay.forgotten",
            rows,
            "reopened",
            "the store begins anew while the proof is judged",
            "nobody knows any more what was there",
        ),
        good.clone().proof(|proof| proof.set("jti", "another")).after(&good, NOW).policy("per_key", 1).refused(
            "replay.quota",
            &["R-SEC-05"],
            "one-entry",
            "a second proof of a key that may have one live entry",
            "one key cannot fill the store",
        ),
    ]
}
