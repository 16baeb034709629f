//! From the policy to classic BPF.
//!
//! The number is found by binary search over ranges of equal answers, so that a call costs some eight comparisons and
//! the program stays short: attaching costs by length.

use super::denial::Denial;
use super::policy::{Answer, Call, Condition, ENTERED, GIVEN_UP, PRCTL_OPTIONS, Subject, denying, rows};
use crate::sys::seccomp::Instruction;

const LOAD: u16 = 0x20; // BPF_LD | BPF_W | BPF_ABS
const EQUAL: u16 = 0x15; // BPF_JMP | BPF_JEQ | BPF_K
const AT_LEAST: u16 = 0x35; // BPF_JMP | BPF_JGE | BPF_K
const ANY_BIT: u16 = 0x45; // BPF_JMP | BPF_JSET | BPF_K
const AND: u16 = 0x54; // BPF_ALU | BPF_AND | BPF_K
const RETURN: u16 = 0x06; // BPF_RET | BPF_K

const KILL: u32 = 0x8000_0000;
const ALLOW: u32 = 0x7fff_0000;
const ERRNO: u32 = 0x0005_0000;
const TELL: u32 = 0x7fc0_0000;

/// The call is not made, and answers 0.
const NOTHING_DONE: u32 = ERRNO;

const NUMBER_AT: u32 = 0;
const ARCHITECTURE_AT: u32 = 4;
#[cfg(target_arch = "x86_64")]
const ARCHITECTURE: u32 = 0xc000_003e;
#[cfg(target_arch = "aarch64")]
const ARCHITECTURE: u32 = 0xc000_00b7;
/// Numbers with this bit are calls of the x32 ABI, which nobody uses and which would pass by every number above.
const X32_BIT: u32 = 0x4000_0000;

const NAMESPACE_FLAGS: u32 = (libc::CLONE_NEWNS
    | libc::CLONE_NEWCGROUP
    | libc::CLONE_NEWUTS
    | libc::CLONE_NEWIPC
    | libc::CLONE_NEWUSER
    | libc::CLONE_NEWPID
    | libc::CLONE_NEWNET) as u32
    | 0x80; // CLONE_NEWTIME

/// The program for the policy of this build.
pub(crate) fn program(subject: Subject) -> Vec<Instruction> {
    compiled(rows(subject))
}

/// The same without what `denied` takes away.
pub(crate) fn program_denying(subject: Subject, denied: &[Denial]) -> Vec<Instruction> {
    compiled(denying(subject, denied))
}

fn compiled(rows: Vec<(Call, Answer)>) -> Vec<Instruction> {
    let mut out = checked_number();
    out.extend(search(&ranges(rows)));
    out
}

/// The program that a fork of a template adds, as the kernel reads it: the template attaches it, which is not our code.
pub fn given_up() -> Vec<u8> {
    let mut out = checked_number();
    for ((_, number), errno) in GIVEN_UP {
        out.push(jump(EQUAL, *number as u32, 0, 1));
        out.push(give(ERRNO | *errno as u32));
    }
    out.push(give(ALLOW));
    out.iter()
        .flat_map(|Instruction { code, jt, jf, k }| {
            let [code_low, code_high] = code.to_ne_bytes();
            let [a, b, c, d] = k.to_ne_bytes();
            [code_low, code_high, *jt, *jf, a, b, c, d]
        })
        .collect()
}

/// Loads the number of the call; foreign architectures and x32 end here.
fn checked_number() -> Vec<Instruction> {
    vec![
        load(ARCHITECTURE_AT),
        jump(EQUAL, ARCHITECTURE, 1, 0),
        give(KILL),
        load(NUMBER_AT),
        jump(AT_LEAST, X32_BIT, 0, 1),
        give(KILL),
    ]
}

/// From this number on (to the start of the next range) the answer is this.
fn ranges(rows: Vec<(Call, Answer)>) -> Vec<(u32, Answer)> {
    const UNKNOWN: Answer = Answer::Refuse(libc::ENOSYS);
    let mut ranges: Vec<(u32, Answer)> = vec![(0, UNKNOWN)];
    let mut next = 0;
    let mut push = |from: u32, answer: Answer| match ranges.last_mut() {
        Some(last) if last.0 == from => last.1 = answer,
        Some(last) if last.1 == answer => {}
        _ => ranges.push((from, answer)),
    };
    for ((_, number), answer) in rows {
        let number = number as u32;
        if number > next {
            push(next, UNKNOWN);
        }
        push(number, answer);
        next = number + 1;
    }
    push(next, UNKNOWN);
    ranges
}

/// The instructions that answer for a number known to lie within `ranges`; every path returns.
fn search(ranges: &[(u32, Answer)]) -> Vec<Instruction> {
    if let [(_, answer)] = ranges {
        return leaf(*answer);
    }
    let (below, above) = ranges.split_at(ranges.len() / 2);
    let left = search(below);
    let right = search(above);
    let mut out = Vec::with_capacity(left.len() + right.len() + 2);
    match u8::try_from(left.len()) {
        Ok(distance) => out.push(jump(AT_LEAST, above[0].0, distance, 0)),
        // Conditional jumps reach 255 instructions; an unconditional one goes on from there.
        Err(_) => {
            out.push(jump(AT_LEAST, above[0].0, 0, 1));
            out.push(Instruction {
                code: 0x05,
                jt: 0,
                jf: 0,
                k: left.len() as u32,
            });
        }
    }
    out.extend(left);
    out.extend(right);
    out
}

fn leaf(answer: Answer) -> Vec<Instruction> {
    match answer {
        Answer::Allow => vec![give(ALLOW)],
        Answer::Refuse(errno) => vec![give(ERRNO | errno as u32)],
        Answer::Tell => vec![give(TELL)],
        Answer::When(condition) => conditional(condition),
    }
}

fn conditional(condition: Condition) -> Vec<Instruction> {
    let refused = give(ERRNO | libc::EPERM as u32);
    match condition {
        Condition::CloneWithoutNamespaces => {
            vec![
                load(argument(0)),
                jump(ANY_BIT, NAMESPACE_FLAGS, 1, 0),
                give(ALLOW),
                refused,
            ]
        }
        Condition::CloneThread => {
            vec![
                load(argument(0)),
                jump(ANY_BIT, NAMESPACE_FLAGS, 2, 0),
                jump(ANY_BIT, libc::CLONE_THREAD as u32, 0, 1),
                give(ALLOW),
                refused,
            ]
        }
        Condition::UnixSocket => vec![
            load(argument(0)),
            jump(EQUAL, libc::AF_UNIX as u32, 0, 1),
            give(ALLOW),
            give(ERRNO | libc::EAFNOSUPPORT as u32),
        ],
        Condition::OrdinarySocket => vec![
            load(argument(0)),
            jump(EQUAL, libc::AF_UNIX as u32, 3, 0),
            jump(EQUAL, libc::AF_INET as u32, 3, 0),
            jump(EQUAL, libc::AF_INET6 as u32, 2, 0),
            give(ERRNO | libc::EAFNOSUPPORT as u32),
            give(ALLOW),
            load(argument(1)),
            Instruction {
                code: AND,
                jt: 0,
                jf: 0,
                k: 0xf,
            },
            jump(EQUAL, libc::SOCK_STREAM as u32, 2, 0),
            jump(EQUAL, libc::SOCK_DGRAM as u32, 1, 0),
            refused,
            load(argument(2)),
            jump(EQUAL, 0, 3, 0),
            jump(EQUAL, libc::IPPROTO_TCP as u32, 2, 0),
            jump(EQUAL, libc::IPPROTO_UDP as u32, 1, 0),
            give(ERRNO | libc::EPROTONOSUPPORT as u32),
            give(ALLOW),
        ],
        Condition::Without { argument: index, bits } => {
            vec![load(argument(index)), jump(ANY_BIT, bits, 1, 0), give(ALLOW), refused]
        }
        Condition::KeepsCoreLimit => vec![
            load(argument(0)),
            jump(EQUAL, libc::RLIMIT_CORE, 1, 0),
            give(ALLOW),
            give(NOTHING_DONE),
        ],
        Condition::KeepsCoreLimitOrAsks => vec![
            load(argument(1)),
            jump(EQUAL, libc::RLIMIT_CORE, 1, 0),
            give(ALLOW),
            // Without a new value it only asks.
            load(argument(2)),
            jump(EQUAL, 0, 0, 3),
            load(upper_half(2)),
            jump(EQUAL, 0, 0, 1),
            give(ALLOW),
            load(argument(3)),
            jump(EQUAL, 0, 0, 3),
            load(upper_half(3)),
            jump(EQUAL, 0, 0, 1),
            give(NOTHING_DONE),
            refused,
        ],
        Condition::HarmlessIoctl => vec![
            load(argument(1)),
            jump(EQUAL, libc::TIOCSTI as u32, 2, 0),
            jump(EQUAL, libc::TIOCLINUX as u32, 1, 0),
            give(ALLOW),
            refused,
        ],
        Condition::HarmlessFcntl => {
            vec![
                load(argument(1)),
                jump(EQUAL, libc::F_SETPIPE_SZ as u32, 1, 0),
                give(ALLOW),
                refused,
            ]
        }
        Condition::KnownPrctl => one_of(0, PRCTL_OPTIONS.iter().map(|(_, option)| *option as u32)),
        Condition::DefaultPersonality => one_of(0, [0, u32::MAX].into_iter()),
        Condition::EnterBuiltNamespaces => one_of(1, ENTERED.iter().map(|flag| *flag as u32)),
    }
}

/// Allows the call when the argument is one of `values`, else `EPERM`.
fn one_of(index: u32, values: impl ExactSizeIterator<Item = u32>) -> Vec<Instruction> {
    let count = values.len();
    let mut out = vec![load(argument(index))];
    for (position, value) in values.enumerate() {
        out.push(jump(EQUAL, value, (count - position) as u8, 0));
    }
    out.push(give(ERRNO | libc::EPERM as u32));
    out.push(give(ALLOW));
    out
}

/// Offset of the lower half of an argument in `struct seccomp_data`.
const fn argument(index: u32) -> u32 {
    16 + 8 * index + if cfg!(target_endian = "big") { 4 } else { 0 }
}

/// Offset of the other half.
const fn upper_half(index: u32) -> u32 {
    16 + 8 * index + if cfg!(target_endian = "big") { 0 } else { 4 }
}

const fn load(offset: u32) -> Instruction {
    Instruction {
        code: LOAD,
        jt: 0,
        jf: 0,
        k: offset,
    }
}

const fn jump(code: u16, k: u32, jt: u8, jf: u8) -> Instruction {
    Instruction { code, jt, jf, k }
}

const fn give(value: u32) -> Instruction {
    Instruction {
        code: RETURN,
        jt: 0,
        jf: 0,
        k: value,
    }
}

#[cfg(test)]
mod tests;
