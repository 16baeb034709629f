//! The stdio resident.

use bytes::Bytes;
use functions::wire::{HostFrame, InstanceFrame};

use crate::host::{Instance, serve_stdin, wait_until_gone};

fn shell(script: &str) -> Instance {
    let mut instance = Instance::stdio(&format!("#!/bin/sh\n{script}\n"), 1);
    instance.ready();
    instance
}

/// Calls with a body and gives the reply's.
fn echo(instance: &mut Instance, body: &[u8]) -> Vec<u8> {
    instance.send_bytes(0, body);
    instance.answer(0).streamed().1
}

#[test]
fn a_program_runs_anew_for_each_call() {
    let mut instance = shell("read -r line; echo \"$GREETING $line $PPID\"");
    let first = echo(&mut instance, b"one\n");
    let second = echo(&mut instance, b"two\n");
    assert!(first.starts_with(b"hello one") && second.starts_with(b"hello two"));
    assert_eq!(instance.close(), Some(0));
}

#[test]
fn a_request_is_in_the_environment_and_nothing_else() {
    let mut instance = shell("env | sort");
    instance.send_call(0, &[("REQUEST_METHOD", "PUT"), ("HTTP_X_A", "a b\nc")], b"");
    let answer = instance.answer(0);
    let text = String::from_utf8(answer.streamed().1).unwrap();
    for line in [
        "REQUEST_METHOD=PUT",
        "HTTP_X_A=a b",
        "GREETING=hello",
        "FN_REQUEST_ID=req-1",
        "_X_AMZN_TRACE_ID=Root=1-2",
    ] {
        assert!(text.lines().any(|other| other == line), "{line} in {text}");
    }
    assert!(!text.contains("CARGO"), "{text}");
}

#[test]
fn the_variables_of_a_classic_watchdog_change_what_passes() {
    let script = "#!/bin/sh\necho out\necho err >&2\nenv | grep -c ^REQUEST_METHOD\ntrue\n";
    let env = [
        ("content_type", "text/plain"),
        ("combine_output", "true"),
        ("cgi_headers", "false"),
    ];
    let mut instance = Instance::stdio_with(&[("handler", script)], &["./handler"], 1, &env);
    instance.ready();
    instance.send_call(0, &[("REQUEST_METHOD", "PUT")], b"");
    let answer = instance.answer(0);
    let (head, body) = answer.streamed();
    assert_eq!(
        (head.headers.len(), &head.headers["content-type"]),
        (1, &"text/plain".parse().unwrap())
    );
    assert_eq!(String::from_utf8(body).unwrap(), "out\nerr\n0\n");
    // Both ends of the pipe end with the program: a second call is answered as well.
    instance.send_call(0, &[], b"");
    assert_eq!(instance.answer(0).streamed().1, b"out\nerr\n0\n");
    assert_eq!(instance.close(), Some(0));
}

#[test]
fn an_empty_reply_is_a_reply() {
    let mut instance = shell("exit 0");
    assert_eq!(echo(&mut instance, b""), b"");
    assert_eq!(echo(&mut instance, b"unread"), b"");
}

#[test]
fn megabytes_stream_through_with_both_pipes_full() {
    let mut instance = shell("cat");
    let body: Vec<u8> = (0..20_000_000u32).map(|n| (n % 251) as u8).collect();
    for _ in 0..2 {
        instance.begin(0);
        let pouring = instance.pour(0, body.clone());
        let answer = instance.answer(0);
        pouring.join().unwrap().unwrap();
        assert!(answer.streamed().1 == body);
    }
}

#[test]
fn output_comes_while_the_request_is_still_open() {
    let mut instance = shell("while read -r line; do echo \"got $line\"; done");
    instance.begin(0);
    instance.push(0, &HostFrame::Body(Bytes::from_static(b"a\n")));
    assert!(matches!(instance.receive(0), Some((1, InstanceFrame::Head(head))) if head.status == 200));
    assert!(matches!(instance.receive(0), Some((1, InstanceFrame::Body(bytes))) if bytes == "got a\n"));
    instance.push(0, &HostFrame::Body(Bytes::from_static(b"b\n")));
    assert!(matches!(instance.receive(0), Some((1, InstanceFrame::Body(bytes))) if bytes == "got b\n"));
    instance.push(0, &HostFrame::End);
    assert!(matches!(instance.receive(0), Some((1, InstanceFrame::End(_)))));
}

#[test]
fn a_program_that_fails_is_an_error() {
    for (script, message) in [
        ("exit 3", "exit status 3"),
        ("kill -9 $$", "killed by SIGKILL"),
        ("kill -SEGV $$", "killed by SIGSEGV"),
        ("yes | head -c 300000 >/dev/null; exit 7", "exit status 7"),
    ] {
        let mut instance = shell(script);
        instance.send_bytes(0, b"x");
        let answer = instance.answer(0);
        assert_eq!(answer.failure().error_type, "Runtime.ExitError");
        assert_eq!(answer.failure().error_message, message);
    }
}

#[test]
fn a_program_that_fails_after_output_has_begun_aborts_the_reply() {
    let mut instance = shell("echo one; echo two; read -r line; exit 5");
    instance.begin(0);
    assert!(matches!(instance.receive(0), Some((1, InstanceFrame::Head(_)))));
    instance.push(0, &HostFrame::End);
    let mut last = instance.receive(0).unwrap();
    while let (1, InstanceFrame::Body(_)) = last {
        last = instance.receive(0).unwrap();
    }
    assert!(matches!(last, (1, InstanceFrame::Error { failure, .. }) if failure.error_message == "exit status 5"));
}

#[test]
fn a_program_that_can_not_start_is_an_error_each_time() {
    let files = [
        ("noshebang", "echo hi\n"),
        ("badshebang", "#!/no/such/interpreter\n"),
        ("data", "\u{1}\u{2}"),
    ];
    for (argv, words) in [
        ("./missing", "No such file"),
        ("./noshebang", "#!/bin/sh"),
        ("./badshebang", "interpreter in its first line"),
        (".", "is it executable?"),
    ] {
        let mut instance = Instance::stdio_files(&files, &[argv], 1);
        instance.ready();
        for _ in 0..2 {
            instance.send_bytes(0, b"body that nobody reads");
            let answer = instance.answer(0);
            assert_eq!(
                answer.failure().error_type,
                "Runtime.InvalidEntrypoint",
                "{argv}: {:?}",
                answer.failure()
            );
            assert!(
                answer.failure().error_message.contains(words),
                "{argv}: {:?}",
                answer.failure()
            );
        }
    }
}

#[test]
fn a_program_may_close_its_input_early() {
    let mut instance = shell("exec 0<&-; echo done");
    for _ in 0..3 {
        instance.begin(0);
        let pouring = instance.pour(0, vec![b'x'; 3_000_000]);
        assert_eq!(instance.answer(0).streamed().1, b"done\n");
        pouring.join().unwrap().unwrap();
    }
    // A short body, read to its end by nobody, must leave no signal behind for the next program.
    assert_eq!(echo(&mut instance, b"x"), b"done\n");
}

#[test]
fn a_program_gets_the_default_sigpipe_and_no_blocked_signals() {
    let mut instance = shell("grep -E 'Sig(Blk|Ign)' /proc/self/status");
    let text = String::from_utf8(echo(&mut instance, b"")).unwrap();
    let mask = |name: &str| {
        let line = text.lines().find(|line| line.starts_with(name)).unwrap();
        u64::from_str_radix(line.split_whitespace().last().unwrap(), 16).unwrap()
    };
    let sigpipe = 1 << (13 - 1);
    assert_eq!(mask("SigBlk") & sigpipe, 0, "{text}");
    assert_eq!(mask("SigIgn") & sigpipe, 0, "{text}");
}

#[test]
fn a_program_inherits_three_descriptors() {
    let mut instance = shell("readlink /proc/self/fd/*; true");
    let text = String::from_utf8(echo(&mut instance, b"")).unwrap();
    assert!(!text.contains("socket:"), "{text}");
}

#[test]
fn a_grandchild_that_holds_the_output_does_not_hold_the_reply() {
    let mut instance = shell("sleep 1000 & echo $!");
    let pid = echo(&mut instance, b"");
    wait_until_gone(&pid);
}

#[test]
fn cancel_kills_the_program_and_frees_the_lane() {
    let mut instance = shell("if [ \"$HTTP_X_STUCK\" ]; then trap '' TERM; sleep 1000; fi; echo fine");
    instance.send_call(0, &[("HTTP_X_STUCK", "1")], b"");
    instance.push(0, &HostFrame::Cancel);
    assert_eq!(instance.answer(0).failure().error_type, "Runtime.Cancelled");
    // A cancel that crosses the end of its invocation is late, not wrong.
    instance.push(0, &HostFrame::Cancel);
    instance.send_bytes(0, b"");
    assert_eq!(instance.answer(0).streamed().1, b"fine\n");
}

#[test]
fn the_end_of_the_host_is_the_end_of_the_program() {
    let mut instance = shell("echo $$; exec sleep 1000");
    instance.send_bytes(0, b"");
    assert!(matches!(instance.receive(0), Some((1, InstanceFrame::Head(_)))));
    let Some((1, InstanceFrame::Body(pid))) = instance.receive(0) else {
        panic!("no body")
    };
    assert_eq!(instance.close(), Some(0));
    wait_until_gone(&pid);
}

#[test]
fn lanes_run_at_the_same_time() {
    let mut instance = Instance::stdio("#!/bin/sh\ncat\n", 2);
    instance.ready();
    instance.begin(0);
    instance.begin(1);
    instance.push(1, &HostFrame::Body(Bytes::from_static(b"second")));
    instance.push(1, &HostFrame::End);
    assert_eq!(instance.answer(1).streamed().1, b"second");
    instance.push(0, &HostFrame::Body(Bytes::from_static(b"first")));
    instance.push(0, &HostFrame::End);
    assert_eq!(instance.answer(0).streamed().1, b"first");
}

#[test]
fn a_host_that_breaks_the_protocol_is_left() {
    let mut instance = shell("cat");
    instance.begin(0);
    instance.begin(0);
    assert_eq!(instance.exit_code(), Some(70));
}

#[test]
fn output_of_a_stray_is_not_in_the_next_reply() {
    let mut instance = shell("echo $FN_REQUEST_ID; setsid sh -c 'while echo late; do :; done' & exit 0");
    for _ in 0..3 {
        let reply = echo(&mut instance, b"");
        assert!(reply.starts_with(b"req-1\n"), "{reply:?}");
    }
}

/// Does nothing in an ordinary run: it is what [`Instance::stdio_in_namespace`] starts in a process of its own.
#[test]
fn serves_what_is_on_standard_input() {
    serve_stdin();
}

#[test]
fn in_its_own_pid_namespace_it_leaves_no_process_behind() {
    // Each stray leaves the program's process group before the program ends, so that only a sweep can reach it.
    let mut instance = Instance::stdio_in_namespace(
        "#!/bin/sh\nls -d /proc/[0-9]* | wc -l\nrm -f away*\nfor n in 1 2 3; do\n  \
         setsid sh -c \"trap '' TERM HUP; : > away$n; sleep 1000\" &\n  \
         while [ ! -e away$n ]; do :; done\ndone\n",
    );
    instance.ready();
    for _ in 0..5 {
        instance.send_bytes(0, b"");
        let reply = String::from_utf8(instance.answer(0).streamed().1).unwrap();
        let processes: usize = reply.trim().parse().unwrap();
        // sh, ls and wc of the program itself come on top of pid 1 and pid 2.
        assert!(processes <= 5, "{processes} processes, where the last call left none");
    }
    assert_eq!(instance.close(), Some(0));
}
