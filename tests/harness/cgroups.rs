//! The host's cgroups, as directories.

use std::path::{Path, PathBuf};

/// Every group below the roots of a server that belongs to a function: all of them but the server's own.
pub fn of_functions(roots: &[PathBuf]) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut waiting = roots.to_vec();
    while let Some(dir) = waiting.pop() {
        for path in directories(&dir)
            .into_iter()
            .filter(|path| path.file_name().is_some_and(|name| name != "supervisor"))
        {
            waiting.push(path.clone());
            found.push(path);
        }
    }
    found
}

fn directories(dir: &Path) -> Vec<PathBuf> {
    // A group may go between the listing and the look into it; nothing is below it then.
    let Ok(entries) = std::fs::read_dir(dir) else {
        return Vec::new();
    };
    entries
        .flatten()
        .filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()))
        .map(|entry| entry.path())
        .collect()
}
