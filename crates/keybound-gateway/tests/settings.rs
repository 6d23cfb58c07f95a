//! `docs/settings.md` is printed from the table of settings, and what other pages show can be used. After a change there:
//! `UPDATE=1 cargo test -p keybound-gateway --test settings`.

use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use keybound_gateway::config::{Config, reference_text};
use keybound_issuer::keys::SealingKeys;

fn book() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs")
}

#[test]
fn the_page_is_the_table() {
    let path = book().join("settings.md");
    let printed = reference_text();
    if std::env::var_os("UPDATE").is_some() {
        std::fs::write(&path, &printed).unwrap();
    }
    let written = std::fs::read_to_string(&path).unwrap_or_default();
    let renew = "UPDATE=1 cargo test -p keybound-gateway --test settings";
    assert!(written == printed, "docs/settings.md is not what the table says; renew it: {renew}");
}

/// The blocks of TOML of a page, but for those that are included, which have tests of their own.
fn blocks(page: &str) -> impl Iterator<Item = &str> {
    let blocks = page.split("```toml\n").skip(1).filter_map(|rest| Some(rest.split_once("```")?.0));
    blocks.filter(|block| !block.starts_with("{{#include"))
}

/// What a page leaves out.
const REST: [(&str, &str); 3] = [
    ("[[origin]]", "[[origin]]\nurl = \"https://api.example.com\"\n"),
    ("[[issuer]]", "[[issuer]]\nurl = \"https://id.example.com\"\naudience = [\"https://api.example.com\"]\n"),
    ("[[route]]", "[[route]]\npath = \"/\"\nupstream = [\"http://127.0.0.1:9000\"]\n"),
];

#[test]
fn what_the_book_shows_is_a_configuration() {
    let folder = tempfile::tempdir().unwrap();
    let rcgen::CertifiedKey { cert, signing_key } =
        rcgen::generate_simple_self_signed(["api.example.com".to_owned()]).unwrap();
    std::fs::write(folder.path().join("cert.pem"), cert.pem()).unwrap();
    std::fs::write(folder.path().join("key.pem"), signing_key.serialize_pem()).unwrap();
    let sealing = folder.path().join("nonce-sealing.key");
    std::fs::write(&sealing, SealingKeys::generate().unwrap().to_text().as_bytes()).unwrap();
    std::fs::set_permissions(&sealing, std::fs::Permissions::from_mode(0o600)).unwrap();
    let mut count = 0;
    for page in std::fs::read_dir(book()).unwrap().map(|entry| entry.unwrap().path()) {
        if page.extension().is_none_or(|extension| extension != "md") {
            continue;
        }
        for block in blocks(&std::fs::read_to_string(&page).unwrap()) {
            let rest = REST.iter().filter(|(table, _)| !block.contains(table));
            let text = rest.fold(block.to_owned(), |text, (_, rest)| text + rest);
            let parsed = Config::parse(&text, &folder.path().join("keybound.toml"));
            assert!(parsed.is_ok(), "{}: {block}{}", page.display(), parsed.unwrap_err());
            count += 1;
        }
    }
    assert!(count >= 6, "{count}");
}
