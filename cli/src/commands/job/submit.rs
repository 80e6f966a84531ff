//! `fanfold job submit`: a job of several steps from a job file.

use std::fmt::Display;
use std::path::PathBuf;

use common::order::ordered_plan::OrderedPlan;
use common::order::workflow::{FILE_BYTES_MAX, JobFile, WorkflowWork};
use common::plan::{BlockId, Body, Plan};
use serde::Deserialize;
use serde_json::json;

use crate::client::failure::Failure;
use crate::client::session::Session;
use crate::commands::run::{self, follow_to_end};
use crate::file;

const JOBS: &str = "/v1/jobs";

#[derive(Debug, clap::Args)]
pub struct Args {
    /// Job file in YAML or JSON
    file: PathBuf,
    /// Input of the job, in place of the file's; may be repeated
    #[arg(long = "input", short, value_name = "NAME=VALUE", value_parser = run::pair)]
    inputs: Vec<(String, String)>,
    /// Project that it belongs to, such as one with a spend cap
    #[arg(long, value_name = "NAME")]
    project: Option<String>,
    /// Id of the queue of its runs
    #[arg(long, value_name = "ID")]
    queue: Option<String>,
    /// Check the file and show its steps and what it costs; start nothing
    #[arg(long, conflicts_with_all = ["detach", "results"])]
    dry_run: bool,
    /// Download the results into this folder
    #[arg(long, value_name = "DIR")]
    results: Option<PathBuf>,
    /// Print the ids of the job and its run, and do not follow it
    #[arg(long, short, conflicts_with = "results")]
    detach: bool,
}

#[derive(Deserialize)]
struct Made {
    id: String,
}

#[derive(Deserialize)]
struct Checked {
    quote: Option<Quote>,
}

#[derive(Deserialize)]
struct Quote {
    tasks: Option<u64>,
    calls: Option<u64>,
    #[serde(default)]
    open_lists: Vec<OpenList>,
    total: Option<String>,
    total_at_most: Option<String>,
    hold: String,
    available: String,
}

/// A list whose length only the run shows.
#[derive(Deserialize)]
struct OpenList {
    name: String,
    element: String,
}

pub async fn run(args: &Args, session: &Session) -> Result<(), Failure> {
    let file = read(args)?;
    let work = WorkflowWork::new(file).map_err(|why| usage(args, &why))?;
    let mut body = json!({ "workflow": work.file() });
    for (name, value) in [("project", &args.project), ("queue", &args.queue)] {
        if let Some(value) = value {
            body[name] = json!(value);
        }
    }
    let made: Made = session.client.post(session.client.url(JOBS, &[]), &body).await?.read()?;
    if args.dry_run {
        return dry_run(&made.id, &work, session).await;
    }
    let url = session.client.url(JOBS, &[&made.id, "runs"]);
    let answer = session.client.post(url, &json!({})).await;
    if let Err(failure) = &answer
        && !matches!(failure, Failure::Unreachable { .. })
    {
        // What was refused leaves nothing; without an answer it may have begun.
        let _ = session.client.delete(session.client.url(JOBS, &[&made.id])).await;
    }
    follow_to_end(&answer?, args.detach, args.results.as_deref(), session).await
}

/// The file, with the inputs that were given.
fn read(args: &Args) -> Result<JobFile, Failure> {
    let text =
        file::read_text(&args.file, FILE_BYTES_MAX as u64).map_err(|error| usage(args, &error))?;
    let work = WorkflowWork::read(&text).map_err(|why| usage(args, &why))?;
    let mut file = work.file().clone();
    for (name, value) in &args.inputs {
        let input = name.parse().ok().and_then(|name| file.inputs.get_mut(&name));
        let Some(input) = input else {
            return Err(usage(args, &format_args!("inputs: there is no {name}")));
        };
        input.clone_from(value);
    }
    Ok(file)
}

fn usage(args: &Args, problem: &dyn Display) -> Failure {
    Failure::Usage(format!("{}: {problem}", args.file.display()))
}

/// What the server says of a run that it does not start. The job is deleted again.
async fn dry_run(id: &str, work: &WorkflowWork, session: &Session) -> Result<(), Failure> {
    let url = session.client.url(JOBS, &[id, "runs"]);
    let answer = session.client.post(url, &json!({ "dry_run": true })).await;
    session.client.delete(session.client.url(JOBS, &[id])).await?;
    let answer = answer?;
    let Checked { quote } = answer.read()?;
    let ordered = work.ordered();
    session.output.result(&answer.text, || {
        let mut lines = Vec::new();
        show(&ordered, &ordered.plan, 0, &mut lines);
        lines.extend(quote.iter().flat_map(costs));
        lines
    })
}

/// What a run is expected to cost.
fn costs(quote: &Quote) -> Vec<String> {
    let Quote { tasks, calls, open_lists, total, total_at_most, hold, available } = quote;
    let count = |n: &Option<u64>, what: &str| {
        let n = n.filter(|n| *n > 0)?;
        Some(format!("{n} {what}{}", if n == 1 { "" } else { "s" }))
    };
    let counts: Vec<String> =
        [count(tasks, "task"), count(calls, "call")].into_iter().flatten().collect();
    let mut lines = Vec::new();
    if let Some(total) = total {
        let bound = if open_lists.is_empty() { "" } else { "at least " };
        lines.push(format!("expected: {bound}{total} credits for {}", counts.join(" and ")));
    }
    for OpenList { name, element } in open_lists {
        lines.push(format!("each element of {name:?} beyond the first: {element} credits"));
    }
    if let Some(most) = total_at_most {
        lines.push(format!("at most: {most} credits, if every task ran until its timeout"));
    }
    lines.push(format!("held at the start: {hold} of {available} credits"));
    lines
}

/// The blocks of a plan, each as far to the right as it lies deep.
fn show(ordered: &OrderedPlan, plan: &Plan, depth: usize, lines: &mut Vec<String>) {
    for (id, block) in plan.blocks() {
        let indent = "  ".repeat(depth + depth_of(plan, id));
        let what = match &block.body {
            Body::Group(_) => "steps".to_owned(),
            Body::Each(each) => format!("for each {}", each.item),
            Body::Child(_) => "a job of its own".to_owned(),
            Body::Container(task) => {
                let names = task.container.images().iter().filter_map(|image| {
                    let place =
                        (0..ordered.images.len()).find(|n| OrderedPlan::image(*n) == *image);
                    place.map(|place| ordered.images[place].name.as_str())
                });
                names.collect::<Vec<_>>().join(", ")
            }
            Body::Data(_) => "delivers the results".to_owned(),
            Body::Call(call) => format!("calls {}", call.call.host()),
        };
        lines.push(format!("{indent}{}: {what}", block.name));
        if let Body::Child(child) = &block.body {
            show(ordered, &child.plan, depth + depth_of(plan, id) + 1, lines);
        }
    }
}

fn depth_of(plan: &Plan, id: BlockId) -> usize {
    std::iter::successors(plan.parent(id), |id| plan.parent(*id)).count()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn costs_are_bounded_below_where_a_list_is_open() {
        let quote = |open_lists: &str, most: &str| -> Quote {
            let text = format!(
                "{{\"tasks\": 3, \"calls\": 1, \"open_lists\": {open_lists}, \"total\": \"0.05\", \
                 \"total_at_most\": {most}, \"hold\": \"0.02\", \"available\": \"9\"}}"
            );
            serde_json::from_str(&text).unwrap()
        };

        let closed = costs(&quote("[]", "\"4\""));
        let open = costs(&quote("[{\"name\": \"all\", \"element\": \"0.01\"}]", "null"));

        assert_eq!(closed[0], "expected: 0.05 credits for 3 tasks and 1 call");
        assert_eq!(closed[1], "at most: 4 credits, if every task ran until its timeout");
        assert_eq!(open[0], "expected: at least 0.05 credits for 3 tasks and 1 call");
        assert_eq!(open[1], "each element of \"all\" beyond the first: 0.01 credits");
        assert_eq!(open[2], "held at the start: 0.02 of 9 credits");
    }

    #[test]
    fn plan_of_a_job_file_is_shown_as_a_tree() {
        let work = WorkflowWork::read(
            "defaults: { image: 'alpine:3' }\nsteps:\n- name: a\n- name: b\n  each: { list: '3', \
             step: { image: busybox } }\n- name: c\n  job: { steps: [{ call: { url: 'http://h/' } \
             }] }\n",
        )
        .unwrap();
        let (ordered, mut lines) = (work.ordered(), Vec::new());

        show(&ordered, &ordered.plan, 0, &mut lines);

        let expected = [
            "run: steps",
            "  a: alpine:3",
            "  b: for each item",
            "    main: busybox",
            "  c: a job of its own",
            "    call: calls h",
        ];
        assert_eq!(lines, expected);
    }
}
