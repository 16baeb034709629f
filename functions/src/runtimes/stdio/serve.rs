//! The resident's loop: one thread, one poll, any number of lanes.
//!
//! ```text
//!   Idle --INVOKE--> Running --the program has ended, or could not start--> Idle
//! ```
//!
//! What of a request still arrives after its answer is skipped. The loop ends when the host closes a lane or breaks the
//! protocol; then every program that runs is killed.

use std::io;
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::time::Instant;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;

use super::invocation::Invocation;
use super::lane::{Lane, LaneError};
use super::program::{Program, Recipe, pipe_signal, start_failure};
use super::sweep::Sweep;
use super::watchdog::Watchdog;
use crate::BootId;
use crate::wire::{Frame, HostFrame, InstanceFrame, Invoke, Ready, WireError};

/// Most bytes of one read, from the host or from a program.
const READ_SIZE: usize = 64 * 1024;

/// What the resident serves.
#[derive(Debug)]
pub struct Resident {
    /// The instance's ends of the lanes, connected stream sockets. Invocations on different lanes run at the same time.
    pub lanes: Vec<OwnedFd>,
    /// The function's program and its arguments.
    pub argv: Vec<String>,
    /// Its whole environment, apart from what a request adds.
    pub env: Vec<(String, String)>,
    /// Its working directory.
    pub cwd: PathBuf,
}

/// Serves until the host closes a lane. Standard error must be the log: programs inherit it.
///
/// Between invocations no process of the function is left: with one lane, or when no other lane is busy, everything in
/// the pid namespace but its init and the caller is killed. Outside a sandbox, where the caller is not pid 2, only the
/// process groups of programs are.
///
/// Returns the exit status for the process: 0 when the host closed a lane, 70 when it broke the protocol, 71 when the
/// system failed.
pub fn serve(resident: Resident) -> i32 {
    let served = Server::start(resident).and_then(|mut server| {
        let ended = server.run();
        server.abandon();
        ended
    });
    match served {
        Ok(()) | Err(LaneError::Closed) => 0,
        Err(LaneError::Protocol(_)) => 70,
        Err(LaneError::Io(_)) => 71,
    }
}

struct Server {
    slots: Vec<Slot>,
    argv: Vec<String>,
    env: Vec<(String, String)>,
    cwd: PathBuf,
    watchdog: Watchdog,
    boot_id: BootId,
    sweep: Sweep,
    scratch: Vec<u8>,
}

/// A lane and what runs on it.
struct Slot {
    lane: Lane,
    running: Option<Invocation>,
    /// The highest sequence number that was begun.
    last_seq: u32,
}

/// What a polled descriptor is to the slot with this index.
#[derive(Clone, Copy)]
enum Source {
    Lane(usize),
    Stdin(usize),
    Stdout(usize),
    Exit(usize),
}

impl Server {
    fn start(resident: Resident) -> Result<Server, LaneError> {
        let started = Instant::now();
        // A program that closes its input early must end only its own invocation.
        pipe_signal().thread_block().map_err(io::Error::from)?;
        let Resident { lanes, argv, env, cwd } = resident;
        let slots = lanes
            .into_iter()
            .map(|fd| {
                Ok(Slot {
                    lane: Lane::new(fd)?,
                    running: None,
                    last_seq: 0,
                })
            })
            .collect::<io::Result<Vec<_>>>()?;
        let boot_id = draw_boot_id()?;
        let mut server = Server {
            slots,
            argv,
            watchdog: Watchdog::of(&env),
            env,
            cwd,
            boot_id,
            sweep: Sweep::of_this_process(),
            scratch: vec![0; READ_SIZE],
        };
        let init_us = u64::try_from(started.elapsed().as_micros()).unwrap_or(u64::MAX);
        let ready = Ready {
            boot_id,
            runtime: super::RESIDENT.to_owned(),
            init_us,
        };
        let first = server.slots.first_mut().ok_or(LaneError::Closed)?;
        first.lane.queue(&InstanceFrame::Ready(ready), 0)?;
        first.lane.flush()?;
        Ok(server)
    }

    fn run(&mut self) -> Result<(), LaneError> {
        loop {
            for (source, events) in self.wait()? {
                self.react(source, events)?;
            }
            let now = Instant::now();
            for slot in &mut self.slots {
                if let Some(running) = slot
                    .running
                    .as_mut()
                    .filter(|r| r.held_until().is_some_and(|due| due <= now))
                {
                    running.release(&mut slot.lane)?;
                }
            }
            self.finish_ended()?;
            for slot in &mut self.slots {
                slot.lane.flush()?;
            }
        }
    }

    /// Waits until something happens or a held reply is due.
    fn wait(&self) -> Result<Vec<(Source, PollFlags)>, LaneError> {
        let mut sources = Vec::new();
        let mut fds = Vec::new();
        let mut due: Option<Instant> = None;
        for (index, slot) in self.slots.iter().enumerate() {
            let mut events = PollFlags::empty();
            events.set(PollFlags::IN, slot.running.as_ref().is_none_or(Invocation::has_room));
            events.set(PollFlags::OUT, slot.lane.is_waiting());
            // Even without an event to wait for, poll tells when the host is gone.
            sources.push(Source::Lane(index));
            fds.push(PollFd::from_borrowed_fd(slot.lane.fd(), events));
            let Some(running) = &slot.running else { continue };
            due = [due, running.held_until()].into_iter().flatten().min();
            if let Some(fd) = running.stdin_fd() {
                sources.push(Source::Stdin(index));
                fds.push(PollFd::from_borrowed_fd(fd, PollFlags::OUT));
            }
            if let Some(fd) = running.stdout_fd().filter(|_| !slot.lane.is_backed_up()) {
                sources.push(Source::Stdout(index));
                fds.push(PollFd::from_borrowed_fd(fd, PollFlags::IN));
            }
            if let Some(fd) = running.exit_fd() {
                sources.push(Source::Exit(index));
                fds.push(PollFd::from_borrowed_fd(fd, PollFlags::IN));
            }
        }
        let timeout = due.map(|due| {
            let left = due.saturating_duration_since(Instant::now());
            Timespec {
                tv_sec: left.as_secs().try_into().unwrap_or(i64::MAX),
                tv_nsec: left.subsec_nanos().into(),
            }
        });
        match poll(&mut fds, timeout.as_ref()) {
            Ok(_) => {}
            Err(Errno::INTR) => return Ok(Vec::new()),
            Err(errno) => return Err(LaneError::Io(errno.into())),
        }
        let happened = sources.into_iter().zip(fds.iter().map(PollFd::revents));
        Ok(happened.filter(|(_, events)| !events.is_empty()).collect())
    }

    fn react(&mut self, source: Source, events: PollFlags) -> Result<(), LaneError> {
        match source {
            Source::Lane(_) if events.intersects(PollFlags::HUP | PollFlags::ERR | PollFlags::NVAL) => {
                Err(LaneError::Closed)
            }
            Source::Lane(index) => {
                if events.contains(PollFlags::IN) {
                    self.slots[index].lane.fill(&mut self.scratch)?;
                    self.receive(index)?;
                }
                Ok(())
            }
            Source::Stdin(index) => {
                if let Some(running) = &mut self.slots[index].running {
                    running.feed();
                }
                Ok(())
            }
            Source::Stdout(index) => {
                let Slot { lane, running, .. } = &mut self.slots[index];
                match running {
                    Some(running) => running.drain(lane, &mut self.scratch),
                    None => Ok(()),
                }
            }
            Source::Exit(index) => {
                if let Some(running) = &mut self.slots[index].running {
                    running.ended()?;
                }
                Ok(())
            }
        }
    }

    fn receive(&mut self, index: usize) -> Result<(), LaneError> {
        while let Some((seq, frame)) = self.slots[index].lane.next_frame()? {
            let slot = &mut self.slots[index];
            match (&mut slot.running, frame) {
                (None, HostFrame::Invoke(invoke)) if seq > slot.last_seq => self.begin(index, seq, invoke)?,
                (Some(running), HostFrame::Body(bytes)) if seq == running.seq => running.request_body(bytes),
                (Some(running), HostFrame::End) if seq == running.seq => running.request_end(),
                (Some(running), HostFrame::Cancel) if seq == running.seq => running.cancel(),
                // The rest of a request that was answered before it ended.
                (None, HostFrame::Body(_) | HostFrame::End | HostFrame::Cancel) if seq == slot.last_seq => {}
                (_, frame) => return Err(LaneError::Protocol(WireError::OutOfOrder(frame.kind()))),
            }
        }
        Ok(())
    }

    fn begin(&mut self, index: usize, seq: u32, invoke: Invoke) -> Result<(), LaneError> {
        let mut extra = match self.watchdog.hides_request {
            true => Vec::new(),
            false => invoke.env,
        };
        extra.push(("FN_REQUEST_ID".to_owned(), invoke.request_id));
        extra.push(("FN_DEADLINE_MS".to_owned(), invoke.deadline_ms.to_string()));
        extra.extend(
            invoke
                .trace_id
                .map(|trace_id| ("_X_AMZN_TRACE_ID".to_owned(), trace_id)),
        );
        let recipe = Recipe {
            argv: &self.argv,
            env: &self.env,
            cwd: &self.cwd,
            combines_output: self.watchdog.combines_output,
        };
        let started = Program::start(&recipe, &extra);
        let slot = &mut self.slots[index];
        slot.last_seq = seq;
        match started {
            Ok(program) => {
                let content_type = self.watchdog.content_type.clone();
                slot.running = Some(Invocation::new(seq, self.boot_id, program, content_type));
            }
            Err(error) => {
                let failure = start_failure(&recipe, &error);
                slot.lane.queue(
                    &InstanceFrame::Error {
                        boot_id: self.boot_id,
                        failure,
                    },
                    seq,
                )?;
            }
        }
        Ok(())
    }

    /// Answers what has ended. Strays are killed first, so that nothing of an invocation writes to the log after the
    /// host has read its end.
    fn finish_ended(&mut self) -> Result<(), LaneError> {
        for index in 0..self.slots.len() {
            let Some(running) = self.slots[index].running.take_if(|running| running.is_over()) else {
                continue;
            };
            if self.slots.iter().all(|slot| slot.running.is_none()) {
                self.sweep.strays();
            }
            running.finish(&mut self.slots[index].lane)?;
        }
        Ok(())
    }

    /// Kills what still runs.
    fn abandon(&mut self) {
        for running in self.slots.iter().filter_map(|slot| slot.running.as_ref()) {
            running.kill();
        }
        self.sweep.strays();
    }
}

fn draw_boot_id() -> Result<BootId, LaneError> {
    let mut bytes = [0; 16];
    match rustix::rand::getrandom(&mut bytes, rustix::rand::GetRandomFlags::empty()) {
        Ok(16) => Ok(BootId::from_bytes(bytes)),
        Ok(_) => Err(LaneError::Io(io::ErrorKind::UnexpectedEof.into())),
        Err(errno) => Err(LaneError::Io(errno.into())),
    }
}
