//! The attacks: what each takes, how it must end, and the metric that names who did it.

/// One attack.
#[derive(Debug)]
pub(super) struct Attack {
    /// Its name, also to the attacker.
    pub(super) name: &'static str,
    /// How it must end.
    pub(super) ends: Ends,
    /// A metric of the attacker that grows by it.
    pub(super) metric: &'static str,
    /// The limit without which it can't be tried, as the server's report names it.
    pub(super) needs: Option<&'static str>,
}

/// How an attack ends.
#[derive(Debug, Clone, Copy)]
pub(super) enum Ends {
    /// The function is told one of these by the kernel, and answers.
    With(&'static [&'static str]),
    /// Its caller gets this status and code.
    As(u16, &'static str),
}

use Ends::{As, With};

const CPU: &str = "fn_cpu_seconds_total";
const CALLS: &str = "fn_invocations_total";

const fn attack(name: &'static str, ends: Ends, metric: &'static str) -> Attack {
    Attack {
        name,
        ends,
        metric,
        needs: None,
    }
}

const fn limited(name: &'static str, ends: Ends, metric: &'static str, needs: &'static str) -> Attack {
    Attack {
        name,
        ends,
        metric,
        needs: Some(needs),
    }
}

/// All of them.
pub(super) const ATTACKS: &[Attack] = &[
    limited("fork bomb", With(&["EAGAIN"]), CPU, "pids"),
    limited("threads", With(&["EAGAIN"]), CPU, "pids"),
    limited("memory bomb", As(502, "out_of_memory"), "fn_oom_kills_total", "memory"),
    attack("tmpfs fill", With(&["ENOSPC"]), CPU),
    attack("shm fill", With(&["ENOSPC"]), CPU),
    attack("inode fill", With(&["ENOSPC"]), CPU),
    attack("descriptors", With(&["EMFILE"]), CPU),
    attack("sparse giant file", With(&["EFBIG", "ENOSPC", "done"]), CPU),
    attack("cpu spin", With(&["done"]), CPU),
    attack("real-time priority", With(&["EPERM"]), CALLS),
    attack("stdout flood", With(&["done"]), "fn_log_dropped_bytes_total"),
    attack("dentry flood", With(&["done"]), CPU),
    attack("page-cache flood", With(&["done", "ENOSPC"]), CPU),
    attack("larger pipes", With(&["EPERM"]), CALLS),
    attack("full pipes", With(&["EMFILE"]), CPU),
    attack("sockets", With(&["EMFILE"]), CPU),
    attack("descriptors in flight", With(&["EAGAIN", "ETOOMANYREFS"]), CPU),
    attack("mlock", With(&["EPERM", "ENOMEM", "EAGAIN"]), CALLS),
    attack("deep directories", With(&["ENOSPC"]), CPU),
    attack("inotify", With(&["EMFILE"]), CPU),
    attack("timers", With(&["EAGAIN"]), CPU),
    attack("exec churn", With(&["done"]), CPU),
    attack("sleep for ever", As(504, "timeout"), CALLS),
    attack("SIGSTOP itself", As(504, "timeout"), CALLS),
];
