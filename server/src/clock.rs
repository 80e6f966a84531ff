//! The only place where the server reads the time.
//!
//! Tests can set a debug build's clock ahead. A release build has no code for that.

use chrono::{DateTime, SubsecRound, Utc};

/// Now, cut to microseconds: PostgreSQL keeps no more, and both databases must read back what
/// was written.
#[expect(clippy::disallowed_methods, reason = "this is the clock that everyone else asks")]
pub fn now() -> DateTime<Utc> {
    Utc::now().trunc_subsecs(6) + ahead()
}

/// Waits until a time, or without end where no time is given. Where the system's clock is set
/// meanwhile, it waits as long as it would have.
pub async fn reached(at: Option<DateTime<Utc>>) {
    let Some(at) = at else { return std::future::pending().await };
    while let Ok(left) = (at - now()).to_std()
        && !left.is_zero()
    {
        tokio::time::sleep(left.min(LOOK_AGAIN)).await;
    }
}

#[cfg(debug_assertions)]
use set_ahead::{LOOK_AGAIN, ahead};

/// How far tests have set the clock ahead: the milliseconds in the file that the variable
/// `FANFOLD_TEST_CLOCK` names.
#[cfg(debug_assertions)]
mod set_ahead {
    use std::path::PathBuf;
    use std::sync::LazyLock;
    use std::time::Duration;

    use chrono::TimeDelta;

    /// A test may set the clock at any time.
    pub const LOOK_AGAIN: Duration = Duration::from_millis(5);

    static FILE: LazyLock<Option<PathBuf>> = LazyLock::new(|| {
        let file = PathBuf::from(std::env::var_os("FANFOLD_TEST_CLOCK")?);
        tracing::warn!(file = %file.display(), "the clock is a test's");
        Some(file)
    });

    pub fn ahead() -> TimeDelta {
        let set = || std::fs::read_to_string(FILE.as_ref()?).ok()?.trim().parse().ok();
        set().and_then(TimeDelta::try_milliseconds).unwrap_or_default()
    }
}

#[cfg(not(debug_assertions))]
const LOOK_AGAIN: std::time::Duration = std::time::Duration::MAX;

#[cfg(not(debug_assertions))]
const fn ahead() -> chrono::TimeDelta {
    chrono::TimeDelta::zero()
}
