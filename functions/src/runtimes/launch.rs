//! From a revision to the program that runs it.

use std::collections::BTreeMap;

use super::host::{HostRuntimes, Missing};
use super::{build, fdk, http, lambda, node, opt, python, stdio};
use crate::{Revision, Runtime, Signature};

/// Where the bundle is in a sandbox; also the working directory.
pub const FUNCTION_DIR: &str = "/function";

/// A second name for [`FUNCTION_DIR`] that code written for Lambda expects: a symbolic link in the base.
pub const TASK_ROOT: &str = "/var/task";

/// A file of ours that every sandbox has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BaseFile {
    /// Absolute path in the sandbox.
    pub path: &'static str,
    /// Permission bits.
    pub mode: u32,
    /// The whole content.
    pub contents: &'static [u8],
}

/// All files of ours that every sandbox has.
pub fn base_files() -> Vec<BaseFile> {
    [
        python::BOOTSTRAP,
        python::TEMPLATE,
        node::BOOTSTRAP,
        node::REHEARSAL,
        http::INTERFACES,
    ]
    .into_iter()
    .chain(python::BESIDE)
    .chain(node::BESIDE)
    .chain(build::SCRIPTS.iter().cloned())
    .collect()
}

/// What a sandbox has to run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Launch {
    /// How `argv` is to be understood.
    pub program: Program,
    /// The command line, program first, as paths inside the sandbox.
    pub argv: Vec<String>,
    /// The whole environment, each name once, in order of names.
    pub env: Vec<(String, String)>,
    /// The working directory.
    pub cwd: String,
}

/// What is started in the sandbox.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Program {
    /// `argv` is executed.
    Exec,
    /// The part of our own binary with this name runs and gets `argv`.
    Resident(String),
}

/// Why a revision can't be run on this host.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum LaunchError {
    /// The interpreter for its runtime is missing.
    #[error("no {runtime} functions can run here")]
    Runtime {
        /// The runtime.
        runtime: Runtime,
        /// What is wrong with the interpreter.
        source: Missing,
    },
}

impl LaunchError {
    /// What to do about it, as a full sentence.
    pub fn hint(&self) -> &'static str {
        match self {
            LaunchError::Runtime { source, .. } => source.hint(),
        }
    }
}

/// How to run `revision`.
///
/// The environment is ours, overlaid by the function's own, which can't name `_HANDLER` or a reserved prefix.
///
/// # Errors
/// [`LaunchError::Runtime`] when this host lacks the interpreter.
pub fn launch(revision: &Revision, host: &HostRuntimes) -> Result<Launch, LaunchError> {
    let settings = &revision.settings;
    let runtime = settings.runtime;
    host.interpreter(runtime).map_err(|source| LaunchError::Runtime {
        runtime,
        source: source.clone(),
    })?;
    let mut env = environment(revision);
    let (program, argv) = match runtime {
        Runtime::Python => {
            env.extend(python::env(settings.cpu.as_millis()));
            (Program::Exec, python::argv())
        }
        Runtime::Node => (Program::Exec, node::argv(settings.memory)),
        Runtime::Stdio => (
            Program::Resident(stdio::RESIDENT.to_owned()),
            stdio::argv(&settings.handler, &settings.stdio.args),
        ),
        Runtime::Lambda => {
            env.extend(lambda::env(settings.concurrency));
            // What is in a layer may be an extension, which has to be started as well.
            let program = match settings.layers.is_empty() {
                true => Program::Exec,
                false => Program::Resident(lambda::RESIDENT.to_owned()),
            };
            (program, lambda::argv())
        }
        Runtime::Fdk => {
            env.extend(http::env(revision));
            env.remove("PORT");
            env.extend(fdk::env(revision));
            (Program::Exec, http::argv(&settings.handler, &[]))
        }
        Runtime::Http => {
            env.extend(http::env(revision));
            (Program::Exec, http::argv(&settings.handler, &settings.http.command))
        }
    };
    if !settings.layers.is_empty() {
        opt::add_places(&mut env, host);
    }
    env.extend(settings.env.clone());
    Ok(Launch {
        program,
        argv,
        env: env.into_iter().collect(),
        cwd: FUNCTION_DIR.to_owned(),
    })
}

/// How to run the template of `revision`, a process that forks its instances; `None` for a runtime whose processes can't be
/// forked. `given_up` is the program for seccomp that each fork attaches, as the kernel reads it.
///
/// # Errors
/// As [`launch`].
pub fn template(revision: &Revision, host: &HostRuntimes, given_up: &[u8]) -> Result<Option<Launch>, LaunchError> {
    let launch = launch(revision, host)?;
    Ok((revision.settings.runtime == Runtime::Python).then(|| Launch {
        argv: python::template_argv(given_up),
        ..launch
    }))
}

/// What every function finds in its environment, whatever its runtime. Names from "Defining Lambda environment
/// variables" in the AWS Lambda developer guide where Lambda has one.
fn environment(revision: &Revision) -> BTreeMap<String, String> {
    let settings = &revision.settings;
    let name = revision.name.to_string();
    let number = revision.number.to_string();
    let own = [
        ("_HANDLER", settings.handler.clone()),
        ("LAMBDA_TASK_ROOT", TASK_ROOT.to_owned()),
        ("LAMBDA_RUNTIME_DIR", "/var/runtime".to_owned()),
        ("AWS_LAMBDA_FUNCTION_NAME", name.clone()),
        ("AWS_LAMBDA_FUNCTION_VERSION", number.clone()),
        (
            "AWS_LAMBDA_FUNCTION_MEMORY_SIZE",
            (settings.memory.as_u64() >> 20).to_string(),
        ),
        ("AWS_LAMBDA_INITIALIZATION_TYPE", "on-demand".to_owned()),
        ("AWS_LAMBDA_LOG_GROUP_NAME", format!("/aws/lambda/{name}")),
        ("AWS_LAMBDA_LOG_STREAM_NAME", format!("[{number}]")),
        ("FN_FUNCTION", name),
        ("FN_REVISION", number),
        ("FN_LANES", settings.concurrency.to_string()),
    ];
    let common = common().map(|(key, value)| (key, value.to_owned()));
    // What the shim does without it is `auto`.
    let signature = (settings.signature != Signature::Auto).then(|| ("FN_SIGNATURE", settings.signature.to_string()));
    let all = common.chain(own).chain(signature);
    all.map(|(key, value)| (key.to_owned(), value)).collect()
}

/// The part of the environment that is the same for all functions.
pub(super) fn common() -> impl Iterator<Item = (&'static str, &'static str)> {
    [
        ("HOME", "/tmp"),
        ("PATH", "/usr/local/bin:/usr/bin:/bin"),
        ("LANG", "C.UTF-8"),
        ("TZ", "UTC"),
    ]
    .into_iter()
}

#[cfg(test)]
pub(super) mod tests {
    use super::super::host::{Interpreter, Version};
    use super::*;
    use crate::detect::Detected;
    use crate::{Digest, Manifest, RevisionNumber};

    pub(in super::super) fn host() -> HostRuntimes {
        let found = |path: &str| {
            Ok(Interpreter {
                path: path.into(),
                version: Version(30, 0, 0),
            })
        };
        HostRuntimes {
            python: found(python::INTERPRETER),
            node: found(node::INTERPRETER),
        }
    }

    pub(in super::super) fn revision(toml: &str, runtime: Runtime, handler: &str) -> Revision {
        let name = "hello".parse().unwrap();
        let detected = Detected {
            runtime,
            handler: handler.to_owned(),
        };
        let settings = Manifest::from_toml(toml).unwrap().resolve(&name, &detected).unwrap();
        Revision {
            name,
            number: RevisionNumber::new(3).unwrap(),
            bundle: Digest::of(b""),
            settings,
            created: jiff::Timestamp::UNIX_EPOCH,
        }
    }

    fn get<'a>(launch: &'a Launch, name: &str) -> Option<&'a str> {
        launch
            .env
            .iter()
            .find(|(key, _)| key == name)
            .map(|(_, value)| value.as_str())
    }

    #[test]
    fn python_runs_the_shim_with_the_functions_modules() {
        let launch = launch(&revision("", Runtime::Python, "handler.handler"), &host()).unwrap();
        assert_eq!(launch.program, Program::Exec);
        assert_eq!(
            launch.argv,
            ["/usr/bin/python3", "-s", "-B", "/var/runtime/python/bootstrap.py"]
        );
        assert_eq!(launch.cwd, "/function");
        for (name, value) in [
            ("_HANDLER", "handler.handler"),
            ("PYTHONPATH", "/function:/function/.fn-packages"),
            ("AWS_LAMBDA_FUNCTION_NAME", "hello"),
            ("AWS_LAMBDA_FUNCTION_VERSION", "3"),
            ("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", "256"),
            ("LAMBDA_TASK_ROOT", "/var/task"),
            ("FN_FUNCTION", "hello"),
            ("FN_REVISION", "3"),
            ("FN_LANES", "1"),
            ("HOME", "/tmp"),
            ("LANG", "C.UTF-8"),
        ] {
            assert_eq!(get(&launch, name), Some(value), "{name}");
        }
    }

    #[test]
    fn node_gets_a_heap_that_fits_its_memory() {
        let launch = launch(
            &revision("memory = \"128MiB\"", Runtime::Node, "index.handler"),
            &host(),
        )
        .unwrap();
        assert_eq!(
            launch.argv,
            [
                "/usr/bin/node",
                "--max-old-space-size=96",
                "/var/runtime/node/bootstrap.mjs"
            ]
        );
    }

    #[test]
    fn stdio_runs_the_functions_program_below_a_resident() {
        let revision = revision("[stdio]\nargs = [\"-v\", \"a b\"]", Runtime::Stdio, "bin/handler.sh");
        let launch = launch(&revision, &host()).unwrap();
        assert_eq!(launch.program, Program::Resident("stdio".to_owned()));
        assert_eq!(launch.argv, ["/function/bin/handler.sh", "-v", "a b"]);
    }

    #[test]
    fn lambda_runs_bootstrap_and_tells_it_where_the_api_is() {
        let revision = revision("concurrency = 4", Runtime::Lambda, "app.handler");
        let launch = launch(&revision, &host()).unwrap();
        assert_eq!(launch.argv, ["/var/task/bootstrap"]);
        for (name, value) in [
            ("AWS_LAMBDA_RUNTIME_API", "127.0.0.1:9001"),
            ("AWS_LAMBDA_MAX_CONCURRENCY", "4"),
            ("AWS_REGION", "us-east-1"),
            ("_HANDLER", "app.handler"),
            ("LAMBDA_TASK_ROOT", "/var/task"),
            ("LAMBDA_RUNTIME_DIR", "/var/runtime"),
        ] {
            assert_eq!(get(&launch, name), Some(value), "{name}");
        }
    }

    #[test]
    fn with_layers_everything_is_looked_for_in_opt_as_well() {
        let with = |runtime, handler| launch(&revision("layers = [\"./l\"]", runtime, handler), &host()).unwrap();
        let python = with(Runtime::Python, "a.b");
        let modules = "/function:/function/.fn-packages:/opt/python/lib/python30.0/site-packages:/opt/python";
        for (name, value) in [
            ("PYTHONPATH", modules),
            ("PATH", "/usr/local/bin:/usr/bin:/bin:/opt/bin"),
            ("LD_LIBRARY_PATH", "/opt/lib"),
        ] {
            assert_eq!(get(&python, name), Some(value), "{name}");
        }
        let node = with(Runtime::Node, "a.b");
        let modules = "/opt/nodejs/node_modules:/opt/nodejs/node30/node_modules";
        assert_eq!(get(&node, "NODE_PATH"), Some(modules));
        let lambda = with(Runtime::Lambda, "a.b");
        assert_eq!(lambda.program, Program::Resident("lambda".to_owned()));
        assert_eq!(
            get(&lambda, "LD_LIBRARY_PATH"),
            Some("/var/runtime:/var/runtime/lib:/var/task:/var/task/lib:/opt/lib")
        );
        assert_eq!(
            get(&lambda, "PATH"),
            Some("/var/task/.fn-packages/bin:/usr/local/bin:/usr/bin:/bin:/opt/bin")
        );
        let own = revision("layers = [\"./l\"]\n[env]\nNODE_PATH = \"/x\"", Runtime::Node, "a.b");
        assert_eq!(get(&launch(&own, &host()).unwrap(), "NODE_PATH"), Some("/x"));
    }

    #[test]
    fn fdk_runs_a_line_and_tells_it_where_its_socket_is() {
        let revision = revision("memory = \"64MiB\"", Runtime::Fdk, "fdk func.py handler");
        let launch = launch(&revision, &host()).unwrap();
        assert_eq!(launch.argv, ["/bin/sh", "-c", "exec fdk func.py handler"]);
        for (name, value) in [
            ("FN_FORMAT", Some("http-stream")),
            ("FN_LISTENER", Some("unix:/tmp/lsnr.sock")),
            ("FN_FN_ID", Some("hello")),
            ("FN_MEMORY", Some("64")),
            ("PORT", None),
        ] {
            assert_eq!(get(&launch, name), value, "{name}");
        }
    }

    #[test]
    fn http_runs_the_server_and_tells_it_its_port() {
        let revision = revision(
            "[http]\ncommand = [\"python3\", \"app.py\"]\nport = 9000",
            Runtime::Http,
            "",
        );
        let launch = launch(&revision, &host()).unwrap();
        assert_eq!(launch.program, Program::Exec);
        assert_eq!(
            launch.argv,
            ["/bin/sh", "-c", "exec \"$0\" \"$@\"", "python3", "app.py"]
        );
        for (name, value) in [
            ("PORT", "9000"),
            ("K_SERVICE", "hello"),
            ("K_REVISION", "hello-00003"),
            ("K_CONFIGURATION", "hello"),
            ("PYTHONPATH", "/function:/function/.fn-packages"),
        ] {
            assert_eq!(get(&launch, name), Some(value), "{name}");
        }
    }

    #[test]
    fn the_functions_own_environment_comes_last_and_each_name_once() {
        let revision = revision(
            "concurrency = 4\n[env]\nPATH = \"/function\"\nA = \"b\"",
            Runtime::Python,
            "a.b",
        );
        let launch = launch(&revision, &host()).unwrap();
        assert_eq!(get(&launch, "PATH"), Some("/function"));
        assert_eq!(get(&launch, "A"), Some("b"));
        assert_eq!(get(&launch, "FN_LANES"), Some("4"));
        assert!(launch.env.is_sorted_by(|a, b| a.0 < b.0));
    }

    #[test]
    fn a_missing_interpreter_stops_only_its_own_runtime() {
        let missing = Missing::NotInstalled {
            path: node::INTERPRETER.into(),
        };
        let host = HostRuntimes {
            node: Err(missing.clone()),
            ..host()
        };
        let error = launch(&revision("", Runtime::Node, "index.handler"), &host).unwrap_err();
        assert_eq!(
            error,
            LaunchError::Runtime {
                runtime: Runtime::Node,
                source: missing
            }
        );
        assert!(error.hint().contains("nodejs"));
        assert!(launch(&revision("", Runtime::Stdio, "x"), &host).is_ok());
    }

    #[test]
    fn the_shims_are_where_the_command_lines_look_for_them() {
        let files = base_files();
        for argv in [python::argv(), node::argv(crate::ByteSize::mib(256))] {
            let shim = argv.last().unwrap();
            assert!(
                files.iter().any(|file| file.path == shim && !file.contents.is_empty()),
                "{shim}"
            );
        }
    }
}
