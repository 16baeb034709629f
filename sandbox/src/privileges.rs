//! A start as root: what only root can do is done first, then the process becomes an ordinary user for good.

use std::io;
use std::os::unix::fs::lchown;
use std::path::Path;

use nix::sys::prctl;
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use nix::unistd::{Gid, Uid, User, setgroups, setresgid, setresuid};

/// Privileges could not be given up.
#[derive(Debug, thiserror::Error)]
pub enum PrivilegeError {
    /// No such user.
    #[error("there is no user {0:?} on this host; name one that exists with --user")]
    NoSuchUser(String),
    /// Root was asked for.
    #[error("--user {0} is root: functions would run with the rights of the whole host")]
    Root(String),
    /// Only root can become somebody else.
    #[error("--user needs a start as root; this is a start as an ordinary user")]
    NotRoot,
    /// A step failed.
    #[error("{step} failed")]
    Step {
        /// What was tried.
        step: &'static str,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// Something of root remained.
    #[error("privileges remained after they were dropped: {0}")]
    Remained(&'static str),
}

/// Who serves, when started as root: `wanted`, else the user `fn` if there is one, else `nobody`.
///
/// # Errors
/// For an unknown user and for root.
pub fn choose(wanted: Option<&str>) -> Result<User, PrivilegeError> {
    let find = |name: &str| User::from_name(name).ok().flatten();
    let user = match wanted {
        Some(name) => find(name).ok_or_else(|| PrivilegeError::NoSuchUser(name.to_owned()))?,
        None => find("fn")
            .or_else(|| find("nobody"))
            .ok_or_else(|| PrivilegeError::NoSuchUser("nobody".into()))?,
    };
    if user.uid.is_root() {
        Err(PrivilegeError::Root(user.name))
    } else {
        Ok(user)
    }
}

/// Makes `dir` (its parent must exist) and gives it to `user`, with mode 0700. A directory that exists is left as it is:
/// whether it is right is for the store to say.
///
/// # Errors
/// When it can't be made or given away.
pub fn give_directory(dir: &Path, user: &User) -> Result<(), PrivilegeError> {
    use std::os::unix::fs::DirBuilderExt;
    let step = |step| move |source| PrivilegeError::Step { step, source };
    match std::fs::DirBuilder::new().mode(0o700).create(dir) {
        // Whoever owns the parent could put a link in its place meanwhile: root must not follow it.
        Ok(()) => lchown(dir, Some(user.uid.as_raw()), Some(user.gid.as_raw()))
            .map_err(step("giving away the state directory")),
        Err(e) if e.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        Err(e) => Err(e).map_err(step("making the state directory")),
    }
}

/// Becomes `user` for good, and checks that there is no way back. Must be called before any thread exists.
///
/// # Errors
/// [`PrivilegeError`]; the process should end then.
pub fn become_user(user: &User) -> Result<(), PrivilegeError> {
    if !Uid::effective().is_root() {
        return Err(PrivilegeError::NotRoot);
    }
    let step = |step| {
        move |errno: nix::Error| PrivilegeError::Step {
            step,
            source: errno.into(),
        }
    };
    setgroups(&[]).map_err(step("setgroups"))?;
    setresgid(user.gid, user.gid, user.gid).map_err(step("setresgid"))?;
    setresuid(user.uid, user.uid, user.uid).map_err(step("setresuid"))?;
    // A process that changed its user is not dumpable, and its children could not write their id maps.
    prctl::set_dumpable(true).map_err(step("prctl(PR_SET_DUMPABLE)"))?;
    if crate::sys::credentials::can_become_root() || Uid::effective() != user.uid || Gid::effective() != user.gid {
        return Err(PrivilegeError::Remained("root can be regained"));
    }
    let sets = rustix::thread::capabilities(None).map_err(|errno| PrivilegeError::Step {
        step: "capget",
        source: errno.into(),
    })?;
    if !(sets.effective.is_empty() && sets.permitted.is_empty() && sets.inheritable.is_empty()) {
        return Err(PrivilegeError::Remained("a capability is left"));
    }
    Ok(())
}

/// Raises the number of files that this process may open to what the host allows: every sandbox holds three and more.
pub fn raise_open_files() {
    if let Ok((soft, hard)) = getrlimit(Resource::RLIMIT_NOFILE)
        && soft < hard
    {
        // It stays as it was, and launches say so when descriptors run out.
        let _refused = setrlimit(Resource::RLIMIT_NOFILE, hard, hard);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn root_and_strangers_are_refused() {
        assert!(matches!(choose(Some("root")), Err(PrivilegeError::Root(_))));
        assert!(matches!(
            choose(Some("no-such-user-here")),
            Err(PrivilegeError::NoSuchUser(_))
        ));
        assert!(!choose(Some("nobody")).unwrap().uid.is_root());
    }
}
