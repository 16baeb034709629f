//! Functions and revisions in the database. Each change is one transaction.

use std::collections::HashSet;
use std::path::PathBuf;

use jiff::Timestamp;
use rusqlite::{Connection, OptionalExtension, Row, TransactionBehavior, params};

use super::{StoreError, published};
use crate::published::Labels;
use crate::{Digest, FunctionName, Revision, RevisionNumber, Settings};

/// The columns that [`revision`] reads.
const COLUMNS: &str = "name, number, bundle, settings, created";

/// What a removal took out of the database.
pub(super) struct RemovedRows {
    pub(super) revisions: u64,
    /// Bundles that nothing names any more.
    pub(super) unnamed: Vec<Digest>,
}

/// The number that the next deploy of `name` gets.
pub(super) fn next_number(database: &Connection, name: &FunctionName) -> Result<RevisionNumber, StoreError> {
    let last: Option<i64> = database
        .prepare_cached("SELECT last FROM functions WHERE name = ?1")?
        .query_row([name.as_str()], |row| row.get(0))
        .optional()?;
    numbered(database, last.unwrap_or(0) + 1)
}

pub(super) fn deploy(
    database: &mut Connection,
    name: &FunctionName,
    bundle: Digest,
    settings: Settings,
    created: Timestamp,
    labels: Option<&Labels>,
) -> Result<Revision, StoreError> {
    let json = serde_json::to_string(&settings).expect("settings are plain data with text keys");
    let transaction = database.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let number: i64 = transaction.query_row(
        "INSERT INTO functions (name, last, live) VALUES (?1, 1, 1)
         ON CONFLICT (name) DO UPDATE SET last = last + 1, live = last + 1
         RETURNING last",
        [name.as_str()],
        |row| row.get(0),
    )?;
    transaction.execute(
        "INSERT INTO revisions (name, number, bundle, settings, created) VALUES (?1, ?2, ?3, ?4, ?5)",
        params![name.as_str(), number, bundle.to_string(), json, created.to_string()],
    )?;
    let number = numbered(&transaction, number)?;
    if let Some(labels) = labels {
        published::label(&transaction, name, number, labels)?;
    }
    transaction.commit()?;
    Ok(Revision {
        name: name.clone(),
        number,
        bundle,
        settings,
        created,
    })
}

/// The live revision of every function.
pub(super) fn live(database: &Connection) -> Result<Vec<Revision>, StoreError> {
    let query = format!(
        "SELECT {COLUMNS} FROM revisions WHERE number = \
         (SELECT live FROM functions WHERE functions.name = revisions.name) ORDER BY name"
    );
    read_all(database, &query, [])
}

pub(super) fn get(
    database: &Connection,
    name: &FunctionName,
    number: RevisionNumber,
) -> Result<Option<Revision>, StoreError> {
    let query = format!("SELECT {COLUMNS} FROM revisions WHERE name = ?1 AND number = ?2");
    // SQLite counts to 2^63; no revision has a number beyond.
    let number = i64::try_from(number.get()).unwrap_or(i64::MAX);
    Ok(read_all(database, &query, params![name.as_str(), number])?.pop())
}

/// All revisions of `name`, oldest first.
pub(super) fn revisions(database: &Connection, name: &FunctionName) -> Result<Vec<Revision>, StoreError> {
    let query = format!("SELECT {COLUMNS} FROM revisions WHERE name = ?1 ORDER BY number");
    read_all(database, &query, [name.as_str()])
}

/// The bundles that revisions and layers name.
pub(super) fn named_bundles(database: &Connection) -> Result<HashSet<Digest>, StoreError> {
    let mut statement = database.prepare("SELECT bundle FROM revisions UNION SELECT bundle FROM layer_versions")?;
    let rows = statement.query_map([], |row| row.get::<_, String>(0))?;
    rows.map(|row| digest(database, &row?)).collect()
}

/// Removes the revisions of `name`; its row stays, so that numbers are never used again.
pub(super) fn remove(database: &mut Connection, name: &FunctionName) -> Result<RemovedRows, StoreError> {
    let transaction = database.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let known = transaction.execute(
        "UPDATE functions SET live = NULL WHERE name = ?1 AND live IS NOT NULL",
        [name.as_str()],
    )?;
    if known == 0 {
        return Err(StoreError::NoFunction { name: name.clone() });
    }
    let unnamed: Vec<Digest> = {
        let mut statement = transaction.prepare(
            "SELECT DISTINCT bundle FROM revisions AS ours WHERE name = ?1 AND NOT EXISTS
             (SELECT 1 FROM revisions AS theirs WHERE theirs.bundle = ours.bundle AND theirs.name <> ?1) AND NOT EXISTS
             (SELECT 1 FROM layer_versions WHERE layer_versions.bundle = ours.bundle)",
        )?;
        let rows = statement.query_map([name.as_str()], |row| row.get::<_, String>(0))?;
        rows.map(|row| digest(&transaction, &row?))
            .collect::<Result<_, StoreError>>()?
    };
    published::forget(&transaction, name)?;
    let revisions = transaction.execute("DELETE FROM revisions WHERE name = ?1", [name.as_str()])?;
    transaction.commit()?;
    Ok(RemovedRows {
        revisions: revisions as u64,
        unnamed,
    })
}

fn read_all(database: &Connection, query: &str, params: impl rusqlite::Params) -> Result<Vec<Revision>, StoreError> {
    let mut statement = database.prepare_cached(query)?;
    let mut rows = statement.query(params)?;
    let mut revisions = Vec::new();
    while let Some(row) = rows.next()? {
        revisions.push(revision(database, row)?);
    }
    Ok(revisions)
}

fn revision(database: &Connection, row: &Row<'_>) -> Result<Revision, StoreError> {
    let name: String = row.get(0)?;
    let settings: String = row.get(3)?;
    let created: String = row.get(4)?;
    let broken = |column: &str, error: &dyn std::fmt::Display| {
        damaged(database, format!("{column} of a revision of {name}: {error}"))
    };
    Ok(Revision {
        name: name.parse().map_err(|error| broken("name", &error))?,
        number: numbered(database, row.get(1)?)?,
        bundle: digest(database, &row.get::<_, String>(2)?)?,
        settings: serde_json::from_str(&settings).map_err(|error| broken("settings", &error))?,
        created: created.parse().map_err(|error| broken("created", &error))?,
    })
}

fn digest(database: &Connection, text: &str) -> Result<Digest, StoreError> {
    text.parse()
        .map_err(|error| damaged(database, format!("bundle of a revision: {error}")))
}

fn numbered(database: &Connection, number: i64) -> Result<RevisionNumber, StoreError> {
    let known = u64::try_from(number).ok().and_then(RevisionNumber::new);
    known.ok_or_else(|| damaged(database, format!("a revision has the number {number}")))
}

pub(super) fn damaged(database: &Connection, reason: String) -> StoreError {
    StoreError::Damaged {
        path: database.path().map(PathBuf::from).unwrap_or_default(),
        reason,
    }
}
