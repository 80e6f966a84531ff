//! Which task of a document each block of its plan was made from.

use serde_json::Value;

use crate::jobs::plans::PlanRun;

/// A task of a document.
#[derive(Debug, Clone, Copy)]
pub struct Placed<'a> {
    pub task: &'a Value,
    /// The number of the outermost task that it lies in, from 1.
    pub position: u64,
}

/// What a run does, as its customer wrote it: the document of its job, or the sub-job in it that the
/// run is.
pub fn document(of: &PlanRun) -> &Value {
    let path = of.part.iter().flat_map(|part| &part.path);
    path.fold(&of.work().document, |document, block| {
        let task = usize::from(block.number()).checked_sub(1);
        let placed = task.and_then(|task| tasks(document).get(task).copied());
        placed.map_or(&Value::Null, |placed| &placed.task["subjob"])
    })
}

/// The tasks by the numbers of their blocks from 1: block 0 is the job itself.
pub fn tasks(document: &Value) -> Vec<Placed<'_>> {
    let mut found = Vec::new();
    for (position, task) in (1..).zip(outermost(document)) {
        add(&mut found, task, position);
    }
    found
}

/// The outermost tasks.
pub fn outermost(document: &Value) -> &[Value] {
    document["tasks"].as_array().map_or(&[], Vec::as_slice)
}

fn add<'a>(found: &mut Vec<Placed<'a>>, task: &'a Value, position: u64) {
    found.push(Placed { task, position });
    let parallel = task["parallel"]["tasks"].as_array().into_iter().flatten();
    let each = task["each"].get("task");
    if !task["parallel"].is_null() {
        parallel.for_each(|inner| add(found, inner, position));
    } else if let Some(inner) = each {
        add(found, inner, position);
    }
}
