//! What long work says while it runs, on standard error.
//!
//! ```text
//! begin ---> Step ---> drop: nothing is left behind on a terminal
//! ```
//!
//! On a terminal a step is a spinner or a bar; elsewhere it is one plain line at its beginning, so that a build log
//! shows where the time went without a thousand redraws.

use std::io::{self, IsTerminal};
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};

/// Where progress goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Progress {
    /// A terminal: bars and spinners.
    Terminal,
    /// A file or a pipe: a line per step.
    Lines,
    /// Nowhere, as the answer comes too soon for it to be read.
    Silent,
}

impl Progress {
    /// Looks at standard error.
    pub(crate) fn detect() -> Self {
        if io::stderr().is_terminal() {
            Progress::Terminal
        } else {
            Progress::Lines
        }
    }

    /// Begins work of unknown length.
    pub(crate) fn step(self, what: &str) -> Step {
        match self {
            Progress::Terminal => {
                let bar = ProgressBar::new_spinner()
                    .with_style(style("{spinner} {prefix} {wide_msg:.dim}"))
                    .with_prefix(what.to_owned());
                bar.enable_steady_tick(Duration::from_millis(100));
                Step { bar }
            }
            Progress::Lines => Step::line(what),
            Progress::Silent => Step::silent(),
        }
    }

    /// Begins a transfer of so many bytes.
    pub(crate) fn transfer(self, what: &str, bytes: u64) -> Step {
        match self {
            Progress::Terminal => Step {
                bar: ProgressBar::new(bytes)
                    .with_style(style("  {prefix} {bar:30} {bytes}/{total_bytes} {bytes_per_sec}"))
                    .with_prefix(what.to_owned()),
            },
            Progress::Lines => Step::line(what),
            Progress::Silent => Step::silent(),
        }
    }
}

/// One piece of work under way.
#[derive(Debug)]
pub(crate) struct Step {
    bar: ProgressBar,
}

impl Step {
    fn line(what: &str) -> Self {
        eprintln!("{what}");
        Step::silent()
    }

    fn silent() -> Self {
        Step {
            bar: ProgressBar::hidden(),
        }
    }

    /// Shows what is being done at the moment, for example an installer's last line.
    pub(crate) fn note(&self, text: &str) {
        self.bar.set_message(text.to_owned());
    }

    /// A counter of transferred bytes, for the stream that sends them.
    pub(crate) fn counter(&self) -> impl Fn(u64) + Send + Sync + use<> {
        let bar = self.bar.clone();
        move |bytes| bar.inc(bytes)
    }
}

impl Drop for Step {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}

fn style(template: &str) -> ProgressStyle {
    ProgressStyle::with_template(template).expect("the templates of this file are well formed")
}
