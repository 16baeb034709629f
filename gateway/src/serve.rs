//! Puts everything together: from a configuration to a server that listens, and back to nothing.
//!
//! ```text
//! store (takes the state directory's lock) --> sockets --> pool --> listening --signal--> drain --> pool drains --> done
//! ```
//!
//! The order is the point. Nobody else's socket is replaced before the lock says that the state directory is ours, a taken port is told
//! before a sandbox is made, and nothing is accepted before it can be served. At the end the callers go first, then the
//! instances, then the sockets, the store last.

use std::fs::DirBuilder;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use functions::published::{Facet, Published};
use functions::runtimes::HostRuntimes;
use functions::store::StoreError;
use functions::{FunctionName, Store};
use warm_pool::Pool;

use crate::background::Background;
use crate::bodies::Bodies;
use crate::callback::{CallbackHost, Callbacks};
use crate::changes::Changes;
use crate::exchange::Errors;
use crate::gateway::{About, Gateway};
use crate::lambda::concurrency::Concurrency;
use crate::lambda::{Kept, KeyError, KeyPair, Rules, kept_of, rules_of_urls};
use crate::limits::HeadLimits;
use crate::live::Live;
use crate::logs::Logs;
use crate::resolve::Hosts;
use crate::routes;
use crate::server::{self, BindError, ConnectionLimits, Drain, Listener};
use crate::telemetry::Telemetry;

/// How the server is to be run.
#[derive(Clone, Debug)]
pub struct ServeConfig {
    /// Where callers connect. Port 0 lets the system choose.
    pub listen: SocketAddr,
    /// Where functions, bundles and logs are kept.
    pub state_dir: PathBuf,
    /// The unix socket of the admin API; made with mode 0600.
    pub admin_socket: PathBuf,
    /// Hosts that are answered besides `localhost`, `127.0.0.1`, `[::1]` and `*.localhost`.
    pub hosts: Vec<String>,
    /// Where results of calls in the background may be sent.
    pub callback_hosts: Vec<CallbackHost>,
    /// The wait before an event runs again whose function failed once; after the second time it is twice as long. Default 1 min, as at Lambda.
    pub retry_wait: Duration,
    /// Callers read a function's own `{errorMessage, errorType, stackTrace}` when it fails.
    pub expose_errors: bool,
    /// Refuse to serve when the host can't enforce something that functions are promised.
    pub strict: bool,
    /// How long requests in flight may take to end after the first signal.
    pub drain: Duration,
    /// Bounds of a request's head.
    pub head: HeadLimits,
    /// Bytes of request bodies that may be held in memory at one time, all calls of handlers together.
    pub bodies: usize,
    /// Bounds of connections.
    pub connections: ConnectionLimits,
}

impl ServeConfig {
    /// A configuration with every default: 127.0.0.1:8080, no further host, no callbacks, errors hidden, 30 s to drain, 512 MiB of bodies.
    pub fn new(state_dir: PathBuf, admin_socket: PathBuf) -> Self {
        Self {
            listen: SocketAddr::from(([127, 0, 0, 1], 8080)),
            state_dir,
            admin_socket,
            hosts: Vec::new(),
            callback_hosts: Vec::new(),
            retry_wait: Duration::from_secs(60),
            expose_errors: false,
            strict: false,
            drain: Duration::from_secs(30),
            head: HeadLimits::default(),
            bodies: 512 * 1024 * 1024,
            connections: ConnectionLimits::default(),
        }
    }
}

/// Why the server does not run.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// The state directory can't be used.
    #[error("the state directory can't be used")]
    Store(#[from] StoreError),
    /// The key pair of the Lambda control API can't be had.
    #[error("the key pair of the Lambda API can't be used")]
    Keys(#[from] KeyError),
    /// A socket can't be listened on.
    #[error(transparent)]
    Bind(#[from] BindError),
    /// The log directory can't be used.
    #[error("the log directory can't be used")]
    Logs(#[source] io::Error),
    /// The directory of the admin socket can't be made.
    #[error("the directory of the admin socket can't be made")]
    Directory(#[source] io::Error),
    /// Signals can't be received.
    #[error("signals can't be received")]
    Signals(#[source] io::Error),
    /// The pool, or the sandboxes under it, can't be started.
    #[error("functions can't be run here")]
    Pool(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// `strict` was asked for, and this is not enforced here.
    #[error("this host does not enforce: {}", .0.join(", "))]
    NotEnforced(Vec<String>),
    /// A task of the start ended in a panic.
    #[error("the start did not come to its end")]
    Start(#[from] tokio::task::JoinError),
}

impl ServeError {
    /// What to do about it, where that is known.
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            Self::Store(error) => Some(error.hint()),
            Self::Keys(error) => Some(error.hint()),
            Self::NotEnforced(_) => {
                Some("`fn doctor` says how to mend each; without --strict the server starts all the same.")
            }
            Self::Bind(_) | Self::Directory(_) | Self::Logs(_) | Self::Signals(_) | Self::Pool(_) | Self::Start(_) => {
                None
            }
        }
    }
}

/// Serves until SIGTERM or SIGINT, then drains. `pool` starts what runs functions once the store and the sockets are ours, and tells
/// what the host can enforce: `{findings: [{name, state, ..}]}`, the document of `GET /v1/info`.
///
/// A second signal ends the drain at once. Dropping the future closes the sockets and kills every instance.
pub async fn serve<E>(
    config: ServeConfig,
    pool: impl AsyncFnOnce(&Opened) -> Result<(Pool, serde_json::Value), E>,
) -> Result<(), ServeError>
where
    E: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let strict = config.strict;
    let opened = Opened::new(config).await?;
    let drain = Drain::new();
    server::signals(drain.clone()).map_err(ServeError::Signals)?;
    let (pool, report) = pool(&opened).await.map_err(|error| ServeError::Pool(error.into()))?;
    let missing = missing(&report);
    if strict && !missing.is_empty() {
        return Err(ServeError::NotEnforced(missing));
    }
    for name in missing {
        tracing::warn!("{name} is not enforced on this host");
    }
    opened.run(pool, report, drain).await;
    Ok(())
}

/// The directory of a socket, for its owner alone where it has to be made.
fn make_parent(socket: &Path) -> io::Result<()> {
    let parent = socket.parent().unwrap_or(socket);
    DirBuilder::new().recursive(true).mode(0o700).create(parent)
}

/// The names of what a report calls missing.
fn missing(report: &serde_json::Value) -> Vec<String> {
    let findings = report["findings"].as_array().map(Vec::as_slice).unwrap_or_default();
    let missing = findings.iter().filter(|finding| finding["state"] == "missing");
    missing
        .filter_map(|finding| finding["name"].as_str().map(str::to_owned))
        .collect()
}

/// A server that owns its state directory and its sockets, and does not answer yet.
pub struct Opened {
    config: ServeConfig,
    store: Arc<Store>,
    published: Vec<(FunctionName, Published)>,
    reserved: Vec<(FunctionName, Concurrency)>,
    urls: Vec<(FunctionName, Rules)>,
    kept: Vec<(FunctionName, Kept)>,
    keys: KeyPair,
    logs: Logs,
    runtimes: HostRuntimes,
    public: Listener,
    admin: Listener,
    address: SocketAddr,
}

impl Opened {
    /// Opens the store and the sockets.
    pub async fn new(config: ServeConfig) -> Result<Self, ServeError> {
        let state_dir = config.state_dir.clone();
        let opening = tokio::task::spawn_blocking(move || {
            let store = Store::open(&state_dir)?;
            let logs = Logs::open(&state_dir.join("logs")).map_err(ServeError::Logs)?;
            let published = store.all_published()?;
            let reserved = store.all_of_facet(Facet::Concurrency)?;
            let names = store.list().into_iter().map(|live| live.name.clone());
            let urls = names.map(|name| Ok::<_, StoreError>((name.clone(), rules_of_urls(&store, &name)?)));
            let urls = urls.collect::<Result<Vec<_>, _>>()?;
            let kept = published
                .iter()
                .map(|(name, published)| Ok((name.clone(), kept_of(&store, name, published)?)));
            let kept = kept.collect::<Result<Vec<_>, StoreError>>()?;
            let keys = KeyPair::open(&state_dir)?;
            Ok::<_, ServeError>((store, published, reserved, urls, kept, keys, logs, HostRuntimes::find()))
        });
        let (store, published, reserved, urls, kept, keys, logs, runtimes) = opening.await??;
        let public = Listener::tcp(config.listen)?;
        make_parent(&config.admin_socket).map_err(ServeError::Directory)?;
        let admin = Listener::unix(&config.admin_socket)?;
        let address = public.address().unwrap_or(config.listen);
        Ok(Self {
            config,
            store: Arc::new(store),
            published,
            reserved,
            urls,
            kept,
            keys,
            logs,
            runtimes,
            public,
            admin,
            address,
        })
    }

    /// The store.
    pub fn store(&self) -> &Arc<Store> {
        &self.store
    }

    /// Where the pool sends what functions print.
    pub fn logs(&self) -> &Logs {
        &self.logs
    }

    /// The interpreters of this host.
    pub fn runtimes(&self) -> &HostRuntimes {
        &self.runtimes
    }

    /// The TCP address, with the port that the system chose.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Answers requests until the drain has begun, then lets those in flight end, at most as long as the configuration says, and shuts the pool down.
    /// `report` is what `GET /v1/info` tells about the host.
    pub async fn run(self, pool: Pool, report: serde_json::Value, drain: Drain) {
        let Self {
            config,
            store,
            published,
            reserved,
            urls,
            kept,
            keys,
            logs,
            runtimes,
            public,
            admin,
            address,
        } = self;
        let live = store.list();
        for revision in &live {
            pool.provision(revision);
        }
        let live = Live::new(live);
        for (name, published) in published {
            live.publish(name, published);
        }
        for (name, Concurrency { reserved }) in reserved {
            live.reserve(name, Some(reserved));
        }
        for (name, urls) in urls {
            live.set_urls(name, urls);
        }
        for (name, kept) in kept {
            if let Some(revision) = live.get(&name) {
                pool.keep(&revision, &kept);
            }
        }
        let gateway = Arc::new(Gateway {
            live,
            pool: pool.clone(),
            store,
            runtimes,
            logs,
            telemetry: Telemetry::new(),
            hosts: Hosts::new(config.hosts),
            limits: config.head,
            bodies: Bodies::new(config.bodies),
            errors: if config.expose_errors {
                Errors::Exposed
            } else {
                Errors::Hidden
            },
            drain: drain.clone(),
            keys,
            background: Background::new(config.retry_wait),
            callbacks: Callbacks::new(config.callback_hosts),
            about: About {
                listen: address.to_string(),
                url: format!("http://{}", reachable(address)),
                state_dir: config.state_dir.display().to_string(),
                report,
            },
            changes: Changes::default(),
        });
        tracing::info!(address = %address, admin = %config.admin_socket.display(), functions = gateway.live.len(), "listening");
        let callers = server::serve(public, config.connections, drain.clone(), {
            let (gateway, router) = (gateway.clone(), routes::public(gateway.clone()));
            move |arrival, request| routes::serve_public(gateway.clone(), router.clone(), arrival, request)
        });
        // An operator may stop to read a log that is followed, and is told what was missed.
        let patient = ConnectionLimits {
            write_stall: None,
            ..config.connections
        };
        let operators = server::serve(admin, patient, drain.clone(), {
            let (gateway, router) = (gateway.clone(), routes::private(gateway.clone()));
            move |arrival, request| routes::serve_private(gateway.clone(), router.clone(), arrival, request)
        });
        tokio::join!(callers, operators);
        tracing::info!("draining");
        let until = Instant::now() + config.drain;
        let cut = drain.finish(config.drain).await;
        if cut > 0 {
            tracing::warn!(cut, "not every request ended in time");
        }
        pool.drain(until).await;
        tracing::info!("stopped");
    }
}

/// An address as a caller on this machine reaches it, which a wildcard is not.
fn reachable(address: SocketAddr) -> SocketAddr {
    let ip = match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => IpAddr::from([127, 0, 0, 1]),
        IpAddr::V6(ip) if ip.is_unspecified() => IpAddr::from([0, 0, 0, 0, 0, 0, 0, 1]),
        ip => ip,
    };
    SocketAddr::new(ip, address.port())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_names_what_is_missing() {
        let report = serde_json::json!({ "findings": [
            { "name": "memory limit", "state": "missing" },
            { "name": "kernel", "state": "ok" },
            { "name": "subordinate ids", "state": "weaker" },
        ]});
        assert_eq!(missing(&report), ["memory limit"]);
        assert!(missing(&serde_json::Value::Null).is_empty());
    }

    #[test]
    fn a_wildcard_is_reached_over_loopback() {
        assert_eq!(reachable("0.0.0.0:80".parse().unwrap()).to_string(), "127.0.0.1:80");
        assert_eq!(reachable("[::]:80".parse().unwrap()).to_string(), "[::1]:80");
        assert_eq!(reachable("10.0.0.1:80".parse().unwrap()).to_string(), "10.0.0.1:80");
    }
}
