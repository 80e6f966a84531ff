use std::time::{Duration, Instant};

use super::super::*;

fn refusal(text: &str) -> String {
    WorkflowWork::read(text).expect_err(text).to_string()
}

#[test]
fn refusal_of_a_job_file_names_the_place() {
    let one = |step: &str| format!("defaults: {{ image: a }}\nsteps:\n  - {step}\n");
    let two = |step: &str| format!("{}  - {step}\n", one("{ name: a, var: x }"));
    for (text, expected) in [
        ("steps: []".to_owned(), "steps: has no steps"),
        (
            one("{ run: a, command: [b] }"),
            "steps[0].run: must be left out, because command is there",
        ),
        (
            "steps: [{}]".to_owned(),
            "steps[0]: needs an image, or one of call, each, parallel, steps and job",
        ),
        (two("{ name: a }"), "steps[1] \"a\": name: another step of the list has the same name"),
        (
            two("{ name: b, after: [c] }"),
            "steps[1] \"b\": after: there is no step \"c\" in the same list",
        ),
        (two("{ name: b, after: [b] }"), "steps: the order of the steps goes in a circle"),
        (
            two("{ env: { A: '{{ tasks.y }}' } }"),
            "steps[1]: an expression names tasks.y, which no step before it sets",
        ),
        (
            two("{ after: [], env: { A: '{{ tasks.x }}' } }"),
            "steps[1]: an expression names tasks.x, which no step before it sets",
        ),
        (one("{ env: { A: '{{ inputs.y }}' } }"), "steps[0].env.A: inputs.y is not in inputs"),
        (one("{ env: { A: '{{ secrets.y }}' } }"), "steps[0].env.A: secrets.y is not in secrets"),
        (
            one("{ env: { A: '{{ item.value }}' } }"),
            "steps[0]: an expression names item, which is not there",
        ),
        (
            one("{ call: { url: 'http://h/' }, image: b }"),
            "steps[0]: has fields of a container beside call: leave them out",
        ),
        (
            one("{ call: { url: 'http://h/' }, steps: [] }"),
            "steps[0].steps: must be left out, because call is there",
        ),
        (
            one("{ call: { url: 'ftp://h/' } }"),
            "steps[0].call.url: must be an http:// or https:// address of at most 8192 bytes",
        ),
        (
            one("{ parallel: [{ after: [] }] }"),
            "steps[0].parallel[0].after: the steps of parallel have no order: use steps",
        ),
        (
            one("{ name: e, each: { list: '3', step: { results: /out } } }"),
            "steps[0] \"e\": each.step.results: results: a step of a list has no results",
        ),
        (
            one("{ steps: [{ name: p, steps: [{ env: { A: '{{ tasks.q }}' } }] }] }"),
            "steps[0].steps[0] \"p\": steps[0]: an expression names tasks.q, which no step before it sets",
        ),
        (one("{ retry: { limit: 101 } }"), "steps[0].retry.limit: must be at most 100"),
        (one("{ timeout: 8d }"), "steps[0].timeout: must be from 1 second to 7 days"),
    ] {
        assert_eq!(refusal(&text), expected, "{text}");
    }
}

#[test]
fn syntax_error_of_a_job_file_names_the_line() {
    for (text, expected) in [
        ("steps:\n  - run: a\n    image: b\n    cpu: 1\n", "line 4"),
        ("steps:\n  - image: '{{ 1 + }}'\n    env:\n      A: '{{ 1 + }}'\n", "line 4"),
        ("steps: [\n", "line"),
        ("steps:\n- image: a\n  image: b\n", "line 3"),
        ("steps:\n- needs: { memory: 5MB }\n", "line 2"),
    ] {
        let refusal = refusal(text);
        assert!(refusal.contains(expected), "{refusal}\n{text}");
    }
}

#[test]
fn hostile_job_files_are_refused_at_once() {
    let laughs = (1..12).fold("a0: &a0 [x, x, x, x, x, x, x, x, x]\n".to_owned(), |text, n| {
        let alias = format!("*a{}", n - 1);
        text + &format!("a{n}: &a{n} [{}]\n", vec![alias; 9].join(", "))
    });
    let deep = |n: usize| "steps: ".to_owned() + &"[{ steps: ".repeat(n) + &"}]".repeat(n);
    let jobs =
        |n: usize| "{ steps: [{ job: ".repeat(n) + "{ steps: [{ image: a }] }" + &"}] }".repeat(n);
    let many = "steps:\n".to_owned() + &"- { image: a }\n".repeat(1_001);
    let circle =
        "steps:\n- { name: a, image: x, after: [b] }\n- { name: b, image: x, after: [a] }\n";
    for text in [
        laughs,
        deep(50),
        deep(5_000),
        jobs(9),
        jobs(5_000),
        many,
        circle.to_owned(),
        "x".repeat(10 << 20),
        "[".repeat(FILE_BYTES_MAX),
        "steps: &a [*a]".to_owned(),
        "- ".repeat(100_000),
    ] {
        let start = Instant::now();
        let refused = WorkflowWork::read(&text);
        assert!(refused.is_err(), "{text:.60}");
        assert!(start.elapsed() < Duration::from_secs(5), "{text:.60}");
    }
    assert!(WorkflowWork::read(&jobs(8)).is_ok());
    let nested =
        "steps: ".to_owned() + &"[{ steps: ".repeat(15) + "[{ image: a }]" + &"}]".repeat(15);
    assert!(WorkflowWork::read(&nested).is_ok());
}
