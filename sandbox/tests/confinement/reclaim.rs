//! Memory that is given back to the host.

use std::fs::{self, File};
use std::io::Write;
use std::os::fd::AsFd;

use crate::setting::{House, launch, limits_are_enforced, wait_for};

const MIB: u64 = 1 << 20;
const SIZE: u64 = 24 * MIB;

/// Bytes of swap that are free on this host.
fn swap_free() -> u64 {
    let meminfo = fs::read_to_string("/proc/meminfo").unwrap();
    let line = meminfo.lines().find_map(|line| line.strip_prefix("SwapFree:"));
    line.map_or(0, |line| {
        line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() << 10
    })
}

#[tokio::test]
async fn files_that_were_read_are_forgotten_and_nobody_is_hurt() {
    if !limits_are_enforced() {
        return;
    }
    let house = House::new().await;
    let path = house.path().join("layers").join(house.layer.as_str()).join("big");
    let mut file = File::create(&path).unwrap();
    file.write_all(&vec![7; SIZE as usize]).unwrap();
    file.sync_all().unwrap();
    // Its pages are ours so far. Whoever reads it next is charged for them.
    rustix::fs::fadvise(file.as_fd(), 0, None, rustix::fs::Advice::DontNeed).unwrap();
    let script = "data = open('/function/big', 'rb')\nwhile data.read(1 << 20): pass\nprint('up', flush=True)\n__import__('signal').pause()";
    let mut sandbox = launch(&house, &house.plan(&["/usr/bin/python3", "-c", script])).await;
    let log = sandbox.take_log().unwrap();
    wait_for(&log, "up\n");
    let before = sandbox.usage().memory_bytes.unwrap();
    if before < SIZE {
        crate::skip!("the temporary directory keeps its files in memory");
    }
    assert_eq!(
        sandbox.reclaim(&|| false).unwrap(),
        Some(0),
        "nobody wanted it any more"
    );
    assert_eq!(sandbox.usage().memory_bytes.unwrap(), before);
    let given = sandbox.reclaim(&|| true).unwrap().unwrap();
    assert!(given > SIZE - 4 * MIB, "{given} of {before}");
    assert!(sandbox.usage().memory_bytes.unwrap() <= before - given + MIB);
    assert!(!sandbox.has_ended());
}

#[tokio::test]
async fn what_a_program_holds_goes_to_swap_and_comes_back_unchanged() {
    if !limits_are_enforced() {
        return;
    }
    if swap_free() < 4 * SIZE {
        crate::skip!("this host has no swap to spare");
    }
    let house = House::new().await;
    let script = "\
import hashlib, os, socket
data = bytearray(os.urandom(1 << 20) * 24)
digest = hashlib.sha256(data).digest()
door = socket.socket(socket.AF_UNIX)
door.bind('/tmp/s')
door.listen()
print('up', flush=True)
door.accept()
print('same' if hashlib.sha256(data).digest() == digest else 'other', flush=True)
";
    let mut sandbox = launch(&house, &house.plan(&["/usr/bin/python3", "-c", script])).await;
    let log = sandbox.take_log().unwrap();
    wait_for(&log, "up\n");
    let before = sandbox.usage().memory_bytes.unwrap();
    assert!(before > SIZE);
    let frozen = sandbox.freeze().unwrap();
    let given = sandbox.reclaim(&|| true).unwrap().unwrap();
    assert!(given > SIZE / 2, "{given} of {before}");
    if let Some(frozen) = frozen {
        frozen.thaw().unwrap();
    }
    sandbox.connect_unix("/tmp/s").await.unwrap();
    wait_for(&log, "same\n");
    assert!(sandbox.usage().memory_bytes.unwrap() > SIZE, "it was touched");
    assert_eq!(sandbox.gone().await.oom_kills, 0);
}
