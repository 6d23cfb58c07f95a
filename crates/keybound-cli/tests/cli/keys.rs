//! `keybound key`.

use std::process::Command;

use crate::support::Place;

#[test]
fn a_key_from_its_making_to_its_end() {
    let place = Place::new();
    let made = place.run(&["key", "new", "orders", "--json"]).json();
    assert_eq!((&made["name"], &made["alg"]), (&"orders".into(), &"ES256".into()));
    let jkt = made["jkt"].as_str().unwrap();

    assert_eq!(place.run(&["key", "thumbprint", "orders"]).good(), format!("{jkt}\n"));
    assert_eq!(place.run(&["key", "list"]).good(), format!("orders  ES256    {jkt}\n"));
    assert_eq!(place.run(&["key", "list", "--json"]).json(), serde_json::json!([made]));

    let public = place.run(&["key", "show", "orders"]).json();
    assert!(public.get("d").is_none(), "a private key is shown only where it is asked for");
    let private = place.run(&["key", "show", "orders", "--private"]);
    assert!(private.json().get("d").is_some());
    place.write("copy.jwk", private.good());
    let said = place.run(&["key", "thumbprint", "copy.jwk"]);
    assert_eq!(said.status, 1, "{said:?}");
    assert!(said.stderr.contains("others may read it (mode 644); mend that: chmod 600 copy.jwk"), "{said:?}");

    let said = place.run(&["key", "new", "orders"]);
    assert_eq!(said.status, 2, "{said:?}");
    assert!(said.stderr.contains("is there already and stays; delete it first, or take another name"), "{said:?}");

    let said = place.run(&["key", "delete", "orders"]);
    assert_eq!((said.status, &*said.stderr), (2, "error: nobody is here to be asked; give --yes to delete the key\n"));
    place.run(&["key", "delete", "orders", "--yes"]).good();
    assert_eq!(place.run(&["key", "list", "--json"]).json(), serde_json::json!([]));
    let said = place.run(&["key", "show", "orders"]);
    assert_eq!(said.status, 2);
    assert!(said.stderr.starts_with("error: there is no key \"orders\" in "), "{said:?}");
}

#[test]
fn names_lead_nowhere_else() {
    let place = Place::new();
    for name in ["../orders", "a/b", ".hidden", "a b", ""] {
        let said = place.run(&["key", "new", name]);
        assert_eq!(said.status, 2, "{said:?}");
        assert!(said.stderr.contains("is no name for a key"), "{said:?}");
    }
    let said = place.run(&["key", "new", "small", "--alg", "RS256", "--size", "1024"]);
    assert_eq!(said.status, 2, "{said:?}");
    let said = place.run(&["key", "new", "mac", "--alg", "HS256"]);
    assert_eq!(said.status, 2, "{said:?}");
}

#[test]
fn a_public_key_is_enough_for_what_is_public() {
    let place = Place::new();
    place.run(&["key", "new", "orders"]).good();
    let public = place.run(&["key", "show", "orders"]);
    place.write("public.jwk", public.good()); // others may read it
    let thumbprint = place.run(&["key", "thumbprint", "orders"]);
    assert_eq!(place.run(&["key", "thumbprint", "public.jwk"]).good(), thumbprint.good());
    assert_eq!(place.run(&["key", "show", "public.jwk"]).good(), public.good());
    let said = place.run(&["key", "show", "--private", "public.jwk"]);
    assert_eq!((said.status, &*said.stdout), (1, ""), "{said:?}");
    place.write("public.pem", "-----BEGIN PUBLIC KEY-----\nMCowBQYDK2VwAyEA\n-----END PUBLIC KEY-----\n");
    for file in ["public.jwk", "public.pem"] {
        let said = place.run(&["proof", "--key", file, "https://api.example.com/"]);
        assert!(said.stderr.starts_with(&format!("error: {file}: a public key; give the private one")), "{said:?}");
    }
}

// Nobody writes to the pipe: whoever opened it would wait for ever.
#[test]
fn a_pipe_is_no_key() {
    let place = Place::new();
    assert!(Command::new("mkfifo").arg(place.work().join("pipe")).status().unwrap().success());
    for args in [
        &["key", "thumbprint", "pipe"][..],
        &["key", "show", "pipe"],
        &["proof", "--key", "pipe", "https://api.example.com/"],
    ] {
        let said = place.run(args);
        assert_eq!((said.status, &*said.stderr), (1, "error: pipe: not a regular file\n"), "{args:?}");
    }
}
