//! The calls of the policy by what they are for: how a plan names many of them at once, and how docs/seccomp.md is ordered.
//!
//! Each named call stands in one group. A group says which of its calls become narrower when it is denied, and do not go away:
//! a program without threads, or without any socket, would often not start.

use super::policy::{Answer, Condition};

/// Calls of one purpose.
#[derive(Debug)]
pub struct Group {
    /// Its name, as in `group:NAME`.
    pub name: &'static str,
    /// What its calls do, and why they are allowed or refused.
    pub why: &'static str,
    /// Names of calls; some exist on one architecture alone.
    pub calls: &'static [&'static str],
    /// What is left of calls when the group is denied, these or others; all of `calls` without a line here answer `EPERM`.
    pub narrowed: &'static [(&'static str, Answer)],
}

const fn group(name: &'static str, why: &'static str, calls: &'static [&'static str]) -> Group {
    Group {
        name,
        why,
        calls,
        narrowed: &[],
    }
}

/// Calls without which no program starts: the worker makes them under its filter, or a C library before `main`.
pub const NEEDED: &[&str] = &[
    "read",
    "write",
    "close",
    "close_range",
    "dup2",
    "dup3",
    "fcntl",
    "openat",
    "fstat",
    "newfstatat",
    "pread64",
    "sendmsg",
    "recvmsg",
    "chdir",
    "mmap",
    "munmap",
    "mprotect",
    "brk",
    "prlimit64",
    "rt_sigaction",
    "rt_sigprocmask",
    "rt_sigreturn",
    "arch_prctl",
    "set_tid_address",
    "futex",
    "execve",
    "exit",
    "exit_group",
];

/// All of them.
pub const GROUPS: &[Group] = &[
    group(
        "io",
        "Reads and writes what is open.",
        &[
            "read",
            "write",
            "readv",
            "writev",
            "pread64",
            "pwrite64",
            "preadv",
            "pwritev",
            "preadv2",
            "pwritev2",
            "sendfile",
            "copy_file_range",
            "close",
            "close_range",
            "dup",
            "dup2",
            "dup3",
            "lseek",
            "fcntl",
            "ioctl",
            "flock",
            "readahead",
            "fadvise64",
        ],
    ),
    group(
        "splice",
        "Moves pages between pipes and files without a copy. Several bugs of the kernel were here.",
        &["splice", "tee", "vmsplice"],
    ),
    group(
        "files",
        "Opens and looks at files, inside the view of the sandbox.",
        &[
            "open",
            "creat",
            "openat",
            "openat2",
            "stat",
            "lstat",
            "fstat",
            "newfstatat",
            "statx",
            "statfs",
            "fstatfs",
            "access",
            "faccessat",
            "faccessat2",
            "readlink",
            "readlinkat",
            "getdents",
            "getdents64",
            "getcwd",
            "chdir",
            "fchdir",
            "umask",
            "getxattr",
            "lgetxattr",
            "fgetxattr",
            "listxattr",
            "llistxattr",
            "flistxattr",
        ],
    ),
    group(
        "change",
        "Makes, renames and removes files, and says how long they are and of which time.",
        &[
            "mkdir",
            "mkdirat",
            "rmdir",
            "unlink",
            "unlinkat",
            "rename",
            "renameat",
            "renameat2",
            "link",
            "linkat",
            "symlink",
            "symlinkat",
            "truncate",
            "ftruncate",
            "fallocate",
            "utime",
            "utimes",
            "futimesat",
            "utimensat",
            "fsync",
            "fdatasync",
            "sync_file_range",
        ],
    ),
    group(
        "sync",
        "Writes whole file systems back. Those of a sandbox are memory.",
        &["sync", "syncfs"],
    ),
    group(
        "ownership",
        "Changes modes, owners and attributes of files. Set-user-id bits have no effect inside.",
        &[
            "chmod",
            "fchmod",
            "fchmodat",
            "chown",
            "fchown",
            "fchownat",
            "lchown",
            "setxattr",
            "lsetxattr",
            "fsetxattr",
            "removexattr",
            "lremovexattr",
            "fremovexattr",
        ],
    ),
    group(
        "events",
        "Waits for descriptors, and makes those that programs wait for.",
        &[
            "pipe",
            "pipe2",
            "eventfd",
            "eventfd2",
            "epoll_create",
            "epoll_create1",
            "epoll_ctl",
            "epoll_wait",
            "epoll_pwait",
            "epoll_pwait2",
            "poll",
            "ppoll",
            "select",
            "pselect6",
            "signalfd",
            "signalfd4",
            "timerfd_create",
            "timerfd_settime",
            "timerfd_gettime",
        ],
    ),
    group(
        "watch",
        "Hears of changes of files. Counted for each user of the host.",
        &["inotify_init", "inotify_init1", "inotify_add_watch", "inotify_rm_watch"],
    ),
    group(
        "memory",
        "Maps memory and says how it may be used; no huge pages, which the host set aside for somebody.",
        &[
            "mmap",
            "munmap",
            "mremap",
            "mprotect",
            "madvise",
            "mincore",
            "msync",
            "brk",
            "membarrier",
            "pkey_alloc",
            "pkey_free",
            "pkey_mprotect",
            "get_mempolicy",
        ],
    ),
    group(
        "memfd",
        "Makes a file without a name, in memory. It can be executed, whatever is mounted.",
        &["memfd_create"],
    ),
    group(
        "lock",
        "Keeps memory from being written to swap, up to 64 KiB.",
        &["mlock", "mlock2", "munlock", "mlockall", "munlockall"],
    ),
    group(
        "threads",
        "What threads are made of.",
        &[
            "futex",
            "set_robust_list",
            "get_robust_list",
            "rseq",
            "set_tid_address",
            "gettid",
            "tgkill",
            "arch_prctl",
            "prctl",
        ],
    ),
    group(
        "signals",
        "A process' own signals.",
        &[
            "rt_sigaction",
            "rt_sigprocmask",
            "rt_sigpending",
            "rt_sigtimedwait",
            "rt_sigsuspend",
            "rt_sigreturn",
            "sigaltstack",
            "pause",
        ],
    ),
    group(
        "kill",
        "Sends signals to others; in a pid namespace of its own a function can name none but its own.",
        &[
            "kill",
            "tkill",
            "rt_sigqueueinfo",
            "rt_tgsigqueueinfo",
            "pidfd_open",
            "pidfd_send_signal",
        ],
    ),
    Group {
        name: "process",
        why: "Makes processes, up to `pids`, none in a namespace of its own. Denied, threads can still be made, and the process can still \
              become another program.",
        calls: &["clone", "fork", "vfork", "setpgid", "setsid"],
        narrowed: &[("clone", Answer::When(Condition::CloneThread))],
    },
    group(
        "program",
        "Becomes another program, ends, and sees others end. Nobody gains a right by it (`no_new_privs`).",
        &[
            "execve",
            "execveat",
            "exit",
            "exit_group",
            "wait4",
            "waitid",
            "restart_syscall",
        ],
    ),
    group(
        "identity",
        "Asks who a process is.",
        &[
            "getpid",
            "getppid",
            "getpgid",
            "getpgrp",
            "getsid",
            "getuid",
            "geteuid",
            "getgid",
            "getegid",
            "getresuid",
            "getresgid",
            "getgroups",
            "capget",
            "uname",
            "sysinfo",
            "personality",
        ],
    ),
    group(
        "ids",
        "Changes ids and gives capabilities up. There is one id inside, and no capability.",
        &[
            "capset",
            "setuid",
            "setgid",
            "setreuid",
            "setregid",
            "setresuid",
            "setresgid",
            "setfsuid",
            "setfsgid",
            "setgroups",
        ],
    ),
    group(
        "limits",
        "Reads and lowers limits and accounts of a process.",
        &["getrlimit", "setrlimit", "prlimit64", "getrusage", "times"],
    ),
    group(
        "schedule",
        "Asks how a process is scheduled.",
        &[
            "sched_yield",
            "sched_getaffinity",
            "sched_getparam",
            "sched_getscheduler",
            "sched_get_priority_max",
            "sched_get_priority_min",
            "sched_rr_get_interval",
            "sched_getattr",
            "getcpu",
            "getpriority",
            "ioprio_get",
        ],
    ),
    group(
        "reschedule",
        "Changes that; no limit lets a priority rise.",
        &[
            "sched_setaffinity",
            "sched_setscheduler",
            "sched_setparam",
            "setpriority",
        ],
    ),
    group(
        "time",
        "Reads clocks and waits.",
        &[
            "clock_gettime",
            "clock_getres",
            "clock_nanosleep",
            "nanosleep",
            "gettimeofday",
            "time",
            "getrandom",
        ],
    ),
    group(
        "timers",
        "Makes timers that send signals.",
        &[
            "getitimer",
            "setitimer",
            "alarm",
            "timer_create",
            "timer_settime",
            "timer_gettime",
            "timer_getoverrun",
            "timer_delete",
        ],
    ),
    group(
        "socket",
        "Talks through sockets: of a network namespace that has a loopback device alone, and unix sockets.",
        &[
            "socket",
            "socketpair",
            "bind",
            "connect",
            "listen",
            "accept",
            "accept4",
            "getsockname",
            "getpeername",
            "sendto",
            "recvfrom",
            "sendmsg",
            "recvmsg",
            "sendmmsg",
            "recvmmsg",
            "shutdown",
            "setsockopt",
            "getsockopt",
        ],
    ),
    Group {
        name: "inet",
        why: "No call of its own: denied, `socket` and `socketpair` make unix sockets and no others.",
        calls: &[],
        narrowed: &[
            ("socket", Answer::When(Condition::UnixSocket)),
            ("socketpair", Answer::When(Condition::UnixSocket)),
        ],
    },
    group(
        "ipc",
        "Shared memory, semaphores and queues of System V and POSIX, in an ipc namespace of its own.",
        &[
            "shmget",
            "shmat",
            "shmdt",
            "shmctl",
            "semget",
            "semop",
            "semtimedop",
            "semctl",
            "msgget",
            "msgsnd",
            "msgrcv",
            "msgctl",
            "mq_open",
            "mq_unlink",
            "mq_timedsend",
            "mq_timedreceive",
            "mq_notify",
            "mq_getsetattr",
        ],
    ),
    group(
        "landlock",
        "Gives up access to files, for good.",
        &["landlock_create_ruleset", "landlock_add_rule", "landlock_restrict_self"],
    ),
    group(
        "mounts",
        "Changes what is seen at which path. Most ways out of a container begin here.",
        &[
            "mount",
            "umount2",
            "pivot_root",
            "chroot",
            "open_tree",
            "move_mount",
            "fsopen",
            "fsconfig",
            "fsmount",
            "fspick",
            "mount_setattr",
        ],
    ),
    group(
        "namespaces",
        "Makes and enters namespaces: in one of its own a function would have every capability.",
        &["setns", "unshare"],
    ),
    group("nodes", "Makes device nodes.", &["mknod", "mknodat"]),
    group(
        "trace",
        "Looks into other processes, or takes what they hold.",
        &[
            "ptrace",
            "process_vm_readv",
            "process_vm_writev",
            "process_madvise",
            "pidfd_getfd",
            "kcmp",
        ],
    ),
    group(
        "kernel",
        "Runs code in the kernel, or replaces it.",
        &[
            "bpf",
            "perf_event_open",
            "userfaultfd",
            "seccomp",
            "io_uring_setup",
            "io_uring_enter",
            "io_uring_register",
            "kexec_load",
            "kexec_file_load",
            "init_module",
            "finit_module",
            "delete_module",
            "uselib",
            "modify_ldt",
            "iopl",
            "ioperm",
        ],
    ),
    group(
        "keys",
        "Keys in the kernel, counted for each user of the host.",
        &["add_key", "request_key", "keyctl"],
    ),
    group(
        "handles",
        "Opens files by number, past every path.",
        &["name_to_handle_at", "open_by_handle_at"],
    ),
    group(
        "machine",
        "Changes the machine: swap, clock, name, log, quotas.",
        &[
            "swapon",
            "swapoff",
            "reboot",
            "clock_settime",
            "clock_adjtime",
            "settimeofday",
            "adjtimex",
            "syslog",
            "acct",
            "quotactl",
            "quotactl_fd",
            "sethostname",
            "setdomainname",
            "vhangup",
            "nfsservctl",
            "lookup_dcookie",
            "ustat",
            "sysfs",
            "fanotify_init",
            "fanotify_mark",
        ],
    ),
    group(
        "placement",
        "Says on which memory and with which priority of the disk others run.",
        &["migrate_pages", "move_pages", "mbind", "set_mempolicy", "ioprio_set"],
    ),
];

/// The group of this name.
pub fn find(name: &str) -> Option<&'static Group> {
    GROUPS.iter().find(|group| group.name == name)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::super::policy::{ALLOWED_HERE, REFUSED_HERE, Subject, rows};
    use super::*;

    #[test]
    fn each_call_of_the_policy_stands_in_one_group() {
        let mut grouped = BTreeSet::new();
        for name in GROUPS.iter().flat_map(|group| group.calls) {
            assert!(grouped.insert(*name), "{name} stands twice");
        }
        let policy: BTreeSet<&str> = rows(Subject::Foreign).into_iter().map(|((name, _), _)| name).collect();
        let missing: Vec<_> = policy.difference(&grouped).collect();
        assert!(missing.is_empty(), "in no group: {missing:?}");
        let unknown: Vec<_> = grouped.difference(&policy).collect();
        // On other architectures those of x86-64 are unknown.
        let here = ALLOWED_HERE.len() + REFUSED_HERE.len();
        assert!(unknown.is_empty() || here == 0, "in no policy: {unknown:?}");
    }

    #[test]
    fn what_is_needed_is_in_the_policy_and_groups_have_one_name_each() {
        let names: BTreeSet<_> = GROUPS.iter().map(|group| group.name).collect();
        assert_eq!(names.len(), GROUPS.len());
        let policy: BTreeSet<&str> = rows(Subject::Foreign).into_iter().map(|((name, _), _)| name).collect();
        let needed: BTreeSet<&str> = NEEDED.iter().copied().collect();
        assert!(needed.is_subset(&policy) || ALLOWED_HERE.is_empty());
    }
}
