//! Who can be killed, found by how the processes stand: parents and pid namespaces (NSpid of proc(5)).
//!
//! ```text
//! fn serve                          NSpid  P
//!   spawner                                P 1
//!     init of an instance                  P n 1
//!       its worker                         P n 2
//!     cell init                            P n 1
//!       template                           P n 19999      the same pid namespace as the cell's init
//!       init of an instance in the cell    P n m 1
//!         its worker, forked               P n m 2
//! ```

use tests::processes;

use super::random::Random;

/// A kind of process.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Kind {
    Gateway,
    Spawner,
    CellInit,
    Template,
    InstanceInit,
    Worker,
}

impl Kind {
    pub(super) const ALL: &[Self] = &[
        Self::Gateway,
        Self::Spawner,
        Self::CellInit,
        Self::Template,
        Self::InstanceInit,
        Self::Worker,
    ];

    pub(super) fn words(self) -> &'static str {
        match self {
            Self::Gateway => "gateway (`fn serve`)",
            Self::Spawner => "spawner",
            Self::CellInit => "init of a cell",
            Self::Template => "template",
            Self::InstanceInit => "init of an instance",
            Self::Worker => "worker of an instance",
        }
    }
}

/// One process below the server.
struct Seen {
    pid: i32,
    parent: i32,
    /// Its number in each pid namespace, from ours inward.
    numbers: Vec<i32>,
    /// It executed something: what only waits in a slot is still our own program.
    runs: bool,
    is_template: bool,
}

/// One process of a kind below the server; `None` when there is none now.
pub(super) fn find(server: i32, kind: Kind, random: &mut Random) -> Option<i32> {
    let family: Vec<_> = processes::family(server)
        .iter()
        .filter_map(|one| look(one.pid))
        .collect();
    random.one_of(&of_kind(server, kind, &family))
}

fn of_kind(server: i32, kind: Kind, family: &[Seen]) -> Vec<i32> {
    let spawner = family
        .iter()
        .find(|one| one.parent == server && one.numbers.last() == Some(&1));
    let Some(spawner) = spawner else { return Vec::new() };
    let depth = spawner.numbers.len();
    let templates: Vec<_> = family
        .iter()
        .filter(|one| one.is_template && one.numbers.len() == depth + 1)
        .collect();
    let workers = family
        .iter()
        .filter(|one| one.runs && one.numbers.last() == Some(&2) && one.numbers.len() > depth);
    match kind {
        Kind::Gateway => vec![server],
        Kind::Spawner => vec![spawner.pid],
        Kind::Template => templates.iter().map(|one| one.pid).collect(),
        Kind::CellInit => templates.iter().map(|one| one.parent).collect(),
        Kind::Worker => workers.map(|one| one.pid).collect(),
        Kind::InstanceInit => workers.map(|one| one.parent).collect(),
    }
}

/// `None` when it ended meanwhile.
fn look(pid: i32) -> Option<Seen> {
    let numbers = processes::status(pid, "NSpid")?;
    let words = std::fs::read(format!("/proc/{pid}/cmdline")).ok()?;
    let words = String::from_utf8_lossy(&words).into_owned();
    Some(Seen {
        pid,
        parent: processes::status(pid, "PPid")?.parse().ok()?,
        numbers: numbers
            .split_whitespace()
            .filter_map(|number| number.parse().ok())
            .collect(),
        runs: !words.starts_with("fn\0__spawner"),
        is_template: words.contains("/template.py\0"),
    })
}

#[test]
fn each_kind_is_told_by_where_it_stands() {
    let seen = |pid, parent, numbers: &[i32], runs, is_template| Seen {
        pid,
        parent,
        numbers: numbers.to_vec(),
        runs,
        is_template,
    };
    let family = [
        seen(10, 1, &[10], true, false),
        seen(11, 10, &[11, 1], false, false),
        seen(20, 11, &[20, 2, 1], false, false),
        seen(21, 20, &[21, 3, 2], false, false),
        seen(30, 11, &[30, 4, 1], false, false),
        seen(31, 30, &[31, 5, 2], true, false),
        seen(40, 11, &[40, 6, 1], false, false),
        seen(41, 40, &[41, 7, 19999], true, true),
        seen(42, 40, &[42, 8, 2, 1], false, false),
        seen(43, 42, &[43, 9, 20010, 2], true, true),
    ];
    let of = |kind| of_kind(10, kind, &family);
    assert_eq!(of(Kind::Gateway), [10]);
    assert_eq!(of(Kind::Spawner), [11]);
    assert_eq!(of(Kind::CellInit), [40]);
    assert_eq!(of(Kind::Template), [41]);
    assert_eq!(of(Kind::InstanceInit), [30, 42]);
    assert_eq!(of(Kind::Worker), [31, 43]);
    assert!(of_kind(99, Kind::Spawner, &family).is_empty());
}
