//! The only place where the server reads the time.
//!
//! Tests can set a debug build's clock ahead. A release build has no code for that.

use chrono::{DateTime, SubsecRound, TimeDelta, Utc};

/// Now, cut to microseconds: PostgreSQL keeps no more, and both databases must read back what
/// was written.
#[expect(clippy::disallowed_methods, reason = "this is the clock that everyone else asks")]
pub fn now() -> DateTime<Utc> {
    Utc::now().trunc_subsecs(6) + ahead()
}

/// Waits until a time; without end where there is none. Where the clock is set meanwhile, it waits
/// as long as it would have.
pub async fn reached(at: Option<DateTime<Utc>>) {
    match at {
        Some(at) => tokio::time::sleep((at - now()).to_std().unwrap_or_default()).await,
        None => std::future::pending().await,
    }
}

/// How far tests have set the clock ahead: the milliseconds in the file that the variable
/// `FANFOLD_TEST_CLOCK` names.
#[cfg(debug_assertions)]
fn ahead() -> TimeDelta {
    use std::path::PathBuf;
    use std::sync::LazyLock;

    static FILE: LazyLock<Option<PathBuf>> = LazyLock::new(|| {
        let file = PathBuf::from(std::env::var_os("FANFOLD_TEST_CLOCK")?);
        tracing::warn!(file = %file.display(), "the clock is a test's");
        Some(file)
    });
    let set = || std::fs::read_to_string(FILE.as_ref()?).ok()?.trim().parse().ok();
    set().and_then(TimeDelta::try_milliseconds).unwrap_or_default()
}

#[cfg(not(debug_assertions))]
const fn ahead() -> TimeDelta {
    TimeDelta::zero()
}
