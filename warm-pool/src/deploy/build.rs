//! Runs a build (see `functions::runtimes::build`): one invocation of the build revision in an ordinary sandbox, whose reply
//! is the archive of what was built.

use std::time::{Instant, SystemTime, UNIX_EPOCH};

use functions::Revision;
use functions::wire::{Failure, InstanceFrame, Invoke};
use tokio::io::{AsyncWrite, AsyncWriteExt};
use tokio_util::sync::CancellationToken;

use super::check::bury;
use super::kept::Kept;
use crate::channel::Channel;
use crate::driver::bring_up::{Failed, bring_up};
use crate::driver::launcher::Launcher;
use crate::fate::StartFailure;
use crate::lane::{Lane, LaneError};
use crate::start::Purpose;

/// A build that did not come to its end.
#[derive(Debug, thiserror::Error)]
pub enum BuildError {
    /// Its sandbox could not be started.
    #[error("the build's sandbox did not start")]
    Start(#[source] StartFailure),
    /// A script failed.
    #[error("the build failed: {}", failure.error_message)]
    Script {
        /// How its process ended.
        failure: Failure,
        /// What it printed, the last 200 lines.
        output: Vec<String>,
    },
    /// It took longer than its time, or broke off: out of memory, most likely.
    #[error("the build broke off")]
    BrokeOff {
        /// What was seen of it, if not its time running out.
        #[source]
        cause: Option<LaneError>,
        /// What it printed, the last 200 lines.
        output: Vec<String>,
    },
    /// The archive grew beyond what a bundle may be.
    #[error("the build made more than {0} bytes")]
    TooLarge(u64),
    /// The archive could not be written.
    #[error("the archive can't be written")]
    Write(#[from] std::io::Error),
}

impl BuildError {
    /// What the build printed.
    pub fn output(&self) -> &[String] {
        match self {
            Self::Script { output, .. } | Self::BrokeOff { output, .. } => output,
            Self::Start(_) | Self::TooLarge(_) | Self::Write(_) => &[],
        }
    }
}

/// Runs `revision`, a build, and writes its archive of at most `limit` bytes to `into`.
///
/// Dropping the future kills the build.
pub(crate) async fn build(
    launcher: &dyn Launcher,
    revision: &Revision,
    limit: u64,
    into: &mut (impl AsyncWrite + Unpin),
) -> Result<(), BuildError> {
    let (output, kept) = Kept::output(revision);
    let mut ready = match bring_up(launcher, revision, Purpose::Check, output, &CancellationToken::new()).await {
        Ok(ready) => ready,
        Err(Failed { failure, body }) => {
            if let Some(body) = body {
                bury(body.as_ref()).await;
            }
            return Err(BuildError::Start(failure));
        }
    };
    let time = revision.settings.timeout.duration();
    let Some(Channel::Frames(lane)) = ready.channels.first_mut() else {
        unreachable!("a build is of the runtime stdio, which speaks frames");
    };
    let outcome = tokio::time::timeout(time, exchange(lane, Instant::now() + time, limit, into)).await;
    bury(ready.body.as_ref()).await;
    ready.log.drain();
    match outcome {
        Ok(Ok(None)) => Ok(()),
        Ok(Ok(Some(failure))) => Err(BuildError::Script {
            failure,
            output: kept.take(),
        }),
        Ok(Err(Broken::Lane(cause))) => Err(BuildError::BrokeOff {
            cause: Some(cause),
            output: kept.take(),
        }),
        Ok(Err(Broken::TooLarge)) => Err(BuildError::TooLarge(limit)),
        Ok(Err(Broken::Write(error))) => Err(error.into()),
        Err(_late) => Err(BuildError::BrokeOff {
            cause: None,
            output: kept.take(),
        }),
    }
}

enum Broken {
    Lane(LaneError),
    TooLarge,
    Write(std::io::Error),
}

impl From<LaneError> for Broken {
    fn from(error: LaneError) -> Self {
        Self::Lane(error)
    }
}

/// The failure of the script, if it failed.
async fn exchange(
    lane: &mut Lane,
    deadline: Instant,
    limit: u64,
    into: &mut (impl AsyncWrite + Unpin),
) -> Result<Option<Failure>, Broken> {
    let left = deadline.saturating_duration_since(Instant::now());
    let at = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default() + left;
    lane.begin();
    lane.push_invoke(Invoke {
        request_id: "build".into(),
        deadline_ms: u64::try_from(at.as_millis()).unwrap_or(u64::MAX),
        trace_id: None,
        arn: String::new(),
        client_context: None,
        repeated: Default::default(),
        base_path: String::new(),
        env: Vec::new(),
    })?;
    lane.push_end()?;
    let mut written = 0;
    loop {
        match lane.next().await? {
            InstanceFrame::Body(bytes) => {
                written += bytes.len() as u64;
                if written > limit {
                    return Err(Broken::TooLarge);
                }
                into.write_all(&bytes).await.map_err(Broken::Write)?;
            }
            InstanceFrame::Error { failure, .. } => return Ok(Some(failure)),
            InstanceFrame::End(_) => {
                into.flush().await.map_err(Broken::Write)?;
                return Ok(None);
            }
            _ => {}
        }
    }
}
