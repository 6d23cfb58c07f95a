//! `htu` against the target URI, and what surrounds it: Host, declared origins, paths that two programs read in two ways.

use serde_json::json;

use super::case::{Case, World};

pub(super) fn cases(world: &World) -> Vec<Case<'_>> {
    [equal(world), different(world), malformed(world), hosts(world), paths(world)].concat()
}

fn htu<'w>(world: &'w World, htu: &str) -> Case<'w> {
    world.resource().proof(|proof| proof.set("htu", htu))
}

fn equal(world: &World) -> Vec<Case<'_>> {
    let rows = &["R-URI-01", "R-URI-02", "R-URI-03", "R-URI-04", "R-URI-05"];
    let mut cases: Vec<_> = [
        ("query", "https://api.example.com/orders?page=2", "htu with a query"),
        ("fragment", "https://api.example.com/orders#top", "htu with a fragment"),
        ("query-and-fragment", "https://api.example.com/orders?a=/../b#?", "htu with both"),
        ("scheme-case", "HTTPS://api.example.com/orders", "the scheme in upper case"),
        ("host-case", "https://API.Example.COM/orders", "the host in upper case"),
        ("default-port", "https://api.example.com:443/orders", "the default port"),
        ("port-zeros", "https://api.example.com:00443/orders", "the default port with zeros before it"),
        ("empty-port", "https://api.example.com:/orders", "an empty port"),
        ("escaped-unreserved", "https://api.example.com/%6Frders", "an escaped letter in the path"),
        ("escaped-host", "https://%61pi.example.com/orders", "an escaped letter in the host"),
        ("dot-segment", "https://api.example.com/./orders", "a dot segment"),
        ("double-dot-segment", "https://api.example.com/x/../orders", "a double dot segment"),
        ("double-dot-at-root", "https://api.example.com/../orders", "a double dot segment at the root"),
        ("escaped-dot-segment", "https://api.example.com/x/%2e%2E/orders", "an escaped double dot segment"),
    ]
    .into_iter()
    .map(|(name, uri, title)| {
        let why = "normal forms are compared, without query and fragment";
        htu(world, uri).admitted("RFC 9449 4.3(9)", rows, &format!("htu-{name}"), title, why)
    })
    .collect();
    for (name, target, uri, title) in [
        ("path-root", "/", "https://api.example.com", "no path in htu and the root asked for"),
        ("path-tilde", "/~a", "https://api.example.com/%7ea", "an escaped tilde in htu"),
        ("request-tilde", "/%7Ea", "https://api.example.com/~a", "an escaped tilde in the request"),
        ("escape-case", "/a%c3%bcb", "https://api.example.com/a%C3%BCb", "hexadecimal digits in another case"),
        ("escaped-slash", "/a%2Fb", "https://api.example.com/a%2fb", "an escaped slash on both sides"),
        ("empty-segments", "/a//b", "https://api.example.com/a//b", "an empty segment on both sides"),
        ("sub-delims", "/a;b=c,d/(e)'!", "https://api.example.com/a;b=c,d/(e)'!", "reserved characters of a segment"),
    ] {
        let why = "normal forms are compared";
        let case = htu(world, uri).target(target);
        cases.push(case.admitted("RFC 9449 4.3(9)", rows, &format!("htu-{name}"), title, why));
    }
    let prefixed =
        htu(world, "https://api.example.com/v1/orders").policy("origins", json!(["https://api.example.com/v1"]));
    cases.push(prefixed.admitted(
        "RFC 9449 4.3(9)",
        &["R-URI-08"],
        "htu-prefix",
        "a path prefix that a front proxy strips",
        "the client aimed at the URI outside the proxy",
    ));
    let loopback = htu(world, "http://[::1]:8080/orders").policy("origins", json!(["http://[::1]:8080"]));
    cases.push(loopback.host(Some("[::1]:8080")).admitted(
        "RFC 9449 4.3(9)",
        &["R-URI-05"],
        "htu-ipv6",
        "plain http on loopback, by IPv6 address",
        "an address in brackets is a host",
    ));
    cases
}

fn different(world: &World) -> Vec<Case<'_>> {
    let rows = &["R-URI-03", "R-URI-04", "R-URI-06", "R-URI-09", "R-URI-11", "R-PRF-33"];
    let why = "another URI is another resource";
    let mut cases: Vec<_> = [
        ("http", "http://api.example.com/orders", "plain http"),
        ("host", "https://evil.example/orders", "another host"),
        ("subdomain", "https://x.api.example.com/orders", "a host below"),
        ("parent-domain", "https://example.com/orders", "a host above"),
        ("root-dot", "https://api.example.com./orders", "a host with a dot at its end"),
        ("port", "https://api.example.com:8443/orders", "another port"),
        ("http-port", "https://api.example.com:80/orders", "the default port of the other scheme"),
        ("path-case", "https://api.example.com/Orders", "another letter case of the path"),
        ("trailing-slash", "https://api.example.com/orders/", "a slash at the end"),
        ("double-slash", "https://api.example.com//orders", "an empty segment before"),
        ("root", "https://api.example.com/", "the root"),
        ("no-path", "https://api.example.com", "no path"),
        ("prefix-of-path", "https://api.example.com/order", "a prefix of the path"),
        ("longer-path", "https://api.example.com/orders/1", "a path below"),
        ("up", "https://api.example.com/orders/..", "dot segments that lead elsewhere"),
        ("escaped-question-mark", "https://api.example.com/orders%3F", "an escaped question mark is not a query"),
        ("path-parameter", "https://api.example.com/orders;v=1", "a path parameter"),
        ("origin-in-userlike-path", "https://evil.example/@api.example.com/orders", "the host in the path"),
        ("punycode", "https://xn--pi-9fa.example.com/orders", "a host that looks alike in Unicode"),
        ("sandwich", "https://api.example.com.evil.example/orders", "the host as a beginning of another"),
    ]
    .into_iter()
    .map(|(name, uri, title)| htu(world, uri).refused("htu.mismatch", rows, name, title, why))
    .collect();
    for (name, target, uri, title) in [
        ("escaped-slash", "/a/b", "https://api.example.com/a%2Fb", "an escaped slash is not a slash"),
        ("request-escaped-slash", "/a%2Fb", "https://api.example.com/a/b", "a slash is not an escaped slash"),
        ("request-trailing-slash", "/orders/", "https://api.example.com/orders", "the request has a slash at its end"),
        ("request-double-slash", "//orders", "https://api.example.com/orders", "the request has an empty segment"),
        ("double-escape", "/a%2541", "https://api.example.com/aA", "escapes are decoded once"),
    ] {
        cases.push(htu(world, uri).target(target).refused("htu.mismatch", rows, name, title, why));
    }
    let prefix = world.resource().policy("origins", json!(["https://api.example.com/v1"]));
    let why = "the client aimed at the URI with the prefix";
    cases.push(prefix.refused("htu.mismatch", &["R-URI-08"], "prefix-missing", "htu without the declared prefix", why));
    let forwarded = htu(world, "https://evil.example/orders").host(Some("evil.example"));
    let forwarded =
        forwarded.field("X-Forwarded-Host", "evil.example").field("Forwarded", "host=evil.example;proto=https");
    let why = "no field of the request makes a foreign proof match";
    cases.push(forwarded.refused("htu.mismatch", rows, "host-of-attacker", "a foreign proof and a Host to match", why));
    cases
}

fn malformed(world: &World) -> Vec<Case<'_>> {
    [
        ("empty", "", "an empty htu"),
        ("relative", "/orders", "a path alone"),
        ("no-scheme", "api.example.com/orders", "no scheme"),
        ("scheme-relative", "//api.example.com/orders", "no scheme, two slashes"),
        ("one-slash", "https:/api.example.com/orders", "one slash after the scheme"),
        ("no-slashes", "https:api.example.com/orders", "no slash after the scheme"),
        ("three-slashes", "https:///api.example.com/orders", "an empty host"),
        ("port-alone", "https://:443/orders", "a port without a host"),
        ("ftp", "ftp://api.example.com/orders", "another scheme"),
        ("urn", "urn:example:orders", "a name"),
        ("userinfo", "https://alice@api.example.com/orders", "user information"),
        ("userinfo-host", "https://api.example.com@evil.example/orders", "the host as user information"),
        ("empty-userinfo", "https://@api.example.com/orders", "empty user information"),
        ("backslashes", "https:\\\\api.example.com\\orders", "backslashes for slashes"),
        ("backslash-host", "https://evil.example\\@api.example.com/orders", "a backslash in the authority"),
        ("backslash-path", "https://api.example.com/x\\..\\orders", "backslashes in the path"),
        ("tab", "https://api.example.com/or\tders", "a tab that browsers drop"),
        ("line-end", "https://api.example.com/orders\n", "a line end that browsers drop"),
        ("leading-space", " https://api.example.com/orders", "a space before"),
        ("trailing-space", "https://api.example.com/orders ", "a space behind"),
        ("inner-space", "https://api.example.com/or ders", "a space in the path"),
        ("null-octet", "https://api.example.com/orders\0", "a null octet"),
        ("full-width", "https://api．example．com/orders", "full-width dots that IDNA maps to dots"),
        ("not-ascii", "https://api.example.com/ördèrs", "letters outside ASCII"),
        ("broken-escape", "https://api.example.com/%zz", "an escape that is none"),
        ("cut-escape", "https://api.example.com/orders%2", "an escape that breaks off"),
        ("quote", "https://api.example.com/\"orders\"", "quotation marks"),
        ("braces", "https://api.example.com/{orders}", "braces"),
        ("caret", "https://api.example.com/^orders", "a caret"),
        ("pipe", "https://api.example.com/a|b", "a vertical bar"),
        ("port-letters", "https://api.example.com:https/orders", "a port of letters"),
        ("port-too-large", "https://api.example.com:65536/orders", "a port that is too large"),
        ("port-sign", "https://api.example.com:+443/orders", "a port with a sign"),
        ("two-ports", "https://api.example.com:443:443/orders", "two ports"),
        ("bracket", "https://[::1/orders", "a bracket that does not close"),
        ("ipv6-zone", "https://[fe80::1%25eth0]/orders", "an address with a zone"),
        ("ipv6-bare", "https://::1/orders", "an address without brackets"),
    ]
    .into_iter()
    .map(|(name, uri, title)| {
        let why = "htu is an absolute http or https URI by RFC 3986, and is not repaired";
        htu(world, uri).refused("htu.invalid", &["R-URI-07", "R-PRF-33"], name, title, why)
    })
    .collect()
}

fn hosts<'w>(world: &'w World) -> Vec<Case<'w>> {
    let several = || {
        world.resource().role("gateway").policy(
            "origins",
            json!(["https://www.example.com", "https://api.example.com", "https://api.example.com:8443"]),
        )
    };
    let invalid = |case: Case<'w>, name: &str, title: &str| {
        let why = "exactly one well-formed Host is required";
        case.role("gateway").refused("host.invalid", &["R-URI-10", "R-SEC-17"], name, title, why)
    };
    let unknown = |case: Case<'w>, name: &str, title: &str| {
        let why = "Host chooses among declared origins and is never believed beyond that";
        case.refused("host.unknown", &["R-URI-09"], name, title, why)
    };
    let rows = &["R-URI-09"];
    let why = "Host chooses among declared origins";
    vec![
        several().admitted("RFC 9110 7.4", rows, "host-chooses", "several origins, and the Host of one", why),
        several().host(Some("API.EXAMPLE.COM:443")).admitted(
            "RFC 9110 7.4",
            rows,
            "host-spelling",
            "Host in upper case with the default port",
            "authorities are compared in normal form",
        ),
        several()
            .host(Some("api.example.com:8443"))
            .proof(|proof| proof.set("htu", "https://api.example.com:8443/orders"))
            .admitted("RFC 9110 7.4", rows, "host-port", "Host with the port of one origin", why),
        several().target("https://api.example.com/orders").admitted(
            "RFC 9112 3.2.2",
            &["R-URI-10"],
            "host-absolute-target",
            "an absolute target that agrees with Host",
            "both name one authority",
        ),
        unknown(several().host(Some("evil.example")), "stranger", "several origins and a Host of none"),
        unknown(several().host(Some("api.example.com:444")), "port", "the host of an origin with another port"),
        unknown(several().host(Some("example.com")), "parent-domain", "a domain above"),
        unknown(
            several().host(Some("evil.example")).field("X-Forwarded-Host", "api.example.com"),
            "forwarded",
            "a forwarded host of a stranger",
        ),
        invalid(world.resource().host(None), "missing", "no Host"),
        invalid(world.resource().field("Host", "api.example.com"), "doubled", "the same Host twice"),
        invalid(world.resource().field("Host", "evil.example"), "two", "two Hosts"),
        invalid(world.resource().host(Some("")), "empty", "an empty Host"),
        invalid(world.resource().host(Some("api.example.com/orders")), "path", "a path in Host"),
        invalid(world.resource().host(Some("alice@api.example.com")), "userinfo", "user information in Host"),
        invalid(world.resource().host(Some("api.example.com evil.example")), "space", "a space in Host"),
        invalid(world.resource().host(Some("api.example.com:https")), "port-letters", "a port of letters"),
        invalid(world.resource().host(Some("[::1")), "bracket", "a bracket that does not close"),
        invalid(
            world.resource().target("https://evil.example/orders"),
            "target-disagrees",
            "an absolute target of another host",
        ),
        invalid(several().host(Some("api.example.com, api.example.com")), "folded", "two Hosts folded into one"),
    ]
}

fn paths(world: &World) -> Vec<Case<'_>> {
    let path = |code, name: &str, target: &str, title: &str, why| {
        let case = world.resource().role("gateway").target(target);
        case.refused(code, &["R-URI-03", "R-URI-04"], name, title, why)
    };
    let ambiguous = |name: &str, target: &str, title: &str| {
        path("path.ambiguous", name, target, title, "two programs might read this path in two ways")
    };
    let malformed = |name: &str, target: &str, title: &str| {
        path("path.malformed", name, target, title, "a path holds nothing outside of RFC 3986")
    };
    vec![
        ambiguous("escaped-slash", "/orders%2F1", "an escaped slash"),
        ambiguous("escaped-slash-lower-case", "/orders%2f1", "an escaped slash in lower case"),
        ambiguous("escaped-backslash", "/orders%5C1", "an escaped backslash"),
        ambiguous("escaped-null", "/orders%00", "an escaped null"),
        ambiguous("dot-segment", "/./orders", "a dot segment"),
        ambiguous("double-dot-segment", "/x/../orders", "a double dot segment"),
        ambiguous("escaped-dots", "/x/%2e%2E/orders", "an escaped double dot segment"),
        ambiguous("half-escaped-dots", "/x/.%2e/orders", "a double dot segment, half escaped"),
        ambiguous("dots-at-the-end", "/orders/..", "a double dot segment at the end"),
        ambiguous("dots-with-parameters", "/x/..;v=1/orders", "a double dot segment that has parameters"),
        malformed("backslash", "/x\\..\\orders", "a backslash"),
        malformed("broken-escape", "/orders%zz", "an escape that is none"),
        malformed("cut-escape", "/orders%2", "an escape that breaks off"),
        malformed("braces", "/{orders}", "braces"),
        malformed("pipe", "/a|b", "a vertical bar"),
        malformed("asterisk", "*", "the asterisk of OPTIONS"),
    ]
}
