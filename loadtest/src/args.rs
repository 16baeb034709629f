//! The command line: what was typed ([`Args`]) and what it means ([`Plan`]).

use std::path::PathBuf;
use std::time::Duration;

use bytes::Bytes;
use clap::{Parser, Subcommand};

use crate::arrivals::Arrivals;
use crate::client::Target;

/// Measures cold and warm calls of a running server, and the floors of this machine.
#[derive(Debug, Parser)]
#[command(name = "loadtest", version, about)]
pub(crate) struct Args {
    /// What to measure.
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// One measurement.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Measure the floors: what the bare machine needs for the parts of a start
    Floor(FloorArgs),
    /// Open-loop load on functions that are already warm
    Warm(LoadArgs),
    /// Cycles of evicting everything and calling once (closed loop)
    Cold(LoadArgs),
    /// Cold against warm, with the floors measured in the same run, interleaved
    Compare(CompareArgs),
    /// The bare echo server behind the floor F_http; prints its address, ends when its stdin closes
    #[command(hide = true)]
    Echo,
}

/// Where a report goes besides standard output.
#[derive(Debug, Default, Clone)]
pub(crate) struct Outputs {
    /// The JSON file, when asked for.
    pub(crate) json: Option<PathBuf>,
    /// The SVG file, when asked for.
    pub(crate) plot: Option<PathBuf>,
}

impl Command {
    /// The files this command was asked to write.
    pub(crate) fn outputs(&self) -> Outputs {
        match self {
            Self::Floor(args) => Outputs {
                json: args.json.clone(),
                plot: None,
            },
            Self::Warm(args) | Self::Cold(args) => Outputs {
                json: args.json.clone(),
                plot: args.plot.clone(),
            },
            Self::Compare(args) => Outputs {
                json: args.load.json.clone(),
                plot: args.load.plot.clone(),
            },
            Self::Echo => Outputs::default(),
        }
    }
}

/// Options of `loadtest floor`.
#[derive(Debug, clap::Args)]
pub(crate) struct FloorArgs {
    /// Write the numbers to this file as JSON
    #[arg(long, value_name = "FILE")]
    pub(crate) json: Option<PathBuf>,
    /// Interleaved rounds; each measures every floor some times
    #[arg(long, value_name = "N", default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub(crate) rounds: u32,
    /// Wait this long before each sample that the load test times itself
    #[arg(long, value_name = "D", default_value = "0", value_parser = parse_duration)]
    pub(crate) pause: Duration,
    /// The program that measures the native floors [default: `floor` beside this program]
    #[arg(long, value_name = "PATH")]
    pub(crate) floor_bin: Option<PathBuf>,
}

/// Options of every command that sends load.
#[derive(Debug, clap::Args)]
pub(crate) struct LoadArgs {
    /// The server, as http://HOST:PORT
    #[arg(long, value_name = "URL")]
    pub(crate) url: Target,
    /// A function to call; may be given several times
    #[arg(long = "function", value_name = "N", required = true, value_parser = parse_function)]
    pub(crate) functions: Vec<String>,
    /// The server's admin socket, needed to evict (cold, compare)
    #[arg(long, value_name = "PATH", env = "FN_ADMIN_SOCKET")]
    pub(crate) admin_socket: Option<PathBuf>,
    /// Calls per second of the open loop [default: 50]; of `cold` alone: the most cycles per second [default: no limit]
    #[arg(long, value_name = "R", value_parser = parse_rate)]
    pub(crate) rate: Option<f64>,
    /// How long to measure each function, such as 10s, 500ms or 2m
    #[arg(long, value_name = "D", default_value = "10s", value_parser = parse_duration)]
    pub(crate) duration: Duration,
    /// Poisson arrivals instead of evenly spaced ones
    #[arg(long)]
    pub(crate) poisson: bool,
    /// Send this body with POST (`@FILE` reads a file); without it calls are GET
    #[arg(long, value_name = "TEXT|@FILE")]
    pub(crate) body: Option<String>,
    /// Write everything measured to this file as JSON
    #[arg(long, value_name = "FILE")]
    pub(crate) json: Option<PathBuf>,
    /// Draw the latency distributions into this SVG file
    #[arg(long, value_name = "FILE")]
    pub(crate) plot: Option<PathBuf>,
    /// Cold calls: wait this long between the eviction and the call
    #[arg(long, value_name = "D", default_value = "0", value_parser = parse_duration)]
    pub(crate) pause: Duration,
    /// Cold calls: stop after this many cycles, even if the duration is not over
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) cycles: Option<u64>,
    /// The most connections, and so calls in flight, at once
    #[arg(long, value_name = "N", default_value_t = 64, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub(crate) connections: u32,
    /// A call without a whole reply after this long is a failure
    #[arg(long, value_name = "D", default_value = "60s", value_parser = parse_duration)]
    pub(crate) timeout: Duration,
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
            body,
            connections: self.connections,
            timeout: self.timeout,
        })
    }
}

fn parse_rate(typed: &str) -> Result<f64, String> {
    let rate: f64 = typed
        .parse()
        .map_err(|_| format!("`{typed}` is not a number of calls per second"))?;
    if rate.is_finite() && (0.001..=1_000_000.0).contains(&rate) {
        Ok(rate)
    } else {
        Err("the rate must lie between 0.001 and 1000000 calls per second".to_owned())
    }
}

fn parse_duration(typed: &str) -> Result<Duration, String> {
    let digits = typed.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let unit = match &typed[digits.len()..] {
        "us" => 1e-6,
        "ms" => 1e-3,
        "" | "s" => 1.0,
        "m" => 60.0,
        "h" => 3600.0,
        other => return Err(format!("unknown unit `{other}`; use us, ms, s, m or h")),
    };
    let value: f64 = digits
        .parse()
        .map_err(|_| format!("`{typed}` is not a duration such as 10s or 500ms"))?;
    let seconds = value * unit;
    if seconds.is_finite() && (0.0..=86_400.0).contains(&seconds) {
        Ok(Duration::from_secs_f64(seconds))
    } else {
        Err("a duration must lie between 0 and 24h".to_owned())
    }
}

fn parse_function(typed: &str) -> Result<String, String> {
    let good = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    if (1..=63).contains(&typed.len()) && typed.chars().all(good) {
        Ok(typed.to_owned())
    } else {
        Err("a function name has 1 to 63 of a-z, 0-9 and `-`".to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn load(extra: &[&str]) -> LoadArgs {
        let base = ["loadtest", "warm", "--url", "http://127.0.0.1:8080", "--function", "a"];
        let args = Args::try_parse_from(base.iter().chain(extra)).unwrap();
        match args.command {
            Command::Warm(load) => load,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn the_command_line_is_consistent() {
        use clap::CommandFactory as _;
        Args::command().debug_assert();
    }

    #[test]
    fn durations_have_units() {
        assert_eq!(parse_duration("500ms"), Ok(Duration::from_millis(500)));
        assert_eq!(parse_duration("1.5"), Ok(Duration::from_millis(1500)));
        assert_eq!(parse_duration("2m"), Ok(Duration::from_secs(120)));
        assert!(parse_duration("2 weeks").is_err());
        assert!(parse_duration("-1s").is_err());
        assert!(parse_duration("ms").is_err());
    }

    #[test]
    fn defaults_and_repeats() {
        let plan = load(&["--function", "b", "--function", "a"]).plan().unwrap();
        assert_eq!(plan.functions, ["a", "b"]);
        assert_eq!(plan.rate, DEFAULT_RATE);
        assert_eq!(plan.cycle_rate, None);
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

    #[test]
    fn names_that_would_change_the_path_are_refused() {
        for bad in ["", "a/b", "A", "a?b", "a b", &"a".repeat(64)] {
            assert!(parse_function(bad).is_err(), "{bad}");
        }
    }
}
