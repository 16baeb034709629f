//! Servers that answer the same as the load test's own functions, without a box.
//!
//! Each runs as a child on a free port of its own. Its time is that of calls one after the other over one connection, its
//! throughput that of as many calls at once as there are connections: both as the functions are called.

use std::net::{Ipv4Addr, TcpListener};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use tokio::net::TcpStream;

use super::found::{self, PythonServers};
use super::{ENV, Manner, PeerError, write};
use crate::child::Service;
use crate::client::{Call, Client, Target};
use crate::pacer::Pacer;
use crate::recorder::Recorder;
use crate::report::{PeerReport, Served};
use crate::scenarios::closed;
use crate::series::{Series, median};

const TO_LISTEN: Duration = Duration::from_secs(30);
const LOOK_EVERY: Duration = Duration::from_millis(20);
const TIMEOUT: Duration = Duration::from_secs(10);
/// Calls before the first that is counted.
const WARM_UP: u32 = 20;
/// One connection sends at least this many in a round.
const FEWEST_ALONE: u32 = 20;

/// How one is started.
#[derive(Debug)]
pub(super) struct Recipe {
    pub(super) name: &'static str,
    what: &'static str,
    pub(super) install: &'static str,
    kind: Kind,
}

#[derive(Debug, Clone, Copy)]
enum Kind {
    Gunicorn,
    GunicornThreads,
    FunctionsFramework,
    Node,
    Nginx,
}

const PYTHON_INSTALL: &str = "name a directory with --peers-dir (it gets a virtual environment), or pip install gunicorn flask functions-framework";

pub(super) const RECIPES: &[Recipe] = &[
    Recipe {
        name: "gunicorn",
        what: "gunicorn + Flask, its usual workers, which close each connection",
        install: PYTHON_INSTALL,
        kind: Kind::Gunicorn,
    },
    Recipe {
        name: "gunicorn-gthread",
        what: "gunicorn + Flask, workers with 4 threads that keep connections",
        install: PYTHON_INSTALL,
        kind: Kind::GunicornThreads,
    },
    Recipe {
        name: "functions-framework",
        what: "functions-framework for Python, as it comes",
        install: PYTHON_INSTALL,
        kind: Kind::FunctionsFramework,
    },
    Recipe {
        name: "node:http",
        what: "a bare node:http server",
        install: "apt-get install nodejs",
        kind: Kind::Node,
    },
    Recipe {
        name: "nginx",
        what: "nginx as a proxy in front of a bare node:http server",
        install: "apt-get install nginx-light nodejs",
        kind: Kind::Nginx,
    },
];

/// How long one round calls a server.
#[derive(Debug, Clone, Copy)]
pub(super) struct Load {
    pub(super) alone: Duration,
    pub(super) together: Duration,
}

/// One that runs.
#[derive(Debug)]
pub(super) struct ServerPeer {
    name: &'static str,
    what: String,
    client: Client,
    call: Call,
    alone: Series,
    rates: Vec<f64>,
    failed: u64,
    connections: u32,
    _services: Vec<Service>,
}

impl Recipe {
    /// Starts it with its files below `scratch`, and calls it a few times.
    pub(super) async fn start(
        &self,
        scratch: &Path,
        python: &PythonServers,
        manner: &Manner,
    ) -> Result<ServerPeer, PeerError> {
        let dir = scratch.join(self.name.replace(':', "-"));
        std::fs::create_dir_all(&dir)?;
        let port = free_port()?;
        let mut services = Vec::new();
        let service = match self.kind {
            Kind::Gunicorn | Kind::GunicornThreads => self.gunicorn(&dir, python, manner.workers, port)?,
            Kind::FunctionsFramework => functions_framework(&dir, python, port)?,
            Kind::Node => node(&dir, port)?,
            Kind::Nginx => {
                let behind = free_port()?;
                let program = found::program("nginx")?;
                let mut server = node(&dir, behind)?;
                listens(&mut server, behind).await?;
                services.push(server);
                nginx(&program, &dir, port, behind)?
            }
        };
        services.push(service);
        let last = services.last_mut().expect("one was just added");
        listens(last, port).await?;

        let target: Target = format!("http://127.0.0.1:{port}").parse().expect("this is an address");
        let client = Client::new(&target, manner.connections, TIMEOUT).await?;
        let call = Call::new(http::Uri::from_static("/"), None);
        for _ in 0..WARM_UP {
            let attempt = client.call(&call, Instant::now()).await;
            attempt.outcome.map_err(|failure| PeerError::Call(failure.detail))?;
        }
        let workers = match self.kind {
            Kind::Gunicorn | Kind::GunicornThreads => format!(", workers: {}", manner.workers),
            _ => String::new(),
        };
        Ok(ServerPeer {
            name: self.name,
            what: format!("{}{workers}", self.what),
            client,
            call,
            alone: Series::default(),
            rates: Vec::new(),
            failed: 0,
            connections: manner.connections,
            _services: services,
        })
    }

    fn gunicorn(&self, dir: &Path, python: &PythonServers, workers: u32, port: u16) -> Result<Service, PeerError> {
        let program = python.program("gunicorn")?;
        write(&dir.join("app.py"), FLASK)?;
        let mut args = vec![
            "--chdir".to_owned(),
            dir.to_string_lossy().into_owned(),
            "--bind".to_owned(),
            format!("127.0.0.1:{port}"),
            "--workers".to_owned(),
            workers.to_string(),
        ];
        if let Kind::GunicornThreads = self.kind {
            let threads = ["--worker-class", "gthread", "--threads", "4", "--keep-alive", "60"];
            args.extend(threads.map(str::to_owned));
        }
        args.push("app:app".to_owned());
        Ok(Service::start(&program, &args, ENV, &dir.join("log"))?)
    }
}

fn functions_framework(dir: &Path, python: &PythonServers, port: u16) -> Result<Service, PeerError> {
    let program = python.program("functions-framework")?;
    let source = dir.join("main.py");
    write(&source, FRAMEWORK)?;
    let port = port.to_string();
    let source = source.to_string_lossy();
    let args = [
        "--target",
        "hello",
        "--source",
        &source,
        "--host",
        "127.0.0.1",
        "--port",
        &port,
    ];
    Ok(Service::start(&program, &args, ENV, &dir.join("log"))?)
}

fn node(dir: &Path, port: u16) -> Result<Service, PeerError> {
    let program = found::system_program("node")?;
    let source = dir.join("server.mjs");
    write(&source, NODE)?;
    let args: [PathBuf; 2] = [source, port.to_string().into()];
    Ok(Service::start(&program, &args, ENV, &dir.join("log-node"))?)
}

fn nginx(program: &Path, dir: &Path, port: u16, behind: u16) -> Result<Service, PeerError> {
    let config = dir.join("nginx.conf");
    let at = dir.to_string_lossy();
    write(&config, &nginx_conf(&at, port, behind))?;
    let config = config.to_string_lossy();
    let args = ["-p", &at, "-c", &config, "-e", "stderr"];
    Ok(Service::start(program, &args, ENV, &dir.join("log"))?)
}

fn nginx_conf(dir: &str, port: u16, behind: u16) -> String {
    format!(
        "daemon off;
master_process off;
pid {dir}/pid;
events {{ worker_connections 512; }}
http {{
  access_log off;
  client_body_temp_path {dir}/body;
  proxy_temp_path {dir}/proxy;
  fastcgi_temp_path {dir}/fastcgi;
  uwsgi_temp_path {dir}/uwsgi;
  scgi_temp_path {dir}/scgi;
  keepalive_requests 1000000;
  upstream behind {{ server 127.0.0.1:{behind}; keepalive 64; keepalive_requests 1000000; }}
  server {{
    listen 127.0.0.1:{port};
    location / {{
      proxy_pass http://behind;
      proxy_http_version 1.1;
      proxy_set_header Connection \"\";
    }}
  }}
}}
"
    )
}

/// A port that was free a moment ago: these servers can't say which one they took.
fn free_port() -> Result<u16, PeerError> {
    Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port())
}

/// Returns when something listens at `port`.
async fn listens(service: &mut Service, port: u16) -> Result<(), PeerError> {
    let end = Instant::now() + TO_LISTEN;
    let mut pacer = Pacer::new()?;
    while TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await.is_err() {
        if let Some(ended) = service.ended() {
            return Err(ended.into());
        }
        if Instant::now() > end {
            return Err(PeerError::Silent(TO_LISTEN));
        }
        pacer.until(Instant::now() + LOOK_EVERY).await?;
    }
    Ok(())
}

impl ServerPeer {
    /// One round.
    pub(super) async fn round(&mut self, load: Load) {
        let end = Instant::now() + load.alone;
        let mut sent = 0;
        while sent < FEWEST_ALONE || Instant::now() < end {
            sent += 1;
            match self.client.call(&self.call, Instant::now()).await.outcome {
                Ok(reply) => self.alone.add(reply.latency),
                Err(_counted) => self.failed += 1,
            }
        }
        self.alone.end_round();
        let mut recorder = Recorder::default();
        let rate = closed::rate(&self.client, &self.call, self.connections, load.together, &mut recorder).await;
        self.rates.push(rate);
        self.failed += recorder.failed();
    }

    pub(super) fn report(&self) -> Option<PeerReport> {
        Some(PeerReport {
            name: self.name.to_owned(),
            what: self.what.clone(),
            times: self.alone.summary()?,
            served: Some(Served {
                connections: self.connections,
                per_s: median(&self.rates)?,
                rounds_per_s: self.rates.clone(),
                failed: self.failed,
            }),
        })
    }
}

const FLASK: &str = "from flask import Flask, jsonify

app = Flask(__name__)


@app.get('/')
def hello():
    return jsonify(message='Hello, world!')
";

const FRAMEWORK: &str = "import functions_framework


@functions_framework.http
def hello(request):
    return {'message': 'Hello, world!'}
";

const NODE: &str = "import http from 'node:http';

const server = http.createServer((request, response) => {
  const body = JSON.stringify({ message: 'Hello, world!' });
  response.writeHead(200, { 'content-type': 'application/json', 'content-length': Buffer.byteLength(body) });
  response.end(body);
});
server.keepAliveTimeout = 0;
server.listen(Number(process.argv[2]), '127.0.0.1');
";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_proxy_keeps_its_files_to_itself() {
        let text = nginx_conf("/scratch", 1, 2);
        assert!(text.contains("listen 127.0.0.1:1;") && text.contains("server 127.0.0.1:2;"));
        assert_eq!(text.matches('{').count(), text.matches('}').count());
        assert!(
            text.lines()
                .filter(|line| line.contains("_path "))
                .all(|line| line.contains("/scratch/"))
        );
    }

    #[tokio::test]
    async fn a_server_is_called_where_it_is_installed() {
        let dir = tempfile::tempdir().unwrap();
        let manner = Manner {
            pause: Duration::ZERO,
            connections: 2,
            workers: 1,
            dir: None,
        };
        let python = found::python_servers(None).await;
        let node = RECIPES.iter().find(|recipe| recipe.name == "node:http").unwrap();
        match node.start(dir.path(), &python, &manner).await {
            Ok(mut peer) => {
                peer.round(Load {
                    alone: Duration::ZERO,
                    together: Duration::ZERO,
                })
                .await;
                let report = peer.report().unwrap();
                assert_eq!(report.times.count, u64::from(FEWEST_ALONE));
                assert_eq!(report.served.unwrap().failed, 0);
            }
            Err(error) => assert!(matches!(error, PeerError::Absent(_)), "{error}"),
        }
    }
}
