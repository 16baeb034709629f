//! The exit codes of `fn`: one table, which the help text and docs/cli.md repeat.
//!
//! Scripts decide on these numbers, so a number never changes its meaning; a new meaning gets a new number.

use std::process::ExitCode;

/// Why the process ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Exit {
    /// It worked.
    Ok,
    /// The operation or the function failed.
    Failed,
    /// The command line makes no sense.
    Usage,
    /// A name, a manifest or a bundle is not acceptable.
    BadInput,
    /// No such function, revision or file.
    NotFound,
    /// The server could not be reached.
    Unreachable,
    /// The handler check of a deploy failed.
    CheckFailed,
    /// A limit refused it.
    Limit,
    /// The dependencies could not be installed.
    Dependencies,
}

/// Every exit code with its sentence, in order.
pub(crate) const TABLE: &[(Exit, &str)] = &[
    (Exit::Ok, "it worked"),
    (
        Exit::Failed,
        "the operation failed, or the function answered with status 400 or above",
    ),
    (Exit::Usage, "the command line could not be understood"),
    (Exit::BadInput, "bad input: a name, a setting, fn.toml, or the bundle"),
    (Exit::NotFound, "not found: no such function, or no such path"),
    (Exit::Unreachable, "the server could not be reached"),
    (
        Exit::CheckFailed,
        "the handler check of a deploy failed; the old revision is still live",
    ),
    (Exit::Limit, "refused by a limit: size, number of files, queue"),
    (
        Exit::Dependencies,
        "the dependencies could not be installed, or the installer is missing",
    ),
];

impl Exit {
    /// The number that the shell sees.
    pub(crate) fn code(self) -> u8 {
        match self {
            Exit::Ok => 0,
            Exit::Failed => 1,
            Exit::Usage => 2,
            Exit::BadInput => 3,
            Exit::NotFound => 4,
            Exit::Unreachable => 5,
            Exit::CheckFailed => 6,
            Exit::Limit => 7,
            Exit::Dependencies => 8,
        }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        ExitCode::from(exit.code())
    }
}

/// The table as it stands at the end of `fn --help`.
pub(crate) fn help() -> String {
    let mut text = String::from("Exit codes:\n");
    for (exit, meaning) in TABLE {
        text.push_str(&format!("  {}  {meaning}\n", exit.code()));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_codes_are_the_row_numbers_so_none_is_used_twice() {
        for (row, (exit, _)) in TABLE.iter().enumerate() {
            assert_eq!(usize::from(exit.code()), row);
        }
    }

    #[test]
    fn the_page_about_the_command_has_the_same_table() {
        let page = include_str!("../../docs/cli.md");
        let rows: Vec<&str> = page
            .lines()
            .skip_while(|line| *line != "| code | meaning |")
            .skip(2)
            .take_while(|l| l.starts_with('|'))
            .collect();
        let expected: Vec<String> = TABLE
            .iter()
            .map(|(exit, meaning)| format!("| {} | {meaning} |", exit.code()))
            .collect();
        assert_eq!(rows, expected, "docs/cli.md must list exactly the rows of exit::TABLE");
    }
}
