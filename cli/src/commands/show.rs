//! `fn show`: everything the server knows about one function.

use indicatif::HumanBytes;
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

/// One line per fact, then one per instance. Nested objects become dotted names, as they are written after `--set`.
fn text(reply: &Value) -> String {
    let mut facts = Vec::new();
    for (key, value) in reply
        .as_object()
        .into_iter()
        .flatten()
        .filter(|(key, _)| *key != "instances")
    {
        flatten(key, value, &mut facts);
    }
    // The name first, the long part last; serde_json has sorted the rest.
    facts.sort_by_key(|(key, _)| (key != "name", key.contains('.')));
    let facts = table::pairs(facts.iter().map(|(key, value)| (key.as_str(), value.clone())));
    match reply["instances"].as_array() {
        Some(instances) if !instances.is_empty() => {
            format!("{facts}\n{}", table::columns(HEADER, instances.iter().map(row)))
        }
        _ => format!("{facts}\nThere is no instance of it.\n"),
    }
}

/// The columns of the instances.
const HEADER: [&str; 6] = ["INSTANCE", "REVISION", "STATE", "CALLS", "MEMORY", "IDLE"];

fn row(instance: &Value) -> [String; 6] {
    let memory = instance["memory_bytes"]
        .as_u64()
        .map_or("-".into(), |bytes| HumanBytes(bytes).to_string());
    let idle = instance["idle_ms"]
        .as_u64()
        .map_or("-".into(), |ms| format!("{}s", ms / 1000));
    let cell = |key: &str| table::cell(&instance[key]);
    [
        cell("boot_id"),
        cell("revision"),
        cell("state"),
        cell("leased"),
        memory,
        idle,
    ]
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
            "name": "hello", "live": 3, "revisions": [1, 2, 3], "instances": [],
            "settings": { "memory": "64MiB", "scale": { "max": 4 }, "env": {} },
        });
        assert_eq!(
            text(&reply),
            "name                hello\nlive                3\nrevisions           1, 2, 3\nsettings.env        -\n\
             settings.memory     64MiB\nsettings.scale.max  4\n\nThere is no instance of it.\n"
        );
    }

    #[test]
    fn instances_are_lines_of_their_own() {
        let instance = json!({ "id": 1, "boot_id": "b1", "revision": 3, "state": "idle", "leased": 0,
                               "memory_bytes": 12_582_912, "idle_ms": 4200 });
        let text = text(&json!({ "name": "hello", "instances": [instance] }));
        let lines: Vec<&str> = text.lines().skip(2).collect();
        assert_eq!(
            lines,
            [
                "INSTANCE  REVISION  STATE  CALLS  MEMORY     IDLE",
                "b1        3         idle   0      12.00 MiB  4s"
            ]
        );
    }
}
