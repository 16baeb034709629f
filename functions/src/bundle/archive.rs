//! Reads a tar archive header by header: POSIX ustar, PAX (POSIX.1-2001) and the long names of GNU tar.
//!
//! It says what the archive claims and checks only that the claim is well-formed; whether an entry may be
//! placed is decided elsewhere. The headers that describe the next entry are bounded, because they are held
//! in memory. An archive must end with its end mark: one that was cut off between two entries would
//! otherwise look complete.

use std::io::{self, Read};

use super::BundleError;

const BLOCK: usize = 512;
/// Longest header that describes the next entry. Longer paths than any limit fit, so that they are refused
/// by their length.
const EXTENSION: u64 = 64 * 1024;

/// One entry, as the archive claims it.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) path: Vec<u8>,
    pub(super) kind: Kind,
}

/// What an entry claims to be.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Kind {
    File { size: u64, executable: bool },
    Directory,
    Link { target: Vec<u8> },
    HardLink,
    Device,
    Fifo,
    Sparse,
    Other(u8),
}

/// An archive that is being read. Reading from it gives the contents of the entry that came last.
pub(super) struct Archive<R> {
    reader: R,
    /// Bytes left of the entry that came last.
    left: u64,
    /// Bytes that fill the last block of that entry.
    padding: u64,
    /// Bytes that may still be read of the archive.
    budget: u64,
    over_budget: bool,
}

/// What headers said about the entry that follows them.
#[derive(Default)]
struct Described {
    path: Option<Vec<u8>>,
    target: Option<Vec<u8>>,
    size: Option<u64>,
    sparse: bool,
    any: bool,
}

impl<R: Read> Archive<R> {
    /// Starts at the first header. No more than `budget` bytes are read.
    pub(super) fn new(reader: R, budget: u64) -> Archive<R> {
        Archive {
            reader,
            left: 0,
            padding: 0,
            budget,
            over_budget: false,
        }
    }

    /// Whether the archive was longer than its budget. Reading fails then.
    pub(super) fn over_budget(&self) -> bool {
        self.over_budget
    }

    /// The next entry, or `None` at the end mark. What was not read of the entry before is skipped.
    pub(super) fn next(&mut self) -> Result<Option<Entry>, BundleError> {
        let mut described = Described::default();
        loop {
            self.skip_rest()?;
            let Some(header) = self.header()? else {
                return match described.any {
                    true => malformed("the last header describes an entry that does not come"),
                    false => Ok(None),
                };
            };
            let size = header.entry_size().or_else(|_| malformed("a size is not a number"))?;
            match header.entry_type().as_byte() {
                b'L' => described.path = Some(until_nul(self.extension(size)?)),
                b'K' => described.target = Some(until_nul(self.extension(size)?)),
                b'x' => described.pax(&self.extension(size)?)?,
                // Comments for the whole archive, such as the commit that `git archive` writes.
                b'g' => {
                    self.extension(size)?;
                    continue;
                }
                kind => return self.entry(&header, kind, size, described).map(Some),
            }
            described.any = true;
        }
    }

    /// Checks that nothing but zeros follows the end mark, and reads to the end of the stream.
    pub(super) fn finish(&mut self) -> Result<(), BundleError> {
        let mut buffer = [0; 8 * 1024];
        loop {
            match self.read_some(&mut buffer)? {
                0 => return Ok(()),
                read if buffer[..read].iter().any(|byte| *byte != 0) => {
                    return malformed("there is something after the end mark");
                }
                _ => {}
            }
        }
    }

    fn entry(&mut self, header: &tar::Header, kind: u8, size: u64, described: Described) -> Result<Entry, BundleError> {
        let path = described.path.unwrap_or_else(|| header.path_bytes().into_owned());
        let size = described.size.unwrap_or(size);
        let kind = match kind {
            _ if described.sparse => Kind::Sparse,
            // Before POSIX, a directory was a file whose name ended in a slash.
            b'0' | b'\0' | b'7' if path.ends_with(b"/") => Kind::Directory,
            b'0' | b'\0' | b'7' => {
                let mode = header.mode().or_else(|_| malformed("a mode is not a number"))?;
                Kind::File {
                    size,
                    executable: mode & 0o111 != 0,
                }
            }
            b'1' => Kind::HardLink,
            b'2' => {
                let target = described
                    .target
                    .or_else(|| header.link_name_bytes().map(|name| name.into_owned()));
                Kind::Link {
                    target: target.unwrap_or_default(),
                }
            }
            b'3' | b'4' => Kind::Device,
            b'5' => Kind::Directory,
            b'6' => Kind::Fifo,
            b'S' => Kind::Sparse,
            kind => Kind::Other(kind),
        };
        self.begin(size);
        Ok(Entry { path, kind })
    }

    /// The contents of a header that describes the next entry.
    fn extension(&mut self, size: u64) -> Result<Vec<u8>, BundleError> {
        if size > EXTENSION {
            return malformed("a header that describes an entry is too long");
        }
        self.begin(size);
        let mut contents = vec![0; size as usize];
        self.fill(&mut contents)?;
        self.left = 0;
        Ok(contents)
    }

    fn begin(&mut self, size: u64) {
        self.left = size;
        self.padding = (BLOCK as u64 - size % BLOCK as u64) % BLOCK as u64;
    }

    fn header(&mut self) -> Result<Option<tar::Header>, BundleError> {
        let mut header = tar::Header::new_old();
        self.fill(header.as_mut_bytes())?;
        let bytes = header.as_bytes();
        if bytes.iter().all(|byte| *byte == 0) {
            return Ok(None);
        }
        // The checksum counts its own field as blanks (POSIX.1-2017, pax, "ustar Interchange Format").
        let blanks = 8 * u32::from(b' ');
        let sum = bytes[..148]
            .iter()
            .chain(&bytes[156..])
            .map(|byte| u32::from(*byte))
            .sum::<u32>()
            + blanks;
        match header.cksum() {
            Ok(expected) if expected == sum => Ok(Some(header)),
            _ => malformed("the checksum of a header is wrong"),
        }
    }

    fn skip_rest(&mut self) -> Result<(), BundleError> {
        let mut rest = self.left.saturating_add(std::mem::take(&mut self.padding));
        self.left = 0;
        let mut buffer = [0; 8 * 1024];
        while rest > 0 {
            let part = rest.min(buffer.len() as u64);
            self.fill(&mut buffer[..part as usize])?;
            rest -= part;
        }
        Ok(())
    }

    /// Fills the whole buffer from the archive.
    fn fill(&mut self, mut buffer: &mut [u8]) -> Result<(), BundleError> {
        while !buffer.is_empty() {
            match self.read_some(buffer)? {
                0 => return Err(BundleError::Truncated),
                read => buffer = &mut buffer[read..],
            }
        }
        Ok(())
    }

    fn read_some(&mut self, buffer: &mut [u8]) -> Result<usize, BundleError> {
        self.read_raw(buffer).map_err(|source| BundleError::Receive { source })
    }

    fn read_raw(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            match self.reader.read(buffer) {
                Ok(read) if read as u64 > self.budget => {
                    self.over_budget = true;
                    return Err(io::Error::from(io::ErrorKind::FileTooLarge));
                }
                Ok(read) => {
                    self.budget -= read as u64;
                    return Ok(read);
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }
}

impl<R: Read> Read for Archive<R> {
    /// Reads from the entry that came last. The end of the archive inside of it is `UnexpectedEof`.
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let part = self.left.min(buffer.len() as u64) as usize;
        if part == 0 {
            return Ok(0);
        }
        match self.read_raw(&mut buffer[..part])? {
            0 => Err(io::ErrorKind::UnexpectedEof.into()),
            read => {
                self.left -= read as u64;
                Ok(read)
            }
        }
    }
}

impl Described {
    /// Reads PAX records: `<length> <key>=<value>\n`, where the length counts the whole record.
    fn pax(&mut self, mut records: &[u8]) -> Result<(), BundleError> {
        while !records.is_empty() {
            let (record, rest) = pax_record(records).map_or_else(|| malformed("a PAX record is broken"), Ok)?;
            records = rest;
            let Some(equals) = record.iter().position(|byte| *byte == b'=') else {
                return malformed("a PAX record has no value");
            };
            let (key, value) = (&record[..equals], &record[equals + 1..]);
            match key {
                b"path" => self.path = Some(value.to_owned()),
                b"linkpath" => self.target = Some(value.to_owned()),
                b"size" => self.size = Some(number(value).map_or_else(|| malformed("a PAX size is no number"), Ok)?),
                key if key.starts_with(b"GNU.sparse.") => self.sparse = true,
                // Times, owners and extended attributes are not kept.
                _ => {}
            }
        }
        Ok(())
    }
}

/// The first record without its length and newline, and what follows it.
fn pax_record(records: &[u8]) -> Option<(&[u8], &[u8])> {
    let blank = records.iter().position(|byte| *byte == b' ')?;
    let length = usize::try_from(number(&records[..blank])?).ok()?;
    let record = records.get(blank + 1..length)?;
    let (last, record) = record.split_last()?;
    (*last == b'\n').then_some((record, &records[length..]))
}

fn number(digits: &[u8]) -> Option<u64> {
    let text = std::str::from_utf8(digits).ok()?;
    text.bytes()
        .all(|byte| byte.is_ascii_digit())
        .then(|| text.parse().ok())?
}

fn until_nul(mut bytes: Vec<u8>) -> Vec<u8> {
    if let Some(end) = bytes.iter().position(|byte| *byte == 0) {
        bytes.truncate(end);
    }
    bytes
}

fn malformed<T>(reason: &'static str) -> Result<T, BundleError> {
    Err(BundleError::Malformed { reason })
}
