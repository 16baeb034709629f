//! What is there of others: processes, sockets and memory of the host and of other functions.

use std::ffi::CString;
use std::fs;
use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::UnixStream;
use std::time::Duration;

use crate::sys::{Arg, call};
use crate::{Attempts, Bait, Case};

use Arg::{Bytes, Int, Text};

/// The cases of this file.
pub(crate) const CASES: &[Case] = &[
    case("other-processes", other_processes),
    case("host-loopback", host_loopback),
    case("metadata-address", metadata_address),
    case("abstract-socket", abstract_socket),
    case("leave-for-a-neighbour", leave),
    case("left-by-a-neighbour", find),
];

const fn case(name: &'static str, run: fn(&Bait, &mut Attempts)) -> Case {
    Case { name, run }
}

/// How long to wait for somebody who does not answer.
const PATIENCE: Duration = Duration::from_secs(2);
/// Under which key, and under which name, the functions would meet.
const KEY: i64 = 0x66_6e_21;
const QUEUE: &str = "fn-probe";
const FILES: [(&str, &str); 2] = [("tmp", "/tmp/probe-left-this"), ("shm", "/dev/shm/probe-left-this")];

fn other_processes(_: &Bait, attempts: &mut Attempts) {
    let own = [1, std::os::unix::process::parent_id(), std::process::id()];
    attempts.look("list", move || {
        let child = std::process::id();
        let mut foreign = Vec::new();
        for entry in fs::read_dir("/proc")? {
            let Ok(pid) = entry?.file_name().to_string_lossy().parse::<u32>() else {
                continue;
            };
            if pid != child && !own.contains(&pid) {
                foreign.push(pid.to_string());
            }
        }
        Ok((foreign.is_empty(), foreign.join(" ")))
    });
}

fn host_loopback(bait: &Bait, attempts: &mut Attempts) {
    attempts.make("connect", || {
        connect(SocketAddr::from((Ipv4Addr::LOCALHOST, bait.port)))
    });
}

fn metadata_address(_: &Bait, attempts: &mut Attempts) {
    attempts.make("connect", || connect(SocketAddr::from(([169, 254, 169, 254], 80))));
    attempts.make("private-range", || connect(SocketAddr::from(([10, 0, 0, 1], 80))));
    attempts.make("public", || connect(SocketAddr::from(([192, 0, 2, 1], 80))));
}

fn connect(to: SocketAddr) -> crate::attempt::Answer {
    TcpStream::connect_timeout(&to, PATIENCE)?;
    Ok(to.to_string())
}

fn abstract_socket(bait: &Bait, attempts: &mut Attempts) {
    attempts.make("connect", || {
        let address = std::os::unix::net::SocketAddr::from_abstract_name(&bait.abstract_socket)?;
        UnixStream::connect_addr(&address)?;
        Ok(String::new())
    });
}

/// What the first function leaves behind in its sandbox.
fn leave(_: &Bait, attempts: &mut Attempts) {
    for (name, path) in FILES {
        attempts.make(name, || Ok(fs::write(path, "a secret").map(|()| String::new())?));
    }
    attempts.make("sysv-shm", || shm(libc::IPC_CREAT | 0o666));
    attempts.make("sysv-msg", || msg(libc::IPC_CREAT | 0o666));
    attempts.make("posix-mq", || queue(libc::O_CREAT | libc::O_RDWR));
}

/// The same names in another function's.
fn find(_: &Bait, attempts: &mut Attempts) {
    for (name, path) in FILES {
        attempts.make(name, || Ok(fs::read_to_string(path)?));
    }
    attempts.make("sysv-shm", || shm(0));
    attempts.make("sysv-msg", || msg(0));
    attempts.make("posix-mq", || queue(libc::O_RDWR));
}

fn shm(flags: i32) -> crate::attempt::Answer {
    Ok(call(libc::SYS_shmget, &mut [Int(KEY), Int(4096), Int(flags.into())])?.to_string())
}

fn msg(flags: i32) -> crate::attempt::Answer {
    Ok(call(libc::SYS_msgget, &mut [Int(KEY), Int(flags.into())])?.to_string())
}

fn queue(flags: i32) -> crate::attempt::Answer {
    let name = CString::new(QUEUE).map_err(io::Error::from)?;
    // `struct mq_attr`: one message of 64 bytes.
    let mut attributes = [0u8; 64];
    attributes[8] = 1;
    attributes[16] = 64;
    Ok(call(
        libc::SYS_mq_open,
        &mut [Text(&name), Int(flags.into()), Int(0o666), Bytes(&mut attributes)],
    )?
    .to_string())
}
