//! What the shims do about functions of the Functions Framework where the framework itself is not there. With it they are tested
//! through a whole server.

use functions::Runtime;
use serde_json::json;

use crate::host::{Instance, nothing};
use crate::web;

fn refused(runtime: Runtime, handler: &str, file: (&str, &str), env: &[(&str, &str)]) -> (String, String) {
    let failure = Instance::start_with(runtime, handler, &[file], env).init_error();
    (failure.error_type, failure.error_message)
}

#[test]
fn a_function_of_the_framework_needs_the_framework() {
    for source in [
        "import functions_framework\n@functions_framework.http\ndef hello(request):\n    pass\n",
        "def hello(request): pass\n",
        "async def hello(_request: Request) -> str:\n    pass\n",
    ] {
        let (kind, message) = refused(Runtime::Python, "main.hello", ("main.py", source), &[]);
        assert_eq!(kind, "Runtime.ImportModuleError", "{source}");
        assert!(message.contains("'functions_framework'"), "{message}");
    }
    let source = "def hello(a): pass\n";
    for env in [
        ("FN_SIGNATURE", "http"),
        ("FN_SIGNATURE", "cloudevent"),
        ("FUNCTION_SIGNATURE_TYPE", "event"),
    ] {
        let (kind, _) = refused(Runtime::Python, "main.hello", ("main.py", source), &[env]);
        assert_eq!(kind, "Runtime.ImportModuleError", "{env:?}");
    }
    let (kind, message) = refused(
        Runtime::Python,
        "nope.hello",
        ("main.py", source),
        &[("FN_SIGNATURE", "http")],
    );
    assert_eq!(kind, "Runtime.ImportModuleError");
    assert!(message.contains("nope.py"), "{message}");
    let script = ("index.js", "exports.handler = (event) => {};");
    for env in [("FN_SIGNATURE", "cloudevent"), ("FUNCTION_SIGNATURE_TYPE", "http")] {
        let (kind, message) = refused(Runtime::Node, "index.handler", script, &[env]);
        assert_eq!(kind, "Runtime.ImportModuleError", "{env:?}");
        assert!(message.contains("@google-cloud/functions-framework"), "{message}");
    }
}

#[test]
fn what_only_looks_like_one_stays_a_handler() {
    for source in [
        "# @functions_framework.http\ndef hello(event, context):\n    return 1\n",
        "def hello(request, context):\n    return 1\n",
        "def other(request):\n    pass\ndef hello(event, context):\n    return 1\n",
        "class C:\n  def hello(request):\n    pass\ndef hello(event, context):\n    return 1\n",
    ] {
        let mut instance = web::app(Runtime::Python, "main.hello", "main.py", source);
        assert_eq!(instance.call(&nothing()).json(), json!(1), "{source}");
    }
    let (kind, _) = refused(
        Runtime::Node,
        "index.nope",
        ("index.js", "exports.handler = () => 1;"),
        &[],
    );
    assert_eq!(kind, "Runtime.HandlerNotFound");
}
