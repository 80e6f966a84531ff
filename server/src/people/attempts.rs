//! How often people may try what can be guessed, or what sends something to others.

use std::sync::Arc;
use std::time::Duration;

use super::guess_pauses::Pauses;
use crate::error::Result;
use crate::limits::rate::Limits;

pub const TRIES_MAX: u32 = 10;
const TRIES_REFILL: Duration = Duration::from_secs(30);

/// The attempts of all people, whichever API they come by; clones share them.
#[derive(Clone)]
pub struct Attempts(Arc<Counts>);

struct Counts {
    tries: Limits,
    guesses: Pauses,
}

impl Default for Attempts {
    fn default() -> Self {
        let tries = Limits::new(TRIES_MAX, TRIES_REFILL);
        Self(Arc::new(Counts { tries, guesses: Pauses::default() }))
    }
}

impl Attempts {
    /// Counts a try: a message to an address, or a coupon.
    ///
    /// # Errors
    /// `RateLimited` where there were too many.
    pub fn take(&self, name: &str) -> Result<()> {
        self.0.tries.take(name)
    }

    /// Wrong guesses under this name.
    pub(super) fn guesses(&self) -> &Pauses {
        &self.0.guesses
    }
}
