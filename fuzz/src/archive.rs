//! Bundles: unpacked beside a file that must not change, and nothing may get out.

use std::fs;
use std::path::Path;

use functions::bundle::{self, Limits};

/// Small, so that each of them is met.
const LIMITS: Limits = Limits {
    files: 32,
    bytes: 64 * 1024,
    path: 300,
    depth: 8,
};
const CANARY: &[u8] = b"alive";

/// An archive of `tar`.
pub(crate) fn tar(input: &[u8]) {
    beside_canary(|_, inside| drop(bundle::unpack(input, inside, &LIMITS)));
}

/// An archive of `zip`.
pub(crate) fn zip(input: &[u8]) {
    beside_canary(|outside, inside| {
        let path = outside.join("canary.zip");
        fs::write(&path, input).expect("a scratch directory is written");
        drop(bundle::from_zip(&path, inside));
        fs::remove_file(&path).expect("what was written is still there");
    });
}

fn beside_canary(unpack: impl FnOnce(&Path, &Path)) {
    let outside = tempfile::tempdir().expect("a scratch directory is made");
    let inside = outside.path().join("inside");
    fs::create_dir(&inside).expect("a scratch directory is made");
    fs::write(outside.path().join("canary"), CANARY).expect("a scratch directory is written");
    unpack(outside.path(), &inside);

    let mut names: Vec<_> = fs::read_dir(outside.path())
        .expect("the directory is still there")
        .map(|entry| entry.expect("an entry is read").file_name())
        .collect();
    names.sort();
    assert_eq!(names, ["canary", "inside"]);
    assert_eq!(
        fs::read(outside.path().join("canary")).expect("the canary is still there"),
        CANARY
    );
    let inside = inside.canonicalize().expect("the directory is still there");
    let mut entries = 0;
    for entry in walkdir::WalkDir::new(&inside).min_depth(1) {
        let entry = entry.expect("what was unpacked can be walked");
        let kind = entry.file_type();
        assert!(
            kind.is_dir() || kind.is_file() || kind.is_symlink(),
            "{:?}",
            entry.path()
        );
        if kind.is_symlink()
            && let Ok(target) = entry.path().canonicalize()
        {
            assert!(target.starts_with(&inside), "{:?} leads to {target:?}", entry.path());
        }
        entries += 1;
    }
    // Directories above a file are made without an entry of their own.
    assert!(entries <= 4096, "{entries} entries");
}
