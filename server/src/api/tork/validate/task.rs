//! The rules of tasks.

use super::super::document::{Mount, Step, SubJob, Task, list, text, texts};
use super::{
    Faults, check_priority, check_retry, check_webhooks, is_duration, is_expression, is_queue,
};

const VAR_CHARS_MAX: usize = 64;
const PATH_CHARS_MAX: usize = 256;
const CONCURRENCY_MAX: i64 = 99_999;
/// Where the server itself puts files.
const OWN_FOLDER: &str = "/tork";

pub fn check(faults: &mut Faults, part: &str, task: &Task) {
    faults.expect(!text(task.name.as_ref()).is_empty(), part, "Name", "required");
    if !task.is_composite() {
        faults.expect(!text(task.image.as_ref()).is_empty(), part, "Image", "required");
    }
    faults.expect(is_queue(text(task.queue.as_ref())), part, "Queue", "queue");
    for (name, steps) in [("Pre", &task.pre), ("Post", &task.post), ("Sidecars", &task.sidecars)] {
        for (n, step) in list(steps.as_ref()).iter().enumerate() {
            check_step(faults, &format!("{part}.{name}[{n}]"), step);
        }
    }
    for (n, mount) in list(task.mounts.as_ref()).iter().enumerate() {
        check_mount(faults, &format!("{part}.Mounts[{n}]"), mount);
    }
    for (n, target) in list(task.volumes.as_ref()).iter().enumerate() {
        let is_fine = is_path(target) && target != OWN_FOLDER;
        faults.expect(is_fine, part, &format!("Volumes[{n}]"), "invalidtarget");
    }
    check_retry(faults, part, task.retry.as_ref());
    faults.expect(is_duration(text(task.timeout.as_ref())), part, "Timeout", "duration");
    let var = text(task.var.as_ref());
    faults.expect(var.chars().count() <= VAR_CHARS_MAX, part, "Var", "max");
    faults.expect(is_expression(text(task.condition.as_ref())), part, "If", "expr");
    check_inner(faults, part, task);
    let workdir = text(task.workdir.as_ref());
    faults.expect(workdir.chars().count() <= PATH_CHARS_MAX, part, "Workdir", "max");
    check_priority(faults, part, task.priority);
    check_kind(faults, part, task);
}

fn check_inner(faults: &mut Faults, part: &str, task: &Task) {
    if let Some(parallel) = &task.parallel {
        let part = format!("{part}.Parallel");
        let tasks = list(parallel.tasks.as_ref());
        faults.expect(!tasks.is_empty(), &part, "Tasks", "required");
        for (n, task) in tasks.iter().enumerate() {
            check(faults, &format!("{part}.Tasks[{n}]"), task);
        }
    }
    if let Some(each) = &task.each {
        let part = format!("{part}.Each");
        let elements = text(each.list.as_ref());
        faults.expect(!elements.is_empty(), &part, "List", "required");
        faults.expect(is_expression(elements), &part, "List", "expr");
        let at_once = each.concurrency.unwrap_or(0);
        faults.expect(at_once >= 0, &part, "Concurrency", "min");
        faults.expect(at_once <= CONCURRENCY_MAX, &part, "Concurrency", "max");
        match &each.task {
            Some(task) => check(faults, &format!("{part}.Task"), task),
            None => faults.add(&part, "Task", "required"),
        }
    }
    if let Some(subjob) = &task.subjob {
        check_subjob(faults, &format!("{part}.SubJob"), subjob);
    }
}

fn check_subjob(faults: &mut Faults, part: &str, subjob: &SubJob) {
    faults.expect(!text(subjob.name.as_ref()).is_empty(), part, "Name", "required");
    let tasks = list(subjob.tasks.as_ref());
    faults.expect(!tasks.is_empty(), part, "Tasks", "required");
    for (n, task) in tasks.iter().enumerate() {
        check(faults, &format!("{part}.Tasks[{n}]"), task);
    }
    faults.expect(is_expression(text(subjob.output.as_ref())), part, "Output", "expr");
    check_webhooks(faults, part, list(subjob.webhooks.as_ref()));
}

fn check_step(faults: &mut Faults, part: &str, step: &Step) {
    faults.expect(!text(step.name.as_ref()).is_empty(), part, "Name", "required");
    faults.expect(!text(step.image.as_ref()).is_empty(), part, "Image", "required");
    faults.expect(is_duration(text(step.timeout.as_ref())), part, "Timeout", "duration");
    let Some(probe) = &step.probe else { return };
    let part = format!("{part}.Probe");
    let path = text(probe.path.as_ref());
    faults.expect(!path.is_empty(), &part, "Path", "required");
    faults.expect(path.chars().count() <= PATH_CHARS_MAX, &part, "Path", "max");
    let port = probe.port.unwrap_or(0);
    faults.expect(port != 0, &part, "Port", "required");
    faults.expect(port >= 0, &part, "Port", "min");
    faults.expect(port <= i64::from(u16::MAX), &part, "Port", "max");
    faults.expect(is_duration(text(probe.timeout.as_ref())), &part, "Timeout", "duration");
}

fn check_mount(faults: &mut Faults, part: &str, mount: &Mount) {
    let [kind, source, target] =
        [&mount.kind, &mount.source, &mount.target].map(|field| text(field.as_ref()));
    match kind {
        "" => faults.add(part, "Type", "typerequired"),
        "volume" => {
            faults.expect(source.is_empty(), part, "Source", "sourcenotempty");
            faults.expect(!target.is_empty(), part, "Target", "targetrequired");
        }
        "bind" => faults.expect(!source.is_empty(), part, "Source", "sourcerequired"),
        _ => {}
    }
    faults.expect(source.is_empty() || is_path(source), part, "Source", "invalidsource");
    let is_target = target.is_empty() || (is_path(target) && target != OWN_FOLDER);
    faults.expect(is_target, part, "Target", "invalidtarget");
}

fn is_path(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"-/._= ".contains(&b))
}

/// What tasks that consist of others cannot be, and cannot have.
fn check_kind(faults: &mut Faults, part: &str, task: &Task) {
    let (parallel, each, subjob) =
        (task.parallel.is_some(), task.each.is_some(), task.subjob.is_some());
    for (both, fields, rule) in [
        (parallel && each, ["Parallel", "Each"], "paralleloreach"),
        (parallel && subjob, ["Parallel", "SubJob"], "parallelorsubjob"),
        (each && subjob, ["Each", "SubJob"], "eachorsubjob"),
    ] {
        if both {
            fields.iter().for_each(|field| faults.add(part, field, rule));
        }
    }
    if !task.is_composite() {
        return;
    }
    let has_text = |field: &Option<String>| !text(field.as_ref()).is_empty();
    let has_words = |field: &Option<Vec<String>>| !list(field.as_ref()).is_empty();
    let has_steps = |field: &Option<Vec<Step>>| !list(field.as_ref()).is_empty();
    let own = [
        ("Image", has_text(&task.image)),
        ("CMD", has_words(&task.cmd)),
        ("Entrypoint", has_words(&task.entrypoint)),
        ("Run", has_text(&task.run)),
        ("Env", texts(task.env.as_ref()).next().is_some()),
        ("Queue", has_text(&task.queue)),
        ("Pre", has_steps(&task.pre)),
        ("Post", has_steps(&task.post)),
        ("Mounts", !list(task.mounts.as_ref()).is_empty() || has_words(&task.volumes)),
        ("Retry", task.retry.is_some()),
        ("Limits", task.limits.is_some()),
        ("Timeout", has_text(&task.timeout)),
    ];
    for (field, is_there) in own {
        faults.expect(!is_there, part, field, "invalidcompositetask");
    }
}
