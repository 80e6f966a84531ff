//! The closed sets of words of the API, each a schema of its own name, so that generated clients
//! have a type for it.

use utoipa::ToSchema;
use utoipa::openapi::RefOr;
use utoipa::openapi::schema::Schema;

use crate::api::http::shape;

/// A word, and what it means.
type Words = &'static [(&'static str, &'static str)];

macro_rules! sets {
    ($($name:ident, $about:literal, $words:expr;)*) => {$(
        /// Stands for these words in the schemas of answers.
        pub struct $name;

        impl utoipa::PartialSchema for $name {
            fn schema() -> RefOr<Schema> {
                schema($about, $words)
            }
        }

        impl ToSchema for $name {}
    )*};
}

sets! {
    JobState, "How far a job is.", JOB_STATES;
    JobStatus, "What a job is doing, with words for those that were cancelled.", JOB_STATUSES;
    RunPhase, "The part of a job that is under way.", RUN_PHASES;
    ExecutionPriority, "How soon a job gets nodes, against other jobs.", PRIORITIES;
    TaskState, "How far a task is.", TASK_STATES;
    TaskStage, "What the task works on.", STAGES;
    LogLevel, "How grave a line is.", LOG_LEVELS;
    UserRole, "What a member may do in the workspace.", ROLES;
    MemberState, "Whether an invitation has been taken.", MEMBER_STATES;
    SecretType, "What a secret opens.", SECRET_TYPES;
    PackageStatus, "Whether a package takes jobs.", PACKAGE_STATUSES;
    PackageType, "What a package does.", PACKAGE_TYPES;
    PackagePlatform, "What a package runs in.", PLATFORMS;
    TopUpState, "How far a top-up is.", TOP_UP_STATES;
    PayoutState, "How far a payout is.", PAYOUT_STATES;
    TransactionType, "What moved the credits.", TRANSACTION_TYPES;
    RelatedType, "What a transaction belongs to.", RELATED_TYPES;
    AccountType, "Whose the account is.", ACCOUNT_TYPES;
}

/// In the order of a job's life.
const JOB_STATES: Words = &[
    ("JOB_STATE_NEW", "a draft, which can still be changed"),
    ("JOB_STATE_STARTED", "accepted: everything is pinned and credits are held"),
    ("JOB_STATE_UPLOADING", "the source is being looked at or fetched"),
    ("JOB_STATE_PARTITIONING", "the source is being cut into chunks"),
    ("JOB_STATE_PARTITIONED", "nodes work on the chunks"),
    ("JOB_STATE_TASKS_COMPLETED", "all chunks are done"),
    ("JOB_STATE_MERGING", "the results are being put together"),
    ("JOB_STATE_MERGED", "the output is ready"),
    ("JOB_STATE_DOWNLOADING", "the output is being written to the destination"),
    ("JOB_STATE_COMPLETE", "ended: the results are there"),
    ("JOB_STATE_FAILED", "ended without a result, or aborted: errorMessage says why"),
];

/// In the same order.
const JOB_STATUSES: Words = &[
    ("new", "a draft"),
    ("scheduled", "accepted, to begin at its startAt"),
    ("accepted", "everything is pinned and credits are held"),
    ("running", "it is worked on; phase says how far it is"),
    ("ending", "cancelled, and nodes still stop what they run of it"),
    ("succeeded", "ended: the results are there"),
    ("failed", "ended without a result"),
    ("cancelled", "ended by a member of the workspace: no node works on it any more"),
];

const RUN_PHASES: Words = &[
    ("fetch", "the source is being looked at or fetched"),
    ("partition", "the source is being cut into chunks"),
    ("process", "nodes work on the chunks"),
    ("assemble", "the results are being put together"),
    ("deliver", "the output is being written to the destination"),
];

const PRIORITIES: Words = &[
    ("EXECUTION_PRIORITY_UNDEFINED", "the same as BALANCED"),
    ("EXECUTION_PRIORITY_CHEAP", "half the share of BALANCED while others wait too"),
    ("EXECUTION_PRIORITY_BALANCED", "the usual share"),
    ("EXECUTION_PRIORITY_FAST", "twice the share of BALANCED"),
];

const TASK_STATES: Words = &[
    ("Scheduled", "waits for a node"),
    ("Assigned", "given to a node"),
    ("Received", "the node has it"),
    ("Running", "the container runs"),
    ("Completed", "accepted"),
    ("Failed", "failed for good"),
];

const STAGES: Words = &[
    ("partition", "cuts the source"),
    ("process", "works on one chunk"),
    ("assemble", "puts the results together"),
];

const LOG_LEVELS: Words = &[
    ("UNKNOWN", "written by a container"),
    ("TRACE", "not written by this server"),
    ("DEBUG", "steps of a node"),
    ("INFO", "what a node did"),
    ("WARN", "not written by this server"),
    ("ERROR", "why an attempt failed"),
    ("FATAL", "not written by this server"),
    ("PANIC", "not written by this server"),
];

const ROLES: Words = &[
    ("ROLE_NONE", "nothing"),
    ("ROLE_USER", "runs jobs"),
    ("ROLE_DEVELOPER", "also makes packages and templates"),
    ("ROLE_ADMIN", "also members, keys, secrets and money"),
];

const MEMBER_STATES: Words =
    &[("MEMBER", "has joined"), ("INVITED", "has not signed in since the invitation")];

const SECRET_TYPES: Words = &[
    ("aws", "buckets of Amazon S3 and of others that speak its language"),
    ("s3", "the old name of aws, for clients that ask with it"),
    ("gcp", "buckets of Google, with HMAC keys"),
    ("storj", "buckets of Storj"),
    ("azure", "containers of Azure"),
    ("url", "one web server, with a user and a password"),
    ("other", "a text for containers"),
];

const PACKAGE_STATUSES: Words = &[("active", "takes jobs"), ("inactive", "takes test jobs alone")];

const PACKAGE_TYPES: Words = &[
    ("app", "works on one chunk"),
    ("partitioner", "cuts the source"),
    ("assembler", "puts the results together"),
];

const PLATFORMS: Words =
    &[("docker", "an image"), ("binary", "a static executable in the package")];

const TOP_UP_STATES: Words = &[
    ("NEW", "asked for"),
    ("PENDING", "being paid"),
    ("CONFIRMED", "paid: the credits are there"),
    ("CANCELED", "taken back by who asked"),
    ("FAILED", "not paid"),
];

const PAYOUT_STATES: Words = &[
    ("NEW", "asked for; the credits are set aside"),
    ("PENDING_VERIFICATION", "being looked at"),
    ("INFO_REQUIRED", "the note says what is missing"),
    ("SENT", "the money is on its way"),
    ("CONFIRMED", "the money has arrived"),
    ("BOUNCED", "the money came back, and so do the credits"),
    ("FAILED", "refused; the credits are given back"),
];

const TRANSACTION_TYPES: Words = &[
    ("payment", "a job's price"),
    ("coupon", "a coupon or a gift"),
    ("topup", "credits that were bought"),
    ("earning", "work of the workspace's nodes"),
    ("payout", "earnings that are paid out"),
    ("payout_return", "a payout that did not arrive"),
    ("storage", "stored bytes"),
];

const RELATED_TYPES: Words = &[
    ("job", "a job, of a payment"),
    ("coupon", "a coupon or a gift"),
    ("topup", "a top-up"),
    ("earning", "earnings of an hour or more"),
    ("payout", "a payout"),
    ("payout_return", "a payout that did not arrive"),
    ("storage", "stored bytes"),
];

const ACCOUNT_TYPES: Words = &[("workspace", "a workspace's")];

fn schema(about: &str, words: Words) -> RefOr<Schema> {
    let each = words.iter().map(|(word, meaning)| format!("- `{word}`: {meaning}"));
    let about = format!("{about}\n\n{}", each.collect::<Vec<_>>().join("\n"));
    shape::one_of(words.iter().map(|(word, _)| *word), about)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use common::access::Role;
    use common::money::statement::LineKind;
    use common::money::wallet_request::{PayoutState, State as _, TopUpState};
    use common::plan::Phase;
    use common::run::RunState;
    use common::secret::SecretKind;

    use super::*;
    use crate::api::bytenite::customer::states::STATES;
    use crate::api::bytenite::names::{PRIORITIES as PRIORITY_NAMES, of_role};

    fn names(words: Words) -> BTreeSet<&'static str> {
        words.iter().map(|(word, _)| *word).collect()
    }

    #[test]
    fn documented_words_are_those_in_answers() {
        let statuses = RunState::ALL.into_iter().map(RunState::as_str).chain(["new"]);
        assert_eq!(names(JOB_STATUSES), statuses.collect());
        assert_eq!(names(JOB_STATES), STATES.into_iter().collect());
        assert_eq!(names(RUN_PHASES), Phase::ALL.into_iter().map(Phase::as_str).collect());
        assert_eq!(names(PRIORITIES), PRIORITY_NAMES.into_iter().collect());
        assert_eq!(names(ROLES), Role::ALL.into_iter().map(of_role).collect());
        let lines = LineKind::ALL.into_iter().map(LineKind::as_str);
        assert_eq!(names(TRANSACTION_TYPES), lines.collect());
        let kinds = SecretKind::ALL.into_iter().filter(|kind| *kind != SecretKind::Registry);
        assert_eq!(names(SECRET_TYPES), kinds.map(SecretKind::name).chain(["s3"]).collect());
        let top_ups = TopUpState::ALL.iter().map(|state| state.as_str());
        assert_eq!(names(TOP_UP_STATES), top_ups.collect());
        let payouts = PayoutState::ALL.iter().map(|state| state.as_str());
        assert_eq!(names(PAYOUT_STATES), payouts.collect());
    }
}
