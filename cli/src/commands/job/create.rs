//! `fanfold job create`: a draft, its upload and, with `--run`, its start.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use common::input::exact::Exact;
use futures::StreamExt;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use reqwest::Method;
use serde_json::json;
use tokio::fs::File;
use tokio_util::io::ReaderStream;

use super::terms::Terms;
use super::{Job, JobAnswer, start, url, watch, words};
use crate::client::failure::Failure;
use crate::client::output::{is_watched, note};
use crate::client::session::Session;
use crate::commands::job::locator::{Destination, Source};
use crate::commands::template;
use crate::file;

const DOCUMENT_BYTES_MAX: u64 = 1 << 20;

#[derive(Debug, clap::Args)]
pub struct Args {
    /// The template's id
    pub template: String,
    #[arg(long)]
    pub name: Option<String>,
    /// file:PATH, url:URL, s3:BUCKET/KEY[?region=R&endpoint=URL&secret=ID] (or gs:, sj:, az:), bypass;
    /// a KEY may be a folder (`in/`) or a pattern (`in/**/*.csv`)
    #[arg(long)]
    pub source: Option<Source>,
    /// bucket, s3:BUCKET/FOLDER[?region=R&endpoint=URL&secret=ID] (or gs:, sj:, az:) or bypass
    #[arg(long)]
    pub destination: Option<Destination>,
    /// JSON such as {"app":{…},"partitioner":{…}}, or @FILE
    #[arg(long, value_name = "JSON", value_parser = json_object)]
    pub params: Option<Exact>,
    /// JSON such as {"taskTimeout":60,"maxTaskRetries":3}, or @FILE
    #[arg(long, value_name = "JSON", value_parser = json_object)]
    pub config: Option<Exact>,
    #[command(flatten)]
    pub terms: Terms,
    /// Start the job
    #[arg(long)]
    pub run: bool,
    /// Start the job and follow it to its end; exit code 1 if it fails
    #[arg(long)]
    pub watch: bool,
}

pub async fn run(args: Args, session: &Session) -> Result<(), Failure> {
    // Opened first: a job whose file cannot be read is not made.
    let upload = match &args.source {
        Some(Source::File(path)) => Some(Upload::open(path.clone()).await?),
        Some(Source::Url(_) | Source::Cloud(_) | Source::Bypass) | None => None,
    };
    let made = session.client.post(url(session, &[]), &draft(&args)).await;
    let answer = match made.map_err(words::own) {
        Err(Failure::Refused { message }) if message.contains("not found") => {
            let hint = template::hint(&args.template, session).await;
            return Err(Failure::Refused { message: format!("{message}{hint}") });
        }
        other => other?,
    };
    let JobAnswer { job } = answer.read()?;
    if let Err(failure) = begin(&args, upload, &job, session).await {
        // What was refused leaves nothing; without an answer it may have begun.
        if !matches!(failure, Failure::Unreachable { .. })
            && let Err(error) = session.client.delete(url(session, &[&job.id])).await
        {
            note(format_args!("the draft {} stays: {error}", job.id));
        }
        return Err(failure);
    }
    if args.watch {
        note(format_args!("job {}", job.id));
        return watch::run(&job.id, session).await;
    }
    session.output.result(&answer.text, || vec![job.id])
}

/// Uploads the job's file and, with `--run` or `--watch`, starts the job.
async fn begin(
    args: &Args,
    upload: Option<Upload>,
    job: &Job,
    session: &Session,
) -> Result<(), Failure> {
    if let Some(upload) = upload {
        upload.send(job, session).await?;
    }
    if args.run || args.watch {
        start(&job.id, session).await?;
    }
    Ok(())
}

/// Uploads the file of a draft.
pub async fn upload(id: &str, path: PathBuf, session: &Session) -> Result<(), Failure> {
    let upload = Upload::open(path).await?;
    let answer = session.client.get(url(session, &[id])).await?;
    let JobAnswer { job } = answer.read()?;
    let source = job.data_source.as_ref().map(|source| source.data_source_descriptor.as_str());
    if source != Some("file") {
        let what = source.unwrap_or("nothing");
        let message = format!("the source of this job is {what} and no file");
        return Err(Failure::Refused { message });
    }
    if job.status != "new" {
        let message = "this job has been started: its file cannot be changed any more".to_owned();
        return Err(Failure::Refused { message });
    }
    upload.send(&job, session).await?;
    session.output.result(&answer.text, || vec![format!("job {id} has its file: run it")])
}

/// The body of the create call; what is not given is left to the template.
fn draft(args: &Args) -> BTreeMap<&'static str, Exact> {
    let parts = [
        ("templateId", Some(args.template.as_str().into())),
        ("name", args.name.as_deref().map(Exact::from)),
        ("dataSource", args.source.as_ref().map(|source| source.json().into())),
        ("dataDestination", args.destination.as_ref().map(|place| place.json().into())),
        ("params", args.params.clone()),
        ("config", args.config.clone()),
    ];
    let parts = parts.into_iter().chain(args.terms.parts());
    parts.filter_map(|(name, part)| Some((name, part?))).collect()
}

/// Reads an argument that is a JSON object, or `@` and the name of a file with one.
pub fn json_object(text: &str) -> Result<Exact, String> {
    let content = match text.strip_prefix('@') {
        Some(path) => file::read_text(Path::new(path), DOCUMENT_BYTES_MAX)
            .map_err(|error| format!("cannot read {path}: {error}"))?,
        None => text.to_owned(),
    };
    let object: Exact =
        serde_json::from_str(&content).map_err(|error| format!("not a JSON object: {error}"))?;
    if !object.text().starts_with('{') {
        return Err("not a JSON object".to_owned());
    }
    Ok(object)
}

/// A file on its way to the server.
struct Upload {
    path: PathBuf,
    file: File,
    size: u64,
}

impl Upload {
    async fn open(path: PathBuf) -> Result<Self, Failure> {
        let unreadable =
            |why: String| Failure::Usage(format!("cannot read {}: {why}", path.display()));
        let file = File::open(&path).await.map_err(|error| unreadable(error.to_string()))?;
        let metadata = file.metadata().await.map_err(|error| unreadable(error.to_string()))?;
        if !metadata.is_file() {
            return Err(unreadable("it is not a plain file".to_owned()));
        }
        Ok(Self { path, file, size: metadata.len() })
    }

    /// Streams the file to the place that the server made for it, then says that it is there.
    async fn send(self, job: &Job, session: &Session) -> Result<(), Failure> {
        let params = job.data_source.as_ref().and_then(|source| source.params.as_ref());
        let link = params.and_then(|params| params.temp_url.as_deref()).unwrap_or_default();
        if link.is_empty() {
            let message = "the server gave no place to upload the file to".to_owned();
            return Err(Failure::Refused { message });
        }
        let bar = bar(self.size);
        let counted = bar.clone();
        // No more than was said: the file may be growing.
        let file = tokio::io::AsyncReadExt::take(self.file, self.size);
        let bytes = ReaderStream::with_capacity(file, 256 << 10).inspect(move |piece| {
            counted.inc(piece.as_ref().map_or(0, |piece| piece.len() as u64));
        });
        let link = session.client.link(link)?;
        let sent = session.client.put_at_link(link, self.size, bytes).await;
        bar.finish_and_clear();
        sent?;
        let done = url(session, &[&job.id, "uploadcompleted"]);
        session.client.send(Method::PATCH, done, &json!({})).await?;
        note(format_args!("uploaded {} ({} bytes)", self.path.display(), self.size));
        Ok(())
    }
}

fn bar(size: u64) -> ProgressBar {
    let target =
        if is_watched() { ProgressDrawTarget::stderr() } else { ProgressDrawTarget::hidden() };
    let style = ProgressStyle::with_template(
        "uploading   {bar:30} {bytes}/{total_bytes}  {bytes_per_sec}  {eta} left",
    )
    .expect("the template is well formed");
    let bar = ProgressBar::with_draw_target(Some(size), target).with_style(style);
    bar.enable_steady_tick(Duration::from_millis(200));
    bar
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn draft_leaves_out_fields_that_were_not_given() {
        let args = Args {
            template: "t".into(),
            name: None,
            source: Some(Source::Bypass),
            destination: None,
            params: Some(json_object(r#"{"app":{"n":12345678901234567890123}}"#).unwrap()),
            config: None,
            terms: Terms::default(),
            run: false,
            watch: false,
        };

        assert_eq!(
            serde_json::to_string(&draft(&args)).unwrap(),
            concat!(
                r#"{"dataSource":{"dataSourceDescriptor":"bypass"},"#,
                r#""params":{"app":{"n":12345678901234567890123}},"templateId":"t"}"#
            )
        );
    }

    #[test]
    fn params_are_objects() {
        for text in ["", "[]", "1", "{", "@/nonexistent"] {
            assert!(json_object(text).is_err(), "{text}");
        }
    }
}
