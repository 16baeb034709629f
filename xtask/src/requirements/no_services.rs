//! Keeps packages from starting the services they bring along while they are installed.
//!
//! Debian asks `/usr/sbin/policy-rc.d` before it starts one, and 101 means "no". A file that is there already has decided, so it
//! is left alone. Ours is removed by the drop, whether the installation worked or not.

use std::fs::File;
use std::io::{ErrorKind, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::Path;

use anyhow::{Context, Result};

const POLICY: &str = "/usr/sbin/policy-rc.d";

/// Services stay as they are while this lives.
#[must_use]
pub(super) struct Held {
    ours: bool,
}

/// Forbids the start of services until the returned value is dropped.
pub(super) fn hold() -> Result<Held> {
    match File::options().write(true).create_new(true).mode(0o755).open(POLICY) {
        Ok(mut file) => {
            let held = Held { ours: true };
            file.write_all(b"#!/bin/sh\nexit 101\n")
                .with_context(|| format!("cannot write {POLICY}"))?;
            // The mode of the open is narrowed by the umask, and a policy that can't be run is not asked.
            file.set_permissions(PermissionsExt::from_mode(0o755))?;
            Ok(held)
        }
        Err(error) if error.kind() == ErrorKind::AlreadyExists => Ok(Held { ours: false }),
        Err(error) => Err(error).with_context(|| format!("cannot create {POLICY}")),
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        if self.ours
            && Path::new(POLICY).exists()
            && let Err(error) = std::fs::remove_file(POLICY)
        {
            eprintln!("cannot remove {POLICY}, please do: {error}");
        }
    }
}
