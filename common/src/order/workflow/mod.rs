//! Jobs of several steps, written as a file in YAML or JSON.
//!
//! ```
//! use common::order::workflow::WorkflowWork;
//!
//! let work = WorkflowWork::read(
//!     r#"
//! name: count words
//! inputs: { texts: "3" }
//! defaults: { image: "alpine:3" }
//! steps:
//!   - name: count
//!     var: counts
//!     each:
//!       list: "{{ inputs.texts }}"
//!       step:
//!         run: echo $N > $FANFOLD_OUTPUT
//!         env: { N: "{{ item.index }}" }
//!   - name: sum
//!     run: echo "$COUNTS"
//!     env: { COUNTS: "{{ tasks.counts }}" }
//! "#,
//! )?;
//!
//! assert_eq!(work.file().steps.len(), 2);
//! assert_eq!(work.ordered().images.len(), 1);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod amount;
mod compile;
mod document;
mod read;
mod step;

use serde::{Deserialize, Serialize, Serializer};

pub use amount::{Cpu, Mebibytes, Seconds};
pub use document::{AutoDelete, CallFile, ChildFile, Defaults, EachFile, JobFile};
pub use step::{Needs, Program, Retry, Side, Step};

use super::ordered_plan::OrderedPlan;
use crate::run::spec::RunScope;

/// The most bytes of a job file.
pub const FILE_BYTES_MAX: usize = 1 << 20;
/// The longest time after its end for which a job is kept that is deleted by itself.
pub const AUTO_DELETE_SECS_MAX: u32 = 366 * 24 * 3600;

/// A job of several steps, checked.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(try_from = "JobFile")]
pub struct WorkflowWork(Box<JobFile>);

/// Why a job file is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidWorkflow {
    #[error("a job file has at most {FILE_BYTES_MAX} bytes")]
    Large,
    /// With the line and the column.
    #[error("{0}")]
    Syntax(String),
    #[error("{place}: {problem}")]
    At { place: String, problem: String },
}

impl WorkflowWork {
    /// # Errors
    /// A step cannot be run, or names what is not there.
    pub fn new(file: JobFile) -> Result<Self, InvalidWorkflow> {
        compile::plan(&file)?;
        Ok(Self(Box::new(file)))
    }

    /// Reads a job file.
    ///
    /// # Errors
    /// The text is no job file. The error names the line, or the step.
    pub fn read(text: &str) -> Result<Self, InvalidWorkflow> {
        Self::new(read::read(text)?)
    }

    pub const fn file(&self) -> &JobFile {
        &self.0
    }

    /// The job as a plan that is complete but for what its images mean.
    pub fn ordered(&self) -> OrderedPlan {
        let compiled = compile::plan(&self.0);
        let (plan, images) = compiled.expect("it was checked when it was made");
        let (inputs, secrets) = (self.0.inputs.clone(), self.0.secrets.clone());
        let scope = RunScope { inputs, secrets, ..RunScope::default() };
        let document = serde_json::to_value(&self.0).expect("a job file is JSON");
        OrderedPlan { plan, images, scope, document }
    }

    /// What the job is called that has no name of its own.
    pub fn name(&self) -> &str {
        let file = self.file();
        let first = file.steps.first().and_then(|step| step.name.as_deref());
        file.name.as_deref().or(first).unwrap_or("workflow")
    }

    /// Describes job files: a JSON schema, as text.
    pub fn schema() -> String {
        let schema = schemars::schema_for!(JobFile);
        serde_json::to_string_pretty(&schema).expect("a schema is JSON")
    }
}

impl TryFrom<JobFile> for WorkflowWork {
    type Error = InvalidWorkflow;

    fn try_from(file: JobFile) -> Result<Self, InvalidWorkflow> {
        Self::new(file)
    }
}

impl Serialize for WorkflowWork {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.serialize(serializer)
    }
}

#[cfg(test)]
mod tests;
