//! A function's code as clients send it: a zip in base64, which becomes a bundle.
//!
//! The zip comes from anybody who has the key pair; it goes through the same checks as every archive ([`functions::bundle`]): no path and no link
//! leads out, nothing is there twice, and files and bytes are counted while they are unpacked.

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use functions::Store;
use serde::Deserialize;
use sha2::Digest as _;

use super::fault::Fault;
use super::layered::{self, Layers};
use super::promise::Promise;

/// Most bytes of a zip: what Lambda takes in a call.
const MOST_ZIP: usize = 50 * 1024 * 1024;

/// Where the code is.
#[derive(Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(super) struct Code {
    zip_file: Option<String>,
    s3_bucket: Option<String>,
    image_uri: Option<String>,
}

/// Code that is in the store.
pub(super) struct Stored {
    /// The bundle.
    pub(super) bundle: Promise,
    /// SHA-256 of the zip, in base64.
    pub(super) sha256: String,
    /// Bytes of the zip.
    pub(super) size: u64,
}

impl Code {
    /// The zip, out of base64.
    pub(super) fn zip(&self) -> Result<Vec<u8>, Fault> {
        if self.image_uri.is_some() {
            return Err(Fault::invalid(
                "ImageUri is not supported by this server yet; send the code as ZipFile",
            ));
        }
        if self.s3_bucket.is_some() {
            return Err(Fault::invalid(
                "S3Bucket is not supported by this server; send the code as ZipFile",
            ));
        }
        let coded = self
            .zip_file
            .as_deref()
            .ok_or_else(|| Fault::invalid("the code is missing; send it as ZipFile"))?;
        let zip = STANDARD
            .decode(coded)
            .map_err(|error| Fault::invalid(format!("ZipFile is not base64: {error}")))?;
        match zip.len() {
            0 => Err(Fault::invalid("Uploaded file must be a non-empty zip")),
            bytes if bytes > MOST_ZIP => Err(Fault::invalid(format!(
                "ZipFile has {bytes} bytes, at most {MOST_ZIP} are allowed"
            ))),
            _ => Ok(zip),
        }
    }
}

/// Takes a zip into the store, with the layers of its function. Blocks.
pub(super) fn store(store: &Arc<Store>, zip: &[u8], layers: &Layers) -> Result<Stored, Fault> {
    Ok(Stored {
        bundle: layered::assemble(store, &layered::Code::Zip(zip), layers)?,
        sha256: STANDARD.encode(sha2::Sha256::digest(zip)),
        size: zip.len() as u64,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn code(document: serde_json::Value) -> Result<Vec<u8>, Fault> {
        serde_json::from_value::<Code>(document).unwrap().zip()
    }

    #[test]
    fn code_that_is_no_zip_says_what_to_send() {
        for (document, reason) in [
            (serde_json::json!({}), "send it as ZipFile"),
            (serde_json::json!({ "ImageUri": "x" }), "ImageUri is not supported"),
            (
                serde_json::json!({ "S3Bucket": "x", "S3Key": "y" }),
                "S3Bucket is not supported",
            ),
            (serde_json::json!({ "ZipFile": "***" }), "not base64"),
            (serde_json::json!({ "ZipFile": "" }), "non-empty"),
            (
                serde_json::json!({ "ZipFile": "A".repeat(70_000_000) }),
                "at most 52428800",
            ),
        ] {
            let said = code(document).unwrap_err();
            assert!(said.message().contains(reason), "{}", said.message());
        }
        assert_eq!(code(serde_json::json!({ "ZipFile": "YWI=" })).unwrap(), b"ab");
    }

    #[test]
    fn bytes_that_are_no_zip_are_refused_without_a_path_of_ours() {
        let dir = tempfile::tempdir().unwrap();
        let store = Arc::new(Store::open(&dir.path().join("state")).unwrap());
        let Err(fault) = super::store(&store, b"no zip", &Layers::These(Vec::new())) else {
            panic!("it was taken");
        };
        assert!(
            fault.message().starts_with("Could not unzip uploaded file."),
            "{}",
            fault.message()
        );
        assert!(
            !fault.message().contains(dir.path().to_str().unwrap()),
            "{}",
            fault.message()
        );
        assert_eq!(
            std::fs::read_dir(store.scratch_dir()).unwrap().count(),
            0,
            "nothing is left"
        );
    }
}
