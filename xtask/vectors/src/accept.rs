//! What must be let through, however odd it looks.

use serde_json::json;

use super::case::{Case, NOW, World};

pub(super) fn cases(world: &World) -> Vec<Case<'_>> {
    [algorithms(world), fields(world), proofs(world), times(world), tokens(world), server(world)].concat()
}

fn algorithms(world: &World) -> Vec<Case<'_>> {
    let keys = [
        (&world.p256, &["ES256"][..]),
        (&world.p384, &["ES384"]),
        (&world.p521, &["ES512"]),
        (&world.ed25519, &["Ed25519", "EdDSA"]),
        (&world.rsa, &["RS256", "RS384", "RS512", "PS256", "PS384", "PS512"]),
    ];
    let mut cases = Vec::new();
    for (key, algs) in keys {
        for alg in algs {
            let name = format!("alg-{}", alg.to_lowercase());
            cases.push(world.resource_of(key, alg).admitted(
                "RFC 9449 4.3(6)",
                &["R-PRF-12", "R-PRF-14", "R-PRF-23", "R-PRF-39", "R-RS-04", "R-TOK-08"],
                &name,
                &format!("a good request with {alg}"),
                "every algorithm of the list is usable from end to end",
            ));
        }
    }
    cases
}

fn fields(world: &World) -> Vec<Case<'_>> {
    let good = || world.resource();
    let rows = &["R-RS-01", "R-RS-02"];
    let scheme = |name: &str, scheme: &'static str, title: &str| {
        let value = |token: &str| vec![format!("{scheme}{token}")];
        good().authorization(value).admitted("RFC 9449 7.1", rows, name, title, "the scheme has no letter case")
    };
    vec![
        scheme("scheme-lower-case", "dpop ", "the scheme in lower case"),
        scheme("scheme-upper-case", "DPOP ", "the scheme in upper case"),
        scheme("scheme-many-spaces", "DPoP    ", "several spaces between scheme and token"),
        good().proofs(|proof| vec![format!(" \t{proof}\t ")]).admitted(
            "RFC 9110 5.5",
            &["R-PRF-04"],
            "field-white-space",
            "white space around the field value",
            "it is not part of the value",
        ),
        good().proof_field("dPOP").admitted(
            "RFC 9110 5.1",
            &["R-PRF-03"],
            "field-name-case",
            "the field name in another letter case",
            "field names have no letter case",
        ),
        good().field("Proxy-Authorization", "DPoP abc").admitted(
            "RFC 9449 7.1",
            &["R-RS-12"],
            "proxy-authorization",
            "a Proxy-Authorization field beside good credentials",
            "DPoP is no scheme of Proxy-Authorization: the field is nobody's",
        ),
        good().field("X-HTTP-Method-Override", "DELETE").admitted(
            "RFC 9449 4.3(8)",
            &["R-PRF-32"],
            "method-override",
            "a method override field that says another method",
            "the method is the one of the request line",
        ),
        good().field("X-Forwarded-Host", "evil.example").field("Forwarded", "host=evil.example").admitted(
            "RFC 9110 7.4",
            &["R-URI-09"],
            "forwarded-host",
            "forwarded fields of a stranger",
            "they count from declared peers only, and here none is declared",
        ),
        good().host(Some("10.0.0.1:8080")).admitted(
            "RFC 9449 4.3(9)",
            &["R-URI-08", "R-URI-09"],
            "host-internal",
            "one declared origin and an internal Host",
            "the declared origin is used whatever Host says",
        ),
        good().target("/orders?page=2&sort=up").admitted(
            "RFC 9449 4.3(9)",
            &["R-URI-01"],
            "request-with-query",
            "the request has a query",
            "query and fragment do not enter the comparison",
        ),
        good()
            .target("/invoices")
            .proof(|proof| proof.set("htu", "https://api.example.com/invoices"))
            .after(&good(), NOW)
            .admitted(
                "RFC 9449 11.1",
                &["R-PRF-40", "R-SEC-04"],
                "jti-for-another-target",
                "the jti of a proof for another target",
                "a record is of key, jti and htu together",
            ),
        good().after(&world.resource_of(&world.ed25519, "Ed25519"), NOW).admitted(
            "RFC 9449 11.1",
            &["R-PRF-40", "R-SEC-04"],
            "jti-of-another-key",
            "a jti that another key used before",
            "one client cannot use up the jti of another",
        ),
        good().method("HEAD").proof(|proof| proof.set("htm", "HEAD")).admitted(
            "RFC 9449 4.3(8)",
            &["R-PRF-31"],
            "method-head",
            "a HEAD request with its own proof",
            "HEAD is HEAD",
        ),
        good().method("PURGE").proof(|proof| proof.set("htm", "PURGE")).admitted(
            "RFC 9110 9.1",
            &["R-PRF-31"],
            "method-unregistered",
            "a method nobody registered",
            "methods are any token",
        ),
        good().method("get").proof(|proof| proof.set("htm", "get")).admitted(
            "RFC 9110 9.1",
            &["R-PRF-31"],
            "method-lower-case",
            "a method in lower case, in htm as in the request",
            "letter case is significant, so get is a method of its own",
        ),
    ]
}

fn proofs(world: &World) -> Vec<Case<'_>> {
    let good = || world.resource();
    let ignored = "what nobody asked for is ignored";
    let unfetched = "https://evil.example/keys";
    let x5c = json!(["MIIB"]);
    vec![
        good().proof(|proof| proof.head("x-unknown", 1).set("x_unknown", json!({"a": [1]}))).admitted(
            "RFC 9449 4.2",
            &["R-PRF-28"],
            "unknown-members",
            "unknown header parameters and claims",
            ignored,
        ),
        good().proof(|proof| proof.set("cnf", json!({"jkt": world.thief.jkt()}))).admitted(
            "RFC 9449 4.2",
            &["R-PRF-28", "R-PRF-39"],
            "cnf-in-the-proof",
            "a cnf claim in the proof",
            "binding comes from the token alone",
        ),
        good()
            .proof(|proof| proof.head("jku", unfetched).head("x5u", unfetched).head("x5c", x5c).head("kid", "1"))
            .admitted(
                "RFC 8725 3.10",
                &["R-PRF-27"],
                "header-names-other-keys",
                "jku, x5u, x5c and kid in the header",
                "they cause no fetch and no choice: the key is jwk",
            ),
        good()
            .proof(|proof| {
                let proof = proof.member("x5c", json!(["MIIB"])).member("x5t#S256", "AA").member("x5u", unfetched);
                proof.member("kid", "k").member("exp", 1)
            })
            .admitted(
                "RFC 7517 4",
                &["R-PRF-21", "R-PRF-27"],
                "jwk-with-certificates",
                "x5c, x5t#S256 and x5u in jwk",
                "nothing is fetched and nobody's certificate is looked at: the key is jwk",
            ),
        good().proof(|proof| proof.member("kid", "k").member("ext", true).member("use", "sig")).admitted(
            "RFC 7517 4",
            &["R-PRF-21"],
            "jwk-optional-members",
            "optional and unknown members of jwk",
            "they do not enter the thumbprint",
        ),
        good().proof(|proof| proof.member("key_ops", json!(["verify"])).member("alg", "ES256")).admitted(
            "RFC 7517 4.3",
            &["R-PRF-22"],
            "jwk-usage-fits",
            "key_ops and alg that allow the signature",
            "they fit",
        ),
        good().proof(|proof| proof.head("b64", true)).admitted(
            "RFC 7797 3",
            &["R-PRF-26"],
            "b64-true",
            "b64 is true",
            "that is the default, said aloud",
        ),
        good().proof(|proof| proof.set("jti", "x".repeat(256))).admitted(
            "RFC 9449 11.1",
            &["R-PRF-30"],
            "jti-longest",
            "a jti of 256 octets",
            "the longest that is read",
        ),
        good().proof(|proof| proof.set("jti", "é\u{1F511}\n")).admitted(
            "RFC 9449 4.2",
            &["R-PRF-29"],
            "jti-any-text",
            "a jti outside ASCII and with a line end",
            "a jti is any string, and only its digest is kept",
        ),
        good().proof(|proof| proof.payload_text(|text| text.replace("\"htm\"", "\"\\u0068tm\""))).admitted(
            "RFC 8259 7",
            &["R-PRF-08"],
            "escaped-name",
            "a claim name with an escape",
            "an escape is another spelling",
        ),
        good().proof(|proof| proof.payload_text(|text| format!(" \n{text}\r\n\t"))).admitted(
            "RFC 8259 2",
            &["R-PRF-08"],
            "json-white-space",
            "white space around the JSON",
            "JSON allows it",
        ),
    ]
}

fn times(world: &World) -> Vec<Case<'_>> {
    let rows = &["R-PRF-34", "R-PRF-35", "R-PRF-36", "R-PRF-37"];
    let time = |name: &str, claim: &str, value: serde_json::Value, title: &str, why: &'static str| {
        let case = world.resource().proof(|proof| proof.set(claim, value));
        case.admitted("RFC 9449 4.3(11)", rows, name, title, why)
    };
    let edge = "the limit itself is inside";
    vec![
        time("iat-oldest", "iat", json!(NOW - 300), "iat is 300 s ago", edge),
        time("iat-newest", "iat", json!(NOW + 60), "iat is 60 s ahead", edge),
        time("iat-ten-ahead", "iat", json!(NOW + 10), "iat is 10 s ahead", "profiles demand that this passes"),
        time("iat-fraction", "iat", json!(1_699_999_999.25), "iat with a fraction", "a NumericDate may have one"),
        time("iat-fraction-oldest", "iat", json!(1_699_999_700.5), "iat is 299.5 s ago", edge),
        time("iat-fraction-newest", "iat", json!(1_700_000_059.5), "iat is 59.5 s ahead", edge),
        time("iat-exponent", "iat", json!(1.7e9), "iat as a floating point number", "1.7e9 is the same number"),
        time("exp-now", "exp", json!(NOW), "the proof has an exp of now", "clocks may differ by the allowance"),
        time("exp-allowance", "exp", json!(NOW - 59), "exp passed 59 s ago", "within the allowance of iat"),
        time("nbf-allowance", "nbf", json!(NOW + 60), "nbf is 60 s ahead", "within the allowance of iat"),
        {
            let case = world.resource().policy("max_age", 60).policy("max_future", 10);
            let case = case.policy("iat_always_in_window", true).proof(|proof| proof.set("iat", NOW - 60));
            case.admitted("FAPI 2.0 5.3.2.1", rows, "iat-oldest-fapi", "iat is 60 s ago under a window of 60 s", edge)
        },
    ]
}

fn tokens<'w>(world: &'w World) -> Vec<Case<'w>> {
    let token = || world.token(&world.p256);
    let admit =
        |case: Case<'w>, rows, name: &str, title: &str, why| case.admitted("RFC 9068 4", rows, name, title, why);
    let with = |token| world.resource().token(token);
    let mut cases: Vec<Case<'w>> = vec![
        admit(
            with(token().head("typ", "application/at+jwt")),
            &["R-RS-13"],
            "token-typ-long",
            "typ of the token is application/at+jwt",
            "the long form of the media type",
        ),
        admit(
            with(token().unhead("kid")),
            &["R-RS-16"],
            "token-without-kid",
            "the token does not name its key",
            "every key of its algorithm is tried",
        ),
        admit(
            with(token().set("aud", json!(["https://other.example", super::case::ORIGIN]))),
            &["R-RS-15"],
            "token-aud-array",
            "aud is an array that holds this resource",
            "any one suffices",
        ),
        admit(
            with(token().set("exp", NOW - 4)),
            &["R-RS-17"],
            "token-exp-leeway",
            "the token expired 4 s ago",
            "clocks may differ by 5 s",
        ),
        admit(
            with(token().set("nbf", NOW + 5)),
            &["R-RS-17"],
            "token-nbf-leeway",
            "the token begins in 5 s",
            "clocks may differ by 5 s",
        ),
        admit(
            with(token().set("exp", 1_700_000_600.75)),
            &["R-RS-18"],
            "token-exp-fraction",
            "exp of the token has a fraction",
            "a NumericDate may have one",
        ),
        admit(
            with(token().set("scope", "profile orders:read orders:write")),
            &["R-RS-20"],
            "token-more-scopes",
            "the token has more scopes than are asked for",
            "each that is asked for is there",
        ),
        admit(
            with(token().set("act", json!({"sub": "bob"})).set("x", json!([null]))),
            &["R-RS-18"],
            "token-unknown-claims",
            "unknown claims in the token",
            "they are nobody's here",
        ),
        admit(
            with(
                token()
                    .head("alg", "Ed25519")
                    .head("kid", "issuer-ed25519")
                    .signed_by(&world.issuer_ed25519, "Ed25519"),
            ),
            &["R-RS-16", "R-TOK-08"],
            "token-ed25519",
            "the token is signed with Ed25519",
            "the issuer may",
        ),
    ];
    let unbound = world.resource().token(token().unset("cnf"));
    let bearer = unbound.authorization(|token| vec![format!("Bearer {token}")]).proofs(|_| Vec::new());
    cases.push(bearer.policy("unbound_tokens", "served").admitted(
        "RFC 9449 7.2",
        &["R-RS-05"],
        "bearer-unbound",
        "an unbound token as Bearer where unbound tokens are served",
        "the token asks for no confirmation",
    ));
    cases
}

fn server(world: &World) -> Vec<Case<'_>> {
    let good = || world.token_request();
    let jkt = world.p256.jkt();
    let rfc_5 = "RFC 9449 5";
    vec![
        good().admitted(
            rfc_5,
            &["R-AS-01", "R-AS-03"],
            "as-token-request",
            "a token request with a proof",
            "htm is POST and htu the token endpoint",
        ),
        good().proofs(|_| Vec::new()).admitted(
            rfc_5,
            &["R-AS-04"],
            "as-without-proof",
            "a token request without a proof where none is demanded",
            "the token is then unbound, its type Bearer",
        ),
        good().proof(|proof| proof.set("ath", "nobody looks at it")).admitted(
            rfc_5,
            &["R-CLI-27"],
            "as-ath-ignored",
            "a proof with an ath that is no hash",
            "an authorization server has no token to compare it with",
        ),
        good().policy("grant", "proof").admitted(
            rfc_5,
            &["R-AS-10"],
            "as-proof-demanded",
            "a client that must send a proof does",
            "any key will do",
        ),
        good().policy("grant", json!({"jkt": jkt})).admitted(
            "RFC 9449 10",
            &["R-AS-06", "R-AS-13"],
            "as-grant-key",
            "a grant bound to the key of the proof",
            "the same key redeems it",
        ),
        good()
            .body("application/x-www-form-urlencoded", format!("response_type=code&dpop_jkt={jkt}"))
            .target("/par")
            .policy("endpoint", "https://id.example.com/par")
            .proof(|proof| proof.set("htu", "https://id.example.com/par"))
            .admitted(
                "RFC 9449 10.1",
                &["R-AS-16", "R-AS-17", "R-AS-19", "R-AS-21"],
                "as-dpop-jkt-agrees",
                "dpop_jkt and proof name the same key",
                "both ways of saying it are there, and they agree",
            ),
        good().proof(|proof| proof.set("htu", "https://ID.example.com:443/token?x")).admitted(
            "RFC 9449 4.3(9)",
            &["R-URI-01", "R-URI-02", "R-URI-05"],
            "as-htu-spelling",
            "htu of the endpoint in another spelling",
            "normal forms are compared",
        ),
        {
            // The two proofs of RFC 9449 with one jti: the first has aged out of the record when the second comes.
            let now = 1_562_262_616;
            let header = r#"{"typ":"dpop+jwt","alg":"ES256","jwk":{"kty":"EC","x":"l8tFrhx-34tV3hRICRDY9zCkDlpBhF42UQUfWVAWBFs","y":"9VE4jf_Ok_o64zbTTlcuNJajHmt6v9TDVrU0CdvGRDA","crv":"P-256"}}"#;
            let payload =
                r#"{"jti":"-BwC3ESc6acc2lTc","htm":"POST","htu":"https://server.example.com/token","iat":1562262616}"#;
            let signature = "2-GxA6T8lP4vfrg8v-FdWP0A0zdrj8igiMLvqRMUvwnQg4PtFLbdLXiOSsX0x7NVY-FNyJK70nfbV37xRZT3Lg";
            let encode = |text: &str| keybound::jws::encode_base64url(text.as_bytes());
            good()
                .host(Some("server.example.com"))
                .policy("endpoint", "https://server.example.com/token")
                .policy("epoch/opened", now - 1_000_000)
                .at(now)
                .proof_text(format!("{}.{}.{signature}", encode(header), encode(payload)))
                .admitted(
                    "RFC 9449 Figure 2",
                    &["R-PRF-23"],
                    "as-rfc9449-figure-2",
                    "the token request of RFC 9449",
                    "the specification's own example",
                )
        },
    ]
}
