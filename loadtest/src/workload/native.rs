//! The smallest static executables: ELF headers, a few instructions, an answer. No compiler is needed to have them.

/// What it writes.
pub(super) const ANSWER: &[u8] = b"Hello, world!\n";

/// Where the server listens.
pub(super) const PORT: u16 = 8080;

const BASE: u64 = 0x40_0000;
const HEADERS: u64 = 64 + 56;

/// The file; it waits for `hold` seconds when that is given, writes `answer` and exits with 0. `None` on a processor that
/// it was not written for.
pub(super) fn program(hold: Option<u64>, answer: &[u8]) -> Option<Vec<u8>> {
    cfg!(target_arch = "x86_64").then(|| elf(&x86_64(hold, answer)))
}

/// The file of an HTTP server on [`PORT`], which answers [`ANSWER`] to whatever is written to it at once, on one connection
/// after the other. `None` on a processor that it was not written for.
///
/// A request must arrive in one piece, as short ones do. This is the least that a resident function can cost.
pub(super) fn server() -> Option<Vec<u8>> {
    let length = ANSWER.len();
    let mut reply = format!("HTTP/1.1 200 OK\r\ncontent-length: {length}\r\n\r\n").into_bytes();
    reply.extend(ANSWER);
    cfg!(target_arch = "x86_64").then(|| elf(&x86_64_server(&reply)))
}

/// The instructions and, behind them, their data.
fn x86_64(hold: Option<u64>, answer: &[u8]) -> Vec<u8> {
    const WAIT: usize = 16;
    const WRITE: usize = 21;
    const EXIT: usize = 9;
    let code = if hold.is_some() { WAIT } else { 0 } + WRITE + EXIT;
    let relative = |to: usize, next: usize| u32::try_from(to - next).expect("the file is small").to_le_bytes();
    let mut program = Vec::new();
    if hold.is_some() {
        program.extend([0xb8, 35, 0, 0, 0]); // mov eax, nanosleep
        program.extend([0x48, 0x8d, 0x3d]); // lea rdi, [rip + the time behind the answer]
        program.extend(relative(code + answer.len(), program.len() + 4));
        program.extend([0x31, 0xf6]); // xor esi, esi
        program.extend([0x0f, 0x05]); // syscall
    }
    program.extend([0xb8, 1, 0, 0, 0]); // mov eax, write
    program.extend([0x89, 0xc7]); // mov edi, eax
    program.extend([0x48, 0x8d, 0x35]); // lea rsi, [rip + the answer]
    program.extend(relative(code, program.len() + 4));
    program.push(0xba); // mov edx, the length of the answer
    program.extend(u32::try_from(answer.len()).expect("the answer is small").to_le_bytes());
    program.extend([0x0f, 0x05]); // syscall
    program.extend([0x31, 0xff, 0xb8, 60, 0, 0, 0, 0x0f, 0x05]); // xor edi, edi; mov eax, exit; syscall
    assert_eq!(program.len(), code, "the offsets above count these bytes");
    program.extend(answer);
    for part in [hold.unwrap_or(0), 0] {
        program.extend(part.to_le_bytes());
    }
    program
}

/// The instructions of the server, then its address, then `reply`. A call of the kernel that fails shows in a port that
/// nobody listens on, which the platform tells.
fn x86_64_server(reply: &[u8]) -> Vec<u8> {
    const BACKLOG: u8 = 16;
    const ROOM: u32 = 4096;
    const SYSCALL: [u8; 2] = [0x0f, 0x05];
    /// Where the instructions end: the assertion below holds it to the truth.
    const CODE: usize = 136;
    // sockaddr_in for any address, and unused bytes.
    let mut address = vec![2, 0];
    address.extend(PORT.to_be_bytes());
    address.resize(16, 0);

    let mut program = Vec::new();
    let number = |program: &mut Vec<u8>, call: u32| {
        program.push(0xb8); // mov eax, the number of the call
        program.extend(call.to_le_bytes());
    };
    let data = |program: &mut Vec<u8>, at: usize| {
        program.extend([0x48, 0x8d, 0x35]); // lea rsi, [rip + what stands there]
        let next = program.len() + 4;
        program.extend(u32::try_from(at - next).expect("the file is small").to_le_bytes());
    };
    let length = |program: &mut Vec<u8>, bytes: u32| {
        program.push(0xba); // mov edx, bytes
        program.extend(bytes.to_le_bytes());
    };
    let back = |program: &mut Vec<u8>, to: usize| {
        let distance = i32::try_from(to).and_then(|to| Ok(to - i32::try_from(program.len() + 5)?));
        program.push(0xe9); // jmp back
        program.extend(distance.expect("the file is small").to_le_bytes());
    };

    program.extend([0x48, 0x81, 0xec]); // sub rsp, room for a request
    program.extend(ROOM.to_le_bytes());
    number(&mut program, 41); // socket
    program.extend([0xbf, 2, 0, 0, 0, 0xbe, 1, 0, 0, 0, 0x31, 0xd2]); // mov edi, AF_INET; mov esi, SOCK_STREAM; xor edx, edx
    program.extend(SYSCALL);
    program.extend([0x89, 0xc3]); // mov ebx, eax
    number(&mut program, 49); // bind
    program.extend([0x89, 0xdf]); // mov edi, ebx
    data(&mut program, CODE);
    length(&mut program, 16);
    program.extend(SYSCALL);
    number(&mut program, 50); // listen
    program.extend([0x89, 0xdf, 0xbe, BACKLOG, 0, 0, 0]); // mov edi, ebx; mov esi, backlog
    program.extend(SYSCALL);

    let next = program.len();
    number(&mut program, 43); // accept
    program.extend([0x89, 0xdf, 0x31, 0xf6, 0x31, 0xd2]); // mov edi, ebx; xor esi, esi; xor edx, edx
    program.extend(SYSCALL);
    program.extend([0x89, 0xc5]); // mov ebp, eax

    let again = program.len();
    program.extend([0x31, 0xc0, 0x89, 0xef, 0x48, 0x89, 0xe6]); // xor eax, eax (read); mov edi, ebp; mov rsi, rsp
    length(&mut program, ROOM);
    program.extend(SYSCALL);
    program.extend([0x85, 0xc0]); // test eax, eax
    program.extend([0x7e, 26]); // jle over the write and the jump
    let written = program.len();
    number(&mut program, 1); // write
    program.extend([0x89, 0xef]); // mov edi, ebp
    data(&mut program, CODE + address.len());
    length(&mut program, u32::try_from(reply.len()).expect("the reply is short"));
    program.extend(SYSCALL);
    back(&mut program, again);
    assert_eq!(program.len() - written, 26, "the jump above goes over these bytes");

    number(&mut program, 3); // close
    program.extend([0x89, 0xef]); // mov edi, ebp
    program.extend(SYSCALL);
    back(&mut program, next);
    assert_eq!(program.len(), CODE, "the offsets above count these bytes");
    program.extend(address);
    program.extend(reply);
    program
}

/// One segment that is read and executed, entered at its first byte behind the headers (elf(5)).
fn elf(program: &[u8]) -> Vec<u8> {
    const MACHINE: u16 = 62;
    let size = HEADERS + program.len() as u64;
    let mut file = vec![0x7f, b'E', b'L', b'F', 2, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    let half = |file: &mut Vec<u8>, values: &[u16]| values.iter().for_each(|v| file.extend(v.to_le_bytes()));
    let word = |file: &mut Vec<u8>, values: &[u32]| values.iter().for_each(|v| file.extend(v.to_le_bytes()));
    let long = |file: &mut Vec<u8>, values: &[u64]| values.iter().for_each(|v| file.extend(v.to_le_bytes()));
    half(&mut file, &[2, MACHINE]);
    word(&mut file, &[1]);
    long(&mut file, &[BASE + HEADERS, 64, 0]);
    word(&mut file, &[0]);
    half(&mut file, &[64, 56, 1, 0, 0, 0]);
    word(&mut file, &[1, 5]);
    long(&mut file, &[0, BASE, BASE, size, size, 0x1000]);
    file.extend(program);
    file
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;
    use std::time::Duration;

    use super::*;
    use crate::child::{self, ChildError};

    async fn output(file: &[u8]) -> Result<String, ChildError> {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("program");
        std::fs::write(&path, file).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
        loop {
            // A child that another test started meanwhile may hold the file open for writing until it execs.
            match child::output_of::<&str>(&path, &[], Duration::from_secs(60)).await {
                Err(ChildError::Start { source, .. }) if source.kind() == std::io::ErrorKind::ExecutableFileBusy => {}
                other => return other,
            }
        }
    }

    #[tokio::test]
    async fn the_kernel_runs_it() {
        if program(None, ANSWER).is_none() {
            return;
        }
        assert_eq!(
            output(&program(None, ANSWER).unwrap()).await.unwrap(),
            "Hello, world!\n"
        );
        assert_eq!(output(&program(None, b"").unwrap()).await.unwrap(), "");
        assert_eq!(output(&program(Some(0), b"held").unwrap()).await.unwrap(), "held");
    }

    #[tokio::test]
    #[expect(
        clippy::disallowed_methods,
        reason = "the program is made here and inherits nothing that matters"
    )]
    async fn the_server_answers_one_connection_after_the_other() {
        use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

        let Some(file) = server() else { return };
        // Its port may be taken on this machine, so it gets one of the kernel's; there the address lies before the reply.
        let port = {
            let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
            free.local_addr().unwrap().port()
        };
        let address = |port: u16| [&[2, 0], &port.to_be_bytes()[..]].concat();
        let at = file.windows(4).position(|four| four == address(PORT)).unwrap();
        let mut file = file;
        file[at..at + 4].copy_from_slice(&address(port));
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("server");
        std::fs::write(&path, &file).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
        let mut server = loop {
            match tokio::process::Command::new(&path).kill_on_drop(true).spawn() {
                Err(error) if error.kind() == std::io::ErrorKind::ExecutableFileBusy => {}
                other => break other.unwrap(),
            }
        };
        for _connection in 0..2 {
            let mut stream = loop {
                match tokio::net::TcpStream::connect(("127.0.0.1", port)).await {
                    Ok(stream) => break stream,
                    Err(_) => assert_eq!(server.try_wait().unwrap(), None, "it has ended"),
                }
            };
            for _call in 0..2 {
                stream.write_all(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
                let expected = b"HTTP/1.1 200 OK\r\ncontent-length: 14\r\n\r\nHello, world!\n";
                let mut reply = [0; 53];
                stream.read_exact(&mut reply).await.unwrap();
                assert_eq!(&reply[..], expected);
            }
        }
        server.kill().await.unwrap();
    }
}
