//! Lets templates go whose functions are not called any more: the last step of the ladder.

use std::sync::Weak;
use std::time::{Duration, Instant};

use super::Driver;
use super::launcher::Template;
use crate::policy::{OWN_MEMORY, Step, template_stays_for};
use crate::shelf::Past;

/// Time between two looks.
const LOOK: Duration = Duration::from_secs(5);

/// Looks until the driver is gone.
pub(super) async fn watch_templates(driver: Weak<Driver>) {
    loop {
        let Some(driver) = driver.upgrade() else { return };
        // It reads files of the kernel, and ends processes.
        let look = tokio::task::spawn_blocking(move || driver.let_templates_go(Instant::now()));
        if look.await.is_err() {
            return;
        }
        tokio::time::sleep(LOOK).await;
    }
}

impl Driver {
    fn let_templates_go(&self, now: Instant) {
        for template in self.launcher.templates() {
            let past = match self.find(&template.function) {
                Some(fleet) => fleet.past_if_at_leisure(),
                None => {
                    let record = self.records.get(&template.function);
                    let past = record.map(|record| record.past.lock().expect("nothing panics under the lock").clone());
                    Some(past.unwrap_or_default())
                }
            };
            if past.is_some_and(|past| is_due(&template, &past, now)) {
                tracing::debug!(function = %template.function, "its template goes");
                self.launcher.let_go(&template);
                // One may have come meanwhile.
                if let Some(fleet) = self.find(&template.function) {
                    fleet.let_idle_go();
                }
            }
        }
    }
}

/// Whether waiting for another call is not worth the memory of a template.
fn is_due(template: &Template, past: &Past, now: Instant) -> bool {
    let step = Step {
        memory: template.memory.unwrap_or(OWN_MEMORY),
        saves: template.saves,
    };
    let since_call = past.arrivals.last().map(|last| now.saturating_duration_since(last));
    let quiet = since_call.map_or(template.age, |since_call| since_call.min(template.age));
    quiet > template_stays_for(past.arrivals.gaps(), step)
}

#[cfg(test)]
mod tests {
    use functions::RevisionNumber;

    use super::*;

    const MINUTE: Duration = Duration::from_secs(60);

    fn template(age: Duration) -> Template {
        Template {
            function: "f".parse().unwrap(),
            revision: RevisionNumber::FIRST,
            age,
            memory: Some(40 << 20),
            saves: Duration::from_millis(400),
        }
    }

    #[test]
    fn a_template_that_nobody_uses_goes_and_one_in_use_stays() {
        let start = Instant::now();
        assert!(!is_due(&template(MINUTE), &Past::default(), start));
        assert!(is_due(&template(MINUTE * 16), &Past::default(), start));

        let mut often = Past::default();
        for call in 0..10 {
            often.arrivals.called(start + MINUTE * call);
        }
        let last = start + MINUTE * 9;
        assert!(!is_due(&template(MINUTE * 16), &often, last + MINUTE));
        assert!(is_due(&template(MINUTE * 16), &often, last + MINUTE * 5));
        assert!(
            !is_due(&template(Duration::ZERO), &often, last + MINUTE * 5),
            "it is new"
        );
    }
}
