//! Instances without a sandbox: each is a task that speaks the wire protocol and does what the path of a call says.

use std::collections::HashMap;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream as StdStream;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use bytes::{Bytes, BytesMut};
use functions::wire::{self, Decoder, End, Failure, Head, HostFrame, InstanceFrame, Invoke, Ready, ResultHead};
use functions::{BootId, Revision, Runtime};
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio::net::unix::pipe;
use tokio_util::sync::CancellationToken;
use warm_pool::launcher::{Confined, Door, Ending, Exit, Later, Launched, Launcher, Stages, Stream, Usage};
use warm_pool::{Purpose, StartFailure};

/// Starts puppets, and counts them.
#[derive(Default)]
pub(crate) struct Puppets {
    started: AtomicU64,
    cancelled: Arc<AtomicUsize>,
    down: AtomicBool,
    unreachable: Arc<Mutex<Option<io::ErrorKind>>>,
}

impl Puppets {
    /// Makes connections to those that are servers fail so, or succeed again.
    pub(crate) fn seem_unreachable(&self, how: Option<io::ErrorKind>) {
        *self.unreachable.lock().unwrap() = how;
    }

    /// Makes it seem that nothing can be started.
    pub(crate) fn seem_down(&self, down: bool) {
        self.down.store(down, Ordering::SeqCst);
    }

    /// How many were started.
    pub(crate) fn started(&self) -> u64 {
        self.started.load(Ordering::SeqCst)
    }

    /// How many calls were cancelled in an orderly way.
    pub(crate) fn cancelled(&self) -> usize {
        self.cancelled.load(Ordering::SeqCst)
    }
}

/// One puppet, as the pool holds it.
struct Strings {
    cut: CancellationToken,
    gone: CancellationToken,
    ending: Arc<Mutex<Ending>>,
    unreachable: Arc<Mutex<Option<io::ErrorKind>>>,
}

impl Confined for Strings {
    fn kill(&self) {
        self.cut.cancel();
    }

    fn gone(&self) -> Later<'_, Ending> {
        Box::pin(async {
            self.gone.cancelled().await;
            *self.ending.lock().unwrap()
        })
    }

    fn usage(&self) -> Usage {
        Usage::default()
    }

    /// To a server that answers each request, closes after it, and reads no body.
    fn connect<'a>(&'a self, _door: &'a Door) -> Later<'a, io::Result<Box<dyn Stream>>> {
        let unreachable = *self.unreachable.lock().unwrap();
        Box::pin(async move {
            if let Some(how) = unreachable {
                return Err(how.into());
            }
            let (ours, mut theirs) = tokio::io::duplex(1024);
            tokio::spawn(async move {
                let mut head = Vec::new();
                while !head.windows(4).any(|end| end == b"\r\n\r\n") {
                    if !theirs.read_buf(&mut head).await.is_ok_and(|bytes| bytes > 0) {
                        return;
                    }
                }
                let reply = b"HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 6\r\n\r\nserved";
                let _read = theirs.write_all(reply).await;
            });
            Ok(Box::new(ours) as Box<dyn Stream>)
        })
    }
}

impl Drop for Strings {
    fn drop(&mut self) {
        self.cut.cancel();
    }
}

impl Launcher for Puppets {
    fn is_up(&self) -> bool {
        !self.down.load(Ordering::SeqCst)
    }

    fn launch<'a>(&'a self, revision: &'a Revision, _purpose: Purpose) -> Later<'a, Result<Launched, StartFailure>> {
        Box::pin(async {
            let number = self.started.fetch_add(1, Ordering::SeqCst) + 1;
            let (host, instance) = StdStream::pair().unwrap();
            let (print, log) = pipe::pipe().unwrap();
            for end in [&host, &instance] {
                end.set_nonblocking(true).unwrap();
            }
            let ending = Ending {
                exit: Exit::Code(0),
                oom_kills: 0,
                pids_hits: 0,
            };
            let strings = Strings {
                cut: CancellationToken::new(),
                gone: CancellationToken::new(),
                ending: Arc::new(Mutex::new(ending)),
                unreachable: self.unreachable.clone(),
            };
            let mut boot = [0; 16];
            boot[..8].copy_from_slice(&number.to_be_bytes());
            let puppet = Puppet {
                boot_id: BootId::from_bytes(boot),
                lane: UnixStream::from_std(instance).unwrap(),
                print,
                ending: strings.ending.clone(),
                cancelled: self.cancelled.clone(),
                settings: revision.settings.env.clone().into_iter().collect(),
                stdio: revision.settings.runtime == Runtime::Stdio,
            };
            let (cut, gone) = (strings.cut.clone(), strings.gone.clone());
            let is_server = revision.settings.runtime == Runtime::Http;
            tokio::spawn(async move {
                if is_server {
                    // It has no lane that could close.
                    cut.cancelled().await;
                } else {
                    let _ = cut.run_until_cancelled(puppet.play()).await;
                }
                gone.cancel();
            });
            Ok(Launched {
                body: Box::new(strings),
                lanes: vec![OwnedFd::from(host)],
                listener: None,
                log: log.into_nonblocking_fd().unwrap(),
                start: warm_pool::Start::Cold,
                load: None,
                stages: Stages::default(),
            })
        })
    }
}

struct Puppet {
    boot_id: BootId,
    lane: UnixStream,
    print: pipe::Sender,
    ending: Arc<Mutex<Ending>>,
    cancelled: Arc<AtomicUsize>,
    settings: HashMap<String, String>,
    stdio: bool,
}

/// The lane is closed, by either side.
struct Over;

impl Puppet {
    async fn play(mut self) -> Result<(), Over> {
        if let Some(message) = self.settings.get("FAIL_INIT").cloned() {
            let failure = Failure {
                error_message: message,
                error_type: "ImportError".into(),
                stack_trace: vec!["line 1".into()],
            };
            self.say(0, InstanceFrame::InitError(failure)).await?;
            return self.end(Exit::Code(1), 0);
        }
        let ready = Ready {
            boot_id: self.boot_id,
            runtime: "puppet".into(),
            init_us: 1,
        };
        self.say(0, InstanceFrame::Ready(ready)).await?;
        let mut decoder = Decoder::<HostFrame>::new();
        loop {
            let (seq, frame) = self.hear(&mut decoder).await?;
            // What is left of a call that was answered early is skipped.
            let HostFrame::Invoke(invoke) = frame else { continue };
            if self.stdio {
                self.program(&mut decoder, seq, invoke).await?;
            } else {
                self.handler(&mut decoder, seq, invoke).await?;
            }
        }
    }

    async fn handler(&mut self, decoder: &mut Decoder<HostFrame>, seq: u32, invoke: Invoke) -> Result<(), Over> {
        let mut event = BytesMut::new();
        while let HostFrame::Body(piece) = self.hear(decoder).await?.1 {
            event.extend_from_slice(&piece);
        }
        let event: Value = serde_json::from_slice(&event).unwrap();
        let result = match event["rawPath"].as_str().unwrap() {
            "/event" => event.to_string(),
            "/hello" => r#""hello""#.to_owned(),
            "/headers" => serde_json::json!({
                "statusCode": 201, "body": "made", "cookies": ["a=1", "b=2"],
                "headers": { "Content-Type": "text/plain", "x-own": "1", "x-fn-start": "forged", "server-timing": "forged",
                             "connection": "x-private", "x-private": "1", "content-length": "999", "transfer-encoding": "chunked" },
            })
            .to_string(),
            "/204" => r#"{"statusCode": 204, "body": "not to be seen"}"#.to_owned(),
            "/status" => r#"{"statusCode": 101}"#.to_owned(),
            "/crlf" => r#"{"statusCode": 200, "headers": {"x": "a\r\nx-evil: 1"}}"#.to_owned(),
            "/many-headers" => {
                let headers: serde_json::Map<_, _> = (0..200).map(|i| (format!("x-{i}"), Value::from("v"))).collect();
                serde_json::json!({ "statusCode": 200, "headers": headers }).to_string()
            }
            "/not-json" => "{nope".to_owned(),
            "/huge" => format!("\"{}\"", "x".repeat(7 * 1024 * 1024)),
            "/print" => {
                self.print.write_all(b"printed\nand more\n").await.map_err(|_| Over)?;
                "1".to_owned()
            }
            "/error" => return self.say(seq, self.failure("ValueError", "secret words")).await,
            "/garbage" => return self.lane.write_all(b"this is no frame at all").await.map_err(|_| Over),
            "/exit" => return self.end(Exit::Code(3), 0),
            "/oom" => return self.end(Exit::Signal(9), 1),
            "/hang" => std::future::pending().await,
            "/stream" => return self.stream(seq, &["one ", "two ", "three"], None).await,
            "/stream-breaks" => return self.stream(seq, &["one "], Some(self.failure("ValueError", "late"))).await,
            "/stream-hangs" => {
                self.say(seq, self.head()).await?;
                self.say(seq, InstanceFrame::Body(Bytes::from_static(b"one "))).await?;
                std::future::pending().await
            }
            other => panic!("{other} of {}", invoke.request_id),
        };
        self.say(seq, InstanceFrame::Result(ResultHead { boot_id: self.boot_id }))
            .await?;
        for piece in result.as_bytes().chunks(1 << 20) {
            self.say(seq, InstanceFrame::Body(Bytes::copy_from_slice(piece)))
                .await?;
        }
        self.say(seq, InstanceFrame::End(End { handler_us: 1500 })).await
    }

    /// A program that answers at once and gives back what it reads, in pieces.
    async fn program(&mut self, decoder: &mut Decoder<HostFrame>, seq: u32, invoke: Invoke) -> Result<(), Over> {
        let path = invoke
            .env
            .iter()
            .find(|(name, _)| name == "Http_Path")
            .map(|(_, value)| value.clone())
            .unwrap();
        self.say(seq, self.head()).await?;
        if path == "/early" {
            return self.say(seq, InstanceFrame::End(End { handler_us: 1 })).await;
        }
        loop {
            let frame = match self.hear(decoder).await?.1 {
                HostFrame::Body(piece) => InstanceFrame::Body(piece),
                HostFrame::End if path == "/hang" => continue,
                HostFrame::End => InstanceFrame::End(End { handler_us: 1 }),
                HostFrame::Cancel => {
                    self.cancelled.fetch_add(1, Ordering::SeqCst);
                    return self.say(seq, self.failure("Runtime.Cancelled", "cancelled")).await;
                }
                HostFrame::Invoke(_) => panic!("two calls on one lane"),
                HostFrame::Load(_) => panic!("nothing of it is parked"),
            };
            let ended = matches!(frame, InstanceFrame::End(_));
            self.say(seq, frame).await?;
            if ended {
                return Ok(());
            }
        }
    }

    async fn stream(&mut self, seq: u32, pieces: &[&'static str], failure: Option<InstanceFrame>) -> Result<(), Over> {
        self.say(seq, self.head()).await?;
        for piece in pieces {
            self.say(seq, InstanceFrame::Body(Bytes::from_static(piece.as_bytes())))
                .await?;
        }
        self.say(seq, failure.unwrap_or(InstanceFrame::End(End { handler_us: 1 })))
            .await
    }

    fn head(&self) -> InstanceFrame {
        let headers = vec![
            ("content-type".to_owned(), "text/plain".to_owned()),
            ("content-length".to_owned(), "1".to_owned()),
        ];
        InstanceFrame::Head(Head {
            boot_id: self.boot_id,
            status: 200,
            headers,
            cookies: vec!["c=3".to_owned()],
            bare: false,
        })
    }

    fn failure(&self, kind: &str, message: &str) -> InstanceFrame {
        let failure = Failure {
            error_message: message.into(),
            error_type: kind.into(),
            stack_trace: vec!["line 7".into()],
        };
        InstanceFrame::Error {
            boot_id: self.boot_id,
            failure,
        }
    }

    /// The process ends.
    fn end(&self, exit: Exit, oom_kills: u64) -> Result<(), Over> {
        *self.ending.lock().unwrap() = Ending {
            exit,
            oom_kills,
            pids_hits: 0,
        };
        Err(Over)
    }

    async fn say(&mut self, seq: u32, frame: InstanceFrame) -> Result<(), Over> {
        let mut bytes = BytesMut::new();
        wire::encode(&frame, seq, &mut bytes).unwrap();
        self.lane.write_all(&bytes).await.map_err(|_| Over)
    }

    async fn hear(&mut self, decoder: &mut Decoder<HostFrame>) -> Result<(u32, HostFrame), Over> {
        loop {
            if let Some(frame) = decoder.next_frame().unwrap() {
                return Ok(frame);
            }
            if self.lane.read_buf(decoder.buffer()).await.map_err(|_| Over)? == 0 {
                return Err(Over);
            }
        }
    }
}
