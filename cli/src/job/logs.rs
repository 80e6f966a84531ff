//! `fanfold job logs`: what the job's containers wrote, phase by phase and page by page; with
//! `--json` an object for each page.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::json;

use crate::failure::Failure;
use crate::session::Session;

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Logs {
    #[serde(default)]
    partitioner: Option<Vec<Line>>,
    #[serde(default)]
    taskrunner: Option<BTreeMap<String, Task>>,
    #[serde(default)]
    assembler: Option<Vec<Line>>,
    #[serde(default)]
    next_cursor: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Task {
    #[serde(default)]
    logs: Vec<Line>,
    #[serde(default)]
    chunk_number: Option<u32>,
}

#[derive(Debug, Deserialize)]
struct Line {
    log: String,
    timestamp: String,
    #[serde(default)]
    level: Option<String>,
}

impl Line {
    /// The level and a space, where the line has one: containers' lines have none.
    fn level(&self) -> String {
        let level = self.level.as_deref().filter(|level| *level != "UNKNOWN");
        level.map_or_else(String::new, |level| format!("{level} "))
    }
}

impl Logs {
    fn lines(&self) -> Vec<String> {
        let mut tasks: Vec<_> = self.taskrunner.iter().flatten().collect();
        tasks.sort_by_key(|(_, task)| task.chunk_number);
        let tasks = tasks.into_iter().map(|(id, task)| {
            let who = task.chunk_number.map_or_else(|| id.clone(), |n| format!("chunk {n}"));
            (who, &task.logs)
        });
        let phases = (self.partitioner.iter().map(|lines| ("partitioner".to_owned(), lines)))
            .chain(tasks)
            .chain(self.assembler.iter().map(|lines| ("assembler".to_owned(), lines)));
        phases
            .flat_map(|(who, lines)| {
                lines.iter().map(move |line| {
                    let text = line.log.trim_end();
                    format!("{}  {who}  {}{text}", line.timestamp, line.level())
                })
            })
            .collect()
    }
}

pub async fn run(id: &str, session: &Session) -> Result<(), Failure> {
    let url = session.client.url("/v1/customer/logs", &[]);
    let mut cursor = String::new();
    loop {
        let body = json!({
            "jobId": id, "taskIds": [], "levels": [], "services": [], "cursor": cursor,
        });
        let answer = session.client.post(url.clone(), &body).await?;
        let logs: Logs = answer.read()?;
        session.output.result(&answer.text, || logs.lines())?;
        match logs.next_cursor {
            Some(next) => cursor = next,
            None => return Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn phases_follow_one_another() {
        let text = r#"{"assembler":[{"log":"c\n","timestamp":"3"}],"partitioner":[],
            "taskrunner":{"t1":{"chunkNumber":1,"logs":[{"log":"b","timestamp":"2","level":"UNKNOWN"},
                                         {"log":"d","timestamp":"2","level":"INFO"}]}}}"#;

        let logs: Logs = serde_json::from_str(text).unwrap();

        assert_eq!(logs.lines(), ["2  chunk 1  b", "2  chunk 1  INFO d", "3  assembler  c"]);
    }
}
