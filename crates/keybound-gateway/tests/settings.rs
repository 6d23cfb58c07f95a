//! `docs/settings.md` is printed from the table of settings. After a change there:
//! `UPDATE=1 cargo test -p keybound-gateway --test settings`.

use std::path::Path;

#[test]
fn the_page_is_the_table() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/settings.md");
    let printed = keybound_gateway::config::reference_text();
    if std::env::var_os("UPDATE").is_some() {
        std::fs::write(&path, &printed).unwrap();
    }
    let written = std::fs::read_to_string(&path).unwrap_or_default();
    let renew = "UPDATE=1 cargo test -p keybound-gateway --test settings";
    assert!(written == printed, "docs/settings.md is not what the table says; renew it: {renew}");
}
