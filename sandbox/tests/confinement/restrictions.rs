//! What one plan takes away. Each attempt runs without the restriction as well, and must succeed then: else it would prove nothing.

use sandbox::{LaunchError, Plan, Restrictions, Rootfs, Slot, Stage};

use crate::cells::{fork, outcome, plan as template, raised};
use crate::setting::House;

/// ENOENT and ELOOP.
const NO_SUCH_FILE: i32 = 2;
const TOO_MANY_LINKS: i32 = 40;

/// Says `done`, or the number of the error, for each attempt.
const PRELUDE: &str = "
import ctypes, os, socket, subprocess, sys, threading
def tell(name, attempt):
    try: attempt(); print(name, 'done')
    except OSError as error: print(name, error.errno)
def written(path):
    with open(path, 'wb') as file: file.write(open('/bin/true', 'rb').read())
    os.chmod(path, 0o755)
    return path
def run(path):
    pid = os.posix_spawn(path, [path], {})
    if os.waitpid(pid, 0)[1]: raise OSError(0, 'it failed')
def mapped(path):
    import mmap
    with open(path, 'rb') as file: mmap.mmap(file.fileno(), 0, mmap.MAP_PRIVATE, mmap.PROT_READ | mmap.PROT_EXEC)
def memfd():
    fd = os.memfd_create('x', 0)
    os.write(fd, open('/bin/true', 'rb').read())
    pid = os.fork()
    if pid == 0:
        try: os.execve(fd, ['x'], {})
        except OSError as error: os._exit(error.errno)
    code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    if code: raise OSError(code, 'it failed')
def forked():
    pid = os.fork()
    if pid == 0: os._exit(0)
    os.waitpid(pid, 0)
def thread():
    one = threading.Thread(target=lambda: None)
    try: one.start()
    except RuntimeError: raise OSError(1, 'no thread')
    one.join()
def created(path): open(path, 'w').close()
";

fn restricted(denied: &[&str], read_only: &[&str], no_exec: bool) -> Restrictions {
    Restrictions {
        denied: denied.iter().map(|name| name.parse().unwrap()).collect(),
        read_only: read_only.iter().map(|path| path.parse().unwrap()).collect(),
        no_exec,
    }
}

/// What the attempts say without and with restrictions, executed and forked from a template.
async fn told(attempts: &str, restrictions: Restrictions) -> [String; 4] {
    let house = House::new().await;
    let script = format!("{PRELUDE}{attempts}");
    let executed = house.plan(&["/usr/bin/python3", "-c", &script]);
    let forked = template(&house, "pass", &format!("exec({script:?}, {{}})"));
    let with = |plan: &Plan| Plan {
        restrictions: restrictions.clone(),
        ..plan.clone()
    };
    let by_fork = async |plan: &Plan| outcome(fork(&raised(&house, plan).await).await).await.0;
    [
        house.run(&executed).await.0,
        by_fork(&forked).await,
        house.run(&with(&executed)).await.0,
        by_fork(&with(&forked)).await,
    ]
}

#[track_caller]
fn assert_told(told: &[String; 4], without: &str, with: &str) {
    assert_eq!([&told[0], &told[1]], [without, without]);
    assert_eq!([&told[2], &told[3]], [with, with]);
}

#[tokio::test]
async fn denied_calls_are_refused() {
    let attempts = "
tell('pair', socket.socketpair)
tell('listen', lambda: socket.socket().listen())
tell('fork', forked)
tell('thread', thread)
";
    let told = told(attempts, restricted(&["listen", "group:process"], &[], false)).await;
    assert_told(
        &told,
        "pair done\nlisten done\nfork done\nthread done\n",
        "pair done\nlisten 1\nfork 1\nthread done\n",
    );
}

#[tokio::test]
async fn without_inet_there_are_unix_sockets_alone() {
    let attempts = "
tell('unix', socket.socketpair)
tell('inet', socket.socket)
tell('inet6', lambda: socket.socket(socket.AF_INET6, socket.SOCK_DGRAM))
";
    let told = told(attempts, restricted(&["group:inet"], &[], false)).await;
    let without = "unix done\ninet done\ninet6 done\n";
    assert_told(&told, without, "unix done\ninet 97\ninet6 97\n");
}

#[tokio::test]
async fn read_only_paths_can_be_read_and_not_written() {
    let attempts = "
tell('tmp', lambda: created('/tmp/a'))
tell('shm', lambda: created('/dev/shm/a'))
tell('read', lambda: os.listdir('/tmp'))
tell('code', lambda: open('/function/code.txt').read())
";
    let told = told(attempts, restricted(&[], &["/tmp", "/function"], false)).await;
    assert_told(
        &told,
        "tmp done\nshm done\nread done\ncode done\n",
        "tmp 30\nshm done\nread done\ncode done\n",
    );
}

#[tokio::test]
async fn with_a_writable_root_a_part_of_it_can_be_read_only() {
    let house = House::new().await;
    let script = "for d in / /usr /function /tmp; do echo x 2>/dev/null > $d/x && echo $d; done; true";
    let mut plan = house.plan(&["/bin/sh", "-c", script]);
    plan.rootfs = Rootfs::Writable;
    assert!(!Slot::fits(&plan));
    assert!(house.run(&plan).await.0.ends_with("/\n/usr\n/function\n/tmp\n"));
    plan.restrictions = restricted(&[], &["/function", "/tmp"], false);
    let text = house.run(&plan).await.0;
    assert!(
        text.contains("/\n/usr\n") && !text.contains("/function\n") && !text.contains("/tmp\n"),
        "{text}"
    );
}

#[tokio::test]
async fn what_is_written_can_not_be_executed() {
    let attempts = "
tell('tmp', lambda: run(written('/tmp/x')))
tell('shm', lambda: run(written('/dev/shm/x')))
tell('map', lambda: mapped('/tmp/x'))
tell('memory', memfd)
tell('host', lambda: run('/bin/true'))
";
    let told = told(attempts, restricted(&[], &[], true)).await;
    assert_told(
        &told,
        "tmp done\nshm done\nmap done\nmemory done\nhost done\n",
        "tmp 13\nshm 13\nmap 1\nmemory 1\nhost done\n",
    );
}

#[tokio::test]
async fn a_path_that_is_not_there_or_is_a_link_fails_the_start() {
    let house = House::new().await;
    let mut plan = house.plan(&["/bin/true"]);
    assert!(Slot::fits(&plan));
    for (path, expected) in [("/nowhere", NO_SUCH_FILE), ("/var/tmp", TOO_MANY_LINKS)] {
        plan.restrictions = restricted(&[], &[path], false);
        assert!(!Slot::fits(&plan), "a slot that stands has another filter");
        match house.spawner.launch(&plan).await {
            Err(LaunchError::Stage { failure, .. }) => {
                assert_eq!((failure.stage, failure.errno), (Stage::ReadOnly, expected), "{path}");
            }
            other => panic!("{path}: {other:?}"),
        }
    }
}
