//! A user account that exists for one test run, with a range of subordinate ids.
//!
//! The drop removes it. A run that was killed can't, so the next one removes every account whose run is gone.

use std::path::Path;

use anyhow::{Context, Result, bail};

use crate::program::Program;

const PREFIX: &str = "fn-test-";

/// How many subordinate ids it gets, as many as Debian gives a new user.
const RANGE: u64 = 65_536;

/// Where the search for a free range starts: above the ids of ordinary users.
const FIRST: u64 = 100_000;

/// The account of this run.
pub(super) struct Account {
    name: String,
}

impl Account {
    /// Creates it under the name `fn-test-<our pid>`, after removing what killed runs left.
    pub(super) fn create() -> Result<Self> {
        for name in left_over(&std::fs::read_to_string("/etc/passwd")?) {
            remove(&name)?;
        }
        let name = format!("{PREFIX}{}", std::process::id());
        Program::new("/usr/sbin/useradd")
            .args([
                "--no-create-home",
                "--home-dir",
                "/nonexistent",
                "--shell",
                "/usr/sbin/nologin",
                &name,
            ])
            .run()?;
        let account = Self { name };
        // Whether useradd hands out subordinate ids by itself depends on the machine's login.defs.
        account.own_ids("/etc/subuid", "--add-subuids")?;
        account.own_ids("/etc/subgid", "--add-subgids")?;
        Ok(account)
    }

    /// Its name.
    pub(super) fn name(&self) -> &str {
        &self.name
    }

    fn own_ids(&self, file: &str, option: &str) -> Result<()> {
        let ranges = if Path::new(file).exists() {
            std::fs::read_to_string(file)?
        } else {
            String::new()
        };
        if ranges.lines().any(|line| line.starts_with(&format!("{}:", self.name))) {
            return Ok(());
        }
        let first = free_from(&ranges).with_context(|| format!("{file} is not what was expected"))?;
        let range = format!("{first}-{}", first + RANGE - 1);
        Program::new("/usr/sbin/usermod")
            .args([option, &range, &self.name])
            .run()
    }
}

impl Drop for Account {
    fn drop(&mut self) {
        if let Err(error) = remove(&self.name) {
            eprintln!("cannot remove the user {}, please do: {error:#}", self.name);
        }
    }
}

/// Removes the account even when a process of it is still there: it must not outlive the run, and the tests name such a process.
fn remove(name: &str) -> Result<()> {
    // It says on its standard error that there is no mail box and no home, which is as it should be.
    let done = Program::new("/usr/sbin/userdel").args(["--force", name]).finish()?;
    if !done.status.success() {
        bail!("userdel {name} ended with {}: {}", done.status, done.stderr.trim());
    }
    Ok(())
}

/// The accounts of runs that are gone.
fn left_over(passwd: &str) -> Vec<String> {
    let names = passwd.lines().filter_map(|line| line.split(':').next());
    names
        .filter(|name| {
            let pid = name.strip_prefix(PREFIX).and_then(|pid| pid.parse::<u32>().ok());
            pid.is_some_and(|pid| !Path::new("/proc").join(pid.to_string()).exists())
        })
        .map(str::to_owned)
        .collect()
}

/// The first id after every range that is given away. `None` when a line is no `name:first:count`.
fn free_from(ranges: &str) -> Option<u64> {
    let mut free = FIRST;
    for line in ranges
        .lines()
        .filter(|line| !line.trim().is_empty() && !line.starts_with('#'))
    {
        let mut fields = line.split(':').skip(1);
        let first: u64 = fields.next()?.parse().ok()?;
        let count: u64 = fields.next()?.trim().parse().ok()?;
        free = free.max(first.checked_add(count)?);
    }
    Some(free)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_never_overlap() {
        assert_eq!(free_from(""), Some(100_000));
        assert_eq!(free_from("a:100000:65536\nb:165536:65536\n"), Some(231_072));
        assert_eq!(free_from("a:300000:10\nb:100000:65536\n"), Some(300_010));
        assert_eq!(free_from("nonsense\n"), None);
    }

    #[test]
    fn only_accounts_of_dead_runs_are_left_over() {
        let passwd = format!(
            "root:x:0:0::/:/bin/sh\nfn-test-{}:x:1001:1001::/:/\nfn-test-4999999:x:1002:1002::/:/\nfn-test-x:x:1::/:/\n",
            std::process::id()
        );
        assert_eq!(left_over(&passwd), ["fn-test-4999999"]);
    }
}
