//! What jobs are filtered and sorted by.

use std::fmt::Write as _;

use common::plan::Phase;
use common::run::RunState;
use common::run::milestone::Milestone;
use sea_orm::DbBackend;
use sea_orm::sea_query::{Expr, SimpleExpr};

use super::row::Column as C;
use crate::store::query::selection::{Field, Kind, json_text};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum JobField {
    Id,
    TemplateId,
    Name,
    Description,
    /// Its `Milestone`.
    State,
    /// The state of its run.
    Status,
    Priority,
    CreatedAt,
    SubmittedAt,
    StartedAt,
    EndedAt,
    StartAt,
    PaymentAmount,
    NumChunks,
    ErrorMessage,
    Tags,
    Whitelist,
    Blacklist,
}

impl Field for JobField {
    const ALL: &'static [Self] = &[
        Self::Id,
        Self::TemplateId,
        Self::Name,
        Self::Description,
        Self::State,
        Self::Status,
        Self::Priority,
        Self::CreatedAt,
        Self::SubmittedAt,
        Self::StartedAt,
        Self::EndedAt,
        Self::StartAt,
        Self::PaymentAmount,
        Self::NumChunks,
        Self::ErrorMessage,
        Self::Tags,
        Self::Whitelist,
        Self::Blacklist,
    ];

    const TIES: &'static [(Self, bool)] = &[(Self::Id, true)];

    const WEIGHT: &'static str = "CAST(LENGTH(name) + LENGTH(description) + LENGTH(template) \
         + LENGTH(COALESCE(source, '')) + LENGTH(COALESCE(destination, '')) + LENGTH(params) \
         + LENGTH(config) + LENGTH(COALESCE(work, '')) + LENGTH(whitelist) + LENGTH(blacklist) + LENGTH(tags) AS BIGINT)";

    fn kind(self) -> Kind {
        match self {
            Self::Id => Kind::Uuid,
            Self::TemplateId | Self::Name | Self::Description | Self::ErrorMessage => Kind::Text,
            Self::State | Self::Status | Self::Priority => Kind::Choice,
            Self::CreatedAt
            | Self::SubmittedAt
            | Self::StartedAt
            | Self::EndedAt
            | Self::StartAt => Kind::Time,
            Self::PaymentAmount => Kind::Amount,
            Self::NumChunks => Kind::Count,
            Self::Tags | Self::Whitelist | Self::Blacklist => Kind::Texts,
        }
    }

    fn is_optional(self) -> bool {
        match self {
            Self::TemplateId
            | Self::SubmittedAt
            | Self::StartedAt
            | Self::EndedAt
            | Self::StartAt => true,
            Self::Id
            | Self::Name
            | Self::Description
            | Self::State
            | Self::Status
            | Self::Priority
            | Self::CreatedAt
            | Self::PaymentAmount
            | Self::NumChunks
            | Self::ErrorMessage
            | Self::Tags
            | Self::Whitelist
            | Self::Blacklist => false,
        }
    }

    fn expr(self, backend: DbBackend) -> SimpleExpr {
        match self {
            Self::Id => Expr::col((super::row::Entity, C::Id)),
            Self::TemplateId => json_text("jobs.template", "id", backend),
            Self::Name => Expr::col(C::Name),
            Self::Description => Expr::col(C::Description),
            Self::State => milestone(backend),
            Self::Status => status(backend),
            Self::Priority => Expr::col(C::Priority),
            Self::CreatedAt => Expr::col(C::CreatedUs),
            Self::SubmittedAt => Expr::col(C::SubmittedUs),
            Self::StartedAt => of_run("started_us"),
            Self::EndedAt => of_run("ended_us"),
            Self::StartAt => Expr::col(C::StartUs),
            Self::PaymentAmount => or(of_run("captured"), Expr::value(0i64), backend),
            Self::NumChunks => or(of_run("total"), Expr::value(0i64), backend),
            Self::ErrorMessage => or(of_run("error"), Expr::value(""), backend),
            Self::Tags => Expr::col(C::Tags),
            Self::Whitelist => Expr::col(C::Whitelist),
            Self::Blacklist => Expr::col(C::Blacklist),
        }
    }
}

/// A column of the job's run; null where it has none.
fn of_run(column: &str) -> SimpleExpr {
    Expr::cust(format!("(SELECT {column} FROM runs WHERE runs.id = jobs.run)"))
}

/// The number of the job's milestone.
fn milestone(backend: DbBackend) -> SimpleExpr {
    let mut cases = String::new();
    for state in RunState::ALL.into_iter().filter(|state| *state != RunState::Running) {
        let number = Milestone::of_run(state, None).number();
        let _ = write!(cases, " WHEN state = '{}' THEN {number}", state.as_str());
    }
    for phase in Phase::ALL {
        let number = Milestone::of_phase(phase).number();
        let _ = write!(cases, " WHEN phase = '{}' THEN {number}", phase.as_str());
    }
    let started = Milestone::Started.number();
    or(of_run(&format!("CASE{cases} ELSE {started} END")), Expr::value(0i64), backend)
}

/// What the job's run is doing, by its place in `RunState::ALL`, from one on; a draft is 0.
fn status(backend: DbBackend) -> SimpleExpr {
    let mut cases = String::new();
    for (number, state) in (1..).zip(RunState::ALL) {
        let _ = write!(cases, " WHEN '{}' THEN {number}", state.as_str());
    }
    or(of_run(&format!("CASE state{cases} ELSE 0 END")), Expr::value(0i64), backend)
}

fn or(value: SimpleExpr, other: SimpleExpr, backend: DbBackend) -> SimpleExpr {
    let text = if backend == DbBackend::Postgres { "COALESCE($1, $2)" } else { "COALESCE(?, ?)" };
    Expr::cust_with_exprs(text, [value, other])
}

#[cfg(test)]
mod tests {
    use chrono::TimeDelta;
    use common::ids::{JobId, WorkspaceId};
    use common::package::template::Template;
    use uuid::Uuid;

    use super::super::{Job, JobWork, insert, list};
    use super::*;
    use crate::clock;
    use crate::store::Db;
    use crate::store::people::workspaces;
    use crate::store::query::selection::{
        Comparison, Found, Operand, Rest, Selection, Start, Test,
    };
    use crate::store::testing::{databases, every_order_is_led_through};

    /// Something to compare the field with, in each way that it allows.
    fn tests(field: JobField) -> Vec<Test> {
        let operand = match field.kind() {
            Kind::Texts => {
                let texts = || vec!["a".to_owned(), "b".to_owned()];
                return vec![Test::HasAll(texts()), Test::HasAny(texts())];
            }
            Kind::Text => Operand::Text("a".to_owned()),
            Kind::Uuid => Operand::Uuid(Uuid::nil()),
            Kind::Time | Kind::Count | Kind::Amount | Kind::Choice => Operand::Number(1),
        };
        let mut tests = vec![
            Test::Set,
            Test::Unset,
            Test::In(vec![operand.clone()]),
            Test::NotIn(vec![operand.clone()]),
            Test::In(Vec::new()),
        ];
        for how in [Comparison::Equal, Comparison::NotEqual, Comparison::Less] {
            tests.push(Test::Compare(how, operand.clone()));
        }
        if field.kind() == Kind::Text {
            tests.push(Test::Like("%A_".to_owned()));
        }
        tests
    }

    #[tokio::test]
    async fn field_tests_are_valid_in_both_databases() {
        for fresh in databases().await {
            let owner = workspaces::create_workspace(&fresh.db, "w").await.unwrap();
            for field in JobField::ALL.iter().copied() {
                for test in tests(field) {
                    let order = vec![(field, true), (field, false)];
                    let (tests, start) = (vec![(field, test.clone())], Start::Offset(0));
                    let selection = Selection { tests, order, start, limit: 10 };

                    let found = list(&fresh.db, owner, None, &selection).await;

                    let nothing = Found { rows: Vec::new(), rest: Rest::Total(0) };
                    assert_eq!(found, Ok(nothing), "{}: {field:?} {test:?}", fresh.name);
                }
            }
        }
    }

    /// Seven drafts that have much alike, and lack much.
    async fn seven_jobs(db: &Db, owner: WorkspaceId) {
        let template = Template::of("app".to_owned(), "lines".to_owned(), "zip".to_owned());
        let made_at = clock::now();
        for n in 0..7u8 {
            let time = made_at + TimeDelta::seconds((n / 3).into());
            let some = (n % 3 == 0).then_some(time);
            let job = Job {
                name: ["b", "a", ""][usize::from(n % 3)].to_owned(),
                tags: vec![(n % 2).to_string()],
                start_at: some,
                submitted_at: some,
                created_at: time,
                ..Job::new(JobId::new(Uuid::now_v7()), owner, JobWork::of(template.clone()))
            };
            assert!(insert(db, &job).await.unwrap());
        }
    }

    #[tokio::test]
    async fn field_orders_have_working_cursors() {
        for fresh in databases().await {
            let owner = workspaces::create_workspace(&fresh.db, "w").await.unwrap();
            seven_jobs(&fresh.db, owner).await;
            every_order_is_led_through(7, async |selection: Selection<JobField>| {
                list(&fresh.db, owner, None, &selection).await.unwrap()
            })
            .await;
        }
    }
}
