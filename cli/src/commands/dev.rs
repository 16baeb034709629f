//! `fn dev`: a function that follows its files.
//!
//! ```text
//! deploy PATH --> wait for a change, a line of the log, or Ctrl-C
//!      ^                  |
//!      `--- changed ------'   a deploy that fails is told, and the revision before it stays live
//! ```
//!
//! Nothing is checked before it goes live, as the check would take as long as the next call waits: one instance is kept
//! waiting instead, and what is wrong with the handler is in the log, which is printed here. When this ends, the function
//! stays as it was deployed last.

use std::pin::{Pin, pin};
use std::time::Instant;

use futures_util::{Stream, StreamExt};
use serde_json::{Value, json};

use self::watch::Watch;
use super::{deploy, logs};
use crate::args::DevArgs;
use crate::client::{AdminClient, Check, LogQuery};
use crate::exit::Exit;
use crate::failure::Failure;
use crate::render::{Format, Progress, Screen};

mod watch;

/// What the function writes, as it comes.
type Records = Pin<Box<dyn Stream<Item = Result<Value, Failure>>>>;

/// Deploys PATH, and again after each change, until Ctrl-C.
pub(crate) async fn run(args: &DevArgs, client: &AdminClient, screen: Screen) -> Result<Exit, Failure> {
    // Before the first deploy, so that no change is missed.
    let mut watch = Watch::start(&args.function.path)?;
    let mut live = Live::default();
    let mut began = Instant::now();
    // What is wrong before anything is live is for the user to correct first.
    live.deploy(args, client, screen, began).await?;
    let mut interrupted = pin!(tokio::signal::ctrl_c());
    loop {
        tokio::select! {
            _ = &mut interrupted => return Ok(Exit::Ok),
            changed = watch.changed() => {
                began = changed;
                if let Err(failure) = live.deploy(args, client, screen, began).await {
                    screen.failure(&failure);
                }
            }
            record = next(&mut live.records) => match record {
                Some(Ok(record)) => print(screen, &record)?,
                // The server ended, or the function was removed: the next deploy says more.
                Some(Err(failure)) => {
                    live.records = None;
                    screen.failure(&failure);
                }
                None => live.records = None,
            },
        }
    }
}

/// What is live.
#[derive(Default)]
struct Live {
    /// The bundle and the manifest.
    identity: Option<(String, Value)>,
    name: Option<String>,
    records: Option<Records>,
}

impl Live {
    /// Deploys what PATH is now, unless that is live already.
    async fn deploy(
        &mut self,
        args: &DevArgs,
        client: &AdminClient,
        screen: Screen,
        began: Instant,
    ) -> Result<(), Failure> {
        let mut prepared = deploy::prepare(&args.function, client, Progress::Silent).await?;
        prepared.keep_one_waiting();
        let identity = prepared.identity();
        if self.identity.as_ref() == Some(&identity) {
            return Ok(());
        }
        let answer = prepared.go_live(Check::Skip, client, Progress::Silent).await?;
        let took = began.elapsed();
        self.identity = Some(identity);
        let name = answer["name"].as_str().unwrap_or_default().to_owned();
        if self.records.is_none() || self.name.as_ref() != Some(&name) {
            let query = LogQuery {
                follow: true,
                request: None,
                tail: Some(0),
            };
            let records = client.logs(&name, &query).await?;
            self.records = Some(Box::pin(records.map(|record| record.map_err(Failure::from))));
            self.name = Some(name);
        }
        let took_ms = u64::try_from(took.as_millis()).unwrap_or(u64::MAX);
        match screen.format {
            Format::Text => screen.raw(
                format!(
                    "{} revision {} is live at {} after {took_ms} ms\n",
                    answer["name"].as_str().unwrap_or("-"),
                    answer["revision"],
                    answer["url"].as_str().unwrap_or("-")
                )
                .as_bytes(),
            )?,
            Format::Json => {
                let mut line = json!({ "event": "live", "took_ms": took_ms });
                line["function"] = answer;
                screen.raw(format!("{line}\n").as_bytes())?;
            }
        }
        Ok(())
    }
}

async fn next(records: &mut Option<Records>) -> Option<Result<Value, Failure>> {
    match records {
        Some(records) => records.next().await,
        None => std::future::pending().await,
    }
}

fn print(screen: Screen, record: &Value) -> Result<(), Failure> {
    match screen.format {
        Format::Text => screen.raw(logs::line(record).as_bytes())?,
        Format::Json => screen.raw(format!("{}\n", json!({ "event": "log", "record": record })).as_bytes())?,
    }
    Ok(())
}
