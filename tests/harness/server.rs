//! A real server: `fn serve` on a free port, as a user without rights, and the `fn` command against it.
//!
//! As root it is started as root and told whom to become; an ordinary user runs it as himself. Dropped, it gets SIGTERM, some time to
//! drain, and SIGKILL.

use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};

use nix::sys::signal::Signal;

use crate::client::{Client, Reply};
use crate::metrics::Metrics;
use crate::place::{Place, server_user};
use crate::poll;
use crate::program::{self, Background, Said};
use crate::source::Source;

/// A running server that answers at `/readyz`.
#[derive(Debug)]
pub struct Server {
    // The fields are dropped in this order, so the process is gone before its directories are.
    process: Background,
    roots: CgroupRoots,
    client: Client,
    url: String,
    place: Place,
}

/// The subtree that a server started as root prepares in each hierarchy: only root can remove it, so the drop does.
#[derive(Debug)]
struct CgroupRoots(Vec<PathBuf>);

impl CgroupRoots {
    /// As the report of `/v1/info` names them: `V2 at DIRECTORY`.
    fn of(info: &serde_json::Value) -> Self {
        let limits = ["memory limit", "cpu limit", "pids limit"];
        let found = limits.iter().filter_map(|name| finding(info, name)?["found"].as_str());
        Self(
            found
                .filter_map(|found| Some(PathBuf::from(found.split_once(" at ")?.1)))
                .collect(),
        )
    }
}

impl Drop for CgroupRoots {
    fn drop(&mut self) {
        for root in &self.0 {
            // What still holds a group of a function stays, for the test that looks at it.
            let _ = std::fs::remove_dir(root.join("supervisor"));
            let _ = std::fs::remove_dir(root);
        }
    }
}

impl Server {
    /// Starts one in a place of its own.
    pub async fn start() -> Self {
        Self::start_in(Place::new(), &[]).await
    }

    /// Starts one in a place that may hold the state of an earlier one, with further arguments.
    pub async fn start_in(place: Place, args: &[&str]) -> Self {
        Self::start_program(&binary(), place, args).await
    }

    /// Starts another program than the binary under test, which understands the same arguments.
    pub async fn start_program(program: &Path, place: Place, args: &[&str]) -> Self {
        let process = Self::launch_program(program, &place, args);
        Self::ready(process, place)
            .await
            .unwrap_or_else(|(code, log)| panic!("the server ended with {code:?}:\n{log}"))
    }

    /// An ordinary user's server whose state directory is a file system of 24 MB, in a mount namespace of its own. `None` where this host
    /// does not let a user make one.
    pub async fn start_on_small_disk(place: Place) -> Option<Self> {
        // Two user namespaces: root of the outer one mounts, then the inner one gives the user his own id back, without a capability.
        let (uid, gid) = (nix::unistd::getuid(), nix::unistd::getgid());
        let script = format!(
            "mount -t tmpfs -o size=24m,mode=0700 fn-small \"$0\" && exec unshare --user --map-user={uid} --map-group={gid} \"$@\""
        );
        let mut args: Vec<OsString> = ["--user", "--mount", "--map-root-user", "sh", "-c"]
            .map(Into::into)
            .to_vec();
        args.extend([script.into(), place.state().into(), binary().into()]);
        args.extend(serve_args(&place, ["--listen", "127.0.0.1:0"]));
        let process = Background::start(Path::new("/usr/bin/unshare"), args, &place.log());
        Self::ready(process, place).await.ok()
    }

    /// Waits until the process answers. When it ends instead: its exit code and its output.
    async fn ready(mut process: Background, place: Place) -> Result<Self, (Option<i32>, String)> {
        let admin = Client::unix(&place.admin_socket());
        let info = poll::until("an answer on the admin socket", async || {
            if let Some(code) = process.ended() {
                return Some(Err((code, process.log())));
            }
            let reply = admin.get("http://localhost/v1/info").await.ok()?;
            (reply.status == 200).then(|| Ok(reply.json()))
        })
        .await?;
        let url = info["url"]
            .as_str()
            .expect("the server says where it listens")
            .trim_end_matches('/')
            .to_owned();
        let server = Self {
            process,
            roots: CgroupRoots::of(&info),
            client: Client::tcp(),
            url,
            place,
        };
        poll::until("status 200 at /readyz", async || {
            let reply = server.client.get(&format!("{}/readyz", server.url)).await.ok()?;
            (reply.status == 200).then_some(())
        })
        .await;
        Ok(server)
    }

    /// Starts the process and waits for nothing: for servers that are expected to refuse.
    pub fn launch(place: &Place, args: &[&str]) -> Background {
        Self::launch_program(&binary(), place, args)
    }

    fn launch_program(program: &Path, place: &Place, args: &[&str]) -> Background {
        let listen: &[&str] = if args.contains(&"--listen") {
            &[]
        } else {
            &["--listen", "127.0.0.1:0"]
        };
        Background::start(
            program,
            serve_args(place, listen.iter().chain(args).copied()),
            &place.log(),
        )
    }

    /// Its process id.
    pub fn pid(&self) -> i32 {
        self.process.pid()
    }

    /// Its address, `http://127.0.0.1:PORT`.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// `127.0.0.1:PORT`.
    pub fn address(&self) -> &str {
        self.url.trim_start_matches("http://")
    }

    /// The address of a function.
    pub fn function(&self, name: &str) -> String {
        format!("{}/function/{name}", self.url)
    }

    /// Where it lives.
    pub fn place(&self) -> &Place {
        &self.place
    }

    /// The client for its public side.
    pub fn client(&self) -> &Client {
        &self.client
    }

    /// A client for its admin socket; addresses are `http://localhost/v1/...`.
    pub fn admin(&self) -> Client {
        Client::unix(&self.place.admin_socket())
    }

    /// What it says about itself at `/v1/info`.
    pub async fn info(&self) -> serde_json::Value {
        self.admin()
            .get("http://localhost/v1/info")
            .await
            .expect("the admin socket answers")
            .json()
    }

    /// Runs `fn ARGS` against it, with JSON output.
    pub async fn fn_command<A: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = A>) -> Said {
        program::run(binary(), self.with_socket(args)).await
    }

    /// The `fn` command in the background, with `--json`; both outputs go to the file `log`.
    pub fn fn_background<A: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = A>, log: &Path) -> Background {
        Background::start(&binary(), self.with_socket(args), log)
    }

    fn with_socket<A: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = A>) -> Vec<OsString> {
        let mut all: Vec<OsString> = args.into_iter().map(|arg| arg.as_ref().to_owned()).collect();
        all.extend([
            "--json".into(),
            "--admin-socket".into(),
            self.place.admin_socket().into_os_string(),
        ]);
        all
    }

    /// Runs `fn deploy` with a name and further arguments, and returns what it said, good or bad.
    pub async fn try_deploy(&self, name: &str, path: &Path, args: &[&str]) -> Said {
        let words = ["deploy".as_ref(), path.as_os_str(), "--name".as_ref(), name.as_ref()];
        self.fn_command(words.into_iter().chain(args.iter().map(OsStr::new)))
            .await
    }

    /// Deploys and returns the revision's number.
    pub async fn deploy(&self, name: &str, source: &Source, args: &[&str]) -> u64 {
        let said = self.try_deploy(name, source.path(), args).await.good();
        said.json()["revision"]
            .as_u64()
            .unwrap_or_else(|| panic!("a deploy prints its revision:\n{}", said.all()))
    }

    /// Evicts every instance of a function, and what waits ahead of a call.
    pub async fn evict(&self, name: &str) {
        let address = format!("http://localhost/v1/functions/{name}/evict?all=true");
        let reply = self
            .admin()
            .post(&address, Vec::new())
            .await
            .expect("the admin socket answers");
        assert_eq!(reply.status, 200, "{}", reply.text());
    }

    /// Calls a function by GET.
    pub async fn call(&self, name: &str) -> Reply {
        self.client
            .get(&self.function(name))
            .await
            .unwrap_or_else(|error| panic!("no reply from {name}: {error}"))
    }

    /// Calls a function by POST.
    pub async fn post(&self, name: &str, body: impl Into<Vec<u8>>) -> Reply {
        let reply = self.client.post(&self.function(name), body.into()).await;
        reply.unwrap_or_else(|error| panic!("no reply from {name}: {error}"))
    }

    /// Its metrics now.
    pub async fn metrics(&self) -> Metrics {
        let reply = self
            .client
            .get(&format!("{}/metrics", self.url))
            .await
            .expect("/metrics answers");
        assert_eq!(reply.status, 200, "{}", reply.text());
        Metrics::parse(&reply.text())
    }

    /// Waits until no instance of a function is left in the metrics.
    pub async fn scaled_to_zero(&self, name: &str) {
        poll::until(&format!("no instance of {name}"), async || {
            (self.metrics().await.sum("fn_instances", &[("function", name)]) == 0.0).then_some(())
        })
        .await;
    }

    /// Why a limit (`memory`, `cpu`, `pids`) is not enforced on this host, as the server itself reports it; `None` when it is.
    pub async fn does_not_enforce(&self, limit: &str) -> Option<String> {
        self.lacks(&format!("{limit} limit")).await
    }

    /// What the server itself reports about something that this host lacks; `None` when it has it.
    pub async fn lacks(&self, what: &str) -> Option<String> {
        let info = self.info().await;
        let finding = finding(&info, what)?;
        let missing = finding["state"] == "missing";
        missing.then(|| {
            format!(
                "no {what} here: {}",
                finding["found"].as_str().unwrap_or("no reason given")
            )
        })
    }

    /// The cgroup directories below which this server makes those of its functions.
    pub fn cgroup_roots(&self) -> &[PathBuf] {
        &self.roots.0
    }

    /// Sends a signal to the server's process.
    pub fn signal(&self, signal: Signal) {
        self.process.signal(signal);
    }

    /// Waits for its end, and hands out the exit code and the place.
    pub async fn end(mut self) -> (Option<i32>, Place) {
        let code = self.process.end().await;
        (code, self.place)
    }
}

/// One row of the server's report about its host.
fn finding<'a>(info: &'a serde_json::Value, name: &str) -> Option<&'a serde_json::Value> {
    info["report"]["findings"]
        .as_array()?
        .iter()
        .find(|finding| finding["name"] == name)
}

/// The arguments of `fn serve` in a place, for those who start it in some other way.
pub fn serve_args<'a>(place: &Place, args: impl IntoIterator<Item = &'a str>) -> Vec<OsString> {
    let mut all: Vec<OsString> = vec!["serve".into(), "--state-dir".into(), place.state().into()];
    all.extend(["--admin-socket".into(), place.admin_socket().into()]);
    if let Some(user) = server_user() {
        all.extend(["--user".into(), user.name.into()]);
    }
    all.extend(args.into_iter().map(Into::into));
    all
}

/// The binary under test: `$FN_TEST_BIN`, else the one that cargo built beside these tests.
pub fn binary() -> PathBuf {
    if let Some(path) = std::env::var_os("FN_TEST_BIN") {
        return path.into();
    }
    let tests = std::env::current_exe().expect("a process has an executable");
    let path = tests
        .parent()
        .and_then(Path::parent)
        .expect("tests are built in target/debug/deps")
        .join("fn");
    assert!(
        path.exists(),
        "there is no {}: build it, or run `cargo xtask test`",
        path.display()
    );
    path
}
