//! Any HTTP server: how it is started, and what it finds in its environment.
//!
//! The names are those of Knative's runtime contract and of Cloud Run, so that what runs there runs here.

use super::launch::BaseFile;
use crate::Revision;

/// What Node loads before a server: see there.
pub(super) const INTERFACES: BaseFile = BaseFile {
    path: "/var/runtime/http/interfaces.cjs",
    mode: 0o444,
    contents: include_bytes!("http/interfaces.cjs"),
};

/// Where a bundle's own programs lie: those that pip and npm put there.
const PATH: &str = "/function/.fn-packages/bin:/function/node_modules/.bin:/usr/local/bin:/usr/bin:/bin";

/// The command line. A name without a slash is looked up in `PATH` by a shell, which then is the program.
pub(super) fn argv(line: &str, command: &[String]) -> Vec<String> {
    let shell = |script: String| ["/bin/sh".to_owned(), "-c".to_owned(), script];
    let Some((program, arguments)) = command.split_first() else {
        return shell(replaced(line)).into();
    };
    match program {
        absolute if absolute.starts_with('/') => command.to_vec(),
        inside if inside.contains('/') => {
            let program = format!("/function/{}", inside.strip_prefix("./").unwrap_or(inside));
            std::iter::once(program).chain(arguments.iter().cloned()).collect()
        }
        _ => shell("exec \"$0\" \"$@\"".to_owned())
            .into_iter()
            .chain(command.iter().cloned())
            .collect(),
    }
}

/// A simple command takes the place of the shell, so that signals reach it. What a shell is needed for keeps its shell.
fn replaced(line: &str) -> String {
    let assigns = line.split_whitespace().next().is_some_and(|word| word.contains('='));
    match assigns || line.contains(['&', ';', '|', '(', '{', '<', '>']) {
        true => line.to_owned(),
        false => format!("exec {line}"),
    }
}

/// What an HTTP server finds besides what every function does.
pub(super) fn env(revision: &Revision) -> [(String, String); 7] {
    let name = revision.name.to_string();
    [
        ("PORT", revision.settings.http.port.to_string()),
        ("K_SERVICE", name.clone()),
        ("K_REVISION", format!("{name}-{:05}", revision.number.get())),
        ("K_CONFIGURATION", name),
        ("PATH", PATH.to_owned()),
        ("NODE_OPTIONS", format!("--require={}", INTERFACES.path)),
        ("PYTHONPATH", "/function:/function/.fn-packages".to_owned()),
    ]
    .map(|(key, value)| (key.to_owned(), value))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(line: &str) -> String {
        argv(line, &[]).pop().unwrap()
    }

    fn command(words: &[&str]) -> Vec<String> {
        argv("", &words.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>())
    }

    #[test]
    fn a_simple_line_replaces_its_shell() {
        assert_eq!(line("gunicorn -b :$PORT app:app"), "exec gunicorn -b :$PORT app:app");
        for kept in [
            "cd src && python app.py",
            "A=1 python app.py",
            "python app.py > /tmp/log",
            "(python app.py)",
        ] {
            assert_eq!(line(kept), kept);
        }
    }

    #[test]
    fn a_command_is_run_word_by_word() {
        assert_eq!(command(&["./bin/server", "a b"]), ["/function/bin/server", "a b"]);
        assert_eq!(command(&["/usr/bin/env", "x"]), ["/usr/bin/env", "x"]);
        assert_eq!(
            command(&["node", "a b.js"])[2..],
            ["exec \"$0\" \"$@\"", "node", "a b.js"]
        );
    }
}
