//! `fn serve`: from options to a running server.
//!
//! ```text
//! places --> become_user (root only, for good) --> log --> runtime --> gateway
//! ```
//!
//! The order is the point. The user changes while this process has one thread and no file open that root made, and only
//! then do threads exist and does anything listen.

use std::io::{IsTerminal, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use functions::Digest;
use gateway::serve::{Opened, ServeConfig, ServeError};
use sandbox::detect::{Detection, Request, detect};
use sandbox::privileges::{self, PrivilegeError};
use tracing_subscriber::EnvFilter;
use warm_pool::watch::{Rules, rules};
use warm_pool::{Host, HostError, Started};

use super::{scope, typed};
use crate::args::{GlobalArgs, LogFormat, ServeArgs};
use crate::exit::Exit;
use crate::failure::{Explain, Failure};
use crate::settings::{self, ProcessEnv, Who};

/// The places that a server needs.
#[derive(Debug)]
struct Places {
    state_dir: PathBuf,
    admin_socket: PathBuf,
    /// The cgroup below which the functions' cgroups are made; `None` to look for the best one.
    cgroup_root: Option<PathBuf>,
}

/// Serves until it is told to stop.
pub(crate) fn run(args: &ServeArgs, global: &GlobalArgs) -> Result<Exit, Failure> {
    let who = Who::started_this();
    let places = Places {
        state_dir: settings::state_dir(typed(global), &ProcessEnv, who)?,
        admin_socket: settings::admin_socket(typed(global), &ProcessEnv, who)?,
        cgroup_root: args.cgroup_root.clone(),
    };
    // While root may read it, where it is root's.
    let rules = rules(args.rules.as_deref())?;
    let detection = become_user(args.user.as_deref(), who, &places)?;
    write_log(args.log_format);
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|cause| {
            Failure::new(
                Exit::Failed,
                "no_runtime",
                format!("the event loop can't be started: {cause}"),
            )
        })?;
    runtime.block_on(serve(args, places, detection, rules))
}

/// The shipped rules of the watch, with what the file changes and adds.
fn rules(file: Option<&Path>) -> Result<Rules, Failure> {
    let Some(path) = file else { return Ok(Rules::default()) };
    let refused = |what: String| {
        let message = format!("the rules in {} can't be used: {what}", path.display());
        Failure::new(Exit::BadInput, "bad_rules", message)
    };
    let mut text = String::new();
    let read = std::fs::File::open(path)
        .and_then(|file| std::io::Read::take(file, rules::LARGEST_FILE + 1).read_to_string(&mut text));
    read.map_err(|cause| refused(cause.to_string()))?;
    if text.len() as u64 > rules::LARGEST_FILE {
        return Err(refused(format!("they are over {} bytes", rules::LARGEST_FILE)));
    }
    Rules::changed_by(&text).map_err(|cause| refused(cause.to_string()))
}

/// Finds where limits can be set. Started as root it also prepares what only root can and then becomes an unprivileged
/// user for good. The result is what was found, for the report.
fn become_user(user: Option<&str>, who: Who, places: &Places) -> Result<Detection, Failure> {
    let name = subtree_name(&places.state_dir);
    let request = |owner| Request {
        root: places.cgroup_root.as_deref(),
        name: &name,
        owner,
    };
    let detection = match (who, user) {
        (Who::Ordinary, Some(_)) => return Err(PrivilegeError::NotRoot.into()),
        (Who::Ordinary, None) => {
            if places.cgroup_root.is_none() {
                scope::enter();
            }
            detect(&request(None)).map_err(no_cgroups)?
        }
        (Who::Root, _) => {
            let user = privileges::choose(user)?;
            privileges::give_directory(&places.state_dir, &user)?;
            let detection = detect(&request(Some((user.uid, user.gid)))).map_err(no_cgroups)?;
            privileges::become_user(&user)?;
            detection
        }
    };
    privileges::raise_open_files();
    Ok(detection)
}

/// The same for the same state directory, so that the next start finds what this one left.
fn subtree_name(state_dir: &Path) -> String {
    let digest = Digest::of(state_dir.as_os_str().as_encoded_bytes()).to_string();
    format!("fn-{}", &digest[..8])
}

fn no_cgroups(cause: std::io::Error) -> Failure {
    Failure::new(Exit::Failed, "no_proc", format!("/proc can't be read: {cause}"))
}

impl Explain for PrivilegeError {
    fn exit(&self) -> Exit {
        match self {
            PrivilegeError::NotRoot | PrivilegeError::Root(_) | PrivilegeError::NoSuchUser(_) => Exit::Usage,
            PrivilegeError::Step { .. } | PrivilegeError::Remained(_) => Exit::Failed,
        }
    }

    fn code(&self) -> String {
        match self {
            PrivilegeError::NotRoot => "not_root",
            PrivilegeError::Root(_) => "refuses_root",
            PrivilegeError::NoSuchUser(_) => "no_such_user",
            PrivilegeError::Step { .. } | PrivilegeError::Remained(_) => "privileges",
        }
        .into()
    }

    fn hint(&self) -> Option<String> {
        matches!(self, PrivilegeError::NotRoot)
            .then(|| "Leave --user out: the server then runs as the user who starts it.".into())
    }
}

/// Sends the server's own log to standard error. `$FN_LOG` chooses what is in it, `info` and above by default.
fn write_log(format: LogFormat) {
    let filter = EnvFilter::try_from_env("FN_LOG").unwrap_or_else(|_| EnvFilter::new("info"));
    let log = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr);
    match format {
        LogFormat::Json => log.json().init(),
        LogFormat::Text => log.with_ansi(std::io::stderr().is_terminal()).init(),
    }
}

/// Hands over to the gateway.
async fn serve(args: &ServeArgs, places: Places, detection: Detection, rules: Rules) -> Result<Exit, Failure> {
    tracing::info!(state_dir = %places.state_dir.display(), "starting");
    if args.switches() != sandbox::Switches::default() {
        tracing::error!("layers of the confinement are switched off: nothing that runs here is confined");
    }
    let config = ServeConfig {
        listen: args.listen,
        hosts: args.hosts.clone(),
        callback_hosts: args.callback_hosts.clone(),
        retry_wait: args.retry_wait.duration(),
        expose_errors: args.expose_errors,
        strict: args.strict,
        ..ServeConfig::new(places.state_dir.clone(), places.admin_socket)
    };
    let start = async |opened: &Opened| -> Result<_, HostError> {
        let host = Host {
            state_dir: places.state_dir,
            tree: detection.tree.clone(),
            runtimes: opened.runtimes().clone(),
            logs: Arc::new(opened.logs().clone()),
            egress_allow: args.egress_allow.clone(),
            reclaim: args.reclaim_after.unwrap_or_default(),
            switches: args.switches(),
            rules,
        };
        let Started { pool, subordinate } = host.start().await?;
        let report = sandbox::report::host(&detection, subordinate);
        Ok((
            pool,
            serde_json::to_value(report).expect("a report has no map with odd keys"),
        ))
    };
    gateway::serve(config, start).await?;
    Ok(Exit::Ok)
}

impl Explain for ServeError {
    fn exit(&self) -> Exit {
        Exit::Failed
    }

    fn code(&self) -> String {
        match self {
            ServeError::Store(error) => error.code(),
            ServeError::Keys(_) => "aws_credentials",
            ServeError::Bind(_) => "address_not_free",
            ServeError::Logs(_) => "log_directory",
            ServeError::Directory(_) => "socket_directory",
            ServeError::Signals(_) | ServeError::Start(_) => "start",
            ServeError::Pool(_) => "no_sandboxes",
            ServeError::NotEnforced(_) => "not_enforced",
        }
        .into()
    }

    fn hint(&self) -> Option<String> {
        match self {
            ServeError::Pool(_) => Some("`fn doctor` says what this host lacks and how to mend it.".into()),
            other => ServeError::hint(other).map(Into::into),
        }
    }
}
