//! Options of the commands that send load, and the [`Plan`] that they mean.

use std::path::PathBuf;
use std::time::Duration;

use bytes::Bytes;

use super::typed;
use crate::admin::Scope;
use crate::arrivals::Arrivals;
use crate::client::Target;

/// Options of every command that calls functions.
#[derive(Debug, clap::Args)]
pub(crate) struct CallArgs {
    /// The server, as http://HOST:PORT
    #[arg(long, value_name = "URL")]
    pub(crate) url: Target,
    /// A function to call; may be given several times
    #[arg(long = "function", value_name = "N", required = true, value_parser = typed::function)]
    pub(crate) functions: Vec<String>,
    /// The server's admin socket, needed to evict
    #[arg(long, value_name = "PATH", env = "FN_ADMIN_SOCKET")]
    pub(crate) admin_socket: Option<PathBuf>,
    /// Send this body with POST (`@FILE` reads a file); without it calls are GET
    #[arg(long, value_name = "TEXT|@FILE")]
    pub(crate) body: Option<String>,
    /// A call without a whole reply after this long is a failure
    #[arg(long, value_name = "D", default_value = "60s", value_parser = typed::duration)]
    pub(crate) timeout: Duration,
    /// Write everything measured to this file as JSON
    #[arg(long, value_name = "FILE")]
    pub(crate) json: Option<PathBuf>,
    /// Draw the latency distributions into this SVG file
    #[arg(long, value_name = "FILE")]
    pub(crate) plot: Option<PathBuf>,
}

/// Options of `warm`, `cold` and `compare`.
#[derive(Debug, clap::Args)]
pub(crate) struct LoadArgs {
    /// What is called.
    #[command(flatten)]
    pub(crate) calls: CallArgs,
    /// Calls per second of the open loop [default: 50]; of `cold` alone: the most cycles per second [default: no limit]
    #[arg(long, value_name = "R", value_parser = typed::rate)]
    pub(crate) rate: Option<f64>,
    /// How long to measure each function, such as 10s, 500ms or 2m
    #[arg(long, value_name = "D", default_value = "10s", value_parser = typed::duration)]
    pub(crate) duration: Duration,
    /// Poisson arrivals instead of evenly spaced ones
    #[arg(long)]
    pub(crate) poisson: bool,
    /// Cold calls: wait this long between the eviction and the call
    #[arg(long, value_name = "D", default_value = "0", value_parser = typed::duration)]
    pub(crate) pause: Duration,
    /// Cold calls: what the eviction ends
    #[arg(long, value_enum, default_value_t)]
    pub(crate) evict: Scope,
    /// Cold calls: stop after this many cycles, even if the duration is not over
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) cycles: Option<u64>,
    /// The most connections, and so calls in flight, at once
    #[arg(long, value_name = "N", default_value_t = 64, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub(crate) connections: u32,
}

/// Options of `loadtest compare`.
#[derive(Debug, clap::Args)]
pub(crate) struct CompareArgs {
    /// The load, as for the other commands; the duration is split over the rounds, half cold and half warm.
    #[command(flatten)]
    pub(crate) load: LoadArgs,
    /// Interleaved rounds of floors, cold calls and warm calls
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub(crate) rounds: u32,
    /// Fail on a median slower than in this earlier JSON file by more than both runs' own noise
    #[arg(long, value_name = "FILE")]
    pub(crate) baseline: Option<PathBuf>,
    /// The program that measures the native floors [default: `floor` beside this program]
    #[arg(long, value_name = "PATH")]
    pub(crate) floor_bin: Option<PathBuf>,
}

/// What a load command was asked to do, with every file read and every default in place.
#[derive(Debug, Clone)]
pub(crate) struct Plan {
    /// The server.
    pub(crate) target: Target,
    /// The functions, each named once, in the order typed.
    pub(crate) functions: Vec<String>,
    /// The admin socket, when known.
    pub(crate) admin_socket: Option<PathBuf>,
    /// Calls per second of the open loop.
    pub(crate) rate: f64,
    /// The most cold cycles per second; `None` is back to back.
    pub(crate) cycle_rate: Option<f64>,
    /// The shape of the schedule.
    pub(crate) arrivals: Arrivals,
    /// Measured time per function.
    pub(crate) duration: Duration,
    /// Between an eviction and its call.
    pub(crate) pause: Duration,
    /// The most cold cycles per function.
    pub(crate) cycles: Option<u64>,
    /// The body; `None` means GET.
    pub(crate) body: Option<Bytes>,
    /// The most connections at once.
    pub(crate) connections: u32,
    /// The longest wait for one reply.
    pub(crate) timeout: Duration,
    /// What an eviction before a cold call ends.
    pub(crate) evict: Scope,
}

/// Why what was typed can't be carried out.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PlanError {
    /// `--body @FILE` names a file that can't be read.
    #[error("the body file {path} can't be read")]
    Body {
        /// As typed, without the `@`.
        path: String,
        /// The reason.
        source: std::io::Error,
    },
    /// Each function of a churn is called all the time.
    #[error("{functions} functions need at least as many --connections, not {connections}")]
    FewConnections {
        /// As typed.
        connections: u32,
        /// Different functions.
        functions: u32,
    },
    /// The schedule would not fit in memory.
    #[error("{rate} calls per second for {seconds} s is more than {most} calls; use a lower --rate or --duration")]
    TooManyCalls {
        /// Calls per second.
        rate: f64,
        /// The duration.
        seconds: f64,
        /// The limit.
        most: usize,
    },
}

const DEFAULT_RATE: f64 = 50.0;
const MOST_CALLS: usize = 10_000_000;

impl CallArgs {
    /// Resolves what was typed. There is no open loop, no duration and no limit of cycles until a command sets one.
    pub(crate) fn plan(&self, connections: u32) -> Result<Plan, PlanError> {
        let body = match self.body.as_deref() {
            None => None,
            Some(typed) => match typed.strip_prefix('@') {
                None => Some(Bytes::copy_from_slice(typed.as_bytes())),
                Some(path) => Some(
                    std::fs::read(path)
                        .map_err(|source| PlanError::Body {
                            path: path.to_owned(),
                            source,
                        })?
                        .into(),
                ),
            },
        };
        let mut functions: Vec<String> = Vec::new();
        for name in &self.functions {
            if !functions.contains(name) {
                functions.push(name.clone());
            }
        }
        Ok(Plan {
            target: self.url.clone(),
            functions,
            admin_socket: self.admin_socket.clone(),
            rate: 0.0,
            cycle_rate: None,
            arrivals: Arrivals::Constant,
            duration: Duration::ZERO,
            pause: Duration::ZERO,
            cycles: None,
            body,
            connections,
            timeout: self.timeout,
            evict: Scope::All,
        })
    }
}

impl LoadArgs {
    /// Resolves what was typed.
    pub(crate) fn plan(&self) -> Result<Plan, PlanError> {
        let rate = self.rate.unwrap_or(DEFAULT_RATE);
        if rate * self.duration.as_secs_f64() > MOST_CALLS as f64 {
            return Err(PlanError::TooManyCalls {
                rate,
                seconds: self.duration.as_secs_f64(),
                most: MOST_CALLS,
            });
        }
        Ok(Plan {
            rate,
            cycle_rate: self.rate,
            arrivals: if self.poisson {
                Arrivals::Poisson
            } else {
                Arrivals::Constant
            },
            duration: self.duration,
            pause: self.pause,
            cycles: self.cycles,
            evict: self.evict,
            ..self.calls.plan(self.connections)?
        })
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;
    use crate::args::{Args, Command};

    fn load(extra: &[&str]) -> LoadArgs {
        let base = ["loadtest", "warm", "--url", "http://127.0.0.1:8080", "--function", "a"];
        let args = Args::try_parse_from(base.iter().chain(extra)).unwrap();
        match args.command {
            Command::Warm(load) => load,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn defaults_and_repeats() {
        let plan = load(&["--function", "b", "--function", "a"]).plan().unwrap();
        assert_eq!(plan.functions, ["a", "b"]);
        assert_eq!(plan.rate, DEFAULT_RATE);
        assert_eq!(plan.cycle_rate, None);
        assert_eq!(plan.evict, Scope::All);
        assert!(plan.body.is_none());
    }

    #[test]
    fn a_body_can_come_from_a_file() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("body");
        std::fs::write(&path, b"\x00\x01").unwrap();
        let typed = format!("@{}", path.display());
        assert_eq!(
            load(&["--body", &typed]).plan().unwrap().body.unwrap().as_ref(),
            b"\x00\x01"
        );
        assert!(load(&["--body", "@/nowhere/at/all"]).plan().is_err());
    }

    #[test]
    fn a_schedule_too_large_for_memory_is_refused() {
        assert!(load(&["--rate", "1000000", "--duration", "1h"]).plan().is_err());
    }
}
