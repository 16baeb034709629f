//! The Runtime API in memory, for the crate `fuzz`: what a runtime says comes from a slice of bytes.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::serve::{Served, connection};
use super::{Answer, Desk, Identity, Invocation};

/// More than any input or reply here has.
const ROOM: usize = 4 * 1024 * 1024;
/// How often the server may go on before the runtime closes its side.
const TURNS: usize = 64;
/// Nothing waits this long unless it hangs.
const PATIENCE: Duration = Duration::from_secs(20);

/// Serves a connection on which these bytes come, then its end, for an instance with two invocations to give. Returns what was written.
///
/// # Panics
/// When the connection does not end.
pub async fn runtime_api(bytes: &[u8]) -> Vec<u8> {
    let desk = Arc::new(Desk::new(1));
    for id in ["first", "second"] {
        let answered = desk.call(Invocation {
            id: id.to_owned(),
            deadline_ms: 1,
            arn: "arn".to_owned(),
            trace_id: Some("Root=1".to_owned()),
            client_context: Some("{\"a\":\"\u{e9}\"}".to_owned()),
            event: Bytes::from_static(b"{}"),
        });
        // As the exchange of a lease does: a streamed answer is read while it comes.
        tokio::spawn(async move {
            if let Ok(Answer::Stream { mut pieces, .. }) = answered.await {
                while pieces.recv().await.is_some() {}
            }
        });
    }
    let served = Served {
        desk,
        identity: Identity::nobodys(),
    };
    let (mut runtime, host) = tokio::io::duplex(ROOM);
    let serving = tokio::spawn(connection(host, Arc::new(served)));
    let spoken = async {
        // A server that has heard enough closes: the rest is not for anybody.
        let _unread = runtime.write_all(bytes).await;
        for _ in 0..TURNS {
            tokio::task::yield_now().await;
        }
        let _closed = runtime.shutdown().await;
        let mut written = Vec::new();
        let _broken = runtime.read_to_end(&mut written).await;
        serving.await.expect("serving a connection does not panic");
        written
    };
    tokio::time::timeout(PATIENCE, spoken)
        .await
        .expect("a connection that was closed ends")
}
