//! Which limits hold. Every attempt is bounded: it ends by itself a little above the limit, so that nothing is harmed where there is none.

use std::fs::File;
use std::io::{self, Write};

use crate::attempt::Answer;
use crate::sys::{self, Arg, call};
use crate::{Attempts, Bait, Case};

use Arg::{Bytes, Int};

/// The cases of this file.
pub(crate) const CASES: &[Case] = &[
    case("open-files", open_files),
    case("locked-memory", locked_memory),
    case("file-size", file_size),
    case("processes", processes),
    case("tmp-fill", tmp_fill),
    case("memory", memory),
];

const fn case(name: &'static str, run: fn(&Bait, &mut Attempts)) -> Case {
    Case { name, run }
}

/// More than the limit of open files, and less than what the server itself may open.
const FILES: usize = 1200;
/// More than any function of the suite may have.
const PROCESSES: usize = 120;
/// More than the size of its `/tmp`, and less than its memory.
const FILLED: usize = 24 << 20;
/// More than its memory.
const EATEN: usize = 192 << 20;

fn open_files(_: &Bait, attempts: &mut Attempts) {
    attempts.make("open", || {
        let opened: io::Result<Vec<File>> = (0..FILES).map(|_| File::open("/dev/null")).collect();
        Ok(opened?.len().to_string())
    });
}

fn locked_memory(_: &Bait, attempts: &mut Attempts) {
    attempts.make("mlock", || {
        let mut bytes = vec![1u8; 1 << 20];
        let length = bytes.len() as i64;
        Ok(call(libc::SYS_mlock, &mut [Bytes(&mut bytes), Int(length)])?.to_string())
    });
}

fn file_size(_: &Bait, attempts: &mut Attempts) {
    attempts.make("sparse", || {
        let path = "/tmp/probe-sparse";
        let set = File::create(path)?.set_len(1 << 42);
        std::fs::remove_file(path)?;
        Ok(set.map(|()| String::new())?)
    });
}

fn processes(_: &Bait, attempts: &mut Attempts) {
    attempts.make("fork", || {
        let mut children = Vec::with_capacity(PROCESSES);
        let mut refused = None;
        // Each child lives until the last was made: it reads until the writer is gone.
        let (reader, writer) = io::pipe()?;
        while children.len() < PROCESSES && refused.is_none() {
            match sys::fork() {
                Ok(Some(child)) => children.push(child),
                Ok(None) => {
                    drop(writer);
                    let _end = io::copy(&mut &reader, &mut io::sink());
                    sys::exit()
                }
                Err(error) => refused = Some(error),
            }
        }
        drop(writer);
        for child in &children {
            sys::wait(*child)?;
        }
        match refused {
            Some(error) => Err(error.into()),
            None => Ok(children.len().to_string()),
        }
    });
}

fn tmp_fill(_: &Bait, attempts: &mut Attempts) {
    for (name, dir) in [("tmp", "/tmp"), ("shm", "/dev/shm")] {
        attempts.make(name, || {
            let path = format!("{dir}/probe-fills-it");
            let filled = fill(&path);
            std::fs::remove_file(&path)?;
            filled
        });
    }
    attempts.make("inodes", || {
        // One for each 16 KiB, and 1024.
        let dir = "/tmp/probe-inodes";
        std::fs::create_dir(dir)?;
        let made: io::Result<Vec<()>> = (0..4096)
            .map(|n| File::create(format!("{dir}/{n}")).map(drop))
            .collect();
        std::fs::remove_dir_all(dir)?;
        Ok(made?.len().to_string())
    });
}

fn fill(path: &str) -> Answer {
    let mut file = File::create(path)?;
    let piece = vec![1u8; 1 << 20];
    for _ in 0..FILLED / piece.len() {
        file.write_all(&piece)?;
    }
    Ok(String::new())
}

fn memory(_: &Bait, attempts: &mut Attempts) {
    attempts.make("touch-every-page", || {
        let eaten = vec![1u8; EATEN];
        Ok(eaten.iter().map(|byte| usize::from(*byte)).sum::<usize>().to_string())
    });
}
