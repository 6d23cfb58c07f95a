//! Whole requests to a token endpoint, role `as-endpoint`: what an authorization server must answer that the protocol crate
//! alone does not decide. The policy says which clients are registered and which resources are served.

use serde_json::json;

use super::case::{Case, World};

const FORM: &str = "application/x-www-form-urlencoded";

pub(super) fn cases(world: &World) -> Vec<Case<'_>> {
    [requests(world), clients(world), grants(world)].concat()
}

/// "confidential:secret" in base64.
const BASIC: &str = "Basic Y29uZmlkZW50aWFsOnNlY3JldA==";

fn post<'w>(world: &'w World, body: &str) -> Case<'w> {
    world.token_request().role("as-endpoint").body(FORM, body).policy("issuer", "https://id.example.com").policy(
        "clients",
        json!([
            {"client_id": "confidential", "client_secret": "secret", "token_endpoint_auth_method": "client_secret_basic",
                "grant_types": ["client_credentials"], "scope": "orders:read orders:write", "dpop_bound_access_tokens": true},
            {"client_id": "public", "token_endpoint_auth_method": "none", "grant_types": ["refresh_token"],
                "scope": "orders:read", "dpop_bound_access_tokens": true},
        ]),
    ).policy("resources", json!(["https://api.example.com"]))
}

fn good<'w>(world: &'w World, body: &str) -> Case<'w> {
    post(world, body).field("Authorization", BASIC)
}

fn requests<'w>(world: &'w World) -> Vec<Case<'w>> {
    let malformed = |case: Case<'w>, name: &str, title: &str| {
        let why = "each parameter comes once, in a form";
        case.refused("request.malformed", &["R-ERR-15"], name, title, why)
    };
    let body = "grant_type=client_credentials";
    vec![
        good(world, body).admitted(
            "RFC 6749 4.4",
            &["R-AS-03", "R-AS-28"],
            "endpoint-client-credentials",
            "client credentials with a proof",
            "the token is bound, its type DPoP",
        ),
        good(world, "grant_type=client_credentials&scope=orders:read&resource=https://api.example.com").admitted(
            "RFC 8707 2",
            &["R-AS-03"],
            "endpoint-scope-and-resource",
            "a scope the client may have and a resource that is served",
            "both are good",
        ),
        malformed(good(world, ""), "no-grant-type", "an empty body"),
        malformed(good(world, "grant_type="), "grant-type-empty", "an empty grant_type"),
        malformed(
            good(world, "grant_type=client_credentials&grant_type=client_credentials"),
            "grant-type-twice",
            "grant_type twice",
        ),
        malformed(good(world, "grant_type=client_credentials&scope=a&scope=b"), "scope-twice", "scope twice"),
        malformed(
            good(world, body).body("application/json", r#"{"grant_type":"client_credentials"}"#),
            "json",
            "a JSON body",
        ),
        good(world, body).proofs(|_| Vec::new()).refused(
            "proof.required",
            &["R-AS-10"],
            "endpoint",
            "no proof from a client registered with dpop_bound_access_tokens",
            "every grant type demands it",
        ),
        good(world, body).proof(|proof| proof.signed_by(&world.thief, "ES256")).refused(
            "signature.invalid",
            &["R-AS-02"],
            "endpoint",
            "a proof signed by another key",
            "no token is issued, bound or not",
        ),
    ]
}

fn clients<'w>(world: &'w World) -> Vec<Case<'w>> {
    let body = "grant_type=client_credentials";
    let unknown = |case: Case<'w>, name: &str, title: &str| {
        let why = "a proof is not client authentication";
        case.refused("client.authentication", &["R-AS-27"], name, title, why)
    };
    vec![
        unknown(post(world, body), "none", "no client authentication, and a good proof"),
        unknown(
            post(world, body).field("Authorization", "Basic Y29uZmlkZW50aWFsOndyb25n"),
            "wrong-secret",
            "a wrong secret",
        ),
        unknown(
            post(world, body).field("Authorization", "Basic bm9ib2R5OnNlY3JldA=="),
            "unknown-client",
            "a client that is not registered",
        ),
        unknown(post(world, body).field("Authorization", "Basic !!!"), "not-base64", "credentials that are not base64"),
        unknown(
            post(world, "grant_type=client_credentials&client_id=confidential"),
            "secret-missing",
            "a confidential client without its secret",
        ),
        good(world, "grant_type=refresh_token&refresh_token=x").refused(
            "client.forbidden",
            &["R-AS-27"],
            "grant-not-registered",
            "a grant type the client is not registered for",
            "the registration says what a client may do",
        ),
        post(world, "grant_type=client_credentials&client_id=public").refused(
            "client.forbidden",
            &["R-AS-27"],
            "public-client",
            "client credentials of a public client",
            "it has no credentials",
        ),
    ]
}

fn grants(world: &World) -> Vec<Case<'_>> {
    let unsupported = |name: &str, grant: &str, title: &str| {
        let case = good(world, &format!("grant_type={grant}"));
        case.refused("grant.unsupported", &["R-AS-28"], name, title, "the metadata lists what there is")
    };
    let scope = |name: &str, scope: &str, title: &str| {
        let case = good(world, &format!("grant_type=client_credentials&scope={scope}"));
        case.refused("scope.invalid", &["R-AS-28"], name, title, "a client gets scopes it is registered for")
    };
    let target = |name: &str, resource: &str, title: &str| {
        let case = good(world, &format!("grant_type=client_credentials&resource={resource}"));
        case.refused("target.invalid", &["R-AS-28"], name, title, "tokens are for the resources of this issuer")
    };
    vec![
        unsupported("password", "password&username=a&password=b", "the password grant"),
        unsupported("unknown", "urn:example:grant", "a grant type nobody knows"),
        unsupported("letter-case", "Client_Credentials", "a grant type in another letter case"),
        post(world, "grant_type=refresh_token&refresh_token=unknown&client_id=public").refused(
            "grant.invalid",
            &["R-AS-35"],
            "refresh-token-unknown",
            "a refresh token that was never issued",
            "only what was issued is redeemed",
        ),
        scope("too-much", "orders:read+admin", "a scope the client may not have"),
        scope("malformed", "orders:read+%22", "a quotation mark in the scope"),
        target("other", "https://other.example", "a resource of somebody else"),
        target("relative", "/orders", "a resource that is no absolute URI"),
        target("fragment", "https://api.example.com%23x", "a resource with a fragment"),
    ]
}
