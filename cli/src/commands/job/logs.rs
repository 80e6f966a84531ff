//! `fanfold job logs`: what the job's containers wrote, phase by phase and page by page; with
//! `--json` an object for each page.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use serde::Deserialize;
use serde_json::json;

use super::{JobAnswer, url};
use crate::client::failure::Failure;
use crate::client::output::{Output, line, note};
use crate::client::session::Session;

/// How long `--follow` waits before it looks again.
const PERIOD: Duration = Duration::from_secs(2);

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

/// Which lines are shown.
#[derive(Debug, clap::Args)]
pub struct Args {
    id: String,
    /// Only lines of this chunk
    #[arg(long, value_name = "NUMBER")]
    chunk: Option<u32>,
    /// Follow new lines until the job has ended
    #[arg(long, short)]
    follow: bool,
}

pub async fn run(args: &Args, session: &Session) -> Result<(), Failure> {
    if args.follow {
        return follow(args, session).await;
    }
    let (mut cursor, mut any) = (String::new(), false);
    loop {
        let (text, logs) = page(&args.id, args.chunk, &cursor, session).await?;
        let lines = logs.lines();
        any |= !lines.is_empty();
        session.output.result(&text, || lines)?;
        match logs.next_cursor {
            Some(next) => cursor = next,
            None => break,
        }
    }
    if !any {
        match args.chunk {
            Some(chunk) => note(format_args!("chunk {chunk} has written nothing, if it has begun")),
            None => note("nothing has been written yet: fanfold job explain JOB says why"),
        }
    }
    Ok(())
}

/// Shows lines as they come. Pages are ordered by chunk and not by time, so all are looked through
/// each time for what is new.
async fn follow(args: &Args, session: &Session) -> Result<(), Failure> {
    if session.output == Output::Json {
        return Err(Failure::Usage("--follow prints lines: leave --json out".to_owned()));
    }
    let mut shown = HashMap::new();
    loop {
        // Looked at first: what was written until then is read after it.
        let job: JobAnswer = session.client.get(url(session, &[&args.id])).await?.read()?;
        let (mut cursor, mut found) = (String::new(), HashMap::new());
        loop {
            let (_, logs) = page(&args.id, args.chunk, &cursor, session).await?;
            fresh(logs.lines(), &mut found, &shown).iter().try_for_each(line)?;
            match logs.next_cursor {
                Some(next) => cursor = next,
                None => break,
            }
        }
        shown = found;
        if job.job.is_final() {
            return Ok(());
        }
        tokio::time::sleep(PERIOD).await;
    }
}

/// The lines that have not been shown yet. A line that was written twice is found twice.
fn fresh(
    lines: Vec<String>,
    found: &mut HashMap<String, usize>,
    shown: &HashMap<String, usize>,
) -> Vec<String> {
    let mut is_fresh = |line: &String| {
        let times = found.entry(line.clone()).or_default();
        *times += 1;
        *times > shown.get(line).copied().unwrap_or(0)
    };
    lines.into_iter().filter(|line| is_fresh(line)).collect()
}

async fn page(
    id: &str,
    chunk: Option<u32>,
    cursor: &str,
    session: &Session,
) -> Result<(String, Logs), Failure> {
    let url = session.client.url("/v1/customer/logs", &[]);
    let chunks: Vec<String> = chunk.iter().map(ToString::to_string).collect();
    let services: &[&str] = if chunk.is_some() { &["TASKRUNNER"] } else { &[] };
    let body = json!({
        "jobId": id, "taskIds": chunks, "levels": [], "services": services, "cursor": cursor,
    });
    let answer = session.client.post(url, &body).await?;
    let logs = answer.read()?;
    Ok((answer.text, logs))
}

/// The last line that a chunk's container wrote, where it wrote any.
pub async fn last_line(id: &str, chunk: u32, session: &Session) -> Option<String> {
    let (mut cursor, mut last) = (String::new(), None);
    loop {
        let (_, logs) = page(id, Some(chunk), &cursor, session).await.ok()?;
        let lines = logs.taskrunner.iter().flatten().flat_map(|(_, task)| &task.logs);
        // The node's own lines have levels.
        let mut written =
            lines.filter(|line| line.level().is_empty() && !line.log.trim().is_empty());
        last = written.next_back().map(|line| line.log.trim().to_owned()).or(last);
        match logs.next_cursor {
            Some(next) => cursor = next,
            None => return last,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn log_phases_follow_one_another() {
        let text = r#"{"assembler":[{"log":"c\n","timestamp":"3"}],"partitioner":[],
            "taskrunner":{"t1":{"chunkNumber":1,"logs":[{"log":"b","timestamp":"2","level":"UNKNOWN"},
                                         {"log":"d","timestamp":"2","level":"INFO"}]}}}"#;

        let logs: Logs = serde_json::from_str(text).unwrap();

        assert_eq!(logs.lines(), ["2  chunk 1  b", "2  chunk 1  INFO d", "3  assembler  c"]);
    }

    #[test]
    fn followed_logs_show_each_line_once() {
        let lines = |text: &str| text.split(' ').map(str::to_owned).collect::<Vec<_>>();
        let mut first = HashMap::new();
        assert_eq!(fresh(lines("a b b"), &mut first, &HashMap::new()), ["a", "b", "b"]);

        let new = fresh(lines("a c b b b"), &mut HashMap::new(), &first);

        assert_eq!(new, ["c", "b"]);
    }
}
