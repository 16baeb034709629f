//! Archives that no honest client would send: the server must prove that it does not trust them.

use tar::{Builder, EntryType, Header};

/// A tar archive, member by member, with whatever names and kinds a test wants.
pub struct Archive {
    builder: Builder<Vec<u8>>,
}

impl Default for Archive {
    fn default() -> Self {
        Self {
            builder: Builder::new(Vec::new()),
        }
    }
}

impl Archive {
    /// One with a good handler, to which something bad is added.
    pub fn with_handler() -> Self {
        Self::default().file("handler.py", b"def handler(event, context):\n    return 'ok'\n")
    }

    /// A regular file.
    pub fn file(self, name: &str, contents: &[u8]) -> Self {
        self.member(name, EntryType::Regular, "", contents)
    }

    /// A member of any kind. The name and the link's target are written as they are, at most 100 bytes each.
    pub fn member(mut self, name: &str, kind: EntryType, target: &str, contents: &[u8]) -> Self {
        let header = header(name, kind, target, contents.len() as u64);
        self.builder.append(&header, contents).expect("memory can be written");
        self
    }

    /// Many empty files.
    pub fn files(mut self, count: usize) -> Self {
        for number in 0..count {
            self = self.file(&format!("many/{}/{number}", number / 1000), b"");
        }
        self
    }

    /// The whole archive.
    pub fn finish(self) -> Vec<u8> {
        self.builder.into_inner().expect("memory can be written")
    }
}

/// One member's header of 512 bytes, as a server meets it at the start of an archive.
pub fn header(name: &str, kind: EntryType, target: &str, size: u64) -> Header {
    let mut header = Header::new_ustar();
    // The library's own setters refuse what we are after, so the fields are filled by hand.
    let fields = header.as_ustar_mut().expect("it was made as one");
    fields.name[..name.len()].copy_from_slice(name.as_bytes());
    fields.linkname[..target.len()].copy_from_slice(target.as_bytes());
    header.set_entry_type(kind);
    header.set_mode(0o644);
    header.set_size(size);
    header.set_mtime(0);
    header.set_uid(0);
    header.set_gid(0);
    if matches!(kind, EntryType::Char | EntryType::Block) {
        header.set_device_major(1).expect("this kind of header has the field");
        header.set_device_minor(3).expect("this kind of header has the field");
    }
    header.set_cksum();
    header
}
