//! Job files, as bodies have them.

use common::order::workflow::{InvalidWorkflow, WorkflowWork};
use common::package::loose::Loose;
use serde_json::Value;

use crate::error::{Error, Result};

/// Reads the job file of a body: the text of a file, or what it says as JSON.
pub fn read(body: &mut Loose) -> Result<Option<WorkflowWork>> {
    let field = body.name("workflow");
    let Some(value) = body.value("workflow") else { return Ok(None) };
    let text = match value {
        Value::String(text) => text,
        Value::Object(_) => value.to_string(),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::Array(_) => {
            return Err(Error::field(field, "must be a job file: an object, or its text"));
        }
    };
    let refused = |why: InvalidWorkflow| Error::field(field, why.to_string());
    WorkflowWork::read(&text).map(Some).map_err(refused)
}
