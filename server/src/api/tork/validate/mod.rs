//! Whether a document is a job. All faults are told at once, one on each line, as the keys of its
//! parts with the rule that each breaks.

mod task;

use common::expression::Template;
use common::schedule::cron::Cron;

use super::document::{Defaults, Job, Retry, Webhook, list, text};
use super::figures;
use super::read::Kind;
use crate::error::{Error, Result};

pub const NAME_CHARS_MAX: usize = 256;
const SCHEDULED_NAME_CHARS_MAX: usize = 64;
const PRIORITY_MAX: i64 = 9;
const RETRIES_MAX: i64 = 10;
const DELAY_MAX_SECS: u64 = 300;
const FACTOR_MAX: i64 = 10;
/// Queues that no task can be sent to.
const OWN_QUEUES: [&str; 9] = [
    "pending",
    "started",
    "completed",
    "error",
    "heartbeat",
    "jobs",
    "logs",
    "progress",
    "redeliveries",
];
const OWN_PREFIX: &str = "x-";
pub const ZONE: &str = "UTC";

/// The faults of a document.
#[derive(Default)]
struct Faults(Vec<String>);

impl Faults {
    /// The field of this part breaks a rule.
    fn add(&mut self, part: &str, field: &str, rule: &str) {
        self.0.push(format!(
            "Key: '{part}.{field}' Error:Field validation for '{field}' failed on the '{rule}' tag"
        ));
    }

    fn expect(&mut self, holds: bool, part: &str, field: &str, rule: &str) {
        if !holds {
            self.add(part, field, rule);
        }
    }
}

/// Checks a whole document.
///
/// # Errors
/// All that is wrong with it.
pub fn check(kind: Kind, job: &Job) -> Result<()> {
    if let Some(wait) = &job.wait {
        let timeout = text(wait.timeout.as_ref());
        if figures::duration(timeout).is_none() {
            return Err(Error::Invalid(format!("time: invalid duration {timeout:?}")));
        }
    }
    let (root, name_max) = match kind {
        Kind::Job => ("Job", NAME_CHARS_MAX),
        Kind::ScheduledJob => ("ScheduledJob", SCHEDULED_NAME_CHARS_MAX),
    };
    let mut faults = Faults::default();
    let name = text(job.name.as_ref());
    faults.expect(!name.is_empty(), root, "Name", "required");
    faults.expect(name.chars().count() <= name_max, root, "Name", "max");
    let tasks = list(job.tasks.as_ref());
    faults.expect(!tasks.is_empty(), root, "Tasks", "required");
    for (n, one) in tasks.iter().enumerate() {
        task::check(&mut faults, &format!("{root}.Tasks[{n}]"), one);
    }
    faults.expect(is_expression(text(job.output.as_ref())), root, "Output", "expr");
    if let Some(defaults) = &job.defaults {
        check_defaults(&mut faults, &format!("{root}.Defaults"), defaults);
    }
    check_webhooks(&mut faults, root, list(job.webhooks.as_ref()));
    for (n, permission) in list(job.permissions.as_ref()).iter().enumerate() {
        let is_one = permission.user.is_some() != permission.role.is_some();
        faults.expect(is_one, &format!("{root}.Permissions[{n}]"), "perm", "roleoruser");
    }
    let after = job.auto_delete.as_ref().map_or("", |delete| text(delete.after.as_ref()));
    faults.expect(is_duration(after), &format!("{root}.AutoDelete"), "After", "duration");
    if kind == Kind::ScheduledJob {
        check_schedule(&mut faults, root, job);
    }
    if faults.0.is_empty() { Ok(()) } else { Err(Error::Invalid(faults.0.join("\n"))) }
}

fn check_schedule(faults: &mut Faults, root: &str, job: &Job) {
    let Some(schedule) = &job.schedule else {
        faults.add(root, "Schedule", "required");
        return;
    };
    let (part, cron) = (format!("{root}.Schedule"), text(schedule.cron.as_ref()));
    faults.expect(!cron.is_empty(), &part, "Cron", "required");
    let is_cron = cron.is_empty() || Cron::parse(cron, ZONE).is_ok();
    faults.expect(is_cron, &part, "Cron", "cron");
}

fn check_defaults(faults: &mut Faults, part: &str, defaults: &Defaults) {
    check_retry(faults, part, defaults.retry.as_ref());
    faults.expect(is_duration(text(defaults.timeout.as_ref())), part, "Timeout", "duration");
    faults.expect(is_queue(text(defaults.queue.as_ref())), part, "Queue", "queue");
    check_priority(faults, part, defaults.priority);
}

fn check_webhooks(faults: &mut Faults, root: &str, webhooks: &[Webhook]) {
    for (n, webhook) in webhooks.iter().enumerate() {
        let part = format!("{root}.Webhooks[{n}]");
        faults.expect(!text(webhook.url.as_ref()).is_empty(), &part, "URL", "required");
        faults.expect(is_expression(text(webhook.condition.as_ref())), &part, "If", "expr");
    }
}

fn check_retry(faults: &mut Faults, part: &str, retry: Option<&Retry>) {
    let Some(retry) = retry else { return };
    let part = format!("{part}.Retry");
    let limit = retry.limit.unwrap_or(0);
    faults.expect(limit != 0, &part, "Limit", "required");
    faults.expect(limit >= 0, &part, "Limit", "min");
    faults.expect(limit <= RETRIES_MAX, &part, "Limit", "max");
    let delay = text(retry.initial_delay.as_ref());
    faults.expect(is_duration(delay), &part, "InitialDelay", "duration");
    let is_short = figures::duration(delay).is_none_or(|delay| delay.as_secs() <= DELAY_MAX_SECS);
    faults.expect(is_short, &part, "InitialDelay", "max");
    let factor = retry.scaling_factor.unwrap_or(1);
    faults.expect(factor >= 1, &part, "ScalingFactor", "min");
    faults.expect(factor <= FACTOR_MAX, &part, "ScalingFactor", "max");
}

fn check_priority(faults: &mut Faults, part: &str, priority: Option<i64>) {
    let priority = priority.unwrap_or(0);
    faults.expect(priority >= 0, part, "Priority", "min");
    faults.expect(priority <= PRIORITY_MAX, part, "Priority", "max");
}

/// A duration, or nothing.
fn is_duration(text: &str) -> bool {
    text.is_empty() || figures::duration(text).is_some()
}

/// Whether tasks may be sent to a queue of this name.
pub fn is_queue(name: &str) -> bool {
    !name.starts_with(OWN_PREFIX) && !OWN_QUEUES.contains(&name)
}

/// A text whose expressions can be evaluated, or nothing. One without braces is an expression as a
/// whole.
pub fn is_expression(text: &str) -> bool {
    if text.is_empty() || text.contains("{{") {
        return Template::new(text).is_ok();
    }
    Template::new(&format!("{{{{ {text} }}}}")).is_ok()
}

#[cfg(test)]
mod tests;
