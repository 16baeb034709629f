//! `build = "allow-scripts"`: what dependencies run at their installation runs in a sandbox of the server, and nowhere else.

use tests::{Server, Source};

const ALLOWED: &str = "build = \"allow-scripts\"\n[env]\nSECRET = \"the secret\"\n";

/// A package whose module is written by its install script, which tells what it found.
fn node_with_a_script(script: &str) -> Source {
    Source::empty()
        .file(
            "package.json",
            r#"{"name":"app","version":"1.0.0","dependencies":{"dep":"file:./dep"}}"#,
        )
        .file(
            "dep/package.json",
            r#"{"name":"dep","version":"1.0.0","main":"made.js","scripts":{"install":"node make.js"}}"#,
        )
        .file("dep/make.js", script)
        .file("index.js", "exports.handler = async () => require('dep');\n")
}

/// A package that exists only as source, whose module is written while it is built.
fn python_with_a_script() -> Source {
    Source::python("import made\n\n\ndef handler(event, context):\n    return {'uid': made.UID, 'secret': made.SECRET}\n")
        .file("requirements.txt", "./package\n")
        .file(
            "package/setup.py",
            "import os\n\nfrom setuptools import setup\n\nwith open('made.py', 'w') as made:\n    made.write('UID = %d\\nSECRET = %r\\n' % (os.getuid(), os.environ.get('SECRET')))\nsetup(name='made', version='1.0', py_modules=['made'])\n",
        )
}

const TELLING: &str = "require('fs').writeFileSync(__dirname + '/made.js', 'module.exports = ' + JSON.stringify({ uid: process.getuid(), secret: process.env.SECRET || null }) + ';');\n";

#[tokio::test]
async fn scripts_of_node_packages_run_in_a_sandbox_without_secrets() {
    let server = Server::start().await;
    let source = node_with_a_script(TELLING).file("fn.toml", ALLOWED);
    server.deploy("built-node", &source, &[]).await;
    let made = server.call("built-node").await.good().json();
    assert_eq!(made, serde_json::json!({"uid": 1000, "secret": null}));
    assert!(
        !source.join("dep/made.js").exists(),
        "the directory that was deployed is untouched"
    );
}

#[tokio::test]
async fn without_permission_no_script_runs() {
    let server = Server::start().await;
    let source = node_with_a_script(TELLING);
    server.deploy("unbuilt", &source, &["--no-check"]).await;
    assert_eq!(server.call("unbuilt").await.error(502), "function_error");
}

#[tokio::test]
async fn source_packages_of_python_are_built_in_a_sandbox() {
    let server = Server::start().await;
    let source = python_with_a_script().file("fn.toml", ALLOWED);
    server.deploy("built-python", &source, &[]).await;
    let made = server.call("built-python").await.good().json();
    assert_eq!(made, serde_json::json!({"uid": 1000, "secret": null}));
}

#[tokio::test]
async fn a_script_that_fails_deploys_nothing_and_shows_its_output() {
    let server = Server::start().await;
    let source =
        node_with_a_script("console.log('the compiler is missing'); process.exit(3);\n").file("fn.toml", ALLOWED);
    let said = server.try_deploy("broken", source.path(), &[]).await;
    said.refused("the compiler is missing");
    assert_eq!(server.call("broken").await.error(404), "function_not_found");
}
