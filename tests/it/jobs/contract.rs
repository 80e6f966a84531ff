//! What packages may rely on when they run, as published, and what they cannot do.

use std::collections::BTreeMap;

use anyhow::Result;
use serde_json::{Value, json};

use harness::client::{COMPLETE, Client};
use harness::machine::busybox::{self, IMAGE, docker};
use harness::market::{Market, Shape};
use harness::package::Package;

/// An order without data whose results are kept.
fn order(template: &str, params: &Value) -> Value {
    json!({
        "templateId": template, "name": template, "params": params,
        "dataSource": {"dataSourceDescriptor": "bypass"},
        "dataDestination": {"dataSourceDescriptor": "bucket"},
    })
}

/// Runs one task of a script, and gives its result files.
async fn run_script(client: &Client, script: &str) -> Result<BTreeMap<String, String>> {
    client.push(&Package::app("script", script)).await?;
    client.template("passthrough", "script", "passthrough").await?;
    let id = client.start(order("script", &json!({})), None).await?;
    client.reached(&id, COMPLETE).await?;
    texts(client, &id).await
}

async fn texts(client: &Client, id: &str) -> Result<BTreeMap<String, String>> {
    let files = client.results(id).await?;
    files.into_iter().map(|(name, file)| Ok((name, String::from_utf8(file.into())?))).collect()
}

/// What each phase finds: its variables, its folders, its params.
const CUT: &str = r#"
echo "$PARTITIONER_PARAMS" > "$CHUNKS_DIR/data_0.bin"
ls -A "$SOURCE_DIR" > "$CHUNKS_DIR/data_1.bin"
cat "$SOURCE_DIR"/* > "$CHUNKS_DIR/data_2.bin"
echo 'no chunk' > "$CHUNKS_DIR/notes.txt"
i=3; while [ $i -lt 12 ]; do echo "chunk $i" > "$CHUNKS_DIR/data_$i.bin"; i=$((i + 1)); done
"#;
const WORK: &str = r#"
[ "$(ls -A "$TASK_DIR")" = data.bin ]
[ -z "$(ls -A "$TASK_RESULTS_DIR")" ]
mkdir -p "$TASK_RESULTS_DIR/deep/er"
{ echo "$CHUNK_NUMBER $APP_PARAMS"; cat "$TASK_DIR/data.bin"; } > "$TASK_RESULTS_DIR/deep/er/same.txt"
"#;
const FOLD: &str = r#"
[ "$RESULTS_DIR" = "$TASK_RESULTS_DIR" ]
[ -z "$(find "$TASK_RESULTS_DIR" -mindepth 1 -type d)" ]
echo "$ASSEMBLER_PARAMS" > "$OUTPUT_DIR/params.txt"
ls "$TASK_RESULTS_DIR" > "$OUTPUT_DIR/names.txt"
for file in "$TASK_RESULTS_DIR"/*; do cat "$file"; done > "$OUTPUT_DIR/all.txt"
"#;

#[tokio::test]
async fn phase_has_its_variables_folders_and_params() -> Result<()> {
    Market::open(Shape::nodes(2), async |_, client| {
        client.push(&Package::partitioner("cut", CUT)).await?;
        client.push(&Package::app("work", WORK)).await?;
        client.push(&Package::assembler("fold", FOLD)).await?;
        client.template("cut", "work", "fold").await?;
        let params = json!({"partitioner": {"a": 1}, "app": {"b": "zwei $HOME \"'"}});
        let mut order = order("work", &params);
        order["dataSource"] = json!({"dataSourceDescriptor": "file"});

        let id = client.start(order, Some(b"the source\n")).await?;
        let job = client.reached(&id, COMPLETE).await?;

        let files = texts(&client, &id).await?;
        assert_eq!(job["numChunks"], 12);
        assert_eq!(files["params.txt"], "{}\n", "params are never empty");
        let names: Vec<_> = files["names.txt"].lines().collect();
        assert_eq!(names.len(), 12, "{names:?}");
        assert!(names.is_sorted() && names.iter().all(|name| name.ends_with("same.txt")));
        let mut expected = String::new();
        for chunk in 0..12 {
            let data = match chunk {
                0 => "{\"a\":1}".to_owned(),
                1 => "upload".to_owned(),
                2 => "the source".to_owned(),
                n => format!("chunk {n}"),
            };
            expected += &format!("{chunk} {{\"b\":\"zwei $HOME \\\"'\"}}\n{data}\n");
        }
        assert_eq!(files["all.txt"], expected, "in the order of chunks");
        Ok(())
    })
    .await
}

#[tokio::test]
async fn job_of_one_chunk_keeps_its_file_names() -> Result<()> {
    Market::open(Shape::nodes(1), async |_, client| {
        let script = r#"
            mkdir "$TASK_RESULTS_DIR/out"
            echo "$CHUNK_NUMBER" > "$TASK_RESULTS_DIR/plain.txt"
            echo deep > "$TASK_RESULTS_DIR/out/a b.txt"
            : > "$TASK_RESULTS_DIR/empty"
        "#;

        let files = run_script(&client, script).await?;

        let expected = [("empty", ""), ("out__a b.txt", "deep\n"), ("plain.txt", "0\n")];
        let expected = expected.map(|(name, text)| (name.to_owned(), text.to_owned()));
        assert_eq!(files, BTreeMap::from(expected));
        Ok(())
    })
    .await
}

#[tokio::test]
async fn app_may_write_nothing() -> Result<()> {
    Market::open(Shape::nodes(1), async |_, client| {
        client.push(&Package::app("silent", "true")).await?;
        client
            .push(&Package::assembler(
                "count",
                r#"ls "$TASK_RESULTS_DIR" | wc -l > "$OUTPUT_DIR/n""#,
            ))
            .await?;
        for (assembler, expected) in
            [("passthrough", None), ("zip", Some("results_archive.zip")), ("count", Some("n"))]
        {
            client.template("passthrough", "silent", assembler).await?;
            let id = client.start(order("silent", &json!({})), None).await?;
            client.reached(&id, COMPLETE).await?;
            let files = client.results(&id).await?;
            assert_eq!(files.keys().map(String::as_str).next(), expected, "{assembler}");
        }
        Ok(())
    })
    .await
}

#[tokio::test]
async fn partitioner_without_chunks_fails_the_job() -> Result<()> {
    Market::open(Shape::nodes(1), async |_, client| {
        client.push(&Package::partitioner("cut", "echo x > \"$CHUNKS_DIR/data.bin\"")).await?;
        client.push(&Package::app("work", "true")).await?;
        client.template("cut", "work", "concat").await?;

        let id = client.start(order("work", &json!({})), None).await?;

        let message = client.failure(&id).await?;
        assert!(message.contains("partitioner produced no chunks"), "{message}");
        assert!(message.contains("left out: data.bin;"), "{message}");

        let cut = r#"cd "$CHUNKS_DIR"; echo x > data_3.bin; mkdir d; echo x > d/data_0.bin"#;
        client.push(&Package::partitioner("cut", cut)).await?;
        let id = client.start(order("work", &json!({})), None).await?;
        let job = client.reached(&id, COMPLETE).await?;
        let warning = job["warning"].to_string();
        assert!(warning.contains("left out: d__data_0.bin;"), "{warning}");
        assert_eq!(job["numChunks"], 1);
        Ok(())
    })
    .await
}

/// Everything that a container must not be able to do; what it can is written down.
const ESCAPE: &str = r#"
out="$TASK_RESULTS_DIR/leaks"
: > "$out"
[ "$(id -u)" != 0 ] || echo "is root" >> "$out"
grep -q '^CapEff:.0*$' /proc/self/status || echo "has capabilities" >> "$out"
grep -q '^NoNewPrivs:.1$' /proc/self/status || echo "may gain privileges" >> "$out"
grep -q '^Seccomp:.2$' /proc/self/status || echo "any system call" >> "$out"
[ "$(ls /sys/class/net)" = lo ] || echo "has a network" >> "$out"
ping -c 1 -W 1 8.8.8.8 > /dev/null 2>&1 && echo "reaches the world" >> "$out"
for place in / /bin /etc /opt/fanfold /opt/fanfold/app "$TASK_DIR"; do
    (: > "$place/written") 2> /dev/null && echo "writes to $place" >> "$out"
done
[ ! -e /var/run/docker.sock ] || echo "sees the engine" >> "$out"
env | grep -i -e token -e secret -e ^FANFOLD >> "$out" || true
"#;

#[tokio::test]
async fn container_is_confined() -> Result<()> {
    Market::open(Shape::nodes(1), async |_, client| {
        let files = run_script(&client, ESCAPE).await?;

        assert_eq!(files["leaks"], "");
        Ok(())
    })
    .await
}

#[tokio::test]
async fn container_beyond_its_limits_is_stopped_with_the_reason() -> Result<()> {
    Market::open(Shape::nodes(1), async |_, client| {
        // A shell that keeps more in a variable than its package asks for: 1 GiB.
        let greedy = r#"x=0123456789abcdef; while :; do x="$x$x"; done"#;
        // More processes than a container may have.
        let bomb = r#"i=0; while [ $i -lt 2000 ]; do sleep 60 & i=$((i + 1)); done"#;
        for (script, expected) in [(greedy, "more memory than"), (bomb, "exit code 2")] {
            client.push(&Package::app("greedy", script)).await?;
            client.template("passthrough", "greedy", "passthrough").await?;
            let id = client.start(order("greedy", &json!({})), None).await?;
            let message = client.failure(&id).await?;
            assert!(message.contains(expected), "{message}");
        }
        Ok(())
    })
    .await
}

#[tokio::test]
async fn image_is_delivered_with_its_app_by_digest() -> Result<()> {
    Market::open(Shape::nodes(1), async |market, client| {
        // Nobody has seen this image: its configuration is made up here.
        let name = format!("fanfold-test/travels:{}", uuid::Uuid::new_v4().simple());
        let _gone = Gone(name.clone());
        busybox::import(&name, &[&format!("ENV TRAVELLED={name}")])?;
        market.push_image(&name).await?;
        docker(&["image", "rm", &name])?;
        let app = Package::app("travels", "echo \"$TRAVELLED\" > \"$TASK_RESULTS_DIR/from\"")
            .with("platform_config", json!({"container": name}));
        client.push(&app).await?;
        client.template("passthrough", "travels", "passthrough").await?;

        let id = client.start(order("travels", &json!({})), None).await?;
        client.reached(&id, COMPLETE).await?;

        assert_eq!(texts(&client, &id).await?["from"], format!("{name}\n"));
        Ok(())
    })
    .await
}

/// An image that is removed when the test ends, however it does.
struct Gone(String);

impl Drop for Gone {
    fn drop(&mut self) {
        // As a rule it is gone by then.
        let _ = docker(&["image", "rm", "--force", &self.0]);
    }
}

#[tokio::test]
async fn missing_image_fails_the_job_with_its_name() -> Result<()> {
    Market::open(Shape::nodes(1), async |_, client| {
        let missing = json!({"container": "fanfold-test/missing:9", "private_image": true});
        client.push(&Package::app("lost", "true").with("platform_config", missing)).await?;
        client.template("passthrough", "lost", "passthrough").await?;
        let id = client.create(order("lost", &json!({}))).await?;

        let run = format!("/v1/customer/jobs/{id}/run");
        let refusal = client.refused(reqwest::Method::POST, &run, json!({})).await?;

        assert!(refusal.message.contains("fanfold-test/missing:9"), "{refusal:?}");
        assert_ne!(IMAGE, "fanfold-test/missing:9");
        Ok(())
    })
    .await
}
