//! `fn deploy`: from a path to a live revision.
//!
//! ```text
//! open PATH -> plan (fn.toml, options, detection, name) -> dependencies -> pack -> upload if missing -> PUT
//!              '---- every mistake that this machine can find, before anything slow ----'
//! ```
//!
//! A failure at any station leaves the server as it was; at most it keeps a bundle that nothing names, and removes
//! that by itself.

use functions::{Ahead, BuildMode};
use serde_json::{Value, json};

use crate::args::{DeployArgs, FunctionArgs};
use crate::client::{AdminClient, Check};
use crate::exit::Exit;
use crate::failure::Failure;
use crate::packages::{Installer, PackagesError};
use crate::render::{Progress, Screen};
use crate::staging::Staged;

mod pack;
mod plan;

use pack::Packed;
use plan::Plan;

/// Deploys PATH.
pub(crate) async fn run(args: &DeployArgs, client: &AdminClient, screen: Screen) -> Result<Exit, Failure> {
    let check = if args.no_check { Check::Skip } else { Check::Before };
    let prepared = prepare(&args.function, client, Progress::detect()).await?;
    let answer = prepared.go_live(check, client, Progress::detect()).await?;
    screen.answer(&answer, || text(&answer))?;
    Ok(Exit::Ok)
}

/// A bundle on this machine that has passed every check of it.
pub(super) struct Prepared {
    plan: Plan,
    packed: Packed,
    // What was copied or installed lives as long as this.
    _staged: Staged,
}

/// Everything before something is sent.
pub(super) async fn prepare(
    args: &FunctionArgs,
    client: &AdminClient,
    progress: Progress,
) -> Result<Prepared, Failure> {
    let mut staged = Staged::open(&args.path)?;
    let plan = Plan::make(&mut staged, &args.settings())?;
    if let Some(installer) = Installer::needed(staged.dir(), plan.runtime)? {
        // A server that is not there is told before minutes of installing, not after.
        client.info().await?;
        let dir = staged.own(installer.makes())?;
        match installer.install(dir, Progress::detect()) {
            // What has no wheel is built from source by the server, in a sandbox.
            Err(PackagesError::Failed { .. })
                if installer == Installer::Pip && plan.build == BuildMode::AllowScripts => {}
            other => other?,
        }
    }
    let packed = pack::pack(staged.dir(), progress)?;
    Ok(Prepared {
        plan,
        packed,
        _staged: staged,
    })
}

impl Prepared {
    /// What would be deployed, to tell whether that is what was deployed before.
    pub(super) fn identity(&self) -> (String, Value) {
        (self.packed.digest.to_string(), self.manifest())
    }

    /// Keeps one instance waiting, unless somebody decided how many do.
    pub(super) fn keep_one_waiting(&mut self) {
        self.plan.manifest.scale.ahead.get_or_insert(Ahead::Exactly(1));
    }

    /// Sends it, and makes it the live revision. Returns the answer for `--json`.
    pub(super) async fn go_live(
        &self,
        check: Check,
        client: &AdminClient,
        progress: Progress,
    ) -> Result<Value, Failure> {
        let Prepared { plan, packed, .. } = self;
        let sent = upload(client, packed, progress).await?;
        let step = progress.step(match check {
            _ if plan.build == BuildMode::AllowScripts => "Building",
            Check::Before => "Checking the handler",
            Check::Skip => "Deploying",
        });
        let digest = packed.digest.to_string();
        let reply = client
            .deploy(plan.name.as_str(), &digest, &self.manifest(), check)
            .await?;
        drop(step);
        Ok(answer(plan, packed, sent, &reply))
    }

    fn manifest(&self) -> Value {
        serde_json::to_value(&self.plan.manifest).expect("a manifest has nothing that JSON can't hold")
    }
}

/// Whether the bundle had to be sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Sent {
    Now,
    Before,
}

/// Sends the bundle when the server has none with its digest.
async fn upload(client: &AdminClient, packed: &Packed, progress: Progress) -> Result<Sent, Failure> {
    if client.has_bundle(&packed.digest.to_string()).await? {
        return Ok(Sent::Before);
    }
    let step = progress.transfer("Uploading", packed.length);
    client.upload(packed.body(&step)?, packed.length).await?;
    Ok(Sent::Now)
}

/// What `--json` prints: name, revision and url, and how they came about.
fn answer(plan: &Plan, packed: &Packed, sent: Sent, reply: &Value) -> Value {
    json!({
        "name": plan.name,
        "revision": reply["revision"],
        "url": reply["url"],
        "runtime": plan.runtime,
        "handler": plan.handler,
        "bundle": { "digest": packed.digest, "bytes": packed.length, "files": packed.files, "uploaded": sent == Sent::Now },
        "check": reply["check"],
    })
}

fn text(answer: &Value) -> String {
    let word = |key: &str| answer[key].as_str().unwrap_or("-").to_owned();
    let url = word("url");
    format!(
        "{} revision {} is live at {url}\n\n    curl {url}\n",
        word("name"),
        answer["revision"]
    )
}
