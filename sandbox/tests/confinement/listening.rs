//! What the host hears of listen(2).

use std::fs;

use futures_util::FutureExt;
use sandbox::{Exit, Plan, ReachError, Rootfs, Sandbox, Shape};

use crate::reach::{ask, ask_unix, connect, plan, up};
use crate::setting::{House, launch, read_all, wait_for};

/// Says `up` before it does what `script` says, and waits for a byte on its lane first.
async fn told(house: &House, script: &str) -> (Sandbox, std::os::fd::OwnedFd) {
    up(house, &format!("print('up', flush=True)\nos.read(3, 1)\n{script}")).await
}

fn go(sandbox: &mut Sandbox) -> std::os::fd::OwnedFd {
    let lane = sandbox.take_lanes().pop().unwrap();
    rustix::io::write(&lane, b"g").unwrap();
    lane
}

/// Whether this kernel tells; else the test is skipped.
async fn tells(sandbox: &Sandbox) -> bool {
    let untold = sandbox.listens().now_or_never();
    let here = fs::read_to_string("/proc/sys/kernel/seccomp/actions_avail").unwrap_or_default();
    if !here.contains("user_notif") {
        crate::skip::record("the kernel tells of no calls");
        return false;
    }
    assert!(untold.is_none(), "{untold:?}");
    true
}

#[tokio::test]
async fn a_call_is_told_and_the_socket_can_be_connected_to() {
    let house = House::new().await;
    let shape = Shape {
        group: sandbox::GroupName::new("test").unwrap(),
        limits: house.plan(&["/bin/true"]).limits,
        tmp_bytes: 1 << 20,
    };
    let script = "print('up', flush=True)\nos.read(3, 1)\nserve(tcp(8080), b'here')";
    for (rootfs, ahead) in [
        (Rootfs::ReadOnly, false),
        (Rootfs::Writable, false),
        (Rootfs::ReadOnly, true),
    ] {
        let plan = Plan {
            rootfs,
            ..plan(&house, script)
        };
        let mut sandbox = match ahead {
            true => house.spawner.prepare(&shape).await.unwrap().bind(&plan).await.unwrap(),
            false => launch(&house, &plan).await,
        };
        let log = sandbox.take_log().unwrap();
        wait_for(&log, "up\n");
        if !tells(&sandbox).await {
            return;
        }
        let _lane = go(&mut sandbox);
        sandbox.listens().await.unwrap();
        // The call itself comes after it was told.
        wait_for(&log, "up\n");
        let socket = sandbox.tcp_socket().await.unwrap();
        assert_eq!(ask(connect(socket, 8080).await.unwrap()).await, "here");
        // Once.
        assert!(sandbox.listens().now_or_never().is_none());
    }
}

#[tokio::test]
async fn a_call_before_anybody_asked_is_told_once() {
    let house = House::new().await;
    let (sandbox, _log) = up(&house, "unix('/tmp/a'); unix('/tmp/b'); serve(unix('/tmp/s'), b'here')").await;
    match sandbox.listens().await {
        Err(ReachError::Untold) => {
            crate::skip!("nothing is told here");
        }
        other => other.unwrap(),
    }
    assert_eq!(ask_unix(sandbox.connect_unix("/tmp/s").await.unwrap()), "here");
    assert!(sandbox.listens().now_or_never().is_none());
}

#[tokio::test]
async fn threads_children_and_programs_that_they_execute_are_heard() {
    let house = House::new().await;
    let calls = [
        "threading.Thread(target=tcp, args=(8080,)).start()",
        "os.fork() or tcp(8080)",
        "import subprocess; subprocess.Popen([sys.executable, '-c', 'import socket; socket.create_server((\"127.0.0.1\", 8080))'])",
        // One whose parent is gone is pid 1's.
        "os.fork() or os.fork() or (os.setsid(), tcp(8080))",
    ];
    for call in calls {
        let (mut sandbox, _log) = told(&house, &format!("{call}\nthreading.Event().wait()")).await;
        if !tells(&sandbox).await {
            return;
        }
        let _lane = go(&mut sandbox);
        sandbox.listens().await.unwrap();
    }
}

#[tokio::test]
async fn a_loop_of_calls_floods_nobody_and_goes_through() {
    let house = House::new().await;
    let script = r#"
t = tcp(8080)
enough = threading.Event()
threading.Thread(target=lambda: (os.read(3, 1), enough.set())).start()
while not enough.is_set(): t.listen(16)
print("through", flush=True)
u = socket.socket()
try: socket.socket(socket.AF_INET, socket.SOCK_DGRAM).listen(1)
except OSError as e: print(e.errno == errno.EOPNOTSUPP, flush=True)
serve(t, b"here")
"#;
    let (mut sandbox, log) = told(&house, script).await;
    if !tells(&sandbox).await {
        return;
    }
    let lane = go(&mut sandbox);
    for _ in 0..1000 {
        sandbox.listens().await.unwrap();
    }
    rustix::io::write(&lane, b"g").unwrap();
    wait_for(&log, "through\nTrue\nup\n");
    // All of them together are one.
    sandbox.listens().await.unwrap();
    assert!(sandbox.listens().now_or_never().is_none());
    // Pid 1 still does the rest of its work.
    let socket = sandbox.tcp_socket().await.unwrap();
    assert_eq!(ask(connect(socket, 8080).await.unwrap()).await, "here");
}

#[tokio::test]
async fn who_is_killed_or_interrupted_in_a_call_hurts_nobody() {
    let house = House::new().await;
    // Eight processes that listen without end, killed at any moment, and signals, with and without a handler that restarts calls.
    let script = r#"
import signal, time
def loop(port, restart):
    def nothing(*_): pass
    signal.signal(signal.SIGUSR1, nothing)
    signal.siginterrupt(signal.SIGUSR1, not restart)
    t = socket.socket(); t.bind(("127.0.0.1", port))
    while True:
        try: t.listen(4)
        except InterruptedError: assert not restart
for round in range(30):
    pids = []
    for i in range(8):
        pid = os.fork()
        if pid == 0:
            try: loop(9000 + 8 * round + i, i % 2 == 0)
            finally: os._exit(7)
        pids.append(pid)
    time.sleep(0.002 * (round % 5))
    for pid in pids:
        for _ in range(round): os.kill(pid, signal.SIGSTOP if round == 7 else signal.SIGCONT)
    if round % 3: time.sleep(0.001)
    for pid in pids: os.kill(pid, signal.SIGKILL)
    assert all(os.waitpid(pid, 0)[1] == signal.SIGKILL for pid in pids)
pid = os.fork() or loop(8999, True)
time.sleep(0.2)
for _ in range(500): os.kill(pid, signal.SIGUSR1)
assert os.waitpid(pid, os.WNOHANG) == (0, 0)
os.kill(pid, signal.SIGKILL)
serve(tcp(8080), b"here")
"#;
    let (mut sandbox, log) = told(&house, script).await;
    if !tells(&sandbox).await {
        return;
    }
    let _lane = go(&mut sandbox);
    wait_for(&log, "up\n");
    let socket = sandbox.tcp_socket().await.unwrap();
    assert_eq!(ask(connect(socket, 8080).await.unwrap()).await, "here");
    sandbox.listens().await.unwrap();
}

#[tokio::test]
async fn a_frozen_sandbox_tells_when_it_is_thawed_and_its_end_ends_the_wait() {
    let house = House::new().await;
    let script = "t = tcp(8080)\nprint('on', flush=True)\nwhile True: t.listen(4)";
    let (mut sandbox, log) = told(&house, script).await;
    if !tells(&sandbox).await {
        return;
    }
    let _lane = go(&mut sandbox);
    wait_for(&log, "on\n");
    // Frozen in the middle of calls, time and again.
    for _ in 0..50 {
        let Some(frozen) = sandbox.freeze().unwrap() else {
            crate::skip!("no unified hierarchy of ours");
        };
        // Those who give up leave one wish behind, which the next one takes.
        for _ in 0..100 {
            let _one_of_before = sandbox.listens().now_or_never();
        }
        assert!(sandbox.listens().now_or_never().is_none());
        frozen.thaw().unwrap();
        sandbox.listens().await.unwrap();
    }
    let frozen = sandbox.freeze().unwrap();
    let _one_of_before = sandbox.listens().now_or_never();
    let (waited, ()) = tokio::join!(sandbox.listens(), async { sandbox.kill() });
    assert!(matches!(waited, Err(ReachError::Ended)), "{waited:?}");
    drop(frozen);
    sandbox.gone().await;
    assert!(matches!(sandbox.listens().await, Err(ReachError::Ended)));
}

#[tokio::test]
async fn those_who_ask_at_the_same_time_are_told_one_after_the_other() {
    let house = House::new().await;
    let (mut sandbox, log) = told(
        &house,
        "t = tcp(8080)\nos.read(3, 1)\nt.listen(4)\nthreading.Event().wait()",
    )
    .await;
    if !tells(&sandbox).await {
        return;
    }
    let lane = go(&mut sandbox);
    {
        let (mut first, mut second) = (Box::pin(sandbox.listens()), Box::pin(sandbox.listens()));
        tokio::select! {
            biased;
            told = &mut first => told.unwrap(),
            told = &mut second => panic!("{told:?}"),
        }
        rustix::io::write(&lane, b"g").unwrap();
        second.await.unwrap();
    }
    drop(sandbox);
    assert_eq!(read_all(log), "");
}

#[tokio::test]
async fn who_ends_while_it_is_asked_still_says_how() {
    let house = House::new().await;
    for _ in 0..30 {
        let sandbox = launch(&house, &house.plan(&["/bin/sh", "-c", "exit 3"])).await;
        let told = sandbox.listens().await;
        assert!(matches!(told, Err(ReachError::Ended | ReachError::Untold)), "{told:?}");
        assert_eq!(sandbox.gone().await.exit, Exit::Code(3));
    }
}

#[tokio::test]
async fn nothing_of_it_is_in_reach_of_foreign_code() {
    let house = House::new().await;
    // Where there is one user id, the numbers of pid 1's descriptors can be seen, and no more than that.
    let script = r#"
print(sorted(int(n) for n in os.listdir("/proc/self/fd"))[:-1])
def tried(call):
    try: return call()
    except OSError as e: return errno.errorcode[e.errno]
for number in range(20):
    path = "/proc/1/fd/%d" % number
    for call in os.readlink, open, lambda path: open(path.replace("/fd/", "/fdinfo/")):
        answer = tried(lambda: call(path))
        assert answer in ("EACCES", "ENOENT"), answer
print("up", flush=True)
threading.Event().wait()
"#;
    let mut sandbox = launch(&house, &plan(&house, script)).await;
    wait_for(&sandbox.take_log().unwrap(), "[0, 1, 2, 3]\nup\n");
}
