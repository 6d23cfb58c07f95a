use super::*;

fn target(uri: &str) -> TargetUri {
    TargetUri::parse(uri).unwrap()
}

// R-CLI-12
#[test]
fn plain_http_is_for_loopback_and_only_if_allowed() {
    for (uri, never, loopback) in [
        ("https://api.example.com/", true, true),
        ("https://127.0.0.1/", true, true),
        ("http://127.0.0.1:8080/x", false, true),
        ("http://127.9.8.7/", false, true),
        ("http://localhost/", false, true),
        ("http://localhost:3000/", false, true),
        ("http://[::1]:3000/", false, true),
        ("http://api.example.com/", false, false),
        ("http://localhost.example.com/", false, false),
        ("http://127.0.0.1.example.com/", false, false),
        ("http://128.0.0.1/", false, false),
        ("http://0.0.0.0/", false, false),
        ("http://[::2]/", false, false),
        ("http://[::ffff:127.0.0.1]/", false, false),
        ("http://10.0.0.1/", false, false),
    ] {
        let uri = target(uri);
        assert_eq!(permitted(&uri, PlainHttp::Never).is_ok(), never, "{uri:?}");
        assert_eq!(permitted(&uri, PlainHttp::Loopback).is_ok(), loopback, "{uri:?}");
    }
}

// R-CLI-18
#[test]
fn a_redirect_stays_on_its_origin() {
    let from = target("https://api.example.com/a");
    for (to, same) in [
        ("https://api.example.com/b?q", true),
        ("https://API.example.com:443/b", true),
        ("http://api.example.com/a", false),
        ("https://example.com/a", false),
        ("https://api.example.com.evil.example/a", false),
        ("https://api.example.com:444/a", false),
    ] {
        assert_eq!(same_origin(&from, &target(to)), same, "{to}");
    }
}

// R-CLI-13
#[test]
fn the_algorithm_is_on_every_list() {
    let set = |algs: &[Alg]| algs.iter().copied().collect::<AlgSet>();
    let (es, ed, rs) = (Alg::Es256, Alg::Ed25519, Alg::Rs256);
    for (ours, theirs, expected) in [
        (set(&[es, ed]), vec![], Ok(es)),
        (set(&[es, ed]), vec![set(&[ed, rs])], Ok(ed)),
        (set(&[es, ed, rs]), vec![set(&[es, rs]), set(&[rs, ed])], Ok(rs)),
        (
            set(&[es]),
            vec![set(&[rs])],
            Err(NoCommonAlg {
                ours: set(&[es]),
                theirs: set(&[rs]),
            }),
        ),
        (
            set(&[es]),
            vec![set(&[es]), set(&[])],
            Err(NoCommonAlg {
                ours: set(&[es]),
                theirs: set(&[]),
            }),
        ),
        (
            set(&[]),
            vec![],
            Err(NoCommonAlg {
                ours: set(&[]),
                theirs: AlgSet::ALL,
            }),
        ),
    ] {
        assert_eq!(choose_alg(ours, &theirs), expected, "{ours} against {theirs:?}");
    }
}

// R-CLI-09
#[test]
fn only_dpop_is_bound() {
    for name in ["DPoP", "dpop", "DPOP"] {
        assert_eq!(judge_token_type(Some(name), Unbound::Refuse), Ok(Binding::Bound));
    }
    for name in [None, Some(""), Some("Bearer"), Some("DPoP "), Some("N_A")] {
        assert_eq!(judge_token_type(name, Unbound::Refuse), Err(UnboundToken), "{name:?}");
        assert_eq!(judge_token_type(name, Unbound::Tell), Ok(Binding::Unbound), "{name:?}");
    }
}
