//! Where programs are.

use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::{ENV, PeerError};
use crate::child;

/// Making an environment and fetching three packages takes this long at most.
const TO_INSTALL: Duration = Duration::from_secs(600);
const PACKAGES: [&str; 3] = ["flask", "gunicorn", "functions-framework"];

/// The executable `name` in `$PATH` or where administrators' programs are.
pub(super) fn program(name: &'static str) -> Result<PathBuf, PeerError> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let also = ["/usr/sbin", "/usr/local/sbin", "/sbin"].map(PathBuf::from);
    std::env::split_paths(&path)
        .chain(also)
        .map(|dir| dir.join(name))
        .find(|path| executable(path))
        .ok_or(PeerError::Absent(name))
}

/// The one of the system, which the server takes too, before any other in `$PATH`.
pub(super) fn system_program(name: &'static str) -> Result<PathBuf, PeerError> {
    let path = Path::new("/usr/bin").join(name);
    if executable(&path) { Ok(path) } else { program(name) }
}

fn executable(path: &Path) -> bool {
    std::fs::metadata(path).is_ok_and(|meta| meta.is_file() && meta.permissions().mode() & 0o111 != 0)
}

/// Where the Python servers are to be found.
#[derive(Debug)]
pub(super) struct PythonServers {
    venv: Option<PathBuf>,
    failed: Option<String>,
}

/// The virtual environment below `dir`, made and filled when it is not there yet. Without a directory those in `$PATH`.
pub(super) async fn python_servers(dir: Option<&Path>) -> PythonServers {
    let Some(dir) = dir else {
        return PythonServers {
            venv: None,
            failed: None,
        };
    };
    let venv = dir.join("venv");
    let failed = match install(&venv).await {
        Ok(()) => None,
        Err(error) => Some(error.to_string()),
    };
    PythonServers {
        venv: Some(venv),
        failed,
    }
}

async fn install(venv: &Path) -> Result<(), PeerError> {
    let there = |name: &&str| executable(&venv.join("bin").join(name));
    if ["gunicorn", "flask", "functions-framework"].iter().all(there) {
        return Ok(());
    }
    let python = system_program("python3")?;
    let venv_arg = venv.to_string_lossy();
    child::output_with(&python, &["-m", "venv", &venv_arg], ENV, TO_INSTALL).await?;
    let mut args = vec!["install", "--quiet", "--disable-pip-version-check"];
    args.extend(PACKAGES);
    child::output_with(&venv.join("bin/pip"), &args, ENV, TO_INSTALL).await?;
    Ok(())
}

impl PythonServers {
    /// The executable `name`.
    pub(super) fn program(&self, name: &'static str) -> Result<PathBuf, PeerError> {
        let Some(venv) = &self.venv else {
            return program(name);
        };
        let path = venv.join("bin").join(name);
        if executable(&path) {
            return Ok(path);
        }
        match &self.failed {
            Some(reason) => Err(PeerError::Call(format!("the virtual environment: {reason}"))),
            None => Err(PeerError::Absent(name)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_what_is_there_and_says_what_is_not() {
        assert!(program("sh").is_ok());
        let error = program("no-such-program-at-all").unwrap_err();
        assert_eq!(error.to_string(), "no-such-program-at-all is not installed");
    }

    #[tokio::test]
    async fn without_a_directory_nothing_is_installed() {
        let servers = python_servers(None).await;
        assert!(servers.venv.is_none());
        assert!(matches!(
            servers.program("no-such-server-at-all"),
            Err(PeerError::Absent(_))
        ));
    }
}
