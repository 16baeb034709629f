//! The server's own account of a call: the `Server-Timing` header. It explains a latency and never replaces it.

use std::time::Duration;

/// The phases a reply can name, in the order a call meets them.
pub(crate) const NAMES: [&str; 4] = ["queue", "sandbox", "init", "handler"];

/// How long each phase of [`NAMES`] took; `None` where the reply did not say.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Phases(pub(crate) [Option<Duration>; NAMES.len()]);

impl Phases {
    /// Reads `queue;dur=0.1, sandbox;dur=2` (milliseconds, as the Server-Timing specification of the W3C says).
    /// Entries with other names, without a duration or with a senseless one are left out.
    pub(crate) fn parse(header: &str) -> Self {
        let mut phases = Self::default();
        for entry in header.split(',') {
            let mut parts = entry.split(';').map(str::trim);
            let Some(at) = parts
                .next()
                .and_then(|name| NAMES.iter().position(|known| *known == name))
            else {
                continue;
            };
            let millis = parts
                .find_map(|part| part.strip_prefix("dur="))
                .and_then(|text| text.parse::<f64>().ok());
            if let Some(millis) = millis.filter(|millis| (0.0..1e9).contains(millis)) {
                phases.0[at] = Some(Duration::from_secs_f64(millis / 1e3));
            }
        }
        phases
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_the_server_sends() {
        let phases = Phases::parse("queue;dur=0.012, sandbox;dur=1.5,init;desc=x;dur=20, handler;dur=3");
        let micros = |us| Some(Duration::from_micros(us));
        assert_eq!(phases.0, [micros(12), micros(1500), micros(20_000), micros(3000)]);
    }

    #[test]
    fn nonsense_is_left_out() {
        let phases = Phases::parse("cache;dur=1, queue, sandbox;dur=-1, init;dur=NaN, handler;dur=x,,;");
        assert_eq!(phases, Phases::default());
    }
}
