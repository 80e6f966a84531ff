//! What an attempt reads: listed first, for its size decides whether it is fetched at all.

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use common::protocol::{BlobRequest, Failure, InputFile, Inputs, NAME_BYTES_MAX};
use common::task::Lease;

use super::stopped::{Stopped, failed};
use super::{Attempt, Tools};
use crate::link;
use crate::remote::Remote;
use crate::transfer::{self, Expected};

/// The most inputs of one attempt.
const INPUTS_MAX: usize = 1_000_000;

/// What is to be fetched, and how much it is.
pub async fn list<R: Remote>(
    attempt: &Attempt,
    tools: &Tools<R>,
) -> Result<Vec<InputFile>, Stopped> {
    match attempt.inputs {
        Inputs::Chunk { bytes, .. } => {
            Ok(vec![InputFile { name: "data.bin".into(), size: bytes, digest: None }])
        }
        Inputs::Files => checked(transfer::inputs(&tools.remote, attempt.lease).await?),
    }
}

pub async fn fetch<R: Remote>(
    remote: &R,
    lease: Lease,
    n: u32,
    file: InputFile,
    folder: &Path,
) -> Result<(), Stopped> {
    let path = folder.join(&file.name);
    if file.size == 0 {
        tokio::fs::File::create_new(&path).await?;
    } else {
        let expected =
            Expected { bytes: Some(file.size), digest: file.digest, bytes_max: file.size };
        let request = |from| BlobRequest::Input { lease, n, from };
        transfer::fetch(remote, request, &path, expected).await.map_err(not_read)?;
    }
    tokio::fs::set_permissions(&path, Permissions::from_mode(0o644)).await?;
    Ok(())
}

/// An input that is refused for good is the customer's: a source that has changed or gone.
fn not_read(error: transfer::Error) -> Stopped {
    match &error {
        transfer::Error::Link(link::Error::Refused { again: false, .. }) => {
            failed(Failure::Input, &error)
        }
        transfer::Error::Link(_)
        | transfer::Error::Spoiled
        | transfer::Error::TooLarge(_)
        | transfer::Error::Disk(_) => error.into(),
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
