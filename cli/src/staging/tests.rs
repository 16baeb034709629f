use std::io::Write;
use std::os::unix::fs::symlink;
use std::os::unix::net::UnixListener;

use zip::ZipWriter;
use zip::write::SimpleFileOptions;

use super::*;

/// Writes a zip of files with a mode, and links.
fn zip_of(path: &Path, files: &[(&str, &[u8], u32)], links: &[(&str, &str)]) {
    let mut zip = ZipWriter::new(File::create(path).unwrap());
    for (name, content, mode) in files {
        zip.start_file(*name, SimpleFileOptions::default().unix_permissions(*mode))
            .unwrap();
        zip.write_all(content).unwrap();
    }
    for (name, target) in links {
        zip.add_symlink(*name, *target, SimpleFileOptions::default()).unwrap();
    }
    zip.finish().unwrap();
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o777
}

#[test]
fn a_directory_stays_where_it_is_until_it_is_owned() {
    let home = TempDir::new().unwrap();
    let dir = home.path().join("hello.d");
    fs::create_dir_all(dir.join("sub/__pycache__")).unwrap();
    fs::create_dir_all(dir.join("node_modules/x")).unwrap();
    fs::write(dir.join("sub/a.txt"), "a").unwrap();
    fs::write(dir.join("run"), "#!/bin/sh\n").unwrap();
    fs::set_permissions(dir.join("run"), fs::Permissions::from_mode(0o755)).unwrap();
    symlink("a.txt", dir.join("sub/link")).unwrap();

    let mut staged = Staged::open(&dir).unwrap();
    assert_eq!(staged.dir(), dir.canonicalize().unwrap());
    assert_eq!(staged.stem(), "hello.d");

    let own = staged.own(&["node_modules"]).unwrap().to_owned();
    assert_ne!(own, dir);
    assert_eq!(fs::read(own.join("sub/a.txt")).unwrap(), b"a");
    assert_eq!(fs::read_link(own.join("sub/link")).unwrap(), Path::new("a.txt"));
    assert_eq!(mode(&own.join("run")), 0o755);
    assert!(!own.join("node_modules").exists() && !own.join("sub/__pycache__").exists());
    assert!(dir.join("node_modules/x").exists(), "the user's directory is untouched");

    drop(staged);
    assert!(!own.exists(), "the copy goes with the value");
}

#[test]
fn an_executable_gets_a_directory_of_its_own() {
    let home = TempDir::new().unwrap();
    let path = home.path().join("hello.sh");
    fs::write(&path, "#!/bin/sh\n").unwrap();
    let refused = Staged::open(&path).unwrap_err();
    assert!(refused.hint().unwrap().contains("chmod +x"), "{refused}");

    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    let staged = Staged::open(&path).unwrap();
    assert_eq!(staged.stem(), "hello");
    assert_eq!(mode(&staged.dir().join("hello.sh")), 0o755);
}

#[test]
fn a_zip_is_unpacked_with_its_modes_and_links() {
    let home = TempDir::new().unwrap();
    let path = home.path().join("site.zip");
    zip_of(
        &path,
        &[("bin/run", b"#!/bin/sh\n", 0o755), ("handler.py", b"x", 0o400)],
        &[("alias.py", "handler.py")],
    );
    let staged = Staged::open(&path).unwrap();
    assert_eq!(staged.stem(), "site");
    assert_eq!(mode(&staged.dir().join("bin/run")), 0o755);
    assert_eq!(fs::read(staged.dir().join("alias.py")).unwrap(), b"x");
}

#[test]
fn a_zip_can_not_write_outside_of_its_directory() {
    let home = TempDir::new().unwrap();
    let path = home.path().join("evil.zip");
    zip_of(&path, &[("../evil", b"x", 0o644)], &[]);
    let error = Staged::open(&path).unwrap_err();
    assert_eq!(
        (error.exit(), error.code().as_str()),
        (Exit::BadInput, "bundle_parent_path")
    );
    assert!(!home.path().join("evil").exists());
}

#[test]
fn what_is_no_zip_inside_is_called_damaged() {
    let home = TempDir::new().unwrap();
    let path = home.path().join("broken.zip");
    fs::write(&path, b"PK\x03\x04 and then nothing of use").unwrap();
    assert_eq!(Staged::open(&path).unwrap_err().code(), "bundle_zip");
}

#[test]
fn a_socket_is_named_and_refused() {
    let home = TempDir::new().unwrap();
    let _socket = UnixListener::bind(home.path().join("s.sock")).unwrap();
    let mut staged = Staged::open(home.path()).unwrap();
    let error = staged.own(&[]).unwrap_err();
    assert!(
        error
            .to_string()
            .ends_with("s.sock is a socket, which a bundle can't hold"),
        "{error}"
    );
}

#[test]
fn nothing_there_is_not_found() {
    let home = TempDir::new().unwrap();
    let error = Staged::open(&home.path().join("nowhere")).unwrap_err();
    assert_eq!(error.exit(), Exit::NotFound);
}

#[test]
fn the_account_refuses_at_its_limits() {
    let limits = Limits::default();
    let mut account = Account::default();
    account.bytes(limits.bytes).unwrap();
    assert_eq!(account.bytes(1).unwrap_err().exit(), Exit::Limit);
    for _ in 0..limits.files {
        account.file().unwrap();
    }
    assert_eq!(account.file().unwrap_err().exit(), Exit::Limit);
}
