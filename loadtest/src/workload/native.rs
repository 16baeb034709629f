//! The smallest static executable: ELF headers, a few instructions, an answer. No compiler is needed to have it.

/// What it writes.
pub(super) const ANSWER: &[u8] = b"Hello, world!\n";

const BASE: u64 = 0x40_0000;
const HEADERS: u64 = 64 + 56;

/// The file; it waits for `hold` seconds when that is given, writes `answer` and exits with 0. `None` on a processor that
/// it was not written for.
pub(super) fn program(hold: Option<u64>, answer: &[u8]) -> Option<Vec<u8>> {
    cfg!(target_arch = "x86_64").then(|| elf(&x86_64(hold, answer)))
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
}
