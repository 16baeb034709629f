//! The code of functions that tests deploy: small directories that are written when needed and removed by the drop.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

/// A directory with a function's code.
#[derive(Debug)]
pub struct Source {
    dir: tempfile::TempDir,
}

impl Source {
    /// An empty one.
    pub fn empty() -> Self {
        Self {
            dir: tempfile::Builder::new()
                .prefix("fn-source-")
                .tempdir()
                .expect("a directory can be made"),
        }
    }

    /// `handler.py` with this text.
    pub fn python(text: &str) -> Self {
        Self::empty().file("handler.py", text)
    }

    /// A Python handler whose body is this text, indented by four spaces, with the usual modules imported.
    pub fn python_body(body: &str) -> Self {
        Self::python(&format!(
            "import json, os, subprocess, sys, time\n\n\ndef handler(event, context):\n    query = event.get('queryStringParameters') or {{}}\n{}\n",
            body.trim_matches('\n')
        ))
    }

    /// `index.mjs` with this text.
    pub fn node(text: &str) -> Self {
        Self::empty().file("index.mjs", text)
    }

    /// An executable `handler.sh` with this text after its first line.
    pub fn shell(text: &str) -> Self {
        let source = Self::empty().file("handler.sh", format!("#!/bin/sh\n{text}\n"));
        let path = source.path().join("handler.sh");
        std::fs::set_permissions(path, PermissionsExt::from_mode(0o755)).expect("our own file can be made executable");
        source
    }

    /// Adds or replaces a file.
    pub fn file(self, name: &str, contents: impl AsRef<[u8]>) -> Self {
        let path = self.dir.path().join(name);
        std::fs::create_dir_all(path.parent().expect("the file lies in the directory"))
            .expect("a directory can be made");
        std::fs::write(path, contents).expect("a file can be written");
        self
    }

    /// Adds everything that lies below a directory.
    pub fn tree(self, from: &Path) -> Self {
        crate::packages::spread(from, self.dir.path());
        self
    }

    /// Adds or replaces a file that can be executed.
    pub fn executable(self, name: &str, contents: impl AsRef<[u8]>) -> Self {
        let source = self.file(name, contents);
        std::fs::set_permissions(source.join(name), PermissionsExt::from_mode(0o755))
            .expect("our own file can be made executable");
        source
    }

    /// Adds a symbolic link.
    pub fn link(self, name: &str, target: &str) -> Self {
        std::os::unix::fs::symlink(target, self.dir.path().join(name)).expect("a link can be made");
        self
    }

    /// The directory.
    pub fn path(&self) -> &Path {
        self.dir.path()
    }

    /// A path below the directory.
    pub fn join(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }
}
