//! A call of a `stdio` program: its input and its output flow at once.

use std::time::Instant;

use functions::payload;
use functions::wire::{InstanceFrame, Invoke};
use warm_pool::{Lease, Poison};

use super::held::{Held, Leave};
use super::pump::{Flow, Turn, turn};
use super::upload::Upload;
use super::{Answer, Content, Failed};
use crate::deadline::Deadline;

/// Starts the program and sends it the body until the head of its reply comes; then both flow on in a [`Flow`]. Ends at the latest at the
/// deadline; then the instance is killed.
pub(crate) async fn call(
    lease: Lease,
    invoke: Invoke,
    mut upload: Upload,
    deadline: Deadline,
) -> Result<Answer, Failed> {
    let mut held = Held::begin(lease, &invoke.request_id, Leave::Cancel);
    if let Err(error) = held.lane().push_invoke(invoke) {
        return Err(held.fail(error).await);
    }
    let begun = Instant::now();
    let passed = deadline.passed();
    tokio::pin!(passed);
    let head = loop {
        let room = held.lane().queued_bytes() == 0;
        let turned = tokio::select! {
            turned = turn(held.lane()) => turned,
            piece = upload.next(), if room && upload.is_open() => match piece {
                Ok(piece) => upload.push(piece, held.lane()).map(|()| Turn::Sent),
                // Dropping the lease cancels the program.
                Err(error) => return Err(Failed::Body(error)),
            },
            () = &mut passed => {
                held.poison(Poison::Timeout);
                return Err(Failed::Timeout);
            }
        };
        match turned {
            Ok(Turn::Sent) => {}
            Ok(Turn::Frame(InstanceFrame::Head(head))) => break head,
            Ok(Turn::Frame(InstanceFrame::Error { failure, .. })) => return Err(held.function_failed(failure).await),
            Ok(Turn::Frame(_)) => {
                // A resident has no results, only streams.
                held.poison(Poison::Protocol);
                return Err(Failed::Lane(warm_pool::LaneError::Unfinished));
            }
            Err(error) => return Err(held.fail(error).await),
        }
    };
    let checked = payload::reply_head(&head)?;
    let handler = begun.elapsed();
    held.handled(handler);
    let flow = Flow::frames(held, deadline, Some(upload));
    Ok(Answer {
        boot_id: head.boot_id,
        handler,
        head: checked,
        bare: head.bare,
        length: None,
        body: Content::Flowing(Box::new(flow)),
    })
}
