//! From a revision to a process whose handler is loaded, or to the reason why there is none.

use std::io;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::{Duration, Instant};

use functions::runtimes::FDK_SOCKET;
use functions::wire::{InstanceFrame, Load, Ready as Greeting};
use functions::{BootId, Protocol, Revision, Runtime};
use prometheus::IntCounter;
use tokio_util::sync::CancellationToken;

use super::launcher::{Confined, Door, Later, Launched, Launcher};
use super::listens::listens;
use crate::channel::{Channel, Turn};
use crate::fate::{Fate, StartFailure};
use crate::instance::Startup;
use crate::lane::{Lane, LaneError};
use crate::link::Link;
use crate::link::shared::Shared;
use crate::log_tap::{LogSink, LogTap, Source};
use crate::runtime_api::{Desk, Identity, Server};
use crate::start::{Purpose, Start};

/// A function may need longer for its imports than for a call, so this is the least it gets.
const LEAST_INIT_TIME: Duration = Duration::from_secs(10);
/// How long a process that closed its lane during its start may take to be gone before it counts as still running.
const PATIENCE_WITH_THE_DEAD: Duration = Duration::from_secs(1);

/// A process whose handler is loaded.
pub(crate) struct Ready {
    pub(crate) body: Box<dyn Confined>,
    /// One for each invocation at a time.
    pub(crate) channels: Vec<Channel>,
    /// What it asks for its invocations, if it does.
    pub(crate) server: Option<Server>,
    pub(crate) log: LogTap,
    pub(crate) startup: Startup,
    pub(crate) greeting: Greeting,
}

/// Why there is none. The process, if one was made, is not killed yet.
pub(crate) struct Failed {
    pub(crate) failure: StartFailure,
    pub(crate) body: Option<Box<dyn Confined>>,
}

/// Where the output of the process goes.
#[derive(Clone)]
pub(crate) struct Output {
    pub(crate) source: Source,
    pub(crate) sink: Arc<dyn LogSink>,
    pub(crate) dropped: IntCounter,
}

/// How long the handler of `revision` may take to load: its timeout, and at least ten seconds.
pub(crate) fn init_time(revision: &Revision) -> Duration {
    revision.settings.timeout.duration().max(LEAST_INIT_TIME)
}

/// Starts a process and waits until it says READY, or accepts connections. `cancel` calls that off once the process exists; a launch itself is always
/// awaited to its end, because half a sandbox has nobody who could kill it.
///
/// A template may die just when a fork of it is wanted, which then never comes. No call was told of that process, so the program is executed
/// instead.
pub(crate) async fn bring_up(
    launcher: &dyn Launcher,
    revision: &Revision,
    purpose: Purpose,
    output: Output,
    cancel: &CancellationToken,
) -> Result<Ready, Failed> {
    let began = Instant::now();
    let made = launched(launcher.launch(revision, purpose)).await?;
    let forked = made.start == Start::Forked;
    match greeted(made, revision, output.clone(), cancel, began).await {
        Err(Failed {
            failure: StartFailure::Died(fate),
            body,
        }) if forked && fate != Fate::OutOfMemory => {
            tracing::info!(function = %revision.name, %fate, "a fork did not come up; the program is executed");
            drop(body);
            let made = launched(launcher.execute(revision, purpose)).await?;
            greeted(made, revision, output, cancel, began).await
        }
        other => other,
    }
}

async fn launched(launch: Later<'_, Result<Launched, StartFailure>>) -> Result<Launched, Failed> {
    launch.await.map_err(|failure| Failed { failure, body: None })
}

/// Waits until what was launched is ready, in a start that `began` then.
async fn greeted(
    launched: Launched,
    revision: &Revision,
    output: Output,
    cancel: &CancellationToken,
    began: Instant,
) -> Result<Ready, Failed> {
    let Launched {
        body,
        lanes,
        listener,
        log,
        start,
        load,
        stages,
    } = launched;
    let sandbox = began.elapsed();

    let tap = LogTap::open(log, output.source, output.sink, output.dropped);
    let ((mut channels, server), log) = match channels(revision, lanes, listener).and_then(|made| Ok((made, tap?))) {
        Ok(prepared) => prepared,
        Err(error) => {
            return Err(Failed {
                failure: StartFailure::Sandbox(error.into()),
                body: Some(body),
            });
        }
    };
    let ready = async {
        match &mut channels[0] {
            Channel::Frames(lane) => greet(lane, load, init_time(revision), body.as_ref()).await,
            Channel::Http(link) => {
                listens(body.as_ref(), link.door(), init_time(revision)).await?;
                Ok(nameless(revision))
            }
            Channel::Runtime(turn) => {
                asks(turn.desk(), init_time(revision), body.as_ref()).await?;
                Ok(nameless(revision))
            }
        }
    };
    let greeting = tokio::select! {
        biased;
        () = cancel.cancelled() => Err(StartFailure::CalledOff),
        greeting = ready => greeting,
    };
    match greeting {
        Ok(greeting) => {
            log.ready(greeting.boot_id);
            let startup = Startup {
                start,
                stages,
                sandbox,
                init: began.elapsed() - sandbox,
            };
            Ok(Ready {
                body,
                channels,
                server,
                log,
                startup,
                greeting,
            })
        }
        Err(failure) => {
            log.drain();
            Err(Failed {
                failure,
                body: Some(body),
            })
        }
    }
}

/// As many as the revision's concurrency.
fn channels(
    revision: &Revision,
    lanes: Vec<OwnedFd>,
    listener: Option<OwnedFd>,
) -> io::Result<(Vec<Channel>, Option<Server>)> {
    let mut server = None;
    let settings = &revision.settings;
    let channels: Vec<Channel> = match settings.runtime {
        Runtime::Python | Runtime::Node | Runtime::Stdio => lanes
            .into_iter()
            .map(|lane| Lane::new(lane).map(Channel::Frames))
            .collect::<io::Result<_>>()?,
        Runtime::Lambda => {
            let listener = listener.ok_or_else(|| io::Error::other("the launcher made no listener"))?;
            let desk = Arc::new(Desk::new(settings.concurrency));
            server = Some(Server::start(
                listener,
                desk.clone(),
                settings.concurrency,
                Identity::from(revision),
            )?);
            let turn = |_| Channel::Runtime(Turn::new(desk.clone()));
            (0..settings.concurrency).map(turn).collect()
        }
        Runtime::Http | Runtime::Fdk => {
            let door = match settings.runtime {
                Runtime::Fdk => Door::Path(FDK_SOCKET),
                _ => Door::Port(settings.http.port),
            };
            let shared = Arc::new(Shared::default());
            let link = |_| {
                Channel::Http(match (settings.runtime, settings.http.protocol) {
                    (Runtime::Http, Protocol::H2c) => Link::sharing(door.clone(), shared.clone()),
                    _ => Link::new(door.clone()),
                })
            };
            (0..settings.concurrency).map(link).collect()
        }
    };
    if channels.is_empty() {
        return Err(io::Error::other("the launcher made no lane"));
    }
    Ok((channels, server))
}

/// The greeting of a process that gives itself no boot id.
fn nameless(revision: &Revision) -> Greeting {
    Greeting {
        boot_id: BootId::from_bytes(uuid::Uuid::new_v4().into_bytes()),
        runtime: revision.settings.runtime.to_string(),
        init_us: 0,
    }
}

/// Waits until a runtime asks for its first invocation.
async fn asks(desk: &Desk, within: Duration, body: &dyn Confined) -> Result<(), StartFailure> {
    tokio::select! {
        // A runtime that says why it can't start ends right after that.
        biased;
        started = tokio::time::timeout(within, desk.started()) => match started {
            Ok(started) => started.map_err(StartFailure::Init),
            Err(_late) => Err(StartFailure::InitTimeout(within)),
        },
        ending = body.gone() => Err(StartFailure::Died(Fate::of(&ending, None))),
    }
}

async fn greet(
    lane: &mut Lane,
    load: Option<Load>,
    within: Duration,
    body: &dyn Confined,
) -> Result<Greeting, StartFailure> {
    let greeted = async {
        if let Some(load) = load {
            lane.load(load).await?;
        }
        lane.greeting().await
    };
    match tokio::time::timeout(within, greeted).await {
        Ok(Ok(InstanceFrame::Ready(greeting))) => Ok(greeting),
        Ok(Ok(InstanceFrame::InitError(failure))) => Err(StartFailure::Init(failure)),
        Ok(Ok(other)) => Err(StartFailure::Protocol(LaneError::Protocol(
            functions::wire::WireError::OutOfOrder(functions::wire::Frame::kind(&other)),
        ))),
        Ok(Err(LaneError::Closed)) => {
            let ending = tokio::time::timeout(PATIENCE_WITH_THE_DEAD, body.gone()).await;
            Err(StartFailure::Died(
                ending.map_or(Fate::StillRunning, |ending| Fate::of(&ending, None)),
            ))
        }
        Ok(Err(error)) => Err(StartFailure::Protocol(error)),
        Err(_) => Err(StartFailure::InitTimeout(within)),
    }
}
