//! The Node shim.

use functions::Runtime;
use serde_json::json;

use crate::host::{Instance, nothing};

/// A function of one file that is ready.
pub(crate) fn node(name: &str, source: &str) -> Instance {
    let mut instance = Instance::start(Runtime::Node, "index.handler", &[(name, source)]);
    instance.ready();
    instance
}

#[test]
fn a_handler_answers_again_and_again_from_one_process() {
    for (name, source) in [
        ("index.mjs", "export const handler = async (event) => ({ got: event });"),
        ("index.mjs", "export function handler(event) { return { got: event }; }"),
        ("index.mjs", "export default { handler: (event) => ({ got: event }) };"),
        ("index.js", "exports.handler = async (event) => ({ got: event });"),
        (
            "index.cjs",
            "module.exports = { handler: (event) => ({ got: event }) };",
        ),
        (
            "index.js",
            "exports.handler = (event, context, callback) => callback(null, { got: event });",
        ),
        (
            "index.js",
            "exports.handler = (event, context, callback) => { setTimeout(() => callback(null, { got: event }), 1); };",
        ),
    ] {
        let mut instance = Instance::start(Runtime::Node, "index.handler", &[(name, source)]);
        let ready = instance.ready();
        assert!(ready.runtime.starts_with("node"), "{}", ready.runtime);
        for n in 0..3 {
            let answer = instance.call(&json!({"n": n, "text": "ß"}));
            assert_eq!(answer.json(), json!({"got": {"n": n, "text": "ß"}}), "{source}");
            assert_eq!(answer.boot_id(), ready.boot_id);
        }
        assert_eq!(instance.close(), Some(0));
    }
}

#[test]
fn modules_are_found_by_type_and_directory() {
    for (handler, files) in [
        (
            "index.handler",
            vec![
                ("package.json", r#"{"type":"module"}"#),
                ("index.js", "export const handler = () => 1;"),
            ],
        ),
        (
            "src/deep/api.run",
            vec![
                (
                    "src/deep/api.mjs",
                    "import x from './x.mjs'; export const run = () => x;",
                ),
                ("src/deep/x.mjs", "export default 1;"),
            ],
        ),
        ("index.a.b", vec![("index.js", "exports.a = { b: () => 1 };")]),
        (
            "index.handler",
            vec![
                ("index.js", "exports.handler = () => require('dep');"),
                ("node_modules/dep/index.js", "module.exports = 1;"),
            ],
        ),
        (
            "index.handler",
            vec![(
                "index.mjs",
                "const one = await Promise.resolve(1); export const handler = () => one;",
            )],
        ),
    ] {
        let mut instance = Instance::start(Runtime::Node, handler, &files);
        instance.ready();
        assert_eq!(instance.call(&nothing()).json(), json!(1), "{handler}");
    }
}

#[test]
fn the_context_is_that_of_lambda() {
    let mut instance = node(
        "index.mjs",
        "export const handler = (e, c) => { const left = c.getRemainingTimeInMillis(); return [c.awsRequestId, \
         c.functionName, c.functionVersion, c.memoryLimitInMB, c.invokedFunctionArn, \
         left > 3000000 && left <= 3600000, process.env._X_AMZN_TRACE_ID, typeof c.done]; };",
    );
    assert_eq!(
        instance.call(&nothing()).json(),
        json!([
            "req-1",
            "hello",
            "7",
            "256",
            "arn:aws:lambda:local:000000000000:function:hello",
            true,
            "Root=1-2",
            "undefined"
        ])
    );
}

#[test]
fn megabytes_go_in_and_out() {
    let mut instance = node(
        "index.mjs",
        "export const handler = (e) => ({ statusCode: 200, body: [...e.body].reverse().join('') });",
    );
    let body: String = ('a'..='z').cycle().take(6 * 1024 * 1024 - 100).collect();
    let reply = instance.call(&json!({"body": body})).reply();
    assert!(reply.body.iter().copied().eq(body.bytes().rev()));
}

#[test]
fn a_result_over_six_mebibytes_is_an_error_not_a_crash() {
    let mut instance = node("index.mjs", "export const handler = () => 'x'.repeat(6 * 1024 * 1024);");
    assert_eq!(
        instance.call(&nothing()).failure().error_type,
        "Function.ResponseSizeTooLarge"
    );
    assert_eq!(
        instance.call(&nothing()).failure().error_type,
        "Function.ResponseSizeTooLarge"
    );
}

#[test]
fn binary_comes_out_as_it_went_in() {
    let mut instance = node(
        "index.mjs",
        "export const handler = (e) => ({ statusCode: 200, isBase64Encoded: true, body: \
         Buffer.concat([Buffer.from(e.body, 'base64'), Buffer.from([255, 0])]).toString('base64') });",
    );
    assert_eq!(
        instance.call(&json!({"body": "AAH+"})).reply().body.as_ref(),
        [0, 1, 0xfe, 0xff, 0]
    );
}

#[test]
fn bodies_of_every_kind_stream() {
    let mut instance = node(
        "index.mjs",
        "import { Readable } from 'node:stream';\nasync function* slow() { for (const n of [0, 1, 2]) { await null; yield String(n); } }\n\
         function* quick() { yield '0'; yield Buffer.from('1'); yield new Uint8Array([50]); }\n\
         const make = { async: slow, sync: quick, readable: () => Readable.from(quick()), \
         web: () => new Response('012').body, bytes: () => Buffer.from('012') };\n\
         export const handler = async ({ what }) => ({ statusCode: 206, headers: { 'X-A': 1 }, cookies: ['a=1'], body: make[what]() });",
    );
    for what in ["async", "sync", "readable", "web", "bytes"] {
        let answer = instance.call(&json!({"what": what}));
        let (head, body) = answer.streamed();
        assert_eq!(body, b"012", "{what}");
        assert_eq!(head.status, 206);
        assert_eq!(head.headers["x-a"], "1");
        assert_eq!(head.headers["set-cookie"], "a=1");
    }
}

#[test]
fn a_large_stream_arrives_whole() {
    let mut instance = node(
        "index.mjs",
        "export const handler = () => ({ body: (async function* () { for (let i = 0; i < 40; i += 1) yield Buffer.alloc(3e5, i); \
         yield Buffer.alloc(3e6, 7); })() });",
    );
    let answer = instance.call(&nothing());
    let (_, body) = answer.streamed();
    assert_eq!(body.len(), 40 * 300_000 + 3_000_000);
    assert!(
        body[..12_000_000]
            .chunks(300_000)
            .enumerate()
            .all(|(i, chunk)| chunk.iter().all(|b| usize::from(*b) == i))
    );
}

#[test]
fn a_stream_that_fails_at_once_is_an_error_and_later_an_abort() {
    let mut instance = node(
        "index.mjs",
        "async function* body(n) { for (let i = 0; i < n; i += 1) yield 'x'; throw new Error('broke'); }\n\
         export const handler = ({ n }) => ({ body: body(n) });",
    );
    assert_eq!(instance.call(&json!({"n": 0})).failure().error_message, "broke");
    let answer = instance.call(&json!({"n": 2}));
    let (failure, before) = answer.aborted();
    assert_eq!(
        (failure.error_message.as_str(), before.as_slice()),
        ("broke", &b"xx"[..])
    );
    assert_eq!(instance.call(&json!({"n": 0})).failure().error_message, "broke");
}

#[test]
fn a_streamified_handler_writes_its_own_reply() {
    let mut instance = node(
        "index.mjs",
        "import { pipeline } from 'node:stream/promises';\nimport { Readable } from 'node:stream';\n\
         export const handler = awslambda.streamifyResponse(async (event, stream, context) => {\n  \
         if (event.how === 'plain') { stream.setContentType('text/plain'); stream.write('a'); stream.end('b'); }\n  \
         if (event.how === 'head') { stream = awslambda.HttpResponseStream.from(stream, { statusCode: 418, \
         headers: { 'x-a': 'b' }, cookies: ['c=1'] }); stream.end(context.awsRequestId); }\n  \
         if (event.how === 'empty') stream.end();\n  \
         if (event.how === 'pipe') await pipeline(Readable.from(Array.from({ length: 50 }, () => Buffer.alloc(100000))), stream);\n  \
         if (event.how === 'early') throw new Error('early');\n  \
         if (event.how === 'late') { stream.write('some'); throw new Error('late'); }\n  \
         if (event.how === 'destroy') stream.destroy();\n});",
    );
    let answer = instance.call(&json!({"how": "plain"}));
    assert_eq!(answer.streamed().1, b"ab");
    assert_eq!(answer.streamed().0.headers["content-type"], "text/plain");
    let answer = instance.call(&json!({"how": "head"}));
    let (head, body) = answer.streamed();
    assert_eq!((head.status.as_u16(), body.as_slice()), (418, &b"req-1"[..]));
    assert_eq!(head.headers["x-a"], "b");
    assert_eq!(head.headers["set-cookie"], "c=1");
    assert_eq!(instance.call(&json!({"how": "empty"})).streamed().1, b"");
    assert_eq!(instance.call(&json!({"how": "pipe"})).streamed().1.len(), 5_000_000);
    assert_eq!(instance.call(&json!({"how": "early"})).failure().error_message, "early");
    assert_eq!(instance.call(&json!({"how": "late"})).aborted().0.error_message, "late");
    assert_eq!(
        instance.call(&json!({"how": "destroy"})).failure().error_message,
        "the reply stream was destroyed"
    );
    assert_eq!(instance.call(&json!({"how": "plain"})).streamed().1, b"ab");
}

#[test]
fn strange_results_are_still_results() {
    let mut instance = node("index.js", "exports.handler = ({ code }) => eval(code);");
    for (code, result) in [
        ("undefined", json!(null)),
        ("null", json!(null)),
        ("5", json!(5)),
        ("'x'", json!("x")),
        ("[1, [2, 3]]", json!([1, [2, 3]])),
        ("NaN", json!(null)),
        ("() => 1", json!(null)),
        ("Symbol('x')", json!(null)),
        ("({ body: ['a'] })", json!({"body": ["a"]})),
        ("new Date(0)", json!("1970-01-01T00:00:00.000Z")),
        ("'\\ud800 \\ud83d\\ude00'", json!("\u{fffd} \u{1f600}")),
        ("'\\\\ud800'", json!("\\ud800")),
    ] {
        assert_eq!(instance.call(&json!({"code": code})).json(), result, "{code}");
    }
}

#[test]
fn only_the_first_answer_counts() {
    let mut instance = node(
        "index.js",
        "exports.handler = (event, context, callback) => { callback(null, 1); callback(null, 2); callback(new Error('x')); };",
    );
    assert_eq!(instance.call(&nothing()).json(), json!(1));
    assert_eq!(instance.call(&nothing()).json(), json!(1));
}

#[test]
fn what_was_printed_is_in_the_log_before_the_end() {
    let mut instance = node(
        "index.js",
        "exports.handler = ({ n }) => { console.log('out'); console.error('err'); process.stdout.write('x'.repeat(n)); return 1; };",
    );
    for n in [0, 300_000] {
        instance.call(&json!({"n": n}));
        let printed = instance.printed();
        assert!(printed.contains("out\n") && printed.contains("err\n"), "{n}");
        assert!(printed.len() >= n, "{} of {n}", printed.len());
    }
}

#[test]
fn a_child_process_does_not_inherit_the_lane() {
    let mut instance = node(
        "index.js",
        "exports.handler = () => require('child_process').spawnSync('sh', ['-c', 'readlink /proc/self/fd/*'], \
         { stdio: ['ignore', 'pipe', 'ignore'] }).stdout.toString();",
    );
    let descriptors = instance.call(&nothing()).json();
    let sockets = descriptors.as_str().unwrap().matches("socket:").count();
    // Node hands its children socket pairs for pipes: the child's own output is the only one.
    assert!(sockets <= 1, "{descriptors}");
}

#[test]
fn timers_run_while_a_call_waits() {
    let mut instance = node(
        "index.mjs",
        "let ticks = 0;\nexport const handler = async () => { const t = setInterval(() => { ticks += 1; }, 1); \
         while (ticks < 3) await new Promise(setImmediate); clearInterval(t); return ticks >= 3; };",
    );
    assert_eq!(instance.call(&nothing()).json(), json!(true));
}

#[test]
fn two_lanes_run_at_the_same_time() {
    let mut instance = Instance::start_with(
        Runtime::Node,
        "index.handler",
        &[(
            "index.mjs",
            "let waiting = null;\nexport const handler = (event) => new Promise((resolve) => {\n  \
             if (waiting) { waiting(); waiting = null; resolve(event); } else waiting = () => resolve(event);\n});",
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
        Runtime::Node,
        "index.handler",
        &[(
            "index.mjs",
            "await new Promise((r) => setTimeout(r, 20)); export const handler = (event) => event;",
        )],
    );
    instance.send(0, &json!(1));
    instance.ready();
    assert_eq!(instance.answer(0).json(), json!(1));
}
