//! Token and pushed authorization requests, as far as the protocol crate looks at them: role `as`.

use serde_json::{Value, json};

use super::case::{Case, NOW, World};

const FORM: &str = "application/x-www-form-urlencoded";

pub(super) fn cases(world: &World) -> Vec<Case<'_>> {
    [proofs(world), grants(world)].concat()
}

/// One of each kind of fault: the checks are those of a resource.
fn proofs<'w>(world: &'w World) -> Vec<Case<'w>> {
    let good = || world.token_request();
    let rows = &["R-AS-01", "R-AS-02", "R-ERR-15"];
    let refuse = |case: Case<'w>, code, title: &str| {
        let why = "a proof that is there and wrong refuses the request; it is never passed over";
        case.refused(code, rows, "as", title, why)
    };
    let set = |claim: &str, value: Value| good().proof(|proof| proof.set(claim, value));
    vec![
        refuse(good().proofs(|proof| vec![proof.into(), proof.into()]), "proof.repeated", "two proofs"),
        refuse(good().proof_text(""), "proof.malformed", "an empty proof"),
        refuse(good().proof_text("a.b.c"), "proof.encoding", "letters that decode to nothing whole"),
        refuse(good().proof_text("a".repeat(8193)), "proof.oversized", "a proof of 8193 octets"),
        refuse(
            good().proof(|proof| proof.header_text(|text| format!("[{text}]"))),
            "proof.json",
            "a header that is an array",
        ),
        refuse(
            good().proof(|proof| proof.head("typ", "JWT")),
            "typ.invalid",
            "a JWT of another type, such as a client assertion",
        ),
        refuse(good().proof(|proof| proof.head("alg", "none")), "alg.forbidden", "alg is none"),
        refuse(
            good().policy("algorithms", json!(["Ed25519"])),
            "alg.unsupported",
            "an algorithm that is not on the list",
        ),
        world
            .token_request_of(&world.rsa, "RS256")
            .policy("algorithms", json!(["ES256", "Ed25519", "PS256", "EdDSA"]))
            .refused(
                "alg.unsupported",
                &["R-AS-01", "R-AS-02", "R-AS-33", "R-ERR-15"],
                "as-fapi",
                "an algorithm that FAPI 2.0 does not have",
                "what is not advertised is not accepted",
            ),
        refuse(good().proof(|proof| proof.member("d", "")), "key.private", "a key with its private half"),
        refuse(
            good().proof(|proof| proof.signed_by(&world.thief, "ES256")),
            "signature.invalid",
            "signed by another key",
        ),
        refuse(set("htm", json!("GET")), "htm.mismatch", "htm is GET"),
        refuse(set("htu", json!("https://id.example.com/par")), "htu.mismatch", "htu is another endpoint"),
        refuse(set("iat", json!(NOW - 301)).policy("nonce/policy", "off"), "iat.past", "iat is 301 s ago"),
        refuse(set("iat", json!(NOW + 61)).policy("nonce/policy", "off"), "iat.future", "iat is 61 s ahead"),
        refuse(set("jti", json!("")), "jti.invalid", "an empty jti"),
        refuse(set("ath", json!(1)), "claim.invalid", "an ath of the wrong type"),
        refuse(good().after(&good(), NOW), "replay.seen", "a jti that was used before"),
        good().proof(|proof| proof.set("jti", "another")).after(&good(), NOW).policy("per_key", 1).refused(
            "replay.quota",
            &["R-SEC-05"],
            "as",
            "a second proof of a key that may have one live entry",
            "one key cannot fill the store",
        ),
    ]
}

fn grants(world: &World) -> Vec<Case<'_>> {
    let good = || world.token_request();
    let jkt = world.p256.jkt();
    let other = world.thief.jkt();
    let bound = |jkt: &str| good().policy("grant", json!({"jkt": jkt}));
    let par = |parameters: &str| {
        let endpoint = "https://id.example.com/par";
        let case = good().target("/par").policy("endpoint", endpoint).proof(|proof| proof.set("htu", endpoint));
        case.body(FORM, format!("response_type=code&client_id=demo&{parameters}"))
    };
    let malformed = |name: &str, parameters: String, title: &str| {
        let why = "dpop_jkt is one SHA-256 thumbprint of 43 letters";
        par(&parameters).refused("jkt.malformed", &["R-AS-15"], name, title, why)
    };
    vec![
        good().policy("grant", "proof").proofs(|_| Vec::new()).refused(
            "proof.required",
            &["R-AS-09", "R-AS-10", "R-ERR-17"],
            "client",
            "no proof from a client that must send one",
            "dpop_bound_access_tokens holds for every grant",
        ),
        bound(&jkt).proofs(|_| Vec::new()).refused(
            "proof.required",
            &["R-AS-06", "R-AS-14", "R-ERR-17"],
            "grant",
            "no proof for a grant that is bound to a key",
            "the grant is good with its key alone",
        ),
        bound(&other).refused(
            "grant.key",
            &["R-AS-06", "R-AS-13", "R-ERR-17"],
            "other-key",
            "a grant bound to another key",
            "whoever stole the grant has not the key",
        ),
        par(&format!("dpop_jkt={other}")).refused(
            "jkt.conflict",
            &["R-AS-19"],
            "par",
            "dpop_jkt and the proof name different keys",
            "both ways bind the code, and must agree",
        ),
        malformed("empty", "dpop_jkt=".into(), "an empty dpop_jkt"),
        malformed("short", format!("dpop_jkt={}", &jkt[1..]), "42 letters"),
        malformed("padded", format!("dpop_jkt={jkt}%3D"), "padding"),
        malformed("trailing-bits", format!("dpop_jkt={}B", "A".repeat(42)), "trailing bits that are not zero"),
        malformed("hex", format!("dpop_jkt={}", "ab".repeat(32)), "hexadecimal"),
        malformed("twice", format!("dpop_jkt={jkt}&dpop_jkt={jkt}"), "the same thumbprint twice"),
    ]
}
