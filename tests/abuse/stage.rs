//! A server with the probe deployed, what the host has there to be reached, and the calls.

use std::io::Write;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixListener};
use std::path::{Path, PathBuf};

use serde_json::json;
use tests::{Place, Server, Source, poll};

use crate::run::Setting;
use crate::table::Case;
use crate::verdict::Attempt;

/// The programs that the suite needs.
#[derive(Debug)]
pub(crate) struct Programs {
    /// `fn`, as it is given to people.
    pub(crate) plain: PathBuf,
    /// The same, built with the cargo feature `abuse-switches`.
    pub(crate) switches: PathBuf,
    /// The probe.
    pub(crate) probe: PathBuf,
}

impl Programs {
    /// A binary for anybody knows nothing of switches, and the other one is of no use without them.
    pub(crate) async fn are_what_they_are_taken_for(&self) -> Result<(), String> {
        // No layer has this name, so neither starts a server.
        let arguments = ["serve", "--abuse-off", "none-of-them"];
        for (program, says) in [
            (&self.plain, "unexpected argument"),
            (&self.switches, "there is no layer"),
        ] {
            let said = tests::program::run(program, arguments).await;
            if !said.stderr.contains(says) {
                return Err(format!(
                    "{} was to refuse {arguments:?} with `{says}`, and said:\n{}",
                    program.display(),
                    said.all()
                ));
            }
        }
        Ok(())
    }
}

/// The function whose attempts are looked at.
const PROBE: &str = "probe";
/// Another function, which was there before.
const NEIGHBOUR: &str = "neighbour";
/// Small enough to be reached soon, and what the attempts on limits are made for (see the probe's `resources`).
const SETTINGS: &[&str] = &[
    "--memory",
    "96MiB",
    "--timeout",
    "60s",
    "--set",
    "pids=48",
    "--set",
    "tmp=16MiB",
];

/// Runs the probe, for every call, in an instance that was forked.
const HANDLER: &str = "import base64, subprocess


def handler(event, context):
    body = event['body']
    asked = base64.b64decode(body) if event['isBase64Encoded'] else body.encode()
    done = subprocess.run(['/function/probe'], input=asked, stdout=subprocess.PIPE, check=True)
    return {'statusCode': 200, 'body': done.stdout.decode()}
";

/// All of it; the drop takes it away.
pub(crate) struct Stage {
    server: Server,
    forked: bool,
    abstract_socket: String,
    file: PathBuf,
    _listening: UnixListener,
}

impl Stage {
    /// Starts a server and deploys.
    pub(crate) async fn set(programs: &Programs, setting: &Setting) -> Self {
        let place = Place::new();
        let file = place.ours("of-the-host");
        let mut written = std::fs::File::create(&file).expect("a file of ours can be written");
        written
            .write_all(b"of the host")
            .expect("a file of ours can be written");
        let server = match setting {
            Setting::Slot | Setting::Fork => Server::start_program(&programs.plain, place, &[]).await,
            Setting::Without(layers) => {
                Server::start_program(&programs.switches, place, &["--abuse-off", layers]).await
            }
        };
        deploy(&server, NEIGHBOUR, &programs.probe).await;
        match setting {
            Setting::Fork => deploy_forked(&server, &programs.probe).await,
            Setting::Slot | Setting::Without(_) => deploy(&server, PROBE, &programs.probe).await,
        }
        let abstract_socket = format!("fn-abuse-{}", server.pid());
        let address = SocketAddr::from_abstract_name(&abstract_socket).expect("a short name");
        let listening = UnixListener::bind_addr(&address).expect("nobody else has this name");
        Self {
            server,
            forked: *setting == Setting::Fork,
            abstract_socket,
            file,
            _listening: listening,
        }
    }

    /// Why a case can't be tried on this host.
    pub(crate) async fn lacks(&self, case: &Case) -> Option<String> {
        for what in &case.needs {
            if let Some(reason) = self.server.lacks(what).await {
                return Some(reason);
            }
        }
        None
    }

    /// Has a case tried.
    pub(crate) async fn attempts(&self, case: &Case) -> Vec<Attempt> {
        if let Some(first) = &case.after {
            self.ask(NEIGHBOUR, first).await.good();
        }
        let reply = self.ask(PROBE, &case.name).await;
        if reply.status != 200 {
            let parsed: serde_json::Value = serde_json::from_slice(&reply.body).unwrap_or_default();
            let code = parsed["error"]["code"].as_str().unwrap_or("without a code");
            return vec![Attempt::without_report(format!("{} {code}", reply.status))];
        }
        let expected: &[&str] = if self.forked {
            &["forked", "ahead", "warm", "thawed"]
        } else {
            &[]
        };
        assert!(
            expected.is_empty() || expected.contains(&reply.start()),
            "it ran in no fork but in one that was {}",
            reply.start()
        );
        let text = reply.text();
        let lines = text.lines().map(|line| {
            serde_json::from_str(line).unwrap_or_else(|error| panic!("the probe printed no report ({error}): {text}"))
        });
        lines.collect()
    }

    async fn ask(&self, function: &str, case: &str) -> tests::Reply {
        let port = self
            .server
            .address()
            .rsplit(':')
            .next()
            .and_then(|port| port.parse::<u16>().ok());
        let request = json!({
            "cases": [case],
            "bait": { "port": port, "abstract_socket": self.abstract_socket, "file": self.file },
        });
        self.server.post(function, request.to_string()).await
    }

    /// Ends the server and waits for it.
    pub(crate) async fn strike(self) {
        self.server.signal(nix::sys::signal::Signal::SIGTERM);
        self.server.end().await;
    }
}

async fn deploy(server: &Server, name: &str, probe: &Path) {
    let args: Vec<&str> = ["--runtime", "stdio"].iter().chain(SETTINGS).copied().collect();
    server.try_deploy(name, probe, &args).await.good();
}

/// Every call from then on runs in a fork: the instance that came up before the template did is let go.
async fn deploy_forked(server: &Server, probe: &Path) {
    let program = std::fs::read(probe).expect("the probe was there a moment ago");
    let source = Source::python(HANDLER).executable("probe", program);
    server.deploy(PROBE, &source, SETTINGS).await;
    let nothing = json!({ "cases": [] }).to_string();
    server.post(PROBE, nothing).await.good();
    poll::until("the template", async || {
        let shown = server.fn_command(["show", PROBE]).await.good().json();
        (shown["class"]["name"] == "fork").then_some(())
    })
    .await;
    server.fn_command(["evict", PROBE]).await.good();
}
