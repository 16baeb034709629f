//! Web apps in the Node shim.

use functions::Runtime;
use functions::wire::InstanceFrame;
use serde_json::{Value, json};

use crate::host::{Instance, nothing};
use crate::web::{self, Ask, at};

fn module(source: &str) -> Instance {
    web::app(Runtime::Node, "index.handler", "index.mjs", source)
}

/// A function of `(req, res)` with this body.
fn app(body: &str) -> Instance {
    module(&format!(
        "import {{ EventEmitter, once }} from 'node:events';\nexport default async (req, res) => {{\n{body}\n}};\n"
    ))
}

#[test]
fn the_request_is_a_real_one() {
    let mut instance = module(
        "import http from 'node:http';\nexport default async (req, res) => {\n\
         const parts = [];\nfor await (const part of req) parts.push(part);\n\
         res.writeHead(201, { 'Content-Type': 'application/json' });\n\
         const { method, url, headers, rawHeaders, headersDistinct, httpVersion, complete } = req;\n\
         res.end(JSON.stringify({ method, url, headers, rawHeaders, many: headersDistinct['x-many'], httpVersion, complete,\n\
         body: Buffer.concat(parts).toString('latin1'), address: req.socket.remoteAddress, secure: req.socket.encrypted,\n\
         real: [req instanceof http.IncomingMessage, res instanceof http.ServerResponse] }));\n};\n",
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
        ("constructor", b"a caller's"),
        ("transfer-encoding", b"chunked"),
    ]);
    let (status, text) = web::plain(&instance.ask(&ask));
    assert_eq!(status, 201, "{text}");
    let seen: Value = serde_json::from_str(&text).unwrap();
    for (key, value) in [
        ("method", json!("POST")),
        ("url", json!("/a%20b/%C3%A9?x=1&x=%20")),
        ("many", json!(["one", "two, three"])),
        ("httpVersion", json!("1.1")),
        ("complete", json!(true)),
        ("body", json!("\u{ff}\u{0}")),
        ("address", json!("127.0.0.1")),
        ("secure", json!(false)),
        ("real", json!([true, true])),
    ] {
        assert_eq!(seen[key], value, "{key}");
    }
    for (name, value) in [
        ("host", "hello.localhost:8080"),
        ("cookie", "a=1; b=2"),
        ("x-many", "one, two, three"),
        ("x-name", "\u{c3}\u{a9}"),
        ("constructor", "a caller's"),
        ("content-length", "2"),
        ("x-forwarded-for", "127.0.0.1"),
    ] {
        assert_eq!(seen["headers"][name], value, "{name}");
    }
    assert!(seen["headers"].get("transfer-encoding").is_none());
    let raw = seen["rawHeaders"].as_array().unwrap();
    assert_eq!(raw.iter().filter(|name| *name == "x-many").count(), 2);
}

#[test]
fn the_response_keeps_the_rules_of_node() {
    let mut instance = app(
        "if (req.url === '/lines') {\n  res.setHeader('Set-Cookie', ['a=1', 'b=2']);\n  res.appendHeader('X-Twice', '1').appendHeader('X-Twice', '2');\n  \
         res.setHeader('X-Utf8', Buffer.from('é').toString('latin1'));\n  res.setHeader('X-Latin', 'caf\\xe9');\n  \
         for (let n = 0; n < 80; n += 1) res.setHeader(`X-${n}`, n);\n  res.statusCode = 202;\n  return res.end(Buffer.from(String(res.getHeader('x-7'))));\n}\n\
         if (req.url === '/keep') {\n  res.writeHead(200, { Connection: 'keep-alive', 'Content-Length': 2 });\n  return res.end('ok');\n}\n\
         if (req.url === '/chunked') {\n  res.writeHead(200, { 'Transfer-Encoding': 'chunked', Trailer: 'x-t' });\n  res.write('a');\n  \
         res.write(Buffer.alloc(70000, 'x'));\n  res.addTrailers({ 'x-t': '1' });\n  return res.end('\\r\\n0\\r\\n');\n}\n\
         if (req.url === '/early') {\n  res.writeContinue();\n  res.writeEarlyHints({ link: '</a>; rel=preload' });\n  return res.end('late');\n}\n\
         if (req.url === '/none') {\n  res.writeHead(204);\n  return res.end();\n}\n\
         if (req.url === '/events') {\n  const seen = [];\n  res.on('finish', () => seen.push('finish'));\n  res.on('close', () => console.log(...seen, 'close', res.headersSent, res.writableFinished));\n  \
         req.socket.setTimeout(0);\n  req.socket.setNoDelay(true);\n  return res.end('x');\n}\n\
         if (req.url === '/sent') {\n  res.end('once');\n  try { res.setHeader('a', '1'); } catch (error) { console.log(error.code); }\n  return;\n}\n\
         if (req.method === 'HEAD') return res.end('not sent');\n\
         res.end('whole');",
    );
    let answer = instance.call(&at("/lines"));
    assert_eq!(web::plain(&answer), (202, "7".into()));
    assert_eq!(web::lines(&answer, "set-cookie"), ["a=1", "b=2"]);
    assert_eq!(web::lines(&answer, "x-twice"), ["1", "2"]);
    assert_eq!(web::lines(&answer, "x-utf8"), ["é"]);
    assert_eq!(web::lines(&answer, "x-latin"), ["café"]);
    assert_eq!(web::lines(&answer, "x-79"), ["79"]);
    for (path, status, body) in [
        ("/keep", 200, "ok"),
        ("/chunked", 200, &format!("a{}\r\n0\r\n", "x".repeat(70000))),
        ("/early", 200, "late"),
        ("/none", 204, ""),
        ("/events", 200, "x"),
        ("/sent", 200, "once"),
        ("/", 200, "whole"),
    ] {
        let answer = instance.call(&at(path));
        assert_eq!(web::plain(&answer), (status, body.to_owned()), "{path}");
        assert!(web::lines(&answer, "connection").is_empty() && web::lines(&answer, "transfer-encoding").is_empty());
    }
    let head = Ask {
        method: "HEAD",
        ..Ask::default()
    };
    assert_eq!(web::plain(&instance.call(&head.event())), (200, String::new()));
    let printed = instance.printed();
    assert!(printed.contains("finish close true true"), "{printed}");
    assert!(printed.contains("ERR_HTTP_HEADERS_SENT"), "{printed}");
}

#[test]
fn bodies_of_any_bytes_and_size_go_both_ways() {
    let mut instance = app("req.pipe(res);");
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
fn an_app_that_writes_faster_than_it_is_read_is_told_to_wait() {
    let mut instance = app(
        "let waited = 0;\nfor (let n = 0; n < 16; n += 1) {\n  if (!res.write(Buffer.alloc(1 << 20, n))) {\n    waited += 1;\n    await once(res, 'drain');\n  }\n}\n\
         res.end();\nconsole.log('waited', waited > 0);",
    );
    let answer = instance.call(&at("/"));
    let (_, body) = answer.streamed();
    assert_eq!(body.len(), 16 << 20);
    assert!(
        body.chunks(1 << 20)
            .enumerate()
            .all(|(n, piece)| piece.iter().all(|byte| usize::from(*byte) == n))
    );
    assert!(instance.printed().contains("waited true"));
}

#[test]
fn chunks_go_out_when_they_are_written() {
    let body = "if (req.url === '/turn') { turn.emit('now'); return res.end(); }\nres.write('first');\nawait once(turn, 'now');\nres.end('second');";
    let source = format!(
        "import {{ EventEmitter, once }} from 'node:events';\nconst turn = new EventEmitter();\nexport default async (req, res) => {{\n{body}\n}};\n"
    );
    let mut instance = Instance::start_with(
        Runtime::Node,
        "index.handler",
        &[("index.mjs", &source)],
        &[("FN_LANES", "2")],
    );
    instance.ready();
    instance.send(0, &at("/"));
    assert!(matches!(instance.receive(0), Some((1, InstanceFrame::Head(_)))));
    match instance.receive(0) {
        Some((1, InstanceFrame::Body(piece))) => assert_eq!(&piece[..], b"first"),
        other => panic!("{other:?}"),
    }
    instance.send(1, &at("/turn"));
    assert_eq!(web::plain(&instance.answer(1)), (200, String::new()));
    match instance.receive(0) {
        Some((1, InstanceFrame::Body(piece))) => assert_eq!(&piece[..], b"second"),
        other => panic!("{other:?}"),
    }
    assert!(matches!(instance.receive(0), Some((1, InstanceFrame::End(_)))));
}

#[test]
fn what_goes_wrong_is_an_error_and_the_lane_stays_in_step() {
    let mut instance = app("if (req.url === '/reject') throw new TypeError('before');\n\
         if (req.url === '/text') throw 'just text';\n\
         if (req.url === '/late') { res.write('begun'); await new Promise((go) => setImmediate(go)); throw new TypeError('later'); }\n\
         if (req.url === '/hang') return req.socket.destroy();\n\
         if (req.url === '/broken') return res.destroy(new RangeError('broken'));\n\
         if (req.url === '/half') { res.write('half'); return setImmediate(() => res.destroy()); }\n\
         if (req.url === '/switch') { res.writeHead(101); return res.end(); }\n\
         if (req.url === '/after') { res.end('whole'); throw new TypeError('after'); }\n\
         res.end('fine');");
    web::fail(
        &mut instance,
        &[
            ("/reject", "TypeError", "before"),
            ("/text", "string", "just text"),
            ("/hang", "Runtime.IncompleteReply", "without a reply"),
            ("/broken", "RangeError", "broken"),
            ("/switch", "Runtime.MarshalError", "101"),
        ],
    );
    web::break_off(
        &mut instance,
        &[("/half", "in the middle", "half"), ("/late", "later", "begun")],
    );
    assert_eq!(web::plain(&instance.call(&at("/"))), (200, "fine".into()));
    for event in [
        json!({}),
        json!(null),
        json!({"rawPath": "/", "headers": {}, "requestContext": {"http": {"method": "GET / HTTP/1.1\r\n"}}}),
        json!({"rawPath": "x", "headers": {}, "requestContext": {"http": {"method": "GET"}}}),
        json!({"rawPath": "/", "headers": {"a": 1}, "requestContext": {"http": {"method": "GET"}}}),
    ] {
        assert_eq!(
            instance.call(&event).failure().error_type,
            "Runtime.InvalidEvent",
            "{event}"
        );
    }
    // What is no method to Node is the caller's mistake.
    let mut event = at("/");
    event["requestContext"]["http"]["method"] = json!("NONSENSE");
    assert_eq!(web::plain(&instance.call(&event)).0, 400);
    let mut event = at("/a b\r\nx: y/é");
    event["headers"]["x-a"] = json!("a\r\n\r\nGET / HTTP/1.1");
    event["headers"]["x b\r\n"] = json!("b");
    event["requestContext"]["domainName"] = json!("h");
    assert_eq!(web::plain(&instance.call(&event)), (200, "fine".into()));
}

#[test]
fn an_error_that_nothing_catches_ends_the_process() {
    let mut instance = app("setImmediate(() => { throw new RangeError('of nobody'); });");
    assert_eq!(instance.call(&at("/")).failure().error_message, "of nobody");
    assert_eq!(instance.exit_code(), Some(1));
}

#[test]
fn fetch_gets_a_request_and_gives_a_response() {
    let mut instance = module(
        "export default {\n  greeting: 'hello',\n  async fetch(request, env, context) {\n    const url = new URL(request.url);\n    \
         if (url.pathname === '/seen') {\n      return Response.json({ method: request.method, url: request.url, cookie: request.headers.get('cookie'),\n        \
         many: request.headers.get('x-many'), body: await request.text(), env: env.PATH, greeting: this.greeting });\n    }\n    \
         if (url.pathname === '/stream') {\n      const parts = ['a', 'b'].map((text) => new TextEncoder().encode(text));\n      \
         return new Response(new ReadableStream({ pull(to) { parts.length ? to.enqueue(parts.shift()) : to.close(); } }), { status: 203 });\n    }\n    \
         if (url.pathname === '/breaks') {\n      let n = 0;\n      return new Response(new ReadableStream({ pull(to) { n++ ? to.error(new RangeError('broke')) : to.enqueue(new Uint8Array(3)); } }));\n    }\n    \
         if (url.pathname === '/later') {\n      context.waitUntil(new Promise((go) => setImmediate(() => { console.log('waited'); go(); })));\n      context.waitUntil(Promise.reject(new RangeError('in the background')));\n    }\n    \
         if (url.pathname === '/fail') throw new TypeError('no luck');\n    \
         if (url.pathname === '/wrong') return { status: 200 };\n    \
         if (url.pathname === '/error') return Response.error();\n    \
         const headers = new Headers([['set-cookie', 'a=1'], ['set-cookie', 'b=2'], ['x-a', '1']]);\n    \
         return new Response(await request.arrayBuffer(), { headers });\n  },\n};\n",
    );
    let mut ask = Ask {
        method: "POST",
        path: "/seen",
        query: Some("q=1"),
        body: "ß".as_bytes(),
        ..Ask::default()
    };
    ask.headers.extend([
        ("cookie", b"a=1; b=2".as_slice()),
        ("x-many", b"one"),
        ("x-many", b"two"),
    ]);
    let (_, text) = web::plain(&instance.ask(&ask));
    let seen: Value = serde_json::from_str(&text).unwrap();
    for (key, value) in [
        ("method", "POST"),
        ("url", "http://hello.localhost:8080/seen?q=1"),
        ("cookie", "a=1; b=2"),
        ("many", "one, two"),
        ("body", "ß"),
        ("env", "/usr/bin:/bin"),
        ("greeting", "hello"),
    ] {
        assert_eq!(seen[key], value, "{key}");
    }
    let large: Vec<u8> = (0..6 * 1024 * 1024).map(|at: u32| (at % 251) as u8).collect();
    for body in [b"".as_slice(), b"x", &large] {
        let ask = Ask {
            method: "POST",
            body,
            ..Ask::default()
        };
        let answer = instance.ask(&ask);
        assert!(answer.streamed().1 == body, "{} bytes", body.len());
        assert_eq!(web::lines(&answer, "set-cookie"), ["a=1", "b=2"]);
        assert_eq!(web::lines(&answer, "x-a"), ["1"]);
    }
    assert_eq!(web::plain(&instance.call(&at("/stream"))), (203, "ab".into()));
    let head = Ask {
        method: "HEAD",
        path: "/stream",
        ..Ask::default()
    };
    assert_eq!(web::plain(&instance.call(&head.event())), (203, String::new()));
    let broken = instance.call(&at("/breaks"));
    assert_eq!(broken.aborted().0.error_message, "broke");
    assert_eq!(web::plain(&instance.call(&at("/later"))).0, 200);
    let printed = instance.printed();
    assert!(
        printed.contains("waited") && printed.contains("in the background"),
        "{printed}"
    );
    web::fail(
        &mut instance,
        &[
            ("/fail", "TypeError", "no luck"),
            ("/wrong", "Runtime.MarshalError", "a Object instead"),
            ("/error", "Runtime.MarshalError", "the status is 0"),
        ],
    );
    let trace = Ask {
        method: "TRACE",
        ..Ask::default()
    };
    assert_eq!(
        instance.call(&trace.event()).failure().error_type,
        "Runtime.InvalidEvent"
    );
}

#[test]
fn what_an_export_is_is_seen_by_its_form() {
    for (file, source) in [
        ("index.mjs", "export default (req, res) => res.end('app');"),
        ("index.mjs", "export const handler = (req, res) => { res.end('app'); };"),
        (
            "index.mjs",
            "export async function handler(request, response) { response.end('app'); }",
        ),
        (
            "index.mjs",
            "export default { handler(_req, _res) { _res.end('app'); } };",
        ),
        ("index.mjs", "export default async (request) => new Response('app');"),
        ("index.mjs", "export default async req => new Response('app');"),
        ("index.mjs", "export default { fetch: () => new Response('app') };"),
        (
            "index.mjs",
            "export const handler = { fetch: () => new Response('app') };",
        ),
        (
            "index.mjs",
            "import http from 'node:http'; export default http.createServer((a, b) => b.end('app'));",
        ),
        ("index.js", "module.exports = (req, res) => res.end('app');"),
        (
            "index.js",
            "exports.handler = function (req, res, next) { res.end('app'); };",
        ),
        (
            "index.js",
            "const app = (a, b) => b.end('app'); app.use = () => {}; app.handle = () => {}; module.exports = app;",
        ),
        (
            "index.js",
            "let up = false; module.exports = { ready: async () => { up = true; }, get routing() { return (a, b) => b.end(up ? 'app' : 'no'); } };",
        ),
    ] {
        let mut instance = web::app(Runtime::Node, "index.handler", file, source);
        assert_eq!(web::plain(&instance.call(&at("/"))), (200, "app".into()), "{source}");
    }
    for (file, source) in [
        ("index.mjs", "export default async (event) => 1;"),
        ("index.mjs", "export const handler = async (request) => 1;"),
        ("index.mjs", "export const handler = async (request, context) => 1;"),
        ("index.mjs", "export const handler = ({ req }) => 1;"),
        (
            "index.mjs",
            "export const handler = function requested(e) { return 1; };",
        ),
        ("index.mjs", "export const handler = Math.max.bind(null, 1);"),
        (
            "index.mjs",
            "export const handler = awslambda.streamifyResponse(async (req, res) => { res.write('1'); res.end(); });",
        ),
        ("index.js", "module.exports = async () => 1;"),
    ] {
        let mut instance = web::app(Runtime::Node, "index.handler", file, source);
        let answer = instance.call(&nothing());
        match source.contains("streamify") {
            true => assert_eq!(answer.streamed().1, b"1"),
            false => assert!(answer.json() == json!(1) || answer.json() == json!(null), "{source}"),
        }
    }
}

#[test]
fn a_signature_that_is_given_decides() {
    let start = |signature: &str, source: &str| {
        let signature = [("FN_SIGNATURE", signature)];
        Instance::start_with(Runtime::Node, "index.handler", &[("index.mjs", source)], &signature)
    };
    for (signature, source) in [
        ("http", "export const handler = (a, b) => b.end('app');"),
        ("fetch", "export const handler = () => new Response('app');"),
    ] {
        let mut instance = start(signature, source);
        instance.ready();
        assert_eq!(web::plain(&instance.call(&at("/"))), (200, "app".into()), "{source}");
    }
    let mut instance = start("event", "export const handler = (req, res) => 1;");
    instance.ready();
    assert_eq!(instance.call(&nothing()).json(), json!(1));
    for (signature, source, kind) in [
        ("http", "export default { fetch() {} };", "Runtime.HandlerNotFound"),
        ("event", "export default { fetch() {} };", "Runtime.InvalidSignature"),
        ("auto", "export default { routing() {} };", "Runtime.InvalidSignature"),
        (
            "auto",
            "export default { ready: async () => { throw new Error('no plugin'); }, routing() {} };",
            "Error",
        ),
        ("auto", "export default { other: 1 };", "Runtime.HandlerNotFound"),
    ] {
        assert_eq!(
            start(signature, source).init_error().error_type,
            kind,
            "{signature} {source}"
        );
    }
}

#[test]
fn a_parked_process_becomes_an_app_too() {
    let files = [("index.mjs", "export default (req, res) => res.end(req.url);")];
    let mut instance = Instance::start_with(Runtime::Node, "", &files, &[("FN_PARKED", "1")]);
    instance.load(&[("_HANDLER", "index.handler"), ("PATH", "/usr/bin:/bin")]);
    instance.ready();
    assert_eq!(web::plain(&instance.call(&at("/a"))), (200, "/a".into()));
}

#[test]
fn a_plain_handler_brings_no_server_with_it() {
    let mut instance = module(
        "export const handler = () => process.moduleLoadList.filter((name) => /^NativeModule (http|_http_server|internal.deps.undici.undici)$/.test(name));",
    );
    assert_eq!(instance.call(&nothing()).json(), json!([]));
}
