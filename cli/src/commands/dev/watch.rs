//! Tells when the files of a bundle have changed and have stopped changing.
//!
//! A directory is watched with everything below it, but for what is never packed. A single file is watched by its directory, as
//! editors put a new file in its place. Dropping this ends the watching.

use std::ffi::OsString;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use notify::{Event, EventKind, RecommendedWatcher, RecursiveMode, Watcher};
use tokio::sync::Notify;

use crate::exit::Exit;
use crate::failure::Explain;

/// Files are at rest when nothing changed for so long: an editor writes one in several steps.
const REST: Duration = Duration::from_millis(10);
/// What never comes to rest is deployed after this all the same.
const RESTLESS: Duration = Duration::from_millis(500);

/// See the module's head.
pub(super) struct Watch {
    _watcher: RecommendedWatcher,
    changed: Arc<Notify>,
    /// The first and the last change that were not told yet.
    unrest: Option<(Instant, Instant)>,
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
        let changed = Arc::new(Notify::new());
        let (told, of) = (
            changed.clone(),
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
        // An event that can't be read may have been any.
        let mut watcher = notify::recommended_watcher(move |event: notify::Result<Event>| {
            if event.is_ok_and(|event| !of.covers(&event)) {
                return;
            }
            told.notify_one();
        })
        .map_err(unwatched)?;
        watcher.watch(&root, mode).map_err(unwatched)?;
        Ok(Self {
            _watcher: watcher,
            changed,
            unrest: None,
        })
    }

    /// Waits for a change, and until the files are at rest. Returns when the last change came. Cancel safe.
    pub(super) async fn changed(&mut self) -> Instant {
        loop {
            let Some((first, last)) = self.unrest else {
                self.changed.notified().await;
                self.unrest = Some((Instant::now(), Instant::now()));
                continue;
            };
            let rest = (last + REST).min(first + RESTLESS);
            match tokio::time::timeout_at(rest.into(), self.changed.notified()).await {
                Ok(()) => self.unrest = Some((first, Instant::now())),
                Err(_) => {
                    self.unrest = None;
                    return last;
                }
            }
        }
    }
}

/// Which events matter.
struct Interest {
    root: PathBuf,
    only: Option<OsString>,
}

impl Interest {
    fn covers(&self, event: &Event) -> bool {
        !matches!(event.kind, EventKind::Access(_)) && event.paths.iter().any(|path| self.covers_path(path))
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
    use notify::event::{AccessKind, ModifyKind};

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
            assert!(of.covers(&event(modified, path)), "{path}");
        }
        for path in [
            "/a/.git/index",
            "/a/b/__pycache__/x.pyc",
            "/a/node_modules/.cache/x",
            "/b/handler.py",
        ] {
            assert!(!of.covers(&event(modified, path)), "{path}");
        }
        assert!(!of.covers(&event(EventKind::Access(AccessKind::Any), "/a/handler.py")));
    }

    #[test]
    fn of_a_file_only_that_file_matters() {
        let of = Interest {
            root: "/a".into(),
            only: Some("run".into()),
        };
        let modified = EventKind::Modify(ModifyKind::Any);
        assert!(of.covers(&event(modified, "/a/run")));
        assert!(!of.covers(&event(modified, "/a/run~")));
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

    #[tokio::test]
    async fn a_change_is_told_to_whoever_asks_again() {
        let dir = tempfile::tempdir().unwrap();
        let mut watch = Watch::start(dir.path()).unwrap();
        std::fs::write(dir.path().join("handler.py"), "1").unwrap();
        while watch.unrest.is_none() {
            let asked = tokio::time::timeout(Duration::ZERO, watch.changed());
            assert!(asked.await.is_err() || watch.unrest.is_none());
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
