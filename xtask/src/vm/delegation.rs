//! What `fn doctor` and `fn serve --strict` say with all of systemd's delegation, with some and with none.
//!
//! ```text
//! stock      a scope of his own   everything is enforced
//!            a plain login        the same: fn asks for the scope itself
//! withheld   a plain login        no cpu limit; strict refuses, a server without it serves; the fix that is printed mends it
//! none       no user manager      no limit at all; strict refuses, a server without it serves
//! ```

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;

use super::Account;
use super::machine::{Machine, Said};

/// A command in a delegated scope of its own, as the user's systemd makes it.
const SCOPE: &[&str] = &["systemd-run", "--user", "--scope", "--quiet", "-p", "Delegate=yes"];

/// A login to which the user's systemd is unknown.
const NO_MANAGER: &[&str] = &["env", "--unset=XDG_RUNTIME_DIR", "--unset=DBUS_SESSION_BUS_ADDRESS"];

/// What the kernel of Debian 12 can't do in full, whatever is delegated.
const WEAKER: &[&str] = &["tmpfs attributes", "landlock"];

/// Leaves the managers of users less than Debian does, in the file that the fix of doctor writes. A controller that is in use below can't be
/// taken away, so the manager starts anew.
const WITHHELD: &str = "mkdir -p /etc/systemd/system/user@.service.d && \
    printf '[Service]\\nDelegate=\\nDelegate=memory pids\\n' > /etc/systemd/system/user@.service.d/delegate.conf && \
    systemctl daemon-reload && systemctl restart user@1000.service";

/// Runs all of the checks.
pub(super) fn check(machine: &Machine, account: &mut Account) -> Result<()> {
    println!("\n== doctor");
    let strict = serving(machine, SCOPE, &["--strict"])?;
    account.check("a scope of its own: everything is enforced", whole(machine, SCOPE));
    account.check("a scope of its own: strict serves", serves(&strict));
    account.check("a plain login: everything is enforced", whole(machine, &[]));
    account.check(
        "a plain login: strict serves",
        serves(&serving(machine, &[], &["--strict"])?),
    );
    let beside = [SCOPE, &["sh", "-c", "\"$@\"; true", "sh"]].concat();
    account.check(
        "a scope in which others stand: everything is enforced",
        serving(machine, &beside, &["--strict"]).and_then(|said| serves(&said)),
    );

    machine
        .root(&["sh", "-c", WITHHELD])?
        .success("taking the cpu controller away")?;
    let report = Report::of(machine, &[])?;
    account.check(
        "the cpu controller is withheld: it is named",
        report.misses(&["cpu limit"]),
    );
    account.check(
        "the cpu controller is withheld: strict refuses",
        refuses(machine, &[], &["cpu limit"]),
    );
    account.check(
        "the cpu controller is withheld: a server serves",
        serves(&serving(machine, &[], &[])?),
    );
    account.check(
        "the cpu controller is withheld: the fix mends it",
        mends(machine, &report),
    );

    let all = ["memory limit", "cpu limit", "pids limit"];
    let report = Report::of(machine, NO_MANAGER)?;
    account.check("no user manager: all limits are named", report.misses(&all));
    account.check("no user manager: strict refuses", refuses(machine, NO_MANAGER, &all));
    account.check(
        "no user manager: a server serves",
        serves(&serving(machine, NO_MANAGER, &[])?),
    );
    Ok(())
}

/// What `fn doctor --json` printed.
struct Report {
    code: Option<i32>,
    document: Value,
}

impl Report {
    fn of(machine: &Machine, before: &[&str]) -> Result<Self> {
        let said = machine.user(&[before, &["/srv/fn/fn", "doctor", "--json"]].concat())?;
        let document = serde_json::from_str(said.stdout());
        let document = document.with_context(|| format!("fn doctor should print JSON:\n{}", said.all()))?;
        Ok(Self {
            code: said.code(),
            document,
        })
    }

    /// The names of the findings in this state.
    fn names(&self, state: &str) -> Vec<&str> {
        let findings = self.document["findings"]
            .as_array()
            .map(Vec::as_slice)
            .unwrap_or_default();
        findings
            .iter()
            .filter(|finding| finding["state"] == state)
            .filter_map(|finding| finding["name"].as_str())
            .collect()
    }

    fn fix(&self, name: &str) -> Option<&str> {
        let findings = self.document["findings"].as_array()?;
        findings.iter().find(|finding| finding["name"] == name)?["fix"].as_str()
    }

    fn misses(&self, expected: &[&str]) -> Result<()> {
        ensure!(
            self.names("missing") == expected,
            "expected {expected:?} to be missing, seen: {:#}",
            self.document["findings"]
        );
        ensure!(
            (self.code == Some(0)) == expected.is_empty(),
            "fn doctor ended with {:?}",
            self.code
        );
        for name in expected {
            ensure!(self.fix(name).is_some(), "{name} is missing without a fix");
        }
        Ok(())
    }
}

/// Nothing is missing, and nothing is weaker but what the kernel lacks.
fn whole(machine: &Machine, before: &[&str]) -> Result<()> {
    let report = Report::of(machine, before)?;
    report.misses(&[])?;
    ensure!(
        report.names("weaker") == WEAKER,
        "expected {WEAKER:?} to be weaker, seen: {:#}",
        report.document["findings"]
    );
    Ok(())
}

/// A server that is started with `args`, called once and stopped.
fn serving(machine: &Machine, before: &[&str], args: &[&str]) -> Result<Said> {
    machine.user(&[before, &["sh", "/srv/fn/serve-once.sh"], args].concat())
}

fn serves(said: &Said) -> Result<()> {
    ensure!(
        said.code() == Some(0) && said.stdout().contains("Hello, Ada!"),
        "expected a greeting and a good end, seen {:?}:\n{}",
        said.code(),
        said.all()
    );
    Ok(())
}

/// A strict server does not start, and names what is missing and how to learn more.
fn refuses(machine: &Machine, before: &[&str], missing: &[&str]) -> Result<()> {
    let said = serving(machine, before, &["--strict"])?;
    ensure!(said.code() != Some(0), "a strict server started:\n{}", said.all());
    for text in missing.iter().chain(&["fn doctor", "--strict"]) {
        ensure!(said.all().contains(text), "expected `{text}` in:\n{}", said.all());
    }
    Ok(())
}

/// Does as root what the report tells an administrator to do, word for word.
fn mends(machine: &Machine, report: &Report) -> Result<()> {
    let Some(fix) = report.fix("cpu limit").and_then(|fix| fix.strip_prefix("sudo ")) else {
        bail!("expected a fix that starts with sudo: {:?}", report.fix("cpu limit"));
    };
    machine.root(&["sh", "-c", fix])?.success("the fix")?;
    whole(machine, &[])
}
