use common::compute::container::{Command, Profile};
use common::ids::JobId;
use common::plan::{Code, ImageCode, VALUE_FILE};
use uuid::Uuid;

use super::super::read::{Kind, read};
use super::*;

fn compiled(text: &str) -> Result<Compiled> {
    let job = read(Kind::Job, Some("text/yaml"), text.as_bytes()).unwrap();
    super::super::validate::check(Kind::Job, &job)?;
    compile(JobId::new(Uuid::from_u128(7)), &job, &Queues::new())
}

fn code(plan: &Plan, block: u16) -> &ImageCode {
    let task = plan.container_task(BlockId::new(block)).unwrap();
    let Code::Images(code) = &task.container.code else { panic!("{task:?}") };
    code
}

fn refusal(text: &str) -> String {
    compiled(text).unwrap_err().to_string()
}

#[test]
fn compile_lays_defaults_into_tasks_that_say_nothing() {
    let text = "{name: x, defaults: {timeout: 1m, retry: {limit: 2}, limits: {cpus: .5}}, tasks: [
        {name: a, image: i}, {name: b, image: i, timeout: 1500ms, limits: {memory: 10m}}]}";

    let plan = compiled(text).unwrap().work.plan;

    let tasks: Vec<_> = plan.container_tasks().collect();
    assert_eq!((tasks[0].timeout_secs, tasks[0].retries), (60, 2));
    assert_eq!((tasks[1].timeout_secs, tasks[1].retries), (2, 2));
    let needs: Vec<_> = tasks
        .iter()
        .map(|task| (task.container.needs.cpu_millis, task.container.needs.memory_mib))
        .collect();
    assert_eq!(needs, [(500, 1024), (500, 10)]);
    assert_eq!(tasks[0].waits, Some(common::call::Waits::Table(vec![0, 0])));
}

#[test]
fn compile_leaves_scripts_as_they_are_and_evaluates_the_rest_late() {
    let text = "{name: x, inputs: {v: '1', n: 'two'}, secrets: {s: hidden}, tasks: [
        {name: a, var: a, image: 'img:{{ inputs.v }}', run: 'echo {{ inputs.v }}',
         env: {A: '{{ secrets.s }}', B: plain}},
        {name: b, image: i, entrypoint: [e], cmd: [x, '{{ tasks.a }}'], files: {f: '{{ x }}'}}]}";

    let Compiled { work, secrets, .. } = compiled(text).unwrap();

    let first = code(&work.plan, 1);
    let script = Command::Line(["sh", "-c", "/tork/run/0"].map(str::to_owned).to_vec());
    assert_eq!(first.spec.steps[0].command, script);
    assert_eq!(first.spec.files[&"/tork/run/0".parse().unwrap()], "echo {{ inputs.v }}");
    assert_eq!(first.spec.steps[0].environment.get("B"), Some("plain"));
    assert_eq!(first.spec.environment.get("TORK_OUTPUT"), Some(VALUE_FILE));
    assert_eq!(first.spec.profile, Profile::Plain);
    assert_eq!(first.late[0].text.source(), "{{ secrets.s }}");
    let second = code(&work.plan, 2);
    let words = Command::Line(["e", "x", "x"].map(str::to_owned).to_vec());
    assert_eq!(second.spec.steps[0].command, words);
    assert_eq!(second.late.len(), 1);
    assert_eq!(second.spec.files[&"/tork/workdir/f".parse().unwrap()], "{{ x }}");
    assert_eq!(
        work.images.iter().map(|image| image.name.as_str()).collect::<Vec<_>>(),
        ["img:1", "i"]
    );
    assert_eq!(secrets.len(), 1);
    assert!(!secrets[0].0.id.is_named());
    let stored = serde_json::to_string(&work).unwrap();
    assert!(!stored.contains("hidden"), "{stored}");
}

#[test]
fn compile_makes_blocks_of_composite_tasks() {
    let text = "{name: x, output: '{{ tasks.c }}', tasks: [
        {name: p, parallel: {tasks: [{name: p1, image: i}, {name: p2, image: i, if: 'true'}]}},
        {name: e, each: {list: '{{ [1] }}', concurrency: 2, task: {name: e1, var: v, image: i}}},
        {name: c, var: c, subjob: {name: s, output: o, inputs: {a: '{{ tasks.v }}'},
         tasks: [{name: s1, image: i}]}}]}";

    let work = compiled(text).unwrap().work;

    let names: Vec<_> = work.plan.blocks().map(|(_, block)| block.name.as_str()).collect();
    assert_eq!(names, ["run", "p", "p1", "p2", "e", "e1", "c"]);
    let tasks = crate::api::tork::shown::blocks::tasks(&work.document);
    let of_document: Vec<_> = tasks
        .iter()
        .map(|placed| (placed.task["name"].as_str().unwrap(), placed.position))
        .collect();
    let expected = [("p", 1), ("p1", 1), ("p2", 1), ("e", 2), ("e1", 2), ("c", 3)];
    assert_eq!(of_document, expected);
    let vars: Vec<_> =
        work.plan.blocks().map(|(_, block)| block.var.as_ref().map_or("", Name::as_str)).collect();
    assert_eq!(vars, ["", "", "_result_2", "_result_3", "v", "", "c"]);
}

#[test]
fn compile_puts_steps_around_a_task_and_containers_beside_it() {
    let text = "{name: x, tasks: [{name: a, image: i, volumes: [/v], mounts: [
        {type: volume, target: /w}], workdir: /d, networks: [n],
        pre: [{name: p, image: j, run: x}], post: [{name: q, image: i, run: x}],
        sidecars: [{name: My DB, image: k, probe: {path: /, port: 5432}}]}]}";

    let work = compiled(text).unwrap().work;

    let spec = &code(&work.plan, 1).spec;
    let names: Vec<_> = spec.programs().map(|program| program.name.as_str()).collect();
    assert_eq!(names, ["pre-1", "main", "post-1", "my-db"]);
    assert_eq!(spec.sides[0].port, Some(5432));
    let shared: Vec<_> =
        spec.shared.iter().map(common::compute::container::ContainerPath::as_str).collect();
    assert_eq!(shared, ["/v", "/w"]);
    assert_eq!(spec.network, common::compute::container::Network::Internet);
    let images: Vec<_> = spec.programs().map(|program| program.image).collect();
    assert_eq!(images, [0, 1, 1, 2]);
}

#[test]
fn compile_refuses_what_no_plan_can_do() {
    for (task, why) in [
        ("image: i, env: {A: '{{ tasks.nope }}'}", "tasks.nope"),
        ("image: i, env: {A: '{{ nosuch() }}'}", "nosuch"),
        ("image: '{{ tasks.a }}'", "may name inputs only"),
        ("image: i, mounts: [{type: bind, source: /a, target: /b}]", "bind mounts"),
        ("image: i, mounts: [{type: odd, target: /b}]", "unknown mount type: odd"),
        ("image: i, limits: {cpus: many}", "invalid CPUs value"),
        ("image: i, limits: {memory: much}", "invalid memory value"),
        ("image: i, gpus: all", "gpus"),
        ("image: i, var: 9x", "no name"),
        ("image: i, queue: a.b", "letters, digits"),
    ] {
        let told = refusal(&format!("{{name: x, tasks: [{{name: a, {task}}}]}}"));
        assert!(told.contains(why), "{told}");
    }
}

#[test]
fn compile_tells_the_receivers_of_webhooks() {
    let text = "{name: x, secrets: {s: hidden}, tasks: [{name: a, image: i}], webhooks: [{
        url: 'https://h.example/x', headers: {A: plain, B: '{{ secrets.s }}'},
        if: \"{{ job.State == 'FAILED' }}\"}]}";

    let compiled = compiled(text).unwrap();

    let callbacks: Vec<_> = compiled.callbacks.iter().collect();
    assert_eq!(callbacks.len(), 1);
    assert!(callbacks[0].when.is_some());
    assert_eq!(callbacks[0].late.len(), 2);
    assert!(callbacks[0].work.call.headers.contains_key("A"));
    assert!(!serde_json::to_string(&compiled.callbacks).unwrap().contains("hidden"));
    let on: Vec<_> = callbacks.iter().map(|callback| callback.on.len()).collect();
    assert_eq!(on, [4]);
    let sub_job = "{name: x, tasks: [{name: a, subjob: {name: s, webhooks: [{url: u}], tasks: [
        {name: b, image: i}]}}]}";
    assert!(refusal(sub_job).contains("webhooks of the job itself"));
}

#[test]
fn compile_refuses_permissions_that_would_hide_a_job() {
    let of = |permissions: &str| {
        compiled(&format!(
            "{{name: x, permissions: [{permissions}], tasks: [{{name: a, image: i}}]}}"
        ))
    };

    for permissions in ["", "{role: public}", "{user: anna}, {role: public}"] {
        assert!(of(permissions).is_ok(), "{permissions}");
    }
    for permissions in ["{user: anna}", "{role: ops}, {user: public}"] {
        let told = of(permissions).unwrap_err().to_string();
        assert!(told.starts_with("permissions: would hide the job"), "{told}");
    }
}

#[test]
fn compile_ranks_tasks_of_a_job_by_their_priorities() {
    let text = "{name: x, defaults: {priority: 2}, tasks: [
        {name: p, parallel: {tasks: [{name: a, image: i, priority: 9}, {name: b, image: i}]}}]}";

    let plan = compiled(text).unwrap().work.plan;

    let priorities: Vec<u8> = plan.container_tasks().map(|task| task.priority.into()).collect();
    assert_eq!(priorities, [9, 2]);
}

#[test]
fn compile_puts_tasks_into_the_queues_that_they_name() {
    let text = "{name: x, inputs: {size: big}, defaults: {queue: slow}, tasks: [
        {name: a, image: i, queue: 'q-{{ inputs.size }}'}, {name: b, image: i},
        {name: c, image: i, queue: default}, {name: d, subjob: {name: s, tasks: [
            {name: e, image: i, queue: fast, priority: 1}, {name: f, image: i}]}}]}";
    let job = read(Kind::Job, Some("text/yaml"), text.as_bytes()).unwrap();
    let of = |queues: &Queues| compile(JobId::new(Uuid::from_u128(7)), &job, queues).unwrap();

    let unknown = of(&Queues::new());
    let names: Vec<&str> = unknown.unknown_queues.iter().map(Label::as_str).collect();
    assert_eq!(names, ["fast", "q-big", "slow"]);
    assert_eq!(unknown.priority, Priority::Fast);
    assert!(unknown.work.plan.queues().is_empty());

    let ids = unknown.unknown_queues.iter().zip(1..);
    let queues: Queues =
        ids.map(|(name, n)| (name.clone(), QueueId::new(Uuid::from_u128(n)))).collect();
    let known = of(&queues);
    assert!(known.unknown_queues.is_empty());
    let all: Vec<QueueId> = known.work.plan.queues().into_iter().collect();
    assert_eq!(all, [1, 2, 3].map(|n| QueueId::new(Uuid::from_u128(n))));
    let tasks: Vec<Option<u128>> = known
        .work
        .plan
        .container_tasks()
        .map(|task| task.queue.as_ref().map(|queue| queue.id.uuid().as_u128()))
        .collect();
    assert_eq!(tasks, [Some(2), Some(3), None]);
}
