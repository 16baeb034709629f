//! A reply of newline-delimited JSON, as a stream of its documents.
//!
//! The stream ends with the reply. A last line without its newline still counts: a server that stops between two
//! writes must not swallow a record.

use std::collections::VecDeque;
use std::pin::Pin;

use futures_util::{Stream, StreamExt, stream};
use serde_json::Value;

use super::error::ClientError;

/// The pieces of a body, boxed so that the state below has a name.
type Pieces<B> = Pin<Box<dyn Stream<Item = Result<B, ClientError>> + Send>>;

struct State<B> {
    pieces: Pieces<B>,
    rest: Vec<u8>,
    ready: VecDeque<Vec<u8>>,
    end: bool,
}

/// Cuts the pieces into lines and reads each as JSON; empty lines are left out.
pub(crate) fn documents<B: AsRef<[u8]> + 'static>(
    pieces: impl Stream<Item = Result<B, ClientError>> + Send + 'static,
) -> impl Stream<Item = Result<Value, ClientError>> {
    let state = State {
        pieces: Box::pin(pieces),
        rest: Vec::new(),
        ready: VecDeque::new(),
        end: false,
    };
    stream::try_unfold(state, async |mut state| {
        loop {
            if let Some(line) = state.ready.pop_front() {
                let document = serde_json::from_slice(&line).map_err(|cause| ClientError::NotJson { cause })?;
                return Ok(Some((document, state)));
            }
            if state.end {
                return Ok(None);
            }
            match state.pieces.next().await {
                Some(piece) => state.take(piece?.as_ref()),
                None => state.finish(),
            }
        }
    })
}

impl<B> State<B> {
    fn take(&mut self, piece: &[u8]) {
        for part in piece.split_inclusive(|byte| *byte == b'\n') {
            self.rest.extend_from_slice(part);
            if part.ends_with(b"\n") {
                self.line();
            }
        }
    }

    fn finish(&mut self) {
        self.line();
        self.end = true;
    }

    fn line(&mut self) {
        let line = std::mem::take(&mut self.rest);
        if !line.trim_ascii().is_empty() {
            self.ready.push_back(line);
        }
    }
}
