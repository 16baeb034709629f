//! The abuse suite: a probe in a function of a real server tries what hostile code would try, and the table says what must come of it.
//!
//! ```text
//! abuse [FILTER]      the programs: $FN_TEST_BIN, $FN_ABUSE_SWITCHES_BIN, $FN_ABUSE_PROBE, else beside this one
//! ```
//!
//! It needs no cargo, so it runs wherever its programs were copied to. `cargo xtask abuse` builds them and runs it. As root it starts the
//! server as `$FN_TEST_USER`, else `nobody`. It ends with 0 when nothing failed, 1 when something did, and 2 when it could not begin.
//!
//! | question | module |
//! |---|---|
//! | what is expected? | [`table`], whose data is `cases.toml` |
//! | where is it tried? | [`stage`] |
//! | in which order? | [`run`] |
//! | did it hold, and could it fail? | [`verdict`] |
//! | what is shown? | [`report`]; as a page of the documentation, `page` |

#[cfg(test)]
mod page;
mod report;
mod run;
mod stage;
mod table;
mod verdict;

use std::path::PathBuf;
use std::process::ExitCode;

#[tokio::main]
async fn main() -> ExitCode {
    let filter = std::env::args().nth(1).unwrap_or_default();
    let programs = match programs() {
        Ok(programs) => programs,
        Err(missing) => {
            eprintln!("error: {missing}; build it with `cargo xtask abuse`");
            return ExitCode::from(2);
        }
    };
    if let Err(mistaken) = programs.are_what_they_are_taken_for().await {
        eprintln!("error: {mistaken}");
        return ExitCode::from(2);
    }
    let table = table::Table::read();
    let rows = run::all(&table, &programs, &filter).await;
    report::print(&table, &rows)
}

fn programs() -> Result<stage::Programs, String> {
    let own = std::env::current_exe().map_err(|error| format!("this program has no path: {error}"))?;
    let find = |variable: &str, beside: &str| {
        let path = std::env::var_os(variable).map_or_else(|| own.with_file_name(beside), PathBuf::from);
        match path.is_file() {
            true => Ok(path),
            false => Err(format!("there is no {} (${variable})", path.display())),
        }
    };
    Ok(stage::Programs {
        plain: find("FN_TEST_BIN", "fn")?,
        switches: find("FN_ABUSE_SWITCHES_BIN", "fn-abuse-switches")?,
        probe: find("FN_ABUSE_PROBE", "probe")?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_that_is_missing_is_named_with_its_variable() {
        // Nobody copies them beside the tests of this program.
        let missing = programs().unwrap_err();
        assert!(
            missing.starts_with("there is no ") && missing.contains("($FN_"),
            "{missing}"
        );
    }

    #[tokio::test]
    async fn a_program_that_is_another_is_refused() {
        let own = std::env::current_exe().unwrap();
        let programs = stage::Programs {
            plain: own.clone(),
            switches: own.clone(),
            probe: own,
        };
        let mistaken = programs.are_what_they_are_taken_for().await.unwrap_err();
        assert!(mistaken.contains("unexpected argument"), "{mistaken}");
    }
}
