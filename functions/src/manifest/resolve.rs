//! From what was typed to what it means: defaults, then every bound, each with its own message.

use std::collections::BTreeMap;
use std::fmt::Display;
use std::str::FromStr;

use super::keys::{KEYS, Key};
use super::security::{Security, SecurityError};
use super::settings::{Ahead, Http, Reuse, Runtime, Scale, Settings, Signature, Stdio};
use super::typed::Manifest;
use super::watchdog;
use crate::cors::CorsError;
use crate::detect::Detected;
use crate::layers::MOST_LAYERS;
use crate::network::{Destination, MOST_DESTINATIONS};
use crate::{ByteSize, FunctionName, one_line};

/// Largest event of a handler, raw: the body limit of Lambda's synchronous invocations.
const HANDLER_BODY: ByteSize = ByteSize::mib(6);
/// Longest `handler`, in bytes.
const HANDLER_LENGTH: usize = 512;
/// How much of `http.command` is shown as the handler.
const HANDLER_SHOWN: usize = 500;
/// Most environment variables.
const ENV_COUNT: usize = 256;
/// Most bytes of all environment variables: half of what Linux takes for one string of an exec.
const ENV_BYTES: usize = 64 * 1024;
/// Longest name of a layer, in bytes.
const LAYER_LENGTH: usize = 512;
/// Most arguments.
const ARGS_COUNT: usize = 256;
/// Most bytes of all arguments.
const ARGS_BYTES: usize = 64 * 1024;
/// Invocations that an `http` instance runs at a time unless something else is said.
const HTTP_CONCURRENCY: u32 = 16;
/// Variables that say where an `http` function listens, and who it is.
const HTTP_NAMES: [&str; 4] = ["PORT", "K_SERVICE", "K_REVISION", "K_CONFIGURATION"];
/// Starts of variable names that the platform sets itself.
const RESERVED_PREFIXES: [&str; 3] = ["FN_", "AWS_LAMBDA_", "LAMBDA_"];

/// Why a manifest cannot be resolved.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ResolveError {
    /// A value outside of the bounds of its key.
    #[error("{key} is {given}, but it must be from {least} to {most}")]
    OutOfBounds {
        /// The key.
        key: &'static str,
        /// The value.
        given: String,
        /// The least value.
        least: &'static str,
        /// The greatest value.
        most: &'static str,
        /// Why the bounds are there.
        why: &'static str,
    },
    /// `name` in the manifest and the name of the deploy differ.
    #[error("the manifest names the function {manifest}, but it is deployed as {deployed}")]
    OtherName {
        /// `name` in the manifest.
        manifest: FunctionName,
        /// The name of the deploy.
        deployed: FunctionName,
    },
    /// `runtime` was typed, `handler` was not, and the files are of another runtime.
    #[error("runtime is {typed}, but the files hold a handler for {detected}")]
    OtherRuntime {
        /// `runtime` in the manifest.
        typed: Runtime,
        /// What the files hold.
        detected: Runtime,
    },
    /// `scale.min` is more than `scale.max`.
    #[error("scale.min is {min}, more than scale.max, which is {max}")]
    ScaleOrder {
        /// `scale.min`
        min: u32,
        /// `scale.max`
        max: u32,
    },
    /// `reuse = "request"` with more than one invocation at a time.
    #[error("reuse is \"request\", but concurrency is {concurrency}, so that invocations would share an instance")]
    ReuseConcurrency {
        /// `concurrency`
        concurrency: u8,
    },
    /// `max_body` is more than a handler's event can hold.
    #[error("max_body is {given}, but an event of the {runtime} runtime holds at most {HANDLER_BODY}")]
    HandlerBody {
        /// `max_body`
        given: ByteSize,
        /// The runtime.
        runtime: Runtime,
    },
    /// `handler` is not `<file>.<function>`.
    #[error("handler {handler:?} is not of the form <file without its ending>.<function>")]
    HandlerForm {
        /// The value.
        handler: String,
    },
    /// `handler` of a `stdio` function is not a path inside the bundle.
    #[error("handler {handler:?} is not a path inside the bundle")]
    HandlerPath {
        /// The value.
        handler: String,
    },
    /// `signature` is one that handlers of the runtime can't have.
    #[error("signature is {signature}, but no handler of the {runtime} runtime is called so")]
    SignatureRuntime {
        /// `signature`
        signature: Signature,
        /// The runtime.
        runtime: Runtime,
    },
    /// A variable name that no shell could set.
    #[error("{name:?} is not a name of an environment variable")]
    EnvName {
        /// The name.
        name: String,
    },
    /// A variable name that the platform sets itself.
    #[error("the environment variable {name} belongs to the platform")]
    EnvReserved {
        /// The name.
        name: String,
    },
    /// A variable value with a NUL byte.
    #[error("the value of the environment variable {name} has a NUL byte")]
    EnvValue {
        /// The name.
        name: String,
    },
    /// Too many variables.
    #[error("{count} environment variables, at most {ENV_COUNT} are allowed")]
    EnvCount {
        /// How many.
        count: usize,
    },
    /// Too many bytes of variables.
    #[error("the environment variables have {bytes} bytes together, at most {ENV_BYTES} are allowed")]
    EnvBytes {
        /// How many.
        bytes: usize,
    },
    /// Too many layers.
    #[error("{count} layers, at most {MOST_LAYERS} are allowed")]
    LayersCount {
        /// How many.
        count: usize,
    },
    /// A layer that can't be a path or an ARN.
    #[error("the layer {layer:?} has no proper name")]
    LayerName {
        /// What was given.
        layer: String,
    },
    /// `stdio.args` for another runtime.
    #[error("stdio.args is set, but the runtime is {runtime}")]
    ArgsRuntime {
        /// The runtime.
        runtime: Runtime,
    },
    /// `http.command` for another runtime.
    #[error("http.command is set, but the runtime is {runtime}")]
    CommandRuntime {
        /// The runtime.
        runtime: Runtime,
    },
    /// `http.command` is empty, or its program is.
    #[error("http.command names no program")]
    CommandEmpty,
    /// `handler` and `http.command` both say what to run.
    #[error("both handler and http.command say what to run")]
    CommandTwice,
    /// `handler` of an `http`, `lambda` or `fdk` function is empty, too long or more than a line.
    #[error("handler {handler:?} is not one line")]
    HandlerLine {
        /// The value.
        handler: String,
    },
    /// A variable that says where an `http` function listens, or who it is.
    #[error("the environment variable {name} of an http function belongs to the platform")]
    EnvHttp {
        /// The name.
        name: String,
    },
    /// The variable of of-watchdog that says where the server listens names another machine, or no port.
    #[error("http_upstream_url {address:?} is not an address of this machine with a port")]
    Upstream {
        /// The value.
        address: String,
    },
    /// An argument with a NUL byte.
    #[error("argument {index} of {key} has a NUL byte")]
    ArgsNul {
        /// The key.
        key: &'static str,
        /// Its place, counted from 0.
        index: usize,
    },
    /// Too many arguments.
    #[error("{key} has {count} arguments, at most {ARGS_COUNT} are allowed")]
    ArgsCount {
        /// The key.
        key: &'static str,
        /// How many.
        count: usize,
    },
    /// The section `[cors]` can't be.
    #[error("cors: {0}")]
    Cors(#[from] CorsError),
    /// The section `[security]` can't be.
    #[error(transparent)]
    Security(#[from] SecurityError),
    /// Too many destinations.
    #[error("network.allow has {count} destinations, at most {MOST_DESTINATIONS} are allowed")]
    NetworkCount {
        /// How many.
        count: usize,
    },
    /// The same destination twice.
    #[error("network.allow names {0} twice")]
    NetworkTwice(Destination),
    /// The server of an `http` function listens on the port of a destination. Where it binds every address, that would be taken.
    #[error("network.allow names {0}, but http.port is the same port, which is listened on inside for both")]
    NetworkPort(Destination),
    /// Destinations, and no sockets to connect with.
    #[error("network.allow names {0}, but security.network is false, so that the function can't make a socket")]
    NetworkDenied(Destination),
    /// Too many bytes of arguments.
    #[error("{key} has {bytes} bytes together, at most {ARGS_BYTES} are allowed")]
    ArgsBytes {
        /// The key.
        key: &'static str,
        /// How many.
        bytes: usize,
    },
}

impl ResolveError {
    /// What to do about it, as a full sentence.
    pub fn hint(&self) -> &'static str {
        match self {
            ResolveError::OutOfBounds { why, .. } => why,
            ResolveError::OtherName { .. } => "Deploy it under the name in fn.toml, or take the name out of fn.toml.",
            ResolveError::OtherRuntime { .. } => "Set `handler` to what that runtime is to run, or correct `runtime`.",
            ResolveError::ScaleOrder { .. } => "Raise scale.max or lower scale.min.",
            ResolveError::ReuseConcurrency { .. } => "Set concurrency to 1, or reuse to \"instance\".",
            ResolveError::HandlerBody { .. } => "Lower max_body, or use the stdio runtime, which streams its body.",
            ResolveError::HandlerForm { .. } => {
                "Write for example `handler.handler`, or `src/app.main` for the function main in src/app."
            }
            ResolveError::HandlerPath { .. } => "Write a path from the top of the bundle, such as `bin/handler`.",
            ResolveError::SignatureRuntime { .. } => "Take `signature` out of fn.toml, or correct `runtime`.",
            ResolveError::EnvName { .. } => "Use letters, digits and `_`, and no digit at the start.",
            ResolveError::EnvReserved { .. } => {
                "Choose a name that is not `_HANDLER` and does not start with FN_, AWS_LAMBDA_ or LAMBDA_."
            }
            ResolveError::EnvValue { .. } | ResolveError::ArgsNul { .. } => {
                "Remove the NUL byte: the kernel ends a string there."
            }
            ResolveError::EnvCount { .. } | ResolveError::EnvBytes { .. } => {
                "Put large settings into a file of the bundle."
            }
            ResolveError::LayersCount { .. } => "Put several of them into one.",
            ResolveError::LayerName { .. } => {
                "Write the path of a directory or of a zip file, at most 512 bytes and without control characters."
            }
            ResolveError::CommandRuntime { .. } => "Remove the section [http], or set runtime to http.",
            ResolveError::CommandEmpty => "Write for example `command = [\"python3\", \"app.py\"]`.",
            ResolveError::CommandTwice => "Remove one of the two.",
            ResolveError::HandlerLine { .. } => "Write one line of at most 512 bytes, such as `gunicorn app:app`.",
            ResolveError::EnvHttp { .. } => "Set http.port for another port; the other names can't be chosen.",
            ResolveError::Upstream { .. } => "Write for example `http://127.0.0.1:5000`.",
            ResolveError::Cors(_) => "Correct the section [cors], or leave it out and answer browsers in the function.",
            ResolveError::Security(error) => error.hint(),
            ResolveError::NetworkCount { .. } => "Allow what is needed, or reach several services through one.",
            ResolveError::NetworkTwice(_) => "Remove one of the two.",
            ResolveError::NetworkDenied(_) => {
                "Set security.network to true; what can be reached is still what network.allow names."
            }
            ResolveError::NetworkPort(_) => "Set http.port to another port.",
            ResolveError::ArgsRuntime { .. } => "Remove the section [stdio], or set runtime to stdio.",
            ResolveError::ArgsCount { .. } | ResolveError::ArgsBytes { .. } => {
                "Put long argument lists into a file of the bundle."
            }
        }
    }
}

impl Manifest {
    /// Fills in defaults and what was detected, and checks every bound.
    ///
    /// `detected` should come from [`Manifest::detect`], which takes `runtime` and `handler` of the
    /// manifest into account.
    ///
    /// # Errors
    /// The first bound that does not hold, in the order of [`KEYS`].
    pub fn resolve(&self, name: &FunctionName, detected: &Detected) -> Result<Settings, ResolveError> {
        let default = defaults();
        if let Some(manifest) = &self.name
            && manifest != name
        {
            return Err(ResolveError::OtherName {
                manifest: manifest.clone(),
                deployed: name.clone(),
            });
        }
        let runtime = self.runtime.unwrap_or(detected.runtime);
        let command = self.http.command.as_deref();
        if command.is_some_and(|command| command.first().is_none_or(String::is_empty)) {
            return Err(ResolveError::CommandEmpty);
        }
        if command.is_some() && runtime != Runtime::Http {
            return Err(ResolveError::CommandRuntime { runtime });
        }
        if command.is_some() && self.handler.is_some() {
            return Err(ResolveError::CommandTwice);
        }
        let handler = match (command, &self.handler) {
            // Only to be looked at.
            (Some(command), _) => one_line(&command.join(" "), HANDLER_SHOWN),
            (None, Some(handler)) => handler.clone(),
            (None, None) if runtime != detected.runtime => {
                return Err(ResolveError::OtherRuntime {
                    typed: runtime,
                    detected: detected.runtime,
                });
            }
            (None, None) => detected.handler.clone(),
        };
        check_handler(runtime, &handler)?;

        let upstream = match runtime {
            Runtime::Http => watchdog::port(&self.env).map_err(|address| ResolveError::Upstream { address })?,
            _ => None,
        };
        let alone = self.reuse == Some(Reuse::Request);
        let concurrency = match runtime {
            Runtime::Http if !alone => Some(HTTP_CONCURRENCY),
            _ => default.concurrency,
        };
        let settings = Settings {
            runtime,
            handler,
            signature: decided(self.signature, default.signature),
            memory: bounded("memory", decided(self.memory, default.memory))?,
            cpu: bounded("cpu", decided(self.cpu, default.cpu))?,
            pids: bounded("pids", decided(self.pids, default.pids))?,
            tmp: bounded("tmp", decided(self.tmp, default.tmp))?,
            timeout: bounded("timeout", decided(self.timeout, default.timeout))?,
            idle: bounded("idle", decided(self.idle, default.idle))?,
            concurrency: u8::try_from(bounded("concurrency", decided(self.concurrency, concurrency))?)
                .expect("the most that KEYS allows is 64"),
            reuse: decided(self.reuse, default.reuse),
            queue: bounded("queue", decided(self.queue, default.queue))?,
            max_body: bounded("max_body", decided(self.max_body, default.max_body))?,
            rootfs: decided(self.rootfs, default.rootfs),
            build: decided(self.build, default.build),
            layers: self.layers.clone().unwrap_or_default(),
            scale: Scale {
                min: bounded("scale.min", decided(self.scale.min, default.scale.min))?,
                max: bounded("scale.max", decided(self.scale.max, default.scale.max))?,
                keep: decided(self.scale.keep, default.scale.keep),
                ahead: match decided(self.scale.ahead, default.scale.ahead) {
                    Ahead::Auto => Ahead::Auto,
                    Ahead::Exactly(count) => Ahead::Exactly(bounded("scale.ahead", count)?),
                },
            },
            env: self.env.clone(),
            security: Security::resolve(
                &self.security,
                decided(self.security.profile, default.security.profile),
                runtime,
                decided(self.rootfs, default.rootfs),
            )?,
            stdio: Stdio {
                args: self.stdio.args.clone().unwrap_or_default(),
            },
            http: Http {
                command: self.http.command.clone().unwrap_or_default(),
                port: bounded("http.port", decided(self.http.port.or(upstream), default.http.port))?,
                grace: bounded("http.grace", decided(self.http.grace, default.http.grace))?,
                protocol: decided(self.http.protocol, default.http.protocol),
            },
            cors: Some(self.cors.clone()).filter(|cors| !cors.is_empty()),
            network: self.network.clone(),
        };
        self.cors.check()?;
        if !settings.signature.fits(runtime) {
            return Err(ResolveError::SignatureRuntime {
                signature: settings.signature,
                runtime,
            });
        }
        if matches!(runtime, Runtime::Python | Runtime::Node | Runtime::Lambda) && settings.max_body > HANDLER_BODY {
            return Err(ResolveError::HandlerBody {
                given: settings.max_body,
                runtime,
            });
        }
        if settings.scale.min > settings.scale.max {
            return Err(ResolveError::ScaleOrder {
                min: settings.scale.min,
                max: settings.scale.max,
            });
        }
        if settings.reuse == Reuse::Request && settings.concurrency > 1 {
            return Err(ResolveError::ReuseConcurrency {
                concurrency: settings.concurrency,
            });
        }
        check_layers(&settings.layers)?;
        check_env(&settings.env)?;
        if !settings.stdio.args.is_empty() && runtime != Runtime::Stdio {
            return Err(ResolveError::ArgsRuntime { runtime });
        }
        check_args("stdio.args", &settings.stdio.args)?;
        check_args("http.command", &settings.http.command)?;
        if runtime == Runtime::Http
            && let Some(name) = HTTP_NAMES.iter().find(|name| settings.env.contains_key(**name))
        {
            return Err(ResolveError::EnvHttp {
                name: (*name).to_owned(),
            });
        }
        check_network(&settings)?;
        Ok(settings)
    }
}

/// The manifest in which every default was typed.
fn defaults() -> Manifest {
    let mut manifest = Manifest::default();
    for key in KEYS {
        if let Some(default) = key.default {
            manifest
                .set(key.name, default)
                .expect("every default of KEYS is valid, see the tests");
        }
    }
    manifest
}

fn decided<T>(typed: Option<T>, default: Option<T>) -> T {
    typed
        .or(default)
        .expect("KEYS has a default for every key that is decided here, see the tests")
}

fn bounded<T: FromStr + PartialOrd + Display>(key: &'static str, value: T) -> Result<T, ResolveError> {
    let Some(bounds) = Key::find(key).and_then(|key| key.bounds) else {
        return Ok(value);
    };
    match (bounds.least.parse::<T>(), bounds.most.parse::<T>()) {
        (Ok(least), Ok(most)) if least <= value && value <= most => Ok(value),
        _ => Err(ResolveError::OutOfBounds {
            key,
            given: value.to_string(),
            least: bounds.least,
            most: bounds.most,
            why: bounds.why,
        }),
    }
}

fn check_handler(runtime: Runtime, handler: &str) -> Result<(), ResolveError> {
    let sound = !handler.is_empty() && handler.len() <= HANDLER_LENGTH && !handler.contains('\0');
    if matches!(runtime, Runtime::Http | Runtime::Lambda | Runtime::Fdk) {
        return match sound && !handler.contains(['\n', '\r']) && !handler.trim().is_empty() {
            true => Ok(()),
            false => Err(ResolveError::HandlerLine {
                handler: handler.to_owned(),
            }),
        };
    }
    if runtime == Runtime::Stdio {
        let inside = handler.split('/').all(|part| !matches!(part, "" | "." | ".."));
        return match sound && inside {
            true => Ok(()),
            false => Err(ResolveError::HandlerPath {
                handler: handler.to_owned(),
            }),
        };
    }
    let plain = |text: &str| {
        !text.is_empty()
            && text
                .chars()
                .all(|c| c.is_alphanumeric() || matches!(c, '_' | '-' | '$'))
    };
    let formed = handler
        .rsplit_once('.')
        .is_some_and(|(file, function)| file.split(['/', '.']).all(plain) && plain(function));
    match sound && formed {
        true => Ok(()),
        false => Err(ResolveError::HandlerForm {
            handler: handler.to_owned(),
        }),
    }
}

fn check_layers(layers: &[String]) -> Result<(), ResolveError> {
    if layers.len() > MOST_LAYERS {
        return Err(ResolveError::LayersCount { count: layers.len() });
    }
    match layers
        .iter()
        .find(|layer| layer.is_empty() || layer.len() > LAYER_LENGTH || layer.contains(char::is_control))
    {
        Some(layer) => Err(ResolveError::LayerName {
            layer: one_line(layer, LAYER_LENGTH),
        }),
        None => Ok(()),
    }
}

fn check_env(env: &BTreeMap<String, String>) -> Result<(), ResolveError> {
    if env.len() > ENV_COUNT {
        return Err(ResolveError::EnvCount { count: env.len() });
    }
    for (name, value) in env {
        let named = name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
            && !name.is_empty()
            && !name.starts_with(|c: char| c.is_ascii_digit());
        if !named {
            return Err(ResolveError::EnvName { name: name.clone() });
        }
        if name == "_HANDLER" || RESERVED_PREFIXES.iter().any(|prefix| name.starts_with(prefix)) {
            return Err(ResolveError::EnvReserved { name: name.clone() });
        }
        if value.contains('\0') {
            return Err(ResolveError::EnvValue { name: name.clone() });
        }
    }
    // Two more for `=` and the NUL that the kernel counts.
    let bytes = env.iter().map(|(name, value)| name.len() + value.len() + 2).sum();
    match bytes {
        0..=ENV_BYTES => Ok(()),
        _ => Err(ResolveError::EnvBytes { bytes }),
    }
}

fn check_network(settings: &Settings) -> Result<(), ResolveError> {
    let allow = &settings.network.allow;
    if allow.len() > MOST_DESTINATIONS {
        return Err(ResolveError::NetworkCount { count: allow.len() });
    }
    let twice = (1..allow.len()).find(|at| allow[..*at].contains(&allow[*at]));
    if let Some(at) = twice {
        return Err(ResolveError::NetworkTwice(allow[at].clone()));
    }
    if let Some(to) = allow.first().filter(|_| !settings.security.network) {
        return Err(ResolveError::NetworkDenied(to.clone()));
    }
    let taken = |to: &&Destination| settings.runtime == Runtime::Http && to.port().get() == settings.http.port;
    match allow.iter().find(taken) {
        Some(to) => Err(ResolveError::NetworkPort(to.clone())),
        None => Ok(()),
    }
}

fn check_args(key: &'static str, args: &[String]) -> Result<(), ResolveError> {
    if args.len() > ARGS_COUNT {
        return Err(ResolveError::ArgsCount { key, count: args.len() });
    }
    if let Some(index) = args.iter().position(|arg| arg.contains('\0')) {
        return Err(ResolveError::ArgsNul { key, index });
    }
    let bytes = args.iter().map(|arg| arg.len() + 1).sum();
    match bytes {
        0..=ARGS_BYTES => Ok(()),
        _ => Err(ResolveError::ArgsBytes { key, bytes }),
    }
}

#[cfg(test)]
mod tests;
