//! What an attempt reads: listed first, for its size decides whether it is fetched at all.

use std::fs::Permissions;
use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::sync::atomic::{AtomicU32, Ordering};

use common::protocol::{BlobRequest, Failure, InputFile, Inputs, Level, NAME_BYTES_MAX};

use super::stopped::{Stopped, failed, short};
use super::{Attempt, Tools};
use crate::link;
use crate::server_client::ServerClient;
use crate::server_client::transfer::{self, Expected};

/// Of this many tries that fail the first is logged.
const TRIES_TOLD: u32 = 4;
/// The most inputs of one attempt.
const INPUTS_MAX: usize = 1_000_000;

/// What is to be fetched, and how much it is.
pub async fn list<R: ServerClient>(
    attempt: &Attempt,
    tools: &Tools<R>,
) -> Result<Vec<InputFile>, Stopped> {
    match attempt.inputs {
        Inputs::File { ref name, bytes, .. } => {
            checked(vec![InputFile { name: name.clone(), size: bytes, digest: None }])
        }
        Inputs::None => Ok(Vec::new()),
        Inputs::Files => checked(transfer::inputs(&tools.remote, attempt.lease).await?),
    }
}

/// Writes an input into a folder: what came with the assignment, or what is fetched. Why it does not
/// come stands in the task's log.
pub async fn place<R: ServerClient>(
    attempt: &Attempt,
    tools: &Tools<R>,
    n: u32,
    file: InputFile,
    (folder, spare): (&Path, &Path),
) -> Result<(), Stopped> {
    let (lease, path) = (attempt.lease, folder.join(&file.name));
    if let Some(content) = content(&attempt.inputs, file.size) {
        take_spare(spare, &path)?;
        tokio::fs::write(&path, content).await?;
        tools.metrics.fetched_with_assignments(file.size);
    } else if file.size == 0 {
        if !take_spare(spare, &path)? {
            tokio::fs::File::create_new(&path).await?;
        }
    } else {
        let expected =
            Expected { bytes: Some(file.size), digest: file.digest, bytes_max: file.size };
        let request = |from| BlobRequest::Input { lease, n, from };
        let told = AtomicU32::new(0);
        let trouble = |why: String| {
            // Tries come further and further apart, and so do the lines.
            if told.fetch_add(1, Ordering::Relaxed).is_multiple_of(TRIES_TOLD) {
                let text = format!("input {:?} not received yet: {why}", file.name);
                tools.logs.note(lease, Level::Error, short(text));
            }
        };
        let (remote, turns) = (&tools.remote, &tools.downloads);
        transfer::fetch_in_turn(remote, request, &path, expected, turns, &trouble)
            .await
            .map_err(not_read)?;
    }
    tokio::fs::set_permissions(&path, Permissions::from_mode(0o644)).await?;
    Ok(())
}

/// Takes the empty file that is kept. False where no such file is kept.
fn take_spare(spare: &Path, to: &Path) -> io::Result<bool> {
    match std::fs::rename(spare, to) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}

/// The bytes of the one input, where it came with the assignment and is as long as it should be.
fn content(inputs: &Inputs, size: u64) -> Option<&[u8]> {
    match inputs {
        Inputs::File { content, .. } => {
            content.as_deref().filter(|content| content.len() as u64 == size)
        }
        Inputs::Files | Inputs::None => None,
    }
}

/// An input that is refused for good is the customer's: a source that has changed or gone, or that
/// may not be read. One whose store fails, or is too slow, may come at another time.
fn not_read(error: transfer::Error) -> Stopped {
    use transfer::Error as E;
    match &error {
        E::Link(link::Error::Source(message)) => {
            Stopped::Failed { failure: Failure::Source, message: message.clone() }
        }
        E::Link(link::Error::Refused { again: false, .. }) => failed(Failure::Input, &error),
        E::Link(link::Error::Bucket(bucket)) if bucket.object.is_some() => {
            let failure = if bucket.is_final() { Failure::Input } else { Failure::Source };
            Stopped::Failed { failure, message: bucket.to_string() }
        }
        E::Slow | E::Link(link::Error::Io(_)) => failed(Failure::Source, &error),
        E::Link(_) | E::Spoiled | E::TooLarge(_) | E::Disk(_) => error.into(),
    }
}

/// Refuses names that lead out of the inputs' folder, and more than one file of a name.
fn checked(files: Vec<InputFile>) -> Result<Vec<InputFile>, Stopped> {
    let flat = |name: &str| {
        !name.is_empty()
            && name != "."
            && name != ".."
            && name.len() <= NAME_BYTES_MAX
            && !name.contains(['/', '\\', '\0'])
    };
    let mut names = std::collections::HashSet::new();
    let fine = files.len() <= INPUTS_MAX
        && files.iter().all(|file| flat(&file.name) && names.insert(file.name.as_str()));
    if fine {
        Ok(files)
    } else {
        Err(Stopped::NodeFault("the list of inputs has names that no file can have".into()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::link::BucketError;
    use crate::net::ssrf_guard::Refused;

    #[test]
    fn input_that_came_along_is_taken_only_where_it_is_as_long_as_it_should_be() {
        let file = |content: Option<&[u8]>| Inputs::File {
            name: "part".to_owned(),
            bytes: 3,
            content: content.map(<[u8]>::to_vec),
        };

        assert_eq!(content(&file(Some(b"abc")), 3), Some(&b"abc"[..]));
        assert_eq!(content(&file(Some(b"abcd")), 3), None);
        assert_eq!(content(&file(Some(b"")), 3), None);
        assert_eq!(content(&file(None), 3), None);
    }

    #[test]
    fn missing_input_is_blamed_on_its_source() {
        let named = |mut error: BucketError| {
            error.object = Some("in/a".to_owned());
            error
        };
        let bucket = |error| link::Error::Bucket(error);
        let refused = |again| link::Error::Refused { message: "no".to_owned(), again };
        for (error, expected) in [
            (bucket(named(BucketError::forbidden())), Some(Failure::Input)),
            (bucket(named(BucketError::silent(None, None))), Some(Failure::Source)),
            (bucket(named(BucketError::barred(None, Refused::Private))), Some(Failure::Source)),
            // Of the server's own bucket nothing is the customer's fault.
            (bucket(BucketError::forbidden()), Some(Failure::Platform)),
            (refused(false), Some(Failure::Input)),
            (refused(true), Some(Failure::Platform)),
            (link::Error::Source("no".to_owned()), Some(Failure::Source)),
            (link::Error::BucketAway, Some(Failure::Platform)),
            (link::Error::Disconnected, None),
        ] {
            let failure = match not_read(transfer::Error::Link(error)) {
                Stopped::Failed { failure, message } => {
                    assert!(!message.contains("in/a") || message.starts_with("the object"));
                    Some(failure)
                }
                Stopped::NodeFault(_) | Stopped::Cancelled | Stopped::Outdated => None,
            };
            assert_eq!(failure, expected);
        }
        let outdated = not_read(transfer::Error::Link(link::Error::Outdated));
        assert!(matches!(outdated, Stopped::Outdated), "{outdated:?}");
    }
}
