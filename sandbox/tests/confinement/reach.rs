//! Sockets between the host and what runs inside.

use std::fs::{self, File};
use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddrV4};
use std::num::NonZeroU16;
use std::os::fd::OwnedFd;

use futures_util::FutureExt;
use futures_util::future::{join_all, try_join_all};
use sandbox::{Exit, GroupName, Limits, Outlet, Plan, ReachError, Rootfs, Sandbox, Shape};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use crate::setting::{House, launch, read_all, wait_for};
use crate::visits::settled;

/// What every program below begins with.
const BEGIN: &str = r#"
import errno, os, socket, struct, sys, threading
def serve(listener, text):
    print("up", flush=True)
    while True:
        s = listener.accept()[0]
        s.recv(100)
        s.sendall(text)
        s.close()
def tcp(port):
    t = socket.socket()
    t.bind(("127.0.0.1", port))
    t.listen(128)
    return t
def unix(path):
    s = socket.socket(socket.AF_UNIX)
    s.bind(path)
    s.listen()
    return s
"#;

pub(crate) fn plan(house: &House, script: &str) -> Plan {
    house.plan(&["/usr/bin/python3", "-c", &format!("{BEGIN}{script}")])
}

fn listening(house: &House, script: &str, port: u16) -> Plan {
    Plan {
        listen: NonZeroU16::new(port),
        ..plan(house, script)
    }
}

/// Launches a program and waits until it says that it is up.
pub(crate) async fn up(house: &House, script: &str) -> (Sandbox, OwnedFd) {
    let mut sandbox = launch(house, &plan(house, script)).await;
    let log = sandbox.take_log().unwrap();
    wait_for(&log, "up\n");
    (sandbox, log)
}

fn accepting(listener: OwnedFd) -> TcpListener {
    TcpListener::from_std(listener.into()).unwrap()
}

/// Connects a socket of a sandbox's network to a port there.
pub(crate) async fn connect(socket: OwnedFd, port: u16) -> std::io::Result<TcpStream> {
    let address = SocketAddrV4::new(Ipv4Addr::LOCALHOST, port);
    match rustix::net::connect(&socket, &address) {
        Ok(()) | Err(rustix::io::Errno::INPROGRESS) => {}
        Err(errno) => return Err(errno.into()),
    }
    let stream = TcpStream::from_std(socket.into())?;
    stream.writable().await?;
    match stream.take_error()? {
        Some(error) => Err(error),
        None => Ok(stream),
    }
}

/// What is answered to a few bytes.
pub(crate) async fn ask(mut stream: TcpStream) -> String {
    stream.write_all(b"who?").await.unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).await.unwrap();
    text
}

pub(crate) fn ask_unix(socket: OwnedFd) -> String {
    rustix::io::ioctl_fionbio(&socket, false).unwrap();
    let mut socket = File::from(socket);
    socket.write_all(b"who?").unwrap();
    let mut text = String::new();
    socket.read_to_string(&mut text).unwrap();
    text
}

fn is_ours_alone(socket: &OwnedFd) -> bool {
    let cloexec = rustix::io::fcntl_getfd(socket)
        .unwrap()
        .contains(rustix::io::FdFlags::CLOEXEC);
    let nonblocking = rustix::fs::fcntl_getfl(socket)
        .unwrap()
        .contains(rustix::fs::OFlags::NONBLOCK);
    cloexec && nonblocking
}

/// The first thing that this program does is to connect.
const CALLER: &str = r#"
s = socket.create_connection(("127.0.0.1", int(sys.argv[1])))
s.sendall(b"I am " + sys.argv[2].encode())
print(s.recv(100).decode(), sorted(int(n) for n in os.listdir("/proc/self/fd"))[:-1])
try: tcp(int(sys.argv[1]))
except OSError as e: print(errno.errorcode[e.errno])
t = socket.socket(); t.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1); t.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
try: t.bind(("127.0.0.1", int(sys.argv[1])))
except OSError as e: print(errno.errorcode[e.errno])
"#;

fn caller(house: &House, port: u16, name: &str) -> Plan {
    let mut plan = listening(house, CALLER, port);
    plan.argv.extend([port.to_string(), name.to_owned()]);
    plan
}

async fn answer(listener: &TcpListener, text: &str) -> String {
    let (mut stream, _) = listener.accept().await.unwrap();
    let mut heard = vec![0; 100];
    let length = stream.read(&mut heard).await.unwrap();
    stream.write_all(text.as_bytes()).await.unwrap();
    String::from_utf8_lossy(&heard[..length]).into_owned()
}

#[tokio::test]
async fn the_host_listens_before_the_program_runs() {
    let house = House::new().await;
    let shape = Shape {
        group: GroupName::new("test").unwrap(),
        limits: house.plan(&["/bin/true"]).limits,
        tmp_bytes: 1 << 20,
    };
    // From nothing, in a slot that was built ahead, with a writable root, and at a port that foreign code can't have.
    for (port, rootfs, ahead) in [
        (9001, Rootfs::ReadOnly, false),
        (9001, Rootfs::ReadOnly, true),
        (9001, Rootfs::Writable, false),
        (80, Rootfs::ReadOnly, true),
    ] {
        let plan = Plan {
            rootfs,
            ..caller(&house, port, "it")
        };
        let mut sandbox = match ahead {
            true => house.spawner.prepare(&shape).await.unwrap().bind(&plan).await.unwrap(),
            false => launch(&house, &plan).await,
        };
        let log = sandbox.take_log().unwrap();
        let listener = sandbox.take_listener().unwrap();
        assert!(is_ours_alone(&listener));
        assert!(sandbox.take_listener().is_none());
        assert_eq!(answer(&accepting(listener), "yes").await, "I am it");
        assert_eq!(sandbox.gone().await.exit, Exit::Code(0));
        let taken = if port < 1024 { "EACCES" } else { "EADDRINUSE" };
        assert_eq!(read_all(log), format!("yes [0, 1, 2, 3, 4]\n{taken}\n{taken}\n"));
    }
}

#[tokio::test]
async fn a_plan_without_a_port_has_no_listener() {
    let house = House::new().await;
    let mut sandbox = launch(&house, &house.plan(&["/bin/true"])).await;
    assert!(sandbox.take_listener().is_none());
}

#[tokio::test]
async fn a_parked_program_keeps_its_listener() {
    let house = House::new().await;
    let limits = Limits {
        memory: 64 << 20,
        cpu_millis: 1000,
        pids: 32,
    };
    let shape = Shape {
        group: GroupName::new("test").unwrap(),
        limits,
        tmp_bytes: 1 << 20,
    };
    let waiting = Plan {
        layers: Vec::new(),
        cwd: "/".into(),
        ..caller(&house, 9001, "parked")
    };
    let parked = house
        .spawner
        .prepare(&shape)
        .await
        .unwrap()
        .park(&waiting)
        .await
        .unwrap();
    assert!(!parked.fits(&house.plan(&["/bin/true"])));
    let owner = Plan {
        listen: waiting.listen,
        ..house.plan(&["/bin/true"])
    };
    assert!(parked.fits(&owner));
    let mut sandbox = parked.bind(&owner).await.unwrap();
    let listener = accepting(sandbox.take_listener().unwrap());
    assert_eq!(answer(&listener, "yes").await, "I am parked");
}

#[tokio::test]
async fn two_sandboxes_are_called_from_and_at_the_same_port() {
    let house = House::new().await;
    let names = ["one", "two"];
    let mut alive = Vec::new();
    for name in names {
        let script = format!(
            "s = socket.create_connection(('127.0.0.1', 9001)); s.sendall(b'I am {name}'); serve(tcp(8080), b'{name}')"
        );
        let mut sandbox = launch(&house, &listening(&house, &script, 9001)).await;
        let log = sandbox.take_log().unwrap();
        wait_for(&log, "up\n");
        alive.push((accepting(sandbox.take_listener().unwrap()), sandbox));
    }
    for (name, (listener, sandbox)) in names.iter().zip(&alive) {
        let socket = sandbox.tcp_socket().await.unwrap();
        assert!(is_ours_alone(&socket));
        assert_eq!(ask(connect(socket, 8080).await.unwrap()).await, *name);
        assert_eq!(answer(listener, "").await, format!("I am {name}"));
    }
}

#[tokio::test]
async fn any_number_of_sockets_is_made_and_the_sandbox_still_ends_with_its_holder() {
    let house = House::new().await;
    let (sandbox, log) = up(&house, "serve(tcp(8080), b'here')").await;
    for _ in 0..10 {
        let asked =
            (0..20).map(|_| async { ask(connect(sandbox.tcp_socket().await.unwrap(), 8080).await.unwrap()).await });
        assert!(join_all(asked).await.iter().all(|text| text == "here"));
    }
    let refused = connect(sandbox.tcp_socket().await.unwrap(), 8081).await.unwrap_err();
    assert_eq!(refused.kind(), std::io::ErrorKind::ConnectionRefused);
    drop(sandbox);
    assert_eq!(read_all(log), "");
}

#[tokio::test]
async fn a_socket_reaches_nothing_but_its_sandbox() {
    let house = House::new().await;
    let host = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (sandbox, _log) = up(&house, "print('up', flush=True); threading.Event().wait()").await;
    let socket = sandbox.tcp_socket().await.unwrap();
    let port = host.local_addr().unwrap().port();
    assert!(connect(socket, port).await.is_err());
    let elsewhere = SocketAddrV4::new(Ipv4Addr::new(192, 0, 2, 1), 80);
    let socket = sandbox.tcp_socket().await.unwrap();
    assert_eq!(
        rustix::net::connect(&socket, &elsewhere),
        Err(rustix::io::Errno::NETUNREACH)
    );
}

#[tokio::test]
async fn what_has_ended_says_so() {
    let house = House::new().await;
    let (sandbox, _log) = up(&house, "serve(unix('/tmp/s'), b'here')").await;
    sandbox.connect_unix("/tmp/s").await.unwrap();
    sandbox.kill();
    assert!(matches!(sandbox.tcp_socket().await, Err(ReachError::Ended)));
    sandbox.gone().await;
    assert!(matches!(sandbox.tcp_socket().await, Err(ReachError::Ended)));
    assert!(matches!(sandbox.connect_unix("/tmp/s").await, Err(ReachError::Ended)));
}

#[tokio::test]
async fn an_end_meanwhile_is_told_to_all_who_wait() {
    let house = House::new().await;
    let (sandbox, _log) = up(&house, "serve(unix('/tmp/s'), b'here')").await;
    let mut waiting: Vec<_> = (0..20).map(|_| Box::pin(sandbox.tcp_socket())).collect();
    let mut visiting: Vec<_> = (0..20).map(|_| Box::pin(sandbox.connect_unix("/tmp/s"))).collect();
    for one in &mut waiting {
        let _made = one.now_or_never();
    }
    for one in &mut visiting {
        let _made = one.now_or_never();
    }
    drop((waiting, visiting));
    let asked = (0..20).map(|_| sandbox.tcp_socket());
    let visits = (0..20).map(|_| sandbox.connect_unix("/tmp/s"));
    let (asked, visits, _) = tokio::join!(join_all(asked), join_all(visits), async { sandbox.kill() });
    for outcome in asked.into_iter().chain(visits) {
        // What listens may go a moment before the rest.
        assert!(
            matches!(outcome, Ok(_) | Err(ReachError::Ended | ReachError::Refused)),
            "{outcome:?}"
        );
    }
    sandbox.gone().await;
}

#[tokio::test]
async fn a_frozen_sandbox_answers_when_it_is_thawed_and_its_end_ends_the_wait() {
    let house = House::new().await;
    let (sandbox, _log) = up(&house, "unix('/tmp/s'); serve(tcp(8080), b'here')").await;
    let Some(frozen) = sandbox.freeze().unwrap() else {
        crate::skip!("no unified hierarchy of ours");
    };
    let open = || fs::read_dir("/proc/self/fd").unwrap().count();
    let before = open();
    // Callers who give up leave no more behind than four answers, which those after them take.
    for _ in 0..100 {
        assert!(sandbox.tcp_socket().now_or_never().is_none());
        let mut many: Vec<_> = (0..20).map(|_| Box::pin(sandbox.tcp_socket())).collect();
        for one in &mut many {
            assert!(one.now_or_never().is_none());
        }
    }
    assert!(open() <= before + 4, "{before} became {}", open());
    let mut waiting = Box::pin(sandbox.tcp_socket());
    assert!((&mut waiting).now_or_never().is_none());
    frozen.thaw().unwrap();
    assert_eq!(ask(connect(waiting.await.unwrap(), 8080).await.unwrap()).await, "here");
    let all = try_join_all((0..10).map(|_| sandbox.tcp_socket())).await.unwrap();
    assert_eq!(all.len(), 10);
    drop(all);
    assert!(open() <= before + 1, "{before} became {}", open());

    let _frozen = sandbox.freeze().unwrap();
    let waiting = async { sandbox.tcp_socket().await };
    let (waited, ()) = tokio::join!(waiting, async { sandbox.kill() });
    assert!(matches!(waited, Err(ReachError::Ended)), "{waited:?}");
}

#[tokio::test]
async fn a_frozen_sandbox_can_be_connected_to_by_path() {
    let house = House::new().await;
    let (sandbox, _log) = up(&house, "serve(unix('/tmp/s'), b'here')").await;
    let Some(frozen) = sandbox.freeze().unwrap() else {
        crate::skip!("no unified hierarchy of ours");
    };
    let socket = sandbox.connect_unix("/tmp/s").await.unwrap();
    frozen.thaw().unwrap();
    assert_eq!(ask_unix(socket), "here");
}

#[tokio::test]
async fn a_unix_socket_is_connected_to_through_links_and_whatever_its_mode() {
    let house = House::new().await;
    for rootfs in [Rootfs::ReadOnly, Rootfs::Writable] {
        let script = r#"
os.umask(0o077)
os.makedirs("/tmp/a/b", 0o700)
listener = unix("/tmp/a/b/phony.sock")
os.symlink("phony.sock", "/tmp/a/b/lsnr.sock")
os.symlink("/tmp/a/b", "/tmp/dir")
os.symlink("dir/lsnr.sock", "/tmp/link")
print("up", flush=True)
while True:
    s = listener.accept()[0]
    pid, uid, gid = struct.unpack("3i", s.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))
    s.sendall(b"%s %d %d" % (s.recv(100), pid, uid != 0))
    s.close()
"#;
        let mut sandbox = launch(
            &house,
            &Plan {
                rootfs,
                ..plan(&house, script)
            },
        )
        .await;
        wait_for(&sandbox.take_log().unwrap(), "up\n");
        for path in [
            "/tmp/a/b/phony.sock",
            "/tmp/a/b/lsnr.sock",
            "/tmp/dir/lsnr.sock",
            "/tmp/link",
            "//tmp/../tmp/./link",
            "/proc/../tmp/link",
        ] {
            let socket = sandbox.connect_unix(path).await.unwrap();
            assert!(is_ours_alone(&socket));
            // Nobody whom it could see connected.
            assert_eq!(ask_unix(socket), "who? 0 1", "{path}");
        }
    }
}

#[tokio::test]
async fn what_can_not_be_connected_to_says_why() {
    let house = House::new().await;
    // Foreign code can't make one, but its bundle could hold one.
    let layer = house.path().join("layers").join(house.layer.as_str());
    nix::unistd::mkfifo(&layer.join("fifo"), nix::sys::stat::Mode::from_bits_truncate(0o666)).unwrap();
    let script = r#"
unix("/tmp/dead").close()
open("/tmp/file", "w").close()
os.mkdir("/tmp/closed")
keep = unix("/tmp/closed/s")
os.chmod("/tmp/closed", 0)
kept = unix("/tmp/modeless")
os.chmod("/tmp/modeless", 0)
d = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM); d.bind("/tmp/dgram")
p = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET); p.bind("/tmp/packets"); p.listen()
os.symlink("loop", "/tmp/loop")
os.symlink("/nowhere", "/tmp/dangling")
os.symlink("/function/fifo", "/tmp/to-fifo")
os.symlink("x/" * 2047, "/tmp/long")
os.symlink("x" * 256, "/tmp/longer")
full = socket.socket(socket.AF_UNIX); full.bind("/tmp/full"); full.listen(0)
print("up", flush=True)
threading.Event().wait()
"#;
    let (sandbox, _log) = up(&house, script).await;
    type Expected = fn(&ReachError) -> bool;
    let expect: &[(&str, Expected)] = &[
        ("/tmp/none", |e| matches!(e, ReachError::NotThere)),
        ("/tmp/file/s", |e| matches!(e, ReachError::NotThere)),
        ("/tmp/dangling", |e| matches!(e, ReachError::NotThere)),
        ("/tmp/long", |e| matches!(e, ReachError::NotThere)),
        ("/tmp/longer", |e| matches!(e, ReachError::TooLong)),
        ("/tmp/dead", |e| matches!(e, ReachError::Refused)),
        ("/tmp/file", |e| matches!(e, ReachError::NotASocket)),
        ("/function/fifo", |e| matches!(e, ReachError::NotASocket)),
        ("/tmp/to-fifo", |e| matches!(e, ReachError::NotASocket)),
        ("/dev/null", |e| matches!(e, ReachError::NotASocket)),
        ("/tmp", |e| matches!(e, ReachError::NotASocket)),
        ("/tmp/dgram", |e| matches!(e, ReachError::NotASocket)),
        ("/tmp/packets", |e| matches!(e, ReachError::NotASocket)),
        ("/tmp/closed/s", |e| matches!(e, ReachError::Forbidden)),
        ("/tmp/modeless", |e| matches!(e, ReachError::Forbidden)),
        ("/tmp/loop", |e| matches!(e, ReachError::Links)),
        ("tmp/s", |e| matches!(e, ReachError::Path(_))),
        ("", |e| matches!(e, ReachError::Path(_))),
        ("\0abstract", |e| matches!(e, ReachError::Path(_))),
        ("/tmp/\0", |e| matches!(e, ReachError::Path(_))),
        (&format!("/{}", "x".repeat(107)), |e| matches!(e, ReachError::Path(_))),
    ];
    for (path, is_right) in expect {
        let error = sandbox.connect_unix(path).await.unwrap_err();
        assert!(is_right(&error), "{path:?}: {error:?}");
    }
    let first = sandbox.connect_unix("/tmp/full").await.unwrap();
    assert!(matches!(sandbox.connect_unix("/tmp/full").await, Err(ReachError::Full)));
    drop(first);
    // Nobody hangs.
    settled(&house, 1).await;
}

/// Connects to names that only its hosts file knows, and looks at that file.
const NAMING: &str = r#"
for name, port in [("one.example", 443), ("two", 5432)]:
    s = socket.create_connection((name, port))
    s.sendall(name.encode())
    print(s.recv(100).decode(), s.getpeername()[0])
for port in [80, 9999]:
    try: socket.create_connection(("one.example", port))
    except OSError as e: print(errno.errorcode[e.errno])
for flags in [os.O_WRONLY, os.O_RDWR | os.O_TRUNC]:
    try: os.open("/etc/hosts", flags)
    except OSError: print("locked")
try: os.unlink("/etc/hosts")
except OSError as e: print("kept")
print(open("/etc/hosts").read(), os.path.exists("/.fn/aside/hosts"))
"#;

#[tokio::test]
async fn outlets_are_found_by_their_names_also_at_low_ports_and_with_any_root() {
    let house = House::new().await;
    let outlet = |name: &str, last, port| Outlet {
        name: name.into(),
        address: Ipv4Addr::new(127, 77, 0, last),
        port: NonZeroU16::new(port).unwrap(),
    };
    for rootfs in [Rootfs::ReadOnly, Rootfs::Writable] {
        let plan = Plan {
            outlets: vec![outlet("one.example", 1, 443), outlet("two", 2, 5432)],
            rootfs,
            listen: NonZeroU16::new(9001),
            ..plan(&house, NAMING)
        };
        assert!(!sandbox::Cell::fits(&plan));
        let mut sandbox = launch(&house, &plan).await;
        let own = accepting(sandbox.take_listener().unwrap()).local_addr().unwrap();
        assert_eq!(own, SocketAddrV4::new(Ipv4Addr::LOCALHOST, 9001).into());
        let outlets = sandbox.take_outlets();
        assert!(outlets.len() == 2 && outlets.iter().all(is_ours_alone));
        for (listener, name) in outlets.into_iter().zip(["one.example", "two"]) {
            assert_eq!(answer(&accepting(listener), "yes").await, name);
        }
        let log = sandbox.take_log().unwrap();
        sandbox.gone().await;
        let hosts = "127.0.0.1 localhost\n::1 localhost\n127.77.0.1 one.example\n127.77.0.2 two\n";
        assert_eq!(
            read_all(log),
            format!(
                "yes 127.77.0.1\nyes 127.77.0.2\nECONNREFUSED\nECONNREFUSED\nlocked\nlocked\nkept\n{hosts} False\n"
            )
        );
    }
}
