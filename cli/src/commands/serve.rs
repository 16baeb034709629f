//! `fn serve`: from options to a running server.
//!
//! ```text
//! places --> become_user (root only, for good) --> log --> runtime --> gateway
//! ```
//!
//! The order is the point. The user changes while this process has one thread and no file open that root made, and only
//! then do threads exist and does anything listen.

use std::io::IsTerminal;
use std::path::PathBuf;

use tracing_subscriber::EnvFilter;

use super::typed;
use crate::args::{GlobalArgs, LogFormat, ServeArgs};
use crate::exit::Exit;
use crate::failure::Failure;
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
    let mut places = Places {
        state_dir: settings::state_dir(typed(global), &ProcessEnv, who)?,
        admin_socket: settings::admin_socket(typed(global), &ProcessEnv, who)?,
        cgroup_root: args.cgroup_root.clone(),
    };
    become_user(args.user.as_deref(), who, &mut places)?;
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
    runtime.block_on(serve(args, places))
}

/// Started as root: prepares what only root can, then becomes an unprivileged user for good. Started by anybody else:
/// there is nothing to do, and no user to choose.
fn become_user(user: Option<&str>, who: Who, _places: &mut Places) -> Result<(), Failure> {
    match (who, user) {
        (Who::Ordinary, None) => Ok(()),
        (Who::Ordinary, Some(user)) => Err(Failure::new(
            Exit::Usage,
            "not_root",
            format!("only root can choose a user, so --user {user} can't be obeyed"),
        )
        .hint("Leave --user out: the server then runs as the user who starts it.")),
        (Who::Root, _) => Err(
            Failure::new(Exit::Failed, "refuses_root", "the server does not run as root")
                .hint("Start it as an ordinary user."),
        ),
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
async fn serve(args: &ServeArgs, places: Places) -> Result<Exit, Failure> {
    tracing::info!(
        listen = %args.listen,
        state_dir = %places.state_dir.display(),
        admin_socket = %places.admin_socket.display(),
        cgroup_root = ?places.cgroup_root,
        "starting"
    );
    Err(Failure::new(Exit::Failed, "no_gateway", "this build has no gateway"))
}
