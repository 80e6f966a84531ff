use std::num::NonZeroU32;

use super::*;
use crate::call::Waits;
use crate::expression::Template;
use crate::money::credits::Credits;
use crate::order::container::ImageName;
use crate::order::ordered_plan::Pins;
use crate::plan::{Body, Image, List, Plan};

mod refusals;

fn read(text: &str) -> WorkflowWork {
    WorkflowWork::read(text).unwrap_or_else(|error| panic!("{error}\n{text}"))
}

fn plan(text: &str) -> Plan {
    let ordered = read(text).ordered();
    let local = |name: &ImageName| Image::Local { name: name.name.clone() };
    let images: Vec<Image> = ordered.images.iter().map(local).collect();
    ordered
        .pinned(&Pins { images: &images, queues: &[], timeout_secs: 60, call_price: Credits::ZERO })
        .unwrap()
}

fn names(plan: &Plan) -> Vec<&str> {
    plan.blocks().map(|(_, block)| block.name.as_str()).collect()
}

/// Says something of everything.
const WHOLE: &str = r#"
name: whole
description: all of it
tags: [a, b]
inputs: { size: 3, who: anna }
secrets: { key: my-key }
defaults:
  image: alpine:3
  env: { LANG: C }
  needs: { cpu: 0.5, memory: 512MiB }
  timeout: 10m
  retry: { limit: 2, delay: 5s, factor: 2 }
steps:
  - name: list
    var: list
    command: [sh, -c, "echo {{ inputs.size }} > $FANFOLD_OUTPUT"]
    files: { /in/who: "{{ inputs.who }}", /in/plain: text }
    shared: [/work]
    before: [{ run: echo before, env: { WHO: "{{ inputs.who }}" } }]
    then: [{ image: busybox, run: echo then }]
    beside: [{ program: { name: db, image: "postgres:17" }, needs: { cpu: 1 }, port: 5432 }]
  - name: parts
    if: "{{ inputs.size != '0' }}"
    each:
      list: "{{ tasks.list }}"
      item: part
      at_once: 4
      step:
        env: { PART: "{{ part.value }}", KEY: "{{ secrets.key }}" }
        timeout: 1h
  - name: both
    parallel:
      - call: { url: "https://example.com/{{ inputs.who }}", method: POST, body: "{{ tasks.list }}" }
        retry: { limit: 1 }
      - steps: [{ name: a }, { name: b, after: [] }]
  - name: child
    var: child
    job:
      inputs: { list: "{{ tasks.list }}" }
      steps: [{ var: x, env: { LIST: "{{ inputs.list }}" } }]
      output: "{{ tasks.x }}"
  - name: fold
    after: [parts, both]
    run: cat /in > /out
    results: /out
output: "{{ tasks.list }} {{ inputs.who }}"
"#;

#[test]
fn job_file_compiles_to_a_plan() {
    let plan = plan(WHOLE);

    assert_eq!(
        names(&plan),
        [
            "run", "list", "parts", "main", "both", "call", "steps", "a", "b", "child", "fold",
            "fold", "delivery"
        ]
    );
    assert_eq!(plan.output().map(Template::source), Some("{{ tasks.list }} {{ inputs.who }}"));
    let blocks: Vec<_> = plan.blocks().map(|(_, block)| block).collect();
    let Body::Group(root) = &blocks[0].body else { panic!() };
    assert_eq!(root.after, [vec![], vec![0], vec![1], vec![2], vec![1, 2]]);
    let Body::Container(list) = &blocks[1].body else { panic!() };
    assert_eq!((list.timeout_secs, list.retries, list.container.needs.cpu_millis), (600, 2, 1_500));
    let expected = Waits::Backoff {
        retries: 2,
        first_secs: 5,
        factor: 2,
        most_secs: 3_600,
        jitter_percent: 0,
    };
    assert_eq!(list.waits, Some(expected));
    assert_eq!(list.container.late().len(), 3);
    let Body::Each(parts) = &blocks[2].body else { panic!() };
    assert!(matches!(&parts.list, List::Items(list) if list.source() == "{{ tasks.list }}"));
    assert_eq!((parts.item.as_str(), parts.at_once.map(NonZeroU32::get)), ("part", Some(4)));
    assert!(blocks[2].when.is_some());
    let Body::Call(call) = &blocks[5].body else { panic!() };
    assert_eq!((call.late.len(), call.retry.attempts(), call.call.timeout_secs), (2, 2, 600));
    let Body::Child(child) = &blocks[9].body else { panic!() };
    assert_eq!(child.inputs.len(), 1);
    assert!(child.plan.output().is_some());
}

#[test]
fn job_file_reads_back_what_it_writes() {
    let work = read(WHOLE);

    let json = serde_json::to_string(&work).unwrap();

    assert_eq!(serde_json::from_str::<WorkflowWork>(&json).unwrap(), work);
    assert_eq!(read(&json), work);
    let scope = work.ordered().scope;
    assert_eq!((scope.inputs.len(), scope.secrets.len()), (2, 1));
    assert_eq!(work.name(), "whole");
    assert!(!json.contains("null"), "{json}");
}

#[test]
fn job_file_of_one_step_is_one_task() {
    let plan = plan("steps: [{ image: 'alpine:3', run: echo }]");

    assert_eq!(names(&plan), ["main"]);
}

#[test]
fn job_file_names_each_image_once() {
    let work = read(WHOLE);

    let ordered = work.ordered();
    let images: Vec<_> = ordered.images.iter().map(|image| image.name.as_str()).collect();

    assert_eq!(images, ["alpine:3", "busybox", "postgres:17"]);
}

#[test]
fn schema_of_job_files_describes_every_field() {
    let schema: serde_json::Value = serde_json::from_str(&WorkflowWork::schema()).unwrap();
    let validator = jsonschema::validator_for(&schema).unwrap();

    let json = serde_json::to_value(read(WHOLE)).unwrap();
    let errors: Vec<String> = validator.iter_errors(&json).map(|error| error.to_string()).collect();

    assert!(errors.is_empty(), "{errors:?}");
    let wrong = serde_json::json!({"steps": [{"image": "a", "cpu": 1}]});
    assert!(!validator.is_valid(&wrong));
}

#[test]
fn reference_has_the_schema_of_job_files() {
    pages::check("job.schema.json", &(WorkflowWork::schema() + "\n"));
}

#[test]
fn reference_of_job_files_names_every_field() {
    let schema: serde_json::Value = serde_json::from_str(&WorkflowWork::schema()).unwrap();
    let page = pages::read("job-file.md");
    let fields = |of: &serde_json::Value| -> Vec<String> {
        of["properties"].as_object().into_iter().flatten().map(|(name, _)| name.clone()).collect()
    };

    let defined = schema["$defs"].as_object().unwrap().values();
    let missing: Vec<String> = [&schema]
        .into_iter()
        .chain(defined)
        .flat_map(fields)
        .filter(|name| !page.contains(&format!("`{name}`")))
        .collect();

    assert!(missing.is_empty(), "docs/reference/job-file.md does not name {missing:?}");
}

#[test]
fn reference_of_job_files_has_examples_that_compile() {
    let page = pages::read("job-file.md");
    let examples: Vec<&str> =
        page.split("```yaml\n").skip(1).filter_map(|rest| rest.split("```").next()).collect();

    assert!(!examples.is_empty());
    for example in examples {
        read(example);
    }
}
