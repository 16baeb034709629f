//! Cells, as the spawner sees them: it makes a cell's pid 1 and its id map, and every leaf; the rest the cell does.
//!
//! A slot in a cell is no child of the spawner. What it needs from here (a leaf, and descriptors that lead into it, opened
//! as the cell's user) is sent to the cell's pid 1, which says in turn when nothing of the slot is left. When a cell dies,
//! the kernel has ended everything in it, and its slots are buried here.

use std::fs::File;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use nix::mount::{MntFlags, umount2};
use nix::sched::{CloneFlags, setns, unshare};
use nix::unistd::{Gid, Uid, fchown, seteuid};
use rustix::event::epoll;
use rustix::fs::CWD;
use rustix::mount::{OpenTreeFlags, open_tree};

use super::{Process, Running, Spawner};
use crate::cgroup::leaf::{Entrance, Leaf};
use crate::child::cell;
use crate::child::rootfs::LAYERS;
use crate::child::worker::{Filters, INNER_ID};
use crate::filter::policy::Subject;
use crate::filter::program_denying;
use crate::packet;
use crate::plan::{BindPlan, SlotPlan};
use crate::sighting::Watch;
use crate::spawner::protocol::{FromCell, ToCell};
use crate::stage::{At, Stage, StageError};
use crate::sys::clone::{Side, clone3};

/// Set in the token of an event on the socket of a cell.
pub(super) const TOKEN: u64 = 1 << 62;

/// This mount namespace, and a copy of it without the store: a cell begins with a copy of that one, because nobody in it
/// could take the store away.
pub(super) fn copy_without_store() -> Result<(File, File), StageError> {
    let here = || File::open("/proc/self/ns/mnt").at(Stage::BaseRoot);
    let own = here()?;
    unshare(CloneFlags::CLONE_NEWNS).at(Stage::BaseRoot)?;
    umount2(LAYERS, MntFlags::MNT_DETACH).at(Stage::BaseRoot)?;
    let copy = here()?;
    setns(&own, CloneFlags::CLONE_NEWNS).at(Stage::BaseRoot)?;
    Ok((own, copy))
}

impl Spawner<'_> {
    pub(super) fn build_cell(
        &mut self,
        id: u64,
        name: &str,
        plan: SlotPlan,
        bind: BindPlan,
        fds: Vec<OwnedFd>,
    ) -> Result<(), StageError> {
        let Ok([control, orders, announce, log]) = <[OwnedFd; 4]>::try_from(fds) else {
            // They were sent, and found no room here.
            return self.refuse(id, Stage::Descriptors, libc::EMFILE);
        };
        let made = Leaf::create(&self.tree, &plan.group, name, &plan.limits, plan.own_pids);
        let (leaf, Entrance { unified, tasks }) = match made {
            Ok(made) => made,
            Err(error) => return self.refuse_leaf(id, &error),
        };
        let user = self.worker_id(id);
        let outcome = (|| {
            self.give_log(&log, user)?;
            let layers = trees(&bind)?;
            let denied = plan.restrictions.denials();
            let subjects = [self.watch, Watch::default()].map(Subject::Template);
            let restricted = (!denied.is_empty()).then(|| subjects.map(|subject| program_denying(subject, &denied)));
            let [telling, silent] = restricted.as_ref().map_or(
                [&self.telling_template_filter, &self.template_filter],
                |[telling, silent]| [telling, silent],
            );
            let (socket, theirs) = packet::pair().at(Stage::Clone)?;
            setns(&self.without_store, CloneFlags::CLONE_NEWNS).at(Stage::Clone)?;
            let namespaces = libc::CLONE_NEWUSER
                | libc::CLONE_NEWPID
                | libc::CLONE_NEWNS
                | libc::CLONE_NEWIPC
                | libc::CLONE_NEWUTS
                | libc::CLONE_NEWNET;
            let side = clone3(namespaces, unified.as_ref().map(AsFd::as_fd));
            if let Ok(Side::Child) = side {
                cell::run(cell::Start {
                    id,
                    sightings: self.sightings,
                    plan,
                    bind,
                    tasks,
                    control,
                    spawner: theirs,
                    orders,
                    announce,
                    log,
                    layers,
                    filter: &self.filter,
                    template_filters: Filters { telling, silent },
                });
            }
            // Nothing may be built anywhere else.
            setns(&self.mounts, CloneFlags::CLONE_NEWNS).expect("the spawner's own mount namespace can be entered");
            match side.at(Stage::Clone)? {
                Side::Parent { pid, pidfd } => Ok((pid, pidfd, socket)),
                Side::Child => unreachable!("it never returns"),
            }
        })();
        match outcome {
            Ok((pid, pidfd, socket)) => {
                let mapped = map(pid, user).and_then(|()| {
                    let token = epoll::EventData::new_u64(id | TOKEN);
                    epoll::add(&self.events, &socket, token, epoll::EventFlags::IN).at(Stage::IdMap)?;
                    packet::send(socket.as_fd(), &ToCell::Mapped, &[]).at(Stage::IdMap)
                });
                self.by_pid.insert(pid, id);
                self.admit(id, leaf, Process::Cell { pidfd, socket });
                match mapped {
                    Ok(()) => Ok(()),
                    Err(StageError { stage, errno }) => {
                        self.kill(id);
                        self.refuse(id, stage, errno)
                    }
                }
            }
            Err(StageError { stage, errno }) => {
                leaf.remove();
                leaf.remove_group();
                self.refuse(id, stage, errno)
            }
        }
    }

    pub(super) fn build_in_cell(
        &mut self,
        id: u64,
        cell: u64,
        name: &str,
        plan: SlotPlan,
        hostname: String,
        mut fds: Vec<OwnedFd>,
    ) -> Result<(), StageError> {
        let Some(Running {
            process: Process::Cell { socket, .. },
            ..
        }) = self.running.get(&cell)
        else {
            return self.refuse(id, Stage::Clone, libc::ESRCH);
        };
        if fds.len() < 3 {
            return self.refuse(id, Stage::Descriptors, libc::EMFILE);
        }
        let user = self.worker_id(cell);
        let made = Leaf::create(&self.tree, &plan.group, name, &plan.limits, plan.own_pids);
        let leaf = match made {
            Ok((leaf, _)) => leaf,
            Err(error) => return self.refuse_leaf(id, &error),
        };
        let outcome = (|| {
            self.give_log(&fds[1], user)?;
            let opened = leaf.admit(user).and_then(|()| {
                // Version 1 compares the user who opened a file with the one who enters by it.
                become_user(user)?;
                let opened = leaf.entrance();
                become_user(0)?;
                opened
            });
            let Entrance { unified, tasks } = opened.map_err(|error| StageError {
                stage: Stage::Leaf,
                errno: error.source.raw_os_error().unwrap_or(libc::EIO),
            })?;
            let (born_in, before) = (unified.is_some(), fds.len());
            fds.extend(tasks.into_iter().map(OwnedFd::from).chain(unified));
            let order = ToCell::Slot {
                id,
                plan,
                hostname,
                born_in,
                entrances: fds.len() - before,
            };
            let beside: Vec<_> = fds.iter().map(AsFd::as_fd).collect();
            packet::send(socket.as_fd(), &order, &beside).at(Stage::Message)
        })();
        match outcome {
            Ok(()) => {
                self.admit(id, leaf, Process::InCell(cell));
                Ok(())
            }
            Err(StageError { stage, errno }) => {
                leaf.remove();
                self.refuse(id, stage, errno)
            }
        }
    }

    /// A pipe can be opened again, as /dev/stderr, by its owner alone.
    fn give_log(&self, log: &OwnedFd, user: u32) -> Result<(), StageError> {
        fchown(log.as_fd(), Some(Uid::from_raw(user)), Some(Gid::from_raw(user))).at(Stage::Descriptors)
    }

    pub(super) fn kill_in_cell(&self, cell: u64, id: u64) {
        if let Some(Running {
            process: Process::Cell { socket, .. },
            ..
        }) = self.running.get(&cell)
        {
            // A cell that is gone has taken its slots along.
            let _gone = packet::send(socket.as_fd(), &ToCell::Kill { id }, &[]);
        }
    }

    pub(super) fn hear_cell(&mut self, cell: u64) -> Result<(), StageError> {
        let Some(running) = self.running.get(&cell) else {
            return Ok(());
        };
        let Process::Cell { socket, .. } = &running.process else {
            return Ok(());
        };
        match packet::receive::<FromCell>(socket.as_fd()).at(Stage::Message)? {
            // Its end comes as that of a child.
            None => epoll::delete(&self.events, socket).at(Stage::Message),
            Some((FromCell::Refused { id, failure }, _)) => {
                if let Some(running) = self.running.remove(&id) {
                    running.leaf.remove();
                }
                self.refuse(id, failure.stage, failure.errno)
            }
            Some((FromCell::Gone { id, exit }, _)) => {
                if let Some(mut running) = self.running.remove(&id) {
                    running.exit = Some(exit);
                    self.leaving.push((id, running));
                }
                Ok(())
            }
        }
    }

    /// Pid 1 of a cell is gone, and so is all that was in it. What it had said before is heard first.
    pub(super) fn empty_cell(&mut self, cell: u64, running: &Running) -> Result<(), StageError> {
        let Process::Cell { socket, .. } = &running.process else {
            return Ok(());
        };
        while let Some((FromCell::Gone { id, exit }, _)) =
            packet::receive::<FromCell>(socket.as_fd()).at(Stage::Message)?
        {
            if let Some(mut slot) = self.running.remove(&id) {
                slot.exit = Some(exit);
                self.leaving.push((id, slot));
            }
        }
        let left: Vec<u64> = self
            .running
            .iter()
            .filter(|(_, slot)| matches!(slot.process, Process::InCell(of) if of == cell))
            .map(|(id, _)| *id)
            .collect();
        for id in left {
            self.leaving.extend(self.running.remove_entry(&id));
        }
        Ok(())
    }
}

fn become_user(id: u32) -> Result<(), crate::cgroup::leaf::LeafError> {
    seteuid(Uid::from_raw(id)).map_err(|errno| crate::cgroup::leaf::LeafError {
        path: "/proc/self/status".into(),
        source: errno.into(),
    })
}

/// A detached tree of each layer, to be mounted in a namespace from which the store can't be seen.
fn trees(bind: &BindPlan) -> Result<Vec<OwnedFd>, StageError> {
    let flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC | OpenTreeFlags::AT_RECURSIVE;
    let open = |layer: &crate::plan::LayerName| open_tree(CWD, Path::new(LAYERS).join(layer.as_str()), flags);
    bind.layers.iter().map(open).collect::<Result<_, _>>().at(Stage::Layers)
}

/// Writes the id maps of a cell: foreign code has the one id of the function, whoever makes its process.
fn map(pid: i32, user: u32) -> Result<(), StageError> {
    let map = format!("{INNER_ID} {user} 1");
    for (file, text) in [("setgroups", "deny"), ("uid_map", &map), ("gid_map", &map)] {
        std::fs::write(format!("/proc/{pid}/{file}"), text).at(Stage::IdMap)?;
    }
    Ok(())
}
