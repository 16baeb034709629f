use std::io::Write;
use std::os::unix::fs::symlink;
use std::path::PathBuf;

use ::zip::ZipWriter;
use ::zip::write::SimpleFileOptions;

use super::super::zip::from_zip_within;
use super::*;

/// One entry of a zip file: path, whole Unix mode, contents.
type Entry<'a> = (&'a str, u32, &'a [u8]);

/// A zip file, byte for byte as given, with nothing compressed. Writers refuse to make such files.
fn zip_file(dir: &Path, entries: &[Entry<'_>]) -> PathBuf {
    let (mut file, mut directory) = (Vec::new(), Vec::new());
    for (path, mode, contents) in entries {
        let offset = file.len() as u32;
        let mut common = Vec::new();
        for field in [10u16, 0, 0, 0, 0] {
            common.extend(field.to_le_bytes());
        }
        for field in [crc32(contents), contents.len() as u32, contents.len() as u32] {
            common.extend(field.to_le_bytes());
        }
        common.extend((path.len() as u16).to_le_bytes());
        common.extend(0u16.to_le_bytes());

        file.extend(b"PK\x03\x04");
        file.extend(&common);
        file.extend(path.as_bytes());
        file.extend(*contents);

        directory.extend(b"PK\x01\x02");
        // Made by version 1.0 on Unix, which gives the high half of the attributes its meaning.
        directory.extend([10, 3]);
        directory.extend(&common);
        directory.extend([0; 6]);
        directory.extend((mode << 16).to_le_bytes());
        directory.extend(offset.to_le_bytes());
        directory.extend(path.as_bytes());
    }
    let (start, length, count) = (file.len() as u32, directory.len() as u32, entries.len() as u16);
    file.extend(directory);
    file.extend(b"PK\x05\x06\0\0\0\0");
    file.extend([count.to_le_bytes(), count.to_le_bytes()].concat());
    file.extend([length.to_le_bytes(), start.to_le_bytes()].concat());
    file.extend([0, 0]);
    let path = dir.join("bundle.zip");
    fs::write(&path, file).unwrap();
    path
}

fn crc32(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(!0, |sum: u32, byte| {
        (0..8).fold(sum ^ u32::from(*byte), |sum, _| {
            (sum >> 1) ^ (0xedb8_8320 & (sum & 1).wrapping_neg())
        })
    })
}

fn small() -> Limits {
    Limits {
        files: 8,
        bytes: 1000,
        path: 300,
        depth: 4,
    }
}

fn unzip(entries: &[Entry<'_>]) -> (Scratch, Result<Contents, BundleError>) {
    let outer = Scratch::new();
    let dest = outer.path().join("dest");
    fs::create_dir(&dest).unwrap();
    let zip = zip_file(outer.path(), entries);
    let result = from_zip_within(&zip, &dest, &small());
    assert_eq!(fs::read_dir(outer.path()).unwrap().count(), 2);
    (outer, result)
}

#[test]
fn an_ordinary_zip_becomes_a_directory_to_work_with() {
    let outer = Scratch::new();
    let path = outer.path().join("bundle.zip");
    let mut writer = ZipWriter::new(fs::File::create(&path).unwrap());
    let options = SimpleFileOptions::default().unix_permissions(0o755);
    writer.start_file("bin/run", options).unwrap();
    writer.write_all(&b"hello ".repeat(100)).unwrap();
    writer
        .start_file("handler.py", options.unix_permissions(0o644))
        .unwrap();
    writer.add_directory("empty", options).unwrap();
    writer.add_symlink("link", "bin/run", options).unwrap();
    writer.finish().unwrap();

    let dest = Scratch::new();
    assert_eq!(from_zip(&path, dest.path()).unwrap(), Contents { files: 3, bytes: 600 });
    let modes: Vec<_> = contents(dest.path())
        .into_iter()
        .map(|(path, (mode, _))| (path, mode))
        .collect();
    let expected = [
        ("bin", 0o040_755),
        ("bin/run", 0o100_755),
        ("empty", 0o040_755),
        ("handler.py", 0o100_644),
        ("link", 0o120_777),
    ];
    assert_eq!(modes, expected.map(|(path, mode)| (path.to_owned(), mode)));
}

#[test]
fn each_hostile_entry_has_its_own_refusal() {
    for (entries, expected) in [
        (&[("a", 0o100_644, &b"x"[..])][..], "ok"),
        (&[("d/", 0, b""), ("d/a", 0, b"x")], "ok"),
        (&[("/etc/x", 0, b"")], "bundle_absolute_path"),
        (&[("../x", 0, b"")], "bundle_parent_path"),
        (&[("a", 0, b""), ("a", 0, b"")], "bundle_duplicate"),
        (&[("a", 0, b""), ("./a", 0, b"")], "bundle_duplicate"),
        (&[("d", 0o120_777, b"."), ("d/x", 0, b"")], "bundle_not_a_directory"),
        (&[("l", 0o120_777, b"/etc/passwd")], "bundle_link_absolute"),
        (&[("l", 0o120_777, b"../x")], "bundle_link_outside"),
        (&[("l", 0o120_777, &[b'x'; 301])], "bundle_path_too_long"),
        (&[("f", 0o010_644, b"")], "bundle_fifo"),
        (&[("c", 0o020_644, b"")], "bundle_device"),
        (&[("b", 0o060_644, b"")], "bundle_device"),
        (&[("s", 0o140_644, b"")], "bundle_socket"),
        (&[("big", 0, &[0; 1001])], "bundle_too_many_bytes"),
    ] {
        let paths: Vec<_> = entries.iter().map(|(path, ..)| path).collect();
        assert_eq!(code(unzip(entries).1), expected, "{paths:?}");
    }
    let many: Vec<String> = (0..9).map(|index| index.to_string()).collect();
    let many: Vec<Entry<'_>> = many.iter().map(|path| (path.as_str(), 0, &b""[..])).collect();
    assert_eq!(code(unzip(&many).1), "bundle_too_many_files");
}

#[test]
fn a_bomb_is_stopped_whatever_size_it_claims() {
    let outer = Scratch::new();
    let path = outer.path().join("bomb.zip");
    let mut writer = ZipWriter::new(io::Cursor::new(Vec::new()));
    writer.start_file("zeros", SimpleFileOptions::default()).unwrap();
    writer.write_all(&vec![0; 1 << 20]).unwrap();
    let mut bytes = writer.finish().unwrap().into_inner();
    // The claim in both headers becomes one byte.
    let claim = (1u32 << 20).to_le_bytes();
    while let Some(position) = bytes.windows(4).position(|window| window == claim) {
        bytes[position..position + 4].copy_from_slice(&1u32.to_le_bytes());
    }
    fs::write(&path, bytes).unwrap();
    let dest = Scratch::new();
    let code = code(from_zip_within(&path, dest.path(), &small()));
    assert!(matches!(code, "bundle_too_many_bytes" | "bundle_zip"), "{code}");
    let written: u64 = walkdir::WalkDir::new(dest.path())
        .into_iter()
        .map(|entry| entry.unwrap().metadata().unwrap())
        .filter(|metadata| metadata.is_file())
        .map(|metadata| metadata.len())
        .sum();
    assert!(written <= 1000, "{written}");
}

#[test]
fn what_is_no_zip_says_so() {
    let outer = Scratch::new();
    let path = outer.path().join("x.zip");
    assert_eq!(code(from_zip(&path, outer.path())), "bundle_read");
    fs::write(&path, "hello").unwrap();
    assert_eq!(code(from_zip(&path, outer.path())), "bundle_zip");
}

#[test]
fn an_executable_becomes_a_directory_of_one_file() {
    let outer = Scratch::new();
    let program = outer.path().join("run.sh");
    fs::write(&program, "#!/bin/sh\necho hi\n").unwrap();
    let dest = || Scratch::new();
    assert_eq!(code(from_executable(&program, dest().path())), "bundle_not_executable");
    assert_eq!(
        code(from_executable(outer.path(), dest().path())),
        "bundle_not_executable"
    );
    assert_eq!(
        code(from_executable(&outer.path().join("gone"), dest().path())),
        "bundle_read"
    );

    fs::set_permissions(&program, fs::Permissions::from_mode(0o4700)).unwrap();
    symlink("run.sh", outer.path().join("link")).unwrap();
    for (path, name) in [(&program, "run.sh"), (&outer.path().join("link"), "link")] {
        let dest = dest();
        assert_eq!(from_executable(path, dest.path()).unwrap().files, 1);
        let placed: Vec<_> = contents(dest.path())
            .into_iter()
            .map(|(path, (mode, _))| (path, mode))
            .collect();
        assert_eq!(placed, [(name.to_owned(), 0o100_755)]);
        assert_eq!(crate::detect::detect(dest.path()).unwrap().handler, name);
    }
}
