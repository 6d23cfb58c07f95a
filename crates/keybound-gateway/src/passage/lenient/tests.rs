use keybound::request::RequestPath;
use proptest::prelude::*;

use super::*;
use crate::config::Prefix;

/// The longest prefix that covers a path in normal form, and whether its paths are disputed.
fn choose(prefixes: &[&str], path: &str) -> Option<(usize, bool)> {
    let path = RequestPath::parse(path).unwrap();
    let covering = |(_, prefix): &(usize, &&str)| prefix.parse::<Prefix>().unwrap().covers(path.as_str());
    let (number, _) = prefixes.iter().enumerate().filter(covering).max_by_key(|(_, prefix)| prefix.len())?;
    Some((number, Lenient::of(prefixes.iter().copied()).disputes(number, &path)))
}

#[test]
fn a_path_of_one_route_that_may_be_another_s() {
    for (prefixes, disputed, fine) in [
        (
            &["/", "/secret"][..],
            &["//secret", "/;x/secret", "/secret;x", "/secret%3bx", "/%3b/secret"][..],
            &["/secret/x", "/secret//x;v=1", "/secrets;x", "/a//b;v=1/", "//", "/%2563", "/%20a"][..],
        ),
        (
            &["/", "/a;v=1"],
            &["//a;v=1/x", "/a%3Bv=1/x", "/a%3bv%3d1", "/a;v=1;w", "/a;v=2", "/a"],
            &["/a;v=1/x", "/a;v=1//x;v=2", "/b", "/aa;v=1"],
        ),
        (
            &["/pub;v=1", "/pub;v=1/admin"],
            &["/pub;v=1//admin", "/pub;v=1/;/admin", "/pub;v=1/admin;x"],
            &["/pub;v=1/admin", "/pub;v=1/x", "/pub;v=1//x"],
        ),
        (
            &["/", "/@admin", "/c++", "/a:b"],
            &["/%40admin", "//%40admin/x", "/c%2b+", "/c%2B%2B/x", "/a%3ab", "/a%3Ab;v"],
            &["/@admin", "/c++/%40", "/a:b", "/%40", "/%40admins"],
        ),
        (&["/", "/%40admin"], &["/@admin", "//@admin"], &["/%40admin", "/x"]),
        (&["/", "/a", "/a;v=1"], &["/a;v=2", "/a%3Bv=1"], &["/a", "/a;v=1", "/a;v=1/x"]),
    ] {
        for path in disputed {
            assert!(choose(prefixes, path).is_some_and(|(_, disputed)| disputed), "{prefixes:?} {path}");
        }
        for path in fine {
            assert!(choose(prefixes, path).is_some_and(|(_, disputed)| !disputed), "{prefixes:?} {path}");
        }
    }
}

/// How a server reads paths.
type Server = fn(&str) -> String;

fn decoding(path: &str) -> String {
    let escapes = [("%3B", ";"), ("%40", "@"), ("%2B", "+"), ("%24", "$"), ("%3A", ":"), ("%2A", "*"), ("%3D", "=")];
    escapes.iter().fold(path.to_owned(), |path, (escape, character)| path.replace(escape, character))
}

fn merging(path: &str) -> String {
    let mut path = path.to_owned();
    while path.contains("//") {
        path = path.replace("//", "/");
    }
    path
}

fn without_parameters(path: &str) -> String {
    let bare = path.split('/').map(|segment| segment.split(';').next().unwrap_or_default());
    bare.collect::<Vec<_>>().join("/")
}

/// One that does one thing each, and some that do several in different orders.
const SERVERS: [Server; 8] = [
    decoding,
    merging,
    without_parameters,
    |path| merging(&decoding(path)),
    |path| decoding(&merging(&without_parameters(path))),
    |path| merging(&without_parameters(&decoding(path))),
    |path| without_parameters(&merging(&decoding(path))),
    |path| decoding(&without_parameters(path)),
];

/// Which routes a server's path is one of: those with the longest prefix, read as it reads everything.
fn meant(server: Server, prefixes: &[&str], path: &str) -> Vec<usize> {
    let path = server(path);
    let segments = |text: &str| text.split('/').skip(1).map(str::to_owned).collect::<Vec<_>>();
    let lengths = prefixes.iter().map(|prefix| {
        let prefix = if *prefix == "/" { Vec::new() } else { segments(&server(prefix)) };
        segments(&path).starts_with(&prefix).then_some(prefix.len())
    });
    let lengths: Vec<_> = lengths.collect();
    let longest = lengths.iter().max().copied().flatten();
    (0..prefixes.len()).filter(|number| longest.is_some() && lengths[*number] == longest).collect()
}

fn prefix() -> impl Strategy<Value = String> {
    "(/[ab@;]{1,3}|/a%3B[ab;]?|/(a|b)?%40(a|b)?){1,3}".prop_filter("no prefix", |text| text.parse::<Prefix>().is_ok())
}

fn path() -> impl Strategy<Value = String> {
    prop_oneof!["/([/;ab@]|%2F|%3B|%40|%4[01]|\\.){0,9}", "/[/;.%2F3B40ab@]{0,12}"]
}

/// A path with something written in another way.
fn rewritten(path: &str, changes: &[(usize, usize)]) -> String {
    const WRITTEN: [(&str, &str); 7] =
        [("/", "//"), ("/", "/;a/"), ("@", "%40"), (";", "%3b"), ("a", "a;b"), ("b", "b%3B"), ("%3B", ";")];
    changes.iter().fold(path.to_owned(), |path, (which, place)| {
        let (from, to) = WRITTEN[which % WRITTEN.len()];
        let places: Vec<usize> = path.match_indices(from).map(|(at, _)| at).collect();
        let Some(at) = places.get(place % places.len().max(1)) else { return path };
        [&path[..*at], to, &path[at + from.len()..]].concat()
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(20_000))]

    // What a server behind takes for a path of routes that are required is forwarded as open by none.
    #[test]
    fn nothing_protected_is_reached_through_what_is_open(
        written in proptest::collection::vec((prefix(), any::<bool>()), 1..4),
        root in any::<bool>(),
        other in path(),
        changes in proptest::collection::vec((0..7_usize, 0..6_usize), 0..4),
        aimed in any::<bool>(),
    ) {
        let path = if aimed { rewritten(&written[0].0, &changes) } else { other };
        let Ok(read) = RequestPath::parse(&path) else { return Ok(()) };
        let mut routes: Vec<(&str, bool)> = written.iter().map(|(prefix, open)| (&**prefix, *open)).collect();
        routes.push(("/", root));
        routes.sort_unstable();
        routes.dedup_by_key(|(prefix, _)| *prefix);
        let prefixes: Vec<&str> = routes.iter().map(|(prefix, _)| *prefix).collect();
        let Some((number, false)) = choose(&prefixes, &path) else { return Ok(()) };
        let Ok(read) = read.unambiguous() else { return Ok(()) };
        for (position, server) in SERVERS.into_iter().enumerate() {
            let meant = meant(server, &prefixes, read.as_str());
            prop_assert!(meant.contains(&number), "{position} {routes:?} {path} {meant:?}");
            let closed = meant.iter().all(|number| !routes[*number].1);
            prop_assert!(!(closed && routes[number].1), "{position} {routes:?} {path}");
        }
    }
}
