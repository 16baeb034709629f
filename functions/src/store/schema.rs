//! The database file: whether it is ours, which version it has, and the tables of this version.

use std::fs::OpenOptions;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use rusqlite::{Connection, OpenFlags};

use super::StoreError;

/// "fn01" in ASCII, so that `file` and we know the database.
const APPLICATION: i64 = 0x666e_3031;
/// The version of the tables that all steps make.
pub(super) const VERSION: i64 = STEPS.len() as i64;

/// From nothing to the tables of today, one step for each version. A step that was released is never changed.
const STEPS: [&str; 3] = [FUNCTIONS, PUBLISHED, LAYERS];

/// A function stays when its revisions go, with nothing live: its numbers go on from `last` if the name is
/// used again.
const FUNCTIONS: &str = "
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

/// What Lambda's API keeps. A function that is removed and made again counts its versions from 1.
const PUBLISHED: &str = "
    ALTER TABLE functions ADD COLUMN published INTEGER NOT NULL DEFAULT 0;
    CREATE TABLE versions (
        name        TEXT    NOT NULL REFERENCES functions (name),
        number      INTEGER NOT NULL,
        revision    INTEGER NOT NULL,
        description TEXT    NOT NULL,
        created     TEXT    NOT NULL,
        PRIMARY KEY (name, number),
        FOREIGN KEY (name, revision) REFERENCES revisions (name, number)
    ) STRICT, WITHOUT ROWID;
    CREATE TABLE aliases (
        name     TEXT NOT NULL REFERENCES functions (name),
        alias    TEXT NOT NULL,
        document TEXT NOT NULL,
        PRIMARY KEY (name, alias)
    ) STRICT, WITHOUT ROWID;
    CREATE TABLE labels (
        name     TEXT    NOT NULL,
        number   INTEGER NOT NULL,
        document TEXT    NOT NULL,
        PRIMARY KEY (name, number),
        FOREIGN KEY (name, number) REFERENCES revisions (name, number)
    ) STRICT, WITHOUT ROWID;
    CREATE TABLE facets (
        name      TEXT NOT NULL REFERENCES functions (name),
        kind      TEXT NOT NULL,
        qualifier TEXT NOT NULL,
        document  TEXT NOT NULL,
        PRIMARY KEY (name, kind, qualifier)
    ) STRICT, WITHOUT ROWID;
";

/// Layers of Lambda's API. A name stays when its versions go, so that no number is used again.
const LAYERS: &str = "
    CREATE TABLE layer_names (
        name TEXT PRIMARY KEY NOT NULL,
        last INTEGER NOT NULL
    ) STRICT, WITHOUT ROWID;
    CREATE TABLE layer_versions (
        name     TEXT    NOT NULL REFERENCES layer_names (name),
        number   INTEGER NOT NULL,
        bundle   TEXT    NOT NULL,
        created  TEXT    NOT NULL,
        document TEXT    NOT NULL,
        PRIMARY KEY (name, number)
    ) STRICT, WITHOUT ROWID;
    CREATE INDEX layer_versions_of_bundle ON layer_versions (bundle);
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
    if version < VERSION {
        // All or nothing: a crash in the middle leaves the version that was.
        let transaction = connection.transaction().map_err(failed)?;
        let done = usize::try_from(version).unwrap_or_default();
        for step in &STEPS[done..] {
            transaction.execute_batch(step).map_err(failed)?;
        }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_database_of_the_first_version_is_brought_up_with_everything_in_it() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("fn.db");
        let old = Connection::open(&path).unwrap();
        old.execute_batch(FUNCTIONS).unwrap();
        old.pragma_update(None, "application_id", APPLICATION).unwrap();
        old.pragma_update(None, "user_version", 1).unwrap();
        old.execute_batch(
            "INSERT INTO functions VALUES ('a', 2, 2); INSERT INTO revisions VALUES ('a', 2, 'b', 's', 'c');",
        )
        .unwrap();
        drop(old);
        for _ in 0..2 {
            let database = open(&path).unwrap();
            assert_eq!(pragma(&database, "user_version").unwrap(), VERSION);
            let kept: (i64, i64) = database
                .query_row(
                    "SELECT live, published FROM functions JOIN revisions USING (name)",
                    [],
                    |row| Ok((row.get(0)?, row.get(1)?)),
                )
                .unwrap();
            assert_eq!(kept, (2, 0));
        }
    }
}
