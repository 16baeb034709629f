//! How calls and starts fail in the Node shim.

use functions::Runtime;
use serde_json::json;

use crate::host::{Instance, nothing};
use crate::node::node;

#[test]
fn what_is_thrown_is_an_error_with_the_functions_own_frames() {
    let mut instance = node(
        "index.mjs",
        "class Sad extends Error { name = 'Sad' }\nfunction deep(cause) { throw new Sad('no \\ud800 luck', { cause }); }\n\
         export const handler = (event, context, callback) => {\n  if (event.how === 'throw') deep(new RangeError('first'));\n  \
         if (event.how === 'string') throw 'just text';\n  if (event.how === 'null') throw null;\n  \
         if (event.how === 'reject') return Promise.reject(new TypeError('later'));\n  \
         if (event.how === 'callback') callback(new Error('given'));\n  \
         if (event.how === 'hostile') throw { get message() { throw 1; } };\n  \
         if (event.how === 'cause') throw Object.defineProperty(new TypeError('seen'), 'cause', { get() { throw 1; } });\n  \
         if (event.how === 'symbol') throw Object.assign(new Error('named'), { name: Symbol('odd') });\n  \
         if (event.how === 'bare') throw Object.assign(Object.create(null), { message: 'm', name: Object.create(null) });\n  \
         if (event.how === 'deep') { const f = () => f(); f(); }\n};\n",
    );
    let answer = instance.call(&json!({"how": "throw"}));
    let failure = answer.failure();
    assert_eq!(
        (failure.error_type.as_str(), failure.error_message.as_str()),
        ("Sad", "no \u{fffd} luck")
    );
    let trace = failure.stack_trace.join("\n");
    assert!(trace.contains("at deep") && trace.contains("index.mjs:2"), "{trace}");
    assert!(
        !trace.contains("bootstrap.mjs") && !trace.contains("node:internal"),
        "{trace}"
    );
    let printed = instance.printed();
    assert!(
        printed.contains("[ERROR] Sad") && printed.contains("RangeError: first"),
        "{printed}"
    );
    for (how, kind, message) in [
        ("string", "string", "just text"),
        ("null", "object", "null"),
        ("reject", "TypeError", "later"),
        ("callback", "Error", "given"),
        ("hostile", "Error", "the error has no text"),
        ("cause", "TypeError", "the error has no text"),
        ("symbol", "Error", "the error has no text"),
        ("bare", "Error", "the error has no text"),
        ("deep", "RangeError", "Maximum call stack size exceeded"),
    ] {
        let answer = instance.call(&json!({"how": how}));
        let failure = answer.failure();
        assert_eq!(
            (failure.error_type.as_str(), failure.error_message.as_str()),
            (kind, message),
            "{how}"
        );
    }
}

#[test]
fn what_can_not_load_is_an_init_error() {
    for (handler, name, source, kind, words) in [
        (
            "index.handler",
            "index.js",
            "exports.handler = () => {\n  return }};\n",
            "Runtime.UserCodeSyntaxError",
            "index.js, line 2",
        ),
        (
            "index.handler",
            "index.mjs",
            "export const handler = () => {\n  return }};\n",
            "Runtime.UserCodeSyntaxError",
            "index.mjs, line 2",
        ),
        (
            "index.handler",
            "index.mjs",
            "import { nope } from 'node:fs';\n",
            "Runtime.UserCodeSyntaxError",
            "index.mjs, line 1",
        ),
        (
            "index.nope",
            "index.mjs",
            "export const handler = 1;",
            "Runtime.HandlerNotFound",
            "it exports handler",
        ),
        (
            "index.handler",
            "index.mjs",
            "export const handler = 1;",
            "Runtime.HandlerNotFound",
            "is a number",
        ),
        (
            "nope.handler",
            "index.mjs",
            "",
            "Runtime.ImportModuleError",
            "neither nope.mjs nor nope.js",
        ),
        (
            "index.handler",
            "index.js",
            "require('lodasch');",
            "Runtime.ImportModuleError",
            "needs \"lodasch\"",
        ),
        (
            "index.handler",
            "index.mjs",
            "import 'lodasch';",
            "Runtime.ImportModuleError",
            "needs \"lodasch\"",
        ),
        (
            "index",
            "index.mjs",
            "",
            "Runtime.MalformedHandlerName",
            "file.function",
        ),
        ("", "index.mjs", "", "Runtime.MalformedHandlerName", "file.function"),
        (
            "index.handler",
            "index.mjs",
            "throw new RangeError('disk on fire');",
            "RangeError",
            "disk on fire",
        ),
        (
            "index.handler",
            "index.mjs",
            "await Promise.reject(new RangeError('later'));",
            "RangeError",
            "later",
        ),
    ] {
        let mut instance = Instance::start(Runtime::Node, handler, &[(name, source)]);
        let failure = instance.init_error();
        assert_eq!(failure.error_type, kind, "{source}: {failure:?}");
        assert!(failure.error_message.contains(words), "{source}: {failure:?}");
        assert!(!failure.stack_trace.concat().contains("bootstrap.mjs"), "{failure:?}");
        assert!(instance.printed().contains(kind), "the log tells as well");
    }
}

#[test]
fn an_exit_while_loading_closes_the_lane() {
    let mut instance = Instance::start(Runtime::Node, "index.handler", &[("index.js", "process.exit(6);")]);
    assert_eq!(instance.exit_code(), Some(6));
}

#[test]
fn results_that_are_no_json_are_marshal_errors() {
    let mut instance = node(
        "index.mjs",
        "const loop = {}; loop.loop = loop;\nconst values = { loop, big: 1n, json: { toJSON() { throw new Error('no'); } }, \
         chunk: { body: (function* () { yield 5; })() }, status: { statusCode: 'x', body: Buffer.from('a') }, \
         b64: { isBase64Encoded: true, body: Buffer.from('a') } };\nexport const handler = ({ what }) => values[what];",
    );
    for what in ["loop", "big", "json", "chunk", "status", "b64"] {
        let answer = instance.call(&json!({"what": what}));
        assert_eq!(answer.failure().error_type, "Runtime.MarshalError", "{what}");
    }
}

#[test]
fn an_exit_in_the_handler_ends_the_process() {
    let mut instance = node("index.js", "exports.handler = () => { process.exit(4); };");
    instance.send(0, &nothing());
    assert_eq!(instance.exit_code(), Some(4));
}

#[test]
fn what_no_promise_carries_is_an_error_and_ends_the_process() {
    for (source, kind, words) in [
        (
            "Promise.reject(new TypeError('lost')); return new Promise(() => {});",
            "Runtime.UnhandledPromiseRejection",
            "TypeError: lost",
        ),
        (
            "Promise.reject(5); return new Promise(() => {});",
            "Runtime.UnhandledPromiseRejection",
            "5",
        ),
        (
            "setTimeout(() => { throw new TypeError('late'); }, 1); return new Promise(() => {});",
            "TypeError",
            "late",
        ),
    ] {
        let mut instance = node("index.js", &format!("exports.handler = async () => {{ {source} }};"));
        let answer = instance.call(&nothing());
        assert_eq!(answer.failure().error_type, kind);
        assert_eq!(answer.failure().error_message, words);
        assert_eq!(instance.exit_code(), Some(1));
        assert!(instance.printed().contains(kind));
    }
}

#[test]
fn an_error_between_calls_ends_the_process() {
    let mut instance = node(
        "index.js",
        "exports.handler = async () => { setTimeout(() => { throw new Error('afterwards'); }, 1); return 1; };",
    );
    assert_eq!(instance.call(&nothing()).json(), json!(1));
    assert_eq!(instance.exit_code(), Some(1));
    assert!(instance.printed().contains("afterwards"));
}
