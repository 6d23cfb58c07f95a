//! Authorization requests that the client signed.

use crate::people::{Parameters, form};
use crate::support::{HOLDER, Jws, MARK, SECRET, Server, Setup, THIEF};

fn asked() -> Parameters {
    Parameters::authorization().set("client_id", "objects").set("scope", "read")
}

fn object(server: &Server, parameters: &Parameters) -> Jws {
    Jws::request_object(parameters.list(), server.now())
}

fn front(object: &str) -> Parameters {
    Parameters::none().set("client_id", "objects").set("request", object)
}

// R-AS-16: by the front, or pushed; dpop_jkt in it binds the code.
#[test]
fn each_way_binds_the_code() {
    let server = Setup::new().approving().start();
    let bound = asked().set("dpop_jkt", HOLDER.thumbprint().to_string());
    let direct = server.code(&front(&object(&server, &bound).text()).set("scope", "write").set("dpop_jkt", MARK));
    let pushed = front(&object(&server, &bound).text()).set("client_secret", SECRET);
    let pushed = server.raw(form("/par", &pushed).octets());
    assert_eq!(pushed.status, 201, "{pushed:?}");
    let uri = pushed.json()["request_uri"].as_str().unwrap().to_owned();
    let pushed = server.code(&Parameters::none().set("client_id", "objects").set("request_uri", uri));
    for code in [direct, pushed] {
        let redemption = Parameters::redemption(&code).set("client_id", "objects").set("client_secret", SECRET);
        assert_eq!(server.redeem(&redemption, Some(&THIEF)).error().1, "grant.key");
        assert_eq!(server.redeem(&redemption, Some(&HOLDER)).json()["scope"], "read");
    }
}

// R-AS-16: a key beside a signed request that names none would bind nothing.
#[test]
fn a_key_outside_is_not_dropped_silently() {
    let server = Setup::new().approving().start();
    let beside = front(&object(&server, &asked()).text()).set("dpop_jkt", HOLDER.thumbprint().to_string());
    let answer = server.browse(&beside);
    assert_eq!((answer.status, answer.field("location")), (400, None), "{answer:?}");
    let pushed = server.raw(form("/par", &beside.set("client_secret", SECRET)).octets());
    assert_eq!(pushed.error().1, "request.malformed");
}

/// One thing wrong in each: nobody is sent anywhere by what nobody signed.
#[test]
fn what_is_not_signed_so_is_refused() {
    let server = Setup::new().approving().start();
    let good = || object(&server, &asked());
    let now = server.now();
    for (name, text) in [
        ("another key", good().signed_by(&THIEF).text()),
        ("another type", good().header("typ", "dpop+jwt").text()),
        ("none", good().header("alg", "none").text()),
        ("critical", good().header("crit", "x").text()),
        ("another issuer", good().claim("iss", "web").text()),
        ("no issuer", good().without("iss").text()),
        ("another client", good().claim("client_id", "web").text()),
        ("another audience", good().claim("aud", "https://zebra7.example").text()),
        ("no audience", good().without("aud").text()),
        ("no end", good().without("exp").text()),
        ("over", good().claim("exp", now - 10).text()),
        ("early", good().claim("nbf", now + 11).text()),
        ("from the future", good().claim("iat", now + 11).text()),
        ("a flag", good().claim("scope", true).text()),
        ("an object inside", good().claim("request", MARK).text()),
        ("no JWT", MARK.to_owned()),
    ] {
        let answer = server.browse(&front(&text));
        assert_eq!((answer.status, answer.field("location")), (400, None), "{name}");
        assert!(answer.body.contains("request.object"), "{name}: {answer:?}");
        let pushed = server.raw(form("/par", &front(&text).set("client_secret", SECRET)).octets());
        assert_eq!(pushed.error(), ("invalid_request_object".into(), "request.object".into()), "{name}");
    }
    let keyless = Parameters::none().set("client_id", "app").set("request", good().text());
    assert!(server.browse(&keyless).body.contains("request.object"));
    assert!(server.browse(&front(&good().text())).back("code").is_some());
}
