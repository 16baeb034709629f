//! Waits until a server inside a sandbox accepts connections. A process that runs is no server yet.
//!
//! ```text
//!  try to connect --connected--> ready
//!    |       ^
//!    refused +-- something listens, or the pause is over
//!    v       |
//!  wait -----+
//! ```
//!
//! The first try finds a program that was quick. From then on it is heard when something listens: then is tried at once, and again after
//! pauses that grow, as the call of listen may not be made yet, or may be of another socket. Before there was such news a try is made
//! once a second, in case. Where nobody hears of it, the first news is that, and the pauses are the same.

use std::io;
use std::time::Duration;

use super::launcher::{Confined, Door};
use crate::fate::{Fate, StartFailure};

/// The first pause between two tries. Each one costs the sandbox a socket.
const FIRST_PAUSE: Duration = Duration::from_millis(1);
/// The longest.
const LONGEST_PAUSE: Duration = Duration::from_millis(50);
/// The pause before a try for which there is no reason.
const WITHOUT_NEWS: Duration = Duration::from_secs(1);
/// So often news is waited for. A program that listens to more sockets than this, or in a loop, has tries at the longest pause.
const MOST_NEWS: u32 = 16;

/// Tries until it is connected to, the process ends, or the time is over. The connection is closed at once: a server that has
/// one worker would wait for a request on it.
pub(super) async fn listens(body: &dyn Confined, door: &Door, within: Duration) -> Result<(), StartFailure> {
    let tries = async {
        let mut pause = WITHOUT_NEWS;
        let mut news_left = MOST_NEWS;
        let mut news = body.listens();
        loop {
            match body.connect(door).await {
                Ok(_stream) => return Ok(()),
                Err(error) if may_come(&error) => {}
                Err(error) => return Err(StartFailure::Sandbox(error.into())),
            }
            tokio::select! {
                biased;
                told = &mut news, if news_left > 0 => {
                    news_left = if told.is_ok() { news_left - 1 } else { 0 };
                    if news_left > 0 {
                        news = body.listens();
                    }
                    pause = FIRST_PAUSE;
                }
                () = tokio::time::sleep(pause) => {
                    pause = (pause * 3 / 2).min(LONGEST_PAUSE.max(pause));
                }
            }
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

#[cfg(test)]
mod tests;
