//! What tests are built from: plain orders, tables, messages and receipts.

use std::collections::BTreeMap;
use std::sync::Arc;

use chrono::{DateTime, TimeDelta, Utc};
use uuid::Uuid;

use crate::access::Scopes;
use crate::call::{Answer, Call, CallTask, Method, Retry, Waits};
use crate::compute::container::{Command, ContainerSpec, Content, Isolation, Parts, Program};
use crate::compute::device::Device;
use crate::compute::resources::{Resources, Usage};
use crate::data::chunk_table::ChunkTable;
use crate::data::location::{Destination, Source, UploadedFile};
use crate::data::object_list::{Object, Objects, Place};
use crate::digest::Digest;
use crate::ids::{ApiKeyId, JobId, PackageId, RunId, UserId, WorkspaceId};
use crate::market::{Changes, Market};
use crate::money::credits::Credits;
use crate::plan::{
    Assemble, Assembler, Block, BlockId, Body, Code, Container, ContainerTask, Contract, DataTask,
    Image, ImageCode, Limits, PackageCode, PackagePin, Params, Partition, Partitioner, Phase,
    Pipeline, Plan, Reads,
};
use crate::protocol::{Contents, Outcome, Receipt, SignedReceipt, Sync};
use crate::run::scheduling::{TaskPriority, Terms};
use crate::run::spec::{Origin, RunScope, RunSpec};
use crate::run::task::{Lease, StageNo, TaskRef};
use crate::schedule::Author;
use crate::secret::{Hidden, Secret, SecretKind};

/// This many seconds after the beginning of time.
pub fn at(secs: i64) -> DateTime<Utc> {
    DateTime::UNIX_EPOCH + TimeDelta::seconds(secs)
}

/// A container of a static program with one vCPU and one GiB.
pub fn container() -> Container {
    Container {
        code: Code::Package(Box::new(code())),
        secrets: Vec::new(),
        needs: Resources::new(1000, 1024),
        gpus: Vec::new(),
        own_nodes: false,
    }
}

/// A package of a static program.
pub fn code() -> PackageCode {
    PackageCode {
        contract: Contract::Process,
        package: PackagePin {
            id: PackageId::new(Uuid::nil()),
            owner: WorkspaceId::new(Uuid::from_u128(1)),
            name: "app".to_owned(),
            version: "0.1".to_owned(),
            revision: 1,
            digest: Digest::of(b""),
        },
        image: Image::Binary,
        entrypoint: "main".parse().expect("a plain name"),
        params: Params::new(),
        isolation: Isolation::default(),
    }
}

/// A program of an image, with two words.
///
/// # Panics
/// Never.
pub fn image_code() -> ImageCode {
    let words = ["sh", "true"].map(str::to_owned).to_vec();
    let results = "/fanfold/results".parse().expect("a plain path");
    let spec = ContainerSpec::new(Parts {
        mounts: BTreeMap::from([(Content::Results, results)]),
        ..Parts::of(Program::new(Command::Line(words)))
    });
    let images = vec![Image::Stored { reference: "image".to_owned(), digest: Digest::of(b"") }];
    ImageCode { images, spec: spec.expect("a plain container"), late: Vec::new() }
}

/// What of a container is its package's.
///
/// # Panics
/// It has no package.
pub fn code_of(container: &mut Container) -> &mut PackageCode {
    match &mut container.code {
        Code::Package(code) => code,
        Code::Images(_) => panic!("the container has no package"),
    }
}

/// A pipeline of an uploaded file, with built-in engines. What the server does for it is left to
/// the caller.
pub fn pipeline() -> Pipeline {
    Pipeline {
        source: Source::File(file()),
        destination: Destination::Bucket,
        partition: Partition::Builtin(Partitioner::Passthrough),
        process: container(),
        assemble: Assemble::Builtin(Assembler::Passthrough),
        limits: Limits::default(),
        is_test: false,
    }
}

fn file() -> UploadedFile {
    let key = "uploads/00000000-0000-0000-0000-000000000000".to_owned();
    UploadedFile { key, name: "file".to_owned(), size: 10, identity: None }
}

/// The order for a run of this pipeline.
pub fn order(workspace: WorkspaceId, pipeline: &Pipeline) -> RunSpec {
    let spec = order_plan(workspace, pipeline.plan());
    RunSpec {
        timeout_secs: pipeline.limits.job_timeout_secs,
        terms: Terms { is_test: pipeline.is_test, ..Terms::default() },
        ..spec
    }
}

/// The order for a run of this plan.
pub fn order_plan(workspace: WorkspaceId, plan: Plan) -> RunSpec {
    RunSpec {
        job: JobId::new(Uuid::nil()),
        workspace,
        name: "job".to_owned(),
        template: "template".to_owned(),
        plan,
        scope: RunScope::default(),
        timeout_secs: None,
        terms: Terms::default(),
        origin: Origin::Manual,
        callbacks: Vec::new(),
    }
}

/// A call of this address, which is made again at once as often, and costs a thousandth of a credit.
pub fn call(url: &str, retries: usize) -> CallTask {
    let waits = Waits::Table(vec![0; retries]);
    CallTask {
        call: Call::new(Method::Post, url),
        retry: Retry { waits, honours_retry_after: true },
        price: Credits::from_units(100_000).expect("not below zero"),
        late: Vec::new(),
    }
}

/// The plan of this call alone.
///
/// # Panics
/// The call cannot be made.
pub fn call_plan(task: CallTask) -> Plan {
    let body = Body::Call(Box::new(task));
    Plan::new(vec![Block::new("call", body)]).expect("a test makes calls that can be made")
}

/// The plan of one task in this container.
///
/// # Panics
/// The container cannot run.
pub fn task_plan(container: Container) -> Plan {
    let task = ContainerTask {
        container,
        reads: Reads::Nothing,
        queue: None,
        timeout_secs: 60,
        retries: 0,
        require_results: false,
        deterministic: false,
        priority: TaskPriority::default(),
        is_reserved: false,
        waits: None,
    };
    let body = Body::Container(Box::new(task));
    Plan::new(vec![Block::new("task", body)]).expect("a test runs containers that can run")
}

/// An answer with this status and nothing else.
pub fn answer(status: u16) -> Answer {
    Answer { status: Some(status), took_ms: 5, ..Answer::default() }
}

/// This many chunks of nothing.
pub fn chunks(count: u32) -> ChunkTable {
    let object = Object { name: "empty".to_owned(), size: 0, place: Place::Empty, version: None };
    let objects = Objects::pack(&[object]).expect("one object is not too many");
    ChunkTable::copies(objects, count).expect("a test asks for a few chunks")
}

/// The stage of the process tasks of a pipeline with a built-in partitioner.
pub const PROCESS: StageNo = StageNo::new(2);

/// An attempt of a process task of such a pipeline.
pub const fn process(run: RunId, index: u32, attempt: u32) -> Lease {
    Lease { task: TaskRef { run, stage: PROCESS, index }, attempt }
}

/// The container stage that belongs to a phase.
///
/// # Panics
/// The plan has none.
pub fn stage_of(plan: &Plan, phase: Phase) -> StageNo {
    plan.container_of(phase).expect("the plan has a container in this phase").0
}

/// Does the open steps of the server for a run, as if each table had this many chunks.
pub fn do_steps(market: &mut Market, run: RunId, count: u32, now: DateTime<Utc>) {
    while let Some((no, table)) = market.run(run).and_then(|run| {
        let stage = run.stages().find(|stage| step(&run.spec.plan, stage.block).is_some())?;
        let makes_table = !matches!(step(&run.spec.plan, stage.block)?, DataTask::Deliver { .. });
        Some((stage.no, makes_table.then(|| chunks(count))))
    }) {
        market.step_done(run, no, table, now);
    }
}

fn step(plan: &Plan, block: BlockId) -> Option<&DataTask> {
    match &plan.block(block).body {
        Body::Data(task) => Some(task),
        Body::Group(_) | Body::Each(_) | Body::Child(_) | Body::Container(_) | Body::Call(_) => {
            None
        }
    }
}

/// Evaluates what the market asks for with these changes; gives how much that was.
pub fn answer_questions(market: &mut Market, changes: &Changes, now: DateTime<Utc>) -> usize {
    for (run, no) in &changes.questions {
        let frozen = market.run(*run).and_then(|run| run.frozen(*no)).cloned();
        if let Some(frozen) = frozen {
            market.resolved(*run, *no, frozen.resolve(), now);
        }
    }
    changes.questions.len()
}

/// Starts a run of this pipeline and cuts it into this many chunks.
///
/// # Panics
/// The wallet is too low.
pub fn start_cut(market: &mut Market, run: RunId, spec: RunSpec, count: u32, now: DateTime<Utc>) {
    market.start_run(run, Arc::new(spec), now).expect("the wallet covers the first task");
    do_steps(market, run, count, now);
}

/// A node's message that says nothing but what it lends.
pub fn sync() -> Sync {
    Sync {
        incarnation: 1,
        number: 0,
        token: None,
        capacity: Resources::new(2000, 4096),
        engine_away: false,
        prefetch: 1,
        device: Device::default(),
        holding: Vec::new(),
        receipts: Vec::new(),
        logs: Vec::new(),
        samples: Vec::new(),
        probe: None,
        wait_ms: 0,
    }
}

/// An author with all rights in this workspace.
pub const fn author(workspace: WorkspaceId) -> Author {
    let (user, key) = (UserId::new(Uuid::nil()), ApiKeyId::new(Uuid::nil()));
    Author { workspace, user, key, scopes: Scopes::ALL }
}

/// A secret of type `other`.
pub fn secret(id: &str, value: &str) -> Secret {
    Secret {
        id: id.to_owned(),
        secret_type: SecretKind::Other,
        expires_at: None,
        access_key: Hidden(String::new()),
        params: BTreeMap::new(),
        name: String::new(),
        secret_key: Hidden(value.to_owned()),
    }
}

/// The receipt of an attempt, as if it were signed.
pub fn receipt(lease: Lease, outcome: Outcome, usage: Usage) -> (Receipt, SignedReceipt) {
    signed(Receipt { lease, usage, outcome })
}

/// A receipt, as if it were signed.
pub fn signed(receipt: Receipt) -> (Receipt, SignedReceipt) {
    let bytes = postcard::to_stdvec(&receipt).expect("a receipt is written to memory");
    (
        receipt,
        SignedReceipt { receipt: bytes, signature: vec![7; 64], contents: Contents::default() },
    )
}
