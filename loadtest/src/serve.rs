//! A server of the load test's own: `fn serve` in a directory that nobody else uses, on a free port.
//!
//! It is stopped with [`OwnServer::stop`]; a drop kills it. The directory goes with it.

use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use http::StatusCode;

use crate::admin::Admin;
use crate::child::{ChildError, Env, Service};
use crate::client::Target;
use crate::once;
use crate::pacer::Pacer;

const TO_START: Duration = Duration::from_secs(60);
const TO_STOP: Duration = Duration::from_secs(30);
/// How exactly the start is timed.
const LOOK_EVERY: Duration = Duration::from_millis(2);

/// Why there is no server.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ServeError {
    /// There is no place for it.
    #[error("no directory for a server of our own: {0}")]
    Place(#[from] std::io::Error),
    /// It did not start, or ended.
    #[error("a server of our own: {0}")]
    Child(ChildError),
    /// It runs and is not ready.
    #[error("a server of our own was not ready within {TO_START:?}")]
    Silent,
}

impl From<ChildError> for ServeError {
    fn from(error: ChildError) -> Self {
        Self::Child(error)
    }
}

/// One that is ready.
#[derive(Debug)]
pub(crate) struct OwnServer {
    service: Service,
    target: Target,
    // Dropped last: the process has its files there.
    place: tempfile::TempDir,
}

impl OwnServer {
    /// Copies `program` beside its state, because the user that the server becomes may not be able to read it where it is,
    /// and starts it.
    pub(crate) async fn start(program: &Path) -> Result<Self, ServeError> {
        let place = tempfile::Builder::new().prefix("loadtest-server-").tempdir()?;
        std::fs::set_permissions(place.path(), std::fs::Permissions::from_mode(0o755))?;
        let copy = place.path().join("fn");
        std::fs::copy(program, &copy)?;
        std::fs::set_permissions(&copy, std::fs::Permissions::from_mode(0o755))?;
        let (service, target, _took) = ready(place.path()).await?;
        Ok(Self { service, target, place })
    }

    /// Stops it and starts it again on the same state; also says how long it took from its exec until it was ready.
    pub(crate) async fn restart(self) -> Result<(Self, Duration), ServeError> {
        let place = self.place;
        self.service.stop(TO_STOP).await;
        let (service, target, took) = ready(place.path()).await?;
        Ok((Self { service, target, place }, took))
    }

    /// Lets it drain and end.
    pub(crate) async fn stop(self) {
        self.service.stop(TO_STOP).await;
    }

    /// Where it is called.
    pub(crate) fn target(&self) -> &Target {
        &self.target
    }

    /// Its admin socket.
    pub(crate) fn admin_socket(&self) -> PathBuf {
        admin_socket(self.place.path())
    }

    /// A client of that.
    pub(crate) fn admin(&self) -> Admin {
        Admin::new(&self.admin_socket())
    }

    /// Its program, which is also the command to ask it with.
    pub(crate) fn program(&self) -> PathBuf {
        self.place.path().join("fn")
    }
}

fn admin_socket(place: &Path) -> PathBuf {
    place.join("state/run/admin.sock")
}

async fn ready(place: &Path) -> Result<(Service, Target, Duration), ServeError> {
    let state = place.join("state");
    let args = [
        Path::new("serve"),
        "--listen".as_ref(),
        "127.0.0.1:0".as_ref(),
        "--state-dir".as_ref(),
        &state,
        // An admin socket in the environment is that of another server.
        "--admin-socket".as_ref(),
        &admin_socket(place),
    ];
    let began = Instant::now();
    let mut service = Service::start(&place.join("fn"), &args, Env::Inherited, &place.join("log"))?;
    let admin = Admin::new(&admin_socket(place));
    let mut pacer = Pacer::new()?;
    let mut target: Option<Target> = None;
    loop {
        if target.is_none() {
            // Not there yet, or an address that is none of ours: both end with the time limit.
            target = admin.url().await.ok().and_then(|url| url.parse().ok());
        }
        if let Some(known) = &target
            && let Ok((StatusCode::OK, _)) = once::get(known, "/readyz").await
        {
            return Ok((service, known.clone(), began.elapsed()));
        }
        if let Some(ended) = service.ended() {
            return Err(ended.into());
        }
        if began.elapsed() > TO_START {
            return Err(ServeError::Silent);
        }
        pacer.until(Instant::now() + LOOK_EVERY).await?;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_program_that_ends_is_no_server_and_its_last_words_are_kept() {
        let dir = tempfile::tempdir().unwrap();
        let program = dir.path().join("program");
        std::fs::write(&program, "#!/bin/sh\necho \"no sandboxes for $1\" >&2\nexit 3\n").unwrap();
        let text = loop {
            // A child that another test started meanwhile may hold the copy open for writing until it execs.
            match OwnServer::start(&program).await.unwrap_err() {
                ServeError::Child(ChildError::Start { source, .. })
                    if source.kind() == std::io::ErrorKind::ExecutableFileBusy => {}
                other => break other.to_string(),
            }
        };
        assert!(text.contains("no sandboxes for serve"), "{text}");
    }
}
