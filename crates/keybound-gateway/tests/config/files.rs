//! What is said of files that the configuration names, and of what stands in it twice.

use super::*;

/// What the engine would refuse, and would be the only thing it says: all at once, with lines, and nothing is waited for.
#[test]
fn every_file_is_judged() {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &[u8]| fs::write(folder.path().join(name), text).unwrap();
    let key = SoftwareKey::generate(Alg::Es256).unwrap();
    write("corrupt.json", b"{\"keys\":[");
    write("short.json", b"{}");
    write("empty.json", b"{\"keys\":[]}");
    write("symmetric.json", br#"{"keys":[{"kty":"oct","k":"c2VjcmV0"}]}"#);
    write("private.json", format!("{{\"keys\":[{}]}}", key.to_private_jwk().unwrap().as_str()).as_bytes());
    write("large.json", &vec![b' '; 300 << 10]);
    write("spoilt.json", b"spoilt");
    write("open.json", key.to_private_jwk().unwrap().as_bytes());
    let mode = |name: &str, mode| {
        fs::set_permissions(folder.path().join(name), fs::Permissions::from_mode(mode)).unwrap();
    };
    mode("spoilt.json", 0o600);
    mode("open.json", 0o644);
    let pipe = folder.path().join("pipe");
    assert!(std::process::Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    let sets = [
        ("corrupt.json", "\"corrupt.json\": not a JWK set"),
        ("short.json", "\"short.json\": not a JWK set"),
        ("empty.json", "\"empty.json\": the set holds no public key"),
        ("symmetric.json", "\"symmetric.json\": keys[0]: "),
        ("private.json", "\"private.json\": keys[0]: "),
        ("large.json", "\"large.json\" cannot be read: larger than 256 KiB"),
        ("pipe", "\"pipe\" is not a file"),
        ("/dev/zero", "\"/dev/zero\" is not a file"),
        ("missing.json", "\"missing.json\" cannot be read: No such file"),
    ];
    let at = folder.path().join("keybound.toml");
    for (own, said_of_own) in [
        ("spoilt.json", "spoilt.json: no PEM block"),
        ("open.json", "open.json: cannot be read: others may read it (mode 644); mend that: chmod 600"),
        ("pipe", "pipe: cannot be read: not a regular file"),
        ("no/such/key.json", "no/such/key.json: cannot be made: there is no such folder"),
    ] {
        for (set, said) in sets {
            let text = format!(
                "[[issuer]]\nurl = \"https://b.example\"\naudience = [\"x\"]\njwks_file = \"{set}\"\n\
                 [authorization_server]\nurl = \"https://as.example.com\"\nsigning_key = \"{own}\"\n\
                 [[authorization_server.client]]\nclient_id = \"a\"\ntoken_endpoint_auth_method = \"private_key_jwt\"\n\
                 grant_types = [\"client_credentials\"]\njwks_file = \"{set}\"\n\
                 [[authorization_server.client]]\nclient_id = \"a\"\nclient_secret = \"at least sixteen\"\n\
                 grant_types = [\"client_credentials\"]\n{REST}"
            );
            let lines = Config::parse(&text, &at).unwrap_err().to_string();
            let lines: Vec<&str> = lines.lines().map(|line| line.rsplit_once("keybound.toml:").unwrap().1).collect();
            assert_eq!(lines.len(), 3, "{lines:?}");
            assert!(lines[0].starts_with(&format!("4: issuer[0].jwks_file: {said}")), "{lines:?}");
            assert!(lines[1].starts_with("7: authorization_server.signing_key: "), "{lines:?}");
            assert!(lines[1].contains(said_of_own), "{lines:?}");
            let client = "authorization_server.client[0].jwks_file";
            assert!(lines[2].starts_with(&format!("12: {client}: {said}")), "{lines:?}");
            assert!(lines.iter().all(|line| !line.contains("c2VjcmV0")), "{lines:?}");
        }
    }
    for (file, said) in [("pipe", "not a regular file"), ("huge.toml", "larger than 1024 KiB")] {
        fs::File::create(folder.path().join("huge.toml")).unwrap().set_len(1 << 40).unwrap();
        let errors = Config::load(&folder.path().join(file), [], &Overrides::default()).unwrap_err();
        assert!(errors.to_string().contains(&format!("cannot be read: {said}")), "{errors}");
    }
}

#[test]
fn a_client_is_registered_once() {
    let client = "[[authorization_server.client]]\nclient_id = \"a\"\nclient_secret = \"at least sixteen\"\n\
                  grant_types = [\"client_credentials\"]\n";
    let text = format!("[authorization_server]\nurl = \"https://as.example.com\"\n{client}{client}{REST}");
    assert_eq!(
        lines_of(&text),
        "keybound.toml:8: authorization_server.client[1].client_id: \"a\" stands in line 4 already"
    );
}
