//! Node processes that are started before it is known whose they will be.

use functions::Runtime;
use serde_json::json;

use crate::host::Instance;

const PARKED: &[(&str, &str)] = &[("FN_PARKED", "1"), ("GONE", "1"), ("KEPT", "1"), ("HOME", "/tmp")];

#[test]
fn a_parked_process_becomes_the_function_it_is_told() {
    let source = "
        const [env, cwd] = [{ ...process.env }, process.cwd()];
        export const handler = async (event, context) => ({ env, cwd, event, name: context.functionName });";
    let mut instance = Instance::start_with(Runtime::Node, "none.none", &[("index.mjs", source)], PARKED);
    let env = [
        ("AWS_LAMBDA_FUNCTION_NAME", "mine"),
        ("FN_LANES", "1"),
        ("HOME", "/tmp"),
        ("KEPT", "2"),
        ("NEW", "a=b \u{e4}"),
        ("_HANDLER", "index.handler"),
    ];
    instance.load(&env);
    let ready = instance.ready();
    assert_eq!(instance.printed(), "");
    let answer = instance.call(&json!({"n": 1}));
    assert_eq!(answer.boot_id(), ready.boot_id);
    let answer = answer.json();
    let wanted: serde_json::Map<_, _> = env.iter().map(|(k, v)| ((*k).to_owned(), json!(v))).collect();
    assert_eq!(answer["env"], json!(wanted));
    assert_eq!(answer["name"], "mine");
    assert_eq!(answer["event"], json!({"n": 1}));
    assert!(answer["cwd"].as_str().unwrap().starts_with('/'));
    assert_eq!(instance.call(&json!({})).boot_id(), ready.boot_id);
    assert_eq!(instance.close(), Some(0));
}

#[test]
fn a_parked_process_shows_no_trace_of_its_rehearsal() {
    let source = "
        exports.handler = () => ({
            modules: Object.keys(require.cache).length,
            handles: process.getActiveResourcesInfo().filter((what) => /Server|Timeout/.test(what)),
            listeners: process.listenerCount('uncaughtException'),
            globals: Object.keys(globalThis).sort(),
        });";
    let files = [("index.js", source)];
    let call = |mut instance: Instance| {
        let ready = instance.ready();
        assert_eq!(instance.printed(), "");
        (instance.call(&json!({})).json(), ready.boot_id)
    };
    let (own, _) = call(Instance::start(Runtime::Node, "index.handler", &files));
    let mut parked = Instance::start_with(Runtime::Node, "none.none", &files, PARKED);
    parked.load(&[("_HANDLER", "index.handler")]);
    let (loaded, boot_id) = call(parked);
    assert_eq!(loaded, own);
    assert!(!std::path::Path::new(&format!("/tmp/.rehearsal-{boot_id}")).exists());
}

#[test]
fn what_can_not_load_in_a_parked_process_is_the_same_init_error() {
    for source in [
        "import 'missing'; export const handler = 1;",
        "export const handler = 1;",
        "export const handler = {{{",
        "throw new TypeError('not today');",
        "await Promise.reject(7);",
    ] {
        // Each has a directory of its own.
        let of = |instance: &mut Instance| {
            let dir = instance.dir().to_str().unwrap().to_owned();
            format!("{:?} {}", instance.init_error(), instance.printed()).replace(&dir, "/function")
        };
        let mut own = Instance::start(Runtime::Node, "index.handler", &[("index.mjs", source)]);
        let mut other = Instance::start_with(Runtime::Node, "none.none", &[("index.mjs", source)], PARKED);
        other.load(&[("_HANDLER", "index.handler")]);
        assert_eq!(of(&mut own), of(&mut other), "{source}");
    }
}

#[test]
fn a_parked_process_ends_with_its_lane() {
    let instance = Instance::start_with(Runtime::Node, "none.none", &[], PARKED);
    assert_eq!(instance.close(), Some(0));
}
