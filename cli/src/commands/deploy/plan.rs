//! What is going to be deployed: the manifest, the runtime, the handler and the name.
//!
//! The same rules hold again on the server. They are applied here first, because here the file is at hand and a
//! mistake can be shown with its line, before anything is installed, packed or sent.

use std::fs;
use std::io;
use std::path::PathBuf;

use functions::detect::DetectError;
use functions::manifest::{FILE_NAME, ManifestError, ResolveError};
use functions::{BuildMode, FunctionName, Manifest, Runtime};

use crate::commands::name::{self, BadName};
use crate::exit::Exit;
use crate::failure::Explain;
use crate::staging::{Staged, StagingError};

/// A deploy that has passed every check of this machine.
#[derive(Debug)]
pub(super) struct Plan {
    pub(super) name: FunctionName,
    pub(super) runtime: Runtime,
    pub(super) handler: String,
    pub(super) build: BuildMode,
    /// What was typed, in fn.toml and as options.
    pub(super) manifest: Manifest,
}

/// A directory that can't be deployed as it is.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PlanError {
    /// fn.toml can't be read.
    #[error("{} can't be read", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the system says.
        #[source]
        cause: io::Error,
    },
    /// fn.toml is no manifest.
    #[error("there is a mistake in fn.toml")]
    Manifest(ManifestError),
    /// An option is no setting.
    #[error("{0}")]
    Option(ManifestError),
    /// A setting is out of its bounds.
    #[error(transparent)]
    Resolve(#[from] ResolveError),
    /// Nothing to call was found.
    #[error("{cause}")]
    Detect {
        /// What the directory lacks.
        cause: DetectError,
    },
    /// A layer can't be packed.
    #[error("a layer can't be packed")]
    Layer(#[source] StagingError),
    /// No name.
    #[error(transparent)]
    Name(#[from] BadName),
}

impl Explain for PlanError {
    fn exit(&self) -> Exit {
        match self {
            PlanError::Layer(error) => error.exit(),
            _ => Exit::BadInput,
        }
    }

    fn code(&self) -> String {
        match self {
            PlanError::Unreadable { .. } => "unreadable".into(),
            PlanError::Manifest(_) => "bad_manifest".into(),
            PlanError::Option(_) | PlanError::Resolve(_) => "bad_setting".into(),
            PlanError::Detect { .. } => "no_handler".into(),
            PlanError::Layer(error) => error.code(),
            PlanError::Name(error) => error.code(),
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            PlanError::Unreadable { .. } => None,
            PlanError::Manifest(error) | PlanError::Option(error) => Some(error.hint().into()),
            PlanError::Resolve(error) => Some(error.hint().into()),
            PlanError::Detect { cause } => Some(cause.hint().into()),
            PlanError::Layer(error) => error.hint(),
            PlanError::Name(error) => error.hint(),
        }
    }

    fn details(&self) -> Option<String> {
        match self {
            PlanError::Manifest(error) => Some(error.to_string()),
            _ => None,
        }
    }
}

impl Plan {
    /// Reads fn.toml, puts the options over it, and finds out the rest.
    pub(super) fn make(staged: &mut Staged, options: &[(String, String)]) -> Result<Self, PlanError> {
        let mut manifest = read(staged.dir().join(FILE_NAME))?;
        for (key, value) in options {
            if key == "name" {
                // The name has its own error, which shows what was typed.
                manifest.name = Some(name::typed(value)?);
            } else {
                manifest.set(key, value).map_err(PlanError::Option)?;
            }
        }
        let name = match &manifest.name {
            Some(name) => name.clone(),
            None => name::from_path(staged.stem())?,
        };
        if let Some(layers) = &manifest.layers {
            staged.add_layers(layers).map_err(PlanError::Layer)?;
        }
        let detected = manifest
            .detect(staged.dir())
            .map_err(|cause| PlanError::Detect { cause })?;
        let settings = manifest.resolve(&name, &detected)?;
        Ok(Plan {
            name,
            runtime: settings.runtime,
            handler: settings.handler,
            build: settings.build,
            manifest,
        })
    }
}

fn read(path: PathBuf) -> Result<Manifest, PlanError> {
    match fs::read_to_string(&path) {
        Ok(text) => Manifest::from_toml(&text).map_err(PlanError::Manifest),
        Err(cause) if cause.kind() == io::ErrorKind::NotFound => Ok(Manifest::default()),
        Err(cause) => Err(PlanError::Unreadable { path, cause }),
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use tempfile::TempDir;

    use super::*;
    use crate::failure::Failure;

    fn directory(files: &[(&str, &str)]) -> TempDir {
        let dir = TempDir::with_prefix("My_App.").unwrap();
        for (name, content) in files {
            fs::write(dir.path().join(name), content).unwrap();
        }
        dir
    }

    fn plan(dir: &Path, options: &[(&str, &str)]) -> Result<Plan, Failure> {
        let options: Vec<_> = options
            .iter()
            .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
            .collect();
        Ok(Plan::make(&mut Staged::open(dir).unwrap(), &options)?)
    }

    const PYTHON: (&str, &str) = ("handler.py", "def handler(event, context):\n    return {}\n");

    #[test]
    fn a_name_comes_from_the_option_else_the_file_else_the_directory() {
        let dir = directory(&[PYTHON, ("fn.toml", "name = \"from-file\"\n")]);
        assert_eq!(plan(dir.path(), &[("name", "typed")]).unwrap().name.as_str(), "typed");
        assert_eq!(plan(dir.path(), &[]).unwrap().name.as_str(), "from-file");
        let dir = directory(&[PYTHON]);
        assert!(plan(dir.path(), &[]).unwrap().name.as_str().starts_with("my-app-"));
    }

    #[test]
    fn options_lie_over_the_file() {
        let dir = directory(&[
            PYTHON,
            ("fn.toml", "memory = \"64MiB\"\n[env]\nA = \"file\"\nB = \"file\"\n"),
        ]);
        let plan = plan(
            dir.path(),
            &[("memory", "128MiB"), ("env.A", "typed"), ("scale.max", "4")],
        )
        .unwrap();
        let manifest = serde_json::to_value(&plan.manifest).unwrap();
        assert_eq!(manifest["memory"], "128MiB");
        assert_eq!(manifest["env"]["A"], "typed");
        assert_eq!(manifest["env"]["B"], "file");
        assert_eq!(manifest["scale"]["max"], 4);
        assert_eq!(plan.handler, "handler.handler");
    }

    #[test]
    fn a_mistake_in_the_file_is_shown_where_it_stands() {
        let dir = directory(&[PYTHON, ("fn.toml", "memry = \"64MiB\"\n")]);
        let failure = plan(dir.path(), &[]).unwrap_err();
        assert_eq!(failure.exit, Exit::BadInput);
        let details = failure.details.unwrap();
        assert!(
            details.contains("^^^^^") && details.contains("did you mean \"memory\""),
            "{details}"
        );
    }

    #[test]
    fn a_mistake_in_an_option_is_told_with_a_suggestion() {
        let dir = directory(&[PYTHON]);
        let failure = plan(dir.path(), &[("scale.mx", "4")]).unwrap_err();
        assert!(
            failure.message.contains("did you mean \"scale.max\""),
            "{}",
            failure.message
        );
        let failure = plan(dir.path(), &[("runtime", "pyton")]).unwrap_err();
        assert!(
            failure.message.contains("did you mean \"python\""),
            "{}",
            failure.message
        );
        let failure = plan(dir.path(), &[("memory", "1KiB")]).unwrap_err();
        assert_eq!((failure.exit, failure.code.as_str()), (Exit::BadInput, "bad_setting"));
        let failure = plan(dir.path(), &[("name", "No/Name")]).unwrap_err();
        assert_eq!(failure.code, "invalid_function_name");
    }

    #[test]
    fn layers_are_put_where_the_sandbox_looks_for_them() {
        let layer = directory(&[("greeting.txt", "from a layer")]);
        let path = format!("layers = [{:?}]\n", layer.path());
        let dir = directory(&[PYTHON, ("fn.toml", &path)]);
        let mut staged = Staged::open(dir.path()).unwrap();
        Plan::make(&mut staged, &[]).unwrap();
        let packed = staged.dir().join(".fn-opt/greeting.txt");
        assert_eq!(fs::read_to_string(packed).unwrap(), "from a layer");
        assert!(!dir.path().join(".fn-opt").exists());
        let dir = directory(&[PYTHON, ("fn.toml", "layers = [\"../nowhere-at-all\"]\n")]);
        let failure = plan(dir.path(), &[]).unwrap_err();
        assert_eq!((failure.exit, failure.code.as_str()), (Exit::NotFound, "no_such_path"));
    }

    #[test]
    fn a_directory_without_a_handler_says_what_would_be_one() {
        let dir = directory(&[("readme.txt", "")]);
        let failure = plan(dir.path(), &[]).unwrap_err();
        assert_eq!((failure.exit, failure.code.as_str()), (Exit::BadInput, "no_handler"));
        assert!(failure.hint.unwrap().contains("handler.py"));
    }
}
