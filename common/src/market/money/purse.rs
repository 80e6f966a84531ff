//! What a run has reserved of its customer's credits, and what it has cost.

use crate::compute::resources::Usage;
use crate::money::credits::Credits;

#[derive(Debug, Clone, Copy, Default)]
pub(in crate::market) struct Purse {
    /// What is still reserved.
    held: Credits,
    /// The part of it that running tasks may need.
    committed: Credits,
    captured: Credits,
    /// The part of it that its customer's statement has lines of.
    billed: Credits,
    /// What its paid attempts used.
    usage: Usage,
}

impl Purse {
    /// The purse of a run as it was stored: nothing runs yet.
    pub fn load(held: Credits, captured: Credits, billed: Credits, usage: Usage) -> Self {
        Self { held, committed: Credits::ZERO, captured, billed, usage }
    }

    pub const fn held(&self) -> Credits {
        self.held
    }

    pub const fn committed(&self) -> Credits {
        self.committed
    }

    pub const fn captured(&self) -> Credits {
        self.captured
    }

    pub const fn billed(&self) -> Credits {
        self.billed
    }

    pub const fn usage(&self) -> Usage {
        self.usage
    }

    /// What is reserved and not committed to a running task.
    pub fn free(&self) -> Credits {
        self.held.saturating_sub(self.committed)
    }

    pub fn hold(&mut self, more: Credits) {
        self.held = self.held.saturating_add(more);
    }

    pub fn give_back(&mut self, amount: Credits) {
        self.held = self.held.checked_sub(amount).expect("a run gives back no more than it holds");
    }

    /// A task may need so much more, or begins to run.
    pub fn commit(&mut self, bound: Credits) {
        self.committed = self.committed.saturating_add(bound);
    }

    /// A task has ended that might have needed so much.
    pub fn release(&mut self, bound: Credits) {
        self.committed = self.committed.saturating_sub(bound);
    }

    /// An attempt is paid for.
    pub fn capture(&mut self, amount: Credits) {
        self.held = self
            .held
            .checked_sub(amount)
            .expect("a task's price is at most its bound, and the hold covers all bounds");
        self.captured = self.captured.saturating_add(amount);
    }

    /// Takes what no line of the statement says yet, as the amount of the next one.
    pub fn bill(&mut self) -> Credits {
        let amount = self.captured.saturating_sub(self.billed);
        self.billed = self.captured;
        amount
    }

    pub fn count(&mut self, used: Usage) {
        self.usage = self.usage.plus(used);
    }
}
