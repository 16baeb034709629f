use std::os::unix::fs::{PermissionsExt, symlink};

use tempfile::TempDir;

use super::*;

/// A directory with these files; a name that starts with `+` is executable.
fn dir(files: &[(&str, &str)]) -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    for (name, text) in files {
        let path = dir.path().join(name.trim_start_matches('+'));
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, text).unwrap();
        let mode = if name.starts_with('+') { 0o755 } else { 0o644 };
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
    }
    dir
}

fn found(files: &[(&str, &str)]) -> String {
    let detected = detect(dir(files).path()).unwrap();
    format!("{} {}", detected.runtime, detected.handler)
}

fn refused(files: &[(&str, &str)]) -> DetectError {
    let error = detect(dir(files).path()).unwrap_err();
    assert!(error.hint().ends_with('.'));
    error
}

const PYTHON: &str = "import os\n\ndef handler(event, context):\n    return {}\n";

#[test]
fn python_handlers_are_found_by_file_and_function() {
    assert_eq!(found(&[("handler.py", PYTHON)]), "python handler.handler");
    assert_eq!(found(&[("main.py", PYTHON)]), "python main.handler");
    assert_eq!(
        found(&[("lambda_function.py", PYTHON)]),
        "python lambda_function.handler"
    );
    let both = "async def lambda_handler(e, c): pass\nhandler = lambda_handler\n";
    assert_eq!(
        found(&[("lambda_function.py", both)]),
        "python lambda_function.lambda_handler"
    );
    assert_eq!(found(&[("handler.py", both)]), "python handler.handler");
    assert_eq!(
        found(&[("handler.py", "x = 1"), ("main.py", PYTHON)]),
        "python main.handler"
    );
}

#[test]
fn web_apps_are_found_where_their_frameworks_put_them() {
    for (file, source, handler) in [
        ("app.py", "app = Flask(__name__)\n", "app.app"),
        ("wsgi.py", "application = get_wsgi_application()\n", "wsgi.application"),
        ("asgi.py", "application = get_asgi_application()\n", "asgi.application"),
        ("main.py", "app = FastAPI()\n", "main.app"),
        ("main.py", "app = FastAPI()\nhandler = Mangum(app)\n", "main.handler"),
        (
            "app.py",
            "app = Api()\ndef lambda_handler(event, context): pass\n",
            "app.lambda_handler",
        ),
    ] {
        assert_eq!(found(&[(file, source)]), format!("python {handler}"));
    }
}

#[test]
fn functions_of_the_functions_framework_are_found_by_their_names() {
    let one = "import functions_framework\n@functions_framework.http\ndef hello(request): pass\n";
    let two = format!("{one}@functions_framework.cloud_event\ndef other(event): pass\n");
    let script = "require('@google-cloud/functions-framework').http('helloHttp', () => {});";
    assert_eq!(found(&[("main.py", one)]), "python main.hello");
    assert_eq!(found(&[("index.js", script)]), "node index.helloHttp");
    let package = r#"{"main": "src/function.js"}"#;
    assert_eq!(
        found(&[("package.json", package), ("src/function.js", script)]),
        "node src/function.helloHttp"
    );
    for files in [
        [("main.py", two.as_str())],
        [("index.js", &format!("{script}\nhttp('b', () => {{}});"))],
    ] {
        assert!(matches!(refused(&files), DetectError::SeveralFunctions { names, .. } if names.len() == 2));
    }
    let manifest = Manifest::from_toml("[env]\nFUNCTION_TARGET = \"other\"").unwrap();
    assert_eq!(
        manifest.detect(dir(&[("main.py", &two)]).path()).unwrap().handler,
        "main.other"
    );
    assert_eq!(
        manifest.detect(dir(&[("index.js", script)]).path()).unwrap().handler,
        "index.other"
    );
    let plain = "def other(request): pass\n";
    assert_eq!(
        manifest.detect(dir(&[("main.py", plain)]).path()).unwrap().handler,
        "main.other"
    );
}

#[test]
fn only_the_top_of_a_module_counts() {
    for source in [
        "def handler(e, c): pass",
        "async  def handler (e, c): pass",
        "handler=Mangum(app)",
        "handler: Handler = make()",
        "from app import handler",
        "from app import main as handler, other",
    ] {
        assert!(defines(source, "handler"), "{source}");
    }
    for source in [
        "  def handler(e, c): pass",
        "def handler2(e, c): pass",
        "class A:\n    handler = 1",
        "# def handler(",
        "handler == 1",
        "handlers = []",
        "from handler import other",
        "import handler_of_things",
        "definitely handler",
    ] {
        assert!(!defines(source, "handler"), "{source}");
    }
}

#[test]
fn node_handlers_are_found_by_file() {
    for file in NODE_FILES {
        let stem = file.rsplit_once('.').unwrap().0;
        assert_eq!(found(&[(file, "")]), format!("node {stem}.handler"));
    }
    let main = |main: &str| format!("{{\"main\": {main:?}}}");
    for (main, file) in [
        (main("./src/app.js"), "src/app.js"),
        (main("src/app"), "src/app.js"),
        (main("src"), "src/index.js"),
        (main("src/app.mjs"), "src/app.mjs"),
    ] {
        let stem = file.rsplit_once('.').unwrap().0;
        assert_eq!(
            found(&[("package.json", &main), (file, "")]),
            format!("node {stem}.handler")
        );
    }
}

#[test]
fn a_package_json_that_leads_nowhere_says_so() {
    assert!(matches!(
        refused(&[("package.json", "{")]),
        DetectError::PackageJson { .. }
    ));
    for main in ["gone.js", "/etc/passwd", "../x.js", "data.json"] {
        let package = format!("{{\"main\": {main:?}}}");
        let error = refused(&[("package.json", &package), ("data.json", "{}")]);
        assert!(matches!(error, DetectError::PackageJson { .. }), "{main}: {error}");
    }
    assert!(matches!(refused(&[("package.json", "{}")]), DetectError::Nothing));
}

#[test]
fn a_func_yaml_names_the_entry_point() {
    let yaml = "schema_version: 20180708\nname: hello\nruntime: python\nentrypoint: /python/bin/fdk /function/func.py handler\n";
    assert_eq!(
        found(&[("func.yaml", yaml), ("func.py", "")]),
        "fdk fdk /function/func.py handler"
    );
    assert_eq!(
        found(&[("func.yaml", "entrypoint: \"node func.js\"\n")]),
        "fdk node func.js"
    );
    let error = detect_as(
        dir(&[("func.yaml", "name: x\n")]).path(),
        Some(Runtime::Fdk),
        None,
        None,
    )
    .unwrap_err();
    assert!(matches!(error, DetectError::NoEntrypoint) && error.hint().contains("func.yaml"));
}

#[test]
fn an_executable_bootstrap_is_a_runtime_of_lambda() {
    assert_eq!(found(&[("+bootstrap", ""), ("+handler", "")]), "lambda bootstrap");
    assert_eq!(
        found(&[("+bootstrap", ""), ("handler.py", PYTHON)]),
        "python handler.handler"
    );
    let dir = dir(&[("+bootstrap", "")]);
    let given = |runtime, handler| detect_as(dir.path(), runtime, Some(handler), None).unwrap();
    assert_eq!(given(Some(Runtime::Lambda), "app.main").handler, "app.main");
    assert_eq!(given(None, "bootstrap").runtime, Runtime::Lambda);
    let plain = super::tests::dir(&[("bootstrap", "")]);
    let refused = |dir: &TempDir| detect_as(dir.path(), Some(Runtime::Lambda), None, None).unwrap_err();
    assert!(matches!(refused(&plain), DetectError::NotExecutable { .. }));
    assert!(matches!(
        refused(&super::tests::dir(&[])),
        DetectError::NoSuchHandler { .. }
    ));
}

#[test]
fn a_procfile_that_names_a_web_server_comes_first() {
    let procfile = "release: ./migrate\n  web:  gunicorn -b :$PORT app:app \nworker: x\n";
    assert_eq!(
        found(&[("Procfile", procfile), ("handler.py", PYTHON)]),
        "http gunicorn -b :$PORT app:app"
    );
    assert_eq!(
        found(&[("Procfile", "worker: x\nweb:\n"), ("handler.py", PYTHON)]),
        "python handler.handler"
    );
    let dir = dir(&[("Procfile", "worker: x")]);
    let error = detect_as(dir.path(), Some(Runtime::Http), None, None).unwrap_err();
    assert!(matches!(error, DetectError::NoServer) && error.hint().contains("Procfile"));
}

#[test]
fn a_command_has_to_be_there_when_it_is_a_path_in_the_bundle() {
    let dir = dir(&[("+bin/server", ""), ("plain", ""), ("handler.py", PYTHON)]);
    let detect = |command: &str| {
        let toml = format!("[http]\ncommand = {command}");
        Manifest::from_toml(&toml).unwrap().detect(dir.path())
    };
    for command in [
        "[\"python3\", \"app.py\"]",
        "[\"bin/server\"]",
        "[\"./bin/server\"]",
        "[\"/usr/bin/env\"]",
    ] {
        assert_eq!(detect(command).unwrap().runtime, Runtime::Http, "{command}");
    }
    assert!(matches!(
        detect("[\"./plain\"]"),
        Err(DetectError::NotExecutable { .. })
    ));
    for command in ["[\"bin/gone\"]", "[\"bin/../../x\"]", "[\"./\"]"] {
        assert!(
            matches!(detect(command), Err(DetectError::NoSuchHandler { .. })),
            "{command}"
        );
    }
    // Whoever says another runtime as well is told when it is resolved.
    let manifest = Manifest::from_toml("runtime = \"python\"\n[http]\ncommand = [\"x\"]").unwrap();
    assert_eq!(manifest.detect(dir.path()).unwrap().runtime, Runtime::Python);
}

#[test]
fn executables_are_found_by_name_or_because_they_are_alone() {
    assert_eq!(found(&[("+run", "")]), "stdio run");
    assert_eq!(
        found(&[("+run", ""), ("+handler.sh", ""), ("+other", "")]),
        "stdio handler.sh"
    );
    assert_eq!(found(&[("+main", ""), ("+handler", "")]), "stdio handler");
    assert_eq!(found(&[("handler.sh", ""), ("+run", "")]), "stdio run");
    assert_eq!(found(&[("main.py", "print(1)"), ("+run", "")]), "stdio run");
    match refused(&[("+a", ""), ("+b", "")]) {
        DetectError::SeveralExecutables { names } => assert_eq!(names, ["a", "b"]),
        error => panic!("{error}"),
    }
    assert!(matches!(
        refused(&[("handler.sh", "")]),
        DetectError::NotExecutable { .. }
    ));
}

#[test]
fn what_is_nothing_or_two_things_is_refused() {
    assert!(matches!(refused(&[]), DetectError::Nothing));
    assert!(matches!(refused(&[("README", "")]), DetectError::Nothing));
    assert!(matches!(
        refused(&[("handler.py", PYTHON), ("index.js", "")]),
        DetectError::Ambiguous { .. }
    ));
    assert!(matches!(
        refused(&[("handler.py", "x = 1")]),
        DetectError::NoFunction { .. }
    ));
    assert!(matches!(
        detect(Path::new("/nonexistent")),
        Err(DetectError::Read { .. })
    ));
}

#[test]
fn what_is_decided_is_not_guessed() {
    let dir = dir(&[
        ("handler.py", PYTHON),
        ("index.js", ""),
        ("pkg/app.py", ""),
        (".fn-packages/dep/__init__.py", ""),
        ("src/app.mjs", ""),
        ("+bin/run", ""),
        ("plain.txt", ""),
    ]);
    let with = |runtime, handler: Option<&str>| detect_as(dir.path(), runtime, handler, None);
    assert_eq!(with(Some(Runtime::Node), None).unwrap().handler, "index.handler");
    assert_eq!(with(Some(Runtime::Python), None).unwrap().handler, "handler.handler");
    assert!(matches!(with(Some(Runtime::Stdio), None), Err(DetectError::Nothing)));
    for (handler, runtime) in [
        ("pkg.app.main", Runtime::Python),
        ("pkg/app.main", Runtime::Python),
        ("dep.handler", Runtime::Python),
        ("src/app.main", Runtime::Node),
        ("bin/run", Runtime::Stdio),
    ] {
        assert_eq!(with(None, Some(handler)).unwrap().runtime, runtime, "{handler}");
        assert!(with(Some(runtime), Some(handler)).is_ok(), "{handler}");
    }
    for handler in [
        "gone.main",
        "../x.main",
        "/bin/sh",
        "bin/../bin/run",
        "",
        "handler",
        "a\0b",
    ] {
        assert!(
            matches!(with(None, Some(handler)), Err(DetectError::NoSuchHandler { .. })),
            "{handler}"
        );
    }
    assert!(matches!(
        with(Some(Runtime::Stdio), Some("plain.txt")),
        Err(DetectError::NotExecutable { .. })
    ));
}

#[test]
fn devices_and_directories_are_no_handlers() {
    let dir = dir(&[("handler.py/x", ""), ("+main/x", "")]);
    symlink("/dev/zero", dir.path().join("main.py")).unwrap();
    symlink("loop", dir.path().join("loop")).unwrap();
    assert!(matches!(detect(dir.path()), Err(DetectError::Nothing)));
}
