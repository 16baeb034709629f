//! The page `docs/seccomp.md`, written from the policy and its groups.

use std::fmt::Write;

use super::groups::{GROUPS, Group, NEEDED};
use super::policy::{Answer, Condition, PRCTL_OPTIONS, Subject, rows};
use crate::sighting::Watch;

const HEAD: &str = "\
# System calls

<!-- Written from sandbox/src/filter. After a change there:
     FN_UPDATE_DOCS=1 cargo test -p sandbox --lib filter::reference -->

What foreign code may ask of the kernel. A call that is not named here answers `ENOSYS`, as on a kernel that lacks it, so that a C library
falls back to an older call; so does `clone3`, whose flags lie in memory, where a filter can't look. A call of another architecture, or of x32, kills the
process. Arguments are compared by their lower 32 bits, which are all that the kernel reads of them.

A function gives up more by `security.deny` in `fn.toml`: calls by name, or `group:NAME`. What is denied answers `EPERM`. A name that no program
starts without is refused when the function is deployed; those are marked with a star.

";

const SUBJECTS: &str = "\
## By subject

| subject | what differs from the above |
|---|---|
| foreign code, pid 1 of its sandbox, and who comes in to connect to a unix socket | nothing; pid 1 does not lose what `security.deny` takes from the function |
";

/// The text of `docs/seccomp.md`. Rows of other architectures than x86-64 are not in it.
fn reference() -> String {
    let mut page = String::from(HEAD);
    for group in GROUPS {
        let _ = writeln!(page, "## `{}`\n\n{}\n", group.name, group.why);
        if group.calls.is_empty() {
            continue;
        }
        page.push_str("| call | answer |\n|---|---|\n");
        for (call, answer) in answers(group) {
            let star = if NEEDED.contains(&call) { " *" } else { "" };
            let _ = writeln!(page, "| `{call}`{star} | {} |", said(answer));
        }
        page.push('\n');
    }
    page.push_str(SUBJECTS);
    for (subject, who) in [
        (Subject::Worker(Watch::default()), "foreign code in a slot"),
        (Subject::Template(Watch::default()), "a template, until it forks"),
        (Subject::Watcher, "pid 1 of a slot that is watched"),
    ] {
        let _ = writeln!(page, "| {who} | {} |", differences(subject));
    }
    page.push_str(
        "\nWhere a rule of the watch asks for it, pid 1 is told of `execve` and `execveat`, of `connect`, or of the calls that answer `EPERM` \
         whatever their arguments are. What they answer stays the same.\n",
    );
    page.push_str("\n## Options of `prctl`\n\n");
    let options: Vec<_> = PRCTL_OPTIONS.iter().map(|(name, _)| format!("`{name}`")).collect();
    let _ = writeln!(page, "{}.", options.join(", "));
    page
}

fn answers(group: &Group) -> Vec<(&'static str, Answer)> {
    let rows = rows(Subject::Foreign);
    let answer = |call: &&'static str| {
        let row = rows.iter().find(|((name, _), _)| name == call);
        row.map(|(_, answer)| (*call, *answer))
    };
    group.calls.iter().filter_map(answer).collect()
}

fn differences(subject: Subject) -> String {
    let foreign = rows(Subject::Foreign);
    let differs = |row: &&((&'static str, i64), Answer)| !foreign.contains(row);
    let rows = rows(subject);
    let said = rows
        .iter()
        .filter(differs)
        .map(|((name, _), answer)| format!("`{name}`: {}", said(*answer)));
    said.collect::<Vec<_>>().join("; ")
}

fn said(answer: Answer) -> String {
    match answer {
        Answer::Allow => "made".to_owned(),
        Answer::Refuse(errno) => format!("`{}`", errno_name(errno)),
        Answer::Tell => "made, when pid 1 was told of it".to_owned(),
        Answer::When(condition) => conditional(condition),
    }
}

fn conditional(condition: Condition) -> String {
    match condition {
        Condition::CloneWithoutNamespaces => "made without `CLONE_NEW*`, else `EPERM`".to_owned(),
        Condition::CloneThread => "made for a thread, else `EPERM`".to_owned(),
        Condition::UnixSocket => "made for `AF_UNIX`, else `EAFNOSUPPORT`".to_owned(),
        Condition::OrdinarySocket => "made for `AF_UNIX`, and for TCP and UDP of `AF_INET` and `AF_INET6`; raw ones `EPERM`, other protocols \
             `EPROTONOSUPPORT`, other families `EAFNOSUPPORT`"
            .to_owned(),
        Condition::HarmlessIoctl => "made but for `TIOCSTI` and `TIOCLINUX`, which answer `EPERM`".to_owned(),
        Condition::HarmlessFcntl => "made but for `F_SETPIPE_SZ`, which answers `EPERM`".to_owned(),
        Condition::Without { argument, bits } => {
            format!("made without the bits {bits:#x} in argument {argument}, else `EPERM`")
        }
        Condition::KeepsCoreLimit => "made, but a limit of core dumps answers 0 and changes nothing".to_owned(),
        Condition::KeepsCoreLimitOrAsks => {
            "made, but setting the limit of core dumps answers 0 and changes nothing; asking and setting at once `EPERM`".to_owned()
        }
        Condition::KnownPrctl => "made for the options below, else `EPERM`".to_owned(),
        Condition::DefaultPersonality => "made to ask or to keep the default, else `EPERM`".to_owned(),
        Condition::EnterBuiltNamespaces => "made by descriptor and named type, any but a user namespace, else `EPERM`".to_owned(),
    }
}

fn errno_name(errno: i32) -> &'static str {
    match errno {
        libc::EPERM => "EPERM",
        libc::ENOSYS => "ENOSYS",
        other => panic!("no name for errno {other}"),
    }
}

#[cfg(target_arch = "x86_64")]
#[test]
fn the_page_in_docs_is_current() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/seccomp.md");
    let page = reference();
    if std::env::var_os("FN_UPDATE_DOCS").is_some_and(|value| value == "1") {
        std::fs::write(path, &page).unwrap();
    }
    let written = std::fs::read_to_string(path).unwrap_or_default();
    assert!(
        written == page,
        "docs/seccomp.md is not current; run `FN_UPDATE_DOCS=1 cargo test -p sandbox --lib filter::reference`"
    );
}
