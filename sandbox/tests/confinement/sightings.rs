//! What the host sees of what runs in a sandbox.

use std::time::Duration;

use sandbox::sighting::{BURST, LONGEST};
use sandbox::{Peer, Plan, Program, Sight, Sighting, Sightings, Slot, Watch};

use crate::setting::{House, read_all};

const ALL: Watch = Watch {
    exec: true,
    connect: true,
    refused: true,
};

fn shell(house: &House, script: &str) -> Plan {
    Plan {
        watch: ALL,
        ..house.plan(&["/bin/sh", "-c", script])
    }
}

fn python(house: &House, script: &str) -> Plan {
    Plan {
        watch: ALL,
        ..house.plan(&["/usr/bin/python3", "-c", script])
    }
}

/// Whether this kernel tells; else the test is skipped.
fn tells() -> bool {
    let here = std::fs::read_to_string("/proc/sys/kernel/seccomp/actions_avail").unwrap_or_default();
    let tells = here.contains("user_notif");
    if !tells {
        crate::skip::record("the kernel tells of no calls");
    }
    tells
}

/// Runs `plan` to its end; what was told of it by then is to be read at once.
async fn seen(house: &House, plan: &Plan) -> (String, Vec<Sighting>) {
    let sightings = house.spawner.take_sightings().expect("nobody took them");
    let mut sandbox = house.spawner.launch(plan).await.unwrap();
    let (id, log) = (sandbox.id(), sandbox.take_log().unwrap());
    sandbox.gone().await;
    let seen = all(&sightings).await;
    assert!(seen.iter().all(|sighting| sighting.sandbox == id), "{seen:?}");
    (read_all(log), seen)
}

/// Everything that was told already. The sandbox is gone, so nothing is on its way.
async fn all(sightings: &Sightings) -> Vec<Sighting> {
    let mut seen = Vec::new();
    while let Ok(sighting) = tokio::time::timeout(Duration::from_millis(200), sightings.next()).await {
        seen.push(sighting.unwrap());
    }
    seen
}

fn paths(seen: &[Sighting]) -> Vec<&str> {
    seen.iter()
        .filter_map(|sighting| match &sighting.sight {
            Sight::Exec { path } => path.as_deref(),
            _ => None,
        })
        .collect()
}

#[tokio::test]
async fn programs_that_are_executed_are_seen_but_for_the_one_of_the_plan() {
    let house = House::new().await;
    if !tells() {
        return;
    }
    let script = "/bin/echo one; cd /usr/bin; ./true; cp /bin/true /tmp/own; /tmp/own; /nowhere/x; echo end";
    let (text, seen) = seen(&house, &shell(&house, script)).await;
    assert!(text.starts_with("one\n") && text.ends_with("end\n"), "{text}");
    let paths = paths(&seen);
    for wanted in ["/bin/echo", "/usr/bin/./true", "/tmp/own", "/nowhere/x"] {
        assert!(paths.contains(&wanted), "{wanted}: {paths:?}");
    }
    assert!(!paths.contains(&"/bin/sh"), "{paths:?}");
    assert!(seen.iter().all(|sighting| sighting.missed == 0));
}

#[tokio::test]
async fn a_program_without_a_path_is_seen_by_what_its_descriptor_leads_to() {
    let house = House::new().await;
    if !tells() {
        return;
    }
    let script = "import os\nfd = os.memfd_create('hidden')\nos.write(fd, open('/bin/true','rb').read())\nos.execve(fd, ['x'], {})";
    let (_, seen) = seen(&house, &python(&house, script)).await;
    assert!(
        paths(&seen).iter().any(|path| path.starts_with("/memfd:hidden")),
        "{seen:?}"
    );
}

#[tokio::test]
async fn connections_and_refused_calls_are_seen_and_answered_as_ever() {
    let house = House::new().await;
    if !tells() {
        return;
    }
    let script = "import ctypes, socket
def tries(family, address):
    s = socket.socket(family)
    try: s.connect(address)
    except OSError as e: print(e.errno)
tries(socket.AF_INET, ('127.0.0.1', 9))
tries(socket.AF_INET, ('192.0.2.1', 80))
tries(socket.AF_INET6, ('::1', 7))
tries(socket.AF_UNIX, '/tmp/none')
libc = ctypes.CDLL(None, use_errno=True)
print(libc.unshare(0x10000000), ctypes.get_errno())
print(libc.mount(0, 0, 0, 0, 0), ctypes.get_errno())";
    let (text, seen) = seen(&house, &python(&house, script)).await;
    assert_eq!(text, "111\n101\n111\n2\n-1 1\n-1 1\n");
    let sights: Vec<&Sight> = seen.iter().map(|sighting| &sighting.sight).collect();
    let inet = |text: &str| Sight::Connect {
        peer: Peer::Inet(text.parse().unwrap()),
    };
    for wanted in [
        inet("127.0.0.1:9"),
        inet("192.0.2.1:80"),
        inet("[::1]:7"),
        Sight::Connect {
            peer: Peer::Unix("/tmp/none".into()),
        },
    ] {
        assert!(sights.contains(&&wanted), "{wanted:?}: {sights:?}");
    }
    let calls: Vec<&str> = sights
        .iter()
        .filter_map(|sight| match sight {
            Sight::Refused { number } => Some(Sight::call(*number)),
            _ => None,
        })
        .collect();
    assert_eq!(calls, ["unshare", "mount"]);
}

#[tokio::test]
async fn a_flood_is_cut_and_stops_neither_its_function_nor_what_others_tell() {
    let house = House::new().await;
    if !tells() {
        return;
    }
    let script = "import ctypes, os
libc = ctypes.CDLL(None)
for _ in range(20000): libc.unshare(0)
os.posix_spawn('/bin/true', ['true'], {})
os.wait()
print('end')";
    let (text, seen) = seen(&house, &python(&house, script)).await;
    assert_eq!(text, "end\n");
    let refused = seen
        .iter()
        .filter(|one| matches!(one.sight, Sight::Refused { .. }))
        .count();
    assert!(refused >= 1 && refused < 10 * BURST as usize, "{refused}");
    assert_eq!(paths(&seen), ["/bin/true"]);
    assert!(seen.iter().map(|one| one.missed).sum::<u64>() > 0);
}

#[tokio::test]
async fn what_a_function_writes_as_a_path_is_bounded_text() {
    let house = House::new().await;
    if !tells() {
        return;
    }
    let script = "import os, ctypes
for path in [b'/tmp/a\\nb\\x1b[31m\\xff', b'/' + b'x' * 5000]:
    try: os.execv(path, [b'x'])
    except OSError as e: print(e.errno)
libc = ctypes.CDLL(None)
for pointer in [0, 1, 2**63, 2**64 - 1]:
    libc.execve(ctypes.c_void_p(pointer), None, None)
    libc.connect(0, ctypes.c_void_p(pointer), 16)
print('end')";
    let (text, seen) = seen(&house, &python(&house, script)).await;
    assert_eq!(text, "2\n36\nend\n");
    let paths = paths(&seen);
    assert_eq!(paths[0], "/tmp/a\nb\u{1b}[31m\u{fffd}");
    assert_eq!(paths[1].len(), LONGEST);
    let unread = |one: &&Sighting| {
        matches!(
            one.sight,
            Sight::Exec { path: None } | Sight::Connect { peer: Peer::Unread }
        )
    };
    assert_eq!(seen.iter().filter(unread).count(), 8, "{seen:?}");
}

#[tokio::test]
async fn nothing_is_told_of_a_plan_that_does_not_ask() {
    let house = House::new().await;
    let plan = Plan {
        watch: Watch::default(),
        ..shell(&house, "/bin/true; /bin/true; echo end")
    };
    let (text, seen) = seen(&house, &plan).await;
    assert_eq!((text.as_str(), seen.len()), ("end\n", 0));
}

#[tokio::test]
async fn nobody_who_reads_stops_nobody() {
    let house = House::new().await;
    if !tells() {
        return;
    }
    // Their queue is full long before the last of them.
    for _ in 0..12 {
        let script = "i=0; while [ $i -lt 60 ]; do /bin/true; i=$((i+1)); done; echo end";
        let (text, _) = house.run(&shell(&house, script)).await;
        assert_eq!(text, "end\n");
    }
}

#[tokio::test]
async fn what_was_built_ahead_is_watched_by_its_plan() {
    let house = House::new().await;
    if !tells() {
        return;
    }
    let plan = shell(&house, "/bin/true; echo end");
    assert!(Slot::fits(&plan) && plan.program == Program::Exec);
    let shape = sandbox::Shape {
        group: plan.group.clone(),
        limits: plan.limits,
        tmp_bytes: plan.tmp_bytes,
    };
    let sightings = house.spawner.take_sightings().unwrap();
    let slot = house.spawner.prepare(&shape).await.unwrap();
    let sandbox = slot.bind(&plan).await.unwrap();
    sandbox.gone().await;
    assert_eq!(paths(&all(&sightings).await), ["/bin/true"]);
}
