//! The table as a page of the documentation, `docs/abuse.md`.

use crate::table::{Answers, Case, Table};

/// The whole page.
fn page(table: &Table) -> String {
    let mut page = HEAD.to_owned();
    for group in &table.group {
        let cases = || table.case.iter().filter(|case| case.group == group.name);
        page.push_str(&format!("\n## {}\n\n", group.title));
        page.push_str("| case | what is tried | what comes of it | held by |\n|---|---|---|---|\n");
        for case in cases().filter(|case| case.is_tried()) {
            let what = &case.what;
            page.push_str(&format!(
                "| `{}` | {what} | {} | {} |\n",
                case.name,
                outcome(case),
                holder(case)
            ));
        }
        if cases().any(|case| !case.is_tried()) {
            page.push_str("\n| case | what is done | proof |\n|---|---|---|\n");
        }
        for case in cases().filter(|case| !case.is_tried()) {
            let proofs = case
                .proved_by
                .iter()
                .map(|proof| format!("`{proof}`"))
                .collect::<Vec<_>>();
            let proof = match &case.not_tried {
                Some(reason) => format!("not tried: {reason}"),
                None => proofs.join(", "),
            };
            page.push_str(&format!("| `{}` | {} | {proof} |\n", case.name, case.what));
        }
    }
    page
}

fn outcome(case: &Case) -> String {
    let written = |answers: &Answers| {
        let each: Vec<String> = answers.0.iter().map(|answer| format!("`{answer}`")).collect();
        each.join(" or ")
    };
    let others = case
        .answers
        .iter()
        .map(|(attempt, answers)| format!("{attempt}: {}", written(answers)));
    let all: Vec<String> = std::iter::once(written(&case.expect)).chain(others).collect();
    all.join("; ")
}

fn holder(case: &Case) -> String {
    if let Some(reason) = &case.not_shown {
        return format!("not shown: {reason}");
    }
    let forks = case
        .not_in_forks
        .as_deref()
        .map(|reason| format!("; not in forks: {reason}"))
        .unwrap_or_default();
    let layers: Vec<&str> = case.held_by.iter().map(String::as_str).collect();
    let by = match case.shown_by.as_slice() {
        [] => String::new(),
        attempts => format!(" (shown by {})", attempts.join(", ")),
    };
    format!("{}{by}{forks}", layers.join(", "))
}

const HEAD: &str = "\
# What is tried to get out of a sandbox

<!-- Written from tests/abuse/cases.toml. After a change there:
     FN_UPDATE_DOCS=1 cargo test -p tests --bin abuse page -->

`cargo xtask abuse` builds `fn`, a second `fn` whose layers of confinement can be switched off, and a static program, the probe. It starts a server as
an ordinary user, deploys the probe with `fn deploy`, and has it try each case below from inside. Each attempt must be answered as the table
says: by the error named, `held` where there is nothing to be refused and nothing is open, or by the platform's own reply. Then each case runs
once more in a process that was forked from a template, and once on a server without the layers that hold it, where it must not be answered so: a case that could not fail would prove nothing. Where
several layers hold a case, all of them are off together. The last line counts all of it: `N passed, N failed, N skipped`. Text after the command
chooses cases by their names.

It is part of `cargo xtask test`. Elsewhere the program `abuse` runs without cargo, with `fn`, `fn-abuse-switches` and `probe` beside it, or where `$FN_TEST_BIN`,
`$FN_ABUSE_SWITCHES_BIN` and `$FN_ABUSE_PROBE` say. A case whose limit the host can't set is skipped, and says so.

`fn serve --abuse-off LAYER[,LAYER]` exists only in a binary built with the cargo feature `abuse-switches`; any other refuses it as an unknown argument, and
has no code for it. The switches reach the slots in which programs run; that the layers of cells and forks can fail is shown by tests of their own. Two things have no switch: the mount
namespace, without which the mounts of one sandbox would cover those of another, and the UTS namespace, in which nothing but a name stands.

How to add a case: [how-to/add-an-abuse-case.md](how-to/add-an-abuse-case.md). What is promised and what is not: [SECURITY.md](../SECURITY.md).
";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_in_docs_is_current() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/abuse.md");
        let page = page(&Table::read());
        if std::env::var_os("FN_UPDATE_DOCS").is_some_and(|value| value == "1") {
            std::fs::write(path, &page).unwrap();
        }
        let written = std::fs::read_to_string(path).unwrap_or_default();
        assert!(
            written == page,
            "docs/abuse.md is not current; run `FN_UPDATE_DOCS=1 cargo test -p tests --bin abuse page`"
        );
    }
}
