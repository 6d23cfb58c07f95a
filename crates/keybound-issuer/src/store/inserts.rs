//! New records of many requests by one statement: most writes are one new record, and what it costs is the way to the database
//! and back.

use core::fmt::Write as _;

use sqlx::AssertSqlSafe;
use sqlx::any::{AnyArguments, AnyQueryResult};
use sqlx::query::Query;

use super::Change;
use super::sql::{Work, seconds};

/// Between the texts of a column; no JSON has it, nor has any name that an issuer makes.
pub(super) const SEPARATOR: char = '\x1f';

struct Row<'a> {
    kind: &'a str,
    id: &'a str,
    family: &'a str,
    expires: i64,
    body: &'a str,
}

/// Whether it is one new record, of text that arrives as it was with those of others.
pub(super) fn is_one(work: &Work) -> bool {
    let [Change::Insert { id, family, body, .. }] = &*work.changes else { return false };
    ![id, family, body].iter().any(|text| text.contains(['\0', SEPARATOR]))
}

/// A statement with a parameter for each value of these, each of which is one record. There is one text for each number of them, so
/// that a database that has seen it need not read it again.
pub(super) fn values(group: &[Work]) -> Query<'_, sqlx::Any, AnyArguments> {
    let mut text = String::with_capacity(128 + 32 * group.len());
    text.push_str("INSERT INTO keybound_record (kind, id, family, expires, version, body) VALUES ");
    for first in (1..).step_by(5).take(group.len()) {
        let [kind, id, family, expires, body] = [0, 1, 2, 3, 4].map(|place| first + place);
        let comma = if first == 1 { "" } else { ", " };
        let _ = write!(text, "{comma}(${kind}, ${id}, ${family}, ${expires}, 1, ${body})");
    }
    rows(group).fold(sqlx::query(AssertSqlSafe(text)), |query, row| {
        query.bind(row.kind).bind(row.id).bind(row.family).bind(row.expires).bind(row.body)
    })
}

/// The same as one text for each column of a [`Row`], for a statement that takes any number of records. One alone would be another
/// thing than its texts: an empty text has no parts.
pub(super) fn columns(group: &[Work]) -> [String; 5] {
    let mut columns = [16, 64, 64, 16, 512].map(|width| String::with_capacity(width * group.len()));
    for (number, row) in rows(group).enumerate() {
        let texts = [row.kind, row.id, row.family, &row.expires.to_string(), row.body];
        for (column, text) in columns.iter_mut().zip(texts) {
            if number > 0 {
                column.push(SEPARATOR);
            }
            column.push_str(text);
        }
    }
    columns
}

/// Whether a statement inserted them: nothing is done, where one of the names is there, or where another transaction got in the way.
pub(super) fn done(result: sqlx::Result<AnyQueryResult>) -> sqlx::Result<bool> {
    match result {
        Ok(_) => Ok(true),
        Err(sqlx::Error::Database(error)) if error.is_unique_violation() || lost(&*error) => Ok(false),
        Err(error) => Err(error),
    }
}

/// Whether a transaction lost against another one, and has to begin again.
pub(super) fn lost(error: &dyn sqlx::error::DatabaseError) -> bool {
    matches!(error.code().as_deref(), Some("40001" | "40P01"))
}

fn rows(group: &[Work]) -> impl Iterator<Item = Row<'_>> {
    group.iter().flat_map(|work| &work.changes).filter_map(|change| {
        let Change::Insert { kind, id, family, expires, body } = change else { return None };
        Some(Row { kind: kind.as_str(), id, family, expires: seconds(*expires), body })
    })
}
