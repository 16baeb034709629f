//! npm: package.json into `node_modules`.
//!
//! No scripts: `--ignore-scripts` holds for every package that comes from a registry. A dependency from a git
//! repository is another matter, npm prepares it with a second npm, so git is taken away from it by naming a program
//! that does not exist, and such a dependency fails with a word about it.

use std::io;
use std::path::Path;
use std::process::Command;

use serde_json::Value;

use super::{PackagesError, read_if_there, watch};
use crate::render::Step;

/// The name of a git that is nowhere.
const NO_GIT: &str = "--git=fn-installs-without-git";

/// Whether package.json names a dependency that is needed at run time.
pub(super) fn has_dependencies(dir: &Path) -> Result<bool, PackagesError> {
    let Some(text) = read_if_there(&dir.join("package.json"))? else {
        return Ok(false);
    };
    let package: Value = serde_json::from_str(&text).map_err(|cause| PackagesError::BadPackageJson { cause })?;
    Ok(["dependencies", "optionalDependencies"]
        .iter()
        .any(|key| package[key].as_object().is_some_and(|packages| !packages.is_empty())))
}

/// Installs what package.json, or the lock file beside it, names.
pub(super) fn install(dir: &Path, step: &Step) -> Result<(), PackagesError> {
    let (status, output) = watch::run(command(dir), step).map_err(|cause| match cause.kind() {
        io::ErrorKind::NotFound => PackagesError::NoNpm,
        _ => PackagesError::Start { program: "npm", cause },
    })?;
    if status.success() {
        return Ok(());
    }
    Err(PackagesError::Failed {
        program: "npm",
        status,
        hint: hint(&output),
        output,
    })
}

/// The command line of the installation. A lock file is obeyed to the letter.
#[expect(clippy::disallowed_methods, reason = "this file is where npm is started")]
fn command(dir: &Path) -> Command {
    let locked = ["package-lock.json", "npm-shrinkwrap.json"]
        .iter()
        .any(|name| dir.join(name).is_file());
    let mut command = Command::new("npm");
    command
        .arg(if locked { "ci" } else { "install" })
        .args(["--omit=dev", "--ignore-scripts", "--no-audit", "--no-fund", NO_GIT])
        .current_dir(dir)
        .env("npm_config_update_notifier", "false")
        .env("npm_config_yes", "false");
    command
}

/// What to do about a failed installation.
fn hint(output: &str) -> &'static str {
    if output.contains("fn-installs-without-git") {
        "A dependency comes from a git repository, which can't be installed without running its scripts. \
         Use a published version of it."
    } else if output.contains("npm ci") && output.contains("in sync") {
        "package-lock.json does not fit package.json: run npm install once and deploy again."
    } else {
        "The output of npm says why. The same happens with: npm install --omit=dev --ignore-scripts"
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(package: &str) -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("package.json"), package).unwrap();
        dir
    }

    #[test]
    fn only_what_is_needed_at_run_time_counts() {
        assert!(!has_dependencies(tempfile::tempdir().unwrap().path()).unwrap());
        assert!(!has_dependencies(with(r#"{"type":"module"}"#).path()).unwrap());
        assert!(!has_dependencies(with(r#"{"dependencies":{},"devDependencies":{"x":"1"}}"#).path()).unwrap());
        assert!(has_dependencies(with(r#"{"dependencies":{"x":"1"}}"#).path()).unwrap());
        assert!(has_dependencies(with(r#"{"optionalDependencies":{"x":"1"}}"#).path()).unwrap());
        assert!(matches!(
            has_dependencies(with("{").path()),
            Err(PackagesError::BadPackageJson { .. })
        ));
    }

    #[test]
    fn a_lock_file_is_obeyed_and_scripts_never_run() {
        let dir = with("{}");
        let words = |dir: &Path| -> Vec<String> {
            command(dir)
                .get_args()
                .map(|word| word.to_string_lossy().into_owned())
                .collect()
        };
        assert_eq!(words(dir.path())[0], "install");
        std::fs::write(dir.path().join("package-lock.json"), "{}").unwrap();
        assert_eq!(words(dir.path())[0], "ci");
        assert!(words(dir.path()).contains(&"--ignore-scripts".to_owned()));
    }
}
