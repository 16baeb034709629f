//! What hostile code can make of those who connect to its sockets.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixListener;

use proptest::strategy::{Strategy, ValueTree};
use proptest::test_runner::TestRunner;
use sandbox::{Exit, ReachError};

use crate::reach::{ask, ask_unix, connect, plan, up};
use crate::setting::{House, children, launch, limits_are_enforced, read_all, wait_for};

/// Waits until the spawner has no other process than the sandboxes that live.
pub(crate) async fn settled(house: &House, alive: usize) {
    for _ in 0..100 {
        if children(house.spawner.pid().unwrap()).len() == alive {
            return;
        }
        house.sh("true").await;
    }
    panic!("{:?} are left", children(house.spawner.pid().unwrap()));
}

#[tokio::test]
async fn no_path_leads_where_the_function_could_not_go_itself() {
    let house = House::new().await;
    let layer = house.path().join("layers").join(house.layer.as_str());
    // Sockets of the user who serves: outside, and in the bundle, where only he could connect to it.
    let outside = house.path().join("outside.sock");
    let _admin = UnixListener::bind(&outside).unwrap();
    fs::create_dir(layer.join("private")).unwrap();
    let _kept: Vec<_> = ["private/s", "s"]
        .map(|name| UnixListener::bind(layer.join(name)).unwrap())
        .into();
    fs::set_permissions(layer.join("s"), PermissionsExt::from_mode(0o600)).unwrap();
    fs::set_permissions(layer.join("private"), PermissionsExt::from_mode(0o700)).unwrap();
    let mut paths = vec![
        outside.to_str().unwrap().to_owned(),
        format!("/.fn/layers/{}/s", house.layer.as_str()),
        "/function/s".into(),
        "/function/private/s".into(),
    ];
    for process in ["1", "2", "self", "thread-self"] {
        for way in [
            "root/tmp/s",
            "cwd/../tmp/s",
            "cwd/s",
            "fd/0",
            "fd/3",
            "fd/4",
            "fd/5",
            "root",
            "exe",
        ] {
            paths.push(format!("/proc/{process}/{way}"));
        }
    }
    let script = format!(
        r#"
listener = unix("/tmp/s")
paths = {paths:?}
for number, path in enumerate(paths):
    os.symlink(path, "/tmp/%d" % number)
    os.symlink("../" * 20 + path, "/tmp/up%d" % number)
for path in paths:
    try: socket.socket(socket.AF_UNIX).connect(path); print("yes")
    except OSError: print("no")
print("up", flush=True)
threading.Event().wait()
"#
    );
    let mut sandbox = launch(&house, &plan(&house, &script)).await;
    let log = sandbox.take_log().unwrap();
    let could: Vec<bool> = paths.iter().map(|_| read_line(&log) == "yes").collect();
    assert_eq!(read_line(&log), "up");
    for (number, (path, could)) in paths.iter().zip(could).enumerate() {
        for way in [path.clone(), format!("/tmp/{number}"), format!("/tmp/up{number}")] {
            let outcome = sandbox.connect_unix(&way).await;
            assert!(outcome.is_err() || could, "{path} by {way}");
            // Least of all by what a process holds.
            assert!(outcome.is_err() || !path.starts_with("/proc"), "{path} by {way}");
        }
    }
    sandbox.connect_unix("/tmp/s").await.unwrap();
}

fn read_line(log: &std::os::fd::OwnedFd) -> String {
    rustix::io::ioctl_fionbio(log, false).unwrap();
    let mut line = Vec::new();
    let mut byte = [0];
    while rustix::io::read(log, &mut byte).unwrap() == 1 && byte != [b'\n'] {
        line.push(byte[0]);
    }
    String::from_utf8(line).unwrap()
}

#[tokio::test]
async fn a_path_that_changes_all_the_time_is_connected_to_or_not() {
    let house = House::new().await;
    let layer = house.path().join("layers").join(house.layer.as_str());
    nix::unistd::mkfifo(&layer.join("fifo"), nix::sys::stat::Mode::from_bits_truncate(0o666)).unwrap();
    let script = r#"
os.mkdir("/tmp/dir")
targets = ["/tmp/real", "/function/fifo", "/dev/null", "/proc/1/fd/3", "/proc/1/root/tmp/real", "/tmp/dir", "/tmp/none", "/tmp/s"]
def swap():
    while True:
        for target in targets:
            os.symlink(target, "/tmp/new")
            os.rename("/tmp/new", "/tmp/s")
        os.unlink("/tmp/s")
listener = unix("/tmp/real")
threading.Thread(target=swap, daemon=True).start()
serve(listener, b"real")
"#;
    let (sandbox, _log) = up(&house, script).await;
    let mut connected = 0;
    for _ in 0..300 {
        match sandbox.connect_unix("/tmp/s").await {
            Ok(socket) => {
                connected += 1;
                assert_eq!(ask_unix(socket), "real");
            }
            Err(ReachError::NotThere | ReachError::NotASocket | ReachError::Links | ReachError::Forbidden) => {}
            Err(other) => panic!("{other:?}"),
        }
    }
    assert!(connected > 0);
    settled(&house, 1).await;
}

#[tokio::test]
async fn any_path_is_answered() {
    let house = House::new().await;
    let (sandbox, _log) = up(&house, "serve(unix('/tmp/s'), b'here')").await;
    let mut runner = TestRunner::deterministic();
    let part = "(\\.|\\.\\.|/|tmp|s|proc|self|root|dev|function|[^/]{0,60}|.{0,8})";
    let paths = proptest::collection::vec(part, 0..8).prop_map(|parts| format!("/{}", parts.join("/")));
    for _ in 0..200 {
        let path = paths.new_tree(&mut runner).unwrap().current();
        match sandbox.connect_unix(&path).await {
            Ok(socket) => assert_eq!(ask_unix(socket), "here", "{path:?}"),
            Err(ReachError::Path(_) | ReachError::NotThere | ReachError::NotASocket) => {}
            Err(ReachError::Links | ReachError::Forbidden) => assert!(path.contains("proc"), "{path:?}"),
            Err(other) => panic!("{path:?}: {other:?}"),
        }
    }
    assert_eq!(ask_unix(sandbox.connect_unix("/tmp/s").await.unwrap()), "here");
}

#[tokio::test]
async fn who_connects_can_be_neither_seen_nor_signalled() {
    let house = House::new().await;
    let script = r#"
import ctypes, signal
libc = ctypes.CDLL(None, use_errno=True)
listener = unix("/tmp/s")
print("up", flush=True)
s = listener.accept()[0]
pid, uid, gid = struct.unpack("3i", s.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))
print(pid, [p for p in os.listdir("/proc") if p.isdigit()], uid == 0, gid == 0)
if libc.ioctl(s.fileno(), 0x894C, 0) >= 0: print("NETWORK")
try:
    pidfd = struct.unpack("i", s.getsockopt(socket.SOL_SOCKET, 77, 4))[0]
    for number in (0, 9):
        try:
            signal.pidfd_send_signal(pidfd, number)
            print("SENT", number)
        except OSError:
            pass
    for number in range(0xff01, 0xff0b):
        if libc.ioctl(pidfd, number, 0) >= 0:
            print("NAMESPACE", number)
except OSError:
    pass
"#;
    let mut sandbox = launch(&house, &plan(&house, script)).await;
    let log = sandbox.take_log().unwrap();
    wait_for(&log, "up\n");
    let _socket = sandbox.connect_unix("/tmp/s").await.unwrap();
    assert_eq!(sandbox.gone().await.exit, Exit::Code(0));
    assert_eq!(read_all(log), "0 ['1', '2'] False False\n");
}

#[tokio::test]
async fn descriptors_sent_over_a_connection_do_not_arrive() {
    let house = House::new().await;
    let script = r#"
listener = unix("/tmp/s")
print("up", flush=True)
s = listener.accept()[0]
try:
    for n in range(20): socket.send_fds(s, [b"x"], [0] * 200)
except OSError: pass
print("sent", flush=True)
threading.Event().wait()
"#;
    let (sandbox, log) = up(&house, script).await;
    let socket = sandbox.connect_unix("/tmp/s").await.unwrap();
    wait_for(&log, "sent\n");
    let open = || fs::read_dir("/proc/self/fd").unwrap().count();
    let before = open();
    let mut buffer = [0; 64];
    while matches!(rustix::io::read(&socket, &mut buffer), Ok(1..)) {}
    assert_eq!(open(), before);
}

#[tokio::test]
async fn a_sandbox_that_is_full_can_still_be_reached() {
    if !limits_are_enforced() {
        return;
    }
    let house = House::new().await;
    let mut full = plan(
        &house,
        "t = tcp(8080)\nu = unix('/tmp/s')\nprint('up', flush=True)\nfor listener in (t, u):\n  s = listener.accept()[0]; s.recv(9); s.sendall(b'here'); s.close()",
    );
    full.limits.pids = 1;
    let mut sandbox = launch(&house, &full).await;
    wait_for(&sandbox.take_log().unwrap(), "up\n");
    let socket = sandbox.tcp_socket().await.unwrap();
    assert_eq!(ask(connect(socket, 8080).await.unwrap()).await, "here");
    assert_eq!(ask_unix(sandbox.connect_unix("/tmp/s").await.unwrap()), "here");
    // Nobody was refused a process on our account.
    assert_eq!(sandbox.gone().await.pids_hits, 0);
}

#[tokio::test]
async fn hundreds_of_sockets_leave_nothing() {
    let house = House::new().await;
    let script = "u = unix('/tmp/s')\nprint('up', flush=True)\nwhile True: u.accept()[0].close()";
    let (sandbox, _log) = up(&house, script).await;
    let open = || fs::read_dir("/proc/self/fd").unwrap().count();
    sandbox.connect_unix("/tmp/s").await.unwrap();
    let before = open();
    for _ in 0..25 {
        let asked = (0..4).map(|_| sandbox.tcp_socket());
        let visits = (0..4).map(|_| sandbox.connect_unix("/tmp/s"));
        let missing = (0..4).map(|_| sandbox.connect_unix("/tmp/none"));
        let (asked, visits, missing) = tokio::join!(
            futures_util::future::join_all(asked),
            futures_util::future::join_all(visits),
            futures_util::future::join_all(missing)
        );
        assert!(asked.iter().chain(&visits).all(Result::is_ok));
        assert!(missing.iter().all(Result::is_err));
        // Given up at once.
        let given_up = Box::pin(sandbox.connect_unix("/tmp/s"));
        drop(futures_util::FutureExt::now_or_never(given_up));
    }
    settled(&house, 1).await;
    // What was given up ends in its own time.
    while open() != before {
        tokio::task::yield_now().await;
    }
    drop(sandbox);
    settled(&house, 0).await;
}

#[tokio::test]
async fn a_lost_spawner_is_the_end() {
    let house = House::new().await;
    let (sandbox, _log) = up(&house, "serve(unix('/tmp/s'), b'here')").await;
    let pid = nix::unistd::Pid::from_raw(house.spawner.pid().unwrap());
    nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGKILL).unwrap();
    assert!(matches!(sandbox.connect_unix("/tmp/s").await, Err(ReachError::Ended)));
    sandbox.gone().await;
    assert!(matches!(sandbox.tcp_socket().await, Err(ReachError::Ended)));
}
