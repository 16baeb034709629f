//! Waits until a server inside a sandbox accepts connections. A process that runs is no server yet.

use std::io;
use std::time::Duration;

use super::launcher::{Confined, Door};
use crate::fate::{Fate, StartFailure};

/// The first pause between two tries. Each one costs the sandbox a socket.
const FIRST_PAUSE: Duration = Duration::from_millis(1);
/// The longest.
const LONGEST_PAUSE: Duration = Duration::from_millis(50);

/// Tries until it is connected to, the process ends, or the time is over. The connection is closed at once: a server that has
/// one worker would wait for a request on it.
pub(super) async fn listens(body: &dyn Confined, door: &Door, within: Duration) -> Result<(), StartFailure> {
    let tries = async {
        let mut pause = FIRST_PAUSE;
        loop {
            match body.connect(door).await {
                Ok(_stream) => return Ok(()),
                Err(error) if may_come(&error) => {}
                Err(error) => return Err(StartFailure::Sandbox(error.into())),
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 3 / 2).min(LONGEST_PAUSE);
        }
    };
    tokio::select! {
        // Who has ended can't be connected to either: the end is the cause.
        biased;
        ending = body.gone() => Err(StartFailure::Died(Fate::of(&ending, None))),
        tried = tokio::time::timeout(within, tries) => tried.unwrap_or_else(|_late| {
            Err(StartFailure::NotListening { door: door.clone(), within })
        }),
    }
}

/// Whether an error says that the server is not there yet, and not that it never will be. What has ended says so itself.
fn may_come(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionRefused
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::NotFound
            | io::ErrorKind::WouldBlock
            | io::ErrorKind::BrokenPipe
    )
}
