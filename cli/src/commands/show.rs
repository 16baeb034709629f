//! `fn show`: everything the server knows about one function.

use serde_json::Value;

use super::name;
use crate::args::NameArgs;
use crate::client::AdminClient;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::render::{Screen, table};

/// Prints the function.
pub(crate) async fn run(args: &NameArgs, client: &AdminClient, screen: Screen) -> Result<Exit, Failure> {
    let name = name::typed(&args.name)?;
    let reply = client.function(name.as_str()).await?;
    screen.answer(&reply, || text(&reply))?;
    Ok(Exit::Ok)
}

/// One line per fact. Nested objects become dotted names, as they are written in fn.toml and after `--set`.
fn text(reply: &Value) -> String {
    let mut facts = Vec::new();
    for (key, value) in reply.as_object().into_iter().flatten() {
        flatten(key, value, &mut facts);
    }
    // The name first, the long part last; serde_json has sorted the rest.
    facts.sort_by_key(|(key, _)| (key != "name", key.contains('.')));
    table::pairs(facts.iter().map(|(key, value)| (key.as_str(), value.clone())))
}

fn flatten(path: &str, value: &Value, facts: &mut Vec<(String, String)>) {
    match value {
        Value::Object(fields) if !fields.is_empty() => {
            for (key, value) in fields {
                flatten(&format!("{path}.{key}"), value, facts);
            }
        }
        other => facts.push((path.to_owned(), table::cell(other))),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_name_comes_first_and_settings_have_dotted_names() {
        let reply = json!({
            "name": "hello", "live": 3, "revisions": [1, 2, 3],
            "settings": { "memory": "64MiB", "scale": { "max": 4 }, "env": {} },
        });
        assert_eq!(
            text(&reply),
            "name                hello\nlive                3\nrevisions           1, 2, 3\nsettings.env        -\n\
             settings.memory     64MiB\nsettings.scale.max  4\n"
        );
    }
}
