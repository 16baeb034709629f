//! The server of the demonstration: `fn serve` in directories of its own, on a free port, as a user without rights.
//!
//! As root it becomes `nobody`; an ordinary user runs it as himself. The drop kills it and removes the directories.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use nix::unistd::{Uid, User, chown};

use super::Programs;
use super::call::{self, Reply};
use super::examples::{self, Example, IMAGE};
use super::poll;
use crate::program::{Program, Running};
use crate::test::install;

const USER: &str = "nobody";

/// How long the server may take from its start to its first answer, on a machine that is busy.
const TO_START: Duration = Duration::from_secs(60);

/// How long the server may take to drain and end.
const TO_STOP: Duration = Duration::from_secs(60);

pub(super) struct Server {
    // The fields are dropped in this order, so the process is gone before its directories are.
    running: Running,
    info: Info,
    place: Place,
}

/// What the server says of itself.
struct Info {
    url: String,
    /// The name of its group in every hierarchy.
    group_name: Option<String>,
}

/// The directories of one server.
struct Place {
    dir: tempfile::TempDir,
}

impl Place {
    /// Makes them: what the server writes belongs to the user it runs as, what we write to us.
    fn new(programs: &Programs) -> Result<Self> {
        let dir = tempfile::Builder::new().prefix("fn-demo-").tempdir()?;
        std::fs::set_permissions(dir.path(), PermissionsExt::from_mode(0o755))?;
        let place = Self { dir };
        for (name, mode) in [("bin", 0o755), ("scratch", 0o700), ("state", 0o700), ("run", 0o700)] {
            std::fs::create_dir(place.path(name))?;
            std::fs::set_permissions(place.path(name), PermissionsExt::from_mode(mode))?;
        }
        // The workspace often lies in a home that only its owner enters; the server's user must read its own binary.
        for (name, from) in [
            ("fn", &programs.serve),
            ("loadtest", &programs.loadtest),
            ("floor", &programs.floor),
        ] {
            install(from, &place.path("bin").join(name))?;
        }
        std::fs::write(place.image(), examples::image())?;
        if Uid::effective().is_root() {
            let user = User::from_name(USER)?.with_context(|| format!("there is no user {USER}"))?;
            for name in ["state", "run"] {
                chown(&place.path(name), Some(user.uid), Some(user.gid))?;
            }
        }
        Ok(place)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn admin_socket(&self) -> PathBuf {
        self.path("run").join("admin.sock")
    }

    fn log(&self) -> PathBuf {
        self.path("scratch").join("log")
    }

    fn image(&self) -> PathBuf {
        self.path("scratch").join("image.bmp")
    }

    fn log_end(&self) -> String {
        let log = std::fs::read(self.log()).unwrap_or_default();
        let log = String::from_utf8_lossy(&log);
        let lines: Vec<_> = log.lines().collect();
        lines[lines.len().saturating_sub(40)..].join("\n")
    }
}

impl Server {
    /// Starts it and waits until it says that it is ready.
    pub(super) fn start(programs: &Programs) -> Result<Self> {
        let place = Place::new(programs)?;
        let mut serve = Program::new(place.path("bin").join("fn"))
            .args(["serve", "--listen", "127.0.0.1:0", "--state-dir"])
            .args([&place.path("state"), Path::new("--admin-socket"), &place.admin_socket()]);
        if Uid::effective().is_root() {
            serve = serve.args(["--user", USER]);
        }
        let mut running = serve.start(&place.log())?;
        let ready = poll::until("an answer of the server's admin socket", TO_START, || {
            if let Some(status) = running.ended()? {
                bail!("the server should keep running, and ended with {status}");
            }
            Ok(info(&place))
        });
        let info = ready.with_context(|| format!("the end of the server's log:\n{}", place.log_end()))?;
        let server = Self { running, info, place };
        poll::until("status 200 at /readyz", TO_START, || {
            Ok((server.get("/readyz").is_ok_and(|reply| reply.status == 200)).then_some(()))
        })?;
        let kind = if Uid::effective().is_root() {
            format!("as {USER}")
        } else {
            "as an ordinary user".to_owned()
        };
        println!("serving {} {kind}", server.info.url);
        Ok(server)
    }

    pub(super) fn pid(&self) -> i32 {
        self.running.pid()
    }

    /// What the server's cgroups are called; `None` when it could make none.
    pub(super) fn group_name(&self) -> Option<String> {
        self.info.group_name.clone()
    }

    pub(super) fn url(&self) -> &str {
        &self.info.url
    }

    pub(super) fn admin_socket(&self) -> PathBuf {
        self.place.admin_socket()
    }

    pub(super) fn loadtest(&self) -> PathBuf {
        self.place.path("bin").join("loadtest")
    }

    pub(super) fn log_end(&self) -> String {
        self.place.log_end()
    }

    /// Deploys `path` by the command that everybody uses, and shows where the function answers.
    pub(super) fn deploy(&self, name: &str, path: &Path, settings: &[&str]) -> Result<()> {
        let printed = Program::new(self.place.path("bin").join("fn"))
            .args([Path::new("deploy"), path])
            .args(["--name", name, "--json"])
            .args(settings)
            .args([Path::new("--admin-socket"), &self.place.admin_socket()])
            .output()?;
        let deployed: serde_json::Value =
            serde_json::from_str(&printed).with_context(|| format!("`fn deploy --json` printed: {printed}"))?;
        ensure!(
            deployed["name"] == name && deployed["revision"].is_u64(),
            "`fn deploy --json` should print the name {name} and a revision, and printed: {printed}"
        );
        println!("deployed {name}, revision {}", deployed["revision"]);
        Ok(())
    }

    /// Calls a function as its example says, and shows it.
    pub(super) fn call(&self, example: &Example) -> Result<Reply> {
        let url = format!("{}/function/{}{}", self.info.url, example.name, example.path);
        let image = format!("@{}", self.place.image().display());
        let mut args: Vec<_> = example
            .curl
            .iter()
            .map(|arg| if *arg == IMAGE { image.as_str() } else { *arg })
            .collect();
        args.push(&url);
        let reply = call::curl(&self.place.path("scratch"), &args)?;
        println!(
            "$ curl {}\n  {} {:.1} ms  x-fn-start: {}",
            args.join(" "),
            reply.status,
            reply.millis,
            reply.start
        );
        Ok(reply)
    }

    fn get(&self, path: &str) -> Result<Reply> {
        call::curl(&self.place.path("scratch"), &[&format!("{}{path}", self.info.url)])
    }

    /// Everything at /metrics.
    pub(super) fn metrics(&self) -> Result<String> {
        let body = self.place.path("scratch").join("metrics");
        let url = format!("{}/metrics", self.info.url);
        Program::new("curl")
            .args(["--silent", "--show-error", "--fail", "--output"])
            .args([&body])
            .args([&url])
            .output()?;
        Ok(std::fs::read_to_string(body)?)
    }

    /// How many instances of a function exist, in whatever state.
    pub(super) fn instances(&self, function: &str) -> Result<f64> {
        let label = format!("function=\"{function}\"");
        let metrics = self.metrics()?;
        let lines = metrics
            .lines()
            .filter(|line| line.starts_with("fn_instances{") && line.contains(&label));
        lines
            .map(|line| {
                let value = line.rsplit(' ').next().unwrap_or_default();
                value
                    .parse::<f64>()
                    .with_context(|| format!("a metric without a value: {line}"))
            })
            .sum()
    }

    /// Asks it to end, checks that it ends well, and returns the end of its log.
    pub(super) fn stop(&mut self) -> Result<String> {
        let status = self.running.stop(TO_STOP)?;
        ensure!(
            status.success(),
            "the server should drain and end with 0, and ended with {status}:\n{}",
            self.log_end()
        );
        ensure!(
            !self.place.admin_socket().exists(),
            "the server should remove its admin socket when it ends, and {} is still there",
            self.place.admin_socket().display()
        );
        Ok(self.log_end())
    }
}

/// The address that the server says it listens on, once it answers.
fn info(place: &Place) -> Option<Info> {
    let socket = place.admin_socket();
    let args = ["--unix-socket", socket.to_str()?, "http://localhost/v1/info"];
    let info = call::curl(&place.path("scratch"), &args).ok()?.json().ok()?;
    let findings = info["report"]["findings"].as_array()?;
    let dirs = findings
        .iter()
        .filter_map(|finding| finding["found"].as_str()?.split_once(" at /"));
    Some(Info {
        url: info["url"].as_str()?.trim_end_matches('/').to_owned(),
        group_name: dirs
            .filter_map(|(_, dir)| Some(dir.rsplit_once('/')?.1.to_owned()))
            .next(),
    })
}
