//! The functions that the load test deploys itself, and their bundles.
//!
//! They are as small as a function can be, so that what is measured is the platform. The Python one imports what makes its
//! start expensive. Every one answers the same text.

mod native;

use bytes::Bytes;

use crate::admin::{Admin, AdminError, Check};

/// What the Python function imports, and its floors with it.
pub(crate) const MODULES: [&str; 3] = ["json", "http.client", "asyncio"];

/// One function to be deployed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// A static executable that writes its answer and exits.
    Native,
    /// The same, that waits a while before.
    NativeHolding,
    /// A static executable that stays, an HTTP server.
    NativeServer,
    /// A Python handler with the imports of [`MODULES`].
    Python,
    /// A Python handler that imports json and waits a while.
    PythonHolding,
    /// A Node handler.
    Node,
}

/// How long the holding functions wait, so that calls which leave together need an instance each.
pub(crate) const HOLD_SECONDS: u64 = 5;

/// Why there is no bundle.
#[derive(Debug, thiserror::Error)]
pub(crate) enum WorkloadError {
    /// The native function is machine code of one kind of processor.
    #[error("the load test has no native function for this kind of processor")]
    Processor,
    /// The server refused it.
    #[error(transparent)]
    Admin(#[from] AdminError),
}

impl Kind {
    fn runtime(self) -> &'static str {
        match self {
            Self::Native | Self::NativeHolding => "stdio",
            Self::NativeServer => "http",
            Self::Python | Self::PythonHolding => "python",
            Self::Node => "node",
        }
    }

    fn bundle(self) -> Result<Bytes, WorkloadError> {
        let native = |program: Option<Vec<u8>>| {
            let program = program.ok_or(WorkloadError::Processor)?;
            Ok(tar("handler", 0o755, &program))
        };
        match self {
            Self::Native => native(native::program(None, native::ANSWER)),
            Self::NativeHolding => native(native::program(Some(HOLD_SECONDS), native::ANSWER)),
            Self::NativeServer => native(native::server()),
            Self::Python => Ok(tar("handler.py", 0o644, PYTHON.as_bytes())),
            Self::PythonHolding => Ok(tar(
                "handler.py",
                0o644,
                PYTHON_HOLDING.replace("HOLD", &HOLD_SECONDS.to_string()).as_bytes(),
            )),
            Self::Node => Ok(tar("index.mjs", 0o644, NODE.as_bytes())),
        }
    }

    /// Deploys it as `name`. `settings` are further keys of fn.toml, as an object.
    pub(crate) async fn deploy(
        self,
        admin: &Admin,
        name: &str,
        settings: serde_json::Value,
    ) -> Result<(), WorkloadError> {
        let digest = admin.upload(self.bundle()?).await?;
        Ok(admin
            .deploy(name, &digest, &self.manifest(settings), Check::Before)
            .await?)
    }

    /// Deploys it under many names, from one bundle and unchecked.
    pub(crate) async fn deploy_many(
        self,
        admin: &Admin,
        names: impl Iterator<Item = String>,
    ) -> Result<(), WorkloadError> {
        let digest = admin.upload(self.bundle()?).await?;
        let manifest = self.manifest(serde_json::json!({}));
        for name in names {
            admin.deploy(&name, &digest, &manifest, Check::Skipped).await?;
        }
        Ok(())
    }

    fn manifest(self, mut settings: serde_json::Value) -> serde_json::Value {
        settings["runtime"] = self.runtime().into();
        if self == Self::NativeServer {
            settings["http"] = serde_json::json!({ "command": ["./handler"], "port": native::PORT });
        }
        settings
    }
}

/// A static executable that exits at once with success; `None` on a processor that it was not written for.
pub(crate) fn static_exit() -> Option<Vec<u8>> {
    native::program(None, b"")
}

const PYTHON: &str = "import asyncio
import http.client
import json


def handler(event, context):
    return {\"message\": \"Hello, world!\"}
";

const PYTHON_HOLDING: &str = "import json
import time


def handler(event, context):
    time.sleep(HOLD)
    return {\"message\": \"Hello, world!\"}
";

const NODE: &str = "export const handler = async (event) => ({ message: \"Hello, world!\" });
";

/// A bundle of one file: always the same bytes for the same file.
fn tar(path: &str, mode: u32, contents: &[u8]) -> Bytes {
    let mut header = tar::Header::new_ustar();
    header.set_mode(mode);
    header.set_size(contents.len() as u64);
    let mut archive = tar::Builder::new(Vec::new());
    archive
        .append_data(&mut header, path, contents)
        .expect("a vector takes all bytes, and the path is short");
    archive.into_inner().expect("a vector takes all bytes").into()
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;

    use super::*;

    #[test]
    fn a_bundle_holds_the_handler() {
        let bundle = Kind::PythonHolding.bundle().unwrap();
        let mut archive = tar::Archive::new(bundle.as_ref());
        let mut files = archive.entries().unwrap();
        let mut file = files.next().unwrap().unwrap();
        assert_eq!(file.path().unwrap().to_str(), Some("handler.py"));
        let mut text = String::new();
        file.read_to_string(&mut text).unwrap();
        assert!(text.contains("time.sleep(5)"), "{text}");
        assert!(files.next().is_none());
    }

    #[test]
    fn the_python_function_imports_what_its_floors_import() {
        for module in MODULES {
            assert!(PYTHON.contains(&format!("import {module}\n")), "{module}");
        }
    }
}
