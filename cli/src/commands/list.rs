//! `fn list`: all functions, one line each.

use serde_json::Value;

use crate::client::AdminClient;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::render::{Screen, table};

/// Prints the functions.
pub(crate) async fn run(client: &AdminClient, screen: Screen) -> Result<Exit, Failure> {
    let reply = client.functions().await?;
    screen.answer(&reply, || text(&reply))?;
    Ok(Exit::Ok)
}

/// The table.
fn text(reply: &Value) -> String {
    match reply["functions"].as_array() {
        Some(functions) if !functions.is_empty() => table::columns(
            ["NAME", "REVISION", "RUNTIME", "INSTANCES", "DEPLOYED", "URL"],
            functions.iter().map(row),
        ),
        _ => "There is no function yet. Write one with fn init DIR and deploy it with fn deploy DIR.\n".into(),
    }
}

fn row(function: &Value) -> [String; 6] {
    ["name", "revision", "runtime", "instances", "created", "url"].map(|key| table::cell(&function[key]))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn functions_are_lines_of_a_table() {
        let reply = json!({ "functions": [
            { "name": "hello", "revision": 3, "runtime": "python", "instances": 0, "created": "2026-01-02T03:04:05Z",
              "url": "http://127.0.0.1:8080/function/hello" },
        ]});
        let text = text(&reply);
        let mut lines = text.lines();
        assert!(lines.next().unwrap().starts_with("NAME   REVISION  RUNTIME"), "{text}");
        assert!(
            lines.next().unwrap().starts_with("hello  3         python   0"),
            "{text}"
        );
    }

    #[test]
    fn nobody_is_left_alone_with_an_empty_table() {
        assert!(text(&json!({ "functions": [] })).contains("fn init"));
    }
}
