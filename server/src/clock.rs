//! The only place where the server reads the time.

use chrono::{DateTime, SubsecRound, Utc};

/// Now, cut to microseconds: PostgreSQL keeps no more, and both databases must read back what
/// was written.
#[expect(clippy::disallowed_methods, reason = "this is the clock that everyone else asks")]
pub fn now() -> DateTime<Utc> {
    Utc::now().trunc_subsecs(6)
}
