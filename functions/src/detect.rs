//! Which runtime and handler a directory holds, from the names and first words of its files.
//!
//! Nothing is executed and no link is trusted further than the directory goes: bundles are unpacked so
//! that no link in them leads out. The order is: a `Procfile` that names a web server, a `func.yaml`, a Python or a Node handler by the
//! name of its file, then an executable `bootstrap`, then another executable. Two answers of equal right are an error, never a guess.

mod framework;

use std::fs;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::bundle::LAYERS_DIR;
use crate::manifest::watchdog;
use crate::{Manifest, Runtime};

/// Files that may hold a Python handler, in the order they are looked at, with the function looked for first. A file that has
/// a handler and a web app has the handler to adapt the app.
const PYTHON_FILES: [(&str, &[&str]); 6] = [
    ("handler", &["handler", "lambda_handler", "app", "application"]),
    ("lambda_function", &["lambda_handler", "handler"]),
    ("main", &["handler", "lambda_handler", "app", "application"]),
    ("app", &["handler", "lambda_handler", "app", "application"]),
    ("wsgi", &["application", "app"]),
    ("asgi", &["application", "app"]),
];
/// Files that may hold a Node handler, in the order they are looked at.
const NODE_FILES: [&str; 5] = ["index.mjs", "index.js", "handler.mjs", "handler.js", "index.cjs"];
const NODE_ENDINGS: [&str; 3] = ["mjs", "js", "cjs"];
/// Executables that need not be the only one.
const STDIO_FILES: [&str; 3] = ["handler", "main", "handler.sh"];
/// What describes a function of the Fn Project.
const FUNC_YAML: &str = "func.yaml";
/// The executable that speaks Lambda's Runtime API.
const BOOTSTRAP: &str = "bootstrap";
/// The file that names processes, one a line: `web: gunicorn app:app`.
const PROCFILE: &str = "Procfile";
/// Where dependencies of Python lie in a bundle.
const PYTHON_PACKAGES: &str = ".fn-packages";
/// No more of a source file or `package.json` is read.
const READ_LIMIT: u64 = 4 * 1024 * 1024;

/// What a directory holds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Detected {
    /// The program that runs the handler.
    pub runtime: Runtime,
    /// The handler, as in [`Settings::handler`](crate::Settings::handler).
    pub handler: String,
}

/// Why it is not clear what a directory holds.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DetectError {
    /// Nothing that looks like a function.
    #[error("nothing here looks like a function")]
    Nothing,
    /// The runtime is `http`, and nothing says how the server is started.
    #[error("nothing here says how the server is started")]
    NoServer,
    /// The runtime is `fdk`, and nothing says how the function is started.
    #[error("nothing here says how the function is started")]
    NoEntrypoint,
    /// A file of the right name, but no function in it that could be called.
    #[error("{file} defines neither {}", nor(.functions))]
    NoFunction {
        /// The file.
        file: String,
        /// The functions that were looked for.
        functions: &'static [&'static str],
    },
    /// A file that gives several functions to the Functions Framework, and nothing says which is meant.
    #[error("{file} has several functions: {}", .names.join(", "))]
    SeveralFunctions {
        /// The file.
        file: String,
        /// Their names, in the order in which they stand.
        names: Vec<String>,
    },
    /// A handler for Python and one for Node.
    #[error("{python} is a handler for python and {node} one for node")]
    Ambiguous {
        /// The Python handler.
        python: String,
        /// The Node handler.
        node: String,
    },
    /// More than one executable and none with a name that decides.
    #[error("there are several executables: {}", .names.join(", "))]
    SeveralExecutables {
        /// Some of them, sorted.
        names: Vec<String>,
    },
    /// The file is there, but it is not executable.
    #[error("{file} is not executable")]
    NotExecutable {
        /// The file.
        file: String,
    },
    /// The handler that was asked for is not there.
    #[error("there is no handler {handler:?}: looked for {}", .looked_for.join(", "))]
    NoSuchHandler {
        /// The handler that was asked for.
        handler: String,
        /// The files that would have held it.
        looked_for: Vec<String>,
    },
    /// `package.json` cannot be understood.
    #[error("package.json: {reason}")]
    PackageJson {
        /// What is wrong with it.
        reason: String,
    },
    /// A file cannot be read.
    #[error("cannot read {}", .path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

impl DetectError {
    /// What to do about it, as a full sentence.
    pub fn hint(&self) -> &'static str {
        match self {
            DetectError::Nothing => {
                "Add handler.py, index.mjs or an executable, or set `runtime` and `handler` in fn.toml."
            }
            DetectError::NoServer => {
                "Set `command` in the section [http] of fn.toml, or add a Procfile with a line `web: COMMAND`."
            }
            DetectError::NoEntrypoint => {
                "Set `handler` in fn.toml to a command such as `fdk func.py handler`, or add a func.yaml with an entrypoint."
            }
            DetectError::NoFunction { .. } => {
                "Define one of them at the top of the file, or set `handler = \"file.function\"` in fn.toml."
            }
            DetectError::SeveralFunctions { .. } => {
                "Set `handler = \"file.function\"` in fn.toml, or FUNCTION_TARGET in its section [env]."
            }
            DetectError::Ambiguous { .. } => "Set `runtime` in fn.toml.",
            DetectError::SeveralExecutables { .. } => {
                "Name one of them `handler`, or set `handler` in fn.toml to the one to run."
            }
            DetectError::NotExecutable { .. } => "Make it executable with `chmod +x`.",
            DetectError::NoSuchHandler { .. } => "Correct `handler`, or add the file to the bundle.",
            DetectError::PackageJson { .. } => "Correct package.json, or set `runtime` and `handler` in fn.toml.",
            DetectError::Read { .. } => "Check that the file exists and may be read.",
        }
    }
}

/// What `dir` holds.
///
/// # Errors
/// [`DetectError`] if that is nothing, not one thing, or unreadable.
pub fn detect(dir: &Path) -> Result<Detected, DetectError> {
    detect_as(dir, None, None, None)
}

/// What `dir` holds, given what is already decided. A given handler must be there. `target` names the function of a file that
/// holds one of that name.
///
/// # Errors
/// [`DetectError`] if that is nothing, not one thing, or unreadable.
pub fn detect_as(
    dir: &Path,
    runtime: Option<Runtime>,
    handler: Option<&str>,
    target: Option<&str>,
) -> Result<Detected, DetectError> {
    if let Some(handler) = handler {
        return given(dir, runtime, handler);
    }
    let found = match runtime {
        Some(Runtime::Lambda) => return lambda(dir, None),
        Some(Runtime::Fdk) => return fdk(dir)?.ok_or(DetectError::NoEntrypoint),
        Some(Runtime::Http) => return http(dir)?.ok_or(DetectError::NoServer),
        Some(Runtime::Python) => python(dir, target)?,
        Some(Runtime::Node) => node(dir, target)?,
        Some(Runtime::Stdio) => stdio(dir)?,
        None => return undecided(dir, target),
    };
    found.ok_or(DetectError::Nothing)
}

impl Manifest {
    /// What `dir` holds, given `runtime`, `handler` and `http.command` of this manifest, the function that `FUNCTION_TARGET` names in
    /// its environment, as the Functions Framework does, and the server that `mode` and `fprocess` name there, as OpenFaaS does.
    ///
    /// # Errors
    /// See [`detect_as`].
    pub fn detect(&self, dir: &Path) -> Result<Detected, DetectError> {
        let target = self.env.get("FUNCTION_TARGET").map(String::as_str);
        match self.http.command.as_deref() {
            // What else is wrong with it is told when it is resolved.
            Some(command @ [program, ..]) if self.runtime.is_none_or(|runtime| runtime == Runtime::Http) => {
                there(dir, program)?;
                Ok(Detected {
                    runtime: Runtime::Http,
                    handler: command.join(" "),
                })
            }
            None if self.handler.is_none() && self.runtime.is_none_or(|runtime| runtime == Runtime::Http) => {
                match watchdog::command(&self.env) {
                    Some(line) => Ok(Detected {
                        runtime: Runtime::Http,
                        handler: line.to_owned(),
                    }),
                    None => detect_as(dir, self.runtime, None, target),
                }
            }
            _ => detect_as(dir, self.runtime, self.handler.as_deref(), target),
        }
    }
}

/// "a, b nor c"
fn nor(names: &[&str]) -> String {
    match names {
        [all @ .., last] if !all.is_empty() => format!("{} nor {last}", all.join(", ")),
        _ => names.concat(),
    }
}

fn undecided(dir: &Path, target: Option<&str>) -> Result<Detected, DetectError> {
    if let Some(found) = http(dir)? {
        return Ok(found);
    }
    if let Some(found) = fdk(dir)? {
        return Ok(found);
    }
    match (python(dir, target), node(dir, target)) {
        (Ok(Some(python)), Ok(Some(node))) => Err(DetectError::Ambiguous {
            python: python.handler,
            node: node.handler,
        }),
        (Ok(Some(found)), _) | (_, Ok(Some(found))) => Ok(found),
        _ if is_executable(&dir.join(BOOTSTRAP)) => lambda(dir, None),
        // A helper script without a handler next to an executable is no reason to refuse the executable.
        (python, node) => match stdio(dir)? {
            Some(found) => Ok(found),
            None => {
                python?;
                node?;
                Err(DetectError::Nothing)
            }
        },
    }
}

/// Checks that `handler` is there, and finds its runtime if that is not decided.
fn given(dir: &Path, runtime: Option<Runtime>, handler: &str) -> Result<Detected, DetectError> {
    if let Some(runtime @ (Runtime::Http | Runtime::Fdk)) = runtime {
        return Ok(Detected {
            runtime,
            handler: handler.to_owned(),
        });
    }
    if runtime == Some(Runtime::Lambda) || (runtime.is_none() && handler == BOOTSTRAP) {
        return lambda(dir, Some(handler));
    }
    let mut looked_for = Vec::new();
    let mut not_executable = None;
    let runtimes = [Runtime::Stdio, Runtime::Python, Runtime::Node];
    for candidate in runtimes
        .into_iter()
        .filter(|candidate| runtime.is_none_or(|runtime| runtime == *candidate))
    {
        for file in files_of(candidate, handler) {
            if inside(&file) && is_file(&dir.join(&file)) {
                if candidate != Runtime::Stdio || is_executable(&dir.join(&file)) {
                    return Ok(Detected {
                        runtime: candidate,
                        handler: handler.to_owned(),
                    });
                }
                not_executable = Some(file.clone());
            }
            looked_for.push(file);
        }
    }
    Err(match not_executable {
        Some(file) => DetectError::NotExecutable { file },
        None => DetectError::NoSuchHandler {
            handler: handler.to_owned(),
            looked_for,
        },
    })
}

/// The files that could hold `handler`.
fn files_of(runtime: Runtime, handler: &str) -> Vec<String> {
    let Some((file, _)) = handler.rsplit_once('.').filter(|_| runtime != Runtime::Stdio) else {
        return match runtime {
            Runtime::Stdio => vec![handler.to_owned()],
            Runtime::Python | Runtime::Node | Runtime::Http | Runtime::Lambda | Runtime::Fdk => Vec::new(),
        };
    };
    match runtime {
        Runtime::Python => {
            let module = file.replace('.', "/");
            ["", PYTHON_PACKAGES]
                .into_iter()
                .map(|place| {
                    if place.is_empty() {
                        module.clone()
                    } else {
                        format!("{place}/{module}")
                    }
                })
                .flat_map(|module| [format!("{module}.py"), format!("{module}/__init__.py")])
                .collect()
        }
        _ => NODE_ENDINGS.iter().map(|ending| format!("{file}.{ending}")).collect(),
    }
}

/// The server that a `Procfile` names.
fn http(dir: &Path) -> Result<Option<Detected>, DetectError> {
    let path = dir.join(PROCFILE);
    if !is_file(&path) {
        return Ok(None);
    }
    let text = read(&path)?;
    let line = text.lines().find_map(|line| line.trim_start().strip_prefix("web:"));
    Ok(line
        .map(str::trim)
        .filter(|line| !line.is_empty())
        .map(|line| Detected {
            runtime: Runtime::Http,
            handler: line.to_owned(),
        }))
}

/// The entry point that a `func.yaml` of the Fn Project names. Of YAML only that one line is read.
fn fdk(dir: &Path) -> Result<Option<Detected>, DetectError> {
    let path = dir.join(FUNC_YAML);
    if !is_file(&path) {
        return Ok(None);
    }
    let text = read(&path)?;
    let line = text.lines().find_map(|line| line.strip_prefix("entrypoint:"));
    let line = line.map(|line| line.trim().trim_matches(['"', '\'']));
    Ok(line.filter(|line| !line.is_empty()).map(|line| Detected {
        runtime: Runtime::Fdk,
        // Where the images of Fn have it.
        handler: line.strip_prefix("/python/bin/").unwrap_or(line).to_owned(),
    }))
}

/// The executable that is a whole runtime. What `handler` means to it nobody else knows.
fn lambda(dir: &Path, handler: Option<&str>) -> Result<Detected, DetectError> {
    let file = BOOTSTRAP.to_owned();
    let of_a_layer = dir.join(LAYERS_DIR).join(BOOTSTRAP);
    if !is_file(&dir.join(BOOTSTRAP)) && is_executable(&of_a_layer) {
        return Ok(Detected {
            runtime: Runtime::Lambda,
            handler: handler.unwrap_or(BOOTSTRAP).to_owned(),
        });
    }
    if !is_file(&dir.join(BOOTSTRAP)) {
        return Err(DetectError::NoSuchHandler {
            handler: handler.unwrap_or(BOOTSTRAP).to_owned(),
            looked_for: vec![file],
        });
    }
    if !is_executable(&dir.join(BOOTSTRAP)) {
        return Err(DetectError::NotExecutable { file });
    }
    Ok(Detected {
        runtime: Runtime::Lambda,
        handler: handler.unwrap_or(BOOTSTRAP).to_owned(),
    })
}

/// Checks that a program is in the bundle, if it is named by a path in it. What else there is in a sandbox shows when it starts.
fn there(dir: &Path, program: &str) -> Result<(), DetectError> {
    if !program.contains('/') || program.starts_with('/') {
        return Ok(());
    }
    let program = program.strip_prefix("./").unwrap_or(program);
    if !inside(program) || !is_file(&dir.join(program)) {
        return Err(DetectError::NoSuchHandler {
            handler: program.to_owned(),
            looked_for: vec![program.to_owned()],
        });
    }
    match is_executable(&dir.join(program)) {
        true => Ok(()),
        false => Err(DetectError::NotExecutable {
            file: program.to_owned(),
        }),
    }
}

fn python(dir: &Path, target: Option<&str>) -> Result<Option<Detected>, DetectError> {
    let mut first = None;
    for (module, functions) in PYTHON_FILES {
        let file = format!("{module}.py");
        let path = dir.join(&file);
        if !is_file(&path) {
            continue;
        }
        let source = read(&path)?;
        let meant = target.filter(|target| defines(&source, target));
        let meant = meant.map_or_else(|| one_of(&file, framework::python(&source)), |target| Ok(Some(target)))?;
        match meant.or_else(|| functions.iter().copied().find(|function| defines(&source, function))) {
            Some(function) => {
                return Ok(Some(Detected {
                    runtime: Runtime::Python,
                    handler: format!("{module}.{function}"),
                }));
            }
            None => first = first.or(Some(DetectError::NoFunction { file, functions })),
        }
    }
    first.map_or(Ok(None), Err)
}

/// The only name, if there is one.
fn one_of<'a>(file: &str, names: Vec<&'a str>) -> Result<Option<&'a str>, DetectError> {
    match names.as_slice() {
        [] => Ok(None),
        [name] => Ok(Some(name)),
        _ => Err(DetectError::SeveralFunctions {
            file: file.to_owned(),
            names: names.into_iter().map(str::to_owned).collect(),
        }),
    }
}

/// Whether a line of `source` gives `function` a meaning at the top of the module: `def`, `async def`, an
/// assignment, or an import. It reads words, not Python: a name in a long string is taken for code.
fn defines(source: &str, function: &str) -> bool {
    source.lines().any(|line| {
        let words = || {
            line.split(|c: char| !(c.is_alphanumeric() || c == '_'))
                .filter(|word| !word.is_empty())
        };
        if let Some(rest) = line.strip_prefix(function) {
            let rest = rest.trim_start();
            return rest.starts_with(':') || (rest.starts_with('=') && !rest.starts_with("=="));
        }
        if line.starts_with("from ") {
            return words()
                .skip_while(|word| *word != "import")
                .any(|word| word == function);
        }
        let mut words = words();
        match words.next() {
            Some("def") => line.starts_with("def ") && words.next() == Some(function),
            Some("async") => {
                line.starts_with("async ") && words.next() == Some("def") && words.next() == Some(function)
            }
            _ => false,
        }
    })
}

fn node(dir: &Path, target: Option<&str>) -> Result<Option<Detected>, DetectError> {
    let found = |file: &str| {
        let stem = file.rsplit_once('.').map_or(file, |(stem, _)| stem);
        let source = read(&dir.join(file))?;
        let function = match target {
            Some(target) => target,
            None => one_of(file, framework::node(&source))?.unwrap_or("handler"),
        };
        Ok(Some(Detected {
            runtime: Runtime::Node,
            handler: format!("{stem}.{function}"),
        }))
    };
    if let Some(file) = NODE_FILES.iter().find(|file| is_file(&dir.join(file))) {
        return found(file);
    }
    let path = dir.join("package.json");
    if !is_file(&path) {
        return Ok(None);
    }
    let package: serde_json::Value = serde_json::from_str(&read(&path)?).map_err(|error| DetectError::PackageJson {
        reason: error.to_string(),
    })?;
    let Some(main) = package.get("main").and_then(|main| main.as_str()) else {
        return Ok(None);
    };
    let main = main.trim_start_matches("./").trim_end_matches('/');
    let tried = [main.to_owned(), format!("{main}.js"), format!("{main}/index.js")];
    match tried
        .iter()
        .find(|file| inside(file) && has_node_ending(file) && is_file(&dir.join(file)))
    {
        Some(file) => found(file),
        None => Err(DetectError::PackageJson {
            reason: format!("its main, {main:?}, is not a script in the bundle"),
        }),
    }
}

fn has_node_ending(file: &str) -> bool {
    file.rsplit_once('.')
        .is_some_and(|(_, ending)| NODE_ENDINGS.contains(&ending))
}

fn stdio(dir: &Path) -> Result<Option<Detected>, DetectError> {
    let found = |handler: &str| {
        Ok(Some(Detected {
            runtime: Runtime::Stdio,
            handler: handler.to_owned(),
        }))
    };
    let mut named = STDIO_FILES.iter().filter(|file| is_file(&dir.join(file)));
    if let Some(file) = named.clone().find(|file| is_executable(&dir.join(file))) {
        return found(file);
    }
    let unreadable = |source| DetectError::Read {
        path: dir.to_owned(),
        source,
    };
    let mut names = Vec::new();
    for entry in fs::read_dir(dir).map_err(unreadable)? {
        let entry = entry.map_err(unreadable)?;
        // A handler is named in fn.toml, in JSON and in an environment: it has to be text.
        if let Some(name) = entry.file_name().to_str()
            && is_executable(&entry.path())
        {
            names.push(name.to_owned());
        }
    }
    names.sort_unstable();
    match names.as_slice() {
        [] => match named.next() {
            Some(file) => Err(DetectError::NotExecutable {
                file: (*file).to_owned(),
            }),
            None => Ok(None),
        },
        [name] => found(name),
        _ => {
            names.truncate(5);
            Err(DetectError::SeveralExecutables { names })
        }
    }
}

/// Whether a path from a manifest or `package.json` goes down only.
fn inside(file: &str) -> bool {
    !file.contains('\0') && file.split('/').all(|part| !matches!(part, "" | "." | ".."))
}

fn is_file(path: &Path) -> bool {
    path.metadata().is_ok_and(|metadata| metadata.is_file())
}

fn is_executable(path: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt;
    path.metadata()
        .is_ok_and(|metadata| metadata.is_file() && metadata.permissions().mode() & 0o111 != 0)
}

fn read(path: &Path) -> Result<String, DetectError> {
    let mut bytes = Vec::new();
    fs::File::open(path)
        .and_then(|file| file.take(READ_LIMIT).read_to_end(&mut bytes))
        .map_err(|source| DetectError::Read {
            path: path.to_owned(),
            source,
        })?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

#[cfg(test)]
mod tests;
