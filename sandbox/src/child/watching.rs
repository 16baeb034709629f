//! What pid 1 tells the host of a call that waits: whose it is, and what is being executed or connected to.
//!
//! It reads a bounded piece of the caller's memory, which is the caller's to write: what is read is text for people, and decides nothing here. Each kind of call
//! has a budget of its own, so that a flood of one does not hide another, and what is over it is only counted.

use std::fs;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::BorrowedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::time::Instant;

use rustix::fs::{CWD, readlinkat};

use crate::packet;
use crate::sighting::{BURST, LONGEST, PER_SECOND, Peer, Sight, Sighting, Watch};
use crate::sys::memory;
use crate::sys::seccomp::Call;

/// Number of the socket to the host in pid 1 of a slot.
pub(super) const SIGHTINGS: i32 = 4;
/// The longest address that is looked at: that of a unix socket.
const LONGEST_ADDRESS: usize = 110;

/// Whose a call is.
pub(super) trait Viewpoint {
    /// The sandbox that this thread is in.
    fn sandbox_of(&self, pid: i32) -> u64;

    /// Whether the platform itself executes `path` in this process.
    fn is_own(&self, pid: i32, path: &str) -> bool;
}

/// See the module's head. The default tells of nothing.
#[derive(Default)]
pub(super) struct Watching {
    watch: Watch,
    to: Option<BorrowedFd<'static>>,
    budgets: [Budget; 3],
    missed: u64,
}

impl Watching {
    /// Tells by `to`, once it is told of what.
    pub(super) fn by(to: BorrowedFd<'static>) -> Self {
        Self {
            to: Some(to),
            ..Self::default()
        }
    }

    /// From now on the host wants to hear of this. What is executed before is the platform's own.
    pub(super) fn begin(&mut self, watch: Watch) {
        self.watch = watch;
    }

    /// What there is to tell of a call that waits. Nothing is read for one that nobody wants to hear of, or that is over its budget.
    pub(super) fn look(&mut self, call: &Call, from: &dyn Viewpoint) -> Option<Sighting> {
        let (kind, wanted) = match i64::from(call.number) {
            libc::SYS_execve | libc::SYS_execveat => (0, self.watch.exec),
            libc::SYS_connect => (1, self.watch.connect),
            _ => (2, self.watch.refused),
        };
        if !wanted {
            return None;
        }
        if !self.budgets[kind].take(Instant::now()) {
            self.missed += 1;
            return None;
        }
        let sight = match kind {
            0 => {
                let path = executed(call);
                if path.as_deref().is_some_and(|path| from.is_own(call.pid, path)) {
                    self.budgets[kind].give_back();
                    return None;
                }
                Sight::Exec { path }
            }
            1 => Sight::Connect { peer: peer(call) },
            _ => Sight::Refused { number: call.number },
        };
        Some(Sighting {
            sandbox: from.sandbox_of(call.pid),
            sight,
            missed: self.missed,
        })
    }

    /// Tells it, unless the host has not read what was told before.
    pub(super) fn tell(&mut self, sighting: Sighting) {
        let Some(to) = self.to else { return };
        match packet::send(to, &sighting, &[]) {
            Ok(()) => self.missed = 0,
            Err(_full) => self.missed += 1,
        }
    }
}

/// Whose thread or child a process is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Lineage {
    /// The process that the thread belongs to.
    pub(super) process: i32,
    /// Its parent, as far as this process sees it; 0 otherwise.
    pub(super) parent: i32,
}

/// That of the thread `pid`; `None` when it has ended.
pub(super) fn lineage(pid: i32) -> Option<Lineage> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let field = |name: &str| {
        status
            .lines()
            .find_map(|line| line.strip_prefix(name)?.trim().parse().ok())
    };
    Some(Lineage {
        process: field("Tgid:")?,
        parent: field("PPid:")?,
    })
}

/// So many at once, and so many a second after that.
struct Budget {
    left: u32,
    since: Option<Instant>,
}

impl Default for Budget {
    fn default() -> Self {
        Self {
            left: BURST,
            since: None,
        }
    }
}

impl Budget {
    fn take(&mut self, now: Instant) -> bool {
        let since = *self.since.get_or_insert(now);
        let earned = now.duration_since(since).as_millis() * u128::from(PER_SECOND) / 1000;
        if earned > 0 {
            self.left = BURST.min(self.left + u32::try_from(earned).unwrap_or(BURST).min(BURST));
            self.since = Some(now);
        }
        let some = self.left > 0;
        self.left = self.left.saturating_sub(1);
        some
    }

    fn give_back(&mut self) {
        self.left = BURST.min(self.left + 1);
    }
}

/// The path of a program that is about to be executed.
fn executed(call: &Call) -> Option<String> {
    let [first, second, ..] = call.arguments;
    let (dir, pointer) = match i64::from(call.number) {
        libc::SYS_execveat => (Some(first as i32), second),
        _ => (None, first),
    };
    let path = text(&memory::read::<LONGEST>(call.pid, pointer).ok()?);
    if path.starts_with('/') {
        return Some(path);
    }
    let base = match dir {
        Some(dir) if dir != libc::AT_FDCWD => format!("/proc/{}/fd/{dir}", call.pid),
        _ => format!("/proc/{}/cwd", call.pid),
    };
    // Without the right to look, the path as it was asked for is the best there is.
    let Ok(base) = readlinkat(CWD, base.as_str(), Vec::new()) else {
        return Some(path);
    };
    let base = Path::new(std::ffi::OsStr::from_bytes(base.as_bytes()));
    let whole = if path.is_empty() {
        base.to_owned()
    } else {
        base.join(&path)
    };
    Some(text(whole.as_os_str().as_bytes()))
}

/// Up to the first zero, at most so many bytes as are told.
fn text(bytes: &[u8]) -> String {
    let end = bytes.iter().position(|byte| *byte == 0).unwrap_or(bytes.len());
    String::from_utf8_lossy(&bytes[..end.min(LONGEST)]).into_owned()
}

fn peer(call: &Call) -> Peer {
    let [_, pointer, length, ..] = call.arguments;
    // The kernel looks at the lower half alone.
    let length = usize::try_from(length as u32).unwrap_or(0).min(LONGEST_ADDRESS);
    match memory::read::<LONGEST_ADDRESS>(call.pid, pointer) {
        Ok(bytes) => parse(&bytes[..length.min(bytes.len())]),
        Err(_) => Peer::Unread,
    }
}

/// A `sockaddr`, as a process wrote it.
fn parse(bytes: &[u8]) -> Peer {
    let Some((family, rest)) = bytes.split_first_chunk::<2>() else {
        return Peer::Unread;
    };
    let family = u16::from_ne_bytes(*family);
    match i32::from(family) {
        libc::AF_INET => match rest.first_chunk::<6>() {
            Some([p1, p0, a, b, c, d]) => {
                let port = u16::from_be_bytes([*p1, *p0]);
                Peer::Inet(SocketAddr::from((Ipv4Addr::new(*a, *b, *c, *d), port)))
            }
            None => Peer::Unread,
        },
        libc::AF_INET6 => match (rest.first_chunk::<2>(), rest.get(6..22)) {
            (Some(port), Some(address)) => {
                let mut octets = [0; 16];
                octets.copy_from_slice(address);
                Peer::Inet(SocketAddr::from((Ipv6Addr::from(octets), u16::from_be_bytes(*port))))
            }
            _ => Peer::Unread,
        },
        libc::AF_UNIX => match rest.split_first() {
            Some((0, name)) => Peer::Unix(format!("@{}", String::from_utf8_lossy(name))),
            _ => Peer::Unix(text(rest)),
        },
        _ => Peer::Other(family),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn addresses_are_read_as_the_kernel_reads_them() {
        let family = |number: i32| u16::try_from(number).unwrap().to_ne_bytes();
        let inet = [&family(libc::AF_INET)[..], &[0x1f, 0x90, 127, 0, 0, 1], &[0; 8]].concat();
        assert_eq!(parse(&inet), Peer::Inet("127.0.0.1:8080".parse().unwrap()));
        let mut six = [&family(libc::AF_INET6)[..], &[0, 80, 0, 0, 0, 0], &[0; 16], &[0; 4]].concat();
        six[23] = 1;
        assert_eq!(parse(&six), Peer::Inet("[::1]:80".parse().unwrap()));
        let unix = [&family(libc::AF_UNIX)[..], b"/tmp/s\0rest"].concat();
        assert_eq!(parse(&unix), Peer::Unix("/tmp/s".into()));
        let name = [&family(libc::AF_UNIX)[..], b"\0name"].concat();
        assert_eq!(parse(&name), Peer::Unix("@name".into()));
        assert_eq!(parse(&family(0)), Peer::Other(0));
        assert_eq!(parse(&family(libc::AF_INET)), Peer::Unread);
        assert_eq!(parse(&[2]), Peer::Unread);
    }

    #[test]
    fn a_flood_is_told_up_to_its_budget_and_goes_on_after_a_pause() {
        let (mut budget, start) = (Budget::default(), Instant::now());
        let told = (0..10_000).filter(|_| budget.take(start)).count();
        assert_eq!(told, BURST as usize);
        let later = start + Duration::from_secs(1);
        let told = (0..10_000).filter(|_| budget.take(later)).count();
        assert_eq!(told, PER_SECOND as usize);
        let much_later = later + Duration::from_secs(1_000_000);
        let told = (0..10_000).filter(|_| budget.take(much_later)).count();
        assert_eq!(told, BURST as usize);
    }

    #[test]
    fn a_process_has_a_parent() {
        let own = i32::try_from(std::process::id()).unwrap();
        let parent = i32::try_from(std::os::unix::process::parent_id()).unwrap();
        let thread = nix::unistd::gettid().as_raw();
        assert_eq!(lineage(thread), Some(Lineage { process: own, parent }));
        assert_eq!(lineage(i32::MAX), None);
    }

    proptest! {
        #[test]
        fn no_address_and_no_path_that_a_process_writes_is_more_than_text(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            // Nothing panics, and what is told fits into one packet.
            let sighting = Sighting { sandbox: u64::MAX, sight: Sight::Connect { peer: parse(&bytes) }, missed: u64::MAX };
            prop_assert!(serde_json::to_vec(&sighting).unwrap().len() < 4096);
            prop_assert!(text(&bytes).len() <= 3 * LONGEST);
        }
    }
}
