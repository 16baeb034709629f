//! The ladder against keeping everything for ten minutes, on a trace that is made up after what is published of large platforms:
//! few functions get most of the calls, many are timers, some come in bursts, most are rare.
//!
//! The table in docs/performance.md is printed by
//! `cargo test -p warm-pool --lib ladder::simulation -- --nocapture`.

use super::*;

const WEEK: f64 = 7.0 * 24.0 * 3600.0;
const FIXED: f64 = 600.0;
/// The default of `idle`, which bounds an instance that has a template below it.
const IDLE: Duration = Duration::from_secs(60);
const MIB: u64 = 1 << 20;
/// An instance that was executed, or a template: an interpreter with middling imports.
const WHOLE: u64 = 40 * MIB;
/// What waits ahead holds beside its template.
const AHEAD: u64 = 5 * MIB / 4;
const COLD: Duration = Duration::from_millis(400);
const FORK: Duration = Duration::from_millis(2);

/// Numbers that are the same in every run: a multiplicative congruential generator, of which the high bits are used.
struct Dice(u64);

impl Dice {
    /// From 0 to 1, both excluded.
    fn roll(&mut self) -> f64 {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        ((self.0 >> 11) as f64 + 0.5) / (1u64 << 53) as f64
    }

    fn exponential(&mut self, mean: f64) -> f64 {
        -mean * self.roll().ln()
    }
}

#[derive(Clone, Copy, PartialEq)]
enum Kind {
    Popular,
    Periodic,
    Bursty,
    Rare,
}

/// The mix that the price of memory was chosen on.
const MIX: Mix = [
    (Kind::Popular, "popular", 60),
    (Kind::Periodic, "periodic", 120),
    (Kind::Bursty, "bursty", 60),
    (Kind::Rare, "rare", 160),
];
/// Others, which nothing was chosen on.
const OTHER_MIXES: [(&str, Mix); 3] = [
    ("mostly rare", mix([20, 60, 20, 300])),
    ("mostly timers", mix([20, 300, 20, 60])),
    ("mostly people", mix([150, 30, 150, 70])),
];

/// How many functions of each kind there are.
type Mix = [(Kind, &'static str, usize); 4];

const fn mix([popular, periodic, bursty, rare]: [usize; 4]) -> Mix {
    [
        (Kind::Popular, "popular", popular),
        (Kind::Periodic, "periodic", periodic),
        (Kind::Bursty, "bursty", bursty),
        (Kind::Rare, "rare", rare),
    ]
}

/// The gaps between the calls of the function with number `of` of its kind, for a week.
fn trace(kind: Kind, of: usize, dice: &mut Dice) -> Vec<f64> {
    let periods = [60.0, 300.0, 600.0, 900.0, 1800.0, 3600.0];
    let mut gaps = Vec::new();
    let (mut time, mut in_burst) = (0.0, 0u32);
    while time < WEEK {
        let gap = match kind {
            // By rank: the mean gap grows from 20 s to 20 min.
            Kind::Popular => dice.exponential(20.0 * (of + 1) as f64),
            Kind::Periodic => periods[of % periods.len()] * (0.97 + 0.06 * dice.roll()),
            Kind::Bursty if in_burst > 0 => {
                in_burst -= 1;
                dice.exponential(4.0)
            }
            Kind::Bursty => {
                in_burst = dice.exponential(30.0) as u32;
                600.0 + dice.exponential(3.0 * 3600.0)
            }
            // Heavy-tailed: from an hour to days.
            Kind::Rare => 3600.0 * dice.roll().powf(-0.7),
        };
        time += gap;
        gaps.push(gap);
    }
    gaps
}

#[derive(Clone, Copy, Default)]
struct Bill {
    calls: f64,
    cold: f64,
    forked: f64,
    /// Bytes x seconds while nobody called.
    held: f64,
    waited: f64,
}

impl Bill {
    fn add(&mut self, other: Bill) {
        self.calls += other.calls;
        self.cold += other.cold;
        self.forked += other.forked;
        self.held += other.held;
        self.waited += other.waited;
    }

    fn cold_rate(&self) -> f64 {
        100.0 * self.cold / self.calls
    }

    fn gib_hours(&self) -> f64 {
        self.held / (1u64 << 30) as f64 / 3600.0
    }

    fn mean_wait(&self) -> f64 {
        1000.0 * self.waited / self.calls
    }
}

fn fixed(gaps: &[f64]) -> Bill {
    let mut bill = Bill::default();
    for gap in gaps {
        bill.calls += 1.0;
        bill.held += WHOLE as f64 * gap.min(FIXED);
        if *gap > FIXED {
            bill.cold += 1.0;
            bill.waited += COLD.as_secs_f64();
        }
    }
    bill
}

/// An instance that ran a call, a template below it, and one that waits ahead as long as both the template and `WINDOW` last.
/// `price` scales what memory is worth.
fn ladder(gaps: &[f64], price: u64) -> Bill {
    let (mut bill, mut known) = (Bill::default(), Gaps::default());
    let window = super::super::WINDOW;
    let step = |memory, saves| Step {
        memory: memory * price / 4,
        saves,
    };
    let (mut template, mut used) = (window.as_secs_f64(), IDLE.as_secs_f64());
    for (at, gap) in gaps.iter().enumerate() {
        // After a while one gap more changes little, and this runs in a debug build.
        if known.known() && (at < 64 || at % 16 == 0) {
            template = stays_for(&known, step(WHOLE, COLD), TEMPLATE_BOUND).as_secs_f64();
            used = stays_for(&known, step(OWN_MEMORY, FORK), IDLE)
                .as_secs_f64()
                .min(template);
        }
        let ahead = template.min(window.as_secs_f64());
        bill.calls += 1.0;
        for (memory, time) in [(OWN_MEMORY, used), (AHEAD, ahead), (WHOLE, template)] {
            bill.held += memory as f64 * gap.min(time);
        }
        if *gap > template {
            bill.cold += 1.0;
            bill.waited += COLD.as_secs_f64();
        } else if *gap > ahead {
            bill.forked += 1.0;
            bill.waited += FORK.as_secs_f64();
        }
        known.add(Duration::from_secs_f64(*gap));
    }
    bill
}

fn line(name: &str, old: &Bill, new: &Bill) {
    println!(
        "| {name} | {} | {:.2} % | {:.2} % | {:.2} % | {:.0} | {:.0} | {:.1} | {:.1} |",
        old.calls,
        old.cold_rate(),
        new.cold_rate(),
        100.0 * new.forked / new.calls,
        old.gib_hours(),
        new.gib_hours(),
        old.mean_wait(),
        new.mean_wait(),
    );
}

/// What ten minutes and the ladder cost for each kind, and for all.
fn week(mix: Mix, seed: u64, price: u64) -> Vec<(String, Bill, Bill)> {
    let mut dice = Dice(seed);
    let mut rows = Vec::new();
    let (mut all_old, mut all_new) = (Bill::default(), Bill::default());
    for (kind, name, count) in mix {
        let (mut old, mut new) = (Bill::default(), Bill::default());
        for of in 0..count {
            let gaps = trace(kind, of, &mut dice);
            old.add(fixed(&gaps));
            new.add(ladder(&gaps, price));
        }
        all_old.add(old);
        all_new.add(new);
        rows.push((format!("{count} {name}"), old, new));
    }
    rows.push(("all".to_owned(), all_old, all_new));
    rows
}

#[test]
fn the_ladder_is_never_worse_in_both_than_ten_minutes() {
    println!(
        "| functions | calls | cold, 10 min | cold, ladder | forked, ladder | GiB h, 10 min | GiB h, ladder | wait ms, 10 min | wait ms, ladder |"
    );
    println!("|---|---|---|---|---|---|---|---|---|");
    for seed in 1..4 {
        for (name, old, new) in week(MIX, seed, 4) {
            if seed == 1 {
                line(&name, &old, &new);
            }
            let better = new.cold_rate() <= old.cold_rate() || new.held <= old.held;
            assert!(better, "{name}, seed {seed}");
            let all = name == "all";
            let both = new.cold < old.cold && new.held < old.held;
            assert!(!all || both, "over all it is better in both, seed {seed}");
        }
    }
    for (price, name) in [
        (1, "all, a quarter of the price"),
        (2, "all, half the price"),
        (8, "all, twice the price"),
    ] {
        let rows = week(MIX, 1, price);
        let (_, old, new) = rows.last().unwrap();
        line(name, old, new);
    }
    for (name, mix) in OTHER_MIXES {
        let rows = week(mix, 1, 4);
        let (_, old, new) = rows.last().unwrap();
        line(name, old, new);
        assert!(new.cold < old.cold || new.held < old.held, "{name}");
    }
}
