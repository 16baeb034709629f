//! The dependencies of a function, put into a copy of its directory before it is packed.
//!
//! The client does this, not the server, and nothing of a dependency ever runs: pip installs wheels only and is kept
//! from starting any program, npm installs without scripts and without git. Both only unpack files.
//!
//! ```text
//! requirements.txt, runtime python -> pip -> .fn-packages/
//! package.json,     runtime node   -> npm -> node_modules/
//! ```

use std::io;
use std::path::{Path, PathBuf};
use std::process::ExitStatus;

use functions::Runtime;

use crate::exit::Exit;
use crate::failure::Explain;
use crate::render::Progress;

mod npm;
mod pip;
mod watch;

/// Dependencies that could not be installed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PackagesError {
    /// A file that names dependencies can't be read.
    #[error("{}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the system says.
        #[source]
        cause: io::Error,
    },
    /// package.json is no JSON.
    #[error("package.json is not valid JSON")]
    BadPackageJson {
        /// Where the reading stopped.
        #[source]
        cause: serde_json::Error,
    },
    /// There is no pip.
    #[error(
        "requirements.txt needs pip, and neither {} nor a python3 on the PATH has it",
        pip::RUNTIME_PYTHON
    )]
    NoPip,
    /// The interpreter that runs functions is missing, so nobody knows which wheels fit.
    #[error("requirements.txt needs Python, and {} is not there", pip::RUNTIME_PYTHON)]
    NoPython,
    /// There is no npm.
    #[error("package.json has dependencies, and there is no npm on the PATH")]
    NoNpm,
    /// An installer could not be started.
    #[error("{program} can't be started")]
    Start {
        /// The installer.
        program: &'static str,
        /// What the system says.
        #[source]
        cause: io::Error,
    },
    /// An installer failed.
    #[error("{program} could not install the dependencies ({status})")]
    Failed {
        /// The installer.
        program: &'static str,
        /// How it ended.
        status: ExitStatus,
        /// The end of its output.
        output: String,
        /// What to do about it.
        hint: &'static str,
    },
}

impl Explain for PackagesError {
    fn exit(&self) -> Exit {
        match self {
            PackagesError::Unreadable { .. } | PackagesError::BadPackageJson { .. } => Exit::BadInput,
            _ => Exit::Dependencies,
        }
    }

    fn code(&self) -> String {
        match self {
            PackagesError::Unreadable { .. } => "unreadable",
            PackagesError::BadPackageJson { .. } => "bad_package_json",
            PackagesError::NoPip => "no_pip",
            PackagesError::NoPython => "no_python",
            PackagesError::NoNpm => "no_npm",
            PackagesError::Start { .. } => "installer_not_started",
            PackagesError::Failed { .. } => "dependencies_failed",
        }
        .into()
    }

    fn hint(&self) -> Option<String> {
        match self {
            PackagesError::NoPip => Some("On Debian and Ubuntu: apt install python3-pip".into()),
            PackagesError::NoPython => Some("On Debian and Ubuntu: apt install python3 python3-pip".into()),
            PackagesError::NoNpm => Some("On Debian and Ubuntu: apt install npm".into()),
            PackagesError::Failed { hint, .. } => Some((*hint).into()),
            _ => None,
        }
    }

    fn details(&self) -> Option<String> {
        match self {
            PackagesError::Failed { output, .. } => Some(output.clone()).filter(|text| !text.is_empty()),
            _ => None,
        }
    }
}

/// The program that installs a function's dependencies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Installer {
    /// For requirements.txt.
    Pip,
    /// For package.json.
    Npm,
}

impl Installer {
    /// The one that the directory needs, if it names any dependency.
    pub(crate) fn needed(dir: &Path, runtime: Runtime) -> Result<Option<Self>, PackagesError> {
        Ok(match runtime {
            Runtime::Python | Runtime::Http | Runtime::Lambda | Runtime::Fdk if pip::has_requirements(dir)? => {
                Some(Installer::Pip)
            }
            Runtime::Node | Runtime::Http | Runtime::Lambda | Runtime::Fdk if npm::has_dependencies(dir)? => {
                Some(Installer::Npm)
            }
            _ => None,
        })
    }

    /// What it makes anew at the top of the directory; what stood there before is in its way.
    pub(crate) fn makes(self) -> &'static [&'static str] {
        match self {
            Installer::Pip => &[pip::TARGET],
            Installer::Npm => &["node_modules"],
        }
    }

    /// Installs into `dir`, which is a copy that may be written to.
    pub(crate) fn install(self, dir: &Path, progress: Progress) -> Result<(), PackagesError> {
        match self {
            Installer::Pip => pip::install(dir, &progress.step("Installing Python packages")),
            Installer::Npm => npm::install(dir, &progress.step("Installing Node packages")),
        }
    }
}

/// The text of a file, or `None` when there is none.
fn read_if_there(path: &Path) -> Result<Option<String>, PackagesError> {
    match std::fs::read_to_string(path) {
        Ok(text) => Ok(Some(text)),
        Err(cause) if cause.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(cause) => Err(PackagesError::Unreadable {
            path: path.to_owned(),
            cause,
        }),
    }
}
