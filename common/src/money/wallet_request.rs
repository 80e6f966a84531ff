//! What becomes of requests that bring credits in and take them out.

/// A way of states that somebody moves a request along.
pub trait State: Copy + Eq + Send + Sync + 'static {
    /// What is moved along, as the tables call it.
    const REQUEST: &'static str;

    const ALL: &'static [Self];

    /// Its name in the API and in the tables.
    fn as_str(self) -> &'static str;

    /// Whether a request may go from here to there in one step.
    fn may_become(self, next: Self) -> bool;

    /// Finds a state by its name, without regard to case.
    fn from_name(name: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|state| state.as_str().eq_ignore_ascii_case(name))
    }

    /// Whether nothing comes after it.
    fn is_final(self) -> bool {
        !Self::ALL.iter().any(|next| self.may_become(*next))
    }
}

/// Where a top-up stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TopUpState {
    /// Asked for.
    New,
    /// Its payment is under way.
    Pending,
    /// Paid; the credits are in the wallet.
    Confirmed,
    /// Cancelled by its requester.
    Canceled,
    /// Not paid.
    Failed,
}

impl State for TopUpState {
    const REQUEST: &'static str = "top_up";
    const ALL: &'static [Self] =
        &[Self::New, Self::Pending, Self::Confirmed, Self::Canceled, Self::Failed];

    fn as_str(self) -> &'static str {
        match self {
            Self::New => "NEW",
            Self::Pending => "PENDING",
            Self::Confirmed => "CONFIRMED",
            Self::Canceled => "CANCELED",
            Self::Failed => "FAILED",
        }
    }

    fn may_become(self, next: Self) -> bool {
        match self {
            Self::New => next != Self::New,
            Self::Pending => !matches!(next, Self::New | Self::Pending),
            Self::Confirmed | Self::Canceled | Self::Failed => false,
        }
    }
}

/// Where a payout stands. Its credits are set aside until it is confirmed, or given back when it
/// has bounced or failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PayoutState {
    /// Asked for.
    New,
    /// Somebody looks into it.
    PendingVerification,
    /// The requester has to say something first.
    InfoRequired,
    /// The money is on its way.
    Sent,
    /// The money has arrived.
    Confirmed,
    /// The money came back.
    Bounced,
    /// The money was not sent.
    Failed,
}

impl State for PayoutState {
    const REQUEST: &'static str = "payout";
    const ALL: &'static [Self] = &[
        Self::New,
        Self::PendingVerification,
        Self::InfoRequired,
        Self::Sent,
        Self::Confirmed,
        Self::Bounced,
        Self::Failed,
    ];

    fn as_str(self) -> &'static str {
        match self {
            Self::New => "NEW",
            Self::PendingVerification => "PENDING_VERIFICATION",
            Self::InfoRequired => "INFO_REQUIRED",
            Self::Sent => "SENT",
            Self::Confirmed => "CONFIRMED",
            Self::Bounced => "BOUNCED",
            Self::Failed => "FAILED",
        }
    }

    fn may_become(self, next: Self) -> bool {
        use PayoutState as S;
        match self {
            S::New => {
                matches!(next, S::PendingVerification | S::InfoRequired | S::Sent | S::Failed)
            }
            S::PendingVerification => matches!(next, S::InfoRequired | S::Sent | S::Failed),
            S::InfoRequired => matches!(next, S::PendingVerification | S::Sent | S::Failed),
            S::Sent => matches!(next, S::Confirmed | S::Bounced),
            S::Confirmed | S::Bounced | S::Failed => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Whether every walk from `first` ends, and only in states of `last`.
    fn ends_in<S: State + std::fmt::Debug>(first: S, last: &[S]) {
        for state in S::ALL {
            assert_eq!(state.is_final(), last.contains(state), "{state:?}");
            assert_eq!(S::from_name(&state.as_str().to_lowercase()), Some(*state));
            assert!(!state.may_become(*state) && !state.may_become(first), "{state:?}");
        }
    }

    #[test]
    fn final_states_stay_final() {
        use {PayoutState as P, TopUpState as T};
        ends_in(T::New, &[T::Confirmed, T::Canceled, T::Failed]);
        ends_in(P::New, &[P::Confirmed, P::Bounced, P::Failed]);
    }

    #[test]
    fn money_that_was_not_sent_cannot_arrive_or_bounce() {
        for state in PayoutState::ALL {
            for next in [PayoutState::Confirmed, PayoutState::Bounced] {
                assert_eq!(state.may_become(next), *state == PayoutState::Sent);
            }
        }
    }
}
