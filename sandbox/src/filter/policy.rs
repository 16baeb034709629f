//! The allow-list as data. What is not named here gets `ENOSYS`, so that a C library falls back to an older call.
//!
//! The list began with traces of Python, Node, shells, coreutils and HTTP servers. Calls that reach other parts of the
//! kernel (mounts, namespaces, tracing, keys, BPF, modules) are named as refused, so that they answer `EPERM`, as they
//! would to any user without privileges.

use libc::c_long;

use super::denial::{Denial, take_away};
use crate::sighting::Watch;

/// What the filter answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answer {
    /// The call is made.
    Allow,
    /// The call fails with this errno.
    Refuse(i32),
    /// The call waits until pid 1 was told of it, and is made then. It guards nothing: what pid 1 sees of a call may be another
    /// when it is made (seccomp_unotify(2)).
    Tell,
    /// It depends on an argument.
    When(Condition),
}

/// A condition on arguments; only the lower 32 bits of each are looked at, as the kernel does for these calls.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Condition {
    /// `clone` without any `CLONE_NEW*` flag, else `EPERM`.
    CloneWithoutNamespaces,
    /// `clone` of a thread, else `EPERM`.
    CloneThread,
    /// `socket` and `socketpair` of AF_UNIX alone, else `EAFNOSUPPORT`.
    UnixSocket,
    /// `socket` and `socketpair` of AF_UNIX, or of AF_INET and AF_INET6 as TCP or UDP, else `EAFNOSUPPORT` (`EPERM` for raw
    /// ones, `EPROTONOSUPPORT` for other protocols, whose modules the kernel would load for anybody who asks).
    OrdinarySocket,
    /// `ioctl` with any command but TIOCSTI and TIOCLINUX, else `EPERM`.
    HarmlessIoctl,
    /// `fcntl` with any command but F_SETPIPE_SZ, else `EPERM`: pipe pages are counted per user of the host.
    HarmlessFcntl,
    /// None of these bits in this argument, else `EPERM`.
    Without {
        /// Number of the argument, from 0.
        argument: u32,
        /// The bits.
        bits: u32,
    },
    /// `setrlimit` of any limit but RLIMIT_CORE, for which it answers 0 and changes nothing: the value that stands is the
    /// only one for which the kernel calls no handler of core dumps (see `child::worker`).
    KeepsCoreLimit,
    /// The same for `prlimit64`, which may always ask. It answers `EPERM` when it asks and sets at once.
    KeepsCoreLimitOrAsks,
    /// `prctl` with an option of [`PRCTL_OPTIONS`], else `EPERM`.
    KnownPrctl,
    /// `personality` that asks (0xffffffff) or keeps the default (0), else `EPERM`.
    DefaultPersonality,
    /// `setns` by a descriptor of a named type, any but a user namespace, else `EPERM`.
    EnterBuiltNamespaces,
}

/// Whom a program is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Subject {
    /// Foreign code, and what serves it.
    Foreign,
    /// Foreign code in a slot: the same, and pid 1 is told of the calls in [`TOLD`] and of what is watched. Pid 1 then answers for the
    /// filter what that would have, see [`goes_on`].
    Worker(Watch),
    /// A template: the same as foreign code, and what it needs to fork into slots of its cell (`clone3`, `setns`, `seccomp`). Each fork gives
    /// these up again by a second program, [`GIVEN_UP`]. Pid 1 of its cell is told of what is watched.
    Template(Watch),
    /// Pid 1 of a slot that is watched: the same as foreign code, and it reads what its processes are about to execute.
    Watcher,
}

/// Namespaces that a template may enter, with the type named.
pub const ENTERED: &[i32] = &[
    libc::CLONE_NEWPID,
    libc::CLONE_NEWNS,
    libc::CLONE_NEWNET,
    libc::CLONE_NEWIPC,
    libc::CLONE_NEWUTS,
    libc::CLONE_NEWCGROUP,
];

/// Calls of which pid 1 is always told where the kernel can do that, see `child::listening`. All of them are in [`ALLOWED`].
pub const TOLD: &[Call] = &[("listen", LISTEN)];

/// listen(2).
pub(crate) const LISTEN: c_long = libc::SYS_listen;

/// Calls of which pid 1 is told where executions are watched. All of them are in [`ALLOWED`].
pub const EXECUTIONS: &[Call] = &[("execve", libc::SYS_execve), ("execveat", libc::SYS_execveat)];

/// Calls of which pid 1 is told where connections are watched. All of them are in [`ALLOWED`].
pub const CONNECTIONS: &[Call] = &[("connect", libc::SYS_connect)];

/// Whether a call of which pid 1 was told is made. Anything but the few that are allowed is refused, so what is told by mistake fails
/// closed.
pub(crate) fn goes_on(number: i32) -> bool {
    let of = |calls: &[Call]| calls.iter().any(|(_, own)| *own == c_long::from(number));
    of(TOLD) || of(EXECUTIONS) || of(CONNECTIONS)
}

/// The name of a call that answers `EPERM`.
pub(crate) fn refused_name(number: i32) -> Option<&'static str> {
    let mut all = REFUSED.iter().chain(REFUSED_HERE);
    all.find(|(_, own)| *own == c_long::from(number)).map(|(name, _)| *name)
}

/// What a template may do beyond foreign code.
const OF_TEMPLATES: &[(Call, Answer)] = &[
    (
        ("setns", libc::SYS_setns),
        Answer::When(Condition::EnterBuiltNamespaces),
    ),
    (("clone3", libc::SYS_clone3), Answer::Allow),
    (("seccomp", libc::SYS_seccomp), Answer::Allow),
];

/// What a fork of a template gives up, and what these calls answer it from then on: the same as to any foreign code.
pub const GIVEN_UP: &[(Call, i32)] = &[
    (("setns", libc::SYS_setns), libc::EPERM),
    (("clone3", libc::SYS_clone3), libc::ENOSYS),
    (("seccomp", libc::SYS_seccomp), libc::EPERM),
];

/// Name of a system call and its number on this architecture.
pub type Call = (&'static str, c_long);

/// Options of prctl(2) that foreign code may use.
pub const PRCTL_OPTIONS: &[(&str, i32)] = &[
    ("PR_SET_PDEATHSIG", libc::PR_SET_PDEATHSIG),
    ("PR_GET_PDEATHSIG", libc::PR_GET_PDEATHSIG),
    ("PR_GET_DUMPABLE", libc::PR_GET_DUMPABLE),
    ("PR_SET_DUMPABLE", libc::PR_SET_DUMPABLE),
    ("PR_GET_KEEPCAPS", libc::PR_GET_KEEPCAPS),
    ("PR_SET_NAME", libc::PR_SET_NAME),
    ("PR_GET_NAME", libc::PR_GET_NAME),
    ("PR_GET_SECCOMP", libc::PR_GET_SECCOMP),
    ("PR_CAPBSET_READ", libc::PR_CAPBSET_READ),
    ("PR_GET_SECUREBITS", libc::PR_GET_SECUREBITS),
    ("PR_SET_TIMERSLACK", libc::PR_SET_TIMERSLACK),
    ("PR_GET_TIMERSLACK", libc::PR_GET_TIMERSLACK),
    ("PR_SET_CHILD_SUBREAPER", libc::PR_SET_CHILD_SUBREAPER),
    ("PR_GET_CHILD_SUBREAPER", libc::PR_GET_CHILD_SUBREAPER),
    ("PR_SET_NO_NEW_PRIVS", libc::PR_SET_NO_NEW_PRIVS),
    ("PR_GET_NO_NEW_PRIVS", libc::PR_GET_NO_NEW_PRIVS),
    ("PR_GET_TID_ADDRESS", libc::PR_GET_TID_ADDRESS),
    ("PR_SET_THP_DISABLE", libc::PR_SET_THP_DISABLE),
    ("PR_GET_THP_DISABLE", libc::PR_GET_THP_DISABLE),
    ("PR_CAP_AMBIENT", libc::PR_CAP_AMBIENT),
    ("PR_SET_VMA", 0x5356_4d41),
];

/// Calls that depend on an argument.
pub const CONDITIONAL: &[(Call, Condition)] = &[
    (("clone", libc::SYS_clone), Condition::CloneWithoutNamespaces),
    (("socket", libc::SYS_socket), Condition::OrdinarySocket),
    (("socketpair", libc::SYS_socketpair), Condition::OrdinarySocket),
    (("ioctl", libc::SYS_ioctl), Condition::HarmlessIoctl),
    (("fcntl", libc::SYS_fcntl), Condition::HarmlessFcntl),
    // Huge pages were set aside by the host for somebody, and the limit of memory does not count them.
    (("mmap", libc::SYS_mmap), without(3, libc::MAP_HUGETLB as u32)),
    (("memfd_create", libc::SYS_memfd_create), without(1, libc::MFD_HUGETLB)),
    (("shmget", libc::SYS_shmget), without(2, libc::SHM_HUGETLB as u32)),
    (("setrlimit", libc::SYS_setrlimit), Condition::KeepsCoreLimit),
    (("prlimit64", libc::SYS_prlimit64), Condition::KeepsCoreLimitOrAsks),
    (("prctl", libc::SYS_prctl), Condition::KnownPrctl),
    (("personality", libc::SYS_personality), Condition::DefaultPersonality),
];

const fn without(argument: u32, bits: u32) -> Condition {
    Condition::Without { argument, bits }
}

/// Calls that are made as asked.
pub const ALLOWED: &[Call] = &[
    ("read", libc::SYS_read),
    ("write", libc::SYS_write),
    ("readv", libc::SYS_readv),
    ("writev", libc::SYS_writev),
    ("pread64", libc::SYS_pread64),
    ("pwrite64", libc::SYS_pwrite64),
    ("preadv", libc::SYS_preadv),
    ("pwritev", libc::SYS_pwritev),
    ("preadv2", libc::SYS_preadv2),
    ("pwritev2", libc::SYS_pwritev2),
    ("sendfile", libc::SYS_sendfile),
    ("splice", libc::SYS_splice),
    ("tee", libc::SYS_tee),
    ("vmsplice", libc::SYS_vmsplice),
    ("copy_file_range", libc::SYS_copy_file_range),
    ("close", libc::SYS_close),
    ("close_range", libc::SYS_close_range),
    ("dup", libc::SYS_dup),
    ("dup3", libc::SYS_dup3),
    ("openat", libc::SYS_openat),
    ("openat2", libc::SYS_openat2),
    ("lseek", libc::SYS_lseek),
    ("ftruncate", libc::SYS_ftruncate),
    ("truncate", libc::SYS_truncate),
    ("fallocate", libc::SYS_fallocate),
    ("fadvise64", libc::SYS_fadvise64),
    ("readahead", libc::SYS_readahead),
    ("fsync", libc::SYS_fsync),
    ("fdatasync", libc::SYS_fdatasync),
    ("sync_file_range", libc::SYS_sync_file_range),
    ("sync", libc::SYS_sync),
    ("syncfs", libc::SYS_syncfs),
    ("statx", libc::SYS_statx),
    ("newfstatat", libc::SYS_newfstatat),
    ("fstat", libc::SYS_fstat),
    ("statfs", libc::SYS_statfs),
    ("fstatfs", libc::SYS_fstatfs),
    ("faccessat", libc::SYS_faccessat),
    ("faccessat2", libc::SYS_faccessat2),
    ("readlinkat", libc::SYS_readlinkat),
    ("getdents64", libc::SYS_getdents64),
    ("getcwd", libc::SYS_getcwd),
    ("chdir", libc::SYS_chdir),
    ("fchdir", libc::SYS_fchdir),
    ("mkdirat", libc::SYS_mkdirat),
    ("unlinkat", libc::SYS_unlinkat),
    ("renameat", libc::SYS_renameat),
    ("renameat2", libc::SYS_renameat2),
    ("linkat", libc::SYS_linkat),
    ("symlinkat", libc::SYS_symlinkat),
    ("fchmod", libc::SYS_fchmod),
    ("fchmodat", libc::SYS_fchmodat),
    ("fchown", libc::SYS_fchown),
    ("fchownat", libc::SYS_fchownat),
    ("utimensat", libc::SYS_utimensat),
    ("umask", libc::SYS_umask),
    ("flock", libc::SYS_flock),
    ("getxattr", libc::SYS_getxattr),
    ("lgetxattr", libc::SYS_lgetxattr),
    ("fgetxattr", libc::SYS_fgetxattr),
    ("listxattr", libc::SYS_listxattr),
    ("llistxattr", libc::SYS_llistxattr),
    ("flistxattr", libc::SYS_flistxattr),
    ("setxattr", libc::SYS_setxattr),
    ("lsetxattr", libc::SYS_lsetxattr),
    ("fsetxattr", libc::SYS_fsetxattr),
    ("removexattr", libc::SYS_removexattr),
    ("lremovexattr", libc::SYS_lremovexattr),
    ("fremovexattr", libc::SYS_fremovexattr),
    ("pipe2", libc::SYS_pipe2),
    ("eventfd2", libc::SYS_eventfd2),
    ("epoll_create1", libc::SYS_epoll_create1),
    ("epoll_ctl", libc::SYS_epoll_ctl),
    ("epoll_pwait", libc::SYS_epoll_pwait),
    ("epoll_pwait2", libc::SYS_epoll_pwait2),
    ("ppoll", libc::SYS_ppoll),
    ("pselect6", libc::SYS_pselect6),
    ("signalfd4", libc::SYS_signalfd4),
    ("timerfd_create", libc::SYS_timerfd_create),
    ("timerfd_settime", libc::SYS_timerfd_settime),
    ("timerfd_gettime", libc::SYS_timerfd_gettime),
    ("inotify_init1", libc::SYS_inotify_init1),
    ("inotify_add_watch", libc::SYS_inotify_add_watch),
    ("inotify_rm_watch", libc::SYS_inotify_rm_watch),
    ("munmap", libc::SYS_munmap),
    ("mremap", libc::SYS_mremap),
    ("mprotect", libc::SYS_mprotect),
    ("madvise", libc::SYS_madvise),
    ("mincore", libc::SYS_mincore),
    ("msync", libc::SYS_msync),
    ("brk", libc::SYS_brk),
    ("mlock", libc::SYS_mlock),
    ("mlock2", libc::SYS_mlock2),
    ("munlock", libc::SYS_munlock),
    ("mlockall", libc::SYS_mlockall),
    ("munlockall", libc::SYS_munlockall),
    ("membarrier", libc::SYS_membarrier),
    ("pkey_alloc", libc::SYS_pkey_alloc),
    ("pkey_free", libc::SYS_pkey_free),
    ("pkey_mprotect", libc::SYS_pkey_mprotect),
    ("get_mempolicy", libc::SYS_get_mempolicy),
    ("futex", libc::SYS_futex),
    ("set_robust_list", libc::SYS_set_robust_list),
    ("get_robust_list", libc::SYS_get_robust_list),
    ("rseq", libc::SYS_rseq),
    ("set_tid_address", libc::SYS_set_tid_address),
    ("rt_sigaction", libc::SYS_rt_sigaction),
    ("rt_sigprocmask", libc::SYS_rt_sigprocmask),
    ("rt_sigpending", libc::SYS_rt_sigpending),
    ("rt_sigtimedwait", libc::SYS_rt_sigtimedwait),
    ("rt_sigqueueinfo", libc::SYS_rt_sigqueueinfo),
    ("rt_tgsigqueueinfo", libc::SYS_rt_tgsigqueueinfo),
    ("rt_sigsuspend", libc::SYS_rt_sigsuspend),
    ("rt_sigreturn", libc::SYS_rt_sigreturn),
    ("sigaltstack", libc::SYS_sigaltstack),
    ("kill", libc::SYS_kill),
    ("tkill", libc::SYS_tkill),
    ("tgkill", libc::SYS_tgkill),
    ("pidfd_open", libc::SYS_pidfd_open),
    ("pidfd_send_signal", libc::SYS_pidfd_send_signal),
    ("wait4", libc::SYS_wait4),
    ("waitid", libc::SYS_waitid),
    ("exit", libc::SYS_exit),
    ("exit_group", libc::SYS_exit_group),
    ("execve", libc::SYS_execve),
    ("execveat", libc::SYS_execveat),
    ("restart_syscall", libc::SYS_restart_syscall),
    ("getpid", libc::SYS_getpid),
    ("getppid", libc::SYS_getppid),
    ("gettid", libc::SYS_gettid),
    ("getpgid", libc::SYS_getpgid),
    ("getsid", libc::SYS_getsid),
    ("setpgid", libc::SYS_setpgid),
    ("setsid", libc::SYS_setsid),
    ("getuid", libc::SYS_getuid),
    ("geteuid", libc::SYS_geteuid),
    ("getgid", libc::SYS_getgid),
    ("getegid", libc::SYS_getegid),
    ("getresuid", libc::SYS_getresuid),
    ("getresgid", libc::SYS_getresgid),
    ("getgroups", libc::SYS_getgroups),
    ("capget", libc::SYS_capget),
    ("capset", libc::SYS_capset),
    ("setuid", libc::SYS_setuid),
    ("setgid", libc::SYS_setgid),
    ("setreuid", libc::SYS_setreuid),
    ("setregid", libc::SYS_setregid),
    ("setresuid", libc::SYS_setresuid),
    ("setresgid", libc::SYS_setresgid),
    ("setfsuid", libc::SYS_setfsuid),
    ("setfsgid", libc::SYS_setfsgid),
    ("setgroups", libc::SYS_setgroups),
    ("sched_yield", libc::SYS_sched_yield),
    ("sched_getaffinity", libc::SYS_sched_getaffinity),
    ("sched_setaffinity", libc::SYS_sched_setaffinity),
    ("sched_getparam", libc::SYS_sched_getparam),
    ("sched_getscheduler", libc::SYS_sched_getscheduler),
    ("sched_get_priority_max", libc::SYS_sched_get_priority_max),
    ("sched_get_priority_min", libc::SYS_sched_get_priority_min),
    ("sched_rr_get_interval", libc::SYS_sched_rr_get_interval),
    ("sched_setscheduler", libc::SYS_sched_setscheduler),
    ("sched_setparam", libc::SYS_sched_setparam),
    ("sched_getattr", libc::SYS_sched_getattr),
    ("getcpu", libc::SYS_getcpu),
    ("getpriority", libc::SYS_getpriority),
    ("setpriority", libc::SYS_setpriority),
    ("ioprio_get", libc::SYS_ioprio_get),
    ("clock_gettime", libc::SYS_clock_gettime),
    ("clock_getres", libc::SYS_clock_getres),
    ("clock_nanosleep", libc::SYS_clock_nanosleep),
    ("nanosleep", libc::SYS_nanosleep),
    ("gettimeofday", libc::SYS_gettimeofday),
    ("getitimer", libc::SYS_getitimer),
    ("setitimer", libc::SYS_setitimer),
    ("timer_create", libc::SYS_timer_create),
    ("timer_settime", libc::SYS_timer_settime),
    ("timer_gettime", libc::SYS_timer_gettime),
    ("timer_getoverrun", libc::SYS_timer_getoverrun),
    ("timer_delete", libc::SYS_timer_delete),
    ("times", libc::SYS_times),
    ("getrandom", libc::SYS_getrandom),
    ("uname", libc::SYS_uname),
    ("sysinfo", libc::SYS_sysinfo),
    ("getrlimit", libc::SYS_getrlimit),
    ("getrusage", libc::SYS_getrusage),
    ("bind", libc::SYS_bind),
    ("connect", libc::SYS_connect),
    ("listen", libc::SYS_listen),
    ("accept", libc::SYS_accept),
    ("accept4", libc::SYS_accept4),
    ("getsockname", libc::SYS_getsockname),
    ("getpeername", libc::SYS_getpeername),
    ("sendto", libc::SYS_sendto),
    ("recvfrom", libc::SYS_recvfrom),
    ("sendmsg", libc::SYS_sendmsg),
    ("recvmsg", libc::SYS_recvmsg),
    ("sendmmsg", libc::SYS_sendmmsg),
    ("recvmmsg", libc::SYS_recvmmsg),
    ("shutdown", libc::SYS_shutdown),
    ("setsockopt", libc::SYS_setsockopt),
    ("getsockopt", libc::SYS_getsockopt),
    ("shmat", libc::SYS_shmat),
    ("shmdt", libc::SYS_shmdt),
    ("shmctl", libc::SYS_shmctl),
    ("semget", libc::SYS_semget),
    ("semop", libc::SYS_semop),
    ("semtimedop", libc::SYS_semtimedop),
    ("semctl", libc::SYS_semctl),
    ("msgget", libc::SYS_msgget),
    ("msgsnd", libc::SYS_msgsnd),
    ("msgrcv", libc::SYS_msgrcv),
    ("msgctl", libc::SYS_msgctl),
    ("mq_open", libc::SYS_mq_open),
    ("mq_unlink", libc::SYS_mq_unlink),
    ("mq_timedsend", libc::SYS_mq_timedsend),
    ("mq_timedreceive", libc::SYS_mq_timedreceive),
    ("mq_notify", libc::SYS_mq_notify),
    ("mq_getsetattr", libc::SYS_mq_getsetattr),
    ("landlock_create_ruleset", libc::SYS_landlock_create_ruleset),
    ("landlock_add_rule", libc::SYS_landlock_add_rule),
    ("landlock_restrict_self", libc::SYS_landlock_restrict_self),
];

/// Calls that are made as asked and exist on x86-64 alone.
#[cfg(target_arch = "x86_64")]
pub const ALLOWED_HERE: &[Call] = &[
    ("open", libc::SYS_open),
    ("creat", libc::SYS_creat),
    ("stat", libc::SYS_stat),
    ("lstat", libc::SYS_lstat),
    ("access", libc::SYS_access),
    ("readlink", libc::SYS_readlink),
    ("mkdir", libc::SYS_mkdir),
    ("rmdir", libc::SYS_rmdir),
    ("unlink", libc::SYS_unlink),
    ("rename", libc::SYS_rename),
    ("link", libc::SYS_link),
    ("symlink", libc::SYS_symlink),
    ("chmod", libc::SYS_chmod),
    ("chown", libc::SYS_chown),
    ("lchown", libc::SYS_lchown),
    ("utime", libc::SYS_utime),
    ("utimes", libc::SYS_utimes),
    ("futimesat", libc::SYS_futimesat),
    ("getdents", libc::SYS_getdents),
    ("dup2", libc::SYS_dup2),
    ("pipe", libc::SYS_pipe),
    ("eventfd", libc::SYS_eventfd),
    ("epoll_create", libc::SYS_epoll_create),
    ("epoll_wait", libc::SYS_epoll_wait),
    ("poll", libc::SYS_poll),
    ("select", libc::SYS_select),
    ("signalfd", libc::SYS_signalfd),
    ("inotify_init", libc::SYS_inotify_init),
    ("fork", libc::SYS_fork),
    ("vfork", libc::SYS_vfork),
    ("getpgrp", libc::SYS_getpgrp),
    ("alarm", libc::SYS_alarm),
    ("pause", libc::SYS_pause),
    ("time", libc::SYS_time),
    ("arch_prctl", libc::SYS_arch_prctl),
];

/// Calls that are made as asked and exist on this architecture alone.
#[cfg(not(target_arch = "x86_64"))]
pub const ALLOWED_HERE: &[Call] = &[];

/// Calls that answer `EPERM`.
pub const REFUSED: &[Call] = &[
    ("mount", libc::SYS_mount),
    ("umount2", libc::SYS_umount2),
    ("pivot_root", libc::SYS_pivot_root),
    ("chroot", libc::SYS_chroot),
    ("setns", libc::SYS_setns),
    ("unshare", libc::SYS_unshare),
    ("open_tree", libc::SYS_open_tree),
    ("move_mount", libc::SYS_move_mount),
    ("fsopen", libc::SYS_fsopen),
    ("fsconfig", libc::SYS_fsconfig),
    ("fsmount", libc::SYS_fsmount),
    ("fspick", libc::SYS_fspick),
    ("mount_setattr", libc::SYS_mount_setattr),
    ("mknodat", libc::SYS_mknodat),
    ("bpf", libc::SYS_bpf),
    ("perf_event_open", libc::SYS_perf_event_open),
    ("userfaultfd", libc::SYS_userfaultfd),
    ("add_key", libc::SYS_add_key),
    ("request_key", libc::SYS_request_key),
    ("keyctl", libc::SYS_keyctl),
    ("ptrace", libc::SYS_ptrace),
    ("process_vm_readv", libc::SYS_process_vm_readv),
    ("process_vm_writev", libc::SYS_process_vm_writev),
    ("process_madvise", libc::SYS_process_madvise),
    ("pidfd_getfd", libc::SYS_pidfd_getfd),
    ("kcmp", libc::SYS_kcmp),
    ("name_to_handle_at", libc::SYS_name_to_handle_at),
    ("open_by_handle_at", libc::SYS_open_by_handle_at),
    ("swapon", libc::SYS_swapon),
    ("swapoff", libc::SYS_swapoff),
    ("reboot", libc::SYS_reboot),
    ("kexec_load", libc::SYS_kexec_load),
    ("init_module", libc::SYS_init_module),
    ("finit_module", libc::SYS_finit_module),
    ("delete_module", libc::SYS_delete_module),
    ("clock_settime", libc::SYS_clock_settime),
    ("clock_adjtime", libc::SYS_clock_adjtime),
    ("settimeofday", libc::SYS_settimeofday),
    ("adjtimex", libc::SYS_adjtimex),
    ("syslog", libc::SYS_syslog),
    ("acct", libc::SYS_acct),
    ("quotactl", libc::SYS_quotactl),
    ("quotactl_fd", libc::SYS_quotactl_fd),
    ("sethostname", libc::SYS_sethostname),
    ("setdomainname", libc::SYS_setdomainname),
    ("vhangup", libc::SYS_vhangup),
    ("nfsservctl", libc::SYS_nfsservctl),
    ("lookup_dcookie", libc::SYS_lookup_dcookie),
    ("io_uring_setup", libc::SYS_io_uring_setup),
    ("io_uring_enter", libc::SYS_io_uring_enter),
    ("io_uring_register", libc::SYS_io_uring_register),
    ("fanotify_init", libc::SYS_fanotify_init),
    ("fanotify_mark", libc::SYS_fanotify_mark),
    ("seccomp", libc::SYS_seccomp),
    ("migrate_pages", libc::SYS_migrate_pages),
    ("move_pages", libc::SYS_move_pages),
    ("mbind", libc::SYS_mbind),
    ("set_mempolicy", libc::SYS_set_mempolicy),
    ("ioprio_set", libc::SYS_ioprio_set),
];

/// Calls that answer `EPERM` and exist on x86-64 alone.
#[cfg(target_arch = "x86_64")]
pub const REFUSED_HERE: &[Call] = &[
    ("iopl", libc::SYS_iopl),
    ("ioperm", libc::SYS_ioperm),
    ("modify_ldt", libc::SYS_modify_ldt),
    ("uselib", libc::SYS_uselib),
    ("ustat", libc::SYS_ustat),
    ("sysfs", libc::SYS_sysfs),
    ("mknod", libc::SYS_mknod),
    ("kexec_file_load", libc::SYS_kexec_file_load),
];

/// Calls that answer `EPERM` and exist on this architecture alone.
#[cfg(not(target_arch = "x86_64"))]
pub const REFUSED_HERE: &[Call] = &[];

/// The whole policy: every named call with its answer, sorted by number, each number once. All others answer `ENOSYS`,
/// `clone3` among them: its flags lie in memory, where a filter can't look, and every C library falls back to `clone`.
pub fn rows(subject: Subject) -> Vec<(Call, Answer)> {
    let mut rows: Vec<(Call, Answer)> = Vec::with_capacity(400);
    rows.extend(ALLOWED.iter().chain(ALLOWED_HERE).map(|call| (*call, Answer::Allow)));
    rows.extend(
        REFUSED
            .iter()
            .chain(REFUSED_HERE)
            .map(|call| (*call, Answer::Refuse(libc::EPERM))),
    );
    rows.extend(
        CONDITIONAL
            .iter()
            .map(|(call, condition)| (*call, Answer::When(*condition))),
    );
    let mut answer = |calls: &[Call], answer: Answer| {
        rows.retain(|(call, _)| !calls.contains(call));
        rows.extend(calls.iter().map(|call| (*call, answer)));
    };
    if let Subject::Worker(_) = subject {
        answer(TOLD, Answer::Tell);
    }
    if let Subject::Worker(watch) | Subject::Template(watch) = subject {
        for (watched, calls) in [
            (watch.exec, EXECUTIONS),
            (watch.connect, CONNECTIONS),
            (watch.refused, REFUSED),
            (watch.refused, REFUSED_HERE),
        ] {
            if watched {
                answer(calls, Answer::Tell);
            }
        }
    }
    if subject == Subject::Watcher {
        answer(&[("process_vm_readv", libc::SYS_process_vm_readv)], Answer::Allow);
    }
    if let Subject::Template(_) = subject {
        rows.retain(|(call, _)| OF_TEMPLATES.iter().all(|(other, _)| other.1 != call.1));
        rows.extend(OF_TEMPLATES);
    }
    rows.sort_by_key(|((_, number), _)| *number);
    rows
}

/// The same without what `denied` takes away.
pub fn denying(subject: Subject, denied: &[Denial]) -> Vec<(Call, Answer)> {
    let mut rows = rows(subject);
    take_away(&mut rows, denied, |call| {
        matches!(subject, Subject::Template(_)) && OF_TEMPLATES.iter().any(|(own, _)| own.1 == call.1)
    });
    rows
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOTHING: Watch = Watch {
        exec: false,
        connect: false,
        refused: false,
    };
    const ALL: Watch = Watch {
        exec: true,
        connect: true,
        refused: true,
    };

    #[test]
    fn no_call_has_two_answers() {
        for subject in [
            Subject::Foreign,
            Subject::Worker(NOTHING),
            Subject::Worker(ALL),
            Subject::Template(NOTHING),
            Subject::Template(ALL),
            Subject::Watcher,
        ] {
            let rows = rows(subject);
            for pair in rows.windows(2) {
                assert_ne!(pair[0].0.1, pair[1].0.1, "{} and {}", pair[0].0.0, pair[1].0.0);
            }
            assert!(rows.iter().all(|((_, number), _)| *number >= 0));
        }
    }

    /// What pid 1 answers in place of the filter.
    fn answered(told: &[(Call, Answer)]) -> Vec<(Call, Answer)> {
        let answered = told.iter().map(|(call, answer)| match answer {
            Answer::Tell if goes_on(i32::try_from(call.1).unwrap()) => (*call, Answer::Allow),
            Answer::Tell => (*call, Answer::Refuse(libc::EPERM)),
            other => (*call, *other),
        });
        answered.collect()
    }

    #[test]
    fn what_is_told_of_is_answered_as_the_filter_would_and_nothing_else_differs() {
        for watch in [NOTHING, ALL] {
            assert_eq!(answered(&rows(Subject::Worker(watch))), rows(Subject::Foreign));
            assert_eq!(
                answered(&rows(Subject::Template(watch))),
                rows(Subject::Template(NOTHING))
            );
        }
        let told = |watch| {
            rows(Subject::Worker(watch))
                .iter()
                .filter(|(_, answer)| *answer == Answer::Tell)
                .count()
        };
        assert_eq!(told(NOTHING), 1);
        assert_eq!(told(ALL), 4 + REFUSED.len() + REFUSED_HERE.len());
    }

    #[test]
    fn only_what_is_allowed_goes_on() {
        for number in -1..1200 {
            let allowed = ALLOWED.iter().any(|(_, own)| *own == c_long::from(number));
            assert!(allowed || !goes_on(number), "{number}");
        }
        assert_eq!(refused_name(libc::SYS_mount as i32), Some("mount"));
        assert_eq!(refused_name(libc::SYS_read as i32), None);
    }

    #[test]
    fn a_fork_gives_up_all_that_its_template_had_beyond_foreign_code() {
        let answer = |subject, number| {
            let row = rows(subject).into_iter().find(|((_, own), _)| *own == number);
            row.map_or(Answer::Refuse(libc::ENOSYS), |(_, answer)| answer)
        };
        for ((name, number), _) in rows(Subject::Template(NOTHING)) {
            if answer(Subject::Template(NOTHING), number) != answer(Subject::Foreign, number) {
                let given_up = GIVEN_UP.iter().find(|((_, own), _)| *own == number);
                let (_, errno) = given_up.unwrap_or_else(|| panic!("{name} is kept"));
                assert_eq!(Answer::Refuse(*errno), answer(Subject::Foreign, number), "{name}");
            }
        }
    }
}
