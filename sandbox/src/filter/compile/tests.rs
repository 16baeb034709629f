//! The program is judged by running it, in a small interpreter of classic BPF.

use std::collections::HashMap;

use super::*;
use crate::sighting::Watch;

fn run(program: &[Instruction], architecture: u32, number: u32, arguments: [u64; 6]) -> u32 {
    let mut data = [0u8; 64];
    data[0..4].copy_from_slice(&number.to_ne_bytes());
    data[4..8].copy_from_slice(&architecture.to_ne_bytes());
    for (index, value) in arguments.iter().enumerate() {
        data[16 + 8 * index..24 + 8 * index].copy_from_slice(&value.to_ne_bytes());
    }
    let mut accumulator = 0u32;
    let mut at = 0;
    loop {
        let instruction = program[at];
        at += 1;
        match instruction.code {
            LOAD => {
                let k = instruction.k as usize;
                accumulator = u32::from_ne_bytes(data[k..k + 4].try_into().unwrap());
            }
            AND => accumulator &= instruction.k,
            RETURN => return instruction.k,
            0x05 => at += instruction.k as usize,
            code => {
                let taken = match code {
                    EQUAL => accumulator == instruction.k,
                    AT_LEAST => accumulator >= instruction.k,
                    ANY_BIT => accumulator & instruction.k != 0,
                    other => panic!("unexpected instruction {other:#x}"),
                };
                at += usize::from(if taken { instruction.jt } else { instruction.jf });
            }
        }
    }
}

fn answer(number: libc::c_long, arguments: [u64; 6]) -> u32 {
    run(&program(Subject::Foreign), ARCHITECTURE, number as u32, arguments)
}

const fn refused(errno: i32) -> u32 {
    ERRNO | errno as u32
}

#[test]
fn every_number_gets_the_answer_of_the_table_and_all_others_enosys() {
    for subject in [
        Subject::Foreign,
        Subject::Worker(Watch::default()),
        Subject::Worker(Watch {
            exec: true,
            connect: true,
            refused: true,
        }),
        Subject::Watcher,
    ] {
        let program = program(subject);
        let table: HashMap<u32, Answer> = rows(subject)
            .into_iter()
            .map(|((_, n), answer)| (n as u32, answer))
            .collect();
        for number in (0..1200).chain([X32_BIT - 1]) {
            let got = run(&program, ARCHITECTURE, number, [0; 6]);
            match table.get(&number) {
                Some(Answer::Allow) => assert_eq!(got, ALLOW, "{number}"),
                Some(Answer::Refuse(errno)) => assert_eq!(got, refused(*errno), "{number}"),
                Some(Answer::Tell) => assert_eq!(got, libc::SECCOMP_RET_USER_NOTIF, "{number}"),
                Some(Answer::When(_)) => {}
                None => assert_eq!(got, refused(libc::ENOSYS), "{number}"),
            }
        }
    }
}

#[test]
fn foreign_architectures_and_x32_are_killed() {
    let program = program(Subject::Foreign);
    assert_eq!(run(&program, 0x4000_0003, 1, [0; 6]), KILL);
    assert_eq!(run(&program, ARCHITECTURE, X32_BIT, [0; 6]), KILL);
    assert_eq!(run(&program, ARCHITECTURE, X32_BIT | 1, [0; 6]), KILL);
    assert_eq!(run(&program, ARCHITECTURE, u32::MAX, [0; 6]), KILL);
}

#[test]
fn clone_makes_threads_and_processes_but_no_namespaces() {
    assert_eq!(answer(libc::SYS_clone, [libc::SIGCHLD as u64, 0, 0, 0, 0, 0]), ALLOW);
    assert_eq!(answer(libc::SYS_clone, [0x003d_0f00, 0, 0, 0, 0, 0]), ALLOW);
    for flag in [
        libc::CLONE_NEWUSER,
        libc::CLONE_NEWNS,
        libc::CLONE_NEWNET,
        libc::CLONE_NEWPID,
        libc::CLONE_NEWCGROUP,
    ] {
        assert_eq!(
            answer(libc::SYS_clone, [flag as u64, 0, 0, 0, 0, 0]),
            refused(libc::EPERM)
        );
    }
    assert_eq!(answer(libc::SYS_clone3, [0; 6]), refused(libc::ENOSYS));
    assert_eq!(answer(libc::SYS_unshare, [0; 6]), refused(libc::EPERM));
}

#[test]
fn sockets_of_ordinary_families_only() {
    let socket = |family: i32, kind: i32| answer(libc::SYS_socket, [family as u64, kind as u64, 0, 0, 0, 0]);
    assert_eq!(socket(libc::AF_UNIX, libc::SOCK_SEQPACKET), ALLOW);
    assert_eq!(socket(libc::AF_INET, libc::SOCK_STREAM | libc::SOCK_CLOEXEC), ALLOW);
    assert_eq!(socket(libc::AF_INET6, libc::SOCK_DGRAM | libc::SOCK_NONBLOCK), ALLOW);
    assert_eq!(socket(libc::AF_INET, libc::SOCK_RAW), refused(libc::EPERM));
    let protocol = |number: i32| answer(libc::SYS_socket, [libc::AF_INET as u64, 1, number as u64, 0, 0, 0]);
    assert_eq!(protocol(libc::IPPROTO_TCP), ALLOW);
    assert_eq!(protocol(libc::IPPROTO_UDP), ALLOW);
    for number in [libc::IPPROTO_SCTP, libc::IPPROTO_MPTCP, libc::IPPROTO_UDPLITE] {
        assert_eq!(protocol(number), refused(libc::EPROTONOSUPPORT));
    }
    for family in [
        libc::AF_NETLINK,
        libc::AF_PACKET,
        libc::AF_VSOCK,
        libc::AF_ALG,
        libc::AF_KEY,
        libc::AF_XDP,
    ] {
        assert_eq!(socket(family, libc::SOCK_RAW), refused(libc::EAFNOSUPPORT));
    }
}

#[test]
fn arguments_are_compared_in_their_lower_half_as_the_kernel_does() {
    let high = 1u64 << 32;
    let ioctl = |command: u64| answer(libc::SYS_ioctl, [0, command, 0, 0, 0, 0]);
    assert_eq!(ioctl(libc::TIOCSTI), refused(libc::EPERM));
    assert_eq!(ioctl(libc::TIOCSTI | high), refused(libc::EPERM));
    assert_eq!(ioctl(libc::TIOCLINUX | high), refused(libc::EPERM));
    assert_eq!(ioctl(libc::TIOCGWINSZ), ALLOW);
    let fcntl = |command: i32| answer(libc::SYS_fcntl, [0, command as u64 | high, 0, 0, 0, 0]);
    assert_eq!(fcntl(libc::F_SETPIPE_SZ), refused(libc::EPERM));
    assert_eq!(fcntl(libc::F_SETFL), ALLOW);
}

#[test]
fn prctl_and_personality_by_list() {
    let prctl = |option: i32| answer(libc::SYS_prctl, [option as u64, 0, 0, 0, 0, 0]);
    assert_eq!(prctl(libc::PR_SET_NAME), ALLOW);
    assert_eq!(prctl(libc::PR_SET_VMA), ALLOW);
    assert_eq!(prctl(libc::PR_SET_MM), refused(libc::EPERM));
    assert_eq!(prctl(libc::PR_SET_SECCOMP), refused(libc::EPERM));
    let personality = |value: u64| answer(libc::SYS_personality, [value, 0, 0, 0, 0, 0]);
    assert_eq!(personality(0), ALLOW);
    assert_eq!(personality(0xffff_ffff), ALLOW);
    assert_eq!(personality(0x0004_0000), refused(libc::EPERM));
}

#[test]
fn the_limit_of_core_dumps_can_be_asked_for_and_not_changed() {
    let core = u64::from(libc::RLIMIT_CORE);
    let set = |resource: u64| answer(libc::SYS_setrlimit, [resource, 1, 0, 0, 0, 0]);
    assert_eq!(
        (set(core), set(core | 1 << 32), set(7)),
        (NOTHING_DONE, NOTHING_DONE, ALLOW)
    );
    let call = |resource: u64, new: u64, old: u64| answer(libc::SYS_prlimit64, [0, resource, new, old, 0, 0]);
    assert_eq!(call(core, 0, 1), ALLOW);
    for pointer in [1, 1 << 32] {
        assert_eq!(call(core, pointer, 0), NOTHING_DONE);
        assert_eq!(call(core, pointer, pointer), refused(libc::EPERM));
        assert_eq!(call(7, pointer, pointer), ALLOW);
    }
}

#[test]
fn huge_pages_are_refused() {
    let mmap = |flags: i32| answer(libc::SYS_mmap, [0, 4096, 3, flags as u64, 0, 0]);
    assert_eq!(mmap(libc::MAP_PRIVATE | libc::MAP_ANONYMOUS), ALLOW);
    assert_eq!(mmap(libc::MAP_PRIVATE | libc::MAP_HUGETLB), refused(libc::EPERM));
    let memfd = |flags: u32| answer(libc::SYS_memfd_create, [0, u64::from(flags), 0, 0, 0, 0]);
    assert_eq!(memfd(libc::MFD_CLOEXEC), ALLOW);
    assert_eq!(memfd(libc::MFD_HUGETLB | libc::MFD_HUGE_2MB), refused(libc::EPERM));
    let shmget = |flags: i32| answer(libc::SYS_shmget, [0, 4096, flags as u64, 0, 0, 0]);
    assert_eq!(shmget(libc::IPC_CREAT | 0o600), ALLOW);
    assert_eq!(shmget(libc::SHM_HUGETLB | 0o600), refused(libc::EPERM));
}

#[test]
fn the_program_stays_short() {
    let length = program(Subject::Worker(Watch::default())).len();
    assert!(length < 400, "{length} instructions: attaching costs by length");
}

#[test]
fn a_template_enters_what_was_built_for_it_and_no_user_namespace() {
    let template = program(Subject::Template(Watch::default()));
    let ask = |number: libc::c_long, arguments| run(&template, ARCHITECTURE, number as u32, arguments);
    for flag in ENTERED {
        assert_eq!(ask(libc::SYS_setns, [5, *flag as u64, 0, 0, 0, 0]), ALLOW);
    }
    for flags in [0, libc::CLONE_NEWUSER, libc::CLONE_NEWPID | libc::CLONE_NEWUSER, 0x80] {
        assert_eq!(
            ask(libc::SYS_setns, [5, flags as u64, 0, 0, 0, 0]),
            refused(libc::EPERM)
        );
    }
    assert_eq!(ask(libc::SYS_clone3, [0; 6]), ALLOW);
    assert_eq!(ask(libc::SYS_unshare, [0; 6]), refused(libc::EPERM));
    assert_eq!(ask(libc::SYS_umount2, [0; 6]), refused(libc::EPERM));
}

#[test]
fn the_second_program_takes_these_back_and_touches_nothing_else() {
    let bytes = given_up();
    let second: Vec<Instruction> = bytes
        .chunks_exact(8)
        .map(|b| Instruction {
            code: u16::from_ne_bytes([b[0], b[1]]),
            jt: b[2],
            jf: b[3],
            k: u32::from_ne_bytes([b[4], b[5], b[6], b[7]]),
        })
        .collect();
    for number in 0..1200 {
        let got = run(&second, ARCHITECTURE, number, [0; 6]);
        let given_up = GIVEN_UP.iter().find(|((_, own), _)| *own as u32 == number);
        assert_eq!(got, given_up.map_or(ALLOW, |(_, errno)| refused(*errno)), "{number}");
    }
    assert_eq!(run(&second, 0x4000_0003, 0, [0; 6]), KILL);
}

#[test]
fn denied_groups_leave_threads_and_unix_sockets() {
    let denied = ["group:process", "group:inet"].map(|name| name.parse().unwrap());
    for subject in [Subject::Foreign, Subject::Template(Watch::default())] {
        let program = program_denying(subject, &denied);
        let ask = |number: libc::c_long, first: i32| {
            run(&program, ARCHITECTURE, number as u32, [first as u64, 1, 0, 0, 0, 0])
        };
        assert_eq!(ask(libc::SYS_clone, 0x003d_0f00), ALLOW);
        for flags in [libc::SIGCHLD, libc::CLONE_VM, libc::CLONE_THREAD | libc::CLONE_NEWUSER] {
            assert_eq!(ask(libc::SYS_clone, flags), refused(libc::EPERM), "{flags:#x}");
        }
        for call in [libc::SYS_socket, libc::SYS_socketpair] {
            assert_eq!(ask(call, libc::AF_UNIX), ALLOW);
            for family in [libc::AF_INET, libc::AF_INET6, libc::AF_NETLINK, libc::AF_PACKET] {
                assert_eq!(ask(call, family), refused(libc::EAFNOSUPPORT), "{family}");
            }
        }
    }
}
