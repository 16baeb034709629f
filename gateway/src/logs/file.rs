//! The files of one function's log: `current.jsonl`, and `previous.jsonl` once the first was full.

use std::collections::VecDeque;
use std::fs::{self, File, OpenOptions};
use std::io::{self, BufRead, BufReader, BufWriter, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use functions::FunctionName;

use super::Query;

/// A file of this many bytes is full.
const FULL: u64 = 4 * 1024 * 1024;

/// The file that is written to.
pub(super) struct LogFile {
    dir: PathBuf,
    writer: BufWriter<File>,
    size: u64,
}

impl LogFile {
    /// Opens a function's current file at its end. A last line that a crash left unfinished is ended.
    pub(super) fn open(logs: &Path, function: &FunctionName) -> io::Result<Self> {
        let dir = logs.join(function.as_str());
        fs::create_dir_all(&dir)?;
        let mut file = OpenOptions::new().read(true).append(true).create(true).open(dir.join("current.jsonl"))?;
        let mut size = file.metadata()?.len();
        if size > 0 {
            let mut last = [0];
            file.seek(SeekFrom::End(-1))?;
            file.read_exact(&mut last)?;
            if last != *b"\n" {
                file.write_all(b"\n")?;
                size += 1;
            }
        }
        Ok(Self { dir, writer: BufWriter::new(file), size })
    }

    /// Appends a line, into a new file when the current one is full.
    pub(super) fn append(&mut self, json: &str) -> io::Result<()> {
        if self.size >= FULL {
            self.writer.flush()?;
            let current = self.dir.join("current.jsonl");
            fs::rename(&current, self.dir.join("previous.jsonl"))?;
            self.writer = BufWriter::new(OpenOptions::new().append(true).create(true).open(current)?);
            self.size = 0;
        }
        self.writer.write_all(json.as_bytes())?;
        self.writer.write_all(b"\n")?;
        self.size += json.len() as u64 + 1;
        Ok(())
    }

    /// Hands everything to the kernel.
    pub(super) fn flush(&mut self) -> io::Result<()> {
        self.writer.flush()
    }
}

/// The newest lines that a query asks for, oldest first. Lines that are no JSON (a crash cut them) are left out.
pub(super) fn tail(logs: &Path, query: &Query) -> io::Result<Vec<String>> {
    let dir = logs.join(query.function.as_str());
    let mut newest = VecDeque::new();
    for name in ["previous.jsonl", "current.jsonl"] {
        let file = match File::open(dir.join(name)) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            Err(error) => return Err(error),
        };
        for line in BufReader::new(file).lines() {
            let line = line?;
            if query.tail > 0 && wanted(&line, query.request.as_deref()) {
                if newest.len() == query.tail {
                    newest.pop_front();
                }
                newest.push_back(line);
            }
        }
    }
    Ok(newest.into())
}

fn wanted(line: &str, request: Option<&str>) -> bool {
    #[derive(serde::Deserialize)]
    struct Ids<'a> {
        #[serde(borrow, default)]
        request_id: Option<&'a str>,
    }
    // Cheap first: most lines belong to other requests.
    if request.is_some_and(|request| !line.contains(request)) {
        return false;
    }
    match serde_json::from_str::<Ids<'_>>(line) {
        Ok(ids) => request.is_none() || ids.request_id == request,
        Err(_) => false,
    }
}

/// Removes a function's files.
pub(super) fn remove(logs: &Path, function: &FunctionName) -> io::Result<()> {
    match fs::remove_dir_all(logs.join(function.as_str())) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}
