//! Which hierarchies are mounted where, and where this process stands in each: pure parsers of
//! `/proc/self/mountinfo` and `/proc/self/cgroup` (proc(5), cgroups(7)).

use std::path::{Path, PathBuf};

use super::Version;

/// One mounted hierarchy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mounted {
    /// Mount point.
    pub point: PathBuf,
    /// Version.
    pub version: Version,
    /// Controllers of a version 1 hierarchy.
    pub controllers: Vec<String>,
    /// The directory in which this process stands.
    pub own: PathBuf,
}

/// Joins both files. A hierarchy in which this process stands outside of what is mounted is left out.
pub fn parse(mountinfo: &str, cgroup: &str) -> Vec<Mounted> {
    mountinfo.lines().filter_map(|line| mounted(line, cgroup)).collect()
}

fn mounted(line: &str, cgroup: &str) -> Option<Mounted> {
    let (left, right) = line.split_once(" - ")?;
    let mut left = left.split(' ').skip(3);
    let (root, point) = (unescape(left.next()?), unescape(left.next()?));
    let mut right = right.split(' ');
    let kind = right.next()?;
    let options = right.nth(1)?;
    let (version, controllers) = match kind {
        "cgroup2" => (Version::V2, Vec::new()),
        "cgroup" => (Version::V1, options.split(',').map(str::to_owned).collect::<Vec<_>>()),
        _ => return None,
    };
    let path = cgroup.lines().find_map(|line| {
        let mut fields = line.splitn(3, ':');
        let (id, names, path) = (fields.next()?, fields.next()?, fields.next()?);
        let ours = match version {
            Version::V2 => id == "0" && names.is_empty(),
            Version::V1 => !names.is_empty() && names.split(',').all(|name| controllers.iter().any(|c| c == name)),
        };
        ours.then_some(path)
    })?;
    let inside = Path::new(path).strip_prefix(&root).ok()?;
    Some(Mounted {
        own: Path::new(&point).join(inside),
        point: point.into(),
        version,
        controllers,
    })
}

/// Undoes the octal escapes of mountinfo.
fn unescape(field: &str) -> String {
    let mut bytes = Vec::with_capacity(field.len());
    let mut rest = field.as_bytes();
    while let [first, tail @ ..] = rest {
        let octal = match (first, tail) {
            (b'\\', [a, b, c, ..]) => std::str::from_utf8(&[*a, *b, *c])
                .ok()
                .and_then(|t| u8::from_str_radix(t, 8).ok()),
            _ => None,
        };
        bytes.push(octal.unwrap_or(*first));
        rest = if octal.is_some() { &tail[3..] } else { tail };
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const HYBRID: &str = "\
30 24 0:26 / /sys/fs/cgroup rw,relatime - tmpfs tmpfs rw,mode=755
31 30 0:27 / /sys/fs/cgroup/cpu,cpuacct rw,relatime - cgroup cgroup rw,cpu,cpuacct
32 30 0:28 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory
33 30 0:29 / /sys/fs/cgroup/systemd rw - cgroup cgroup rw,name=systemd
34 30 0:30 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw";
    const OWN: &str = "9:name=systemd:/\n4:memory:/a/b\n2:cpu,cpuacct:/\n0::/user.slice";

    #[test]
    fn a_hybrid_host() {
        let found = parse(HYBRID, OWN);
        assert_eq!(found.len(), 4);
        assert_eq!(found[0].own, Path::new("/sys/fs/cgroup/cpu,cpuacct"));
        assert!(found[0].controllers.iter().any(|c| c == "cpuacct"));
        assert_eq!(found[1].own, Path::new("/sys/fs/cgroup/memory/a/b"));
        assert_eq!(
            (found[3].version, found[3].own.as_path()),
            (Version::V2, Path::new("/sys/fs/cgroup/unified/user.slice"))
        );
    }

    #[test]
    fn a_container_sees_its_own_part_as_the_root() {
        let mountinfo = "31 30 0:27 /docker/x /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory";
        assert_eq!(
            parse(mountinfo, "4:memory:/docker/x/y")[0].own,
            Path::new("/sys/fs/cgroup/memory/y")
        );
        assert!(parse(mountinfo, "4:memory:/elsewhere").is_empty());
    }

    #[test]
    fn escapes_are_undone() {
        assert_eq!(unescape(r"/a\040b\134"), r"/a b\");
        assert_eq!(unescape(r"\04"), r"\04");
    }

    proptest! {
        #[test]
        fn any_text_is_survived(a in ".*", b in ".*") {
            parse(&a, &b);
            parse(&format!("1 2 3 {a} {b} - cgroup x {a}"), &format!("1:{a}:{b}"));
            unescape(&a);
        }
    }
}
