//! Packages from PyPI and npm, as they lie in a bundle. They are installed once for all runs, into
//! `$FN_TEST_PACKAGES`, else `fn-tests` in the user's cache directory, in a directory named after their versions.

use std::path::{Path, PathBuf};

use crate::program;

/// A directory to which `pip install --target` has installed these requirements, such as `flask==3.1.3`.
pub async fn pypi(requirements: &[&str]) -> PathBuf {
    let tag = ["-c", "import sys; print(sys.implementation.cache_tag)"];
    let tag = program::run("/usr/bin/python3", tag).await.good().stdout;
    installed(&format!("pypi-{}", tag.trim()), requirements, async |into| {
        let mut args = vec!["-m", "pip", "install", "--quiet", "--no-compile", "--target", into];
        args.extend(requirements);
        program::run("/usr/bin/python3", args).await.good();
    })
    .await
}

/// A directory whose `node_modules` has these packages, such as `express@5.3.0`.
pub async fn npm(packages: &[&str]) -> PathBuf {
    installed("npm", packages, async |into| {
        let quiet = [
            "--no-audit",
            "--no-fund",
            "--ignore-scripts",
            "--no-package-lock",
            "--silent",
        ];
        let mut args = vec!["install", "--prefix", into];
        args.extend(quiet.iter().chain(packages));
        program::run("npm", args).await.good();
    })
    .await
}

async fn installed(kind: &str, packages: &[&str], install: impl AsyncFnOnce(&str)) -> PathBuf {
    let named = packages.join("+").replace(['/', '=', '@'], "_");
    let place = cache().join(format!("{kind}-{named}"));
    if place.exists() {
        return place;
    }
    std::fs::create_dir_all(cache()).expect("the cache directory can be made");
    let fresh = tempfile::tempdir_in(cache()).expect("a directory can be made in the cache");
    let inside = fresh.path().join("packages");
    std::fs::create_dir(&inside).expect("a directory can be made");
    install(inside.to_str().expect("the cache has a name of text")).await;
    // Another test may have been faster; what it installed is the same.
    if std::fs::rename(&inside, &place).is_err() {
        assert!(place.exists(), "the packages can't be moved to {}", place.display());
    }
    place
}

fn cache() -> PathBuf {
    let variable = |name| {
        std::env::var_os(name)
            .filter(|value| !value.is_empty())
            .map(PathBuf::from)
    };
    variable("FN_TEST_PACKAGES")
        .or_else(|| variable("XDG_CACHE_HOME").map(|cache| cache.join("fn-tests")))
        .or_else(|| variable("HOME").map(|home| home.join(".cache/fn-tests")))
        .unwrap_or_else(|| std::env::temp_dir().join("fn-tests"))
}

/// Puts everything below `from` below `to` as well, without copying files where a hard link will do.
pub(crate) fn spread(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).expect("a directory can be made");
    for entry in std::fs::read_dir(from).expect("the directory can be read") {
        let entry = entry.expect("the directory can be read");
        let (source, target) = (entry.path(), to.join(entry.file_name()));
        let kind = entry.file_type().expect("an entry has a type");
        if kind.is_dir() {
            spread(&source, &target);
        } else if kind.is_symlink() {
            let leads = std::fs::read_link(&source).expect("a link can be read");
            std::os::unix::fs::symlink(leads, target).expect("a link can be made");
        } else if std::fs::hard_link(&source, &target).is_err() {
            std::fs::copy(&source, &target).expect("a file can be copied");
        }
    }
}
