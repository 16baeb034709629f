//! What is shown: a line for each case and pass, by group, in the words of Rust's own test harness, so that `cargo xtask test` counts it.

use std::process::ExitCode;

use crate::run::{End, Row};
use crate::table::Table;

/// Prints all of it. Success when nothing failed.
pub(crate) fn print(table: &Table, rows: &[Row<'_>]) -> ExitCode {
    for group in &table.group {
        println!("\n== {}", group.title);
        for row in rows.iter().filter(|row| row.case.group == group.name) {
            let name = format!("{}::{}", row.setting, row.case.name);
            match &row.end {
                End::Passed => println!("test {name} ... ok"),
                End::Skipped(reason) => println!("test {name} ... ignored, {reason}"),
                End::Failed(wrong) => {
                    println!("test {name} ... FAILED");
                    for line in wrong {
                        println!("    {line}");
                    }
                }
            }
        }
        for case in table.case.iter().filter(|case| case.group == group.name) {
            if let Some(reason) = &case.not_tried {
                println!("not tried: {}: {reason}", case.name);
            }
        }
    }
    let count = |of: fn(&End) -> bool| rows.iter().filter(|row| of(&row.end)).count();
    let passed = count(|end| matches!(end, End::Passed));
    let failed = count(|end| matches!(end, End::Failed(_)));
    let skipped = count(|end| matches!(end, End::Skipped(_)));
    let result = if failed == 0 { "ok" } else { "FAILED" };
    println!("\ntest result: {result}. {passed} passed; {failed} failed; {skipped} ignored");
    println!("{passed} passed, {failed} failed, {skipped} skipped");
    if failed == 0 {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}
