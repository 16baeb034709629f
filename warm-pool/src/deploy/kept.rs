//! The output of a process that serves no call: the last lines, for whoever deploys.

use std::sync::{Arc, Mutex};

use functions::Revision;
use prometheus::IntCounter;

use crate::driver::bring_up::Output;
use crate::log_tap::{LogRecord, LogSink, Source};
use crate::shelf::InstanceId;

/// Lines of output that are kept, the last ones.
const LINES_KEPT: usize = 200;

/// Keeps the last lines of the output of one process.
#[derive(Default)]
pub(super) struct Kept {
    lines: Mutex<std::collections::VecDeque<String>>,
}

impl LogSink for Kept {
    fn record(&self, record: &LogRecord<'_>) {
        let mut lines = self.lines.lock().expect("nothing panics under the lock");
        if lines.len() == LINES_KEPT {
            lines.pop_front();
        }
        lines.push_back(record.text.to_owned());
    }
}

impl Kept {
    /// Where the output of a process of `revision` goes, and the way to what came.
    pub(super) fn output(revision: &Revision) -> (Output, Arc<Kept>) {
        let kept = Arc::new(Kept::default());
        let output = Output {
            source: Source {
                function: revision.name.clone(),
                revision: revision.number,
                instance: InstanceId(0),
                attributes: false,
            },
            sink: kept.clone(),
            // A check that prints too much is no event that anybody counts.
            dropped: IntCounter::new("discarded", "not exported").expect("the name is valid"),
        };
        (output, kept)
    }

    /// The lines, and forgets them.
    pub(super) fn take(&self) -> Vec<String> {
        std::mem::take(&mut *self.lines.lock().expect("nothing panics under the lock")).into()
    }
}
