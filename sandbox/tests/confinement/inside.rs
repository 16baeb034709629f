//! What foreign code finds inside.

use sandbox::{Exit, Rootfs};

use crate::setting::House;

#[tokio::test]
async fn it_is_nobody_with_nothing() {
    let house = House::new().await;
    let (text, end) = house
        .sh("id -u; id -G; grep -E '^(Cap|NoNewPrivs|Seccomp:)' /proc/self/status; hostname; pwd")
        .await;
    assert_eq!(end.exit, Exit::Code(0), "{text}");
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines[0], "1000");
    assert!(!lines[1].split(' ').any(|group| group == "0"), "{text}");
    for set in ["CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"] {
        assert!(text.contains(&format!("{set}:\t0000000000000000")), "{text}");
    }
    assert!(
        text.contains("NoNewPrivs:\t1") && text.contains("Seccomp:\t2"),
        "{text}"
    );
    assert!(text.ends_with("inside\n/function\n"), "{text}");
}

#[tokio::test]
async fn it_sees_its_own_files_and_processes_only() {
    let house = House::new().await;
    let (text, _) = house.sh("ls -A / | tr '\\n' ' '; echo; ls -d /proc/[0-9]* | wc -l; cat code.txt; ls -A /.fn 2>&1; ls /sys 2>&1; ls -A /run /home | wc -l").await;
    let mut lines = text.lines();
    let top = lines.next().unwrap();
    for name in ["usr", "etc", "proc", "tmp", "function"] {
        assert!(top.split(' ').any(|entry| entry == name), "{top}");
    }
    for name in ["sys", "boot", "srv", "media"] {
        assert!(!top.split(' ').any(|entry| entry == name), "{top}");
    }
    // Pid 1, the shell, ls and wc at most.
    assert!(lines.next().unwrap().trim().parse::<u32>().unwrap() <= 4, "{text}");
    assert_eq!(lines.next(), Some("the code"));
    assert!(!text.contains(house.layer.as_str()), "the store is reachable: {text}");
}

#[tokio::test]
async fn only_tmp_and_shm_can_be_written_and_both_are_capped() {
    let house = House::new().await;
    let (text, _) = house
        .sh("exec 3>&2 2>/dev/null; for d in / /usr /etc /function /var/task /.fn /proc/sys/net/ipv4; do echo x > $d/x && echo WROTE $d; done
             for d in /tmp /dev/shm; do echo x > $d/x && echo fine; head -c 8388608 /dev/zero > $d/y 2>/dev/null || echo full; done
             echo 1 > /proc/sys/net/ipv4/ip_forward 2>/dev/null && echo WROTE sysctl; true")
        .await;
    assert_eq!(text, "fine\nfull\nfine\nfull\n");
}

#[tokio::test]
async fn its_own_entries_in_proc_can_be_written_as_usual() {
    let house = House::new().await;
    let script = "for f in comm timerslack_ns coredump_filter; do echo 1 > /proc/self/$f || echo failed $f; done";
    assert_eq!(house.sh(script).await.0, "");
}

#[tokio::test]
async fn a_writable_root_takes_new_files_and_forgets_them() {
    let house = House::new().await;
    let mut plan = house.plan(&[
        "/bin/sh",
        "-c",
        "ls /made /function/made /usr/made 2>/dev/null; for d in / /function /usr; do echo x > $d/made || echo failed $d; done
         cat /function/code.txt; id -u; grep -c . /proc/self/status > /tmp/n && echo ok; touch /etc/made 2>/dev/null; ls /.fn 2>&1",
    ]);
    plan.rootfs = Rootfs::Writable;
    for _ in 0..2 {
        let (text, _) = house.run(&plan).await;
        assert!(text.starts_with("the code\n1000\nok\n"), "{text}");
        assert!(!text.contains(house.layer.as_str()), "{text}");
    }
}

#[tokio::test]
async fn refused_calls_answer_the_promised_errno() {
    let house = House::new().await;
    let script = r#"
import ctypes, errno, os, socket
libc = ctypes.CDLL(None, use_errno=True)
def call(name, *args):
    ctypes.set_errno(0)
    result = libc.syscall(*args)
    print(name, errno.errorcode.get(ctypes.get_errno(), "OK") if result == -1 else "OK")
call("mount", 165, 0, 0, 0, 0, 0)
call("unshare", 272, 0x10000000)
call("setns", 308, 0, 0)
call("ptrace", 101, 16, 1, 0, 0)
call("bpf", 321, 0, 0, 0)
call("keyctl", 250, 0, 0, 0)
call("io_uring_setup", 425, 1, 0)
call("personality", 135, 0x0040000)
call("number 999", 999)
call("clone3", 435, 0, 0)
for family, kind in ((socket.AF_NETLINK, socket.SOCK_RAW), (socket.AF_PACKET, socket.SOCK_RAW), (socket.AF_INET, socket.SOCK_RAW)):
    try:
        socket.socket(family, kind)
        print(family, "OK")
    except OSError as e:
        print(int(family), errno.errorcode[e.errno])
try:
    open("/proc/1/mem", "rb")
    print("mem OK")
except OSError as e:
    print("mem", errno.errorcode[e.errno])
print("fds", sorted(int(n) for n in os.listdir("/proc/self/fd"))[:-1])
"#;
    let (text, _) = house.run(&house.plan(&["/usr/bin/python3", "-c", script])).await;
    let expected = "mount EPERM\nunshare EPERM\nsetns EPERM\nptrace EPERM\nbpf EPERM\nkeyctl EPERM\nio_uring_setup EPERM\n\
                    personality EPERM\nnumber 999 ENOSYS\nclone3 ENOSYS\n16 EAFNOSUPPORT\n17 EAFNOSUPPORT\n2 EPERM\nmem EACCES\n\
                    fds [0, 1, 2, 3]\n";
    assert_eq!(text, expected);
}
