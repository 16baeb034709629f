//! Where the state directory and the admin socket are.
//!
//! `fn serve` and every client command ask the same functions, so that they meet at the same socket without a word
//! from the user. The environment is read through [`Env`], so that tests pass a map. Nothing here touches the disk.
//!
//! ```text
//! state directory: --state-dir, else $FN_STATE_DIR, else for root /var/lib/fn,
//!                  else $XDG_STATE_HOME/fn, else ~/.local/state/fn
//! admin socket:    --admin-socket, else $FN_ADMIN_SOCKET, else <state directory>/run/admin.sock
//! ```

use std::ffi::OsString;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use crate::exit::Exit;
use crate::failure::Explain;

#[cfg(test)]
mod tests;

/// The state directory of a server that root starts.
const ROOT_STATE_DIR: &str = "/var/lib/fn";

/// The longest path that a unix socket can have: `sun_path` of unix(7) without its closing zero byte.
const SOCKET_PATH_MAX: usize = 107;

/// The environment, as far as settings read it.
pub(crate) trait Env {
    /// The value of a variable; an empty one counts as not set.
    fn var(&self, name: &str) -> Option<OsString>;
}

/// The environment of this process.
pub(crate) struct ProcessEnv;

impl Env for ProcessEnv {
    fn var(&self, name: &str) -> Option<OsString> {
        std::env::var_os(name).filter(|value| !value.is_empty())
    }
}

/// For whom the defaults are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Who {
    /// The process started as root.
    Root,
    /// Anybody else.
    Ordinary,
}

impl Who {
    /// The one who started this process.
    pub(crate) fn started_this() -> Self {
        if nix::unistd::geteuid().is_root() {
            Who::Root
        } else {
            Who::Ordinary
        }
    }
}

/// What was typed about places, on the command line.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Typed<'a> {
    /// `--state-dir`.
    pub(crate) state_dir: Option<&'a Path>,
    /// `--admin-socket`.
    pub(crate) admin_socket: Option<&'a Path>,
}

/// Places that can't be used.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub(crate) enum SettingsError {
    /// There is no variable to derive the state directory from.
    #[error("there is no place for the state directory: neither $FN_STATE_DIR, $XDG_STATE_HOME nor $HOME is set")]
    NoStateDir,
    /// The path of the socket does not fit into a socket address.
    #[error(
        "the path of the admin socket has {length} bytes, and a unix socket's path can't have more than {SOCKET_PATH_MAX}: {path}"
    )]
    SocketPathTooLong {
        /// The path.
        path: String,
        /// Its length in bytes.
        length: usize,
    },
}

impl Explain for SettingsError {
    fn exit(&self) -> Exit {
        Exit::BadInput
    }

    fn code(&self) -> String {
        match self {
            SettingsError::NoStateDir => "no_state_dir".into(),
            SettingsError::SocketPathTooLong { .. } => "socket_path_too_long".into(),
        }
    }

    fn hint(&self) -> Option<String> {
        Some(match self {
            SettingsError::NoStateDir => "Set $FN_STATE_DIR, or give --state-dir or --admin-socket.".into(),
            SettingsError::SocketPathTooLong { .. } => {
                "Give a shorter one with --admin-socket or $FN_ADMIN_SOCKET, to the server and to its clients.".into()
            }
        })
    }
}

/// The state directory, absolute.
pub(crate) fn state_dir(typed: Typed<'_>, env: &dyn Env, who: Who) -> Result<PathBuf, SettingsError> {
    if let Some(path) = typed.state_dir {
        return Ok(absolute(path));
    }
    if let Some(path) = env.var("FN_STATE_DIR") {
        return Ok(absolute(Path::new(&path)));
    }
    if who == Who::Root {
        return Ok(PathBuf::from(ROOT_STATE_DIR));
    }
    // The base directory specification says that a relative $XDG_STATE_HOME must be ignored.
    if let Some(path) = env
        .var("XDG_STATE_HOME")
        .map(PathBuf::from)
        .filter(|path| path.is_absolute())
    {
        return Ok(path.join("fn"));
    }
    match env.var("HOME") {
        Some(home) => Ok(absolute(&Path::new(&home).join(".local/state/fn"))),
        None => Err(SettingsError::NoStateDir),
    }
}

/// The admin socket, absolute and short enough to bind and to connect to.
pub(crate) fn admin_socket(typed: Typed<'_>, env: &dyn Env, who: Who) -> Result<PathBuf, SettingsError> {
    let path = match (typed.admin_socket, env.var("FN_ADMIN_SOCKET")) {
        (Some(path), _) => absolute(path),
        (None, Some(path)) => absolute(Path::new(&path)),
        (None, None) => state_dir(typed, env, who)?.join("run/admin.sock"),
    };
    let length = path.as_os_str().as_bytes().len();
    if length > SOCKET_PATH_MAX {
        return Err(SettingsError::SocketPathTooLong {
            path: path.display().to_string(),
            length,
        });
    }
    Ok(path)
}

/// The path from the root, without looking at the disk. Only an empty path has none, and it stays as it is.
fn absolute(path: &Path) -> PathBuf {
    std::path::absolute(path).unwrap_or_else(|_| path.to_owned())
}
