//! What the set-up of the sandbox left open: descriptors, the old root, writable or unmasked files, ids, capabilities.

use std::ffi::CString;
use std::fs::{self, File, OpenOptions};
use std::io;
use std::path::{Path, PathBuf};

use crate::sys::{Arg, call};
use crate::{Attempts, Bait, Case};

use Arg::{Bytes, Int, Text};

/// The cases of this file.
pub(crate) const CASES: &[Case] = &[
    case("open-descriptors", open_descriptors),
    case("old-root", old_root),
    case("init-in-proc", init_in_proc),
    case("platform-in-proc", platform_in_proc),
    case("executable-of-the-platform", executable_of_the_platform),
    case("settings-of-the-host", settings_of_the_host),
    case("masked-files", masked_files),
    case("read-only-files", read_only_files),
    case("mount-flags", mount_flags),
    case("mount-propagation", mount_propagation),
    case("foreign-ids", foreign_ids),
    case("capabilities", capabilities),
    case("no-new-privileges", no_new_privileges),
    case("cgroup-paths", cgroup_paths),
    case("overlay-attributes", overlay_attributes),
];

const fn case(name: &'static str, run: fn(&Bait, &mut Attempts)) -> Case {
    Case { name, run }
}

fn open_descriptors(_: &Bait, attempts: &mut Attempts) {
    // Before an attempt opens any of its own.
    let seen = descriptors();
    attempts.look("beyond-the-standard-three", move || {
        let more: Vec<String> = seen?
            .into_iter()
            .filter(|(number, _)| *number > 2)
            .map(|(_, to)| to)
            .collect();
        Ok((more.is_empty(), more.join(" ")))
    });
    attempts.look("working-directory", || {
        let here = std::env::current_dir()?;
        Ok((here.is_absolute() && here.exists(), here.display().to_string()))
    });
}

fn descriptors() -> io::Result<Vec<(i32, String)>> {
    let mut found = Vec::new();
    for entry in fs::read_dir("/proc/self/fd")? {
        let entry = entry?;
        let to = fs::read_link(entry.path())?;
        // The listing's own, which is closed by now for whoever asks again.
        if !to.starts_with("/proc") {
            let number = entry.file_name().to_string_lossy().parse().unwrap_or(i32::MAX);
            found.push((number, to.display().to_string()));
        }
    }
    Ok(found)
}

/// A file of the host, by its own path, by way of what the kernel links to, and below each mount point where an old root could be.
fn old_root(bait: &Bait, attempts: &mut Attempts) {
    let file = bait.file.trim_start_matches('/');
    let ways = [
        ("by-its-path", "/"),
        ("above-the-root", "/../../../../../../.."),
        ("by-the-root-of-this-process", "/proc/self/root/.."),
        ("by-the-working-directory", "/proc/self/cwd/../../../.."),
        ("at-the-mount-point-of-an-old-root", "/mnt"),
    ];
    for (name, from) in ways {
        attempts.make(name, || Ok(fs::read_to_string(Path::new(from).join(file))?));
    }
}

/// Pid 1 is ours, and what it holds is worth more than what the function holds.
fn init_in_proc(_: &Bait, attempts: &mut Attempts) {
    open_each(attempts, 1);
}

/// The parent of this process is the part of the platform that starts the function's program for each call.
fn platform_in_proc(_: &Bait, attempts: &mut Attempts) {
    open_each(attempts, std::os::unix::process::parent_id());
}

/// And its executable is the platform's own.
fn executable_of_the_platform(_: &Bait, attempts: &mut Attempts) {
    let path = format!("/proc/{}/exe", std::os::unix::process::parent_id());
    attempts.make("read", || Ok(File::open(&path).map(|_| String::new())?));
    attempts.make("write", || {
        Ok(OpenOptions::new().write(true).open(&path).map(|_| String::new())?)
    });
}

fn open_each(attempts: &mut Attempts, pid: u32) {
    let dir = PathBuf::from(format!("/proc/{pid}"));
    for name in ["maps", "environ", "auxv"] {
        attempts.make(name, || {
            File::open(dir.join(name))?;
            Ok(String::new())
        });
    }
    for name in ["root", "cwd", "fd/3"] {
        attempts.make(name, || Ok(fs::read_link(dir.join(name))?.display().to_string()));
    }
}

fn settings_of_the_host(_: &Bait, attempts: &mut Attempts) {
    for (name, path) in [
        ("core_pattern", "/proc/sys/kernel/core_pattern"),
        ("modprobe", "/proc/sys/kernel/modprobe"),
        ("panic", "/proc/sys/kernel/panic"),
        ("drop_caches", "/proc/sys/vm/drop_caches"),
        ("ip_forward", "/proc/sys/net/ipv4/ip_forward"),
        ("irq", "/proc/irq/default_smp_affinity"),
        ("sysrq-trigger", "/proc/sysrq-trigger"),
    ] {
        attempts.make(name, || {
            // Nothing is written: that it could be is enough.
            OpenOptions::new().write(true).truncate(true).open(path)?;
            Ok(String::new())
        });
    }
}

/// Files that tell of the host's kernel: covered by /dev/null.
fn masked_files(_: &Bait, attempts: &mut Attempts) {
    for name in ["kallsyms", "keys", "key-users"] {
        attempts.look(name, || {
            let text = fs::read(Path::new("/proc").join(name))?;
            Ok((text.is_empty(), format!("{} bytes", text.len())))
        });
    }
    for name in ["acpi", "scsi", "driver"] {
        attempts.look(name, || {
            let entries = fs::read_dir(Path::new("/proc").join(name))?.count();
            Ok((entries == 0, format!("{entries} entries")))
        });
    }
}

fn read_only_files(_: &Bait, attempts: &mut Attempts) {
    for (name, path) in [
        ("root", "/probe-was-here"),
        ("etc", "/etc/probe-was-here"),
        ("usr", "/usr/probe-was-here"),
        ("function", "/function/probe-was-here"),
    ] {
        attempts.make(name, || {
            File::create(path)?;
            Ok(fs::remove_file(path).map(|()| "and removed again".to_owned())?)
        });
    }
}

fn mount_flags(_: &Bait, attempts: &mut Attempts) {
    attempts.look("nosuid", || mounts_without("nosuid", |_| true));
    attempts.look("nodev", || {
        // Devices are mounted one by one, in /dev and over files of /proc.
        mounts_without("nodev", |at| {
            at == "/dev/shm" || !(at.starts_with("/dev/") || at.starts_with("/proc/"))
        })
    });
}

/// The mount points that lack a flag, of those that need it.
fn mounts_without(flag: &str, needs: impl Fn(&str) -> bool) -> io::Result<(bool, String)> {
    let text = fs::read_to_string("/proc/self/mountinfo")?;
    let lacking: Vec<&str> = text
        .lines()
        .filter_map(|line| {
            let mut fields = line.split(' ').skip(4);
            let (at, flags) = (fields.next()?, fields.next()?);
            (needs(at) && !flags.split(',').any(|one| one == flag)).then_some(at)
        })
        .collect();
    Ok((lacking.is_empty(), lacking.join(" ")))
}

/// What is mounted on the host must not appear here, nor the other way round.
fn mount_propagation(_: &Bait, attempts: &mut Attempts) {
    attempts.look("shared", || {
        let text = fs::read_to_string("/proc/self/mountinfo")?;
        let shared = text.lines().filter(|line| line.contains(" shared:")).count();
        Ok((shared == 0, format!("{shared} shared mounts")))
    });
}

fn foreign_ids(_: &Bait, attempts: &mut Attempts) {
    for (name, number) in [("setresuid", libc::SYS_setresuid), ("setresgid", libc::SYS_setresgid)] {
        attempts.make(name, || {
            call(number, &mut [Int(0), Int(0), Int(0)])?;
            Ok(String::new())
        });
    }
    attempts.make("setgroups", || {
        let mut groups = 0u32.to_ne_bytes();
        call(libc::SYS_setgroups, &mut [Int(1), Bytes(&mut groups)])?;
        Ok(String::new())
    });
}

fn status(field: &str) -> io::Result<String> {
    let text = fs::read_to_string("/proc/self/status")?;
    let value = text
        .lines()
        .find_map(|line| line.strip_prefix(field)?.strip_prefix(":\t"));
    value
        .map(str::to_owned)
        .ok_or_else(|| io::Error::from_raw_os_error(libc::ENODATA))
}

fn capabilities(_: &Bait, attempts: &mut Attempts) {
    for set in ["CapEff", "CapPrm", "CapInh", "CapBnd", "CapAmb"] {
        attempts.look(set, || {
            let held = status(set)?;
            Ok((held.bytes().all(|digit| digit == b'0'), held))
        });
    }
}

fn no_new_privileges(_: &Bait, attempts: &mut Attempts) {
    attempts.look("NoNewPrivs", || {
        let value = status("NoNewPrivs")?;
        Ok((value == "1", value))
    });
}

/// The names of the host's groups tell of its users, services and other functions. The root of a cgroup namespace has none.
fn cgroup_paths(_: &Bait, attempts: &mut Attempts) {
    attempts.look("names", || {
        let text = fs::read_to_string("/proc/self/cgroup")?;
        let told: Vec<&str> = text.lines().filter(|line| !line.ends_with(":/")).collect();
        Ok((told.is_empty(), told.join(" ")))
    });
}

/// Attributes by which overlayfs would take a file of ours for one of its own marks.
fn overlay_attributes(_: &Bait, attempts: &mut Attempts) {
    // Version 2 of the format of capabilities, all of them.
    let mut value = [0xffu8; 20];
    value[..4].copy_from_slice(&0x0200_0001u32.to_le_bytes());
    for (name, attribute) in [
        ("opaque", c"trusted.overlay.opaque"),
        ("redirect", c"trusted.overlay.redirect"),
        ("file-capabilities", c"security.capability"),
    ] {
        attempts.make(name, || {
            let path = "/tmp/probe-attributes";
            File::create(path)?;
            let path = CString::new(path).map_err(io::Error::from)?;
            call(
                libc::SYS_setxattr,
                &mut [Text(&path), Text(attribute), Bytes(&mut value), Int(20), Int(0)],
            )?;
            Ok(String::new())
        });
    }
}
