//! How many of something are enough, when they are wanted at random.

/// The least number that is exceeded in one case of `1 / misses` at most, if `expected` are wanted on average and independently of
/// each other. At most `most`.
pub(super) fn quantile(expected: f64, misses: f64, most: usize) -> usize {
    let mut enough = 0;
    let mut chance = (-expected).exp();
    let mut covered = chance;
    while covered < 1.0 - misses && enough < most {
        enough += 1;
        chance *= expected / enough as f64;
        covered += chance;
    }
    enough
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_the_quantile_of_the_table() {
        assert_eq!(quantile(0.0, 0.01, 10), 0);
        assert_eq!(quantile(0.005, 0.01, 10), 0);
        assert_eq!(quantile(1.0, 0.01, 10), 4);
        assert_eq!(quantile(1.0, 0.001, 10), 5);
        assert_eq!(quantile(5.0, 0.05, 100), 9);
        assert_eq!(quantile(1e6, 0.01, 10), 10);
    }
}
