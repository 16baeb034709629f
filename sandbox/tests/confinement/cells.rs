//! Cells: what a template may do, and what its forks may not.

use sandbox::{Cell, Exit, Obituary, Plan, ReachError, Rootfs, Sandbox};

use crate::setting::{House, limits_are_enforced, read_all};

/// A plan whose template runs `once`, and each of whose forks runs `each`.
pub(crate) fn plan(house: &House, once: &str, each: &str) -> Plan {
    let filter: String = sandbox::filter::given_up().iter().map(|b| format!("{b:02x}")).collect();
    let template = include_str!("template.py");
    house.plan(&["/usr/bin/python3", "-B", "-c", template, &filter, once, each])
}

async fn cell(house: &House, once: &str, each: &str) -> Cell {
    raised(house, &plan(house, once, each)).await
}

/// The cell of a plan, once its template has said that it is ready.
pub(crate) async fn raised(house: &House, plan: &Plan) -> Cell {
    let mut cell = house.spawner.cell(plan, 4).await.unwrap();
    let log = cell.take_log().unwrap();
    match cell.word().await {
        Some(word) => assert_eq!(word, b"ready"),
        None => panic!("the template ended: {}", read_all(log)),
    }
    cell
}

pub(crate) async fn fork(cell: &Cell) -> Sandbox {
    cell.slot().await.unwrap().fork(false).unwrap()
}

/// What a fork wrote until its end.
pub(crate) async fn outcome(mut sandbox: Sandbox) -> (String, Obituary) {
    let log = sandbox.take_log().unwrap();
    let end = sandbox.gone().await;
    (read_all(log), end)
}

#[tokio::test]
async fn a_fork_is_confined_like_any_other_sandbox() {
    let house = House::new().await;
    let script = "
import subprocess
print(open('code.txt').read().strip(), made, os.getpid(), os.getuid(), os.uname().nodename)
for line in open('/proc/self/status'):
    if line.startswith(('Cap', 'NoNewPrivs', 'Seccomp:', 'Groups', 'NSpid')): print(line.strip())
print(sorted(os.listdir('/proc/self/fd')), sorted(p for p in os.listdir('/proc') if p.isdigit()))
print(open('/proc/self/cgroup').read().count('cell'), os.listdir('/tmp'))
for path in ('/x', '/usr/x', '/function/x', '/proc/sys/kernel/x'):
    try: open(path, 'w'); print('wrote', path)
    except OSError as error: print(error.errno)
print(subprocess.run(['/bin/sh', '-c', 'id -u; grep Seccomp_filters /proc/self/status'], capture_output=True, text=True).stdout)
";
    let cell = cell(&house, "made = 'before'", script).await;
    let (text, end) = outcome(fork(&cell).await).await;
    assert_eq!(end.exit, Exit::Code(0), "{text}");
    assert!(text.starts_with("the code before 2 1000 inside\n"), "{text}");
    for set in ["CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"] {
        assert!(text.contains(&format!("{set}:\t0000000000000000\n")), "{text}");
    }
    assert!(text.contains("NoNewPrivs:\t1\nSeccomp:\t2\n"), "{text}");
    assert!(text.contains("\nNSpid:\t2\n"), "{text}");
    assert!(text.contains("['0', '1', '2', '3', '4'] ['1', '2']\n0 []\n"), "{text}");
    assert!(text.contains("\n30\n30\n30\n"), "{text}");
    assert!(text.contains("\n1000\nSeccomp_filters:\t2\n"), "{text}");
    assert!(!text.contains("wrote"), "{text}");
}

#[tokio::test]
async fn a_fork_can_do_nothing_that_its_template_can() {
    let house = House::new().await;
    let script = "
def ask(*call):
    return ctypes.get_errno() if libc.syscall(*call) < 0 else 'done'
print(ask(308, 0, 0x20000), ask(435, 0, 88), ask(317, 1, 0, 0), ask(272, 0x20000), ask(165, 0, 0, 0, 0, 0), ask(101, 16, 1, 0, 0))
try: print(os.listdir('/.fn/layers'))
except OSError as error: print([])
try: print(open('/proc/1/mem', 'rb'))
except OSError as error: print(error.errno)
";
    let cell = cell(&house, "pass", script).await;
    let (text, _) = outcome(fork(&cell).await).await;
    assert_eq!(text, "1 38 1 1 1 1\n[]\n13\n");
}

#[tokio::test]
async fn a_template_sees_no_process_and_no_store_and_mounts_nothing() {
    let house = House::new().await;
    let script = "
def ask(*call):
    return ctypes.get_errno() if libc.syscall(*call) < 0 else 'done'
seen = [os.listdir('/proc'), os.getuid(), ask(165, 0, 0, 0, 0, 0), ask(166, b'/.fn/layers', 2), ask(272, 0x20000), ask(161, b'/tmp')]
seen.append(ask(308, 4, 0x10000000))
try: seen.append(os.listdir('/.fn/layers'))
except OSError: seen.append([])
";
    let cell = cell(&house, script, "print(seen)").await;
    let (text, _) = outcome(fork(&cell).await).await;
    assert_eq!(text, "[[], 1000, 1, 1, 1, 1, 1, []]\n");
}

#[tokio::test]
async fn forks_share_nothing_that_one_of_them_writes() {
    let house = House::new().await;
    let script = "
print(len(kept), os.listdir('/tmp'), os.listdir('/dev/shm'), 'X' in os.environ, flush=True)
kept.append(1); open('/tmp/a', 'w'); open('/dev/shm/a', 'w'); os.environ['X'] = '1'
os.read(3, 1)
";
    let cell = cell(&house, "kept = []", script).await;
    let mut forks = Vec::new();
    for _ in 0..3 {
        let mut sandbox = fork(&cell).await;
        let log = sandbox.take_log().unwrap();
        crate::setting::wait_for(&log, "0 [] [] False\n");
        forks.push(sandbox);
    }
    for mut sandbox in forks {
        drop(sandbox.take_lanes());
        assert_eq!(sandbox.gone().await.exit, Exit::Code(0));
    }
}

#[tokio::test]
async fn a_fork_is_reached_by_tcp_and_not_by_a_path() {
    let house = House::new().await;
    let script = "
t = socket.create_server(('127.0.0.1', 8080)); u = socket.socket(socket.AF_UNIX); u.bind('/tmp/s'); u.listen()
print('up', flush=True); s = t.accept()[0]; s.sendall(s.recv(9)); s.recv(1)
";
    let cell = cell(&house, "pass", script).await;
    let mut forks = [fork(&cell).await, fork(&cell).await];
    for (sandbox, word) in forks.iter_mut().zip(["one", "two"]) {
        crate::setting::wait_for(&sandbox.take_log().unwrap(), "up\n");
        let socket = sandbox.tcp_socket().await.unwrap();
        rustix::io::ioctl_fionbio(&socket, false).unwrap();
        let address = std::net::SocketAddrV4::new(std::net::Ipv4Addr::LOCALHOST, 8080);
        rustix::net::connect(&socket, &address).unwrap();
        assert_eq!(rustix::io::write(&socket, word.as_bytes()), Ok(3));
        let mut back = [0; 3];
        rustix::io::read(&socket, &mut back).unwrap();
        assert_eq!(back, word.as_bytes());
        assert!(matches!(sandbox.connect_unix("/tmp/s").await, Err(ReachError::InCell)));
        assert!(matches!(sandbox.listens().await, Err(ReachError::Untold)));
        sandbox.kill();
        sandbox.gone().await;
        assert!(matches!(sandbox.tcp_socket().await, Err(ReachError::Ended)));
    }
    // A template serves nobody, and its cell does not fall over the question.
    assert!(matches!(cell.base().tcp_socket().await, Err(ReachError::InCell)));
    assert!(matches!(cell.base().listens().await, Err(ReachError::Untold)));
    assert!(matches!(
        cell.base().connect_unix("/tmp/s").await,
        Err(ReachError::InCell)
    ));
    assert_eq!(cell.inspect().await.unwrap().threads, 1);
}

#[tokio::test]
async fn each_fork_has_the_limits_of_the_plan() {
    if !limits_are_enforced() {
        return;
    }
    let house = House::new().await;
    let cell = cell(&house, "pass", "x = bytearray(96 << 20); print('ate')").await;
    let neighbour = cell.slot().await.unwrap();
    let (text, end) = outcome(fork(&cell).await).await;
    assert_eq!(text, "");
    assert!(end.oom_kills > 0, "{end:?}");
    assert!(neighbour.stands());
    assert!(!cell.base().has_ended());
    let forks = "
made = 0
try:
    while made < 100 and os.fork(): made += 1
    else: os.read(3, 1)
except OSError as error: print(error.errno, flush=True)
";
    let cell = self::cell(&house, "pass", forks).await;
    let mut sandbox = fork(&cell).await;
    let log = sandbox.take_log().unwrap();
    let end = sandbox.gone().await;
    assert_eq!(read_all(log), "11\n");
    assert!(end.pids_hits > 0, "{end:?}");
}

#[tokio::test]
async fn the_cell_tells_what_a_template_holds() {
    let house = House::new().await;
    let nothing = cell(&house, "pass", "").await;
    let holdings = nothing.inspect().await.unwrap();
    assert_eq!(holdings.threads, 1);
    assert_eq!(
        (holdings.descriptors.len(), holdings.shared.len()),
        (0, 0),
        "{holdings:?}"
    );
    let script = "
import mmap, threading
lock = threading.Lock(); lock.acquire()
threading.Thread(target=lock.acquire, daemon=True).start()
shared = mmap.mmap(-1, 4096); pair = socket.socketpair(); file = open('/usr/bin/env')
";
    let much = cell(&house, script, "").await;
    let holdings = much.inspect().await.unwrap();
    assert_eq!(holdings.threads, 2);
    assert_eq!(holdings.descriptors.len(), 3, "{holdings:?}");
    assert!(
        holdings.descriptors.contains(&"/usr/bin/env".to_owned()),
        "{holdings:?}"
    );
    assert_eq!(holdings.shared.len(), 1, "{holdings:?}");
}

#[tokio::test]
async fn a_fork_ends_alone_and_a_cell_with_all_its_forks() {
    let house = House::new().await;
    let cell = cell(&house, "pass", "os.read(3, 1); os._exit(7)").await;
    let mut first = fork(&cell).await;
    let (second, third) = (fork(&cell).await, fork(&cell).await);
    drop(first.take_lanes());
    assert_eq!(first.gone().await.exit, Exit::Code(7));
    assert!(!second.has_ended() && !cell.base().has_ended());
    second.kill();
    second.gone().await;
    assert!(!third.has_ended());
    drop(cell);
    third.gone().await;
    let left = house.spawner.launch(&house.plan(&["/bin/true"])).await.unwrap();
    assert_eq!(left.gone().await.exit, Exit::Code(0));
}

#[tokio::test]
async fn a_slot_that_is_dropped_leaves_nothing_with_the_template() {
    let house = House::new().await;
    let cell = cell(&house, "pass", "").await;
    for _ in 0..3 {
        drop(cell.slot().await.unwrap());
    }
    // The orders are read one after the other: once this fork has ended, all before it are done.
    outcome(fork(&cell).await).await;
    let holdings = cell.inspect().await.unwrap();
    assert_eq!(holdings.descriptors, Vec::<String>::new());
}

#[tokio::test]
async fn what_has_no_template_says_so() {
    let house = House::new().await;
    let mut writable = plan(&house, "pass", "");
    writable.rootfs = Rootfs::Writable;
    assert!(!Cell::fits(&writable));
    let mut listening = plan(&house, "pass", "");
    listening.listen = std::num::NonZeroU16::new(9001);
    assert!(!Cell::fits(&listening));
    let error = house.spawner.cell(&writable, 4).await.unwrap_err().to_string();
    assert!(error.contains("no template can be made"), "{error}");
    let error = house
        .spawner
        .cell(&house.plan(&["/nowhere"]), 4)
        .await
        .unwrap_err()
        .to_string();
    assert!(error.contains("stage exec failed"), "{error}");
}

#[tokio::test]
async fn cells_leave_no_group_behind() {
    let house = House::new().await;
    let cell = cell(&house, "pass", "os.read(3, 1)").await;
    let group = crate::setting::leaves()
        .first()
        .map(|dir| dir.parent().unwrap().join(cell.group()));
    let sandbox = fork(&cell).await;
    if let Some(group) = &group {
        assert!(group.is_dir());
    }
    let _read = sandbox.usage();
    let base = cell.id();
    drop((sandbox, cell));
    // A launch is answered after all that was said before it.
    for _ in 0..50 {
        let one = house.spawner.launch(&house.plan(&["/bin/true"])).await.unwrap();
        one.gone().await;
        if group.as_ref().is_none_or(|group| !group.exists()) {
            return;
        }
    }
    panic!("cell {base} left its group");
}

#[tokio::test]
async fn a_cell_falls_with_its_spawner() {
    let house = House::new().await;
    let cell = cell(&house, "pass", "os.read(3, 1)").await;
    let sandbox = fork(&cell).await;
    let pid = nix::unistd::Pid::from_raw(house.spawner.pid().unwrap());
    nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGKILL).unwrap();
    sandbox.gone().await;
    cell.base().gone().await;
    assert!(cell.word().await.is_none());
    assert!(cell.slot().await.is_err());
}
