//! `cargo xtask abuse`: builds what the abuse suite needs and runs it; the suite itself is the program `abuse` of the crate `tests`.
//!
//! ```text
//! fn with switches -> copied away -> probe, static -> copied away -> fn, abuse -> copied -> the suite runs, as root with the server as nobody
//! ```
//!
//! The order is the point: cargo puts both builds of `fn` at the same path, and what lies there in the end is the one for everybody.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use anyhow::{Context, Result, bail};
use nix::unistd::Uid;

use crate::program::Program;
use crate::requirements::{self, Purpose};
use crate::test::{NOBODY, install};
use crate::workspace::{Executable, Workspace};

/// Copies of the programs, in a directory that every user may read and that the drop removes.
pub(crate) struct Programs {
    dir: tempfile::TempDir,
}

impl Programs {
    /// Builds them all.
    pub(crate) fn build(workspace: &Workspace) -> Result<Self> {
        let dir = tempfile::Builder::new().prefix("fn-abuse-bin-").tempdir()?;
        std::fs::set_permissions(dir.path(), PermissionsExt::from_mode(0o755))?;
        let programs = Self { dir };
        let switches = ["build", "--package", "cli", "--features", "abuse-switches"];
        programs.take(&workspace.build(&switches)?, "fn", "fn-abuse-switches")?;
        // For this one program alone: as a setting of cargo it would build every crate anew.
        let probe = [
            "rustc",
            "--package",
            "probe",
            "--bin",
            "probe",
            "--",
            "-C",
            "target-feature=+crt-static",
        ];
        programs.take(&workspace.build(&probe)?, "probe", "probe")?;
        let plain = workspace.build(&["build", "--package", "cli", "--package", "tests", "--bins"])?;
        programs.take(&plain, "fn", "fn")?;
        programs.take(&plain, "abuse", "abuse")?;
        Ok(programs)
    }

    fn take(&self, built: &[Executable], name: &str, to: &str) -> Result<()> {
        let program = built
            .iter()
            .find(|program| program.kind == "bin" && program.name == name);
        let program = program.with_context(|| format!("cargo built no program named {name}"))?;
        install(&program.path, &self.path(to))
    }

    /// Copies what tries `fn`, but not `fn` itself, to where the suite finds it.
    pub(crate) fn stage(&self, dir: &Path) -> Result<()> {
        for name in ["abuse", "fn-abuse-switches", "probe"] {
            install(&self.path(name), &dir.join(name))?;
        }
        Ok(())
    }

    fn path(&self, name: &str) -> std::path::PathBuf {
        self.dir.path().join(name)
    }

    /// The suite, about to be started. As root the server becomes `user`.
    pub(crate) fn suite(&self, user: Option<&str>) -> Program {
        let suite = Program::new(self.path("abuse"))
            .dir(Path::new("/"))
            .env("FN_TEST_BIN", self.path("fn"))
            .env("FN_ABUSE_SWITCHES_BIN", self.path("fn-abuse-switches"))
            .env("FN_ABUSE_PROBE", self.path("probe"));
        match user {
            Some(user) => suite.env("FN_TEST_USER", user),
            None => suite,
        }
    }
}

/// Runs all cases, or those whose name contains `filter`. An error when one failed.
pub(crate) fn run(workspace: &Workspace, filter: Option<&str>) -> Result<()> {
    requirements::ensure(Purpose::Tests)?;
    let programs = Programs::build(workspace)?;
    let user = Uid::effective().is_root().then_some(NOBODY);
    let status = programs.suite(user).args(filter).watch(|_| {})?;
    if !status.success() {
        bail!("the abuse suite ended with {status}");
    }
    Ok(())
}
