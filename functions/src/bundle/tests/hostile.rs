use std::io::{Cursor, Read};

use proptest::prelude::*;

use super::super::tree::{Access, Tree};
use super::*;

fn small() -> Limits {
    Limits {
        files: 8,
        bytes: 1000,
        path: 300,
        depth: 4,
    }
}

/// Unpacks into `outer/dest` beside a file that must not change, and checks that nothing got out.
fn unpack_beside_canary(archive: &[u8], limits: &Limits) -> (Scratch, Result<Contents, BundleError>) {
    let outer = Scratch::new();
    let dest = outer.path().join("dest");
    fs::create_dir(&dest).unwrap();
    fs::write(outer.path().join("canary"), "alive").unwrap();
    let result = unpack(archive, &dest, limits);

    let mut names: Vec<_> = fs::read_dir(outer.path())
        .unwrap()
        .map(|entry| entry.unwrap().file_name())
        .collect();
    names.sort();
    assert_eq!(names, ["canary", "dest"]);
    assert_eq!(fs::read(outer.path().join("canary")).unwrap(), b"alive");
    let dest = dest.canonicalize().unwrap();
    for entry in walkdir::WalkDir::new(&dest) {
        let entry = entry.unwrap();
        let kind = entry.file_type();
        assert!(
            kind.is_dir() || kind.is_file() || kind.is_symlink(),
            "{:?}",
            entry.path()
        );
        if kind.is_symlink()
            && let Ok(target) = entry.path().canonicalize()
        {
            assert!(target.starts_with(&dest), "{:?} leads to {target:?}", entry.path());
        }
    }
    (outer, result)
}

fn refused(entries: &[Raw<'_>]) -> &'static str {
    code(unpack_beside_canary(&archive(entries), &small()).1)
}

#[test]
fn each_hostile_entry_has_its_own_refusal() {
    let deep = "a/".repeat(5);
    let long = "n".repeat(100);
    let name = format!("{}/x", "n".repeat(60));
    for (entries, code) in [
        (vec![Raw::file("/etc/x", "")], "bundle_absolute_path"),
        (vec![Raw::new(b'5', "/")], "bundle_absolute_path"),
        (vec![Raw::file("../canary", "dead")], "bundle_parent_path"),
        (vec![Raw::file("a/../../canary", "dead")], "bundle_parent_path"),
        (vec![Raw::new(b'5', "..")], "bundle_parent_path"),
        (vec![Raw::file("", "")], "bundle_empty_path"),
        (vec![Raw::file(".", "")], "bundle_empty_path"),
        (vec![Raw::file(&deep[..9], "")], "bundle_too_deep"),
        (vec![Raw::file("a", ""), Raw::file("a", "")], "bundle_duplicate"),
        (vec![Raw::file("a", ""), Raw::file("./a", "")], "bundle_duplicate"),
        (vec![Raw::file("a", ""), Raw::new(b'5', "a")], "bundle_duplicate"),
        (vec![Raw::new(b'5', "a"), Raw::file("a", "")], "bundle_duplicate"),
        (vec![Raw::link("a", "b"), Raw::file("a", "")], "bundle_duplicate"),
        (vec![Raw::link("a", "b"), Raw::new(b'5', "a")], "bundle_duplicate"),
        (vec![Raw::file("a", ""), Raw::file("a/b", "")], "bundle_not_a_directory"),
        (
            vec![Raw::new(b'5', "d"), Raw::link("a", "d"), Raw::file("a/b", "")],
            "bundle_not_a_directory",
        ),
        (
            vec![Raw::link("a", "."), Raw::new(b'5', "a/b/c")],
            "bundle_not_a_directory",
        ),
        (vec![Raw::link("a", "/etc/passwd")], "bundle_link_absolute"),
        (vec![Raw::link("a", "../canary")], "bundle_link_outside"),
        (vec![Raw::link("d/a", "../../canary")], "bundle_link_outside"),
        (
            vec![Raw::link("x/y/l", "../.."), Raw::link("m", "x/y/l/../../canary")],
            "bundle_link_detour",
        ),
        (vec![Raw::link("a", "")], "bundle_link_broken"),
        (
            vec![
                Raw::file("a", ""),
                Raw {
                    target: b"a",
                    ..Raw::new(b'1', "b")
                },
            ],
            "bundle_hard_link",
        ),
        (
            vec![Raw {
                target: b"/etc/passwd",
                ..Raw::new(b'1', "b")
            }],
            "bundle_hard_link",
        ),
        (vec![Raw::new(b'3', "a")], "bundle_device"),
        (vec![Raw::new(b'4', "a")], "bundle_device"),
        (vec![Raw::new(b'6', "a")], "bundle_fifo"),
        (vec![Raw::new(b'S', "a")], "bundle_sparse"),
        (vec![Raw::new(b'V', "a")], "bundle_unknown_kind"),
        (
            vec![Raw {
                size: 1001,
                ..Raw::new(b'0', "a")
            }],
            "bundle_too_many_bytes",
        ),
        (
            vec![Raw {
                size: u64::MAX >> 1,
                ..Raw::new(b'0', "a")
            }],
            "bundle_too_many_bytes",
        ),
        (vec![Raw::file(&long, ""), Raw::file(&name, "")], "ok"),
    ] {
        let paths: Vec<_> = entries
            .iter()
            .map(|entry| String::from_utf8_lossy(entry.path))
            .collect();
        assert_eq!(refused(&entries), code, "{paths:?}");
    }
}

#[test]
fn long_names_obey_the_same_rules() {
    let gnu = |path: &str, kind: u8| {
        let name = format!("{path}\0");
        let mut bytes = Vec::new();
        Raw {
            kind,
            ..Raw::file("././@LongLink", &name)
        }
        .write(&mut bytes);
        bytes
    };
    let pax = |key: &str, value: &str| {
        let length = (1..).find(|length: &usize| length.to_string().len() + key.len() + value.len() + 3 == *length);
        let record = format!("{} {key}={value}\n", length.unwrap());
        let mut bytes = Vec::new();
        Raw {
            kind: b'x',
            ..Raw::file("pax", &record)
        }
        .write(&mut bytes);
        bytes
    };
    let then = |mut before: Vec<u8>, entry: Raw<'_>| {
        before.extend(archive(&[entry]));
        code(unpack_beside_canary(&before, &small()).1)
    };
    let long = format!("{}/{}", "a".repeat(140), "b".repeat(140));
    for (path, expected) in [
        (long.as_str(), "ok"),
        (&"a".repeat(256), "bundle_name_too_long"),
        (&"a/".repeat(200), "bundle_path_too_long"),
        ("../canary", "bundle_parent_path"),
        ("/etc/x", "bundle_absolute_path"),
    ] {
        assert_eq!(then(gnu(path, b'L'), Raw::file("short", "")), expected, "{path}");
        assert_eq!(then(pax("path", path), Raw::file("short", "")), expected, "{path}");
    }
    assert_eq!(then(gnu("../../x", b'K'), Raw::link("a", "b")), "bundle_link_outside");
    assert_eq!(then(pax("linkpath", "/x"), Raw::link("a", "b")), "bundle_link_absolute");
    assert_eq!(then(pax("path", "a\0b"), Raw::file("short", "")), "bundle_nul_in_path");
    assert_eq!(then(pax("GNU.sparse.major", "1"), Raw::file("a", "")), "bundle_sparse");
    assert_eq!(then(pax("size", "5000"), Raw::file("a", "")), "bundle_too_many_bytes");
    assert_eq!(then(pax("size", "-5"), Raw::file("a", "")), "bundle_malformed");
    assert_eq!(then(pax("mtime", "1.5"), Raw::file("a", "")), "ok");
    assert_eq!(
        then(gnu(&"a".repeat(70_000), b'L'), Raw::file("short", "")),
        "bundle_malformed"
    );
    let mut broken = Vec::new();
    Raw {
        kind: b'x',
        ..Raw::file("pax", "99 path=x\n")
    }
    .write(&mut broken);
    assert_eq!(then(broken, Raw::file("a", "")), "bundle_malformed");
}

#[test]
fn limits_stop_an_archive_while_it_arrives() {
    let files: Vec<String> = (0..9).map(|index| index.to_string()).collect();
    let entries: Vec<Raw<'_>> = files.iter().map(|path| Raw::file(path, "")).collect();
    assert_eq!(refused(&entries[..8]), "ok");
    assert_eq!(refused(&entries), "bundle_too_many_files");
    let same: Vec<Raw<'_>> = (0..9).map(|_| Raw::new(b'5', "d")).collect();
    assert_eq!(refused(&same), "bundle_too_many_files");
    let half = vec![b'x'; 500];
    assert_eq!(refused(&[Raw::file("a", &half), Raw::file("b", &half)]), "ok");
    assert_eq!(
        refused(&[Raw::file("a", &half), Raw::file("b", &half), Raw::file("c", "x")]),
        "bundle_too_many_bytes"
    );

    // A claim of a gigabyte is refused without waiting for it.
    let mut bomb = Vec::new();
    Raw {
        size: 1 << 30,
        ..Raw::new(b'0', "bomb")
    }
    .write(&mut bomb);
    let mut stream = Cursor::new(bomb).chain(std::io::repeat(0).take(1 << 30));
    let dest = Scratch::new();
    assert_eq!(
        code(unpack(&mut stream, dest.path(), &Limits::default())),
        "bundle_too_many_bytes"
    );
    assert!(stream.get_ref().1.limit() > (1 << 30) - (1 << 20));

    // So is an archive that goes on after its end mark, and one of nothing but comments.
    let dest = Scratch::new();
    assert_eq!(
        code(unpack(std::io::repeat(0), dest.path(), &small())),
        "bundle_archive_too_long"
    );
    let comments: Vec<Raw<'_>> = (0..1000)
        .map(|_| Raw::file("x", "y"))
        .map(|raw| Raw { kind: b'g', ..raw })
        .collect();
    assert_eq!(refused(&comments), "bundle_archive_too_long");
}

#[test]
fn what_is_no_archive_says_so() {
    let whole = archive(&[Raw::file("a", "hello")]);
    for length in 0..whole.len() - 1024 {
        let (_outer, result) = unpack_beside_canary(&whole[..length], &small());
        assert_eq!(code(result), "bundle_truncated", "{length}");
    }
    let unpacked = |bytes: &[u8]| code(unpack_beside_canary(bytes, &small()).1);
    assert_eq!(unpacked(&[b'{'; 600]), "bundle_malformed");
    assert_eq!(unpacked(&[whole.as_slice(), b"more"].concat()), "bundle_malformed");
    assert_eq!(
        refused(&[Raw {
            kind: b'L',
            ..Raw::file("x", "a\0")
        }]),
        "bundle_malformed"
    );
}

#[test]
fn a_sender_that_goes_away_is_not_a_bad_archive() {
    struct Gone;
    impl Read for Gone {
        fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
            Err(io::ErrorKind::ConnectionReset.into())
        }
    }
    let dest = Scratch::new();
    let whole = archive(&[Raw::file("a", "hello")]);
    assert_eq!(
        code(unpack(whole[..514].chain(Gone), dest.path(), &small())),
        "bundle_receive"
    );
}

#[test]
fn modes_are_normal_whatever_the_archive_says() {
    let entries = [
        Raw {
            mode: 0o4755,
            ..Raw::file("setuid", "x")
        },
        Raw {
            mode: 0o2755,
            ..Raw::file("d/setgid", "x")
        },
        Raw {
            mode: 0o000,
            ..Raw::file("d/none", "x")
        },
        Raw {
            mode: 0o1777,
            ..Raw::new(b'5', "sticky")
        },
        Raw::link("link", "d/none"),
    ];
    let (outer, result) = unpack_beside_canary(&archive(&entries), &small());
    assert_eq!(result.unwrap(), Contents { files: 4, bytes: 3 });
    let modes: Vec<(String, u32)> = contents(&outer.path().join("dest"))
        .into_iter()
        .map(|(path, (mode, _))| (path, mode))
        .collect();
    let expected = [
        ("d", 0o040_555),
        ("d/none", 0o100_444),
        ("d/setgid", 0o100_555),
        ("link", 0o120_777),
        ("setuid", 0o100_555),
        ("sticky", 0o040_555),
    ];
    assert_eq!(modes, expected.map(|(path, mode)| (path.to_owned(), mode)));
    assert_eq!(
        outer.path().join("dest").metadata().unwrap().permissions().mode() & 0o7777,
        0o555
    );
}

fn hostile_path() -> impl Strategy<Value = String> {
    let part = prop::sample::select(vec!["a", "b", "c", "..", ".", "", "canary", "\0", "dest"]);
    (prop::collection::vec(part, 1..5), prop::bool::weighted(0.1))
        .prop_map(|(parts, absolute)| format!("{}{}", if absolute { "/" } else { "" }, parts.join("/")))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn random_entries_never_get_out(
        entries in prop::collection::vec(
            (
                hostile_path(),
                prop::sample::select(b"000522221346xgLKSV7".to_vec()),
                hostile_path(),
                ".{0,8}",
                prop::option::weighted(0.05, any::<u32>()),
                0u32..0o10000,
            ),
            1..12,
        ),
    ) {
        let entries: Vec<Raw<'_>> = entries
            .iter()
            .map(|(path, kind, target, contents, size, mode)| Raw {
                path: path.as_bytes(),
                kind: *kind,
                mode: *mode,
                target: target.as_bytes(),
                size: size.map_or(contents.len() as u64, u64::from),
                contents: contents.as_bytes(),
            })
            .collect();
        // The checks are in there; whether the archive is refused is of no interest here.
        let _ = unpack_beside_canary(&archive(&entries), &small());
    }

    #[test]
    fn random_links_never_lead_out(
        links in prop::collection::vec(
            (prop::collection::vec(prop::sample::select(vec!["a", "b", "c"]), 1..4),
             prop::collection::vec(prop::sample::select(vec!["a", "b", "c", "..", "..", "."]), 1..5)),
            1..12,
        ),
    ) {
        // Only what is placed matters, so what is refused is left out and the rest goes on.
        let dest = Scratch::new();
        let limits = Limits::default();
        let mut tree = Tree::new(dest.path(), Access::ReadOnly, &limits).unwrap();
        for (path, target) in &links {
            let _ = tree.link(path.join("/").as_bytes(), target.join("/").as_bytes());
        }
        let top = dest.path().canonicalize().unwrap();
        for entry in walkdir::WalkDir::new(&top).into_iter().map(Result::unwrap) {
            if let Ok(target) = entry.path().canonicalize() {
                prop_assert!(target.starts_with(&top), "{:?} leads to {target:?}", entry.path());
            }
        }
    }

    #[test]
    fn damaged_archives_never_get_out(position in 0usize..4096, byte: u8, cut in 0usize..4096) {
        let mut damaged = archive(&[
            Raw::new(b'5', "d"),
            Raw::file("d/a", "hello"),
            Raw::link("d/l", "../x"),
            Raw { kind: b'x', ..Raw::file("pax", "16 path=../out\n") },
            Raw::file("x", "world"),
        ]);
        let length = damaged.len();
        damaged[position % length] = byte;
        let header = position % length / 512 * 512;
        let sum: u32 = damaged[header..header + 512].iter().enumerate()
            .map(|(index, byte)| if (148..156).contains(&index) { 32 } else { u32::from(*byte) }).sum();
        damaged[header + 148..header + 156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
        damaged.truncate(length - cut % 512);
        let _ = unpack_beside_canary(&damaged, &small());
    }

    #[test]
    fn random_bytes_are_no_archive(bytes in prop::collection::vec(any::<u8>(), 0..2048)) {
        let _ = unpack_beside_canary(&bytes, &small());
    }
}
