//! Log taps over real pipes; the test is the function that prints.

use std::io::Write;
use std::os::fd::AsFd;

use nix::fcntl::OFlag;
use prometheus::IntCounter;
use tokio::sync::mpsc;

use super::*;

type Line = (Option<String>, String);

struct Printed(mpsc::Sender<Line>);

impl LogSink for Printed {
    fn record(&self, record: &LogRecord<'_>) {
        let line = (record.request_id.map(str::to_owned), record.text.to_owned());
        self.0.try_send(line).expect("the test's channel holds every line");
    }
}

struct Rig {
    tap: LogTap,
    printer: std::fs::File,
    lines: mpsc::Receiver<Line>,
    dropped: IntCounter,
}

fn rig(attributes: bool) -> Rig {
    let (read, write) = nix::unistd::pipe2(OFlag::O_CLOEXEC).unwrap();
    fcntl(read.as_fd(), FcntlArg::F_SETFL(OFlag::O_NONBLOCK)).unwrap();
    let (sender, lines) = mpsc::channel(100_000);
    let dropped = IntCounter::new("dropped", "test").unwrap();
    let source = Source {
        function: "hello".parse().unwrap(),
        revision: RevisionNumber::FIRST,
        instance: InstanceId(0),
        attributes,
    };
    let tap = LogTap::open(read, source, Arc::new(Printed(sender)), dropped.clone()).unwrap();
    Rig {
        tap,
        printer: write.into(),
        lines,
        dropped,
    }
}

fn all(lines: &mut mpsc::Receiver<Line>) -> Vec<Line> {
    std::iter::from_fn(|| lines.try_recv().ok()).collect()
}

fn of(request: &str, text: &str) -> Line {
    (Some(request.into()), text.into())
}

// The runtime of these tests has one thread, which runs nothing else between two awaits: what is seen without awaiting was read by
// the call itself.

#[tokio::test]
async fn the_end_of_an_invocation_takes_everything_that_it_printed() {
    let mut rig = rig(true);
    rig.printer.write_all(b"loading\n").unwrap();
    rig.tap.ready(BootId::from_bytes([1; 16]));
    rig.tap.begin("one");
    rig.printer.write_all(b"hello\nno newline").unwrap();
    rig.tap.end();
    rig.tap.begin("two");
    rig.printer.write_all(b"second\n").unwrap();
    rig.tap.end();
    rig.printer.write_all(b"between\n").unwrap();
    rig.tap.drain();
    let nobody = |text: &str| (None, text.to_owned());
    assert_eq!(
        all(&mut rig.lines),
        [
            nobody("loading"),
            of("one", "hello"),
            of("one", "no newline"),
            of("two", "second"),
            nobody("between")
        ]
    );
}

#[tokio::test]
async fn an_instance_that_runs_several_at_once_names_nobody() {
    let mut rig = rig(false);
    rig.tap.begin("one");
    rig.printer.write_all(b"hello\n").unwrap();
    rig.tap.end();
    assert_eq!(all(&mut rig.lines), [(None, "hello".to_owned())]);
}

#[tokio::test]
async fn a_flood_is_read_cut_and_counted() {
    let mut rig = rig(true);
    rig.tap.begin("flood");
    let total = 3u64 << 20;
    let mut printer = rig.printer.try_clone().unwrap();
    // A pipe holds far less than that: the writer ends only because somebody reads.
    let writer = tokio::task::spawn_blocking(move || {
        for _ in 0..total / 1024 {
            printer.write_all(&[[b'x'; 1023].as_slice(), b"\n"].concat()).unwrap();
        }
    });
    writer.await.unwrap();
    rig.tap.end();
    let lines = all(&mut rig.lines);
    assert_eq!(lines.len(), 1025);
    assert_eq!(lines.last(), Some(&of("flood", "[truncated]")));
    assert_eq!(rig.dropped.get(), total - INVOCATION_LIMIT);

    rig.tap.begin("next");
    rig.printer.write_all(b"fresh\n").unwrap();
    rig.tap.end();
    assert_eq!(
        all(&mut rig.lines),
        [of("next", "fresh")],
        "each invocation has a limit of its own"
    );
}

#[tokio::test]
async fn a_drain_ends_although_somebody_goes_on_printing() {
    let mut rig = rig(true);
    let mut printer = rig.printer.try_clone().unwrap();
    let stop = Arc::new(std::sync::atomic::AtomicBool::new(false));
    let stopped = stop.clone();
    let daemon = std::thread::spawn(move || {
        while !stopped.load(std::sync::atomic::Ordering::Relaxed) {
            printer.write_all(&[b'y'; 4096]).unwrap();
        }
    });
    rig.tap.begin("one");
    rig.tap.end();
    stop.store(true, std::sync::atomic::Ordering::Relaxed);
    while !daemon.is_finished() {
        rig.tap.drain();
    }
    daemon.join().unwrap();
    assert!(all(&mut rig.lines).len() < 100_000);
}

#[tokio::test]
async fn the_task_reports_what_comes_between_and_ends_with_the_last_writer() {
    let mut rig = rig(true);
    rig.printer.write_all(b"daemon speaks\nlast words").unwrap();
    assert_eq!(rig.lines.recv().await, Some((None, "daemon speaks".to_owned())));
    drop(rig.printer);
    assert_eq!(rig.lines.recv().await, Some((None, "last words".to_owned())));
    drop(rig.tap);
    assert_eq!(rig.lines.recv().await, None, "the task has let go of the sink");
}
