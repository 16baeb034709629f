//! `fn init`: a small working function, written into a directory.
//!
//! There is an example for each runtime, and for each way in which a handler of Python or Node may be called, in the words of `runtime` and
//! `signature` in fn.toml. Nothing that exists is touched. Every file is looked for before the first is written, so a refusal leaves the
//! directory as it was.

use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use functions::{Runtime, Signature};
use serde_json::json;

use self::examples::{Seed, files};
use crate::args::InitArgs;
use crate::exit::Exit;
use crate::failure::{Explain, Failure};
use crate::render::Screen;

mod examples;

/// A directory that the example was not written into.
#[derive(Debug, thiserror::Error)]
pub(crate) enum InitError {
    /// Nothing is called so.
    #[error("a function of the runtime {runtime} can't be called by the signature {signature}")]
    Signature {
        /// The runtime.
        runtime: Runtime,
        /// How a handler of it would be called.
        signature: Signature,
    },
    /// A file of the example exists already.
    #[error("{} exists already, and init overwrites nothing", path.display())]
    Exists {
        /// The file.
        path: PathBuf,
    },
    /// A file can't be written.
    #[error("{} can't be written", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// What the system says.
        #[source]
        cause: io::Error,
    },
}

impl Explain for InitError {
    fn exit(&self) -> Exit {
        match self {
            InitError::Signature { .. } | InitError::Exists { .. } => Exit::BadInput,
            InitError::Write { .. } => Exit::Failed,
        }
    }

    fn code(&self) -> String {
        match self {
            InitError::Signature { .. } => "bad_signature".into(),
            InitError::Exists { .. } => "exists".into(),
            InitError::Write { .. } => "unwritable".into(),
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            InitError::Signature { .. } => Some(
                "Python has event, wsgi, asgi, http and cloudevent, Node has event, http, fetch and cloudevent, other runtimes \
                 have none."
                    .into(),
            ),
            InitError::Exists { .. } => Some("Give a directory that does not exist yet.".into()),
            InitError::Write { .. } => None,
        }
    }
}

/// Writes the example.
pub(crate) fn run(args: &InitArgs, screen: Screen) -> Result<Exit, Failure> {
    let signature = args.signature.unwrap_or_default();
    let seeds = files(args.runtime, signature).ok_or(InitError::Signature {
        runtime: args.runtime,
        signature,
    })?;
    let files = write(seeds, &args.dir)?;
    let names: Vec<String> = files.iter().map(|path| path.display().to_string()).collect();
    screen.answer(
        &json!({ "dir": args.dir.display().to_string(), "files": names }),
        || {
            let dir = args.dir.display();
            format!("{}\n\nDeploy it with: fn deploy {dir}\n", names.join("\n"))
        },
    )?;
    Ok(Exit::Ok)
}

fn write(seeds: &[Seed], dir: &Path) -> Result<Vec<PathBuf>, InitError> {
    let paths: Vec<PathBuf> = seeds.iter().map(|seed| dir.join(seed.name)).collect();
    if let Some(path) = paths.iter().find(|path| fs::symlink_metadata(path).is_ok()) {
        return Err(InitError::Exists { path: path.clone() });
    }
    fs::create_dir_all(dir).map_err(|cause| InitError::Write {
        path: dir.to_owned(),
        cause,
    })?;
    for (seed, path) in seeds.iter().zip(&paths) {
        let options = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(seed.mode)
            .open(path);
        options
            .and_then(|mut file| file.write_all(seed.content.as_bytes()))
            .map_err(|cause| InitError::Write {
                path: path.clone(),
                cause,
            })?;
    }
    Ok(paths)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use functions::Manifest;

    use super::*;

    #[test]
    fn a_refusal_leaves_the_directory_as_it_was() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("fn.toml"), "mine").unwrap();
        let seeds = files(Runtime::Python, Signature::Auto).unwrap();
        assert!(matches!(write(seeds, dir.path()), Err(InitError::Exists { .. })));
        assert_eq!(fs::read(dir.path().join("fn.toml")).unwrap(), b"mine");
        assert!(!dir.path().join("handler.py").exists());
    }

    #[test]
    fn programs_can_be_run() {
        for (runtime, program) in [(Runtime::Stdio, "handler.sh"), (Runtime::Lambda, "bootstrap")] {
            let dir = tempfile::tempdir().unwrap();
            let new = dir.path().join("new/one");
            write(files(runtime, Signature::Auto).unwrap(), &new).unwrap();
            let mode = fs::metadata(new.join(program)).unwrap().permissions().mode();
            assert_eq!(mode & 0o100, 0o100);
        }
    }

    /// Each word that fits has an example, which says the same in its fn.toml, and no other word has one.
    #[test]
    fn there_is_an_example_of_whatever_fits() {
        for runtime in Runtime::WORDS.iter().map(|word| word.parse().unwrap()) {
            for signature in Signature::WORDS.iter().map(|word| word.parse().unwrap()) {
                let Some(seeds) = files(runtime, signature) else {
                    assert!(!Signature::fits(signature, runtime), "{runtime} {signature}");
                    continue;
                };
                assert!(Signature::fits(signature, runtime), "{runtime} {signature}");
                let dir = tempfile::tempdir().unwrap();
                write(seeds, dir.path()).unwrap();
                let manifest = fs::read_to_string(dir.path().join("fn.toml")).unwrap();
                let manifest = Manifest::from_toml(&manifest).unwrap();
                let detected = manifest.detect(dir.path()).unwrap();
                let settings = manifest.resolve(&"new".parse().unwrap(), &detected).unwrap();
                assert_eq!(settings.runtime, runtime);
                let says = match signature {
                    Signature::Event => Signature::Auto,
                    other => other,
                };
                assert_eq!(settings.signature, says, "{runtime} {signature}");
            }
        }
    }

    #[test]
    fn what_does_not_fit_says_what_does() {
        let error = InitError::Signature {
            runtime: Runtime::Node,
            signature: Signature::Wsgi,
        };
        assert_eq!(error.exit(), Exit::BadInput);
        assert!(error.to_string().contains("node") && error.hint().is_some_and(|hint| hint.contains("wsgi")));
    }
}
