//! The database file: whether it is ours, which version it has, and the tables of this version.

use std::fs::OpenOptions;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use rusqlite::{Connection, OpenFlags};

use super::StoreError;

/// "fn01" in ASCII, so that `file` and we know the database.
const APPLICATION: i64 = 0x666e_3031;
/// The version of the tables below.
pub(super) const VERSION: i64 = 1;

/// A function stays when its revisions go, with nothing live: its numbers go on from `last` if the name is
/// used again.
const TABLES: &str = "
    CREATE TABLE functions (
        name TEXT PRIMARY KEY NOT NULL,
        last INTEGER NOT NULL,
        live INTEGER
    ) STRICT, WITHOUT ROWID;
    CREATE TABLE revisions (
        name     TEXT    NOT NULL REFERENCES functions (name),
        number   INTEGER NOT NULL,
        bundle   TEXT    NOT NULL,
        settings TEXT    NOT NULL,
        created  TEXT    NOT NULL,
        PRIMARY KEY (name, number)
    ) STRICT, WITHOUT ROWID;
    CREATE INDEX revisions_of_bundle ON revisions (bundle);
";

/// Opens the database at `path`, which is made if it is not there.
pub(super) fn open(path: &Path) -> Result<Connection, StoreError> {
    // SQLite would make it readable for everybody, and the files beside it take its mode.
    OpenOptions::new()
        .append(true)
        .create(true)
        .mode(0o600)
        .open(path)
        .map_err(|error| StoreError::io(path, error))?;
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let failed = |error| StoreError::database(path, error);
    let mut connection = Connection::open_with_flags(path, flags).map_err(failed)?;

    let application: i64 = pragma(&connection, "application_id").map_err(failed)?;
    let version: i64 = pragma(&connection, "user_version").map_err(failed)?;
    let tables: i64 = connection
        .query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0))
        .map_err(failed)?;
    let empty = application == 0 && version == 0 && tables == 0;
    if !empty && application != APPLICATION {
        return Err(StoreError::Foreign { path: path.to_owned() });
    }
    if version > VERSION {
        return Err(StoreError::NewerVersion {
            path: path.to_owned(),
            found: version,
            known: VERSION,
        });
    }
    // Every commit is on the disk when it returns: a deploy that was answered is not lost.
    connection.pragma_update(None, "journal_mode", "WAL").map_err(failed)?;
    connection.pragma_update(None, "synchronous", "FULL").map_err(failed)?;
    connection.pragma_update(None, "foreign_keys", "ON").map_err(failed)?;
    if empty {
        let transaction = connection.transaction().map_err(failed)?;
        transaction.execute_batch(TABLES).map_err(failed)?;
        transaction
            .pragma_update(None, "application_id", APPLICATION)
            .map_err(failed)?;
        transaction
            .pragma_update(None, "user_version", VERSION)
            .map_err(failed)?;
        transaction.commit().map_err(failed)?;
    }
    Ok(connection)
}

fn pragma(connection: &Connection, name: &str) -> rusqlite::Result<i64> {
    connection.pragma_query_value(None, name, |row| row.get(0))
}
