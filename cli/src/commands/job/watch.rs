//! `fanfold job watch`: a bar for eyes, a line per change for a pipe.

use std::time::Duration;

use common::input::text::shown;
use indicatif::{ProgressBar, ProgressStyle};
use serde::Deserialize;
use serde_json::value::RawValue;
use tokio::time::{Instant, MissedTickBehavior, interval};

use super::{JobAnswer, logs, url};
use crate::client::failure::Failure;
use crate::client::output::{is_watched, note};
use crate::client::session::Session;
use crate::commands::wallet::digits;

const PERIOD: Duration = Duration::from_millis(250);
/// How long a server may be away, say for a restart, before the watch gives up.
const PATIENCE: Duration = Duration::from_secs(60);

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Progress {
    /// Our own word for the job's state.
    status: String,
    /// The part of the run that is under way.
    phase: Option<String>,
    chunks: Option<u64>,
    #[serde(default)]
    chunks_done: u64,
    #[serde(default)]
    nodes_busy: u64,
    spent: Option<Box<RawValue>>,
    /// Why it waits, or has failed.
    error: Option<String>,
}

impl Progress {
    fn is_final(&self) -> bool {
        is_final(&self.status)
    }

    /// What it is doing, in one word.
    fn doing(&self) -> &str {
        let phase = self.phase.as_deref().filter(|_| self.status == "running");
        phase.unwrap_or(&self.status)
    }

    fn chunks(&self) -> String {
        match self.chunks.unwrap_or(0) {
            0 => "- chunks".to_owned(),
            chunks => format!("{}/{chunks} chunks", self.chunks_done),
        }
    }

    fn message(&self) -> String {
        let spent = self.spent.as_deref().map_or("0", digits);
        let counts = format!("{}  {} nodes busy  {spent} credits", self.chunks(), self.nodes_busy);
        match self.error.as_deref().filter(|why| !why.is_empty() && !self.is_final()) {
            Some(why) => format!("{counts}  waits: {why}"),
            None => counts,
        }
    }
}

/// Whether a job in this state has ended.
pub fn is_final(status: &str) -> bool {
    matches!(status, "succeeded" | "failed" | "cancelled")
}

/// Follows a job to its end; a failed job is a failure.
pub async fn run(id: &str, session: &Session) -> Result<(), Failure> {
    let view = View::open();
    let followed = follow(id, session, &view).await;
    view.close();
    followed?;
    let answer = session.client.get(url(session, &[id])).await?;
    let JobAnswer { job } = answer.read()?;
    let price = job.payment_amount.as_deref().map_or("0", digits);
    session.output.result(&answer.text, || {
        let mut lines = vec![format!("job {id}: {}, {price} credits", job.status)];
        lines.extend(job.remarks());
        lines
    })?;
    if job.status != "succeeded" {
        let reason = job.error_message.unwrap_or_else(|| "no reason given".to_owned());
        let reason = match failed_chunk(&reason) {
            Some(chunk) => {
                let last = logs::last_line(id, chunk, session).await;
                let last = last.map(|line| format!("; its last line: {line}")).unwrap_or_default();
                format!("{reason}{last}; see: fanfold job logs {id} --chunk {chunk}")
            }
            None => reason,
        };
        return Err(Failure::JobFailed { job: id.to_owned(), reason });
    }
    Ok(())
}

/// The chunk that a job failed by, as its message names it: `chunk 9 failed: …`.
fn failed_chunk(reason: &str) -> Option<u32> {
    let (chunk, rest) = reason.strip_prefix("chunk ")?.split_once(' ')?;
    rest.starts_with("failed").then(|| chunk.parse().ok())?
}

async fn follow(id: &str, session: &Session, view: &View) -> Result<(), Failure> {
    let mut ticks = interval(PERIOD);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let (mut last, mut heard) = (String::new(), Instant::now());
    loop {
        ticks.tick().await;
        let progress = match progress(id, session).await {
            Err(Failure::Unreachable { .. }) if heard.elapsed() < PATIENCE => {
                view.waiting();
                continue;
            }
            other => other?,
        };
        heard = Instant::now();
        view.show(&progress, &mut last);
        if progress.is_final() {
            return Ok(());
        }
    }
}

async fn progress(id: &str, session: &Session) -> Result<Progress, Failure> {
    session.client.get(url(session, &[id, "progress"])).await?.read()
}

/// How progress is shown, always on stderr.
enum View {
    Bar(ProgressBar),
    Lines,
}

impl View {
    fn open() -> Self {
        if !is_watched() {
            return Self::Lines;
        }
        let style = ProgressStyle::with_template("{prefix:12} {bar:30} {msg}  {elapsed}")
            .expect("the template is well formed");
        let bar = ProgressBar::new(0).with_style(style);
        bar.enable_steady_tick(Duration::from_millis(200));
        Self::Bar(bar)
    }

    fn show(&self, progress: &Progress, last: &mut String) {
        match self {
            Self::Bar(bar) => {
                bar.set_prefix(shown(progress.doing()));
                bar.set_length(progress.chunks.unwrap_or(0));
                bar.set_position(progress.chunks_done);
                bar.set_message(shown(&progress.message()));
            }
            Self::Lines => {
                let line = format!("{:12} {}", progress.doing(), progress.message());
                if line != *last {
                    note(&line);
                    *last = line;
                }
            }
        }
    }

    fn waiting(&self) {
        if let Self::Bar(bar) = self {
            bar.set_prefix("no answer");
        }
    }

    fn close(&self) {
        // The last state stays in sight.
        if let Self::Bar(bar) = self {
            bar.abandon();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn progress_keeps_the_digits_of_amounts() {
        let text = r#"{"status":"running","phase":"process","chunks":40,"chunksDone":12,
            "tasksRunning":2,"nodesBusy":2,"spent":0.10000000,"error":null}"#;

        let progress: Progress = serde_json::from_str(text).unwrap();

        assert_eq!(progress.message(), "12/40 chunks  2 nodes busy  0.10000000 credits");
        assert!(!progress.is_final());
    }

    #[test]
    fn waiting_job_names_its_reason() {
        let text = r#"{"status":"running","phase":"process","chunks":1,"spent":0.0,
            "error":"2 of 2 nodes are too small: too few vCPUs"}"#;

        let progress: Progress = serde_json::from_str(text).unwrap();

        let message = progress.message();
        assert!(message.ends_with("waits: 2 of 2 nodes are too small: too few vCPUs"), "{message}");
    }

    #[test]
    fn failed_chunk_is_the_one_that_the_message_names() {
        assert_eq!(failed_chunk("chunk 9 failed: it ended with exit code 1"), Some(9));
        assert_eq!(failed_chunk("the partitioner failed: chunk 9 failed"), None);
        assert_eq!(failed_chunk("chunk x failed: y"), None);
    }

    #[test]
    fn job_without_chunks_shows_no_chunk_count() {
        let text = r#"{"status":"new","chunks":null,"spent":null}"#;

        let progress: Progress = serde_json::from_str(text).unwrap();

        assert_eq!(progress.message(), "- chunks  0 nodes busy  0 credits");
    }
}
