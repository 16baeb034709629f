mod hostile;
mod round_trip;
mod zips;

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use super::*;

/// One entry of an archive, byte for byte as given: nothing is checked, escaped or shortened but by the
/// width of its field.
struct Raw<'a> {
    path: &'a [u8],
    kind: u8,
    mode: u32,
    target: &'a [u8],
    size: u64,
    contents: &'a [u8],
}

impl<'a> Raw<'a> {
    fn new(kind: u8, path: &'a (impl AsRef<[u8]> + ?Sized)) -> Raw<'a> {
        Raw {
            path: path.as_ref(),
            kind,
            mode: 0o644,
            target: b"",
            size: 0,
            contents: b"",
        }
    }

    fn file(path: &'a (impl AsRef<[u8]> + ?Sized), contents: &'a (impl AsRef<[u8]> + ?Sized)) -> Raw<'a> {
        let contents = contents.as_ref();
        Raw {
            contents,
            size: contents.len() as u64,
            ..Raw::new(b'0', path)
        }
    }

    fn link(path: &'a (impl AsRef<[u8]> + ?Sized), target: &'a (impl AsRef<[u8]> + ?Sized)) -> Raw<'a> {
        Raw {
            target: target.as_ref(),
            ..Raw::new(b'2', path)
        }
    }

    fn write(&self, archive: &mut Vec<u8>) {
        let mut header = tar::Header::new_ustar();
        {
            let fields = header.as_ustar_mut().unwrap();
            let length = self.path.len().min(100);
            fields.name[..length].copy_from_slice(&self.path[..length]);
            let length = self.target.len().min(100);
            fields.linkname[..length].copy_from_slice(&self.target[..length]);
        }
        header.set_entry_type(tar::EntryType::new(self.kind));
        header.set_mode(self.mode);
        header.set_uid(0);
        header.set_gid(0);
        header.set_mtime(1);
        header.set_size(self.size);
        header.set_cksum();
        archive.extend_from_slice(header.as_bytes());
        archive.extend_from_slice(self.contents);
        archive.resize(archive.len().next_multiple_of(512), 0);
    }
}

fn archive(entries: &[Raw<'_>]) -> Vec<u8> {
    let mut archive = Vec::new();
    for entry in entries {
        entry.write(&mut archive);
    }
    archive.resize(archive.len() + 1024, 0);
    archive
}

/// What is below a directory: path to mode and contents, where a link's contents are its target.
fn contents(dir: &Path) -> BTreeMap<String, (u32, Vec<u8>)> {
    walkdir::WalkDir::new(dir)
        .min_depth(1)
        .into_iter()
        .map(|entry| {
            let entry = entry.unwrap();
            let kind = entry.file_type();
            let path = entry.path().strip_prefix(dir).unwrap().to_string_lossy().into_owned();
            let mode = entry.path().symlink_metadata().unwrap().permissions().mode();
            let contents = match () {
                () if kind.is_symlink() => fs::read_link(entry.path())
                    .unwrap()
                    .into_os_string()
                    .into_encoded_bytes(),
                () if kind.is_file() => fs::read(entry.path()).unwrap(),
                () => Vec::new(),
            };
            (path, (mode, contents))
        })
        .collect()
}

/// A directory that is removed even if its directories are read-only and the test is not root.
struct Scratch(tempfile::TempDir);

impl Scratch {
    fn new() -> Scratch {
        Scratch(tempfile::tempdir().unwrap())
    }

    fn path(&self) -> &Path {
        self.0.path()
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let directories = walkdir::WalkDir::new(self.path()).into_iter();
        for entry in directories
            .filter_map(Result::ok)
            .filter(|entry| entry.file_type().is_dir())
        {
            let _ = fs::set_permissions(entry.path(), fs::Permissions::from_mode(0o755));
        }
    }
}

fn code(result: Result<Contents, BundleError>) -> &'static str {
    match result {
        Ok(_) => "ok",
        Err(error) => {
            assert!(error.hint().ends_with('.'), "{error:?}");
            assert!(!error.to_string().is_empty());
            error.code()
        }
    }
}
