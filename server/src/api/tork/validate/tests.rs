use super::*;

fn faults(text: &str) -> Vec<String> {
    let job = super::super::read::read(Kind::Job, Some("text/yaml"), text.as_bytes()).unwrap();
    let told = check(Kind::Job, &job).map_or_else(|error| error.to_string(), |()| String::new());
    let short = |line: &str| {
        let parts: Vec<&str> = line.split('\'').collect();
        format!("{} {}", parts[1], parts[5])
    };
    told.lines().map(short).collect()
}

fn of_task(text: &str) -> Vec<String> {
    let all = faults(&format!("{{name: x, tasks: [{{name: a, image: i, {text}}}]}}"));
    all.into_iter().map(|fault| fault.replace("Job.Tasks[0].", "")).collect()
}

#[test]
fn validation_tells_all_faults_of_a_job() {
    assert_eq!(faults("{}"), ["Job.Name required", "Job.Tasks required"]);
    let text = "{name: x, output: hello world, webhooks: [{}], permissions: [{}], \
                autoDelete: {after: 1d}, tasks: [{image: i}], \
                defaults: {timeout: x, queue: x-1, priority: 11, retry: {limit: 0}}}";
    assert_eq!(
        faults(text),
        [
            "Job.Tasks[0].Name required",
            "Job.Output expr",
            "Job.Defaults.Retry.Limit required",
            "Job.Defaults.Timeout duration",
            "Job.Defaults.Queue queue",
            "Job.Defaults.Priority max",
            "Job.Webhooks[0].URL required",
            "Job.Permissions[0].perm roleoruser",
            "Job.AutoDelete.After duration",
        ]
    );
}

#[test]
fn validation_knows_the_rules_of_tasks() {
    for (text, told) in [
        ("timeout: 5s, retry: {limit: 10}, priority: 9, var: v, if: 'true'", &[][..]),
        ("retry: {limit: 11}", &["Retry.Limit max"]),
        ("priority: -1", &["Priority min"]),
        ("if: '{{ 1 + }}'", &["If expr"]),
        ("pre: [{image: i}]", &["Pre[0].Name required"]),
        (
            "sidecars: [{name: s, image: i, probe: {port: 70000}}]",
            &["Sidecars[0].Probe.Path required", "Sidecars[0].Probe.Port max"],
        ),
        (
            "mounts: [{type: volume, source: a, target: /tork}]",
            &["Mounts[0].Source sourcenotempty", "Mounts[0].Target invalidtarget"],
        ),
        (
            "mounts: [{target: '/a;b'}]",
            &["Mounts[0].Type typerequired", "Mounts[0].Target invalidtarget"],
        ),
        ("mounts: [{type: bind, target: /a}]", &["Mounts[0].Source sourcerequired"]),
    ] {
        assert_eq!(of_task(text), told, "{text}");
    }
}

#[test]
fn validation_keeps_composite_tasks_apart_from_containers() {
    assert_eq!(
        faults("{name: x, tasks: [{name: a, run: x, each: {list: '{{ [] }}', task: {name: b}}}]}"),
        ["Job.Tasks[0].Each.Task.Image required", "Job.Tasks[0].Run invalidcompositetask"]
    );
    assert_eq!(
        faults("{name: x, tasks: [{name: a, subjob: {name: s, tasks: []}}]}"),
        ["Job.Tasks[0].SubJob.Tasks required"]
    );
}

#[test]
fn validation_of_a_schedule_needs_a_pattern_that_comes() {
    for (cron, is_fine) in [("0 3 * * *", true), ("99 99 99 99 99", false), ("", false)] {
        let text =
            format!("{{name: x, schedule: {{cron: '{cron}'}}, tasks: [{{name: a, image: i}}]}}");
        let kind = Kind::ScheduledJob;
        let job = super::super::read::read(kind, Some("text/yaml"), text.as_bytes()).unwrap();

        assert_eq!(check(kind, &job).is_ok(), is_fine, "{cron}");
    }
}
