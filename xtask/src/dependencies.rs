//! Every dependency of the workspace has its line of reason in `docs/dependencies.md`, and nothing else has one.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context, Result, bail};

use crate::workspace::Workspace;

const LIST: &str = "docs/dependencies.md";

/// Compares the workspace's `Cargo.toml` with the list and names every difference.
pub(crate) fn run(workspace: &Workspace) -> Result<()> {
    let manifest = std::fs::read_to_string(workspace.root().join("Cargo.toml"))?;
    let list = std::fs::read_to_string(workspace.root().join(LIST)).with_context(|| format!("cannot read {LIST}"))?;
    let wrong = differences(&declared(&manifest)?, &explained(&list));
    if !wrong.is_empty() {
        bail!("{LIST} and Cargo.toml differ:\n  {}", wrong.join("\n  "));
    }
    Ok(())
}

/// The names under `[workspace.dependencies]` that are not directories of this workspace.
fn declared(manifest: &str) -> Result<BTreeSet<String>> {
    let manifest: toml::Table = manifest.parse().context("Cargo.toml is not TOML")?;
    let dependencies = manifest
        .get("workspace")
        .and_then(|workspace| workspace.get("dependencies"))
        .and_then(toml::Value::as_table)
        .context("Cargo.toml has no [workspace.dependencies]")?;
    Ok(dependencies
        .iter()
        .filter(|(_, value)| value.get("path").is_none())
        .map(|(name, _)| name.clone())
        .collect())
}

/// The rows of the list's table: the name between backticks, then the reason.
fn explained(list: &str) -> BTreeMap<String, String> {
    list.lines()
        .filter_map(|line| {
            let mut cells = line.strip_prefix("| `")?.splitn(2, "` |");
            Some((
                cells.next()?.to_owned(),
                cells.next()?.trim_matches([' ', '|']).to_owned(),
            ))
        })
        .collect()
}

fn differences(declared: &BTreeSet<String>, explained: &BTreeMap<String, String>) -> Vec<String> {
    let missing = declared
        .iter()
        .filter(|name| !explained.contains_key(*name))
        .map(|name| format!("{name}: no line says why it is needed"));
    let stale = explained
        .keys()
        .filter(|name| !declared.contains(*name))
        .map(|name| format!("{name}: explained, but nothing depends on it"));
    let empty = explained
        .iter()
        .filter(|(_, reason)| reason.is_empty())
        .map(|(name, _)| format!("{name}: the reason is empty"));
    missing.chain(stale).chain(empty).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_difference_is_named() {
        let manifest = "[workspace.dependencies]\nours = { path = \"ours\" }\nserde = \"1\"\ntar = { version = \"1\" }\nnix = \"1\"\n";
        let list =
            "# Title\n| crate | why |\n|---|---|\n| `serde` | data in and out |\n| `nix` |  |\n| `rand` | chance |\n";
        let wrong = differences(&declared(manifest).unwrap(), &explained(list));
        assert_eq!(
            wrong,
            [
                "tar: no line says why it is needed",
                "rand: explained, but nothing depends on it",
                "nix: the reason is empty"
            ]
        );
    }
}
