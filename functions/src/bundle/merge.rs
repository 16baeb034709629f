//! One tree over another: how the layers of a function become one directory.

use std::fs::{self, Permissions};
use std::io;
use std::os::unix::fs::{FileTypeExt, PermissionsExt, symlink};
use std::path::Path;

use walkdir::WalkDir;

use super::limits::Tally;
use super::{BundleError, Limits, Refusal, packs};

/// Where a bundle keeps what a sandbox shows at `/opt`: its layers, the later ones over the earlier.
pub const LAYERS_DIR: &str = ".fn-opt";

/// Puts a copy of everything in `from` into the directory `to`, which is made if it is not there. A file takes the place of what has its path;
/// two directories become one. Links are copied as links, and nothing is placed through one. What [`pack`](super::pack) leaves out is left out.
///
/// `to` is nobody's but the caller's. The limits are the default [`Limits`], counted for `from` alone: packing counts the whole.
///
/// # Errors
/// [`BundleError::Refused`] for what no bundle can hold, [`BundleError::Read`] and [`BundleError::Write`] for files.
pub fn merge(from: &Path, to: &Path) -> Result<(), BundleError> {
    let limits = Limits::default();
    let mut tally = Tally::new(&limits);
    let walk = WalkDir::new(from)
        .into_iter()
        .filter_entry(|entry| entry.path().strip_prefix(from).is_ok_and(packs));
    for entry in walk {
        let entry = entry.map_err(|error| BundleError::Read {
            path: error.path().unwrap_or(from).to_owned(),
            source: error.into_io_error().unwrap_or_else(|| io::ErrorKind::Other.into()),
        })?;
        let inside = entry.path().strip_prefix(from).expect("the walk stays below its start");
        // The top itself has no name to add.
        let target = match inside.as_os_str().is_empty() {
            true => to.to_owned(),
            false => to.join(inside),
        };
        let reading = |source| BundleError::Read {
            path: entry.path().to_owned(),
            source,
        };
        let writing = |source| BundleError::Write {
            path: target.clone(),
            source,
        };
        let kind = entry.file_type();
        if kind.is_dir() {
            tally.directory()?;
            directory(&target).map_err(writing)?;
            continue;
        }
        tally.file()?;
        let path = super::refusal::shown(inside.as_os_str().as_encoded_bytes());
        if kind.is_symlink() {
            let points_to = fs::read_link(entry.path()).map_err(reading)?;
            make_way(&target)
                .and_then(|()| symlink(points_to, &target))
                .map_err(writing)?;
        } else if kind.is_file() {
            tally.add_bytes(entry.metadata().map_err(|error| reading(error.into()))?.len())?;
            make_way(&target).map_err(writing)?;
            fs::copy(entry.path(), &target).map_err(reading)?;
        } else if kind.is_fifo() {
            return Err(Refusal::Fifo { path }.into());
        } else if kind.is_socket() {
            return Err(Refusal::Socket { path }.into());
        } else {
            return Err(Refusal::Device { path }.into());
        }
    }
    Ok(())
}

/// Makes a directory that can be written to, unless one is there.
fn directory(path: &Path) -> io::Result<()> {
    if !fs::symlink_metadata(path).is_ok_and(|there| there.is_dir()) {
        make_way(path)?;
        fs::create_dir(path)?;
    }
    fs::set_permissions(path, Permissions::from_mode(0o755))
}

fn make_way(path: &Path) -> io::Result<()> {
    match fs::symlink_metadata(path) {
        Ok(there) if there.is_dir() => fs::remove_dir_all(path),
        Ok(_) => fs::remove_file(path),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tree(files: &[(&str, &str)]) -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        for (name, text) in files {
            let path = dir.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        dir
    }

    #[test]
    fn the_later_tree_lies_over_the_earlier() {
        let first = tree(&[("bin/a", "1"), ("lib/x", "1"), ("swap/inner", "1"), ("plain", "1")]);
        let second = tree(&[("bin/b", "2"), ("lib/x", "2"), ("swap", "2"), ("plain/inner", "2")]);
        fs::set_permissions(first.path().join("bin/a"), Permissions::from_mode(0o555)).unwrap();
        // As they lie in the store.
        fs::set_permissions(first.path().join("bin"), Permissions::from_mode(0o555)).unwrap();
        symlink("a", second.path().join("bin/link")).unwrap();
        let to = tempfile::tempdir().unwrap();
        let to = to.path().join(LAYERS_DIR);
        merge(first.path(), &to).unwrap();
        merge(second.path(), &to).unwrap();
        let read = |name: &str| fs::read_to_string(to.join(name)).unwrap();
        assert_eq!(
            ["bin/a", "bin/b", "lib/x", "swap", "plain/inner", "bin/link"].map(read),
            ["1", "2", "2", "2", "2", "1"]
        );
        assert_eq!(
            fs::metadata(to.join("bin/a")).unwrap().permissions().mode() & 0o777,
            0o555
        );
        fs::set_permissions(first.path().join("bin"), Permissions::from_mode(0o755)).unwrap();
    }

    #[test]
    fn nothing_is_placed_through_a_link() {
        let outside = tree(&[("kept", "mine")]);
        let (to, evil) = (tempfile::tempdir().unwrap(), tree(&[("way/kept", "theirs")]));
        symlink(outside.path(), to.path().join("way")).unwrap();
        merge(evil.path(), to.path()).unwrap();
        assert_eq!(fs::read_to_string(outside.path().join("kept")).unwrap(), "mine");
        assert_eq!(fs::read_to_string(to.path().join("way/kept")).unwrap(), "theirs");
    }

    #[test]
    fn what_no_bundle_can_hold_is_refused_and_what_it_leaves_out_is_left_out() {
        let from = tree(&[("a/__pycache__/x", "1"), ("a/b", "2")]);
        let to = tempfile::tempdir().unwrap();
        merge(from.path(), to.path()).unwrap();
        assert!(!to.path().join("a/__pycache__").exists() && to.path().join("a/b").exists());
        let _socket = std::os::unix::net::UnixListener::bind(from.path().join("s")).unwrap();
        let refused = merge(from.path(), to.path()).unwrap_err();
        assert!(
            matches!(refused, BundleError::Refused(Refusal::Socket { .. })),
            "{refused}"
        );
        assert!(matches!(
            merge(&from.path().join("nowhere"), to.path()),
            Err(BundleError::Read { .. })
        ));
    }
}
