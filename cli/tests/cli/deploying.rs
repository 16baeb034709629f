//! `fn init` and `fn deploy`: what is found out on this machine, and what is sent.

use std::fs;
use std::io::Write;
use std::os::unix::fs::symlink;
use std::path::Path;

use serde_json::json;
use zip::ZipWriter;
use zip::write::SimpleFileOptions;

use crate::world::World;

const HANDLER: &str = "def handler(event, context):\n    return 'hello'\n";

#[test]
fn a_directory_is_sent_once_and_becomes_a_revision() {
    let world = World::new();
    world.takes_deploys_of("hello");
    world.write("hello/handler.py", HANDLER);
    let ended = world.run("deploy hello --memory 64MiB --env A=b --set scale.max=4");
    ended.says(
        0,
        &["hello revision 3 is live", "curl http://127.0.0.1:8080/function/hello"],
    );

    let put = world.seen("PUT ")[0].json();
    assert_eq!(put["check"], true);
    assert_eq!(
        put["manifest"],
        json!({ "memory": "64MiB", "env": { "A": "b" }, "scale": { "max": 4 } })
    );
    let upload = &world.seen("POST /v1/bundles")[0];
    assert_eq!(upload.headers["content-length"], upload.body.len().to_string().as_str());
    assert!(tar_names(&upload.body).contains(&"handler.py".to_owned()));

    let head = format!("HEAD /v1/bundles/{}", put["bundle"].as_str().unwrap());
    world.reply(&head, (200, vec![], String::new()));
    let document = world.run("deploy ./hello --no-check --json").says(0, &[]).json();
    assert_eq!((&document["name"], &document["revision"]), (&json!("hello"), &json!(3)));
    assert_eq!(document["url"], "http://127.0.0.1:8080/function/hello");
    assert_eq!(document["bundle"]["uploaded"], false);
    assert_eq!(
        world.seen("POST /v1/bundles").len(),
        1,
        "a bundle that the server has is not sent again"
    );
    assert_eq!(world.seen("PUT ")[1].json()["check"], false);
}

#[test]
fn a_zip_and_an_executable_are_deployed_alike() {
    let world = World::new();
    world.takes_deploys_of("site");
    world.takes_deploys_of("greet");
    let mut zip = ZipWriter::new(fs::File::create(world.path("site.zip")).unwrap());
    zip.start_file("index.mjs", SimpleFileOptions::default()).unwrap();
    zip.write_all(b"export const handler = () => 1;\n").unwrap();
    zip.finish().unwrap();
    world.run("deploy site.zip").says(0, &["site revision 3"]);
    assert_eq!(tar_names(&world.seen("POST ")[0].body), ["index.mjs"]);

    world.write("greet.sh", "#!/bin/sh\necho hello\n");
    world.run("deploy greet.sh").says(0, &["greet revision 3"]);
    assert_eq!(tar_names(&world.seen("POST ")[1].body), ["greet.sh"]);
}

#[test]
fn what_can_not_be_deployed_is_told_before_anything_is_sent() {
    let world = World::new();
    world.run("deploy nowhere").says(4, &["there is nothing at nowhere"]);
    world.write("notes.txt", "no program");
    world.run("deploy notes.txt").says(
        3,
        &["neither a directory, a zip nor an executable", "chmod +x notes.txt"],
    );
    world.write("empty/readme.txt", "");
    world
        .run("deploy empty")
        .says(3, &["nothing here looks like a function", "handler.py"]);
    world.write("wrong/handler.py", "x = 1\n");
    world.run("deploy wrong").says(3, &["handler.py defines neither"]);
    world.write("good/handler.py", HANDLER);
    for name in ["a/b", "..", "Upper", &"a".repeat(64)] {
        world
            .run(&format!("deploy good --name {name}"))
            .says(3, &["is not the name of a function"]);
    }
    world.write("___/handler.py", HANDLER);
    world
        .run("deploy ___")
        .says(3, &["no name can be made from '___'", "--name NAME"]);
    world
        .run("deploy good --runtime cobol")
        .says(3, &["cobol", "python, node, stdio"]);
    world
        .run("deploy good --set scale.mx=3")
        .says(3, &["did you mean \"scale.max\""]);
    world.write("links/handler.py", HANDLER);
    symlink("/etc/passwd", world.path("links/passwd")).unwrap();
    world
        .run("deploy links")
        .says(3, &["passwd: the symbolic link points to", "relative path"]);
    assert!(world.seen("").is_empty());
}

#[test]
fn a_mistake_in_fn_toml_is_shown_with_its_line_and_a_suggestion() {
    let world = World::new();
    world.write("hello/handler.py", HANDLER);
    world.write("hello/fn.toml", "timeout = \"3s\"\nmemry = \"64MiB\"\n");
    world.run("deploy hello").says(
        3,
        &["mistake in fn.toml", "2 | memry", "^^^^^", "did you mean \"memory\""],
    );
    let error = world.run("deploy hello --json").says(3, &[]).json();
    assert_eq!(error["error"]["code"], "bad_manifest");
}

#[test]
fn a_failed_check_shows_the_traceback() {
    let world = World::new();
    world.takes_deploys_of("hello");
    world.write("hello/handler.py", HANDLER);
    let details = json!({ "errorType": "ModuleNotFoundError", "errorMessage": "No module named 'nope'",
                          "stackTrace": ["  File \"/function/handler.py\", line 1, in <module>\n"] });
    let error = json!({ "error": { "code": "check_failed", "message": "the handler can't be loaded", "request_id": "r1",
                                   "details": details, "hint": "Deploy without the check: --no-check" } });
    world.on("PUT /v1/functions/hello", 422, &error);
    world.run("deploy hello").says(
        6,
        &[
            "error: the handler can't be loaded",
            "handler.py\", line 1",
            "ModuleNotFoundError: No module named 'nope'",
            "hint: ",
        ],
    );
}

#[test]
fn limits_of_the_server_have_their_own_exit_code() {
    let world = World::new();
    world.takes_deploys_of("hello");
    world.write("hello/handler.py", HANDLER);
    let error =
        json!({ "error": { "code": "bundle_too_large", "message": "the bundle is over 512 MiB", "request_id": "r1" } });
    world.on("POST /v1/bundles", 413, &error);
    world.run("deploy hello").says(7, &["the bundle is over 512 MiB"]);
    assert!(world.seen("PUT ").is_empty());
}

/// Writes a wheel: a zip with a module and its metadata.
fn wheel(dir: &Path, name: &str) {
    fs::create_dir_all(dir).unwrap();
    let mut zip = ZipWriter::new(fs::File::create(dir.join(format!("{name}-1.0-py3-none-any.whl"))).unwrap());
    let info = format!("{name}-1.0.dist-info");
    for (path, content) in [
        (format!("{name}.py"), "answer = 42\n".to_owned()),
        (
            format!("{info}/METADATA"),
            format!("Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n"),
        ),
        (
            format!("{info}/WHEEL"),
            "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n".to_owned(),
        ),
        (
            format!("{info}/RECORD"),
            format!("{name}.py,,\n{info}/METADATA,,\n{info}/WHEEL,,\n{info}/RECORD,,\n"),
        ),
    ] {
        zip.start_file(path, SimpleFileOptions::default()).unwrap();
        zip.write_all(content.as_bytes()).unwrap();
    }
    zip.finish().unwrap();
}

/// A world whose pip sees the directory `wheels` and no network.
fn offline_pip() -> World {
    let mut world = World::new();
    world.env("PIP_NO_INDEX", "1");
    world.env("PIP_FIND_LINKS", world.path("wheels").display().to_string());
    world.takes_deploys_of("hello");
    world.write("hello/handler.py", HANDLER);
    world
}

#[test]
fn wheels_go_into_the_bundle_and_not_into_the_users_directory() {
    let world = offline_pip();
    wheel(&world.path("wheels"), "answers");
    world.write("hello/requirements.txt", "answers\n");
    world.write("hello/.fn-packages/stale.py", "old = True\n");
    world
        .run("deploy hello")
        .says(0, &["Installing Python packages", "hello revision 3"]);
    let names = tar_names(&world.seen("POST ")[0].body);
    assert!(names.contains(&".fn-packages/answers.py".to_owned()), "{names:?}");
    assert!(!names.contains(&".fn-packages/stale.py".to_owned()), "{names:?}");
    assert!(!world.path("hello/.fn-packages/answers.py").exists());
}

#[test]
fn a_package_that_does_not_exist_fails_with_pips_words() {
    let world = offline_pip();
    wheel(&world.path("wheels"), "answers");
    world.write("hello/requirements.txt", "fn-has-no-such-package==1.0\n");
    world.run("deploy hello").says(
        8,
        &["pip could not install", "fn-has-no-such-package", "Only ready wheels"],
    );
    assert!(world.seen("POST ").is_empty());
}

#[test]
fn nothing_of_a_dependency_runs_whichever_way_it_is_named() {
    let world = offline_pip();
    let ran = world.path("ran");
    let setup = format!(
        "open({:?}, 'w').close()\nfrom setuptools import setup\nsetup(name='evil', version='1')\n",
        ran
    );
    world.write("hello/evil/setup.py", &setup);
    for requirement in [
        "./evil",
        "-e ./evil",
        "--no-binary :all:\n./evil",
        "git+file:///nowhere",
    ] {
        world.write("hello/requirements.txt", &format!("{requirement}\n"));
        world.run("deploy hello").says(8, &["pip could not install"]);
        assert!(!ran.exists(), "{requirement} ran");
    }
    world.write("hello/requirements.txt", "./evil\n");
    world.run("deploy hello").says(8, &["would have to be built"]);
}

#[test]
fn npm_runs_no_script() {
    let world = World::new();
    world.takes_deploys_of("hello");
    let ran = world.path("ran");
    world.write("hello/index.mjs", "export const handler = () => 1;\n");
    let script = format!("touch {}", ran.display());
    let package = json!({ "name": "dep", "version": "1.0.0", "scripts": { "install": script, "postinstall": script } });
    world.write("hello/dep/package.json", &package.to_string());
    let package = json!({ "dependencies": { "dep": "file:./dep" }, "scripts": { "postinstall": script } });
    world.write("hello/package.json", &package.to_string());
    world
        .run("deploy hello")
        .says(0, &["Installing Node packages", "hello revision 3"]);
    let names = tar_names(&world.seen("POST ")[0].body);
    assert!(
        names.iter().any(|name| name.starts_with("node_modules/dep")),
        "{names:?}"
    );
    assert!(!world.path("hello/node_modules").exists() && !ran.exists());

    let package = json!({ "dependencies": { "dep": "git+file:///nowhere" } });
    world.write("hello/package.json", &package.to_string());
    world
        .run("deploy hello")
        .says(8, &["npm could not install", "comes from a git repository"]);
    world.write("hello/package.json", "{");
    world.run("deploy hello").says(3, &["package.json"]);
}

#[test]
fn a_missing_npm_is_named_with_the_way_to_install_it() {
    let mut world = World::new();
    world.env("PATH", "/nonexistent");
    world.write("hello/index.mjs", "export const handler = () => 1;\n");
    world.write("hello/package.json", r#"{"dependencies":{"once":"1.4.0"}}"#);
    world
        .run("deploy hello")
        .says(8, &["no npm on the PATH", "apt install npm"]);
}

#[test]
fn what_init_writes_can_be_deployed() {
    let world = World::new();
    for runtime in ["python", "node", "stdio"] {
        world.takes_deploys_of(runtime);
        world
            .run(&format!("init --runtime {runtime} {runtime}"))
            .says(0, &["fn.toml", "fn deploy"]);
        world.run(&format!("deploy {runtime}")).says(0, &["revision 3"]);
        world
            .run(&format!("init {runtime}"))
            .says(3, &["exists already", "overwrites nothing"]);
    }
    let document = world.run("init other --json").says(0, &[]).json();
    assert_eq!(document["files"], json!(["other/handler.py", "other/fn.toml"]));
}

/// The files in an archive, without its directories.
fn tar_names(bytes: &[u8]) -> Vec<String> {
    let mut archive = tar::Archive::new(bytes);
    let entries = archive.entries().unwrap().map(Result::unwrap);
    let files = entries.filter(|entry| !entry.header().entry_type().is_dir());
    files.map(|entry| entry.path().unwrap().display().to_string()).collect()
}
