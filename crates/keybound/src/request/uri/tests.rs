use serde_json::Value;

use super::*;

const VECTORS: &str = include_str!("../../../../../vectors/spec/uri-normalization.json");

fn text(value: &Value) -> &str {
    value.as_str().unwrap()
}

fn list(value: &Value) -> &[Value] {
    value.as_array().unwrap()
}

// R-URI-01 to R-URI-06
#[test]
fn vectors_of_rfc_3986_and_9110() {
    let vectors: Value = serde_json::from_str(VECTORS).unwrap();
    for case in list(&vectors["equivalent"]) {
        for uri in list(&case["uris"]) {
            assert_eq!(normalize(text(uri)).unwrap().as_str(), text(&case["normal_form"]), "{uri}");
        }
    }
    for case in list(&vectors["distinct"]) {
        let forms: Vec<_> = list(&case["uris"]).iter().map(|uri| TargetUri::parse(text(uri)).unwrap()).collect();
        assert_ne!(forms[0], forms[1], "{case}");
    }
    for case in list(&vectors["remove_dot_segments"]) {
        assert_eq!(remove_dot_segments(text(&case["in"])), text(&case["out"]));
    }
    for case in list(&vectors["query_and_fragment_ignored"]) {
        let (target, htu) = (text(&case["request_target_uri"]), text(&case["htu"]));
        assert_eq!(TargetUri::parse(target), TargetUri::parse(htu), "{case}");
    }
}

// R-URI-07, R-URI-11
#[test]
fn what_is_not_an_absolute_http_uri() {
    for uri in [
        "",
        "/",
        "https",
        "https:",
        "https:/a",
        "https://",
        "https:///a",
        "//a/b",
        "ftp://a/",
        "javascript://a/",
        "a.example/",
        " https://a/",
        "https://a/ ",
        "https://a/b c",
        "https://a/\u{9}b",
        "https://a\\b/",
        "https://a/b\\c",
        "https://u@a/",
        "https://u:p@a/",
        "https://@a/",
        "https://a/%",
        "https://a/%4",
        "https://a/%zz",
        "https://a:b/",
        "https://a:65536/",
        "https://a:123456/",
        "https://a:-1/",
        "https://[::1/",
        "https://[::g]/",
        "https://::1/",
        "https://[]/",
        "https://a[b]/",
        "https://ä.example/",
        "https://a/ü",
        "https://a/{b}",
        "https://a/<b>",
        "https://a/\"b\"",
        "https://a/b|c",
        "https://a/b^c",
        "https://a/b`c",
        "https://a/[b]",
        "1https://a/",
        "ht tps://a/",
        "https://a\u{0}/",
        "https://a:80:80/",
        "https://[::1]x/",
    ] {
        assert_eq!(TargetUri::parse(uri), Err(UriError), "{uri:?}");
    }
}

#[test]
fn normal_forms() {
    for (uri, normal) in [
        ("https://a", "https://a/"),
        ("https://a?b", "https://a/"),
        ("https://a#b", "https://a/"),
        ("https://A:0443/", "https://a/"),
        ("https://a:444", "https://a:444/"),
        ("http://a:443/", "http://a:443/"),
        ("https://a/%2e%2e/b", "https://a/b"),
        ("https://a/b/..", "https://a/"),
        ("https://a/b/../../../c", "https://a/c"),
        ("https://a/b/.", "https://a/b/"),
        ("https://a/.b/..c", "https://a/.b/..c"),
        ("https://a//b//", "https://a//b//"),
        ("https://a/%2f%5c%00", "https://a/%2F%5C%00"),
        ("https://a/%252e", "https://a/%252e"),
        ("https://%41.example/", "https://a.example/"),
        ("https://a%2fb/", "https://a%2Fb/"),
        ("https://[2001:DB8::1]:8443/x", "https://[2001:db8::1]:8443/x"),
        ("https://a/b:c@d;e=f,g!$&'()*+", "https://a/b:c@d;e=f,g!$&'()*+"),
    ] {
        assert_eq!(TargetUri::parse(uri).map(|uri| uri.as_str().to_owned()).as_deref(), Ok(normal), "{uri}");
    }
}

#[test]
fn normal_form_is_normal_already() {
    proptest::proptest!(|(path in "(/[a-zA-Z0-9._~!$&'()*+,;=:@%-]{0,8}){0,6}", host in "[a-zA-Z0-9.-]{1,12}")| {
        if let Ok(uri) = TargetUri::parse(&format!("https://{host}{path}")) {
            assert_eq!(TargetUri::parse(uri.as_str()), Ok(uri.clone()));
            assert_eq!(format!("{}{}", uri.origin(), uri.path()), uri.as_str());
        }
    });
}

#[test]
fn loopback_hosts() {
    for (uri, loopback) in [
        ("http://localhost/", true),
        ("http://LOCALHOST:8080", true),
        ("http://app.localhost/", true),
        ("http://127.0.0.1:1/", true),
        ("http://127.9.9.9/", true),
        ("http://[::1]:8080/", true),
        ("http://127.0.0.1.example/", false),
        ("http://localhost.example/", false),
        ("http://0.0.0.0/", false),
        ("http://10.0.0.1/", false),
        ("http://[::2]/", false),
        ("http://2130706433/", false),
    ] {
        assert_eq!(TargetUri::parse(uri).unwrap().is_loopback(), loopback, "{uri}");
    }
}

// R-URI-08
#[test]
fn origins_and_their_prefixes() {
    let origin: Origin = "https://API.example.com:443/v1/".parse().unwrap();
    assert_eq!((origin.as_str(), origin.prefix()), ("https://api.example.com", "/v1"));
    let target = origin.target(&RequestPath::parse("/orders").unwrap());
    assert_eq!(target.as_str(), "https://api.example.com/v1/orders");
    assert_eq!((target.origin(), target.path()), ("https://api.example.com", "/v1/orders"));
    assert_eq!("https://api.example.com/v1".parse(), Ok(origin));
    assert_eq!("http://api.example.com".parse::<Origin>(), Err(OriginError::NotHttps));
    assert_eq!("https://api.example.com/?a".parse::<Origin>(), Err(OriginError::Surplus));
    assert_eq!("api.example.com".parse::<Origin>(), Err(OriginError::Malformed));
    assert!("http://127.0.0.1:8080".parse::<Origin>().is_ok());
}

#[test]
fn paths_that_two_programs_read_in_two_ways() {
    for (path, normal, ambiguous) in [
        ("/", "/", false),
        ("", "/", false),
        ("/a/b", "/a/b", false),
        ("/%7Ea", "/~a", false),
        ("/a//b/", "/a//b/", false),
        ("/.a", "/.a", false),
        ("/a%2fb", "/a%2Fb", true),
        ("/a%5Cb", "/a%5Cb", true),
        ("/a%00", "/a%00", true),
        ("/a/../b", "/b", true),
        ("/a/./b", "/a/b", true),
        ("/a/%2e%2E/b", "/b", true),
        ("/a/.%2e", "/", true),
        ("/.", "/", true),
        ("/a;v=1/b", "/a;v=1/b", false),
        ("/a;..", "/a;..", false),
        ("/a/..;/b", "/a/..;/b", true),
        ("/a/%2E.;v=1", "/a/..;v=1", true),
        ("/a/.%3b/b", "/a/.%3B/b", true),
    ] {
        let read = RequestPath::parse(path).unwrap();
        assert_eq!(read.as_str(), normal, "{path}");
        assert_eq!(read.unambiguous().is_err(), ambiguous, "{path}");
    }
    for path in ["", "/", "/a/b/", "/a/../b", "/@a:b+c"] {
        assert!(RequestPath::parse(path).unwrap().is_simple(), "{path}");
    }
    for path in ["//", "/a//b", "/a/..//b", "/a;v=1", "/a%3bv=1", "/a%40", "/%61"] {
        assert!(!RequestPath::parse(path).unwrap().is_simple(), "{path}");
    }
    for path in ["a", "*", "/a\\b", "/a b", "/%", "/ä"] {
        assert_eq!(RequestPath::parse(path).unwrap_err().reason(), Reason::PathMalformed, "{path}");
    }
}
