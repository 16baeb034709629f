//! What hostile code tries from inside.

use std::os::linux::net::SocketAddrExt;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{SocketAddr, UnixListener};

use sandbox::Exit;

use crate::setting::{House, launch, python, read_all, wait_for};

/// Names an attempt and prints how it ended.
const ATTEMPT: &str = r#"
import ctypes, errno, os, signal, socket, struct, sys
libc = ctypes.CDLL(None, use_errno=True)
def attempt(name, what, *args, **kw):
    try:
        print(name, "OK", what(*args, **kw))
    except OSError as e:
        print(name, errno.errorcode[e.errno])
def call(name, *args):
    ctypes.set_errno(0)
    result = libc.syscall(*args)
    print(name, errno.errorcode.get(ctypes.get_errno(), "OK") if result == -1 else "OK")
"#;

async fn attempts(house: &House, script: &str) -> (String, sandbox::Obituary) {
    python(house, &format!("{ATTEMPT}{script}")).await
}

#[tokio::test]
async fn only_its_own_descriptors_are_open_and_it_stands_inside() {
    let house = House::new().await;
    for lanes in [1u8, 3, 64] {
        let script = "import os; print(sorted(int(n) for n in os.listdir('/proc/self/fd'))[:-1] == list(range(3 + int(os.environ['LANES']))), os.getcwd(), os.readlink('/proc/self/root'))";
        let mut plan = house.plan(&["/usr/bin/python3", "-c", script]);
        plan.lanes = lanes;
        plan.env.push(("LANES".into(), lanes.to_string()));
        assert_eq!(house.run(&plan).await.0, "True /function /\n");
    }
}

#[tokio::test]
async fn pid_1_can_be_neither_signalled_nor_looked_into() {
    let house = House::new().await;
    let script = r#"
for number in range(1, 65):
    try:
        os.kill(1, number)
    except OSError:
        pass
for name in ("exe", "root", "cwd", "fd/3", "ns/mnt"):
    attempt(name, os.readlink, "/proc/1/" + name)
for name in ("environ", "mem", "maps", "auxv", "syscall", "stack"):
    attempt(name, lambda: open("/proc/1/" + name, "rb").read(1))
call("ptrace", 101, 16, 1, 0, 0)
call("process_vm_readv", 310, 1, 0, 0, 0, 0, 0)
print("alive")
"#;
    let (text, end) = attempts(&house, script).await;
    assert!(!text.contains("OK"), "{text}");
    assert!(text.ends_with("alive\n"), "{text}");
    assert_eq!(end.exit, Exit::Code(0));
}

#[tokio::test]
async fn abstract_sockets_of_the_host_are_out_of_reach() {
    let house = House::new().await;
    let name = format!("fn-test-{}", std::process::id());
    let _listening = UnixListener::bind_addr(&SocketAddr::from_abstract_name(&name).unwrap()).unwrap();
    let script = format!(
        "for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM): attempt('connect', socket.socket(socket.AF_UNIX, kind).connect, '\\0{name}')"
    );
    let (text, _) = attempts(&house, &script).await;
    for line in text.lines() {
        assert!(["connect ECONNREFUSED", "connect EPERM"].contains(&line), "{text}");
    }
}

#[tokio::test]
async fn no_setting_of_the_host_can_be_opened_for_writing() {
    let house = House::new().await;
    let script = r#"
count = 0
for top in ("/proc/sys", "/proc/irq", "/proc/bus", "/proc/fs"):
    for path, _, names in os.walk(top):
        for name in names:
            count += 1
            try:
                os.close(os.open(os.path.join(path, name), os.O_WRONLY))
                print("WRITABLE", path, name)
            except OSError:
                pass
attempt("sysrq", os.open, "/proc/sysrq-trigger", os.O_WRONLY)
print(count > 100)
"#;
    let (text, _) = attempts(&house, script).await;
    let mut lines = text.lines();
    assert!(
        ["sysrq EROFS", "sysrq EACCES", "sysrq ENOENT"].contains(&lines.next().unwrap()),
        "{text}"
    );
    assert_eq!(lines.next(), Some("True"), "{text}");
}

#[tokio::test]
async fn set_user_id_bits_have_no_effect() {
    let house = House::new().await;
    let id = house.path().join("layers").join(house.layer.as_str()).join("id");
    std::fs::copy("/usr/bin/id", &id).unwrap();
    std::fs::set_permissions(&id, std::fs::Permissions::from_mode(0o6755)).unwrap();
    let script = "test -u ./id && ./id -u && ./id -g; grep -vE '^[0-9]+ [0-9]+ [^ ]+ [^ ]+ [^ ]+ [^ ]*nosuid' /proc/self/mountinfo";
    let (text, _) = house.sh(script).await;
    assert_eq!(text, "1000\n1000\n", "and every mount is nosuid");
}

#[tokio::test]
async fn foreign_ids_are_refused() {
    let house = House::new().await;
    let script = r#"
for id in (0, 1, 65534, 100000):
    attempt("uid", os.setresuid, id, id, id)
    attempt("gid", os.setresgid, id, id, id)
    attempt("groups", os.setgroups, [id])
    libc.setfsuid(id)
    print("fsuid", "EPERM" if libc.setfsuid(id) == 1000 else "OK")
open("/tmp/mine", "w").close()
attempt("chown", os.chown, "/tmp/mine", 0, 0)
print(os.getresuid(), os.getresgid())
"#;
    let (text, _) = attempts(&house, script).await;
    assert!(!text.contains("OK"), "{text}");
    assert!(text.ends_with("(1000, 1000, 1000) (1000, 1000, 1000)\n"), "{text}");
}

#[tokio::test]
async fn a_crash_leaves_no_core() {
    let house = House::new().await;
    let script = "ulimit -c unlimited; cd /tmp; sh -c 'kill -ABRT $$' 2>/dev/null; ls; kill -SEGV $$";
    let (text, end) = house.sh(script).await;
    assert_eq!(text, "");
    assert_eq!(end.exit, Exit::Signal(11));
}

/// A handler of core dumps runs as root of the host and outside of every limit. The kernel calls it for a limit of 0 too,
/// and for no process whose limit is 1 (core(5), `do_coredump`).
#[tokio::test]
async fn a_crash_calls_no_handler_of_the_host() {
    let house = House::new().await;
    let script = r#"
import resource
print(resource.getrlimit(resource.RLIMIT_CORE))
resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
attempt("both", resource.prlimit, 0, resource.RLIMIT_CORE, (0, 0))
print(resource.getrlimit(resource.RLIMIT_CORE))
resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))
print(resource.getrlimit(resource.RLIMIT_NOFILE))
"#;
    let (text, _) = attempts(&house, script).await;
    assert_eq!(text, "(1, 1)\nboth EPERM\n(1, 1)\n(64, 64)\n");
}

#[tokio::test]
async fn huge_pages_of_the_host_are_out_of_reach() {
    let house = House::new().await;
    // They are set aside by the host for somebody, and no limit of memory counts them.
    let script = r#"
call("mmap", 9, 0, 2 << 20, 3, 0x40022, -1, 0)
call("memfd_create", 319, b"x", 4)
call("shmget", 29, 0, 2 << 20, 0o5600)
call("mmap", 9, 0, 4096, 3, 0x22, -1, 0)
call("memfd_create", 319, b"x", 1)
call("shmget", 29, 0, 4096, 0o1600)
"#;
    let (text, _) = attempts(&house, script).await;
    assert_eq!(
        text,
        "mmap EPERM\nmemfd_create EPERM\nshmget EPERM\nmmap OK\nmemfd_create OK\nshmget OK\n"
    );
}

#[tokio::test]
async fn the_host_behind_a_lane_can_not_be_signalled() {
    let house = House::new().await;
    let script = r#"
lane = socket.socket(fileno=3)
print(struct.unpack("iII", lane.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))[0])
try:
    pidfd = struct.unpack("i", lane.getsockopt(socket.SOL_SOCKET, 77, 4))[0]
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
    assert_eq!(attempts(&house, script).await.0, "0\n");
}

#[tokio::test]
async fn descriptors_sent_over_a_lane_do_not_arrive() {
    let house = House::new().await;
    // The kernel lets no user have more of them on the way than the limit of open files.
    let script = "lane = socket.socket(fileno=3)\ntry:\n  for n in range(20): socket.send_fds(lane, [b'x'], [0] * 200)\nexcept OSError: pass\nprint('sent')";
    let mut plan = house.plan(&["/usr/bin/python3", "-c"]);
    plan.argv.push(format!("{ATTEMPT}{script}"));
    let mut sandbox = launch(&house, &plan).await;
    let lane = sandbox.take_lanes().pop().unwrap();
    wait_for(&sandbox.take_log().unwrap(), "sent\n");
    let before = std::fs::read_dir("/proc/self/fd").unwrap().count();
    let mut buffer = [0; 64];
    assert_eq!(rustix::io::read(&lane, &mut buffer).unwrap(), 1, "one write at a time");
    while matches!(rustix::io::read(&lane, &mut buffer), Ok(1..)) {}
    assert_eq!(std::fs::read_dir("/proc/self/fd").unwrap().count(), before);
}

#[tokio::test]
async fn neighbours_share_nothing() {
    let house = House::new().await;
    let first = r#"
open("/tmp/secret", "w").write("x"); open("/dev/shm/secret", "w").write("x")
call("shmget", 29, 4711, 4096, 0o1666)
s = socket.socket(socket.AF_UNIX); s.bind("\0neighbour"); s.listen()
t = socket.socket(); t.bind(("127.0.0.1", 4711)); t.listen()
print("up", flush=True)
signal.pause()
"#;
    let mut plan = house.plan(&["/usr/bin/python3", "-c"]);
    plan.argv.push(format!("{ATTEMPT}{first}"));
    let mut neighbour = launch(&house, &plan).await;
    let log = neighbour.take_log().unwrap();
    wait_for(&log, "shmget OK\nup\n");
    let second = r#"
print(os.listdir("/tmp"), os.listdir("/dev/shm"))
call("shmget", 29, 4711, 4096, 0)
attempt("abstract", socket.socket(socket.AF_UNIX).connect, "\0neighbour")
attempt("port", socket.socket().connect, ("127.0.0.1", 4711))
print([p for p in os.listdir("/proc") if p.isdigit()])
attempt("all", os.kill, -1, 9)
"#;
    let (text, _) = attempts(&house, second).await;
    assert_eq!(
        text,
        "[] []\nshmget ENOENT\nabstract ECONNREFUSED\nport ECONNREFUSED\n['1', '2']\nall ESRCH\n"
    );
    neighbour.kill();
    assert_eq!(neighbour.gone().await.exit, Exit::Unknown);
    assert_eq!(read_all(log), "");
}

#[tokio::test]
async fn standard_output_can_be_opened_again() {
    let house = House::new().await;
    // Many programs log to a path: /dev/stderr, /proc/self/fd/1.
    let (text, _) = house
        .sh("echo one > /dev/stdout; echo two > /dev/stderr; echo three > /proc/self/fd/1")
        .await;
    assert_eq!(text, "one\ntwo\nthree\n");
}
