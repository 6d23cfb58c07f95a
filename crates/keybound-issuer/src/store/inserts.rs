//! New records of many requests by one statement: most writes are one new record, and what it costs is the way to the database
//! and back.

use serde::Serialize;
use sqlx::AnyConnection;

use super::Change;
use super::sql::{Work, seconds};

#[derive(Serialize)]
struct Row<'a> {
    kind: &'a str,
    id: &'a str,
    family: &'a str,
    expires: i64,
    body: &'a str,
}

/// Whether it is one new record, of text that databases take from JSON as it was.
pub(super) fn is_one(work: &Work) -> bool {
    let [Change::Insert { id, family, body, .. }] = &*work.changes else { return false };
    ![id, family, body].iter().any(|text| text.contains('\0'))
}

/// Inserts the records of these by a statement of one parameter, an array of JSON. Whether that was done: nothing is, where one
/// of the names is there, or where another transaction got in the way.
pub(super) async fn at_once(
    connection: &mut AnyConnection,
    statement: &'static str,
    group: &[Work],
) -> sqlx::Result<bool> {
    let rows: Vec<Row<'_>> = group.iter().flat_map(|work| &work.changes).filter_map(row).collect();
    let rows = serde_json::to_string(&rows).map_err(|error| sqlx::Error::Encode(error.into()))?;
    match sqlx::query(statement).bind(rows).execute(connection).await {
        Ok(_) => Ok(true),
        Err(sqlx::Error::Database(error)) if error.is_unique_violation() || lost(&*error) => Ok(false),
        Err(error) => Err(error),
    }
}

/// Whether a transaction lost against another one, and has to begin again.
pub(super) fn lost(error: &dyn sqlx::error::DatabaseError) -> bool {
    matches!(error.code().as_deref(), Some("40001" | "40P01"))
}

fn row(change: &Change) -> Option<Row<'_>> {
    let Change::Insert { kind, id, family, expires, body } = change else { return None };
    Some(Row { kind: kind.as_str(), id, family, expires: seconds(*expires), body })
}
