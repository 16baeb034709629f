//! The floors: what the bare machine needs for the parts of a start and of a call, measured in rounds.
//!
//! The native ones need raw system calls, which stand in `sandbox` alone, so a program of that package measures them
//! (`floor/native.rs`). A floor that can't be measured is reported as missing with the reason; it never gets a number.

mod http;
mod native;

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use crate::child::{self, ChildError, Env};
use crate::report::{FloorReport, MissingFloor};
use crate::series::Series;
use crate::workload::MODULES;

use http::HttpFloor;
use native::{NativeError, Sampled, Until};

pub(crate) use http::HttpError;

/// One floor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Floor {
    /// vfork and exec of a static binary, to its exit.
    Exec,
    /// clone with six new namespaces and exit.
    Ns6,
    /// The same with a network namespace.
    Ns7,
    /// A whole minimal sandbox.
    Sandbox,
    /// 256 bytes there and back over a unix socket pair.
    RoundTrip,
    /// fork of an initialised Python to its first byte.
    Fork,
    /// The same, with what the load test's own Python function imports.
    ForkImport,
    /// That one, until the child has answered a call.
    ForkCall,
    /// `python3 -c pass`.
    Python,
    /// `python3` with the imports of the load test's own Python function.
    Import,
    /// `node -e 0`.
    Node,
    /// A bare HTTP exchange, one after the other.
    Http,
    /// A bare HTTP exchange under the schedule of the warm calls.
    HttpOpen,
}

const PYTHON: &str = "/usr/bin/python3";
const NODE: &str = "/usr/bin/node";
/// A floor program that takes longer is broken: the slowest takes a second.
const LIMIT: Duration = Duration::from_secs(120);

impl Floor {
    /// Every floor, in the order of the table.
    pub(crate) const ALL: [Self; 13] = [
        Self::Exec,
        Self::Ns6,
        Self::Ns7,
        Self::Sandbox,
        Self::RoundTrip,
        Self::Fork,
        Self::ForkImport,
        Self::ForkCall,
        Self::Python,
        Self::Import,
        Self::Node,
        Self::Http,
        Self::HttpOpen,
    ];
    /// Those that `compare` measures: the others belong to functions of the load test's own.
    pub(crate) const USUAL: [Self; 10] = [
        Self::Exec,
        Self::Ns6,
        Self::Ns7,
        Self::Sandbox,
        Self::RoundTrip,
        Self::Fork,
        Self::Python,
        Self::Node,
        Self::Http,
        Self::HttpOpen,
    ];

    /// The name in reports.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Exec => "F_exec",
            Self::Ns6 => "F_ns6",
            Self::Ns7 => "F_ns7",
            Self::Sandbox => "F_box",
            Self::RoundTrip => "F_rtt",
            Self::Fork => "F_fork",
            Self::ForkImport => "F_fork_import",
            Self::ForkCall => "F_fork_call",
            Self::Python => "F_py",
            Self::Import => "F_import",
            Self::Node => "F_node",
            Self::Http => "F_http",
            Self::HttpOpen => "F_http_open",
        }
    }

    fn what(self) -> &'static str {
        match self {
            Self::Exec => "vfork + exec of a static binary, to its exit",
            Self::Ns6 => "clone with user, mnt, pid, ipc, uts, cgroup namespaces and exit",
            Self::Ns7 => "the same with a net namespace",
            Self::Sandbox => "F_ns7 + id maps, tmpfs, overlay, proc, pivot_root, exec of a static binary",
            Self::RoundTrip => "256 bytes there and back over a unix socket pair",
            Self::Fork => "os.fork of a Python with json imported, to its first byte",
            Self::ForkImport => "os.fork of a Python with json, http.client and asyncio imported, to its first byte",
            Self::ForkCall => "the same, until the child has read an event and answered it over a socket pair",
            Self::Python => "python3 -c pass, to its exit",
            Self::Import => "python3 -c 'import json, http.client, asyncio', to its exit",
            Self::Node => "node -e 0, to its exit",
            Self::Http => "a bare hyper echo server, this client, one call after the other",
            Self::HttpOpen => "a bare hyper echo server, this client, the warm calls' schedule",
        }
    }

    /// The samples of one round: cheap floors get more, so that every round stays well below a second; with a pause before
    /// each there are fewer.
    fn per_round(self, pause: Duration) -> u32 {
        let share = if pause.is_zero() { 1 } else { 4 };
        let count: u32 = match self {
            Self::Exec | Self::Ns6 | Self::Ns7 | Self::Sandbox => 20,
            Self::Fork | Self::ForkImport | Self::ForkCall => 20,
            Self::RoundTrip | Self::Http => 100,
            Self::Python => 4,
            Self::Node | Self::Import => 2,
            Self::HttpOpen => 0,
        };
        count.div_ceil(share)
    }
}

/// The open loop that F_http_open copies.
#[derive(Debug, Clone)]
pub(crate) struct OpenSchedule(pub(crate) Vec<Duration>);

/// Why one floor has no samples.
#[derive(Debug)]
struct Unmeasured {
    /// Not installed, as opposed to installed and broken.
    absent: bool,
    reason: String,
}

impl From<NativeError> for Unmeasured {
    fn from(error: NativeError) -> Self {
        Self {
            absent: error.is_absent(),
            reason: error.advice(),
        }
    }
}

impl From<ChildError> for Unmeasured {
    fn from(error: ChildError) -> Self {
        NativeError::from(error).into()
    }
}

impl From<HttpError> for Unmeasured {
    fn from(error: HttpError) -> Self {
        Self {
            absent: false,
            reason: error.to_string(),
        }
    }
}

/// Measures floors round by round and keeps the echo server between the rounds.
#[derive(Debug)]
pub(crate) struct Bench {
    floor_bin: PathBuf,
    http: HttpFloor,
    pause: Duration,
    entries: Vec<Entry>,
    broken: Vec<String>,
}

#[derive(Debug)]
struct Entry {
    floor: Floor,
    series: Series,
    note: Option<String>,
    missing: Option<String>,
}

impl Bench {
    /// Starts the echo server. `floor_bin` is the program for the native floors, by default the one named `floor`
    /// beside this program. `pause` precedes every sample, as it precedes cold calls.
    pub(crate) async fn start(floor_bin: Option<&Path>, floors: &[Floor], pause: Duration) -> Result<Self, HttpError> {
        let entry = |floor| Entry {
            floor,
            series: Series::default(),
            note: None,
            missing: None,
        };
        Ok(Self {
            floor_bin: floor_bin.map_or_else(native::beside_this_program, Path::to_owned),
            http: HttpFloor::start().await?,
            pause,
            entries: floors.iter().copied().map(entry).collect(),
            broken: Vec::new(),
        })
    }

    /// Measures every floor once more; F_http_open only with a schedule. A floor that failed is not tried again.
    pub(crate) async fn round(&mut self, open: Option<OpenSchedule>) {
        for at in 0..self.entries.len() {
            if self.entries[at].missing.is_some() {
                continue;
            }
            let floor = self.entries[at].floor;
            let sampled = self.sample(floor, open.as_ref()).await;
            let entry = &mut self.entries[at];
            match sampled {
                Ok(Sampled { samples, note }) => {
                    samples.into_iter().for_each(|sample| entry.series.add(sample));
                    entry.series.end_round();
                    entry.note = note.or(entry.note.take());
                }
                Err(Unmeasured { absent, reason }) => {
                    if !absent {
                        self.broken.push(format!("{} failed: {reason}", floor.name()));
                    }
                    entry.missing = Some(reason);
                }
            }
        }
    }

    async fn sample(&self, floor: Floor, open: Option<&OpenSchedule>) -> Result<Sampled, Unmeasured> {
        let count = floor.per_round(self.pause);
        let python = Path::new(PYTHON);
        let fork = async |how| Ok(native::fork(python, floor, how, count, self.pause, LIMIT).await?);
        let native = async |word| Ok(native::run(&self.floor_bin, word, floor, count, self.pause, LIMIT).await?);
        match floor {
            Floor::Exec => native("exec").await,
            Floor::Ns6 => native("ns6").await,
            Floor::Ns7 => native("ns7").await,
            Floor::Sandbox => native("box").await,
            Floor::RoundTrip => native("rtt").await,
            Floor::Fork => fork((Until::First, &["json"])).await,
            Floor::ForkImport => fork((Until::First, &MODULES)).await,
            Floor::ForkCall => fork((Until::Answer, &MODULES)).await,
            Floor::Python => self.starts(PYTHON, &["-c", "pass"], count).await,
            Floor::Import => {
                let import = format!("import {}", MODULES.join(", "));
                self.starts(PYTHON, &["-c", &import], count).await
            }
            Floor::Node => self.starts(NODE, &["-e", "0"], count).await,
            Floor::Http => Ok(self.http.closed(count, self.pause).await?.into()),
            Floor::HttpOpen => match open {
                Some(OpenSchedule(offsets)) => Ok(self.http.open(offsets).await?.into()),
                None => Ok(Vec::new().into()),
            },
        }
    }

    async fn starts(&self, program: &str, args: &[&str], count: u32) -> Result<Sampled, Unmeasured> {
        let mut samples = Vec::new();
        for _ in 0..count {
            tokio::time::sleep_until((Instant::now() + self.pause).into()).await;
            samples.push(child::time_to_exit(Path::new(program), args, Env::Bare)?);
        }
        Ok(samples.into())
    }

    /// What was measured and what was not, in the order of the table.
    pub(crate) fn report(&self) -> (Vec<FloorReport>, Vec<MissingFloor>) {
        let measured = self
            .entries
            .iter()
            .filter(|entry| entry.missing.is_none())
            .filter_map(|entry| {
                Some(FloorReport {
                    name: entry.floor.name().to_owned(),
                    what: entry.floor.what().to_owned(),
                    note: entry.note.clone(),
                    times: entry.series.summary()?,
                })
            });
        let missing = self.entries.iter().filter_map(|entry| {
            Some(MissingFloor {
                name: entry.floor.name().to_owned(),
                reason: entry.missing.clone()?,
            })
        });
        (measured.collect(), missing.collect())
    }

    /// The floors whose program is there and failed: the run fails with them. An absent program is no failure.
    pub(crate) fn broken(&self) -> &[String] {
        &self.broken
    }
}
