//! `keybound key`.

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
    assert_eq!(said.status, 1);
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
