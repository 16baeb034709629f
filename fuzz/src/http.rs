//! HTTP from both sides that are not trusted: callers at the edge, and runtimes at the Runtime API.

use std::cell::OnceCell;

use http::Request;
use http::request::Parts;
use jiff::Timestamp;
use tokio::runtime::Runtime;

/// Longer inputs say nothing that shorter ones don't.
const LONGEST: usize = 256 * 1024;

/// A connection to the port for callers.
pub(crate) fn edge(input: &[u8]) {
    let written = on_runtime(gateway::fuzzing::edge(&input[..input.len().min(LONGEST)]));
    assert!(
        written.is_empty() || written.starts_with(b"HTTP/1."),
        "{}",
        written.escape_ascii()
    );
}

/// A connection to the Runtime API.
pub(crate) fn runtime_api(input: &[u8]) {
    let input = &input[..input.len().min(LONGEST)];
    let written = on_runtime(warm_pool::runtime_api::fuzzing::runtime_api(input));
    assert!(
        written.is_empty() || written.starts_with(b"HTTP/1."),
        "{}",
        written.escape_ascii()
    );
}

/// The head of a request to Lambda's API, line by line, and its body behind an empty line.
pub(crate) fn lambda_headers(input: &[u8]) {
    if let Some((head, body)) = request(input) {
        let now = Timestamp::from_second(1_440_938_160).expect("2015-08-30T12:36:00Z is a time");
        gateway::lambda::fuzzing::request(&head, body, now);
    }
}

fn request(input: &[u8]) -> Option<(Parts, &[u8])> {
    let end = input.windows(2).position(|two| two == b"\n\n").unwrap_or(input.len());
    let body = input.get(end + 2..).unwrap_or_default();
    let mut lines = input[..end].split(|byte| *byte == b'\n');
    let first = lines.next()?;
    let gap = first.iter().position(|byte| *byte == b' ')?;
    let mut request = Request::builder().method(&first[..gap]).uri(&first[gap + 1..]);
    for line in lines {
        let colon = line.iter().position(|byte| *byte == b':')?;
        request = request.header(&line[..colon], line[colon + 1..].trim_ascii());
    }
    Some((request.body(()).ok()?.into_parts().0, body))
}

/// Runs it on one thread, so that the same input does the same each time.
fn on_runtime<T>(future: impl Future<Output = T>) -> T {
    thread_local! {
        static RUNTIME: OnceCell<Runtime> = const { OnceCell::new() };
    }
    RUNTIME.with(|runtime| {
        runtime
            .get_or_init(|| {
                tokio::runtime::Builder::new_current_thread()
                    .enable_time()
                    .build()
                    .expect("a runtime without I/O is made")
            })
            .block_on(future)
    })
}
