//! The command line as it was typed.
//!
//! Nothing is looked up and nothing is resolved here: names, sizes and paths stay the text that they were, and the
//! commands turn them into what they mean. Only the form is checked (`K=V`, `K: V`, an address), because a mistake in
//! form is a mistake of usage.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::str::FromStr;

use clap::builder::{PossibleValuesParser, TypedValueParser};
use clap::{Args, CommandFactory, FromArgMatches, Parser, Subcommand, ValueEnum};
use functions::{Runtime, Signature, Span};
use gateway::callback::CallbackHost;
use warm_pool::Reclaim;
use warm_pool::egress::Cidr;

#[cfg(test)]
mod tests;

/// Run ordinary Linux code as functions, without root.
#[derive(Debug, Parser)]
#[command(name = "fn", version, disable_help_subcommand = true, max_term_width = 100)]
pub(crate) struct Cli {
    /// Options that every command takes.
    #[command(flatten)]
    pub(crate) global: GlobalArgs,
    /// What to do.
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// Options that every command takes.
#[derive(Debug, Args)]
pub(crate) struct GlobalArgs {
    /// The server's admin socket [default: $FN_ADMIN_SOCKET, else run/admin.sock in the state directory]
    #[arg(long, global = true, value_name = "PATH", help_heading = "Options of every command")]
    pub(crate) admin_socket: Option<PathBuf>,
    /// The server's state directory [default: $FN_STATE_DIR, else /var/lib/fn for root, else
    /// $XDG_STATE_HOME/fn, else ~/.local/state/fn]
    #[arg(long, global = true, value_name = "DIR", help_heading = "Options of every command")]
    pub(crate) state_dir: Option<PathBuf>,
    /// Print exactly one JSON document instead of text
    #[arg(long, global = true, help_heading = "Options of every command")]
    pub(crate) json: bool,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Run the server
    Serve(ServeArgs),
    /// Make a directory, a zip or an executable the live revision of a function
    Deploy(DeployArgs),
    /// Deploy a function, and again each time that its files change, and print what it writes
    Dev(DevArgs),
    /// Write a small working function into a directory
    Init(InitArgs),
    /// Call a function and print its reply
    Invoke(InvokeArgs),
    /// List all functions
    List,
    /// Show one function: its live revision, settings and instances
    Show(NameArgs),
    /// Print what a function wrote to its output
    Logs(LogsArgs),
    /// Print what the rules of the watch said of instances, or the rules
    Alerts(AlertsArgs),
    /// End every instance that ran an invocation, now
    Evict(EvictArgs),
    /// Remove a function and all its revisions
    Rm(NameArgs),
    /// Say what this host can enforce, and how to fix what it can't
    Doctor,
    /// Print what AWS clients need to reach this server's Lambda API, as environment variables
    AwsEnv,
    /// Print a completion script for a shell
    Completions(CompletionsArgs),
}

/// `fn serve`.
#[derive(Debug, Args)]
pub(crate) struct ServeArgs {
    /// The address for invocations; the port 0 takes a free one
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:8080")]
    pub(crate) listen: SocketAddr,
    /// Started as root: the user to become for good [default: fn if it exists, else nobody]
    #[arg(long, value_name = "NAME")]
    pub(crate) user: Option<String>,
    /// The cgroup below which the functions' cgroups are made [default: the best one that can be written]
    #[arg(long, value_name = "DIR")]
    pub(crate) cgroup_root: Option<PathBuf>,
    /// Refuse to start when this host can't enforce everything
    #[arg(long)]
    pub(crate) strict: bool,
    /// How the server writes its own log
    #[arg(long, value_name = "FORMAT", value_enum, default_value_t = LogFormat::Text)]
    pub(crate) log_format: LogFormat,
    /// A further host name to answer to, besides localhost, *.localhost and the loopback addresses
    #[arg(long = "host", value_name = "NAME")]
    pub(crate) hosts: Vec<String>,
    /// A host that results of calls in the background may be sent to, with or without a port
    #[arg(long = "callback-host", value_name = "HOST[:PORT]")]
    pub(crate) callback_hosts: Vec<CallbackHost>,
    /// A range of addresses that functions may connect to by their `network.allow`, although it is not public; may be given several times
    #[arg(long, value_name = "CIDR")]
    pub(crate) egress_allow: Vec<Cidr>,
    /// When the memory of a frozen instance goes to swap, where there is some: a time after its last call, or `never` [default: 5m]
    #[arg(long, value_name = "DURATION|never")]
    pub(crate) reclaim_after: Option<Reclaim>,
    /// The wait before an event of Lambda's API runs again whose function failed; the second time it is twice as long
    #[arg(long, value_name = "DURATION", default_value = "1m")]
    pub(crate) retry_wait: Span,
    /// Rules of the watch that change or add to the shipped ones, as TOML [default: the shipped ones alone]
    #[arg(long, value_name = "FILE")]
    pub(crate) rules: Option<PathBuf>,
    /// Show a function's exceptions to its callers
    #[arg(long)]
    pub(crate) expose_errors: bool,
    /// Layers of the confinement to switch off: only for the abuse suite, which proves by it that its cases can fail
    #[cfg(feature = "abuse-switches")]
    #[arg(long, value_name = "LAYER[,LAYER]")]
    pub(crate) abuse_off: Option<sandbox::Switches>,
}

impl ServeArgs {
    /// The layers of the confinement that are off: none.
    #[cfg(not(feature = "abuse-switches"))]
    pub(crate) fn switches(&self) -> sandbox::Switches {
        sandbox::Switches::default()
    }

    /// The layers of the confinement that are off.
    #[cfg(feature = "abuse-switches")]
    pub(crate) fn switches(&self) -> sandbox::Switches {
        self.abuse_off.unwrap_or_default()
    }
}

/// How the server writes its own log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum LogFormat {
    /// Lines for people.
    Text,
    /// One JSON object per line.
    Json,
}

/// `fn deploy`.
#[derive(Debug, Args)]
pub(crate) struct DeployArgs {
    #[command(flatten)]
    pub(crate) function: FunctionArgs,
    /// Do not load the handler in a sandbox before the revision goes live
    #[arg(long)]
    pub(crate) no_check: bool,
}

/// `fn dev`.
#[derive(Debug, Args)]
pub(crate) struct DevArgs {
    #[command(flatten)]
    pub(crate) function: FunctionArgs,
}

/// What is to be deployed, and how.
#[derive(Debug, Args)]
pub(crate) struct FunctionArgs {
    /// A directory, a zip or an executable file
    pub(crate) path: PathBuf,
    /// The function's name [default: name in fn.toml, else the name of PATH]
    #[arg(long, value_name = "NAME", allow_hyphen_values = true)]
    pub(crate) name: Option<String>,
    /// The runtime: python, node, stdio, http, lambda or fdk [default: detected]
    #[arg(long)]
    pub(crate) runtime: Option<String>,
    /// The handler, for example handler.handler [default: detected]
    #[arg(long)]
    pub(crate) handler: Option<String>,
    /// Memory of one instance, for example 256MiB
    #[arg(long, value_name = "SIZE")]
    pub(crate) memory: Option<String>,
    /// Time of one invocation, for example 30s
    #[arg(long, value_name = "DURATION")]
    pub(crate) timeout: Option<String>,
    /// An environment variable of the function
    #[arg(long, value_name = "K=V", value_parser = pair)]
    pub(crate) env: Vec<(String, String)>,
    /// Any key of fn.toml, for example scale.max=4
    #[arg(long, value_name = "KEY=VALUE", value_parser = pair)]
    pub(crate) set: Vec<(String, String)>,
}

impl FunctionArgs {
    /// What was typed about settings, as pairs of a key of fn.toml and its value. The special options come after
    /// `--set`, so that the plainer spelling wins.
    pub(crate) fn settings(&self) -> Vec<(String, String)> {
        let mut pairs = self.set.clone();
        let options = [
            ("name", &self.name),
            ("runtime", &self.runtime),
            ("handler", &self.handler),
            ("memory", &self.memory),
            ("timeout", &self.timeout),
        ];
        for (key, value) in options {
            if let Some(value) = value {
                pairs.push((key.to_owned(), value.clone()));
            }
        }
        pairs.extend(
            self.env
                .iter()
                .map(|(key, value)| (format!("env.{key}"), value.clone())),
        );
        pairs
    }
}

/// `fn init`.
#[derive(Debug, Args)]
pub(crate) struct InitArgs {
    /// What runs the example
    #[arg(long, value_name = "R", default_value = "python", value_parser = word::<Runtime>(Runtime::WORDS))]
    pub(crate) runtime: Runtime,
    /// How the handler of Python or Node is called [default: handler(event, context)]
    #[arg(long, value_name = "S", value_parser = word::<Signature>(Signature::WORDS))]
    pub(crate) signature: Option<Signature>,
    /// The directory to write into; it is made when it does not exist
    pub(crate) dir: PathBuf,
}

/// Reads one of some words.
fn word<T>(words: &'static [&'static str]) -> impl TypedValueParser<Value = T>
where
    T: FromStr<Err: std::error::Error + Send + Sync> + Clone + Send + Sync + 'static,
{
    PossibleValuesParser::new(words).try_map(|word| word.parse::<T>())
}

/// `fn invoke`.
#[derive(Debug, Args)]
pub(crate) struct InvokeArgs {
    /// The function's name
    pub(crate) name: String,
    /// The body: text, @FILE, or @- for standard input
    #[arg(short, long, value_name = "DATA|@FILE")]
    pub(crate) data: Option<String>,
    /// The method [default: POST with a body, else GET]
    #[arg(long, value_name = "METHOD")]
    pub(crate) method: Option<String>,
    /// The path below the function, with its query
    #[arg(long, value_name = "PATH", default_value = "/")]
    pub(crate) path: String,
    /// A request header
    #[arg(short = 'H', long = "header", value_name = "K: V", value_parser = header)]
    pub(crate) headers: Vec<(String, String)>,
    /// Show the status and the headers of the reply on standard error
    #[arg(short, long, visible_short_alias = 'i', visible_alias = "include")]
    pub(crate) verbose: bool,
}

/// Commands about one function.
#[derive(Debug, Args)]
pub(crate) struct NameArgs {
    /// The function's name
    pub(crate) name: String,
}

/// `fn logs`.
#[derive(Debug, Args)]
pub(crate) struct LogsArgs {
    /// The function's name
    pub(crate) name: String,
    /// Keep printing what comes, until interrupted
    #[arg(short, long)]
    pub(crate) follow: bool,
    /// Only the lines of one request
    #[arg(long, value_name = "ID")]
    pub(crate) request: Option<String>,
    /// Only the last lines
    #[arg(long, value_name = "N")]
    pub(crate) tail: Option<u64>,
}

/// `fn alerts`.
#[derive(Debug, Args)]
pub(crate) struct AlertsArgs {
    /// Keep printing what comes, until interrupted
    #[arg(short, long)]
    pub(crate) follow: bool,
    /// Only those of one function
    #[arg(long, value_name = "NAME")]
    pub(crate) function: Option<String>,
    /// Only the last ones
    #[arg(long, value_name = "N")]
    pub(crate) tail: Option<u64>,
    /// Print the rules instead
    #[arg(long, conflicts_with_all = ["follow", "function", "tail"])]
    pub(crate) rules: bool,
}

/// `fn evict`.
#[derive(Debug, Args)]
pub(crate) struct EvictArgs {
    /// The function's name
    pub(crate) name: String,
    /// Also end what waits ahead: instances that never ran one, the template and ready slots
    #[arg(long)]
    pub(crate) all: bool,
}

/// `fn completions`.
#[derive(Debug, Args)]
pub(crate) struct CompletionsArgs {
    /// The shell
    #[arg(value_enum)]
    pub(crate) shell: clap_complete::Shell,
}

/// The whole command, with the exit codes at the end of its help.
pub(crate) fn command() -> clap::Command {
    Cli::command().after_help(crate::exit::help())
}

/// Reads a command line, its first word being the program's name. Help and version come back as an error too, with
/// an exit code of 0 of their own.
pub(crate) fn parse(words: impl IntoIterator<Item = std::ffi::OsString>) -> Result<Cli, clap::Error> {
    Cli::from_arg_matches(&command().try_get_matches_from(words)?)
}

/// `K=V`.
fn pair(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((key, value)) if !key.is_empty() => Ok((key.to_owned(), value.to_owned())),
        _ => Err("it must look like KEY=VALUE".into()),
    }
}

/// `K: V`.
fn header(text: &str) -> Result<(String, String), String> {
    match text.split_once(':') {
        Some((key, value)) if !key.trim().is_empty() => Ok((key.trim().to_owned(), value.trim().to_owned())),
        _ => Err("it must look like 'Name: value'".into()),
    }
}
