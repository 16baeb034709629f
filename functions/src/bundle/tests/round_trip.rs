use std::os::unix::fs::symlink;
use std::os::unix::net::UnixListener;
use std::time::{Duration, SystemTime};

use proptest::prelude::*;

use super::super::pack::pack_within;
use super::*;

fn packed(dir: &Path) -> (Packed, Vec<u8>) {
    let mut archive = Vec::new();
    let packed = pack(dir, &mut archive).unwrap();
    assert_eq!(packed.digest, crate::Digest::of(&archive));
    assert_eq!(packed.bytes, archive.len() as u64);
    (packed, archive)
}

fn write(dir: &Path, path: &str, text: &str) {
    let path = dir.join(path);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, text).unwrap();
}

#[test]
fn equal_files_have_equal_digests_whatever_their_times_and_modes() {
    let (one, two) = (Scratch::new(), Scratch::new());
    for name in ["b", "a", "d/c"] {
        write(one.path(), name, "x");
    }
    for name in ["d/c", "a", "b"] {
        write(two.path(), name, "x");
        fs::set_permissions(two.path().join(name), fs::Permissions::from_mode(0o600)).unwrap();
        let file = fs::File::options().write(true).open(two.path().join(name)).unwrap();
        file.set_modified(SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000))
            .unwrap();
    }
    assert_eq!(packed(one.path()).0, packed(two.path()).0);
    fs::set_permissions(two.path().join("b"), fs::Permissions::from_mode(0o700)).unwrap();
    assert_ne!(packed(one.path()).0.digest, packed(two.path()).0.digest);
}

#[test]
fn caches_and_history_stay_at_home() {
    let dir = Scratch::new();
    for path in [
        ".git/HEAD",
        "a/__pycache__/x.pyc",
        "node_modules/.cache/x",
        "n/node_modules/.cache/y",
        "a/.git/x",
    ] {
        write(dir.path(), path, "x");
    }
    for path in ["fn.toml", ".cache/x", ".gitignore", "node_modules/m/index.js"] {
        write(dir.path(), path, "x");
    }
    let (packed, archive) = packed(dir.path());
    assert_eq!(packed.files, 4);
    let dest = Scratch::new();
    unpack(archive.as_slice(), dest.path(), &Limits::default()).unwrap();
    let files: Vec<_> = contents(dest.path()).into_keys().collect();
    assert_eq!(
        files,
        [
            ".cache",
            ".cache/x",
            ".gitignore",
            "a",
            "fn.toml",
            "n",
            "n/node_modules",
            "node_modules",
            "node_modules/m",
            "node_modules/m/index.js"
        ]
    );
}

#[test]
fn long_paths_and_targets_come_through() {
    let dir = Scratch::new();
    let long = format!("{}/{}/{}", "a".repeat(120), "b".repeat(120), "c".repeat(120));
    write(dir.path(), &long, "x");
    symlink(&long, dir.path().join("link")).unwrap();
    let (first, archive) = packed(dir.path());
    let dest = Scratch::new();
    unpack(archive.as_slice(), dest.path(), &Limits::default()).unwrap();
    assert_eq!(fs::read(dest.path().join("link")).unwrap(), b"x");
    assert_eq!(packed(dest.path()).0, first);
}

#[test]
fn what_cannot_be_unpacked_is_not_packed() {
    let limits = Limits {
        files: 3,
        bytes: 100,
        path: 60,
        depth: 2,
    };
    let refused = |make: &dyn Fn(&Path)| {
        let dir = Scratch::new();
        make(dir.path());
        pack_within(dir.path(), io::sink(), &limits).unwrap_err().code()
    };
    let link = |target: &'static str| move |dir: &Path| symlink(target, dir.join("l")).unwrap();
    assert_eq!(refused(&link("/etc")), "bundle_link_absolute");
    assert_eq!(refused(&link("../x")), "bundle_link_outside");
    assert_eq!(refused(&link("x/../y")), "bundle_link_detour");
    assert_eq!(
        refused(&|dir| drop(UnixListener::bind(dir.join("s")).unwrap())),
        "bundle_socket"
    );
    let fifo = |dir: &Path| {
        let mode = rustix::fs::Mode::RWXU;
        rustix::fs::mknodat(rustix::fs::CWD, dir.join("f"), rustix::fs::FileType::Fifo, mode, 0).unwrap();
    };
    assert_eq!(refused(&fifo), "bundle_fifo");
    assert_eq!(
        refused(&|dir| ["a", "b", "c", "d"].iter().for_each(|name| write(dir, name, ""))),
        "bundle_too_many_files"
    );
    assert_eq!(
        refused(&|dir| write(dir, "a", &"x".repeat(101))),
        "bundle_too_many_bytes"
    );
    assert_eq!(refused(&|dir| write(dir, &"x".repeat(61), "")), "bundle_path_too_long");
    assert_eq!(refused(&|dir| write(dir, "a/b/c", "")), "bundle_too_deep");
    assert_eq!(
        pack(Path::new("/nonexistent"), io::sink()).unwrap_err().code(),
        "bundle_read"
    );
}

#[test]
fn a_writer_that_fails_is_not_blamed_on_the_files() {
    struct Full;
    impl io::Write for Full {
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            Err(io::ErrorKind::StorageFull.into())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    for size in [1, 1_000_000] {
        let dir = Scratch::new();
        write(dir.path(), "a", &"x".repeat(size));
        match pack(dir.path(), Full).unwrap_err() {
            BundleError::Write { source, .. } => assert_eq!(source.kind(), io::ErrorKind::StorageFull),
            error => panic!("{error:?}"),
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn packing_what_was_unpacked_gives_the_same_bundle(
        files in prop::collection::btree_map("[a-c]/[a-z\u{e9} ]{1,120}|[d-f]", (".{0,600}", any::<bool>()), 0..8),
        links in prop::collection::btree_map("[g-i]/[a-c]|[j-l]", "[a-f]|a/[a-c]", 0..4),
        empty in prop::option::of("[m-n]/[a-c]"),
    ) {
        let dir = Scratch::new();
        for (path, (text, executable)) in &files {
            write(dir.path(), path, text);
            let mode = if *executable { 0o755 } else { 0o644 };
            fs::set_permissions(dir.path().join(path), fs::Permissions::from_mode(mode)).unwrap();
        }
        for (path, target) in &links {
            fs::create_dir_all(dir.path().join(path).parent().unwrap()).unwrap();
            symlink(target, dir.path().join(path)).unwrap();
        }
        if let Some(empty) = &empty {
            fs::create_dir_all(dir.path().join(empty)).unwrap();
        }
        let (first, archive) = packed(dir.path());
        let dest = Scratch::new();
        let unpacked = unpack(archive.as_slice(), dest.path(), &Limits::default()).unwrap();
        prop_assert_eq!(unpacked.files, first.files);
        prop_assert_eq!(packed(dest.path()).0, first);
        let texts = |dir: &Path| -> Vec<(String, Vec<u8>)> {
            contents(dir).into_iter().map(|(path, (_, text))| (path, text)).collect()
        };
        prop_assert_eq!(texts(dir.path()), texts(dest.path()));
    }
}
