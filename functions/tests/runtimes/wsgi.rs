//! WSGI apps in the Python shim.

use functions::Runtime;
use functions::wire::InstanceFrame;
use serde_json::{Value, json};

use crate::host::{Instance, nothing};
use crate::web::{self, Ask};

/// An app that answers with what `body`, the text of its function, does.
fn wsgi(body: &str) -> Instance {
    let body = body.replace('\n', "\n    ");
    let source = format!("import json, sys\ndef app(environ, start_response):\n    {body}\n");
    web::app(Runtime::Python, "app.app", "app.py", &source)
}

const ECHO: &str = "body = environ['wsgi.input'].read()\n\
    start_response('200 OK', [('Content-Type', 'application/octet-stream'), ('X-Size', str(len(body)))])\n\
    return [body]";

#[test]
fn the_environ_is_what_pep_3333_asks_for() {
    let mut instance = wsgi(
        "start_response('201 Created', [('Content-Type', 'application/json')])\n\
         seen = {key: value for key, value in environ.items() if isinstance(value, (str, bool))}\n\
         seen['text'] = environ['wsgi.input'].read().decode()\n\
         seen['errors'] = environ['wsgi.errors'] is sys.stderr\n\
         return [json.dumps(seen).encode()]",
    );
    let mut ask = Ask {
        method: "POST",
        path: "/a%20b/%C3%A9/%2F%zz",
        query: Some("x=1&x=2&y=%20"),
        body: "körper".as_bytes(),
        ..Ask::default()
    };
    ask.headers.extend([
        ("content-type", b"text/plain; charset=utf-8".as_slice()),
        ("content-length", b"7"),
        ("cookie", b"a=1"),
        ("cookie", b"b=2"),
        ("x-many", b"one"),
        ("x-many", b"two, three"),
        ("x-name", "é".as_bytes()),
        ("x_name", b"forged"),
    ]);
    let answer = instance.ask(&ask);
    let (status, text) = web::plain(&answer);
    assert_eq!(status, 201);
    assert_eq!(web::lines(&answer, "content-type"), ["application/json"]);
    let seen: Value = serde_json::from_str(&text).unwrap();
    for (key, value) in [
        ("REQUEST_METHOD", json!("POST")),
        ("SCRIPT_NAME", json!("")),
        ("PATH_INFO", json!("/a b/\u{c3}\u{a9}//%zz")),
        ("REQUEST_URI", json!("/a%20b/%C3%A9/%2F%zz?x=1&x=2&y=%20")),
        ("QUERY_STRING", json!("x=1&x=2&y=%20")),
        ("CONTENT_TYPE", json!("text/plain; charset=utf-8")),
        ("CONTENT_LENGTH", json!("7")),
        ("SERVER_NAME", json!("hello.localhost")),
        ("SERVER_PORT", json!("8080")),
        ("SERVER_PROTOCOL", json!("HTTP/1.1")),
        ("REMOTE_ADDR", json!("127.0.0.1")),
        ("HTTP_HOST", json!("hello.localhost:8080")),
        ("HTTP_COOKIE", json!("a=1; b=2")),
        ("HTTP_X_MANY", json!("one,two, three")),
        ("HTTP_X_NAME", json!("\u{c3}\u{a9}")),
        ("HTTP_X_FORWARDED_FOR", json!("127.0.0.1")),
        ("wsgi.url_scheme", json!("http")),
        ("wsgi.multithread", json!(false)),
        ("wsgi.multiprocess", json!(true)),
        ("wsgi.run_once", json!(false)),
        ("text", json!("körper")),
        ("errors", json!(true)),
    ] {
        assert_eq!(seen[key], value, "{key}");
    }
    for absent in ["HTTP_CONTENT_LENGTH", "HTTP_CONTENT_TYPE"] {
        assert!(seen.get(absent).is_none(), "{absent}");
    }
}

#[test]
fn bodies_of_any_bytes_and_size_go_both_ways() {
    let mut instance = wsgi(ECHO);
    let every_byte: Vec<u8> = (0..=255).collect();
    let large: Vec<u8> = (0..6 * 1024 * 1024).map(|at: u32| (at % 251) as u8).collect();
    for body in [b"".as_slice(), b"x", &every_byte, "ß".as_bytes(), &large] {
        let ask = Ask {
            method: "PUT",
            body,
            ..Ask::default()
        };
        let answer = instance.ask(&ask);
        assert!(answer.streamed().1 == body, "{} bytes", body.len());
        assert_eq!(web::lines(&answer, "x-size"), [body.len().to_string()]);
    }
}

#[test]
fn a_path_keeps_signs_that_escape_nothing() {
    let mut instance = wsgi("start_response('200 OK', [])\nreturn [environ['PATH_INFO'].encode('latin-1')]");
    for (path, expected) in [("/100%", "/100%"), ("/%4", "/%4"), ("/%%41%", "/%A%"), ("/%", "/%")] {
        let ask = Ask { path, ..Ask::default() };
        assert_eq!(web::plain(&instance.ask(&ask)).1, expected, "{path}");
    }
}

#[test]
fn what_stands_before_the_path_is_the_script() {
    let mut instance = wsgi(
        "start_response('200 OK', [])\n\
         return [' '.join(environ[key] for key in ('SCRIPT_NAME', 'PATH_INFO', 'REQUEST_URI')).encode('latin-1')]",
    );
    let ask = Ask {
        path: "/a%20b",
        query: Some("c"),
        base_path: "/function/hello",
        ..Ask::default()
    };
    let seen = "/function/hello /a b /function/hello/a%20b?c";
    assert_eq!(web::plain(&instance.ask(&ask)).1, seen);
}

#[test]
fn a_chunk_is_what_it_was_when_it_was_given() {
    let mut instance = wsgi(
        "import array\nbuffer = bytearray(b'x')\ndef chunks():\n    for byte in b'abc':\n        buffer[0] = byte\n        \
         yield buffer\n    yield memoryview(array.array('I', [1]))\n    buffer.clear()\n\
         start_response('200 OK', [('Content-Length', '3')])\nreturn chunks()",
    );
    assert_eq!(instance.call(&web::at("/")).streamed().1, b"abc\x01\0\0\0");
}

#[test]
fn header_lines_keep_their_number_and_their_bytes() {
    let mut instance = wsgi(
        "start_response('200 OK', [('Set-Cookie', 'a=1; Path=/'), ('Set-Cookie', 'b=2'), ('X-Twice', '1'), ('X-Twice', '2'), \
         ('X-Utf8', 'é'.encode().decode('latin-1')), ('X-Latin', 'caf\\xe9')] + [(f'X-{n}', str(n)) for n in range(80)])\n\
         return [b'']",
    );
    let answer = instance.call(&Ask::default().event());
    assert_eq!(web::lines(&answer, "set-cookie"), ["a=1; Path=/", "b=2"]);
    assert_eq!(web::lines(&answer, "x-twice"), ["1", "2"]);
    assert_eq!(web::lines(&answer, "x-utf8"), ["é"]);
    assert_eq!(web::lines(&answer, "x-latin"), ["café"]);
    assert_eq!(web::lines(&answer, "x-79"), ["79"]);
}

#[test]
fn each_chunk_goes_out_when_it_is_there() {
    // Every chunk waits for a call of another lane, which comes only when the chunk before was seen.
    let mut instance = Instance::start_with(
        Runtime::Python,
        "app.app",
        &[(
            "app.py",
            "import threading\nturn = threading.Semaphore(0)\ndef app(environ, start_response):\n    \
             start_response('200 OK', [])\n    if environ['PATH_INFO'] == '/turn':\n        turn.release()\n        return []\n    \
             def chunks():\n        yield b'first'\n        yield b''\n        turn.acquire(timeout=60)\n        yield b'second'\n    \
             return chunks()\n",
        )],
        &[("FN_LANES", "2")],
    );
    instance.ready();
    instance.send(0, &Ask::default().event());
    assert!(matches!(instance.receive(0), Some((1, InstanceFrame::Head(_)))));
    match instance.receive(0) {
        Some((1, InstanceFrame::Body(piece))) => assert_eq!(&piece[..], b"first"),
        other => panic!("{other:?}"),
    }
    let turn = Ask {
        path: "/turn",
        ..Ask::default()
    };
    instance.send(1, &turn.event());
    assert_eq!(web::plain(&instance.answer(1)), (200, String::new()));
    match instance.receive(0) {
        Some((1, InstanceFrame::Body(piece))) => assert_eq!(&piece[..], b"second"),
        other => panic!("{other:?}"),
    }
    assert!(matches!(instance.receive(0), Some((1, InstanceFrame::End(_)))));
}

#[test]
fn write_and_exc_info_work_as_specified() {
    let mut instance = wsgi(
        "path = environ['PATH_INFO']\n\
         if path == '/write':\n    write = start_response('200 OK', [])\n    write(b'one ')\n    write(b'two ')\n    return [b'three']\n\
         if path == '/replaced':\n    start_response('200 OK', [('X-A', '1')])\n    try:\n        raise ValueError('late')\n    \
         except ValueError:\n        start_response('503 Service Unavailable', [('X-B', '1')], sys.exc_info())\n    return [b'sorry']\n\
         if path == '/twice':\n    start_response('200 OK', [])\n    start_response('200 OK', [])\n    return []\n\
         if path == '/never':\n    return [b'body']\n\
         if path == '/nothing':\n    start_response('204 No Content', [])\n    return None\n\
         if path == '/text':\n    start_response('200 OK', [])\n    return ['text']\n\
         if path == '/status':\n    start_response('99 Bottles', [])\n    return []\n\
         if path == '/early':\n    start_response('101 Switching Protocols', [])\n    return []\n\
         if path == '/split':\n    start_response('200 OK', [('X-A', 'a\\r\\nX-B: b')])\n    return []\n\
         if path == '/name':\n    start_response('200 OK', [('X A', 'a')])\n    return []\n\
         def late():\n    start_response('200 OK', [])\n    yield b'begun'\n    try:\n        raise ValueError('late')\n    \
         except ValueError:\n        start_response('500 Oops', [], sys.exc_info())\n\
         return late()",
    );
    let at = |path| Ask { path, ..Ask::default() }.event();
    assert_eq!(web::plain(&instance.call(&at("/write"))), (200, "one two three".into()));
    let replaced = instance.call(&at("/replaced"));
    assert_eq!(web::plain(&replaced), (503, "sorry".into()));
    assert!(web::lines(&replaced, "x-a").is_empty() && web::lines(&replaced, "x-b") == ["1"]);
    web::fail(
        &mut instance,
        &[
            ("/twice", "AssertionError", "second time"),
            ("/never", "AssertionError", "without having called start_response"),
            ("/nothing", "Runtime.MarshalError", "None instead of"),
            ("/text", "Runtime.MarshalError", "gave str where"),
            ("/status", "Runtime.MarshalError", "'99 Bottles'"),
            ("/early", "Runtime.MarshalError", "101"),
            ("/split", "Runtime.MarshalError", "control character"),
            ("/name", "Runtime.MarshalError", "'X A'"),
        ],
    );
    let answer = instance.call(&at("/late"));
    let (failure, begun) = answer.aborted();
    assert_eq!(
        (failure.error_message.as_str(), begun.as_slice()),
        ("late", b"begun".as_slice())
    );
    assert_eq!(
        web::plain(&instance.call(&at("/write"))).0,
        200,
        "the lane is still in step"
    );
}

#[test]
fn the_iterable_is_closed_whatever_happens() {
    let mut instance = wsgi(
        "class Chunks:\n    def __iter__(self):\n        yield b'a'\n        if environ['PATH_INFO'] == '/fail':\n            raise ValueError('x')\n    \
         def close(self):\n        print('closed', environ['PATH_INFO'])\n        if environ['PATH_INFO'] == '/close':\n            raise OSError('closing')\n\
         start_response('200 OK', [('Content-Length', '1')])\nprint('to the log', file=environ['wsgi.errors'])\nreturn Chunks()",
    );
    let at = |path| Ask { path, ..Ask::default() }.event();
    assert_eq!(web::plain(&instance.call(&at("/good"))), (200, "a".into()));
    let printed = instance.printed();
    assert!(
        printed.contains("closed /good") && printed.contains("to the log"),
        "{printed}"
    );
    assert_eq!(instance.call(&at("/fail")).failure().error_type, "ValueError");
    assert!(instance.printed().contains("closed /fail"));
    assert_eq!(instance.call(&at("/close")).failure().error_message, "closing");
}

#[test]
fn a_reply_of_known_length_is_one_piece() {
    let mut instance = wsgi("start_response('200 OK', [('Content-Length', '4')])\nreturn iter([b'ab', b'cd'])");
    instance.send(0, &Ask::default().event());
    let mut kinds = Vec::new();
    loop {
        match instance.receive(0).unwrap().1 {
            InstanceFrame::End(_) => break,
            InstanceFrame::Body(piece) => kinds.push(piece.to_vec()),
            InstanceFrame::Head(_) => kinds.push(b"head".to_vec()),
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(kinds, [b"head".to_vec(), b"ab".to_vec(), b"cd".to_vec()]);
}

#[test]
fn leaving_and_forking_are_what_they_are_in_a_handler() {
    let mut instance = wsgi(
        "import os\nif environ['PATH_INFO'] == '/fork':\n    pid = os.fork()\n    if pid:\n        os.waitpid(pid, 0)\n    \
         start_response('200 OK', [])\n    return [b'once']\nsys.exit(4)",
    );
    let fork = Ask {
        path: "/fork",
        ..Ask::default()
    };
    assert_eq!(web::plain(&instance.call(&fork.event())), (200, "once".into()));
    let answer = instance.call(&Ask::default().event());
    assert_eq!(answer.failure().error_type, "Runtime.ExitError");
    assert_eq!(instance.exit_code(), Some(4));
}

#[test]
fn what_a_function_is_is_seen_by_its_parameters() {
    const WSGI: (u16, &str) = (200, "wsgi");
    let reply = "    start_response('200 OK', [])\n    return [b'wsgi']\n";
    for (source, handler) in [
        (format!("def app(environ, start_response):\n{reply}"), "app.app"),
        (format!("def run(environ, start_response):\n{reply}"), "app.run"),
        (
            format!("def run(env, start_resp):\n    start_response = start_resp\n{reply}"),
            "app.run",
        ),
        (format!("def run(e, start_response):\n{reply}"), "app.run"),
        (
            format!("def application(a, start):\n    start_response = start\n{reply}"),
            "app.application",
        ),
        (
            format!("class Site:\n  def __call__(self, environ, start_response):\n{reply}run = Site()\n"),
            "app.run",
        ),
        (
            format!("class Site:\n  def serve(self, environ, start_response):\n{reply}run = Site().serve\n"),
            "app.run",
        ),
        (
            format!(
                "import functools\ndef deep(x, environ, start_response):\n{reply}run = functools.partial(deep, 1)\n"
            ),
            "app.run",
        ),
        (
            format!(
                "import functools\ndef deep(environ, start_response):\n{reply}@functools.wraps(deep)\n\
                 def run(*args):\n    return deep(*args)\n"
            ),
            "app.run",
        ),
        (
            "def app(*args):\n    args[1]('200 OK', [])\n    return [b'wsgi']\n".to_owned(),
            "app.app",
        ),
    ] {
        let mut instance = web::app(Runtime::Python, handler, "app.py", &source);
        let (status, text) = web::plain(&instance.call(&Ask::default().event()));
        assert_eq!((status, text.as_str()), WSGI, "{source}");
    }
    for source in [
        "def app(event, context):\n    return 1\n",
        "def run(a, b):\n    return 1\n",
        "def run(*args):\n    return 1\n",
        "def run(event, context, more=None):\n    return 1\n",
        "class Adapter:\n    def __call__(self, event, context):\n        return 1\nrun = app = Adapter()\n",
        "run = lambda event, context: 1\n",
    ] {
        let handler = if source.starts_with("def app") {
            "app.app"
        } else {
            "app.run"
        };
        let mut instance = web::app(Runtime::Python, handler, "app.py", source);
        assert_eq!(instance.call(&nothing()).json(), json!(1), "{source}");
    }
}

#[test]
fn a_signature_that_is_given_decides() {
    let files = [(
        "app.py",
        "def run(a, b):\n    b('200 OK', [])\n    return [b'wsgi']\ndef app(a, b):\n    return 1\n",
    )];
    let mut instance = Instance::start_with(Runtime::Python, "app.run", &files, &[("FN_SIGNATURE", "wsgi")]);
    instance.ready();
    assert_eq!(
        web::plain(&instance.call(&Ask::default().event())),
        (200, "wsgi".into())
    );
    let mut instance = Instance::start_with(Runtime::Python, "app.app", &files, &[("FN_SIGNATURE", "event")]);
    instance.ready();
    assert_eq!(instance.call(&nothing()).json(), json!(1));
    let mut instance = Instance::start_with(Runtime::Python, "app.app", &files, &[("FN_SIGNATURE", "morse")]);
    assert_eq!(instance.init_error().error_type, "Runtime.InvalidSignature");
}

#[test]
fn what_is_no_http_event_is_an_error_and_not_a_request() {
    let mut instance = wsgi(ECHO);
    for event in [
        json!(null),
        json!([]),
        json!({}),
        json!({"version": "2.0", "requestContext": 5}),
        json!("x"),
    ] {
        let answer = instance.call(&event);
        assert_eq!(answer.failure().error_type, "Runtime.InvalidEvent", "{event}");
    }
    // What others than the gateway send has less in it, and things that HTTP would not let through.
    let mut event = json!({
        "rawPath": "/x", "headers": {"X-A": "a\r\nx-b: b", "bad name": "1"}, "cookies": ["a=1", "b=2"],
        "requestContext": {"http": {"method": "GET"}},
    });
    assert_eq!(web::plain(&instance.call(&event)), (200, String::new()));
    event["body"] = json!("!!not base64!!");
    event["isBase64Encoded"] = json!(true);
    assert_eq!(instance.call(&event).failure().error_type, "Runtime.InvalidEvent");
}

#[test]
fn a_web_app_brings_nothing_heavy_with_it() {
    let mut instance = wsgi("start_response('200 OK', [])\nreturn [json.dumps(sorted(sys.modules)).encode()]");
    let (_, text) = web::plain(&instance.call(&Ask::default().event()));
    let modules: Vec<String> = serde_json::from_str(&text).unwrap();
    for module in [
        "threading",
        "logging",
        "socket",
        "asyncio",
        "inspect",
        "http",
        "request",
        "wsgi",
        "choice",
    ] {
        assert!(!modules.iter().any(|name| name == module), "{module}");
    }
}
