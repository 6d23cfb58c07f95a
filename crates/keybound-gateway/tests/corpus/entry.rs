//! Configuration files as people write them: a `Config`, or every mistake with its place. The fuzz target and the test that
//! replays its corpus call the same function.

use std::path::Path;

use keybound_gateway::config::Config;

/// The text of a configuration file.
pub(crate) fn config(data: &[u8]) {
    let Ok(text) = core::str::from_utf8(data) else { return };
    match Config::parse(text, Path::new("keybound.toml")) {
        Ok(config) => {
            assert!(!config.origins.is_empty() && !config.routes.is_empty());
            assert!(config.listen.admin.ip().is_loopback());
        }
        Err(errors) => {
            let text = errors.to_string();
            assert!(!text.is_empty() && text.lines().all(|line| line.starts_with("keybound.toml")), "{text}");
        }
    }
}
