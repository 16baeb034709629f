//! Tells when the files of a bundle have changed and have stopped changing.
//!
//! A directory is watched with everything below it, but for what is never packed. A single file is watched by its directory, as
//! editors put a new file in its place. Dropping this ends the watching.
//!
//! ```text
//!  still --change--> begun --a file was closed or got its name--> whole --change--> begun
//!                      '---- 10 ms without a change ----> told <---- 2 ms ----'
//! ```

use std::ffi::OsString;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use notify::event::{AccessKind, AccessMode, ModifyKind, RenameMode};
use notify::{Event, EventKind, RecommendedWatcher, RecursiveMode, Watcher};
use tokio::sync::Notify;

use crate::exit::Exit;
use crate::failure::Explain;

/// Files are at rest when nothing changed for so long: an editor writes one in several steps.
const REST: Duration = Duration::from_millis(10);
/// The same when the last step is one that ends a save. Another file of the same save comes sooner, and one that comes later is told by
/// itself.
const REST_OF_WHOLE: Duration = Duration::from_millis(2);
/// What never comes to rest is deployed after this all the same.
const RESTLESS: Duration = Duration::from_millis(500);

/// See the module's head.
pub(super) struct Watch {
    _watcher: RecommendedWatcher,
    seen: Arc<Seen>,
    /// The first and the last change that were not told yet.
    unrest: Option<(Instant, Instant)>,
}

/// What the watcher's thread has seen.
#[derive(Default)]
struct Seen {
    /// Something changed.
    changed: Notify,
    /// The last of it ended a save.
    whole: AtomicBool,
}

impl Seen {
    fn take(&self, step: Step) {
        self.whole.store(step == Step::Whole, Ordering::SeqCst);
        self.changed.notify_one();
    }

    fn rest(&self) -> Duration {
        match self.whole.load(Ordering::SeqCst) {
            true => REST_OF_WHOLE,
            false => REST,
        }
    }
}

/// A path that can't be watched.
#[derive(Debug, thiserror::Error)]
pub(crate) enum WatchError {
    /// There is nothing, or it is out of reach.
    #[error("{} can't be watched", path.display())]
    Path {
        /// The path.
        path: PathBuf,
        /// What the system says.
        #[source]
        cause: io::Error,
    },
    /// The system does not watch it.
    #[error("{} can't be watched", path.display())]
    Watcher {
        /// The path.
        path: PathBuf,
        /// Why.
        #[source]
        cause: notify::Error,
    },
}

impl Explain for WatchError {
    fn exit(&self) -> Exit {
        match self {
            WatchError::Path { cause, .. } if cause.kind() == io::ErrorKind::NotFound => Exit::NotFound,
            WatchError::Path { .. } => Exit::BadInput,
            WatchError::Watcher { .. } => Exit::Failed,
        }
    }

    fn code(&self) -> String {
        "unwatchable".into()
    }

    fn hint(&self) -> Option<String> {
        match self {
            WatchError::Path { .. } => Some("Name a directory, a zip or an executable file.".into()),
            WatchError::Watcher { .. } => {
                Some("If it holds very many directories, raise fs.inotify.max_user_watches, or deploy by hand.".into())
            }
        }
    }
}

impl Watch {
    /// Begins to watch.
    ///
    /// # Errors
    /// [`WatchError`]
    pub(super) fn start(path: &Path) -> Result<Self, WatchError> {
        let unreachable = |cause| WatchError::Path {
            path: path.to_owned(),
            cause,
        };
        let whole = path.canonicalize().map_err(unreachable)?;
        let (root, only) = if whole.is_dir() {
            (whole, None)
        } else {
            let name = whole.file_name().map(OsString::from);
            let parent = whole.parent().map(Path::to_owned);
            (parent.unwrap_or_else(|| PathBuf::from("/")), name)
        };
        let seen = Arc::<Seen>::default();
        let (told, of) = (
            seen.clone(),
            Interest {
                root: root.clone(),
                only,
            },
        );
        let mode = match of.only {
            Some(_) => RecursiveMode::NonRecursive,
            None => RecursiveMode::Recursive,
        };
        let unwatched = |cause| WatchError::Watcher {
            path: path.to_owned(),
            cause,
        };
        let mut watcher = notify::recommended_watcher(move |event: notify::Result<Event>| {
            // An event that can't be read may have been any.
            if let Some(step) = event.map_or(Some(Step::Begun), |event| of.step(&event)) {
                told.take(step);
            }
        })
        .map_err(unwatched)?;
        watcher.watch(&root, mode).map_err(unwatched)?;
        Ok(Self {
            _watcher: watcher,
            seen,
            unrest: None,
        })
    }

    /// Waits for a change, and until the files are at rest. Returns when the last change came. Cancel safe.
    pub(super) async fn changed(&mut self) -> Instant {
        loop {
            let Some((first, last)) = self.unrest else {
                self.seen.changed.notified().await;
                self.unrest = Some((Instant::now(), Instant::now()));
                continue;
            };
            let rest = (last + self.seen.rest()).min(first + RESTLESS);
            match tokio::time::timeout_at(rest.into(), self.seen.changed.notified()).await {
                Ok(()) => self.unrest = Some((first, Instant::now())),
                Err(_) => {
                    self.unrest = None;
                    return last;
                }
            }
        }
    }
}

/// What an event is in a save.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    /// More is to come.
    Begun,
    /// A file was closed after it was written, or has got its name.
    Whole,
}

/// Which events matter.
struct Interest {
    root: PathBuf,
    only: Option<OsString>,
}

impl Interest {
    /// What the event is, if it matters.
    fn step(&self, event: &Event) -> Option<Step> {
        let step = match event.kind {
            EventKind::Access(AccessKind::Close(AccessMode::Write))
            | EventKind::Modify(ModifyKind::Name(RenameMode::To | RenameMode::Both)) => Step::Whole,
            EventKind::Access(_) => return None,
            _ => Step::Begun,
        };
        event.paths.iter().any(|path| self.covers_path(path)).then_some(step)
    }

    fn covers_path(&self, path: &Path) -> bool {
        let Ok(inside) = path.strip_prefix(&self.root) else {
            return false;
        };
        match &self.only {
            Some(name) => inside.as_os_str() == name,
            None => functions::bundle::packs(inside),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(kind: EventKind, path: &str) -> Event {
        Event::new(kind).add_path(path.into())
    }

    #[test]
    fn only_changes_of_what_is_packed_matter() {
        let of = Interest {
            root: "/a".into(),
            only: None,
        };
        let modified = EventKind::Modify(ModifyKind::Any);
        for path in ["/a/handler.py", "/a/b/c.txt", "/a/.git2", "/a/fn.toml"] {
            assert_eq!(of.step(&event(modified, path)), Some(Step::Begun), "{path}");
        }
        for path in [
            "/a/.git/index",
            "/a/b/__pycache__/x.pyc",
            "/a/node_modules/.cache/x",
            "/b/handler.py",
        ] {
            assert_eq!(of.step(&event(modified, path)), None, "{path}");
        }
        for (kind, step) in [
            (EventKind::Access(AccessKind::Any), None),
            (EventKind::Access(AccessKind::Close(AccessMode::Read)), None),
            (
                EventKind::Access(AccessKind::Close(AccessMode::Write)),
                Some(Step::Whole),
            ),
            (EventKind::Modify(ModifyKind::Name(RenameMode::From)), Some(Step::Begun)),
            (EventKind::Modify(ModifyKind::Name(RenameMode::To)), Some(Step::Whole)),
        ] {
            assert_eq!(of.step(&event(kind, "/a/handler.py")), step, "{kind:?}");
        }
    }

    #[test]
    fn of_a_file_only_that_file_matters() {
        let of = Interest {
            root: "/a".into(),
            only: Some("run".into()),
        };
        let modified = EventKind::Modify(ModifyKind::Any);
        assert!(of.step(&event(modified, "/a/run")).is_some());
        assert!(of.step(&event(modified, "/a/run~")).is_none());
    }

    #[tokio::test]
    async fn a_change_is_told_once_the_files_are_at_rest() {
        let dir = tempfile::tempdir().unwrap();
        let mut watch = Watch::start(dir.path()).unwrap();
        for n in 0..10 {
            std::fs::write(dir.path().join("handler.py"), format!("{n}")).unwrap();
        }
        watch.changed().await;
        std::fs::create_dir(dir.path().join("deep")).unwrap();
        watch.changed().await;
        std::fs::write(dir.path().join("deep/module.py"), "1").unwrap();
        watch.changed().await;
    }

    /// However an editor saves, what is told last comes after its last step.
    #[tokio::test]
    async fn the_last_step_of_a_save_is_told() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("handler.py");
        let mut watch = Watch::start(dir.path()).unwrap();
        let told = async |watch: &mut Watch, expected: &str| {
            // A step before the last may be told as well.
            loop {
                watch.changed().await;
                if std::fs::read_to_string(&file).is_ok_and(|text| text == expected) {
                    return;
                }
            }
        };
        std::fs::write(&file, "in place").unwrap();
        told(&mut watch, "in place").await;
        std::fs::write(dir.path().join(".new"), "renamed").unwrap();
        std::fs::rename(dir.path().join(".new"), &file).unwrap();
        told(&mut watch, "renamed").await;
        std::fs::rename(&file, dir.path().join("handler.py~")).unwrap();
        tokio::task::yield_now().await;
        std::fs::write(&file, "kept a copy").unwrap();
        std::fs::remove_file(dir.path().join("handler.py~")).unwrap();
        told(&mut watch, "kept a copy").await;
    }

    #[tokio::test]
    async fn a_change_is_told_to_whoever_asks_again() {
        let dir = tempfile::tempdir().unwrap();
        let mut watch = Watch::start(dir.path()).unwrap();
        std::fs::write(dir.path().join("handler.py"), "1").unwrap();
        while watch.unrest.is_none() {
            // On a machine that stalls the files may be at rest by the time that this one looks.
            if tokio::time::timeout(Duration::ZERO, watch.changed()).await.is_ok() {
                return;
            }
            tokio::task::yield_now().await;
        }
        watch.changed().await;
    }

    #[test]
    fn what_is_not_there_can_not_be_watched() {
        let error = Watch::start(Path::new("/nowhere/at/all")).err().unwrap();
        assert_eq!(error.exit(), Exit::NotFound);
        assert!(error.hint().is_some());
    }
}
