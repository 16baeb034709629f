//! What a function sees from inside, and what it may not do: no root, no capability, no way to gain one, nothing of anybody else.

use nix::unistd::Uid;
use tests::processes::{self, field_of};
use tests::{Server, Source, poll, skip};

/// The words of the kernel for the sets of capabilities of a process.
const CAPABILITIES: [&str; 4] = ["CapInh", "CapPrm", "CapEff", "CapAmb"];

#[track_caller]
fn has_no_rights(status: &str) {
    for set in CAPABILITIES {
        let seen = field_of(status, set).expect("the kernel shows the sets");
        assert_eq!(seen.trim_start_matches('0'), "", "{set} should be empty");
    }
    assert_eq!(field_of(status, "NoNewPrivs").as_deref(), Some("1"));
    assert_eq!(
        field_of(status, "Seccomp").as_deref(),
        Some("2"),
        "a filter is attached"
    );
    let uids = field_of(status, "Uid").expect("the kernel shows the ids");
    assert!(
        uids.split_whitespace().all(|uid| uid != "0"),
        "not even root of its own namespace: {uids}"
    );
}

#[tokio::test]
async fn a_shell_function_is_nobody_special() {
    let server = Server::start().await;
    server
        .deploy("whoami", &Source::shell("id; echo ---; cat /proc/self/status"), &[])
        .await;
    let said = server.call("whoami").await.good().text();
    let (id, status) = said.split_once("---\n").expect("both parts were printed");
    assert!(id.starts_with("uid=") && !id.contains("uid=0"), "{id}");
    assert!(!id.contains("(root)"), "no group of root either: {id}");
    has_no_rights(status);
}

#[tokio::test]
async fn a_handler_is_nobody_special_in_any_language() {
    let server = Server::start().await;
    let python = Source::python_body("    return open('/proc/self/status').read()");
    let node = Source::node(
        "import { readFileSync } from 'node:fs';\nexport const handler = async () => readFileSync('/proc/self/status', 'utf8');\n",
    );
    for (name, source) in [("python", python), ("node", node)] {
        server.deploy(name, &source, &[]).await;
        let reply = server.call(name).await.good();
        has_no_rights(reply.json().as_str().expect("the handler returned text"));
    }
}

#[tokio::test]
async fn the_host_agrees_that_it_has_no_rights() {
    let server = Server::start().await;
    let marker = processes::marker("rights");
    let source = Source::python_body(&format!(
        "    subprocess.Popen(['{marker}', '1000'], executable='/bin/sleep')\n    return 'ok'"
    ));
    server.deploy("seen", &source, &[]).await;
    server.call("seen").await.good();
    // A program's old descriptors are closed, which is what Popen waits for, a moment before its arguments can be read.
    let pids = poll::until("the one process that the handler started", async || {
        let pids = processes::marked(&marker);
        (pids.len() == 1).then_some(pids)
    })
    .await;
    let status = std::fs::read_to_string(format!("/proc/{}/status", pids[0])).expect("it still runs");
    has_no_rights(&status);
    // Seen from the host the id must be the server's own or one of its user's subordinate ids.
    let uid: u32 = field_of(&status, "Uid")
        .and_then(|ids| ids.split_whitespace().next()?.parse().ok())
        .expect("a number");
    let server_uid = processes::status(server.pid(), "Uid").and_then(|ids| ids.split_whitespace().next()?.parse().ok());
    assert!(
        Some(uid) == server_uid || uid >= 100_000,
        "the host sees uid {uid}, the server has {server_uid:?}"
    );
    assert_ne!(server_uid, Some(0), "the server itself has dropped root");
}

#[tokio::test]
async fn every_namespace_is_its_own() {
    let server = Server::start().await;
    const KINDS: [&str; 7] = ["user", "mnt", "pid", "net", "ipc", "uts", "cgroup"];
    let source = Source::python_body(&format!(
        "    return {{k: os.readlink('/proc/self/ns/' + k) for k in {KINDS:?}}}"
    ));
    server.deploy("left", &source, &[]).await;
    server.deploy("right", &source, &[]).await;
    let (left, right) = (
        server.call("left").await.good().json(),
        server.call("right").await.good().json(),
    );
    for kind in KINDS {
        let ours = std::fs::read_link(format!("/proc/self/ns/{kind}")).expect("we may read our own");
        assert_ne!(left[kind].as_str(), ours.to_str(), "the {kind} namespace is the host's");
        assert_ne!(left[kind], right[kind], "two functions share their {kind} namespace");
    }
}

#[tokio::test]
async fn only_its_own_files_are_there() {
    let server = Server::start().await;
    let secret = server.place().ours("host-secret");
    std::fs::write(&secret, "host").expect("our own file can be written");
    let listing = "    paths = ['/', '/function', '/tmp', '/home', '/root', '/etc', '/dev', '/var/task']\n    \
         names = {p: sorted(os.listdir(p)) for p in paths if os.path.isdir(p)}\n    \
         return {'names': names, 'secret': os.path.exists(query.get('secret', '')), 'sys': os.path.exists('/sys/kernel')}";
    server
        .deploy("lists", &Source::python_body(listing).file("data.txt", "x"), &[])
        .await;
    server
        .deploy(
            "other",
            &Source::python_body("    open('/tmp/of-other', 'w').close()\n    return 'ok'"),
            &[],
        )
        .await;
    server.call("other").await.good();
    let url = format!("{}?secret={}", server.function("lists"), secret.display());
    let reply = server
        .client()
        .get(&url)
        .await
        .expect("the function answers")
        .good()
        .json();
    assert_eq!(reply["secret"], false, "a file of the host is visible");
    assert_eq!(reply["sys"], false, "/sys is visible");
    let names = |path: &str| -> Vec<String> {
        let names = reply["names"][path].as_array().cloned().unwrap_or_default();
        names
            .iter()
            .filter_map(|name| name.as_str().map(str::to_owned))
            .collect()
    };
    assert!(
        names("/function").contains(&"data.txt".to_owned()),
        "{:?}",
        names("/function")
    );
    assert!(
        !names("/tmp").contains(&"of-other".to_owned()),
        "/tmp of another function is visible"
    );
    assert_eq!(names("/home"), Vec::<String>::new());
    assert_eq!(names("/root"), Vec::<String>::new());
    assert!(!names("/etc").contains(&"shadow".to_owned()), "{:?}", names("/etc"));
    for device in names("/dev") {
        let known = [
            "null", "zero", "full", "random", "urandom", "shm", "fd", "stdin", "stdout", "stderr", "mqueue",
        ];
        assert!(known.contains(&device.as_str()), "/dev/{device} is not needed");
    }
}

#[tokio::test]
async fn only_its_own_processes_are_there() {
    let server = Server::start().await;
    let marker = processes::marker("neighbour");
    let noisy = Source::python_body(&format!(
        "    subprocess.Popen(['{marker}', '1000'], executable='/bin/sleep')\n    return 'ok'"
    ));
    server.deploy("neighbour", &noisy, &[]).await;
    server.call("neighbour").await.good();
    // Its name is there a moment after its program is executed.
    tests::poll::until("the process, as the host sees it", async || {
        (processes::marked(&marker).len() == 1).then_some(())
    })
    .await;
    let source = Source::python_body(
        "    pids = [int(p) for p in os.listdir('/proc') if p.isdigit()]\n    \
         return {'pids': pids, 'me': os.getpid(), 'words': [open(f'/proc/{p}/cmdline').read() for p in pids]}",
    );
    server.deploy("looks", &source, &[]).await;
    let seen = server.call("looks").await.good().json();
    let pids = seen["pids"].as_array().expect("a list");
    assert!(
        pids.len() <= 3 && pids.contains(&seen["me"]),
        "its init and itself: {seen}"
    );
    assert!(!seen["words"].to_string().contains(&marker), "{seen}");
}

#[tokio::test]
async fn what_it_may_not_do_is_refused() {
    let server = Server::start().await;
    let source = Source::python(
        "import ctypes, os, socket\n\
         libc = ctypes.CDLL(None, use_errno=True)\n\n\n\
         def call(name, *args):\n    ctypes.set_errno(0)\n    return ctypes.get_errno() if getattr(libc, name)(*args) == -1 else 0\n\n\n\
         def attempt(act):\n    try:\n        act()\n        return 0\n    except OSError as error:\n        return error.errno\n\n\n\
         def handler(event, context):\n    return {\n        \
         'mount': call('mount', b'none', b'/tmp', b'tmpfs', 0, None),\n        \
         'unshare': call('unshare', 0x10000000),\n        \
         'chroot': attempt(lambda: os.chroot('/tmp')),\n        \
         'setuid': attempt(lambda: os.setuid(0)),\n        \
         'ptrace': call('ptrace', 16, 1, 0, 0),\n        \
         'bpf': call('syscall', 321, 0, 0, 0),\n        \
         'keyctl': call('syscall', 250, 0, 0, 0),\n        \
         'netlink': attempt(lambda: socket.socket(socket.AF_NETLINK, socket.SOCK_RAW)),\n        \
         'raw': attempt(lambda: socket.socket(socket.AF_INET, socket.SOCK_RAW)),\n        \
         'usr': attempt(lambda: open('/usr/x', 'w')),\n        \
         'function': attempt(lambda: open('/function/x', 'w')),\n        \
         'sysctl': attempt(lambda: open('/proc/sys/kernel/core_pattern', 'w')),\n        \
         'sysrq': attempt(lambda: open('/proc/sysrq-trigger', 'w')),\n    }\n",
    );
    server.deploy("tries", &source, &[]).await;
    let seen = server.call("tries").await.good().json();
    for (what, errno) in seen.as_object().expect("an object") {
        assert_ne!(errno.as_i64(), Some(0), "{what} was allowed: {seen}");
    }
}

#[tokio::test]
async fn it_can_not_reach_the_host_over_the_network() {
    let server = Server::start().await;
    let port = server
        .address()
        .rsplit(':')
        .next()
        .expect("an address has a port")
        .to_owned();
    let source = Source::python(
        "import socket\n\n\ndef handler(event, context):\n    port = int(event['queryStringParameters']['port'])\n    \
         try:\n        socket.create_connection(('127.0.0.1', port), 2).close()\n        return 'reached'\n    \
         except OSError as error:\n        return type(error).__name__\n",
    );
    server.deploy("calls-home", &source, &[]).await;
    let url = format!("{}?port={port}", server.function("calls-home"));
    let reply = server.client().get(&url).await.expect("the function answers").good();
    assert_ne!(reply.json(), "reached", "the server's own port was reached from inside");
}

#[tokio::test]
async fn the_server_has_dropped_root_for_good() {
    if !Uid::effective().is_root() {
        skip!("only a server that was started as root has root to drop");
    }
    let server = Server::start().await;
    for process in processes::family(server.pid()) {
        let status = |field| processes::status(process.pid, field).unwrap_or_default();
        let uids = status("Uid");
        assert!(
            uids.split_whitespace().all(|uid| uid != "0"),
            "process {} has uids {uids}",
            process.pid
        );
        assert_eq!(status("Groups"), "", "process {} kept groups of root", process.pid);
    }
    let effective = processes::status(server.pid(), "CapEff").unwrap_or_default();
    assert_eq!(effective.trim_start_matches('0'), "", "the server kept capabilities");
}
