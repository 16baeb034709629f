//! What the kernel alone takes for the steps of a start, measured without any of our design: the floors that `loadtest`
//! compares a start with.
//!
//! Each sample is one round in microseconds. The caller must be single-threaded.

use std::ffi::CString;
use std::io::{self, Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use nix::mount::{MsFlags, mount};
use nix::sys::wait::waitpid;
use nix::unistd::{Gid, Pid, Uid, execve};

use crate::child::rootfs;
use crate::stage::{At, Stage, StageError};
use crate::sys::clone::{Side, clone3};

const SIX: i32 = libc::CLONE_NEWUSER
    | libc::CLONE_NEWPID
    | libc::CLONE_NEWNS
    | libc::CLONE_NEWIPC
    | libc::CLONE_NEWUTS
    | libc::CLONE_NEWCGROUP;

/// What can be measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Floor {
    /// vfork and exec of a static binary, to its exit.
    Exec,
    /// clone with user, pid, mount, ipc, uts and cgroup namespaces, to the exit.
    Namespaces6,
    /// The same with a network namespace.
    Namespaces7,
    /// The latter with id maps, tmpfs, overlay, proc and pivot_root, and exec of a static binary to its exit.
    Box,
    /// 256 bytes there and back over a socketpair between two processes.
    RoundTrip,
}

impl Floor {
    /// All, with the names that the command line takes.
    pub const ALL: &[(&str, Self)] = &[
        ("exec", Self::Exec),
        ("ns6", Self::Namespaces6),
        ("ns7", Self::Namespaces7),
        ("box", Self::Box),
        ("rtt", Self::RoundTrip),
    ];

    /// Measures `rounds` times, after `pause` each time; a few rounds before are not counted.
    ///
    /// # Errors
    /// What the host refuses: namespaces, most likely.
    pub fn measure(self, rounds: usize, pause: Duration) -> io::Result<Vec<f64>> {
        const WARM_UP: usize = 3;
        let mut samples = Vec::with_capacity(rounds);
        let dir = Scratch::new()?;
        let mut echo = if self == Self::RoundTrip {
            Some(Echo::start()?)
        } else {
            None
        };
        for round in 0..rounds + WARM_UP {
            std::thread::sleep(pause);
            let began = Instant::now();
            match (self, &mut echo) {
                (Self::Exec, _) => exec(&dir.binary)?,
                (Self::Namespaces6, _) => namespaces(SIX, None)?,
                (Self::Namespaces7, _) => namespaces(SIX | libc::CLONE_NEWNET, None)?,
                (Self::Box, _) => namespaces(SIX | libc::CLONE_NEWNET, Some(&dir))?,
                (Self::RoundTrip, Some(echo)) => echo.once()?,
                (Self::RoundTrip, None) => {}
            }
            if round >= WARM_UP {
                samples.push(began.elapsed().as_secs_f64() * 1e6);
            }
        }
        Ok(samples)
    }
}

/// A directory with a static binary that exits at once; removed when dropped.
struct Scratch {
    dir: PathBuf,
    binary: PathBuf,
}

impl Scratch {
    fn new() -> io::Result<Self> {
        let dir = std::env::temp_dir().join(format!("fn-floor-{}", std::process::id()));
        std::fs::create_dir(&dir)?;
        let binary = dir.join("exit");
        std::fs::write(&binary, static_exit())?;
        std::fs::set_permissions(&binary, std::fs::Permissions::from_mode(0o755))?;
        std::fs::create_dir(dir.join("root"))?;
        Ok(Self { dir, binary })
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // Left behind in the temporary directory, which somebody cleans.
        let _left = std::fs::remove_dir_all(&self.dir);
    }
}

fn exec(binary: &Path) -> io::Result<()> {
    #[expect(clippy::disallowed_methods, reason = "the start of a process is what is measured")]
    let status = Command::new(binary).env_clear().status()?;
    if status.success() {
        Ok(())
    } else {
        Err(io::Error::other(format!("the static binary ended with {status}")))
    }
}

fn namespaces(flags: i32, scratch: Option<&Scratch>) -> io::Result<()> {
    let (uid, gid) = (Uid::current(), Gid::current());
    match clone3(flags, None)? {
        Side::Parent { pid, .. } => match waitpid(Pid::from_raw(pid), None)? {
            nix::sys::wait::WaitStatus::Exited(_, 0) => Ok(()),
            other => Err(io::Error::other(format!("the child ended with {other:?}"))),
        },
        Side::Child => {
            let outcome = scratch.map_or(Ok(()), |scratch| boxed(scratch, uid, gid));
            std::process::exit(i32::from(outcome.is_err()))
        }
    }
}

/// The shortest way to a root of one's own: what any sandbox has to do.
fn boxed(scratch: &Scratch, uid: Uid, gid: Gid) -> Result<(), StageError> {
    std::fs::write("/proc/self/setgroups", "deny").at(Stage::IdMap)?;
    std::fs::write("/proc/self/uid_map", format!("0 {uid} 1")).at(Stage::IdMap)?;
    std::fs::write("/proc/self/gid_map", format!("0 {gid} 1")).at(Stage::IdMap)?;
    let program = std::fs::read(&scratch.binary).at(Stage::BaseRoot)?;
    mount(
        None::<&str>,
        "/",
        None::<&str>,
        MsFlags::MS_REC | MsFlags::MS_PRIVATE,
        None::<&str>,
    )
    .at(Stage::BaseRoot)?;
    let root = scratch.dir.join("root");
    mount(Some("tmpfs"), &root, Some("tmpfs"), MsFlags::empty(), None::<&str>).at(Stage::Tmpfs)?;
    for name in ["usr", "proc", "empty"] {
        std::fs::create_dir(root.join(name)).at(Stage::Tmpfs)?;
    }
    let inside = root.join("exit");
    std::fs::write(&inside, program).at(Stage::Tmpfs)?;
    std::fs::set_permissions(&inside, std::fs::Permissions::from_mode(0o755)).at(Stage::Tmpfs)?;
    let options = format!("lowerdir=/usr:{}", root.join("empty").display());
    mount(
        Some("overlay"),
        &root.join("usr"),
        Some("overlay"),
        MsFlags::MS_RDONLY,
        Some(options.as_str()),
    )
    .at(Stage::Layers)?;
    mount(
        Some("proc"),
        &root.join("proc"),
        Some("proc"),
        MsFlags::empty(),
        None::<&str>,
    )
    .at(Stage::Procfs)?;
    rootfs::enter(&root)?;
    let none: [CString; 0] = [];
    match execve(c"/exit", &[c"exit"], &none).at(Stage::Exec)? {}
}

/// A child that sends back what it gets.
struct Echo {
    ours: UnixStream,
    child: Pid,
}

impl Echo {
    fn start() -> io::Result<Self> {
        let (ours, mut theirs) = UnixStream::pair()?;
        match clone3(0, None)? {
            Side::Parent { pid, .. } => Ok(Self {
                ours,
                child: Pid::from_raw(pid),
            }),
            Side::Child => {
                drop(ours);
                let mut buffer = [0; 256];
                while theirs
                    .read_exact(&mut buffer)
                    .and_then(|()| theirs.write_all(&buffer))
                    .is_ok()
                {}
                std::process::exit(0)
            }
        }
    }

    fn once(&mut self) -> io::Result<()> {
        let mut buffer = [7; 256];
        self.ours.write_all(&buffer)?;
        self.ours.read_exact(&mut buffer)
    }
}

impl Drop for Echo {
    fn drop(&mut self) {
        let _ended = self.ours.shutdown(std::net::Shutdown::Both);
        let _reaped = waitpid(self.child, None);
    }
}

/// The smallest ELF program: one segment that asks the kernel to exit with 0.
fn static_exit() -> Vec<u8> {
    #[cfg(target_arch = "x86_64")]
    const CODE: &[u8] = &[0x31, 0xff, 0xb8, 0x3c, 0, 0, 0, 0x0f, 0x05]; // xor edi, edi; mov eax, 60; syscall
    #[cfg(target_arch = "aarch64")]
    const CODE: &[u8] = &[0, 0, 0x80, 0xd2, 0xa8, 0x0b, 0x80, 0xd2, 1, 0, 0, 0xd4]; // mov x0, 0; mov x8, 93; svc 0
    #[cfg(target_arch = "x86_64")]
    const MACHINE: u16 = 62;
    #[cfg(target_arch = "aarch64")]
    const MACHINE: u16 = 183;
    const BASE: u64 = 0x40_0000;
    const HEADERS: u64 = 64 + 56;
    let size = HEADERS + CODE.len() as u64;
    let mut elf = vec![0x7f, b'E', b'L', b'F', 2, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    let half = |elf: &mut Vec<u8>, values: &[u16]| values.iter().for_each(|v| elf.extend(v.to_le_bytes()));
    let word = |elf: &mut Vec<u8>, values: &[u32]| values.iter().for_each(|v| elf.extend(v.to_le_bytes()));
    let long = |elf: &mut Vec<u8>, values: &[u64]| values.iter().for_each(|v| elf.extend(v.to_le_bytes()));
    half(&mut elf, &[2, MACHINE]); // executable
    word(&mut elf, &[1]);
    long(&mut elf, &[BASE + HEADERS, 64, 0]); // entry, program headers, no section headers
    word(&mut elf, &[0]);
    half(&mut elf, &[64, 56, 1, 0, 0, 0]);
    word(&mut elf, &[1, 5]); // loadable, readable and executable
    long(&mut elf, &[0, BASE, BASE, size, size, 0x1000]);
    elf.extend(CODE);
    elf
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_static_binary_runs_and_exits_with_zero() {
        let scratch = Scratch::new().unwrap();
        exec(&scratch.binary).unwrap();
    }
}
