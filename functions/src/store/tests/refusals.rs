use rusqlite::Connection;

use super::*;

fn refused(dir: &Path) -> StoreError {
    match Store::open(dir) {
        Ok(_) => panic!("the store opened"),
        Err(error) => {
            assert!(error.hint().ends_with('.'), "{error:?}");
            error
        }
    }
}

#[test]
fn a_store_in_use_names_its_holder() {
    let dir = Scratch::new();
    let _store = Store::open(dir.path()).unwrap();
    match refused(dir.path()) {
        StoreError::Locked { pid, program, .. } => {
            assert_eq!(pid, Some(std::process::id()));
            let ours = fs::read_to_string(format!("/proc/{}/comm", std::process::id())).unwrap();
            assert_eq!(program.as_deref(), Some(ours.trim()));
        }
        error => panic!("{error:?}"),
    }
    let text = refused(dir.path()).to_string();
    assert!(
        text.contains(&format!("in use by process {} (", std::process::id())),
        "{text}"
    );
}

#[test]
fn a_lock_file_with_garbage_is_still_a_lock() {
    let dir = Scratch::new();
    let _store = Store::open(dir.path()).unwrap();
    fs::write(dir.path().join("lock"), [0xff; 100]).unwrap();
    assert!(matches!(refused(dir.path()), StoreError::Locked { pid: None, .. }));
}

#[test]
fn a_lock_file_that_a_dead_process_left_is_no_lock() {
    let dir = Scratch::new();
    drop(Store::open(dir.path()).unwrap());
    fs::write(dir.path().join("lock"), "1\n").unwrap();
    Store::open(dir.path()).unwrap();
}

#[test]
fn a_directory_of_somebody_else_is_refused() {
    let dir = Scratch::new();
    let theirs = if is_root() {
        chown(dir.path(), Some(NOBODY), None).unwrap();
        dir.path()
    } else {
        Path::new("/usr")
    };
    match refused(theirs) {
        StoreError::WrongOwner { owner, us, .. } => {
            assert_ne!(owner, us);
            assert_eq!(us, rustix::process::geteuid().as_raw());
        }
        error => panic!("{error:?}"),
    }
    assert!(!theirs.join("lock").exists());
}

#[test]
fn a_directory_that_everybody_may_write_to_is_refused() {
    let dir = Scratch::new();
    fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o777)).unwrap();
    assert_eq!(refused(dir.path()).code(), "state_world_writable");
}

#[test]
fn a_directory_that_we_may_not_use_is_refused() {
    unprivileged(|dir| {
        fs::create_dir(dir).unwrap();
        for mode in [0o000, 0o500] {
            fs::set_permissions(dir, fs::Permissions::from_mode(mode)).unwrap();
            assert_eq!(refused(dir).code(), "state_forbidden", "{mode:o}");
            assert_eq!(refused(&dir.join("deeper")).code(), "state_forbidden", "{mode:o}");
        }
        fs::set_permissions(dir, fs::Permissions::from_mode(0o700)).unwrap();
        drop(Store::open(dir).unwrap());
        for part in ["fn.db", "lock", "tmp", "blobs/sha256", "layers/sha256"] {
            let mode = fs::metadata(dir.join(part)).unwrap().permissions();
            fs::set_permissions(dir.join(part), fs::Permissions::from_mode(0o000)).unwrap();
            assert_eq!(refused(dir).code(), "state_forbidden", "{part}");
            fs::set_permissions(dir.join(part), mode).unwrap();
        }
        drop(Store::open(dir).unwrap());
    });
}

#[test]
fn a_file_is_no_state_directory() {
    let dir = Scratch::new();
    let file = dir.path().join("file");
    fs::write(&file, "").unwrap();
    assert_eq!(refused(&file).code(), "state_not_a_directory");
    assert_eq!(refused(&file.join("deeper")).code(), "state_not_a_directory");
}

#[test]
fn a_newer_database_is_left_alone() {
    let dir = Scratch::new();
    let store = Store::open(dir.path()).unwrap();
    deploy(&store, "hello", "one");
    drop(store);
    let database = Connection::open(dir.path().join("fn.db")).unwrap();
    database
        .pragma_update(None, "user_version", schema::VERSION + 1)
        .unwrap();
    match refused(dir.path()) {
        StoreError::NewerVersion { found, known, .. } => {
            assert_eq!((found, known), (schema::VERSION + 1, schema::VERSION))
        }
        error => panic!("{error:?}"),
    }
    database.pragma_update(None, "user_version", schema::VERSION).unwrap();
    drop(database);
    check_consistent(&Store::open(dir.path()).unwrap());
}

#[test]
fn a_database_of_another_program_is_left_alone() {
    let dir = Scratch::new();
    let database = Connection::open(dir.path().join("fn.db")).unwrap();
    database.execute_batch("CREATE TABLE theirs (x)").unwrap();
    drop(database);
    assert_eq!(refused(dir.path()).code(), "state_foreign");
}

#[test]
fn a_damaged_database_is_named_as_such() {
    let dir = Scratch::new();
    fs::write(
        dir.path().join("fn.db"),
        "this is no database, and long enough to show it".repeat(100),
    )
    .unwrap();
    assert_eq!(refused(dir.path()).code(), "state_damaged");

    for (column, value) in [
        ("settings", "{}"),
        ("bundle", "../../etc"),
        ("created", "today"),
        ("number", "-1"),
    ] {
        let dir = Scratch::new();
        let store = Store::open(dir.path()).unwrap();
        deploy(&store, "hello", "one");
        drop(store);
        let database = Connection::open(dir.path().join("fn.db")).unwrap();
        let update = format!("UPDATE revisions SET {column} = ?1; ");
        database.execute(&update, [value]).unwrap();
        database
            .execute("UPDATE functions SET live = (SELECT number FROM revisions)", [])
            .unwrap();
        drop(database);
        let error = refused(dir.path());
        assert_eq!(error.code(), "state_damaged", "{column}: {error:?}");
    }
}

#[test]
fn what_the_store_makes_is_for_its_owner_alone() {
    unprivileged(|dir| {
        let store = Store::open(dir).unwrap();
        deploy(&store, "hello", "one");
        for part in ["", "lock", "fn.db", "fn.db-wal", "fn.db-shm", "blobs", "layers", "tmp"] {
            let mode = fs::metadata(dir.join(part)).unwrap().permissions().mode();
            assert_eq!(mode & 0o077, 0, "{part:?} {mode:o}");
        }
    });
}
