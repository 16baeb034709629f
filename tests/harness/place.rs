//! The directories of one server. They outlive it, so that a test can start another one on the same state.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use nix::unistd::{Uid, User, chown};

/// Directories that the drop removes: one for the state, one for the socket, one for what the tests themselves write.
#[derive(Debug)]
pub struct Place {
    dir: tempfile::TempDir,
}

impl Place {
    /// Makes them. As root the first two belong to the user that the server becomes.
    #[expect(
        clippy::new_without_default,
        reason = "it makes directories, which nobody expects of a default"
    )]
    pub fn new() -> Self {
        let dir = tempfile::Builder::new()
            .prefix("fn-test-")
            .tempdir()
            .expect("a directory can be made");
        let place = Self { dir };
        allow(place.root(), 0o755);
        for (name, mode) in [("state", 0o700), ("run", 0o700), ("ours", 0o755)] {
            std::fs::create_dir(place.root().join(name)).expect("a directory can be made");
            allow(&place.root().join(name), mode);
        }
        for path in [place.state(), place.root().join("run")] {
            give_to_server(&path);
        }
        place
    }

    fn root(&self) -> &Path {
        self.dir.path()
    }

    /// The state directory.
    pub fn state(&self) -> PathBuf {
        self.root().join("state")
    }

    /// The admin socket, outside the state directory.
    pub fn admin_socket(&self) -> PathBuf {
        self.root().join("run/admin.sock")
    }

    /// A file of the test's own.
    pub fn ours(&self, name: &str) -> PathBuf {
        self.root().join("ours").join(name)
    }

    /// Where the server's output goes.
    pub fn log(&self) -> PathBuf {
        self.ours("serve.log")
    }
}

/// The user that a server started as root becomes: `$FN_TEST_USER`, else `nobody`. `None` for an ordinary user.
pub fn server_user() -> Option<User> {
    if !Uid::effective().is_root() {
        return None;
    }
    let name = std::env::var("FN_TEST_USER").unwrap_or_else(|_| "nobody".to_owned());
    let user = User::from_name(&name).expect("the list of users can be read");
    Some(user.unwrap_or_else(|| panic!("there is no user {name}")))
}

/// As root, makes a path the property of the server's user.
pub fn give_to_server(path: &Path) {
    if let Some(user) = server_user() {
        chown(path, Some(user.uid), Some(user.gid)).expect("root may give files away");
    }
}

fn allow(path: &Path, mode: u32) {
    std::fs::set_permissions(path, PermissionsExt::from_mode(mode)).expect("the mode of our own file can be set");
}
