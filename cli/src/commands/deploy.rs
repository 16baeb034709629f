//! `fn deploy`: from a path to a live revision.
//!
//! ```text
//! open PATH -> plan (fn.toml, options, detection, name) -> dependencies -> pack -> upload if missing -> PUT
//!              '---- every mistake that this machine can find, before anything slow ----'
//! ```
//!
//! A failure at any station leaves the server as it was; at most it keeps a bundle that nothing names, and removes
//! that by itself.

use functions::BuildMode;
use serde_json::{Value, json};

use crate::args::DeployArgs;
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
    let mut staged = Staged::open(&args.path)?;
    let plan = Plan::make(&staged, &args.settings())?;
    let progress = Progress::detect();
    if let Some(installer) = Installer::needed(staged.dir(), plan.runtime)? {
        // A server that is not there is told before minutes of installing, not after.
        client.info().await?;
        let dir = staged.own(installer.makes())?;
        match installer.install(dir, progress) {
            // What has no wheel is built from source by the server, in a sandbox.
            Err(PackagesError::Failed { .. })
                if installer == Installer::Pip && plan.build == BuildMode::AllowScripts => {}
            other => other?,
        }
    }
    let packed = pack::pack(staged.dir(), progress)?;
    let sent = upload(client, &packed, progress).await?;
    let check = if args.no_check { Check::Skip } else { Check::Before };
    let step = progress.step(match check {
        _ if plan.build == BuildMode::AllowScripts => "Building",
        Check::Before => "Checking the handler",
        Check::Skip => "Deploying",
    });
    let manifest = serde_json::to_value(&plan.manifest).expect("a manifest has nothing that JSON can't hold");
    let reply = client
        .deploy(plan.name.as_str(), &packed.digest.to_string(), &manifest, check)
        .await?;
    drop(step);
    let answer = answer(&plan, &packed, sent, &reply);
    screen.answer(&answer, || text(&answer))?;
    Ok(Exit::Ok)
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
