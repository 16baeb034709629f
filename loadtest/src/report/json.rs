//! The JSON file: the report as it is.

use std::path::{Path, PathBuf};

use super::{Report, SCHEMA};

/// Why a report could not be written or read.
#[derive(Debug, thiserror::Error)]
pub(crate) enum JsonError {
    /// The file can't be written.
    #[error("{} can't be written: {source}", path.display())]
    Write {
        /// Which.
        path: PathBuf,
        /// The reason.
        source: std::io::Error,
    },
    /// The file can't be read.
    #[error("{} can't be read: {source}", path.display())]
    Read {
        /// Which.
        path: PathBuf,
        /// The reason.
        source: std::io::Error,
    },
    /// It is no report.
    #[error("{} is not a report of loadtest: {source}", path.display())]
    Shape {
        /// Which.
        path: PathBuf,
        /// The reason.
        source: serde_json::Error,
    },
    /// It is one of another version.
    #[error("{} has schema {found}, this program reads {SCHEMA}", path.display())]
    Schema {
        /// Which.
        path: PathBuf,
        /// What it has.
        found: u32,
    },
}

/// Writes the report, replacing the file.
pub(crate) fn write(report: &Report, path: &Path) -> Result<(), JsonError> {
    let mut text = serde_json::to_string_pretty(report).expect("a report has only finite numbers and string keys");
    text.push('\n');
    std::fs::write(path, text).map_err(|source| JsonError::Write {
        path: path.to_owned(),
        source,
    })
}

/// Reads a report that this version could have written.
pub(crate) fn read(path: &Path) -> Result<Report, JsonError> {
    let text = std::fs::read(path).map_err(|source| JsonError::Read {
        path: path.to_owned(),
        source,
    })?;
    let shape = |source| JsonError::Shape {
        path: path.to_owned(),
        source,
    };
    let any: serde_json::Value = serde_json::from_slice(&text).map_err(shape)?;
    match any.get("schema").and_then(serde_json::Value::as_u64) {
        Some(found) if found != u64::from(SCHEMA) => Err(JsonError::Schema {
            path: path.to_owned(),
            found: u32::try_from(found).unwrap_or(u32::MAX),
        }),
        _ => serde_json::from_value(any).map_err(shape),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_back() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("report.json");
        let report = crate::report::sample::report();
        write(&report, &path).unwrap();
        assert_eq!(read(&path).unwrap(), report);
    }

    #[test]
    fn other_files_are_refused() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("report.json");
        assert!(matches!(read(&path), Err(JsonError::Read { .. })));
        for (text, schema) in [("{}", false), ("nonsense", false), (r#"{"schema":99}"#, true)] {
            std::fs::write(&path, text).unwrap();
            assert_eq!(matches!(read(&path), Err(JsonError::Schema { .. })), schema, "{text}");
            assert!(read(&path).is_err());
        }
    }
}
