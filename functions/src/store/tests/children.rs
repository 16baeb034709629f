//! Tests in which the store runs in a process of its own: one that is killed, and one whose disk is full.
#![expect(
    clippy::disallowed_methods,
    reason = "the children are this test program itself, started nowhere else"
)]

use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};

use super::*;

/// Where a child finds its state directory. Without it, the tests that are children do nothing.
const STATE_DIR: &str = "FN_TEST_STATE_DIR";

/// The command that runs the ignored test `child` of this file in this program.
fn child_arguments(child: &str) -> Vec<String> {
    let program = std::env::current_exe().unwrap().into_os_string().into_string().unwrap();
    let test = format!("store::tests::children::{child}");
    [
        program,
        "--exact".to_owned(),
        test,
        "--ignored".to_owned(),
        "--nocapture".to_owned(),
    ]
    .into()
}

fn state_dir_of_child() -> Option<std::path::PathBuf> {
    std::env::var_os(STATE_DIR).map(Into::into)
}

#[test]
#[ignore = "a child of the test below"]
fn deploys_until_it_is_killed() {
    let Some(dir) = state_dir_of_child() else { return };
    let store = Store::open(&dir).unwrap();
    for round in 0.. {
        let revision = deploy(
            &store,
            "hello",
            &format!("round {round} of process {}", std::process::id()),
        );
        println!("deployed {}", revision.number);
        if round % 5 == 4 {
            deploy(&store, "passing", &format!("passing {round}"));
            store.remove(&name("passing")).unwrap();
        }
    }
}

#[test]
fn a_store_that_is_killed_at_any_instant_is_whole() {
    // What the child has in its own temporary directory when it is killed is removed with this one.
    let parent = Scratch::new();
    let dir = parent.path().join("state");
    let arguments = child_arguments("deploys_until_it_is_killed");
    let mut last = 0;
    for round in 0..12 {
        let mut child = Command::new(&arguments[0])
            .args(&arguments[1..])
            .env(STATE_DIR, &dir)
            .env("TMPDIR", parent.path())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let numbers = lines.by_ref().filter_map(|line| {
            let line = line.unwrap();
            line.split_once("deployed ")
                .map(|(_, number)| number.parse::<u64>().unwrap())
        });
        last = numbers
            .take(1 + round % 4)
            .last()
            .expect("the child deploys until it is killed");
        // Each round a different way into what the child does next.
        for _ in 0..round * 40_000 {
            std::hint::spin_loop();
        }
        child.kill().unwrap();
        child.wait().unwrap();

        let store = Store::open(&dir).unwrap();
        let live = store.live(&name("hello")).unwrap();
        assert!(live.number.get() >= last, "revision {last} was answered and is lost");
        last = live.number.get();
        check_consistent(&store);
    }
    assert!(last >= 12);
}

/// Fills the disk of `dir` to the last byte and gives back the file that fills it.
fn fill(dir: &Path) -> std::path::PathBuf {
    use std::io::Write;
    let path = dir.join("filler");
    let mut file = fs::File::create(&path).unwrap();
    for size in [65536, 4096, 1] {
        while file.write_all(&vec![0; size]).is_ok() {}
    }
    path
}

#[test]
#[ignore = "a child of the test below"]
fn runs_on_a_disk_that_gets_full() {
    let Some(disk) = state_dir_of_child() else { return };
    // Bundles are made elsewhere: this disk is for the store.
    let (small, large) = (archive("small"), archive(&"large ".repeat(20_000)));
    let dir = disk.join("state");
    let store = Store::open(&dir).unwrap();
    let first = deploy(&store, "hello", "one");

    let error = store.add_bundle(large.as_slice()).unwrap_err();
    assert_eq!(error.code(), "disk_full", "{error:?}");
    assert!(error.hint().contains("Free some space"));
    check_consistent(&store);

    let digest = store.add_bundle(small.as_slice()).unwrap().digest;
    let filler = fill(&disk);
    let error = store.add_bundle(archive("other").as_slice()).unwrap_err();
    assert_eq!(error.code(), "disk_full", "{error:?}");
    // The log of the database has some room of its own, so the first deploys may succeed.
    let mut deployed = first;
    let error = loop {
        match store.deploy(&name("hello"), digest, settings()) {
            Ok(revision) => deployed = revision,
            Err(error) => break error,
        }
    };
    assert_eq!(error.code(), "disk_full", "{error:?}");
    assert_eq!(store.live(&name("hello")).as_ref(), Some(&deployed));
    drop(store);
    match Store::open(&dir) {
        Ok(store) => assert_eq!(store.live(&name("hello")).as_ref(), Some(&deployed)),
        Err(error) => assert_eq!(error.code(), "disk_full", "{error:?}"),
    }

    fs::remove_file(filler).unwrap();
    let store = Store::open(&dir).unwrap();
    assert_eq!(store.live(&name("hello")).as_ref(), Some(&deployed));
    let digest = store.add_bundle(small.as_slice()).unwrap().digest;
    let next = store.deploy(&name("hello"), digest, settings()).unwrap();
    assert_eq!(next.number.get(), deployed.number.get() + 1);
    check_consistent(&store);
    println!("checked a full disk");
}

#[test]
fn a_full_disk_is_said_to_be_one_and_costs_nothing_else() {
    let disk = Scratch::new();
    // A file system of two megabytes, mounted where only the child sees it.
    let script = "mount -t tmpfs -o size=2m tmpfs \"$FN_TEST_STATE_DIR\" && echo mounted && exec \"$@\"";
    let output = Command::new("unshare")
        .args(["--user", "--map-root-user", "--mount", "sh", "-c", script, "sh"])
        .args(child_arguments("runs_on_a_disk_that_gets_full"))
        .env(STATE_DIR, disk.path())
        .output()
        .unwrap();
    let text = [output.stdout, output.stderr].concat();
    let text = String::from_utf8_lossy(&text);
    if !text.contains("mounted") {
        println!("SKIPPED: cannot mount a small file system here: {text}");
        return;
    }
    assert!(text.contains("checked a full disk"), "{text}");
}

#[test]
#[ignore = "a child of the test below"]
fn runs_with_a_limit_on_file_sizes() {
    let Some(dir) = state_dir_of_child() else { return };
    let store = Store::open(&dir).unwrap();
    let first = deploy(&store, "hello", "one");
    // Three files below the limit make an archive above it.
    let sources = Scratch::new();
    for file in ["a", "b", "c"] {
        fs::write(sources.path().join(file), vec![0; 500_000]).unwrap();
    }
    let mut large = Vec::new();
    bundle::pack(sources.path(), &mut large).unwrap();
    let error = store.add_bundle(large.as_slice()).unwrap_err();
    assert_eq!(error.code(), "disk_full", "{error:?}");
    assert_eq!(store.live(&name("hello")), Some(first));
    check_consistent(&store);
    println!("checked a limit");
}

#[test]
fn a_limit_on_file_sizes_is_a_full_disk() {
    let dir = Scratch::new();
    // In units of 512 bytes. The signal that comes with the limit would end the process before its error.
    let output = Command::new("sh")
        .args(["-c", "trap '' XFSZ; ulimit -f 1500; exec \"$@\"", "sh"])
        .args(child_arguments("runs_with_a_limit_on_file_sizes"))
        .env(STATE_DIR, dir.path())
        .output()
        .unwrap();
    let text = [output.stdout, output.stderr].concat();
    assert!(
        String::from_utf8_lossy(&text).contains("checked a limit"),
        "{}",
        String::from_utf8_lossy(&text)
    );
}
