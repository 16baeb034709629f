//! Numbers that follow from a seed, so that a run can be had again. The moments still depend on the machine.

/// SplitMix64 (Steele, Lea and Flood, 2014): one word of state, good enough to choose victims with.
#[derive(Debug)]
pub(super) struct Random(u64);

impl Random {
    pub(super) fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub(super) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }

    /// A number below `end`, which is not 0.
    pub(super) fn below(&mut self, end: u64) -> u64 {
        self.next() % end
    }

    /// One of them; `None` of none.
    pub(super) fn one_of<T: Copy>(&mut self, all: &[T]) -> Option<T> {
        let at = self.below(all.len().max(1) as u64);
        all.get(usize::try_from(at).unwrap_or(0)).copied()
    }

    /// All of them in another order.
    pub(super) fn shuffled<T: Copy>(&mut self, all: &[T]) -> Vec<T> {
        let mut keyed: Vec<_> = all.iter().map(|one| (self.next(), *one)).collect();
        keyed.sort_by_key(|(key, _)| *key);
        keyed.into_iter().map(|(_, one)| one).collect()
    }
}

#[test]
fn a_seed_gives_the_same_numbers_again() {
    let draw = |seed| {
        let mut random = Random::new(seed);
        (random.shuffled(&[1, 2, 3, 4, 5]), random.below(1000))
    };
    assert_eq!(draw(7), draw(7));
    assert_ne!(draw(7), draw(8));
    assert_eq!(Random::new(1).one_of::<u8>(&[]), None);
}
