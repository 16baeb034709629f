//! A function's configuration, both ways: from what a client asks for to our settings, and from a revision to the document that clients read.
//!
//! ```text
//! Change --over--> settings of now, or defaults --> Manifest --resolve--> Settings      checked like every other deploy
//! ```

use std::collections::BTreeMap;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use functions::detect::Detected;
use functions::published::{self, Labels};
use functions::runtimes::HostRuntimes;
use functions::{FunctionName, Manifest, Revision, Runtime, Settings};
use jiff::Timestamp;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::address::{LATEST, Qualifier, function_arn};
use super::fault::Fault;
use crate::exchange::chain;

/// What a client may say about how a function runs. What is left out stays as it is, or has its default.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(super) struct Change {
    runtime: Option<String>,
    handler: Option<String>,
    role: Option<String>,
    description: Option<String>,
    /// Seconds.
    timeout: Option<u64>,
    /// MiB.
    memory_size: Option<u64>,
    environment: Option<Environment>,
    ephemeral_storage: Option<EphemeralStorage>,
    /// ARNs of versions.
    pub(super) layers: Option<Vec<String>>,
    file_system_configs: Option<Vec<Value>>,
    vpc_config: Option<VpcConfig>,
    dead_letter_config: Option<DeadLetterConfig>,
    image_config: Option<Value>,
    snap_start: Option<SnapStart>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct Environment {
    variables: BTreeMap<String, String>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct EphemeralStorage {
    /// MiB.
    size: u64,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct VpcConfig {
    subnet_ids: Vec<String>,
    security_group_ids: Vec<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct DeadLetterConfig {
    target_arn: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct SnapStart {
    apply_on: String,
}

impl Change {
    /// The settings and labels that come of it. `now` is what the function has; nothing for a new one.
    pub(super) fn apply(
        &self,
        name: &FunctionName,
        now: Option<(&Settings, Labels)>,
        host: &HostRuntimes,
    ) -> Result<(Settings, Labels), Fault> {
        self.refuse_what_is_not_here()?;
        let (mut typed, mut labels) = match now {
            Some((settings, labels)) => {
                let mut typed = object(settings);
                // Only one of the two was typed; the other follows from it.
                if !settings.http.command.is_empty() {
                    typed.remove("handler");
                } else if let Some(http) = typed.get_mut("http").and_then(Value::as_object_mut) {
                    http.remove("command");
                }
                (typed, labels)
            }
            None => {
                // Lambda's own defaults, which are smaller than ours.
                let typed = json!({ "memory": "128MiB", "timeout": "3s", "tmp": "512MiB" });
                (typed.as_object().cloned().unwrap_or_default(), Labels::default())
            }
        };
        if let Some(asked) = &self.runtime {
            typed.insert("runtime".into(), json!(runtime(asked, host)?));
            labels.runtime.clone_from(asked);
        }
        if let Some(handler) = &self.handler {
            typed.insert("handler".into(), json!(handler));
        }
        for (key, unit, value, least, most) in [
            ("memory", "MiB", self.memory_size, 128, 10_240),
            ("timeout", "s", self.timeout, 1, 900),
            (
                "tmp",
                "MiB",
                self.ephemeral_storage.as_ref().map(|storage| storage.size),
                512,
                10_240,
            ),
        ] {
            let Some(value) = value else { continue };
            if !(least..=most).contains(&value) {
                return Err(Fault::invalid(format!(
                    "{} is {value}, but it must be from {least} to {most}",
                    match key {
                        "memory" => "MemorySize",
                        "timeout" => "Timeout",
                        _ => "EphemeralStorage.Size",
                    }
                )));
            }
            typed.insert(key.into(), json!(format!("{value}{unit}")));
        }
        if let Some(environment) = &self.environment {
            typed.insert("env".into(), json!(environment.variables));
        }
        if let Some(layers) = &self.layers {
            typed.insert("layers".into(), json!(layers));
        }
        if let Some(role) = &self.role {
            labels.role.clone_from(role);
        }
        if let Some(description) = &self.description {
            if description.chars().count() > 256 {
                return Err(Fault::invalid("Description has more than 256 characters"));
            }
            labels.description.clone_from(description);
        }
        let settings = resolve(name, typed)?;
        Ok((settings, labels))
    }

    fn refuse_what_is_not_here(&self) -> Result<(), Fault> {
        let some = |list: &Option<Vec<Value>>| list.as_ref().is_some_and(|list| !list.is_empty());
        let vpc = self
            .vpc_config
            .as_ref()
            .is_some_and(|vpc| !vpc.subnet_ids.is_empty() || !vpc.security_group_ids.is_empty());
        let letters = self
            .dead_letter_config
            .as_ref()
            .is_some_and(|letters| !letters.target_arn.is_empty());
        let snap = self
            .snap_start
            .as_ref()
            .is_some_and(|snap| !matches!(snap.apply_on.as_str(), "" | "None"));
        for (asked, what) in [
            (some(&self.file_system_configs), "FileSystemConfigs"),
            (vpc, "VpcConfig"),
            (letters, "DeadLetterConfig"),
            (snap, "SnapStart"),
            (self.image_config.is_some(), "ImageConfig"),
        ] {
            if asked {
                return Err(Fault::invalid(format!(
                    "{what} is not supported by this server; leave it out"
                )));
            }
        }
        Ok(())
    }
}

fn object(settings: &Settings) -> Map<String, Value> {
    match serde_json::to_value(settings) {
        Ok(Value::Object(object)) => object,
        _ => unreachable!("settings are a table with text keys"),
    }
}

/// What the keys of `fn.toml` come to. The handler is not looked for: like at Lambda, a function without it fails when it is called.
fn resolve(name: &FunctionName, typed: Map<String, Value>) -> Result<Settings, Fault> {
    let manifest: Manifest =
        serde_json::from_value(Value::Object(typed)).map_err(|error| Fault::invalid(error.to_string()))?;
    let (Some(runtime), Some(handler)) = (manifest.runtime, manifest.handler.clone()) else {
        return Err(Fault::invalid(
            "Runtime and Handler are mandatory parameters for functions created with deployment packages.",
        ));
    };
    manifest
        .resolve(name, &Detected { runtime, handler })
        .map_err(|error| Fault::invalid(format!("{}. {}", chain(&error), error.hint())))
}

/// The runtime of ours that a runtime of Lambda's means.
fn runtime(asked: &str, host: &HostRuntimes) -> Result<Runtime, Fault> {
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    let alphanumeric = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_alphanumeric());
    let runtime = if asked.strip_prefix("python3.").is_some_and(digits) {
        Runtime::Python
    } else if asked
        .strip_prefix("nodejs")
        .and_then(|rest| rest.strip_suffix(".x"))
        .is_some_and(digits)
    {
        Runtime::Node
    } else if asked == "provided" || asked.strip_prefix("provided.").is_some_and(alphanumeric) {
        Runtime::Lambda
    } else {
        return Err(Fault::invalid(format!(
            "Value {} at 'runtime' is not supported by this server; python3.*, nodejs*.x and provided.* are",
            functions::one_line(asked, 100)
        )));
    };
    match host.interpreter(runtime) {
        Ok(_) => Ok(runtime),
        Err(missing) => Err(Fault::invalid(format!(
            "the runtime {asked} is not available on this host: {missing}. {}",
            missing.hint()
        ))),
    }
}

/// The labels of a revision that did not come through this API.
pub(super) fn labels_of(revision: &Revision, host: &HostRuntimes) -> Labels {
    let runtime = match (revision.settings.runtime, &host.python, &host.node) {
        (Runtime::Python, Ok(python), _) => format!("python{}.{}", python.version.0, python.version.1),
        (Runtime::Node, _, Ok(node)) => format!("nodejs{}.x", node.version.0),
        (Runtime::Python, Err(_), _) => "python3".to_owned(),
        (Runtime::Node, _, Err(_)) => "nodejs".to_owned(),
        (Runtime::Stdio | Runtime::Http | Runtime::Lambda | Runtime::Fdk, ..) => "provided".to_owned(),
    };
    Labels {
        runtime,
        code_sha256: STANDARD.encode(revision.bundle.as_bytes()),
        ..Labels::default()
    }
}

/// A function's configuration as clients read it. `version` is `None` for the live revision; `description` is that of a version.
pub(super) fn document(revision: &Revision, labels: &Labels, version: Option<u64>, description: Option<&str>) -> Value {
    let settings = &revision.settings;
    let name = &revision.name;
    let qualifier = version.map(Qualifier::Version);
    let arn = match &qualifier {
        Some(qualifier) => format!("{}:{qualifier}", function_arn(name)),
        None => function_arn(name),
    };
    let description = description
        .filter(|text| !text.is_empty())
        .unwrap_or(&labels.description);
    let mut document = json!({
        "FunctionName": name,
        "FunctionArn": arn,
        "Runtime": labels.runtime,
        "Role": labels.role,
        "Handler": settings.handler,
        "CodeSize": labels.code_size,
        "CodeSha256": labels.code_sha256,
        "Description": description,
        "Timeout": Duration::from_millis(settings.timeout.as_millis()).as_secs_f64().ceil() as u64,
        "MemorySize": settings.memory.as_u64() >> 20,
        "EphemeralStorage": { "Size": settings.tmp.as_u64() >> 20 },
        "LastModified": time(revision.created),
        "Version": qualifier.map_or_else(|| LATEST.to_owned(), |qualifier| qualifier.to_string()),
        "RevisionId": published::revision_id(revision.number),
        "State": "Active",
        "LastUpdateStatus": "Successful",
        "PackageType": "Zip",
        "Architectures": [architecture()],
        "TracingConfig": { "Mode": "PassThrough" },
        "SnapStart": { "ApplyOn": "None", "OptimizationStatus": "Off" },
        "LoggingConfig": { "LogFormat": "Text", "LogGroup": format!("/aws/lambda/{name}") },
    });
    // Those that `fn deploy` packed have paths, which mean nothing here.
    let arns = settings.layers.iter().filter(|layer| layer.starts_with("arn:"));
    let layers: Vec<Value> = arns
        .zip(labels.layer_sizes.iter())
        .map(|(arn, size)| json!({ "Arn": arn, "CodeSize": size }))
        .collect();
    if !layers.is_empty() {
        document["Layers"] = json!(layers);
    }
    if !settings.env.is_empty() {
        document["Environment"] = json!({ "Variables": settings.env });
    }
    document
}

/// A time as this API writes it.
pub(super) fn time(at: Timestamp) -> String {
    at.strftime("%Y-%m-%dT%H:%M:%S.%3f+0000").to_string()
}

/// The architecture of this host, in the words of this API.
pub(super) fn architecture() -> &'static str {
    match std::env::consts::ARCH {
        "aarch64" => "arm64",
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use functions::runtimes::{Interpreter, Missing, Version};

    use super::*;

    fn host() -> HostRuntimes {
        HostRuntimes {
            python: Ok(Interpreter {
                path: "/usr/bin/python3".into(),
                version: Version(3, 11, 2),
            }),
            node: Err(Missing::NotInstalled {
                path: "/usr/bin/node".into(),
            }),
        }
    }

    fn change(document: Value) -> Change {
        serde_json::from_value(document).unwrap()
    }

    fn apply(document: Value, now: Option<(&Settings, Labels)>) -> Result<(Settings, Labels), Fault> {
        change(document).apply(&"hello".parse().unwrap(), now, &host())
    }

    #[test]
    fn a_new_function_has_lambdas_defaults_and_a_change_changes_what_it_names() {
        let asked = json!({ "Runtime": "python3.13", "Handler": "a.b", "Role": "r", "Environment": { "Variables": { "A": "1" } } });
        let (settings, labels) = apply(asked, None).unwrap();
        assert_eq!((settings.runtime, settings.handler.as_str()), (Runtime::Python, "a.b"));
        assert_eq!(
            (settings.memory.as_u64() >> 20, settings.timeout.as_millis()),
            (128, 3000)
        );
        assert_eq!((labels.runtime.as_str(), labels.role.as_str()), ("python3.13", "r"));
        let asked = json!({ "MemorySize": 512, "Timeout": 900, "Description": "d" });
        let (changed, labels) = apply(asked, Some((&settings, labels))).unwrap();
        assert_eq!(
            (changed.memory.as_u64() >> 20, changed.timeout.as_millis()),
            (512, 900_000)
        );
        assert_eq!((changed.handler, changed.env), (settings.handler, settings.env));
        assert_eq!(
            (labels.runtime.as_str(), labels.description.as_str()),
            ("python3.13", "d")
        );
    }

    #[test]
    fn what_can_not_be_is_refused_with_the_reason() {
        let with = |extra: Value| {
            let mut asked = json!({ "Runtime": "python3.13", "Handler": "a.b" });
            asked
                .as_object_mut()
                .unwrap()
                .extend(extra.as_object().unwrap().clone());
            let fault = apply(asked, None).unwrap_err();
            assert_eq!(fault.kind(), super::super::fault::Kind::InvalidParameter);
            fault.message().to_owned()
        };
        for (extra, reason) in [
            (
                json!({ "Runtime": "java21" }),
                "python3.*, nodejs*.x and provided.* are",
            ),
            (json!({ "Runtime": "provided." }), "not supported"),
            (json!({ "Runtime": "python3." }), "not supported"),
            (
                json!({ "Runtime": "nodejs20.x" }),
                "/usr/bin/node is not installed. Install Node",
            ),
            (json!({ "Handler": "nothing" }), "not of the form"),
            (json!({ "Timeout": 901 }), "from 1 to 900"),
            (json!({ "MemorySize": 64 }), "from 128 to 10240"),
            (json!({ "EphemeralStorage": { "Size": 1 } }), "EphemeralStorage.Size"),
            (
                json!({ "Environment": { "Variables": { "AWS_LAMBDA_X": "1" } } }),
                "belongs to the platform",
            ),
            (
                json!({ "Layers": ["a", "b", "c", "d", "e", "f"] }),
                "at most 5 are allowed",
            ),
            (
                json!({ "VpcConfig": { "SubnetIds": ["s"] } }),
                "VpcConfig is not supported",
            ),
            (json!({ "DeadLetterConfig": { "TargetArn": "t" } }), "DeadLetterConfig"),
            (json!({ "SnapStart": { "ApplyOn": "PublishedVersions" } }), "SnapStart"),
            (json!({ "Description": "d".repeat(257) }), "256"),
        ] {
            let said = with(extra.clone());
            assert!(said.contains(reason), "{extra}: {said}");
        }
        assert!(
            apply(json!({ "Runtime": "python3.13" }), None)
                .unwrap_err()
                .message()
                .contains("mandatory")
        );
        let nothing =
            json!({ "Runtime": "python3.13", "Handler": "a.b", "Layers": [], "VpcConfig": { "SubnetIds": [] } });
        assert!(apply(nothing, None).is_ok());
    }
}
