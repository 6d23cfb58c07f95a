//! `[replay.postgres]`: how to get in where `replay.store` is PostgreSQL.

use std::path::Path;

use keybound_postgres::PostgresSettings;

use super::introspection::secret_in;
use super::section::Section;

/// The whole of the settings, of the URL and the table; `None` if anything is wrong.
pub(super) fn postgres(section: Section<'_>, mut settings: PostgresSettings, base: &Path) -> Option<PostgresSettings> {
    let password = section.text("password_file", |text| secret_in(base, text));
    let url = settings.clone();
    let schema = section.text("schema", |text| url.clone().schema(text).map_err(|error| error.to_string()));
    let failover = section.choice("failover", "a word for it", |text| match text {
        "never" => Some(false),
        "possible" => Some(true),
        _ => None,
    });
    let timeout = section.duration("timeout");
    let is_wrong = section.has("password_file") && password.is_none();
    section.finish();
    settings = schema?.value.timeout(timeout?.value);
    if let Some(password) = password {
        settings = settings.password(&password.value);
    }
    if failover?.value {
        settings = settings.may_fail_over();
    }
    (!is_wrong).then_some(settings)
}
