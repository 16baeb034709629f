use std::io::Read;

use super::*;

#[test]
fn a_removed_function_takes_its_bundles_along() {
    unprivileged(|dir| {
        let store = Store::open(dir).unwrap();
        let shared = deploy(&store, "hello", "shared").bundle;
        let own = deploy(&store, "hello", "own").bundle;
        deploy(&store, "other", "shared");
        let removed = store.remove(&name("hello")).unwrap();
        assert_eq!(
            removed,
            Removed {
                revisions: 2,
                bundles: vec![own]
            }
        );
        assert_eq!(store.live(&name("hello")), None);
        assert!(store.revisions(&name("hello")).unwrap().is_empty());
        assert!(!store.layer(&own).exists());
        assert!(store.layer(&shared).exists());
        check_consistent(&store);
        assert_eq!(store.remove(&name("hello")).unwrap_err().code(), "no_function");
        assert_eq!(store.remove(&name("never")).unwrap_err().code(), "no_function");
        store.remove(&name("other")).unwrap();
        assert!(!store.layer(&shared).exists());
        check_consistent(&store);
    });
}

#[test]
fn numbers_go_on_when_a_name_is_used_again() {
    let dir = Scratch::new();
    let store = Store::open(dir.path()).unwrap();
    deploy(&store, "hello", "one");
    deploy(&store, "hello", "two");
    store.remove(&name("hello")).unwrap();
    drop(store);
    let store = Store::open(dir.path()).unwrap();
    assert_eq!(store.list(), []);
    assert_eq!(
        store
            .draft(&name("hello"), Digest::of(b""), settings())
            .unwrap()
            .number
            .get(),
        3
    );
    assert_eq!(deploy(&store, "hello", "three").number.get(), 3);
}

#[test]
fn a_bundle_that_waits_for_its_deploy_outlives_the_removal_of_others() {
    let dir = Scratch::new();
    let store = Store::open(dir.path()).unwrap();
    let digest = deploy(&store, "old", "shared").bundle;

    // Someone is told that the bundle is there, then its only function goes, then the deploy comes.
    assert!(store.has_bundle(&digest));
    assert_eq!(store.remove(&name("old")).unwrap().bundles, []);
    store.deploy(&name("new"), digest, settings()).unwrap();

    // The same with two uploads of one bundle, of which the first to deploy is removed at once.
    add(&store, "twice");
    let digest = add(&store, "twice");
    store.deploy(&name("first"), digest, settings()).unwrap();
    assert_eq!(store.remove(&name("first")).unwrap().bundles, []);
    store.deploy(&name("second"), digest, settings()).unwrap();
    assert_eq!(store.remove(&name("second")).unwrap().bundles, [digest]);
    check_consistent(&store);
}

#[test]
fn a_bundle_that_no_deploy_took_up_goes_at_the_next_start() {
    unprivileged(|dir| {
        let store = Store::open(dir).unwrap();
        deploy(&store, "hello", "live");
        let digest = add(&store, "waiting");
        drop(store);
        let store = Store::open(dir).unwrap();
        assert!(!store.has_bundle(&digest));
        check_consistent(&store);
    });
}

#[test]
fn what_a_crash_leaves_goes_at_the_next_start() {
    unprivileged(|dir| {
        let store = Store::open(dir).unwrap();
        let live = deploy(&store, "hello", "live");
        let layer = store.layer(&live.bundle);
        drop(store);
        let half = Digest::of(b"half").to_string();
        fs::write(dir.join("blobs/sha256").join(&half), "half").unwrap();
        fs::create_dir_all(dir.join("layers/sha256").join(&half).join("deep")).unwrap();
        fs::set_permissions(dir.join("layers/sha256").join(&half), fs::Permissions::from_mode(0o555)).unwrap();
        fs::create_dir_all(dir.join("tmp/7/layer/deep")).unwrap();
        fs::set_permissions(dir.join("tmp/7/layer"), fs::Permissions::from_mode(0o555)).unwrap();
        fs::write(dir.join("layers/sha256/stray"), "").unwrap();
        fs::set_permissions(&layer, fs::Permissions::from_mode(0o755)).unwrap();
        let store = Store::open(dir).unwrap();
        assert_eq!(store.list(), [live]);
        check_consistent(&store);
    });
}

#[test]
fn removing_follows_no_link() {
    unprivileged(|dir| {
        fs::create_dir(dir).unwrap();
        let kept = dir.join("kept");
        fs::create_dir(&kept).unwrap();
        fs::write(kept.join("file"), "").unwrap();
        let tree = dir.join("tree");
        fs::create_dir(&tree).unwrap();
        std::os::unix::fs::symlink("../kept", tree.join("link")).unwrap();
        temp::remove_tree(&tree).unwrap();
        assert!(!tree.exists());
        std::os::unix::fs::symlink("kept", &tree).unwrap();
        temp::remove_tree(&tree).unwrap();
        assert!(kept.join("file").exists());
    });
}

#[test]
fn uploads_deploys_and_removals_at_once_keep_the_store_whole() {
    let dir = Scratch::new();
    let store = Store::open(dir.path()).unwrap();
    thread::scope(|scope| {
        for worker in 0..4 {
            let store = &store;
            scope.spawn(move || {
                for round in 0..6 {
                    // All workers send the same few bundles, so that removals and uploads meet.
                    let function = name(&format!("f{worker}"));
                    let revision = deploy(store, function.as_str(), &format!("words {}", round % 2));
                    assert!(store.layer(&revision.bundle).join("handler.py").exists());
                    if round % 3 == 2 {
                        store.remove(&function).unwrap();
                    }
                }
                deploy(store, &format!("f{worker}"), "last");
            });
        }
    });
    assert_eq!(store.list().len(), 4);
    check_consistent(&store);
}

#[test]
fn an_upload_that_is_slow_holds_nobody_up() {
    /// Deploys another function in the middle of the upload.
    struct Meanwhile<'s> {
        archive: &'s [u8],
        store: &'s Store,
        done: bool,
    }
    impl Read for Meanwhile<'_> {
        fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
            if !std::mem::replace(&mut self.done, true) {
                deploy(self.store, "quick", "quick");
                self.store.remove(&name("quick")).unwrap();
            }
            self.archive.read(buffer)
        }
    }
    let dir = Scratch::new();
    let store = Store::open(dir.path()).unwrap();
    let archive = archive("slow");
    let stored = store
        .add_bundle(Meanwhile {
            archive: &archive,
            store: &store,
            done: false,
        })
        .unwrap();
    store.deploy(&name("slow"), stored.digest, settings()).unwrap();
    check_consistent(&store);
}
