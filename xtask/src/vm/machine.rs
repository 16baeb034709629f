//! A running machine, and how something is run in it.
//!
//! Its disk is the image's, and what it writes there goes to a file without a name: each boot finds the image as it was built. The drop
//! kills the emulator, and a parent-death signal does when we are killed ourselves.

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use super::image::{Cache, Image};
use crate::program::{Finished, Program, Running};

/// The ordinary user.
pub(super) const USER: &str = "fn";

/// How long the machine may take until its ssh answers. Alone it takes 40 s.
const TO_BOOT: Duration = Duration::from_secs(600);

const SWAP: u64 = 1 << 30;

/// A machine that runs.
pub(super) struct Machine {
    running: Running,
    run: PathBuf,
    key: PathBuf,
    port: u16,
}

/// What a program in the machine said.
pub(super) struct Said(Finished);

impl Said {
    /// Its exit code; 255 is ssh's own.
    pub(super) fn code(&self) -> Option<i32> {
        self.0.status.code()
    }

    pub(super) fn stdout(&self) -> &str {
        &self.0.stdout
    }

    /// Both outputs.
    pub(super) fn all(&self) -> String {
        format!("{}{}", self.0.stdout, self.0.stderr)
    }

    /// Its standard output, if it ended with 0.
    pub(super) fn success(self, what: &str) -> Result<String> {
        if !self.0.status.success() {
            bail!("{what} ended with {} in the machine:\n{}", self.0.status, self.all());
        }
        Ok(self.0.stdout)
    }
}

impl Machine {
    /// Starts it and waits until its user can log in.
    pub(super) fn boot(image: &Image, programs: &Path, cache: &Cache) -> Result<Self> {
        let run = cache.fresh("run")?;
        let swap = run.join("swap");
        std::fs::File::create(&swap)?.set_len(SWAP)?;
        Program::new("/usr/sbin/mkswap").args(["--quiet"]).args([&swap]).run()?;
        // The emulator opens the port itself, so it is free only nearly for sure; it says so and ends when it is not.
        let port = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
        let drive = |file: &Path, more: &str| format!("file={},format=raw,if=virtio,{more}", file.display());
        let running = Program::new("setpriv")
            .args(["--pdeathsig", "KILL", "qemu-system-x86_64"])
            .args([
                "-accel",
                "tcg,thread=multi,tb-size=1024",
                "-cpu",
                "max",
                "-smp",
                "2",
                "-m",
                "6G",
            ])
            .args(["-nodefaults", "-nographic", "-no-reboot", "-serial"])
            .args([format!("file:{}", run.join("console").display())])
            .args([
                Path::new("-kernel"),
                &image.file("kernel"),
                Path::new("-initrd"),
                &image.file("initrd"),
            ])
            .args(["-append", "root=/dev/vda rw console=ttyS0 systemd.show_status=false"])
            .args(["-drive", &drive(&image.file("disk"), "cache=unsafe,snapshot=on")])
            .args(["-drive", &drive(programs, "readonly=on")])
            .args(["-drive", &drive(&swap, "cache=unsafe")])
            .args([
                "-netdev",
                &format!("user,id=net,restrict=on,hostfwd=tcp:127.0.0.1:{port}-:22"),
            ])
            .args(["-device", "virtio-net-pci,netdev=net", "-device", "virtio-rng-pci"])
            // Where the file without a name is made.
            .env("TMPDIR", &run)
            .start(&run.join("emulator"))?;
        let mut machine = Self {
            running,
            key: image.file("key"),
            run,
            port,
        };
        let started = Instant::now();
        machine.wait(started)?;
        println!("the machine answers after {} s", started.elapsed().as_secs());
        Ok(machine)
    }

    fn wait(&mut self, started: Instant) -> Result<()> {
        loop {
            if let Some(status) = self.running.ended()? {
                let said = std::fs::read_to_string(self.run.join("emulator")).unwrap_or_default();
                bail!("the emulator ended with {status}: {said}");
            }
            // systemd creates the user's manager, of which the checks need the socket, a moment after ssh.
            if self.user(&["systemctl", "--user", "is-active", "basic.target"])?.code() == Some(0) {
                return Ok(());
            }
            if started.elapsed() > TO_BOOT {
                bail!(
                    "the machine lets nobody in after {TO_BOOT:?}; its console: {}",
                    self.console().display()
                );
            }
            std::thread::sleep(Duration::from_secs(1));
        }
    }

    /// What it wrote to its console.
    pub(super) fn console(&self) -> PathBuf {
        self.run.join("console")
    }

    /// Runs a program as the ordinary user, in a login session, to its end.
    pub(super) fn user(&self, words: &[&str]) -> Result<Said> {
        Ok(Said(self.ssh(USER, words).finish()?))
    }

    /// The same as root: what an administrator does.
    pub(super) fn root(&self, words: &[&str]) -> Result<Said> {
        Ok(Said(self.ssh("root", words).finish()?))
    }

    /// The same as the ordinary user, for a long one whose output is to be watched.
    pub(super) fn program(&self, words: &[&str]) -> Program {
        self.ssh(USER, words)
    }

    /// A shell of the ordinary user, on this terminal.
    pub(super) fn shell(&mut self) -> Result<()> {
        println!(
            "the programs are in {}; the machine ends with this shell",
            super::programs::AT
        );
        self.login(USER, &["-t"]).run()
    }

    fn ssh(&self, user: &str, words: &[&str]) -> Program {
        // The other side hands one text to a shell.
        let line: Vec<_> = words.iter().map(|word| quoted(word)).collect();
        self.login(user, &[]).args([line.join(" ")])
    }

    fn login(&self, user: &str, options: &[&str]) -> Program {
        Program::new("ssh")
            .args(["-q", "-F", "none", "-o", "BatchMode=yes", "-o", "ConnectTimeout=30"])
            .args(["-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null"])
            .args(["-o", "ServerAliveInterval=30", "-o", "ServerAliveCountMax=10"])
            .args([Path::new("-i"), &self.key])
            .args(["-p", &self.port.to_string()])
            .args(options)
            .args([format!("{user}@127.0.0.1")])
    }

    /// Ends it, and removes what it wrote unless that is to be kept.
    pub(super) fn off(self, keep: bool) -> Result<()> {
        let Self { running, run, .. } = self;
        // It writes to nothing that is used again.
        drop(running);
        if !keep {
            std::fs::remove_dir_all(&run).with_context(|| format!("cannot remove {}", run.display()))?;
        }
        Ok(())
    }
}

/// A word as a shell reads it back.
fn quoted(word: &str) -> String {
    format!("'{}'", word.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shell_reads_back_what_was_said() {
        for word in ["", "plain", "two words", "it's $HOME; `x` \\ \"y\"", "a\nb"] {
            let said = Program::new("sh")
                .args(["-c", &format!("printf %s {}", quoted(word))])
                .output()
                .unwrap();
            assert_eq!(said, word);
        }
    }
}
