//! The Python shim.

use functions::Runtime;
use serde_json::json;

use crate::host::{Answer, Instance, nothing};

fn python(source: &str) -> Instance {
    let mut instance = Instance::start(Runtime::Python, "handler.handler", &[("handler.py", source)]);
    instance.ready();
    instance
}

#[test]
fn a_handler_answers_again_and_again_from_one_process() {
    let mut instance = Instance::start(
        Runtime::Python,
        "handler.handler",
        &[(
            "handler.py",
            "def handler(event, context):\n    return {'got': event, 'é': 'ü'}\n",
        )],
    );
    let ready = instance.ready();
    assert!(ready.runtime.starts_with("python3."), "{}", ready.runtime);
    for n in 0..5 {
        let answer = instance.call(&json!({"n": n, "text": "ß"}));
        assert_eq!(answer.json(), json!({"got": {"n": n, "text": "ß"}, "é": "ü"}));
        assert_eq!(answer.boot_id(), ready.boot_id);
    }
    assert_eq!(instance.close(), Some(0));
}

#[test]
fn the_context_is_that_of_lambda() {
    let mut instance = python(
        "import os\ndef handler(event, context):\n    return [context.aws_request_id, context.function_name, \
         context.function_version, context.memory_limit_in_mb, context.invoked_function_arn, context.client_context, \
         context.identity.cognito_identity_id, context.log_group_name, 3000000 < context.get_remaining_time_in_millis() \
         <= 3600000, os.environ['_X_AMZN_TRACE_ID']]\n",
    );
    assert_eq!(
        instance.call(&nothing()).json(),
        json!([
            "req-1",
            "hello",
            "7",
            "256",
            "arn:aws:lambda:local:000000000000:function:hello",
            null,
            null,
            null,
            true,
            "Root=1-2"
        ])
    );
}

#[test]
fn an_exception_is_an_error_with_the_functions_own_frames() {
    let mut instance = python(
        "class Sad(Exception):\n    pass\ndef deep():\n    raise Sad('no \\ud800 luck')\n\
         def handler(event, context):\n    try:\n        1 / 0\n    except ZeroDivisionError:\n        deep()\n",
    );
    let answer = instance.call(&nothing());
    let failure = answer.failure();
    assert_eq!(failure.error_type, "Sad");
    assert_eq!(failure.error_message, "no ? luck");
    let trace = failure.stack_trace.concat();
    assert!(trace.contains("handler.py\", line 4, in deep"), "{trace}");
    assert!(!trace.contains("bootstrap.py"), "{trace}");
    let printed = instance.printed();
    assert!(
        printed.contains("[ERROR] Sad") && printed.contains("ZeroDivisionError"),
        "{printed}"
    );
    // The process is not worse for it.
    assert_eq!(instance.call(&nothing()).failure().error_type, "Sad");
}

#[test]
fn endless_recursion_and_hostile_exceptions_are_errors() {
    let mut instance = python(
        "class Bad(Exception):\n    def __str__(self):\n        raise ValueError\n\
         def handler(event, context):\n    if event['how'] == 'deep':\n        handler(event, context)\n    \
         if event['how'] == 'long':\n        raise ValueError('x' * 3000000)\n    \
         if event['how'] == 'base':\n        raise KeyboardInterrupt('stop')\n    raise Bad()\n",
    );
    assert_eq!(
        instance.call(&json!({"how": "deep"})).failure().error_type,
        "RecursionError"
    );
    assert_eq!(
        instance.call(&json!({"how": "long"})).failure().error_message.len(),
        65536 + 3
    );
    assert_eq!(
        instance.call(&json!({"how": "base"})).failure().error_type,
        "KeyboardInterrupt"
    );
    assert_eq!(instance.call(&json!({"how": "bad"})).failure().error_type, "Bad");
}

#[test]
fn an_event_that_can_not_be_read_costs_its_call_alone() {
    let apps = [
        ("handler.handler", "def handler(event, context):\n    return event\n"),
        (
            "handler.app",
            "def app(environ, start_response):\n    raise AssertionError\n",
        ),
        (
            "handler.app",
            "async def app(scope, receive, send):\n    assert scope['type'] == 'http'\n",
        ),
    ];
    for (handler, source) in apps {
        let mut instance = Instance::start(Runtime::Python, handler, &[("handler.py", source)]);
        instance.ready();
        for event in [&[b'['; 100_000][..], b"{", b"\xff"] {
            instance.send_bytes(0, event);
            let answer = instance.answer(0);
            assert_eq!(answer.failure().error_type, "Runtime.UnmarshalError", "{handler}");
        }
        instance.send(0, &nothing());
        instance.answer(0);
    }
}

#[test]
fn an_error_is_told_whatever_became_of_standard_error() {
    let mut instance = python(
        "import io, sys\ndef handler(event, context):\n    if event['how'] == 'replace':\n        \
         sys.stderr = io.StringIO()\n    sys.stderr.close()\n    raise ValueError('still told ' + event['how'])\n",
    );
    for how in ["replace", "close"] {
        let told = format!("still told {how}");
        assert_eq!(instance.call(&json!({"how": how})).failure().error_message, told);
        assert!(instance.printed().contains(&told));
    }
}

#[test]
fn a_trace_with_too_much_text_is_left_out() {
    let wide = "\u{1f600}".repeat(4000);
    let mut instance = python(&format!(
        "def one(n):\n    return two(n - 1) if n else 1 / 0  # {wide}\ndef two(n):\n    return one(n)  # {wide}\n\
         def handler(event, context):\n    return one(event['n'])\n"
    ));
    for (n, lines) in [(0, 2), (80, 0)] {
        let answer = instance.call(&json!({"n": n}));
        let failure = answer.failure();
        assert_eq!(failure.error_type, "ZeroDivisionError");
        assert_eq!(failure.stack_trace.len(), lines, "{n}");
    }
}

#[test]
fn what_can_not_load_is_an_init_error() {
    for (handler, source, kind, words) in [
        (
            "handler.handler",
            "def handler(e, c)\n    pass\n",
            "Runtime.UserCodeSyntaxError",
            "handler.py, line 1",
        ),
        (
            "handler.nope",
            "def handler(e, c): pass\n",
            "Runtime.HandlerNotFound",
            "it has handler",
        ),
        ("handler.x", "x = 5\n", "Runtime.HandlerNotFound", "is a int"),
        (
            "nope.handler",
            "",
            "Runtime.ImportModuleError",
            "neither nope.py nor nope/__init__.py",
        ),
        (
            "handler.handler",
            "import numpie\n",
            "Runtime.ImportModuleError",
            "needs the module 'numpie'",
        ),
        ("handler", "", "Runtime.MalformedHandlerName", "module.function"),
        ("", "", "Runtime.MalformedHandlerName", "module.function"),
        (
            "handler.handler",
            "raise OSError('disk on fire')\n",
            "OSError",
            "disk on fire",
        ),
        (
            "handler.handler",
            "import sys\nsys.exit(3)\n",
            "Runtime.ExitError",
            "exit(3)",
        ),
    ] {
        let mut instance = Instance::start(Runtime::Python, handler, &[("handler.py", source)]);
        let failure = instance.init_error();
        assert_eq!(failure.error_type, kind, "{handler}: {failure:?}");
        assert!(failure.error_message.contains(words), "{handler}: {failure:?}");
        assert!(!failure.stack_trace.concat().contains("bootstrap.py"), "{failure:?}");
        assert!(instance.printed().contains(kind), "the log tells as well");
    }
}

#[test]
fn a_syntax_error_shows_the_line() {
    let source = "x = 1\ndef handler(event, context):\n    return ((1)\n";
    let mut instance = Instance::start(Runtime::Python, "handler.handler", &[("handler.py", source)]);
    let trace = instance.init_error().stack_trace.concat();
    assert!(
        trace.contains("line 3") && trace.contains("return ((1)") && trace.contains('^'),
        "{trace}"
    );
}

#[test]
fn modules_are_found_in_directories_and_before_the_shims_own() {
    let files = [
        ("pkg/sub/mod.py", "from . import other\ndef go(e, c): return other.X\n"),
        ("pkg/sub/other.py", "X = 'deep'\n"),
        ("bootstrap.py", "def handler(e, c): return 'mine'\n"),
    ];
    for (handler, result) in [
        ("pkg/sub/mod.go", "deep"),
        ("pkg.sub.mod.go", "deep"),
        ("bootstrap.handler", "mine"),
    ] {
        let mut instance = Instance::start(Runtime::Python, handler, &files);
        instance.ready();
        assert_eq!(instance.call(&nothing()).json(), json!(result), "{handler}");
    }
}

#[test]
fn megabytes_go_in_and_out() {
    let mut instance =
        python("def handler(event, context):\n    return {'statusCode': 200, 'body': event['body'][::-1]}\n");
    let body: String = ('a'..='z').cycle().take(6 * 1024 * 1024 - 100).collect();
    let reply = instance.call(&json!({"body": body})).reply();
    assert!(reply.body.iter().copied().eq(body.bytes().rev()));
}

#[test]
fn a_result_over_six_mebibytes_is_an_error_not_a_crash() {
    let mut instance = python("def handler(event, context):\n    return 'x' * (6 * 1024 * 1024)\n");
    let answer = instance.call(&nothing());
    assert_eq!(answer.failure().error_type, "Function.ResponseSizeTooLarge");
}

#[test]
fn binary_comes_out_as_it_went_in() {
    let mut instance = python(
        "import base64\ndef handler(event, context):\n    data = base64.b64decode(event['body'])\n    \
         return {'statusCode': 200, 'isBase64Encoded': True, 'body': base64.b64encode(data + b'\\xff\\x00').decode()}\n",
    );
    assert_eq!(
        instance.call(&json!({"body": "AAH+"})).reply().body.as_ref(),
        [0, 1, 0xfe, 0xff, 0]
    );
}

#[test]
fn a_generator_body_streams() {
    let mut instance = python(
        "def handler(event, context):\n    def body():\n        yield 'héllo '\n        yield b'\\xff'\n        \
         yield bytearray(3 * 1024 * 1024)\n        yield ''\n    \
         return {'statusCode': 206, 'headers': {'X-A': 1, 'x-t': True}, 'cookies': ['a=1'], 'body': body()}\n",
    );
    let answer = instance.call(&nothing());
    let (head, body) = answer.streamed();
    assert_eq!(head.status, 206);
    assert_eq!(head.headers["x-a"], "1");
    assert_eq!(head.headers["x-t"], "true");
    assert_eq!(head.headers["set-cookie"], "a=1");
    let mut expected = "héllo ".as_bytes().to_vec();
    expected.push(0xff);
    expected.resize(expected.len() + 3 * 1024 * 1024, 0);
    assert!(body == expected);
}

#[test]
fn bytes_and_async_generators_stream_too() {
    let mut instance = python(
        "import asyncio\nasync def slow():\n    for n in range(3):\n        await asyncio.sleep(0)\n        yield str(n)\n\
         def handler(event, context):\n    return {'body': b'\\x01\\x02' if event['bytes'] else slow()}\n",
    );
    assert_eq!(instance.call(&json!({"bytes": true})).streamed().1, [1, 2]);
    assert_eq!(instance.call(&json!({"bytes": false})).streamed().1, b"012");
    assert_eq!(instance.call(&json!({"bytes": false})).streamed().1, b"012");
}

#[test]
fn a_chunk_is_what_it_was_when_it_was_given() {
    let mut instance = python(
        "def body():\n    buffer = bytearray(1)\n    for byte in b'abc':\n        buffer[0] = byte\n        yield buffer\n\
         def handler(event, context):\n    return {'body': body()}\n",
    );
    assert_eq!(instance.call(&nothing()).streamed().1, b"abc");
}

#[test]
fn a_generator_that_fails_at_once_is_an_error_and_later_an_abort() {
    let mut instance = python(
        "def body(n):\n    for i in range(n):\n        yield 'x'\n    raise ValueError('broke')\n\
         def handler(event, context):\n    return {'body': body(event['n'])}\n",
    );
    assert_eq!(instance.call(&json!({"n": 0})).failure().error_message, "broke");
    let answer = instance.call(&json!({"n": 2}));
    let (failure, before) = answer.aborted();
    assert_eq!(failure.error_message, "broke");
    assert_eq!(before, b"x");
    assert_eq!(instance.call(&json!({"n": 0})).failure().error_message, "broke");
}

#[test]
fn an_async_handler_runs_to_its_end_on_one_loop() {
    let mut instance = python(
        "import asyncio\nloops = set()\nasync def handler(event, context):\n    await asyncio.sleep(0.001)\n    \
         loops.add(id(asyncio.get_running_loop()))\n    return len(loops)\n",
    );
    assert_eq!(instance.call(&nothing()).json(), json!(1));
    assert_eq!(instance.call(&nothing()).json(), json!(1));
}

#[test]
fn results_that_are_no_json_are_marshal_errors() {
    let mut instance = python(
        "loop = []\nloop.append(loop)\nvalues = {'set': {1}, 'bytes': b'x', 'nan': float('nan'), 'inf': [float('inf')], \
         'loop': loop, 'object': object(), 'surrogate': '\\ud800', 'key': {(1, 2): 3}, 'int body': {'body': iter([5])}, \
         'status': {'statusCode': 'x', 'body': iter(['a'])}, 'b64': {'isBase64Encoded': True, 'body': iter(['a'])}}\n\
         def handler(event, context):\n    return values[event['what']]\n",
    );
    for what in [
        "set",
        "bytes",
        "nan",
        "inf",
        "loop",
        "object",
        "surrogate",
        "key",
        "int body",
        "status",
        "b64",
    ] {
        let answer = instance.call(&json!({"what": what}));
        assert_eq!(answer.failure().error_type, "Runtime.MarshalError", "{what}");
    }
}

#[test]
fn strange_results_are_still_results() {
    let mut instance = python("def handler(event, context):\n    return eval(event['code'])\n");
    for (code, result) in [
        ("None", json!(null)),
        ("5", json!(5)),
        ("'x'", json!("x")),
        ("[1, (2, 3)]", json!([1, [2, 3]])),
        ("{'body': ['a']}", json!({"body": ["a"]})),
        ("{1: True}", json!({"1": true})),
    ] {
        assert_eq!(instance.call(&json!({"code": code})).json(), result, "{code}");
    }
}

#[test]
fn an_exit_in_the_handler_is_reported_and_ends_the_process() {
    let mut instance = python("import sys\ndef handler(event, context):\n    sys.exit(4)\n");
    assert_eq!(instance.call(&nothing()).failure().error_type, "Runtime.ExitError");
    assert_eq!(instance.exit_code(), Some(4));

    let mut instance = python("import os\ndef handler(event, context):\n    os._exit(5)\n");
    instance.send(0, &nothing());
    assert_eq!(instance.exit_code(), Some(5));
}

#[test]
fn what_was_printed_is_in_the_log_before_the_end() {
    let mut instance = python(
        "import sys, logging\nlogging.getLogger().setLevel(logging.INFO)\ndef handler(event, context):\n    \
         print('no newline', end='')\n    sys.stderr.write('err')\n    logging.getLogger('me').info('logged')\n    \
         sys.stdout.write('x' * event['n'])\n    return 1\n",
    );
    for n in [0, 300_000] {
        instance.call(&json!({"n": n}));
        let printed = instance.printed();
        for part in ["no newline", "err", "[INFO] me: logged"] {
            assert!(printed.contains(part), "{part}");
        }
        assert!(printed.len() >= n);
    }
}

#[test]
fn printing_forking_and_closing_can_not_break_the_frames() {
    let mut instance = python(
        "import os, sys, subprocess\ndef handler(event, context):\n    how = event['how']\n    \
         if how == 'print':\n        os.write(1, b'\\x00' * 100)\n        return 'ok'\n    \
         if how == 'child':\n        return subprocess.run(['sh', '-c', 'readlink /proc/self/fd/*'], \
         capture_output=True, close_fds=False).stdout.decode()\n    \
         if how == 'fork':\n        pid = os.fork()\n        if pid:\n            os.waitpid(pid, 0)\n        return pid > 0\n    \
         if how == 'forkraise':\n        pid = os.fork()\n        if pid == 0:\n            raise OSError\n        \
         os.waitpid(pid, 0)\n        return 'parent'\n    \
         if how == 'gone':\n        sys.stdout.close()\n        sys.stderr = None\n        return 'quiet'\n",
    );
    assert_eq!(instance.call(&json!({"how": "print"})).json(), json!("ok"));
    let descriptors = instance.call(&json!({"how": "child"})).json();
    assert!(!descriptors.as_str().unwrap().contains("socket:"), "{descriptors}");
    assert_eq!(instance.call(&json!({"how": "fork"})).json(), json!(true));
    assert_eq!(instance.call(&json!({"how": "forkraise"})).json(), json!("parent"));
    assert_eq!(instance.call(&json!({"how": "gone"})).json(), json!("quiet"));
    assert_eq!(instance.call(&json!({"how": "fork"})).json(), json!(true));
}

#[test]
fn a_handler_that_closes_the_lane_ends_its_process() {
    let mut instance = python("import os\ndef handler(event, context):\n    os.close(3)\n    return 1\n");
    instance.send(0, &nothing());
    assert_eq!(instance.exit_code(), Some(71));

    let files = [(
        "handler.py",
        "import os\ndef handler(event, context):\n    os.close(4)\n    return 1\n",
    )];
    let mut instance = Instance::start_with(Runtime::Python, "handler.handler", &files, &[("FN_LANES", "2")]);
    instance.ready();
    instance.send(1, &nothing());
    assert_eq!(instance.exit_code(), Some(71), "the second lane is no less");
}

#[test]
fn two_lanes_run_at_the_same_time() {
    let mut instance = Instance::start_with(
        Runtime::Python,
        "handler.handler",
        &[(
            "handler.py",
            "import threading\nboth = threading.Barrier(2)\ndef handler(event, context):\n    both.wait(30)\n    \
             return event\n",
        )],
        &[("FN_LANES", "2")],
    );
    instance.ready();
    for n in 0..3 {
        instance.send(0, &json!([n, 0]));
        instance.send(1, &json!([n, 1]));
        assert_eq!(instance.answer(1).json(), json!([n, 1]));
        assert_eq!(instance.answer(0).json(), json!([n, 0]));
    }
}

#[test]
fn a_request_that_came_before_the_handler_was_loaded_waits() {
    let mut instance = Instance::start(
        Runtime::Python,
        "handler.handler",
        &[("handler.py", "def handler(event, context):\n    return event\n")],
    );
    instance.send(0, &json!(1));
    instance.ready();
    let Answer::Result { end, .. } = instance.answer(0) else {
        panic!("no result")
    };
    assert!(end.handler_us < 60_000_000);
}

#[test]
fn an_idle_shim_imports_nothing_that_slows_a_fork() {
    let mut instance = python("import sys\ndef handler(event, context):\n    return sorted(sys.modules)\n");
    let modules = instance.call(&nothing()).json();
    for module in ["threading", "logging", "socket", "asyncio", "traceback", "subprocess"] {
        assert!(!modules.as_array().unwrap().contains(&json!(module)), "{module}");
    }
}
