//! What the kernel answers to calls that no function needs.
//!
//! Most are made with arguments that the kernel itself would answer otherwise than the filter, without any privilege: so the answer
//! tells who gave it, and with the filter off the case fails.

use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;

use crate::attempt::Answer;
use crate::sys::{self, Arg, call};
use crate::{Attempts, Bait, Case};

use Arg::{Bytes, Int, Null, Text};

/// The cases of this file.
pub(crate) const CASES: &[Case] = &[
    case("ptrace", ptrace),
    case("ptrace-init", ptrace_init),
    case("process-vm", process_vm),
    case("setns", setns),
    case("nested-user-namespace", nested_user_namespace),
    case("clone3", clone3),
    case("mount", mount),
    case("mount-new-api", mount_new_api),
    case("cgroup-mount", cgroup_mount),
    case("io-uring", io_uring),
    case("bpf", bpf),
    case("perf", perf),
    case("userfaultfd", userfaultfd),
    case("fanotify", fanotify),
    case("keyrings", keyrings),
    case("terminal-input", terminal_input),
    case("socket-families", socket_families),
    case("raw-socket", raw_socket),
    case("x32", x32),
    #[cfg(target_arch = "x86_64")]
    case("int-0x80", int_0x80),
    case("file-handles", file_handles),
    case("personality", personality),
    case("io-privilege", io_privilege),
    case("prctl", prctl),
    case("unnamed-calls", unnamed_calls),
    case("descriptors-of-others", descriptors_of_others),
    case("huge-pages", huge_pages),
    case("pipe-size", pipe_size),
    case("core-limit", core_limit),
    case("whiteout", whiteout),
    case("device-node", device_node),
    case("hostname", hostname),
    case("calls-of-root", calls_of_root),
    case("real-time", real_time),
];

const fn case(name: &'static str, run: fn(&Bait, &mut Attempts)) -> Case {
    Case { name, run }
}

/// A call whose success is enough.
fn plain(number: libc::c_long, args: &mut [Arg<'_>]) -> Answer {
    Ok(call(number, args)?.to_string())
}

fn ptrace(_: &Bait, attempts: &mut Attempts) {
    attempts.make("traceme", || {
        plain(
            libc::SYS_ptrace,
            &mut [Int(libc::PTRACE_TRACEME.into()), Null, Null, Null],
        )
    });
}

fn ptrace_init(_: &Bait, attempts: &mut Attempts) {
    attempts.make("seize", || {
        plain(
            libc::SYS_ptrace,
            &mut [Int(libc::PTRACE_SEIZE.into()), Int(1), Null, Null],
        )
    });
    attempts.make("process_vm_readv", || process_vm_of(libc::SYS_process_vm_readv, 1));
}

fn process_vm(_: &Bait, attempts: &mut Attempts) {
    let own = i64::from(std::process::id());
    attempts.make("readv", || process_vm_of(libc::SYS_process_vm_readv, own));
    attempts.make("writev", || process_vm_of(libc::SYS_process_vm_writev, own));
}

/// Of eight bytes at an address where nothing is mapped: who may look gets `EFAULT`.
fn process_vm_of(number: libc::c_long, pid: i64) -> Answer {
    let mut word = [0u8; 8];
    let mut local = [0u8; 16];
    local[..8].copy_from_slice(&(word.as_mut_ptr() as u64).to_ne_bytes());
    local[8..].copy_from_slice(&8u64.to_ne_bytes());
    let mut remote = [0u8; 16];
    remote[..8].copy_from_slice(&4096u64.to_ne_bytes());
    remote[8..].copy_from_slice(&8u64.to_ne_bytes());
    plain(
        number,
        &mut [Int(pid), Bytes(&mut local), Int(1), Bytes(&mut remote), Int(1), Int(0)],
    )
}

fn setns(_: &Bait, attempts: &mut Attempts) {
    for name in ["net", "ipc", "uts"] {
        attempts.make(name, || {
            let own = File::open(format!("/proc/self/ns/{name}"))?;
            plain(libc::SYS_setns, &mut [Int(own.as_raw_fd().into()), Int(0)])
        });
    }
}

fn nested_user_namespace(_: &Bait, attempts: &mut Attempts) {
    attempts.make("unshare", || {
        plain(libc::SYS_unshare, &mut [Int(libc::CLONE_NEWUSER.into())])
    });
    attempts.make("clone", || {
        let flags = i64::from(libc::CLONE_NEWUSER | libc::SIGCHLD);
        match call(libc::SYS_clone, &mut [Int(flags), Null, Null, Null, Null])? {
            0 => sys::exit(),
            child => Ok(child.to_string()),
        }
    });
}

fn clone3(_: &Bait, attempts: &mut Attempts) {
    // Too short to be read: whoever looks at it says EINVAL.
    attempts.make("clone3", || plain(libc::SYS_clone3, &mut [Null, Int(0)]));
}

fn mount(_: &Bait, attempts: &mut Attempts) {
    attempts.make("mount", || {
        let args = &mut [Text(c"none"), Text(c"/tmp"), Text(c"tmpfs"), Int(0), Null];
        plain(libc::SYS_mount, args)
    });
    attempts.make("umount-of-a-cover", || {
        plain(
            libc::SYS_umount2,
            &mut [Text(c"/proc/sys"), Int(libc::MNT_DETACH.into())],
        )
    });
    attempts.make("remount-writable", || {
        let flags = (libc::MS_REMOUNT | libc::MS_BIND | libc::MS_NOSUID | libc::MS_NODEV) as i64;
        plain(libc::SYS_mount, &mut [Null, Text(c"/"), Null, Int(flags), Null])
    });
    attempts.make("pivot_root", || {
        plain(libc::SYS_pivot_root, &mut [Text(c"/tmp"), Text(c"/tmp")])
    });
    attempts.make("chroot", || plain(libc::SYS_chroot, &mut [Text(c"/tmp")]));
}

fn mount_new_api(_: &Bait, attempts: &mut Attempts) {
    attempts.make("fsopen", || plain(libc::SYS_fsopen, &mut [Text(c"tmpfs"), Int(0)]));
    attempts.make("open_tree", || {
        let clone = 1;
        plain(
            libc::SYS_open_tree,
            &mut [Int(libc::AT_FDCWD.into()), Text(c"/tmp"), Int(clone)],
        )
    });
    attempts.make("mount_setattr", || {
        let (mut nothing, here) = ([0u8; 32], i64::from(libc::AT_FDCWD));
        plain(
            libc::SYS_mount_setattr,
            &mut [Int(here), Text(c"/tmp"), Int(0), Bytes(&mut nothing), Int(32)],
        )
    });
}

fn cgroup_mount(_: &Bait, attempts: &mut Attempts) {
    let mut hierarchy = |name, kind, options| {
        attempts.make(name, || {
            plain(
                libc::SYS_mount,
                &mut [Text(c"none"), Text(c"/tmp"), Text(kind), Int(0), options],
            )
        });
    };
    hierarchy("version-2", c"cgroup2", Null);
    hierarchy("version-1", c"cgroup", Text(c"memory"));
}

fn io_uring(_: &Bait, attempts: &mut Attempts) {
    attempts.make("setup", || plain(libc::SYS_io_uring_setup, &mut [Int(1), Null]));
    attempts.make("enter", || {
        plain(
            libc::SYS_io_uring_enter,
            &mut [Int(-1), Int(0), Int(0), Int(0), Null, Int(0)],
        )
    });
    attempts.make("register", || {
        plain(libc::SYS_io_uring_register, &mut [Int(-1), Int(1), Null, Int(0)])
    });
}

fn bpf(_: &Bait, attempts: &mut Attempts) {
    // BPF_OBJ_GET with a struct of two pages, which is too large for any kernel.
    let mut attributes = [0u8; 8192];
    attempts.make("bpf", || {
        plain(libc::SYS_bpf, &mut [Int(7), Bytes(&mut attributes), Int(8192)])
    });
}

fn perf(_: &Bait, attempts: &mut Attempts) {
    // Flags that no kernel knows.
    attempts.make("perf_event_open", || {
        plain(
            libc::SYS_perf_event_open,
            &mut [Null, Int(0), Int(-1), Int(-1), Int(-1)],
        )
    });
}

fn userfaultfd(_: &Bait, attempts: &mut Attempts) {
    let user_mode_only = 1;
    attempts.make("userfaultfd", || {
        plain(libc::SYS_userfaultfd, &mut [Int(user_mode_only)])
    });
}

fn fanotify(_: &Bait, attempts: &mut Attempts) {
    let report_fid = 0x200;
    attempts.make("fanotify_init", || {
        plain(libc::SYS_fanotify_init, &mut [Int(report_fid), Int(0)])
    });
}

fn keyrings(_: &Bait, attempts: &mut Attempts) {
    let process_keyring = -2;
    attempts.make("keyctl", || {
        let (get_keyring, user_keyring) = (0, -4);
        plain(libc::SYS_keyctl, &mut [Int(get_keyring), Int(user_keyring), Int(1)])
    });
    attempts.make("add_key", || {
        let mut payload = [1];
        plain(
            libc::SYS_add_key,
            &mut [
                Text(c"user"),
                Text(c"probe"),
                Bytes(&mut payload),
                Int(1),
                Int(process_keyring),
            ],
        )
    });
    attempts.make("request_key", || {
        plain(
            libc::SYS_request_key,
            &mut [Text(c"user"), Text(c"probe"), Null, Int(0)],
        )
    });
}

fn terminal_input(_: &Bait, attempts: &mut Attempts) {
    // The kernel takes the lower half of the command alone (CVE-2019-10063).
    let high = 1 << 32;
    for (name, command) in [
        ("TIOCSTI", libc::TIOCSTI as i64),
        ("TIOCSTI-with-high-bits", libc::TIOCSTI as i64 | high),
        ("TIOCLINUX", libc::TIOCLINUX as i64),
        ("TIOCLINUX-with-high-bits", libc::TIOCLINUX as i64 | high),
    ] {
        let mut byte = [b'x'];
        attempts.make(name, || {
            plain(libc::SYS_ioctl, &mut [Int(0), Int(command), Bytes(&mut byte)])
        });
    }
}

fn socket_families(_: &Bait, attempts: &mut Attempts) {
    for (name, family, kind) in [
        ("netlink", libc::AF_NETLINK, libc::SOCK_RAW),
        ("packet", libc::AF_PACKET, libc::SOCK_RAW),
        ("alg", libc::AF_ALG, libc::SOCK_SEQPACKET),
        ("vsock", libc::AF_VSOCK, libc::SOCK_STREAM),
        ("xdp", libc::AF_XDP, libc::SOCK_RAW),
        ("key", libc::AF_KEY, libc::SOCK_RAW),
        ("bluetooth", libc::AF_BLUETOOTH, libc::SOCK_RAW),
    ] {
        attempts.make(name, || {
            plain(libc::SYS_socket, &mut [Int(family.into()), Int(kind.into()), Int(0)])
        });
    }
}

fn raw_socket(_: &Bait, attempts: &mut Attempts) {
    for (name, family) in [("ipv4", libc::AF_INET), ("ipv6", libc::AF_INET6)] {
        attempts.make(name, || {
            let icmp = 1;
            plain(
                libc::SYS_socket,
                &mut [Int(family.into()), Int(libc::SOCK_RAW.into()), Int(icmp)],
            )
        });
    }
}

fn x32(_: &Bait, attempts: &mut Attempts) {
    attempts.make("getpid", || plain(libc::SYS_getpid | 0x4000_0000, &mut []));
}

#[cfg(target_arch = "x86_64")]
fn int_0x80(_: &Bait, attempts: &mut Attempts) {
    attempts.make("getpid", || Ok(sys::getpid_of_32_bit().to_string()));
}

fn file_handles(_: &Bait, attempts: &mut Attempts) {
    attempts.make("name_to_handle_at", || {
        let (mut handle, mut mount) = ([0u8; 256], [0u8; 8]);
        handle[0] = 128;
        plain(
            libc::SYS_name_to_handle_at,
            &mut [
                Int(libc::AT_FDCWD.into()),
                Text(c"/tmp"),
                Bytes(&mut handle),
                Bytes(&mut mount),
                Int(0),
            ],
        )
    });
    attempts.make("open_by_handle_at", || {
        let mut handle = [0u8; 256];
        handle[0] = 8;
        plain(
            libc::SYS_open_by_handle_at,
            &mut [Int(libc::AT_FDCWD.into()), Bytes(&mut handle), Int(0)],
        )
    });
}

fn personality(_: &Bait, attempts: &mut Attempts) {
    attempts.make("no-randomization", || {
        plain(libc::SYS_personality, &mut [Int(libc::ADDR_NO_RANDOMIZE.into())])
    });
}

fn io_privilege(_: &Bait, attempts: &mut Attempts) {
    // To the level that it has: the kernel lets anybody ask for that.
    #[cfg(target_arch = "x86_64")]
    attempts.make("iopl", || plain(libc::SYS_iopl, &mut [Int(0)]));
    #[cfg(target_arch = "x86_64")]
    attempts.make("modify_ldt", || {
        let mut table = [0u8; 64];
        plain(libc::SYS_modify_ldt, &mut [Int(0), Bytes(&mut table), Int(64)])
    });
    #[cfg(not(target_arch = "x86_64"))]
    let _none = attempts;
}

fn prctl(_: &Bait, attempts: &mut Attempts) {
    let mut option = |name, option: i32, args: [i64; 4]| {
        attempts.make(name, || {
            let [a, b, c, d] = args.map(Int);
            plain(libc::SYS_prctl, &mut [Int(option.into()), a, b, c, d])
        });
    };
    option("PR_SET_MM", libc::PR_SET_MM, [0, 0, 0, 1]);
    option("PR_SET_SECCOMP", libc::PR_SET_SECCOMP, [99, 0, 0, 0]);
    option(
        "PR_SET_TSC",
        libc::PR_SET_TSC,
        [i64::from(libc::PR_TSC_ENABLE), 0, 0, 0],
    );
}

fn unnamed_calls(_: &Bait, attempts: &mut Attempts) {
    attempts.make("999", || plain(999, &mut []));
    // statmount(2), which tells of every mount.
    attempts.make("statmount", || plain(457, &mut [Null, Null, Int(0), Int(0)]));
    attempts.make("remap_file_pages", || {
        plain(libc::SYS_remap_file_pages, &mut [Null, Int(0), Int(0), Int(0), Int(0)])
    });
}

fn descriptors_of_others(_: &Bait, attempts: &mut Attempts) {
    let own = i64::from(std::process::id());
    attempts.make("pidfd_getfd", || {
        plain(libc::SYS_pidfd_getfd, &mut [Int(-1), Int(0), Int(0)])
    });
    attempts.make("kcmp", || {
        plain(libc::SYS_kcmp, &mut [Int(own), Int(own), Int(1), Null, Null])
    });
    attempts.make("process_madvise", || {
        plain(libc::SYS_process_madvise, &mut [Int(-1), Null, Int(0), Int(0), Int(0)])
    });
}

fn huge_pages(_: &Bait, attempts: &mut Attempts) {
    attempts.make("mmap", || {
        let flags = i64::from(libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_HUGETLB);
        plain(
            libc::SYS_mmap,
            &mut [Null, Int(2 << 20), Int(3), Int(flags), Int(-1), Int(0)],
        )
    });
    attempts.make("memfd_create", || {
        plain(
            libc::SYS_memfd_create,
            &mut [Text(c"probe"), Int(libc::MFD_HUGETLB.into())],
        )
    });
    attempts.make("shmget", || {
        let flags = i64::from(libc::IPC_CREAT | libc::SHM_HUGETLB | 0o600);
        plain(libc::SYS_shmget, &mut [Int(0), Int(2 << 20), Int(flags)])
    });
}

fn pipe_size(_: &Bait, attempts: &mut Attempts) {
    attempts.make("F_SETPIPE_SZ", || {
        let (reader, _writer) = io::pipe()?;
        let set_size = i64::from(libc::F_SETPIPE_SZ);
        plain(
            libc::SYS_fcntl,
            &mut [Int(reader.as_raw_fd().into()), Int(set_size), Int(4096)],
        )
    });
}

/// The kernel calls a handler of the host for every crash of a process but one whose limit is 1 (see `child::worker` of the sandbox).
fn core_limit(_: &Bait, attempts: &mut Attempts) {
    attempts.look("setrlimit", || {
        let mut none = [0u8; 16];
        call(
            libc::SYS_setrlimit,
            &mut [Int(libc::RLIMIT_CORE.into()), Bytes(&mut none)],
        )?;
        let limit = sys::limit(libc::RLIMIT_CORE)?;
        Ok((limit == (1, 1), format!("{limit:?}")))
    });
}

fn whiteout(_: &Bait, attempts: &mut Attempts) {
    attempts.make("mknod", || node(libc::S_IFCHR, 0));
}

fn device_node(_: &Bait, attempts: &mut Attempts) {
    attempts.make("character", || node(libc::S_IFCHR, libc::makedev(1, 1)));
    attempts.make("block", || node(libc::S_IFBLK, libc::makedev(8, 0)));
}

fn node(kind: libc::mode_t, device: libc::dev_t) -> Answer {
    let mode = i64::from(kind | 0o600);
    let here = i64::from(libc::AT_FDCWD);
    plain(
        libc::SYS_mknodat,
        &mut [Int(here), Text(c"/tmp/probe-node"), Int(mode), Int(device as i64)],
    )
}

fn hostname(_: &Bait, attempts: &mut Attempts) {
    attempts.make("sethostname", || {
        plain(libc::SYS_sethostname, &mut [Text(c"probe"), Int(5)])
    });
}

fn calls_of_root(_: &Bait, attempts: &mut Attempts) {
    let mut bytes = [0u8; 64];
    attempts.make("init_module", || {
        plain(libc::SYS_init_module, &mut [Bytes(&mut bytes), Int(64), Text(c"")])
    });
    attempts.make("delete_module", || {
        plain(libc::SYS_delete_module, &mut [Text(c"probe"), Int(0)])
    });
    attempts.make("kexec_load", || {
        plain(libc::SYS_kexec_load, &mut [Null, Int(0), Null, Int(0)])
    });
    attempts.make("swapon", || plain(libc::SYS_swapon, &mut [Text(c"/tmp/probe"), Int(0)]));
    attempts.make("reboot", || {
        // What it asks for is harmless where it would be allowed: that Ctrl-Alt-Del is left to init.
        let (magic, second, disable) = (0xfee1_dead_u32, 672_274_793, 0);
        plain(
            libc::SYS_reboot,
            &mut [Int(magic.into()), Int(second), Int(disable), Null],
        )
    });
    attempts.make("acct", || plain(libc::SYS_acct, &mut [Text(c"/tmp/probe")]));
    attempts.make("settimeofday", || {
        let mut time = [0xffu8; 16];
        plain(libc::SYS_settimeofday, &mut [Bytes(&mut time), Null])
    });
}

fn real_time(_: &Bait, attempts: &mut Attempts) {
    attempts.make("SCHED_FIFO", || {
        let mut priority = 1i32.to_ne_bytes();
        plain(
            libc::SYS_sched_setscheduler,
            &mut [Int(0), Int(libc::SCHED_FIFO.into()), Bytes(&mut priority)],
        )
    });
    attempts.make("nice", || {
        // PRIO_PROCESS, this one, the highest.
        plain(libc::SYS_setpriority, &mut [Int(0), Int(0), Int(-20)])
    });
}
