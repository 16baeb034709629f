//! `cargo xtask lint`: everything that is checked about the text of the workspace without running any of it.

use anyhow::Result;

use crate::workspace::Workspace;
use crate::{dependencies, layers};

/// Formatting, clippy without a warning, the layers, and the list of dependencies; the first that fails is the error.
pub(crate) fn run(workspace: &Workspace) -> Result<()> {
    workspace.cargo(["fmt", "--all", "--check"]).run()?;
    workspace
        .cargo([
            "clippy",
            "--quiet",
            "--workspace",
            "--all-targets",
            "--",
            "-D",
            "warnings",
        ])
        .run()?;
    layers::run(workspace)?;
    dependencies::run(workspace)
}
