mod children;
mod published;
mod refusals;
mod removal;

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::{PermissionsExt, chown};
use std::panic;
use std::thread;

use super::*;
use crate::bundle;
use crate::detect::Detected;
use crate::{Manifest, Runtime};

/// The user id of `nobody`, for tests that started as root and must not be.
const NOBODY: u32 = 65534;

fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// A directory that is removed even if there are read-only directories in it and we are not root.
struct Scratch(tempfile::TempDir);

impl Scratch {
    fn new() -> Scratch {
        Scratch(tempfile::tempdir().unwrap())
    }

    fn path(&self) -> &Path {
        self.0.path()
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = temp::remove_tree(self.path());
    }
}

/// Runs `test` with a fresh state directory as a user without any privilege: as ourselves, or as `nobody`
/// in a thread of its own if we are root. Root may write to read-only directories, so it would not notice
/// what everybody else stumbles over.
fn unprivileged(test: impl FnOnce(&Path) + Send) {
    let parent = Scratch::new();
    let dir = parent.path().join("state");
    if !is_root() {
        return test(&dir);
    }
    chown(parent.path(), Some(NOBODY), Some(NOBODY)).unwrap();
    let result = thread::scope(|scope| {
        let worker = scope.spawn(|| {
            let nobody = rustix::fs::Uid::from_raw(NOBODY);
            rustix::thread::set_thread_res_uid(nobody, nobody, nobody).unwrap();
            test(&dir);
        });
        worker.join()
    });
    if let Err(panic) = result {
        panic::resume_unwind(panic);
    }
}

fn name(name: &str) -> FunctionName {
    name.parse().unwrap()
}

fn settings() -> Settings {
    let detected = Detected {
        runtime: Runtime::Python,
        handler: "handler.handler".to_owned(),
    };
    Manifest::default().resolve(&name("hello"), &detected).unwrap()
}

/// The archive of a bundle with these words in it.
fn archive(words: &str) -> Vec<u8> {
    let dir = Scratch::new();
    fs::create_dir(dir.path().join("src")).unwrap();
    fs::write(dir.path().join("handler.py"), words).unwrap();
    fs::write(dir.path().join("src/more.py"), words.repeat(100)).unwrap();
    let mut archive = Vec::new();
    bundle::pack(dir.path(), &mut archive).unwrap();
    archive
}

fn add(store: &Store, words: &str) -> Digest {
    store.add_bundle(archive(words).as_slice()).unwrap().digest
}

fn deploy(store: &Store, function: &str, words: &str) -> Arc<Revision> {
    let digest = add(store, words);
    store.deploy(&name(function), digest, settings()).unwrap()
}

/// Checks everything that must hold between two calls: the files in place are those that revisions name,
/// each complete, and nothing is half done.
fn check_consistent(store: &Store) {
    let mut named = BTreeSet::new();
    for live in store.list() {
        let revisions = store.revisions(&live.name).unwrap();
        assert_eq!(revisions.last(), Some(&*live));
        named.extend(revisions.into_iter().map(|revision| revision.bundle.to_string()));
    }
    for digest in &named {
        let layer = store.state_dir().join("layers/sha256").join(digest);
        let packed = bundle::pack(&layer, std::io::sink()).unwrap();
        assert_eq!(packed.digest.to_string(), *digest, "a layer is not complete");
        assert_eq!(layer.metadata().unwrap().permissions().mode() & 0o777, 0o555);
        let blob = fs::read(store.state_dir().join("blobs/sha256").join(digest)).unwrap();
        assert_eq!(Digest::of(&blob).to_string(), *digest, "a blob is not complete");
    }
    assert_eq!(listed(&store.state_dir().join("layers/sha256")), named);
    assert_eq!(listed(&store.state_dir().join("blobs/sha256")), named);
    assert!(listed(&store.state_dir().join("tmp")).is_empty());
}

fn listed(dir: &Path) -> BTreeSet<String> {
    fs::read_dir(dir)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect()
}

#[test]
fn a_deploy_is_live_and_still_there_after_a_restart() {
    unprivileged(|dir| {
        let store = Store::open(dir).unwrap();
        assert_eq!(store.live(&name("hello")), None);
        let digest = add(&store, "one");
        let draft = store.draft(&name("hello"), digest, settings()).unwrap();
        let first = store.deploy(&name("hello"), digest, settings()).unwrap();
        assert_eq!((draft.number, draft.bundle), (first.number, first.bundle));
        let second = deploy(&store, "hello", "two");
        let other = deploy(&store, "a", "one");
        assert_eq!((first.number.get(), second.number.get(), other.number.get()), (1, 2, 1));
        assert_eq!(
            fs::read(store.layer(&second.bundle).join("handler.py")).unwrap(),
            b"two"
        );
        check_consistent(&store);
        drop(store);

        let store = Store::open(dir).unwrap();
        assert_eq!(store.live(&name("hello")), Some(Arc::clone(&second)));
        assert_eq!(store.list(), [other, Arc::clone(&second)]);
        assert_eq!(
            store.get(&name("hello"), first.number).unwrap(),
            Some(Arc::clone(&first))
        );
        assert_eq!(
            store.get(&name("hello"), second.number).unwrap(),
            Some(Arc::clone(&second))
        );
        assert_eq!(
            store
                .get(&name("hello"), RevisionNumber::new(u64::MAX).unwrap())
                .unwrap(),
            None
        );
        assert_eq!(store.get(&name("gone"), first.number).unwrap(), None);
        assert_eq!(
            store.revisions(&name("hello")).unwrap(),
            [(*first).clone(), (*second).clone()]
        );
        check_consistent(&store);
    });
}

#[test]
fn deploys_of_one_name_at_once_all_succeed_in_some_order() {
    let dir = Scratch::new();
    let store = Store::open(dir.path()).unwrap();
    let mut numbers: Vec<Arc<Revision>> = thread::scope(|scope| {
        let deploys: Vec<_> = (0..8)
            .map(|index| {
                let store = &store;
                // Half of them send the same bundle at once.
                scope.spawn(move || deploy(store, "hello", &format!("words {}", index % 4)))
            })
            .collect();
        deploys.into_iter().map(|deploy| deploy.join().unwrap()).collect()
    });
    numbers.sort_by_key(|revision| revision.number);
    let expected: Vec<u64> = (1..=8).collect();
    assert_eq!(
        numbers.iter().map(|revision| revision.number.get()).collect::<Vec<_>>(),
        expected
    );
    assert_eq!(store.live(&name("hello")).as_ref(), numbers.last());
    check_consistent(&store);
    drop(store);
    let store = Store::open(dir.path()).unwrap();
    assert_eq!(store.live(&name("hello")).as_ref(), numbers.last());
    check_consistent(&store);
}

#[test]
fn a_bundle_is_stored_once() {
    let dir = Scratch::new();
    let store = Store::open(dir.path()).unwrap();
    let sent = archive("one");
    let first = store.add_bundle(sent.as_slice()).unwrap();
    assert_eq!(
        first,
        StoredBundle {
            digest: Digest::of(&sent),
            bytes: sent.len() as u64,
            files: 2
        }
    );
    assert_eq!(store.add_bundle(sent.as_slice()).unwrap(), first);
    assert!(store.has_bundle(&first.digest));
    assert!(!store.has_bundle(&Digest::of(b"")));
}

#[test]
fn a_refused_bundle_leaves_nothing() {
    let dir = Scratch::new();
    let limits = Limits {
        bytes: 10_000,
        ..Limits::default()
    };
    let store = Store::open_within(dir.path(), limits).unwrap();
    let whole = archive("one");
    for (sent, code) in [
        (archive(&"x".repeat(10_000)), "bundle_too_many_bytes"),
        (whole[..whole.len() - 1024].to_vec(), "bundle_truncated"),
        (vec![1; 5000], "bundle_malformed"),
    ] {
        let error = store.add_bundle(sent.as_slice()).unwrap_err();
        assert_eq!(error.code(), code);
        assert!(error.hint().ends_with('.'));
    }
    check_consistent(&store);
}

#[test]
fn a_deploy_of_a_bundle_that_is_not_there_changes_nothing() {
    let dir = Scratch::new();
    let store = Store::open(dir.path()).unwrap();
    let first = deploy(&store, "hello", "one");
    let error = store.deploy(&name("hello"), Digest::of(b""), settings()).unwrap_err();
    assert_eq!(error.code(), "no_bundle");
    assert_eq!(store.live(&name("hello")), Some(first));
    assert_eq!(deploy(&store, "hello", "two").number.get(), 2);
}

#[test]
fn files_that_got_lost_are_unpacked_again() {
    unprivileged(|dir| {
        let store = Store::open(dir).unwrap();
        let live = deploy(&store, "hello", "one");
        let layer = store.layer(&live.bundle);
        drop(store);
        temp::remove_tree(&layer).unwrap();
        let store = Store::open(dir).unwrap();
        check_consistent(&store);
        assert_eq!(store.inner().promised.len(), 0);
    });
}
