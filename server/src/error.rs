//! Why a use case refuses or fails, whichever API asked for it.

use common::access::Denied;
use common::error_chain::chain;
use common::package::loose::Invalid;

use crate::coordinator::BookingRefused;
use crate::field::Field;
use crate::limits::concurrency;
use crate::limits::quotas;
use crate::limits::quotas::Full;
use crate::{coordinator, data, logs, secrets};

/// Seconds until a busy server is worth another try.
const AGAIN_SECS: u64 = 5;

const DATABASE_DAMAGED: &str = "the server's database is damaged: its owner must look at the log and \
                                restore a backup";

/// Why a request is refused. The text is for the caller; what has a source is ours alone.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("authorization: a valid access token or API key is needed in the Authorization header")]
    Unauthenticated,
    #[error("{0}")]
    Invalid(String),
    /// The refusal in it is about this field of the request.
    #[error("{0}: {1}")]
    At(Field, Box<Error>),
    /// Right in itself, but blocked for a reason that programs know by its code.
    #[error("{1}")]
    Blocked(&'static str, String),
    /// Right in itself, but not now.
    #[error("{0}")]
    NotNow(String),
    #[error("{0}")]
    Forbidden(String),
    /// The caller's role or key does not allow it.
    #[error(transparent)]
    Denied(#[from] Denied),
    /// The caller's role or key does not allow them to use a secret.
    #[error("using a secret: {0}")]
    SecretDenied(Denied),
    #[error("{0} not found")]
    NotFound(String),
    #[error("the body is larger than {0} bytes")]
    TooLarge(u64),
    #[error(transparent)]
    StorageFull(#[from] Full),
    /// Seconds after which one more try is allowed.
    #[error("rate limit exceeded: retry after {0} s")]
    RateLimited(u64),
    /// Too many of these are under way.
    #[error("too many {0} at the same time: {1}; try again in {AGAIN_SECS} s")]
    Busy(&'static str, concurrency::Full),
    #[error("the body arrived too slowly, or stopped before its end")]
    TooSlow,
    #[error("the server is busy or stopping: try again in a moment")]
    Unavailable,
    /// A part of the server's own that cannot be reached.
    #[error("the server cannot reach its {0}: try again in {AGAIN_SECS} s")]
    Away(&'static str),
    /// The disk of a part of the server's own is full.
    #[error(
        "the disk of the server's {0} is full: nothing was stored; try again when its owner has \
         made room"
    )]
    DiskFull(&'static str),
    /// What the server keeps is no longer what was stored.
    #[error("{0}")]
    Damaged(String),
    #[error("internal server error")]
    Internal(#[source] Box<dyn std::error::Error + Send + Sync>),
}

pub type Result<T> = std::result::Result<T, Error>;

/// The kinds of failures. APIs map them to their own codes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    InvalidArgument,
    FailedPrecondition,
    Unauthenticated,
    Forbidden,
    NotFound,
    MethodNotAllowed,
    TooLarge,
    StorageFull,
    RateLimited,
    TooManyConcurrent,
    Timeout,
    Unavailable,
    DiskFull,
    DataLoss,
    Internal,
}

impl Kind {
    /// The word for programs; it never changes.
    pub const fn reason(self) -> &'static str {
        match self {
            Self::InvalidArgument => "INVALID_ARGUMENT",
            Self::FailedPrecondition => "FAILED_PRECONDITION",
            Self::Unauthenticated => "UNAUTHENTICATED",
            Self::Forbidden => "FORBIDDEN",
            Self::NotFound => "NOT_FOUND",
            Self::MethodNotAllowed => "METHOD_NOT_ALLOWED",
            Self::TooLarge => "TOO_LARGE",
            Self::StorageFull => "STORAGE_FULL",
            Self::RateLimited => "RATE_LIMITED",
            Self::TooManyConcurrent => "TOO_MANY_CONCURRENT",
            Self::Timeout => "TIMEOUT",
            Self::Unavailable => "UNAVAILABLE",
            Self::DiskFull => "DISK_FULL",
            Self::DataLoss => "DATA_LOSS",
            Self::Internal => "INTERNAL",
        }
    }
}

impl Error {
    /// Seconds after which a program may try again, where that is all that is needed.
    pub fn retry_after(&self) -> Option<u64> {
        match self {
            Self::At(_, refusal) => refusal.retry_after(),
            Self::RateLimited(secs) => Some(*secs),
            Self::Busy(..) | Self::Unavailable | Self::Away(_) | Self::DiskFull(_) => {
                Some(AGAIN_SECS)
            }
            Self::Unauthenticated
            | Self::Invalid(_)
            | Self::Blocked(..)
            | Self::NotNow(_)
            | Self::Forbidden(_)
            | Self::Denied(_)
            | Self::SecretDenied(_)
            | Self::NotFound(_)
            | Self::TooLarge(_)
            | Self::StorageFull(_)
            | Self::TooSlow
            | Self::Damaged(_)
            | Self::Internal(_) => None,
        }
    }

    /// A refusal of what a field holds.
    pub fn field(field: impl Into<Field>, problem: impl Into<String>) -> Self {
        Self::Invalid(problem.into()).at(field)
    }

    /// This refusal, as one of what the field says.
    #[must_use]
    pub fn at(self, field: impl Into<Field>) -> Self {
        Self::At(field.into(), Box::new(self))
    }

    pub fn not_found(what: &str, name: &str) -> Self {
        // What was asked for goes back, but not without end.
        Self::NotFound(format!("{what} {:?}", name.chars().take(200).collect::<String>()))
    }

    /// The same, where it is about this field of a request: for APIs, whose use cases know no
    /// names of fields.
    #[must_use]
    pub fn about(self, field: &str) -> Self {
        match self {
            refusal @ (Self::Invalid(_) | Self::Blocked(..) | Self::NotNow(_)) => refusal.at(field),
            other @ (Self::Unauthenticated
            | Self::At(..)
            | Self::Denied(_)
            | Self::SecretDenied(_)
            | Self::Forbidden(_)
            | Self::NotFound(_)
            | Self::TooLarge(_)
            | Self::StorageFull(_)
            | Self::RateLimited(_)
            | Self::Busy(..)
            | Self::TooSlow
            | Self::Unavailable
            | Self::Away(_)
            | Self::DiskFull(_)
            | Self::Damaged(_)
            | Self::Internal(_)) => other,
        }
    }

    /// What kind of failure it is.
    pub fn kind(&self) -> Kind {
        match self {
            Self::At(_, refusal) => refusal.kind(),
            Self::Unauthenticated => Kind::Unauthenticated,
            Self::Invalid(_) => Kind::InvalidArgument,
            Self::Blocked(..) | Self::NotNow(_) => Kind::FailedPrecondition,
            Self::Forbidden(_) | Self::Denied(_) | Self::SecretDenied(_) => Kind::Forbidden,
            Self::NotFound(_) => Kind::NotFound,
            Self::TooLarge(_) => Kind::TooLarge,
            Self::StorageFull(_) => Kind::StorageFull,
            Self::RateLimited(_) => Kind::RateLimited,
            Self::Busy(..) => Kind::TooManyConcurrent,
            Self::TooSlow => Kind::Timeout,
            Self::Unavailable | Self::Away(_) => Kind::Unavailable,
            Self::DiskFull(_) => Kind::DiskFull,
            Self::Damaged(_) => Kind::DataLoss,
            Self::Internal(_) => Kind::Internal,
        }
    }

    /// What is wrong, for programs: a word that never changes.
    pub fn reason(&self) -> &'static str {
        let refusal = self.refusal();
        if let Self::Blocked(reason, _) = refusal { reason } else { refusal.kind().reason() }
    }

    /// The message, with its field as an API names it.
    pub fn message(&self, name: fn(&Field) -> String) -> String {
        let Self::At(field, refusal) = self else { return self.to_string() };
        format!("{}: {}", name(field), refusal.message(name))
    }

    /// The field whose value is wrong.
    pub fn wrong_field(&self) -> Option<&Field> {
        let Self::At(field, refusal) = self else { return None };
        matches!(**refusal, Self::Invalid(_)).then_some(field)
    }

    /// What the caller lacks.
    pub fn denied(&self) -> Option<Denied> {
        let refusal = self.refusal();
        if let Self::Denied(denied) | Self::SecretDenied(denied) = refusal {
            Some(*denied)
        } else {
            None
        }
    }

    /// The refusal without the field that it is about.
    fn refusal(&self) -> &Self {
        if let Self::At(_, refusal) = self { refusal.refusal() } else { self }
    }
}

impl From<Invalid> for Error {
    fn from(invalid: Invalid) -> Self {
        Self::field(invalid.field, invalid.problem)
    }
}

impl From<crate::store::Error> for Error {
    fn from(error: crate::store::Error) -> Self {
        if crate::store::is_full(&error) {
            tracing::error!("the disk of the database is full");
            return Self::DiskFull("database");
        }
        if crate::store::is_away(&error) {
            tracing::warn!(error = %chain(&error), "the database is away");
            return Self::Away("database");
        }
        if crate::store::is_damage(&error) {
            tracing::error!(
                error = %chain(&error),
                "the database is damaged: docs/operations/backup.md says what to do"
            );
            return Self::Damaged(DATABASE_DAMAGED.to_owned());
        }
        Self::Internal(Box::new(error))
    }
}

impl From<secrets::Error> for Error {
    fn from(error: secrets::Error) -> Self {
        match error {
            secrets::Error::NotFound(_) | secrets::Error::Misuse { .. } => {
                Self::NotNow(error.to_string())
            }
            secrets::Error::Db(error) => error.into(),
            secrets::Error::Key => Self::Internal(Box::new(error)),
        }
    }
}

impl From<BookingRefused> for Error {
    fn from(refused: BookingRefused) -> Self {
        let problem = match &refused {
            BookingRefused::NoRequest(id) => return Self::not_found("request", &id.to_string()),
            BookingRefused::Coupon => "COUPON_REFUSED",
            BookingRefused::Redeemed => "COUPON_REDEEMED",
            BookingRefused::CouponExists => "COUPON_EXISTS",
            BookingRefused::TooManyTopUps(_) => "TOO_MANY_TOP_UPS",
            BookingRefused::Step { .. } => "WRONG_STATE",
            BookingRefused::Payout { .. } | BookingRefused::Insufficient(_) => {
                "INSUFFICIENT_CREDITS"
            }
        };
        Self::Blocked(problem, refused.to_string())
    }
}

impl From<quotas::Error> for Error {
    fn from(error: quotas::Error) -> Self {
        match error {
            quotas::Error::Full(full) => Self::StorageFull(full),
            quotas::Error::Db(error) => error.into(),
        }
    }
}

impl From<logs::Error> for Error {
    fn from(error: logs::Error) -> Self {
        match error {
            logs::Error::Db(error) => error.into(),
            logs::Error::Data(error) => error.into(),
            logs::Error::Segment(_) => Self::Damaged(error.to_string()),
        }
    }
}

impl From<coordinator::Error> for Error {
    fn from(error: coordinator::Error) -> Self {
        match error {
            coordinator::Error::AlreadyStarted => {
                Self::Blocked("JOB_ALREADY_STARTED", error.to_string())
            }
            coordinator::Error::Wallet { .. } => {
                Self::Blocked("INSUFFICIENT_CREDITS", error.to_string())
            }
            coordinator::Error::Cap { .. } => Self::Blocked("SPEND_CAP_REACHED", error.to_string()),
            coordinator::Error::JobChanged
            | coordinator::Error::NoRun
            | coordinator::Error::NotDeliverable
            | coordinator::Error::NotRetryable
            | coordinator::Error::NotKept
            | coordinator::Error::SamePlan
            | coordinator::Error::StillStopping
            | coordinator::Error::NoQueue
            | coordinator::Error::QueueInUse(_) => Self::NotNow(error.to_string()),
            coordinator::Error::Booking(refused) => refused.into(),
            coordinator::Error::Stopping => Self::Unavailable,
            coordinator::Error::Waiting => Self::Away("database"),
            coordinator::Error::DiskFull => Self::DiskFull("database"),
            coordinator::Error::Db(error) => error.into(),
            coordinator::Error::NoNode => Self::Internal(Box::new(error)),
        }
    }
}

impl From<data::Error> for Error {
    fn from(error: data::Error) -> Self {
        match error {
            data::Error::Customer(text) => Self::Invalid(text),
            data::Error::At(end, text) => Self::field(Field::Location(end), text),
            data::Error::Full(full) => Self::StorageFull(full),
            data::Error::Mismatch => Self::Invalid(error.to_string()),
            data::Error::Damaged(_) => {
                tracing::error!(error = %chain(&error), "stored data is damaged");
                Self::Damaged(error.to_string())
            }
            data::Error::Elsewhere(text) => Self::NotNow(text),
            data::Error::NotFound(_) => Self::NotFound("object".to_owned()),
            data::Error::Store(_) | data::Error::Io(_) if error.is_full() => {
                let part = error.part();
                tracing::error!(part, "the disk is full");
                Self::DiskFull(part)
            }
            data::Error::Store(_) | data::Error::Io(_) if error.is_away() => {
                tracing::warn!(error = %chain(&error), "the bucket is away");
                Self::Away(error.part())
            }
            data::Error::Store(_) | data::Error::Io(_) => Self::Internal(Box::new(error)),
        }
    }
}
