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
    task_price: String,
    hold: String,
    available: String,
}

pub async fn run(args: &Args, session: &Session) -> Result<(), Failure> {
    let file = read(args)?;
    let work = WorkflowWork::new(file).map_err(|why| usage(args, &why))?;
    let body = json!({ "workflow": work.file() });
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
        if let Some(Quote { task_price, hold, available }) = quote {
            lines.push(format!("a task costs about {task_price} credits"));
            lines.push(format!("held at the start: {hold} of {available} credits"));
        }
        lines
    })
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
