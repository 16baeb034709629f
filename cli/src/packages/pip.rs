//! pip: requirements.txt into `.fn-packages`.
//!
//! Wheels only. `--only-binary` alone does not hold that: a requirement that is a path, a repository or the address
//! of a source archive is built all the same, and a line in requirements.txt can take the option back. So pip runs
//! below a small starter (`pip/starter.py`) that refuses the start of any program, and without one nothing can be
//! built.
//!
//! The packages must fit the interpreter that runs functions, [`RUNTIME_PYTHON`], whichever interpreter has pip:
//!
//! ```text
//! /usr/bin/python3 has pip                 -> it installs
//! python3 or pip on the PATH has one       -> it installs for /usr/bin/python3's version
//! none                                     -> NoPip
//! ```

use std::ffi::OsString;
use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::{PackagesError, read_if_there, watch};
use crate::render::Step;

/// The interpreter that runs functions.
pub(super) const RUNTIME_PYTHON: &str = "/usr/bin/python3";

/// Where the packages go, below the function's directory. It is on the function's module path.
pub(super) const TARGET: &str = ".fn-packages";

const REQUIREMENTS: &str = "requirements.txt";
const STARTER: &str = include_str!("pip/starter.py");

/// How much of a script is read for its first line.
const FIRST_LINE: u64 = 1024;

/// Prints the version and whether pip is there.
const PROBE: &str = "import importlib.util as u, sys; \
                     print('%d.%d' % sys.version_info[:2], u.find_spec('pip') is not None)";

/// Whether the directory has a requirements.txt that requires something.
pub(super) fn has_requirements(dir: &Path) -> Result<bool, PackagesError> {
    let text = read_if_there(&dir.join(REQUIREMENTS))?.unwrap_or_default();
    Ok(text
        .lines()
        .map(str::trim)
        .any(|line| !line.is_empty() && !line.starts_with('#')))
}

/// Installs what requirements.txt names into [`TARGET`].
pub(super) fn install(dir: &Path, step: &Step) -> Result<(), PackagesError> {
    let (status, output) =
        watch::run(command(&find()?, dir), step).map_err(|cause| PackagesError::Start { program: "pip", cause })?;
    if status.success() {
        return Ok(());
    }
    Err(PackagesError::Failed {
        program: "pip",
        status,
        hint: hint(&output),
        output,
    })
}

/// An interpreter that has pip.
#[derive(Debug, PartialEq, Eq)]
struct Pip {
    python: PathBuf,
    /// The version that the packages are for, when it is not the interpreter's own business.
    fits: Option<String>,
}

fn find() -> Result<Pip, PackagesError> {
    let Some(runtime) = probe(Path::new(RUNTIME_PYTHON)) else {
        return Err(PackagesError::NoPython);
    };
    if runtime.has_pip {
        return Ok(Pip {
            python: RUNTIME_PYTHON.into(),
            fits: None,
        });
    }
    let path = std::env::var_os("PATH").unwrap_or_default();
    let others = on_path(&path, "python3").chain(
        ["pip3", "pip"]
            .into_iter()
            .flat_map(|name| on_path(&path, name).filter_map(|script| interpreter(&script))),
    );
    for python in others {
        if probe(&python).is_some_and(|found| found.has_pip) {
            return Ok(Pip {
                python,
                fits: Some(runtime.version),
            });
        }
    }
    Err(PackagesError::NoPip)
}

/// The places on the PATH that have a program of this name.
fn on_path(path: &OsString, name: &'static str) -> impl Iterator<Item = PathBuf> {
    std::env::split_paths(path)
        .filter(|dir| dir.is_absolute())
        .map(move |dir| dir.join(name))
        .filter(|file| file.is_file())
}

/// The interpreter in the first line of a script, when it is a Python.
fn interpreter(script: &Path) -> Option<PathBuf> {
    let mut line = Vec::new();
    BufReader::new(File::open(script).ok()?.take(FIRST_LINE))
        .read_until(b'\n', &mut line)
        .ok()?;
    let words = line.strip_prefix(b"#!")?.trim_ascii();
    let program = words.split(|byte| byte.is_ascii_whitespace()).next()?;
    let program = PathBuf::from(OsString::from_vec(program.to_vec()));
    let name = program.file_name()?.to_str()?;
    (program.is_absolute() && name.starts_with("python")).then_some(program)
}

#[derive(Debug, PartialEq, Eq)]
struct Probed {
    version: String,
    has_pip: bool,
}

/// Asks an interpreter. The directory is the root, because Python looks for modules where it stands.
#[expect(clippy::disallowed_methods, reason = "this file is where Python is started")]
fn probe(python: &Path) -> Option<Probed> {
    let output = Command::new(python)
        .args(["-c", PROBE])
        .current_dir("/")
        .stdin(Stdio::null())
        .output()
        .ok()?;
    read_probe(&String::from_utf8_lossy(&output.stdout))
}

fn read_probe(text: &str) -> Option<Probed> {
    let (version, has_pip) = text.trim().split_once(' ')?;
    Some(Probed {
        version: version.to_owned(),
        has_pip: has_pip == "True",
    })
}

/// The command line of the installation. The user's own settings of pip (an index, a proxy) stay in force, except
/// those that would put the packages elsewhere or ask questions.
#[expect(clippy::disallowed_methods, reason = "this file is where pip is started")]
fn command(pip: &Pip, dir: &Path) -> Command {
    let mut command = Command::new(&pip.python);
    command
        .args([
            "-c",
            STARTER,
            "install",
            "--only-binary=:all:",
            "--no-compile",
            "--progress-bar=off",
        ])
        .args(["--target", TARGET, "-r", REQUIREMENTS])
        .current_dir(dir)
        .env("PIP_DISABLE_PIP_VERSION_CHECK", "1")
        .env("PIP_NO_INPUT", "1")
        .env("PIP_REQUIRE_VIRTUALENV", "0")
        .env("PIP_ROOT_USER_ACTION", "ignore")
        .env("PIP_USER", "0");
    if let Some(version) = &pip.fits {
        command.args(["--implementation", "cp", "--python-version", version]);
    }
    command
}

/// What to do about a failed installation.
fn hint(output: &str) -> &'static str {
    if output.contains("fn: no program may be started") {
        "A requirement would have to be built or fetched by another program, and only ready wheels are installed. \
         Build a wheel of it yourself (pip wheel) and name that file in requirements.txt."
    } else if output.contains("No matching distribution found") || output.contains("Could not find a version") {
        "There is no such package, or it has no wheel for this machine and this Python. Only ready wheels are \
         installed, so that nothing of a package runs here."
    } else {
        "The output of pip says why. The same happens with: pip install --only-binary=:all: -r requirements.txt"
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comments_and_blank_lines_require_nothing() {
        let dir = tempfile::tempdir().unwrap();
        assert!(!has_requirements(dir.path()).unwrap());
        std::fs::write(dir.path().join(REQUIREMENTS), "\n# later\n  \n").unwrap();
        assert!(!has_requirements(dir.path()).unwrap());
        std::fs::write(dir.path().join(REQUIREMENTS), "# now\nrequests\n").unwrap();
        assert!(has_requirements(dir.path()).unwrap());
    }

    #[test]
    fn another_interpreter_installs_for_the_version_that_runs_functions() {
        let words = |pip: &Pip| -> Vec<String> {
            command(pip, Path::new("/"))
                .get_args()
                .map(|word| word.to_string_lossy().into_owned())
                .collect()
        };
        let own = words(&Pip {
            python: RUNTIME_PYTHON.into(),
            fits: None,
        });
        assert!(own.contains(&"--only-binary=:all:".to_owned()));
        assert!(!own.contains(&"--python-version".to_owned()));
        let other = words(&Pip {
            python: "/opt/python3".into(),
            fits: Some("3.11".into()),
        });
        assert!(other.windows(2).any(|pair| pair == ["--python-version", "3.11"]));
    }

    #[test]
    fn a_probe_is_read() {
        assert_eq!(
            read_probe("3.11 True\n"),
            Some(Probed {
                version: "3.11".into(),
                has_pip: true
            })
        );
        assert_eq!(
            read_probe("3.9 False\n"),
            Some(Probed {
                version: "3.9".into(),
                has_pip: false
            })
        );
        assert_eq!(read_probe(""), None);
    }

    #[test]
    fn the_interpreter_of_a_pip_script_is_in_its_first_line() {
        let dir = tempfile::tempdir().unwrap();
        let script = dir.path().join("pip");
        for (text, expected) in [
            ("#!/opt/x/bin/python3.12\nimport sys\n", Some("/opt/x/bin/python3.12")),
            ("#! /opt/x/bin/python3 -E\n", Some("/opt/x/bin/python3")),
            ("#!/bin/bash\nexec pip\n", None),
            ("#!/usr/bin/env python3\n", None),
            ("\x7fELF", None),
        ] {
            std::fs::write(&script, text).unwrap();
            assert_eq!(interpreter(&script), expected.map(PathBuf::from), "{text:?}");
        }
    }
}
