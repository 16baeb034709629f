//! `fn init`: a small working function, written into a directory.
//!
//! Nothing that exists is touched. Every file is looked for before the first is written, so a refusal leaves the
//! directory as it was.

use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use serde_json::json;

use crate::args::{InitArgs, Template};
use crate::exit::Exit;
use crate::failure::{Explain, Failure};
use crate::render::Screen;

/// One file of a template.
struct Seed {
    name: &'static str,
    mode: u32,
    content: &'static str,
}

impl Template {
    fn files(self) -> &'static [Seed] {
        match self {
            Template::Python => &[
                Seed {
                    name: "handler.py",
                    mode: 0o644,
                    content: include_str!("../../templates/python/handler.py"),
                },
                Seed {
                    name: "fn.toml",
                    mode: 0o644,
                    content: include_str!("../../templates/python/fn.toml"),
                },
            ],
            Template::Node => &[
                Seed {
                    name: "index.mjs",
                    mode: 0o644,
                    content: include_str!("../../templates/node/index.mjs"),
                },
                Seed {
                    name: "fn.toml",
                    mode: 0o644,
                    content: include_str!("../../templates/node/fn.toml"),
                },
            ],
            Template::Stdio => &[
                Seed {
                    name: "handler.sh",
                    mode: 0o755,
                    content: include_str!("../../templates/stdio/handler.sh"),
                },
                Seed {
                    name: "fn.toml",
                    mode: 0o644,
                    content: include_str!("../../templates/stdio/fn.toml"),
                },
            ],
        }
    }
}

/// A directory that the example was not written into.
#[derive(Debug, thiserror::Error)]
pub(crate) enum InitError {
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
            InitError::Exists { .. } => Exit::BadInput,
            InitError::Write { .. } => Exit::Failed,
        }
    }

    fn code(&self) -> String {
        match self {
            InitError::Exists { .. } => "exists".into(),
            InitError::Write { .. } => "unwritable".into(),
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            InitError::Exists { .. } => Some("Give a directory that does not exist yet.".into()),
            InitError::Write { .. } => None,
        }
    }
}

/// Writes the example.
pub(crate) fn run(args: &InitArgs, screen: Screen) -> Result<Exit, Failure> {
    let files = write(args.runtime, &args.dir)?;
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

fn write(template: Template, dir: &Path) -> Result<Vec<PathBuf>, InitError> {
    let paths: Vec<PathBuf> = template.files().iter().map(|seed| dir.join(seed.name)).collect();
    if let Some(path) = paths.iter().find(|path| fs::symlink_metadata(path).is_ok()) {
        return Err(InitError::Exists { path: path.clone() });
    }
    fs::create_dir_all(dir).map_err(|cause| InitError::Write {
        path: dir.to_owned(),
        cause,
    })?;
    for (seed, path) in template.files().iter().zip(&paths) {
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

    use super::*;

    #[test]
    fn a_refusal_leaves_the_directory_as_it_was() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("fn.toml"), "mine").unwrap();
        assert!(matches!(
            write(Template::Python, dir.path()),
            Err(InitError::Exists { .. })
        ));
        assert_eq!(fs::read(dir.path().join("fn.toml")).unwrap(), b"mine");
        assert!(!dir.path().join("handler.py").exists());
    }

    #[test]
    fn the_script_can_be_run() {
        let dir = tempfile::tempdir().unwrap();
        write(Template::Stdio, &dir.path().join("new/one")).unwrap();
        let mode = fs::metadata(dir.path().join("new/one/handler.sh"))
            .unwrap()
            .permissions()
            .mode();
        assert_eq!(mode & 0o100, 0o100);
    }
}
