//! `keybound proof` and what `keybound explain` says of it.

use serde_json::{Value, json};

use crate::support::{Place, Said, claims};

const URL: &str = "https://api.example.com/orders";

fn place_with_key() -> Place {
    let place = Place::new();
    place.run(&["key", "new", "k"]).good();
    place
}

fn proof(place: &Place, args: &[&str]) -> String {
    place.run(&[&["proof", "--key", "k"][..], args].concat()).good().trim().to_owned()
}

/// Each check by name and verdict, with its reason if it was refused.
fn verdicts(said: &Said) -> Vec<(String, String)> {
    let report = said.json();
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let verdict = |check: &Value| match check["verdict"].as_str() {
        Some("refused") => (text(&check["check"]), text(&check["reason"])),
        _ => (text(&check["check"]), text(&check["verdict"])),
    };
    report["checks"].as_array().unwrap().iter().map(verdict).collect()
}

#[test]
fn a_proof_says_what_it_is_for() {
    let place = place_with_key();
    let at = [
        "-X",
        "POST",
        "--token",
        "Kz~8mXK1EalYznwH-LC-1fBAo.4Ljp~zsPE_NeO.gxU",
        "--nonce",
        "n-1",
        "--at",
        "1700000000",
    ];
    let proof = proof(&place, &[&at[..], &[URL]].concat());
    let claims = claims(&proof);
    let jti = claims["jti"].as_str().unwrap();
    assert_eq!(jti.len(), 22);
    let expected = json!({
        "jti": jti, "htm": "POST", "htu": URL, "iat": 1_700_000_000, "nonce": "n-1",
        "ath": "fUHyO2r2Z3DZ53EsNrWBb0xWXoaNy59IiKCAqksmQEo",
    });
    assert_eq!(claims, expected);
    // What servers make up may begin with a hyphen.
    let odd = place.run(&["proof", "--key", "k", "--nonce", "-n", "--token", "--t", URL]);
    assert_eq!(self::claims(odd.good())["nonce"], "-n");
    let header = place.run(&["proof", "--header", "--key", "k", URL]);
    assert!(header.good().starts_with("DPoP: ey"), "{header:?}");
    let said = place.run(&["proof", "--key", "nobody", URL]);
    assert_eq!(said.status, 2, "{said:?}");
    // R-CLI-12: what would not be sent is not signed.
    let said = place.run(&["proof", "--key", "k", "http://api.example.com/"]);
    assert_eq!(said.status, 2, "{said:?}");
    assert!(said.stderr.contains("is plain http: tokens and proofs go over https only"), "{said:?}");
    place.run(&["proof", "--key", "k", "http://127.0.0.1:8080/"]).good();
    assert_eq!(place.run(&["proof", "--key", "k", "not a URL"]).status, 2);
}

#[test]
fn every_check_has_its_verdict() {
    let place = place_with_key();
    let good = proof(&place, &["-X", "GET", "--token", "abc", URL]);
    let altered = {
        let dot = good.rfind('.').unwrap() + 1;
        let other = if good[dot..].starts_with('A') { "Q" } else { "A" };
        format!("{}{other}{}", &good[..dot], &good[dot + 1..])
    };
    let whole = ["-X", "GET", "--url", URL, "--token", "abc"];
    /// Options, the proof, and what is unlike a proof that nothing is wrong with.
    type Case<'c> = (&'c [&'c str], &'c str, &'c [(&'c str, &'c str)]);
    let cases: &[Case<'_>] = &[
        (&whole, &good, &[]),
        (&["-X", "POST", "--url", URL, "--token", "abc"], &good, &[("htm", "htm.mismatch")]),
        (&["-X", "GET", "--url", "https://api.example.com/", "--token", "abc"], &good, &[("htu", "htu.mismatch")]),
        (&["-X", "GET", "--url", URL, "--token", "abd"], &good, &[("ath", "ath.mismatch")]),
        (
            &["-X", "GET", "--url", URL, "--token", "abc", "--at", "2099-01-01T00:00:00Z"],
            &good,
            &[("time", "iat.past")],
        ),
        (&["-X", "GET", "--url", URL, "--token", "abc", "--at", "1700000000"], &good, &[("time", "iat.future")]),
        (&whole, &altered, &[("signature", "signature.invalid")]),
        (&[], &good, &[("htm", "open"), ("htu", "open"), ("ath", "open")]),
        (&[], &good[..good.len() / 2], &[("form", "proof.malformed")]),
        (&[], "", &[("form", "proof.malformed")]),
    ];
    for (args, subject, unusual) in cases {
        let said = place.run_on(subject, &[&["explain", "--json"][..], args, &["-"]].concat());
        let refused = unusual.iter().any(|(_, verdict)| verdict.contains('.'));
        assert_eq!(said.status, i32::from(refused), "{said:?}");
        for (check, verdict) in verdicts(&said) {
            let usual = if matches!(&*check, "nonce" | "binding") { "open" } else { "passed" };
            let expected = unusual.iter().find(|(name, _)| *name == check).map_or(usual, |(_, verdict)| verdict);
            assert_eq!(verdict, expected, "{check} of {said:?}");
        }
    }
}

#[test]
fn people_get_the_same_with_advice() {
    let place = place_with_key();
    let good = proof(&place, &["-X", "GET", "--nonce", "n-1", URL]);
    let said = place.run(&["explain", "-X", "GET", "--url", URL, &good]);
    let text = said.good();
    assert!(text.contains("key\n  P-256, jkt "), "{text}");
    assert!(text.contains("  pass  signature  4.3(6)\n"), "{text}");
    assert!(text.contains("  open  nonce      4.3(10)  only the server that gave it can judge it\n"), "{text}");

    let said = place.run(&["explain", "-X", "GET", "--url", "https://api.example.com/bills", &good]);
    assert_eq!(said.status, 1);
    let expected = "  fail  htu        4.3(9)  htu.mismatch: htu is not the URI of this request\n";
    assert!(said.stdout.contains(expected), "{}", said.stdout);
    assert!(said.stdout.contains("they part at octet 24"), "{}", said.stdout);
    let said = place.run(&["explain", "-X", "POST", "--url", URL, &good]);
    assert!(said.stdout.contains("htm is \"GET\", the request is \"POST\""), "{}", said.stdout);
}

#[test]
fn a_field_may_be_pasted_with_its_name() {
    let place = place_with_key();
    let good = proof(&place, &[URL]);
    let plain = place.run(&["explain", "--json", "--at", "1700000000", &good]);
    for name in ["DPoP: ", "dpop:", " DPOP : "] {
        let said = place.run(&["explain", "--json", "--at", "1700000000", &format!("{name}{good}")]);
        assert_eq!(said.stdout, plain.stdout, "{name:?}");
    }
    for nothing in ["", " "] {
        let said = place.run(&["explain", nothing]);
        assert_eq!(said.status, 2, "{said:?}");
        assert!(said.stderr.starts_with("error: there is nothing to explain"), "{said:?}");
    }
}

#[test]
fn a_reason_is_explained_by_its_code() {
    let place = Place::new();
    assert_eq!(
        place.run(&["explain", "key.mismatch"]).good(),
        "key.mismatch  the proof is signed by another key than the token is bound to\n  rule    RFC 9449 4.3(12)\n  \
         answer  invalid_token\n  do      use the key the token was issued for\n"
    );
    let said = place.run(&["explain", "--json", "key.mismatch"]);
    said.good();
    assert_eq!(said.json()["advice"], "use the key the token was issued for");
    let said = place.run(&["explain", "key.mismach"]);
    assert_eq!(said.status, 2);
    assert!(said.stderr.starts_with("error: \"key.mismach\" is no reason code; there are key."), "{said:?}");
    // Every code that answers can hold is explained.
    for reason in keybound::refusal::Reason::ALL.iter() {
        place.run(&["explain", reason.code()]).good();
    }
    for problem in keybound_gateway::answer::Problem::ALL {
        place.run(&["explain", problem.code()]).good();
    }
    let said = place.run(&["explain", "framing.ambiguus"]);
    assert!(said.stderr.ends_with("is no reason code; there are framing.ambiguous\n"), "{said:?}");
}
