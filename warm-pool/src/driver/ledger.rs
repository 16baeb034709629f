//! Processor time by function: of what runs, and of all that ever ran. Accounts are kept by sandbox, and a sandbox ends;
//! what it used is added up here, so that the sum never falls.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, Weak};
use std::time::Duration;

use functions::FunctionName;
use sandbox::Sandbox;

/// See the module's head.
#[derive(Default)]
pub(super) struct Ledger {
    accounts: Mutex<HashMap<FunctionName, Account>>,
}

#[derive(Default)]
struct Account {
    /// Of sandboxes that are gone.
    settled: Duration,
    /// Of each that is not.
    open: HashMap<u64, Open>,
    /// Something counted once, so that 0 means 0.
    counts: bool,
}

/// The account of a sandbox that runs.
struct Open {
    sandbox: Weak<Sandbox>,
    /// What it had used when it became the function's.
    before: Duration,
    /// What was read last: its files go a moment before it is settled.
    seen: Duration,
}

impl Ledger {
    /// A sandbox of `function` runs. What it used before, while it was nobody's, is not charged.
    pub(super) fn open(&self, function: &FunctionName, sandbox: &Arc<Sandbox>, before: Duration) {
        let entry = Open {
            sandbox: Arc::downgrade(sandbox),
            before,
            seen: Duration::ZERO,
        };
        self.lock()
            .entry(function.clone())
            .or_default()
            .open
            .insert(sandbox.id(), entry);
    }

    /// It is gone and has used `cpu`. Only the first word counts.
    pub(super) fn settle(&self, function: &FunctionName, id: u64, cpu: Duration) {
        let mut accounts = self.lock();
        // A function that was removed has no account any more.
        if let Some(account) = accounts.get_mut(function)
            && let Some(open) = account.open.remove(&id)
        {
            account.settled += cpu.max(open.seen).saturating_sub(open.before);
            account.counts |= !cpu.is_zero();
        }
    }

    /// All that `function` has used; `None` where nothing counts.
    pub(super) fn total(&self, function: &FunctionName) -> Option<Duration> {
        let mut accounts = self.lock();
        let account = accounts.get_mut(function)?;
        let mut total = account.settled;
        for open in account.open.values_mut() {
            if let Some(cpu) = open.sandbox.upgrade().and_then(|sandbox| sandbox.usage().cpu) {
                open.seen = cpu.max(open.seen);
                account.counts = true;
            }
            total += open.seen.saturating_sub(open.before);
        }
        account.counts.then_some(total)
    }

    /// The function was removed.
    pub(super) fn close(&self, function: &FunctionName) {
        self.lock().remove(function);
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<FunctionName, Account>> {
        self.accounts.lock().expect("nothing panics under the lock")
    }
}
