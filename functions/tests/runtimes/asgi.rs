//! ASGI apps in the Python shim.

use functions::Runtime;
use functions::wire::InstanceFrame;
use serde_json::{Value, json};

use crate::host::Instance;
use crate::web::{self, Ask, at};

/// What every app here may use: a whole reply in one line, and a lifespan that is not known.
const TOP: &str = "import asyncio, json, sys\n\
    async def reply(send, body=b'', status=200, headers=(), more=False):\n    \
    await send({'type': 'http.response.start', 'status': status, 'headers': headers})\n    \
    await send({'type': 'http.response.body', 'body': body, 'more_body': more})\n\
    async def app(scope, receive, send):\n    assert scope['type'] == 'http'\n    await call(scope, receive, send)\n\
    async def call(scope, receive, send):\n";

fn source(body: &str) -> String {
    format!("{TOP}    {}\n", body.replace('\n', "\n    "))
}

/// An app that does what `body`, the text of its coroutine, does.
fn asgi(body: &str) -> Instance {
    web::app(Runtime::Python, "app.app", "app.py", &source(body))
}

#[test]
fn the_scope_is_what_the_specification_asks_for() {
    let mut instance = asgi(
        "seen = {k: v if isinstance(v, (str, int, dict)) else repr(v) for k, v in scope.items() if k != 'headers'}\n\
         seen['headers'] = [[n.decode('latin-1'), v.decode('latin-1')] for n, v in scope['headers']]\n\
         seen['first'] = repr(await receive())\n\
         await reply(send, json.dumps(seen).encode(), 201, [(b'content-type', b'application/json')])\n\
         assert (await receive()) == {'type': 'http.disconnect'}\nprint('gone')",
    );
    let mut ask = Ask {
        method: "POST",
        path: "/a%20b/%C3%A9",
        query: Some("x=1&x=%20"),
        body: b"\xff\x00",
        ..Ask::default()
    };
    ask.headers.extend([
        ("cookie", b"a=1".as_slice()),
        ("cookie", b"b=2"),
        ("x-many", b"one"),
        ("x-many", b"two, three"),
        ("x-name", "é".as_bytes()),
    ]);
    let answer = instance.ask(&ask);
    let (status, text) = web::plain(&answer);
    assert_eq!(status, 201, "{text}");
    let seen: Value = serde_json::from_str(&text).unwrap();
    for (key, value) in [
        ("type", json!("http")),
        ("asgi", json!({"version": "3.0", "spec_version": "2.4"})),
        ("http_version", json!("1.1")),
        ("method", json!("POST")),
        ("scheme", json!("http")),
        ("path", json!("/a b/é")),
        ("raw_path", json!("b'/a%20b/%C3%A9'")),
        ("query_string", json!("b'x=1&x=%20'")),
        ("root_path", json!("")),
        ("client", json!("('127.0.0.1', 0)")),
        ("server", json!("('hello.localhost', 8080)")),
        (
            "first",
            json!("{'type': 'http.request', 'body': b'\\xff\\x00', 'more_body': False}"),
        ),
    ] {
        assert_eq!(seen[key], value, "{key}");
    }
    let headers: Vec<(String, String)> = serde_json::from_value(seen["headers"].clone()).unwrap();
    let of = |name: &str| -> Vec<&str> {
        let lines = headers.iter().filter(|(key, _)| key == name);
        lines.map(|(_, value)| value.as_str()).collect()
    };
    assert_eq!(of("x-many"), ["one", "two, three"]);
    assert_eq!(of("cookie"), ["a=1; b=2"]);
    assert_eq!(of("x-name"), ["\u{c3}\u{a9}"]);
    assert_eq!(of("content-length"), ["2"]);
    assert!(instance.printed().contains("gone"));
}

#[test]
fn what_stands_before_the_path_is_the_root_path() {
    let mut instance =
        asgi("await reply(send, ' '.join([scope['root_path'], scope['path'], scope['raw_path'].decode()]).encode())");
    let ask = Ask {
        path: "/a%20b",
        base_path: "/function/hello",
        ..Ask::default()
    };
    let seen = "/function/hello /function/hello/a b /function/hello/a%20b";
    assert_eq!(web::plain(&instance.ask(&ask)).1, seen);
}

#[test]
fn bodies_of_any_bytes_and_size_go_both_ways() {
    let mut instance = asgi("await reply(send, (await receive())['body'])");
    let every_byte: Vec<u8> = (0..=255).collect();
    let large: Vec<u8> = (0..6 * 1024 * 1024).map(|at: u32| (at % 251) as u8).collect();
    for body in [b"".as_slice(), b"x", &every_byte, &large] {
        let ask = Ask {
            method: "PUT",
            body,
            ..Ask::default()
        };
        assert!(instance.ask(&ask).streamed().1 == body, "{} bytes", body.len());
    }
}

#[test]
fn a_reply_that_is_larger_than_every_buffer_waits_for_its_reader() {
    let mut instance = asgi(
        "await send({'type': 'http.response.start', 'status': 200, 'headers': []})\n\
         for n in range(16):\n    await send({'type': 'http.response.body', 'body': bytes([n]) * 1048576, 'more_body': n < 15})",
    );
    let answer = instance.call(&at("/"));
    let (_, body) = answer.streamed();
    assert_eq!(body.len(), 16 << 20);
    assert!(
        body.chunks(1 << 20)
            .enumerate()
            .all(|(n, piece)| piece.iter().all(|byte| usize::from(*byte) == n))
    );
}

#[test]
fn chunks_go_out_when_they_are_sent_and_lines_keep_their_number() {
    let mut instance = asgi(
        "await reply(send, b'first', headers=[(b'set-cookie', b'a=1'), (b'set-cookie', b'b=2')], more=True)\n\
         await asyncio.sleep(0)\n\
         await send({'type': 'http.response.body', 'body': b'second'})",
    );
    instance.send(0, &at("/"));
    match instance.receive(0) {
        Some((1, InstanceFrame::Head(head))) => assert_eq!(head.headers.len(), 2),
        other => panic!("{other:?}"),
    }
    for expected in [b"first".as_slice(), b"second"] {
        match instance.receive(0) {
            Some((1, InstanceFrame::Body(piece))) => assert_eq!(&piece[..], expected),
            other => panic!("{other:?}"),
        }
    }
    assert!(matches!(instance.receive(0), Some((1, InstanceFrame::End(_)))));
}

#[test]
fn an_app_that_gives_up_sending_leaves_no_half_frame() {
    let mut instance = asgi(
        "await send({'type': 'http.response.start', 'status': 200, 'headers': []})\n\
         slow = asyncio.ensure_future(send({'type': 'http.response.body', 'body': b'x' * (4 << 20), 'more_body': True}))\n\
         for _ in range(3):\n    await asyncio.sleep(0)\n\
         print('slow' if slow.cancel() else 'sent')\n\
         await send({'type': 'http.response.body', 'body': b'end'})",
    );
    instance.send(0, &at("/"));
    // Nobody reads before it has given up.
    assert!(instance.prints("\n").contains("slow"));
    let answer = instance.answer(0);
    let (_, body) = answer.streamed();
    let (many, end) = body.split_at(4 << 20);
    assert!(many.iter().all(|byte| *byte == b'x'));
    assert_eq!(end, b"end");
    assert_eq!(instance.call(&at("/")).streamed().1.len(), body.len());
}

#[test]
fn a_body_is_what_it_was_when_it_was_sent() {
    let mut instance = asgi(
        "import array\nbody = bytearray(b'whole') if scope['path'] == '/' else memoryview(array.array('I', [1, 2]))\n\
         await reply(send, body)\nif scope['path'] == '/':\n    body.clear()",
    );
    assert_eq!(instance.call(&at("/")).streamed().1, b"whole");
    assert_eq!(instance.call(&at("/wide")).streamed().1, [1, 0, 0, 0, 2, 0, 0, 0]);
}

#[test]
fn calls_at_the_same_time_share_one_loop() {
    let body = "if scope['path'] == '/turn':\n    turn.set()\n    await reply(send, b'turned')\n    return\n\
         await reply(send, b'first', more=True)\nawait turn.wait()\nawait send({'type': 'http.response.body', 'body': b'second'})";
    let files = [("app.py", format!("{}\nturn = asyncio.Event()\n", source(body)))];
    let files: Vec<_> = files.iter().map(|(name, text)| (*name, text.as_str())).collect();
    let mut instance = Instance::start_with(Runtime::Python, "app.app", &files, &[("FN_LANES", "2")]);
    instance.ready();
    instance.send(0, &at("/"));
    assert!(matches!(instance.receive(0), Some((1, InstanceFrame::Head(_)))));
    assert!(matches!(instance.receive(0), Some((1, InstanceFrame::Body(_)))));
    instance.send(1, &at("/turn"));
    assert_eq!(web::plain(&instance.answer(1)), (200, "turned".into()));
    match instance.receive(0) {
        Some((1, InstanceFrame::Body(piece))) => assert_eq!(&piece[..], b"second"),
        other => panic!("{other:?}"),
    }
}

#[test]
fn what_breaks_the_rules_is_an_error_and_the_lane_stays_in_step() {
    let mut instance = asgi(
        "path = scope['path']\n\
         if path == '/raise':\n    raise ValueError('before')\n\
         if path == '/silent':\n    return\n\
         if path == '/half':\n    await reply(send, b'half', more=True)\n    return\n\
         if path == '/late':\n    await reply(send, b'begun', more=True)\n    raise ValueError('later')\n\
         if path == '/after':\n    await reply(send, b'a page', 500)\n    raise ValueError('after the reply')\n\
         if path == '/twice':\n    await send({'type': 'http.response.start', 'status': 200})\n    await reply(send)\n\
         if path == '/body':\n    await send({'type': 'http.response.body'})\n\
         if path == '/more':\n    await reply(send, b'whole')\n    await reply(send)\n\
         if path == '/text':\n    await reply(send, 'text')\n\
         if path == '/status':\n    await reply(send, status=101)\n\
         if path == '/split':\n    await reply(send, headers=[(b'x-a', b'a\\nb')])\n\
         if path == '/cancel':\n    asyncio.current_task().cancel()\n    await asyncio.sleep(9)\n\
         await reply(send, b'fine')",
    );
    web::fail(
        &mut instance,
        &[
            ("/raise", "ValueError", "before"),
            ("/silent", "Runtime.IncompleteReply", "without a reply"),
            ("/twice", "RuntimeError", "'http.response.start'"),
            ("/body", "RuntimeError", "'http.response.body'"),
            ("/text", "Runtime.MarshalError", "a body of str"),
            ("/status", "Runtime.MarshalError", "101"),
            ("/split", "Runtime.MarshalError", "control character"),
            ("/cancel", "CancelledError", ""),
        ],
    );
    web::break_off(
        &mut instance,
        &[("/half", "in the middle", "half"), ("/late", "later", "begun")],
    );
    instance.printed();
    assert_eq!(web::plain(&instance.call(&at("/after"))), (500, "a page".into()));
    assert!(instance.printed().contains("ValueError: after the reply"));
    assert_eq!(web::plain(&instance.call(&at("/more"))), (200, "whole".into()));
    assert_eq!(web::plain(&instance.call(&at("/"))), (200, "fine".into()));
    assert_eq!(instance.call(&json!({})).failure().error_type, "Runtime.InvalidEvent");
}

#[test]
fn work_after_the_reply_ends_before_the_call_does() {
    let mut instance = asgi("await reply(send, b'whole')\nawait asyncio.sleep(0.01)\nprint('the work is done')");
    assert_eq!(web::plain(&instance.call(&at("/"))), (200, "whole".into()));
    assert!(instance.printed().contains("the work is done"));
}

#[test]
fn websockets_are_refused_with_a_word_in_the_log() {
    let mut instance = asgi("await reply(send, scope['type'].encode())");
    let mut ask = Ask::default();
    ask.headers.push(("sec-websocket-key", b"dGhlIHNhbXBsZSBub25jZQ=="));
    assert_eq!(web::plain(&instance.ask(&ask)).0, 501);
    assert!(instance.printed().contains("websocket"));
    assert_eq!(web::plain(&instance.call(&at("/"))), (200, "http".into()));
}

/// An app with a lifespan; `start` and `stop` are what it does then.
fn with_lifespan(start: &str, stop: &str) -> String {
    format!(
        "{TOP}    await reply(send, json.dumps([scope['state']['opened'], id(asyncio.get_running_loop()) == scope['state']['loop']]).encode())\n\
         served = app\nasync def app(scope, receive, send):\n    if scope['type'] != 'lifespan':\n        \
         return await served(scope, receive, send)\n    \
         assert (await receive())['type'] == 'lifespan.startup'\n    {start}\n    \
         assert (await receive())['type'] == 'lifespan.shutdown'\n    {stop}\n"
    )
}

const STARTED: &str = "scope['state']['opened'] = 'yes'; scope['state']['loop'] = id(asyncio.get_running_loop()); \
    await send({'type': 'lifespan.startup.complete'})";

#[test]
fn the_app_starts_before_the_first_call_and_stops_after_the_last() {
    let text = with_lifespan(
        &format!("print('starting'); {STARTED}"),
        "print('stopping'); await send({'type': 'lifespan.shutdown.complete'})",
    );
    let mut instance = Instance::start(Runtime::Python, "app.app", &[("app.py", &text)]);
    instance.ready();
    assert!(instance.printed().contains("starting"));
    for _ in 0..2 {
        assert_eq!(web::plain(&instance.call(&at("/"))).1, "[\"yes\", true]");
    }
    assert_eq!(instance.close_and_print(), (Some(0), "stopping\n".to_owned()));
}

#[test]
fn an_app_that_does_not_start_is_an_init_error() {
    for (start, kind, words) in [
        (
            "await send({'type': 'lifespan.startup.failed', 'message': 'Traceback ...\\nOSError: no database'})",
            "Runtime.StartupFailed",
            "OSError: no database",
        ),
        ("sys.exit(3)", "Runtime.ExitError", "exit(3)"),
    ] {
        let text = with_lifespan(start, "pass");
        let mut instance = Instance::start(Runtime::Python, "app.app", &[("app.py", &text)]);
        let failure = instance.init_error();
        assert_eq!(failure.error_type, kind);
        assert!(failure.error_message.contains(words), "{}", failure.error_message);
    }
}

#[test]
fn a_failure_at_the_end_of_the_lifespan_harms_nobody() {
    for stop in [
        "raise ValueError('stop')",
        "await send({'type': 'lifespan.shutdown.failed', 'message': 'ValueError: stop'})",
    ] {
        let text = with_lifespan(STARTED, stop);
        let mut instance = web::app(Runtime::Python, "app.app", "app.py", &text);
        assert_eq!(web::plain(&instance.call(&at("/"))).0, 200);
        let (code, printed) = instance.close_and_print();
        assert_eq!(code, Some(0));
        assert!(printed.contains("stop"), "{printed}");
    }
}

#[test]
fn asgi_is_seen_by_three_parameters() {
    let reply = "    await send({'type': 'http.response.start', 'status': 200})\n    await send({'type': 'http.response.body', 'body': b'asgi'})\n";
    for (source, handler) in [
        (format!("async def run(scope, receive, send):\n{reply}"), "app.run"),
        (format!("async def app(a, b, c):\n    send = c\n{reply}"), "app.app"),
        (
            format!("class Site:\n  async def __call__(self, scope, receive, send):\n{reply}app = Site()\n"),
            "app.app",
        ),
        (
            format!(
                "class Site:\n  def __init__(self, scope, receive, send):\n    self.send = send\n  \
                 def __await__(self):\n    return self.answer().__await__()\n  async def answer(self):\n    send = self.send\n{reply}app = Site\n"
            ),
            "app.app",
        ),
    ] {
        let mut instance = web::app(Runtime::Python, handler, "app.py", &source);
        assert_eq!(web::plain(&instance.call(&at("/"))), (200, "asgi".into()), "{source}");
    }
    let source = format!("def run(*all):\n    return served(*all)\nasync def served(scope, receive, send):\n{reply}");
    let mut instance = Instance::start_with(
        Runtime::Python,
        "app.run",
        &[("app.py", &source)],
        &[("FN_SIGNATURE", "asgi")],
    );
    instance.ready();
    assert_eq!(web::plain(&instance.call(&at("/"))), (200, "asgi".into()));
}

#[test]
fn leaving_is_what_it_is_in_a_handler() {
    let mut instance = asgi("sys.exit(4)");
    assert_eq!(instance.call(&at("/")).failure().error_type, "Runtime.ExitError");
    assert_eq!(instance.exit_code(), Some(4));
}

#[test]
fn a_call_sees_nothing_that_another_left_in_its_context() {
    let body = "seen = name.get()\nname.set(scope['path'])\nawait reply(send, seen.encode())";
    let text = format!(
        "import contextvars\nname = contextvars.ContextVar('name', default='nobody')\n{}",
        source(body)
    );
    let mut instance = web::app(Runtime::Python, "app.app", "app.py", &text);
    for path in ["/a", "/b"] {
        assert_eq!(web::plain(&instance.call(&at(path))).1, "nobody");
    }
}
