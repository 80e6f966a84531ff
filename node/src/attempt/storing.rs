//! Storing what a container wrote.

use std::collections::HashSet;
use std::io;
use std::path::Path;

use common::protocol::{Contents, Failure, Level, OUTPUT_BYTES_MAX, Output, RECEIPT_BYTES_MAX};
use common::run::task::Lease;
use futures::{StreamExt as _, TryStreamExt as _, stream};
use tokio_util::sync::CancellationToken;

use super::results::{self, ResultFile, Results};
use super::stopped::{Stopped, failed};
use super::{FILES_AT_ONCE, Tools, turn, until};
use crate::runtime::Launch;
use crate::server_client::{ServerClient, transfer};

/// What a receipt has beside its outputs, with room to spare.
const RECEIPT_OVERHEAD: usize = 1024;

/// Stores what the container wrote, but for what travels with the receipt.
pub(super) async fn store_results<R: ServerClient>(
    launch: &Launch,
    tools: &Tools<R>,
    bytes_max: u64,
    stop: &CancellationToken,
) -> Result<(Vec<Output>, Contents), Stopped> {
    let (lease, at) = (launch.lease, launch.results.clone());
    let collecting = tokio::task::spawn_blocking(move || {
        results::collect(&at.host, Path::new(at.inside.as_str()), bytes_max)
    });
    let collected = collecting.await.map_err(io::Error::other)?;
    let results = collected.map_err(|error| failed(Failure::Results, &error))?;
    if let Some(warning) = results.warning() {
        tools.logs.note(lease, Level::Info, launch.redactor.text(&warning));
    }
    let Results { files, contents, .. } = results;
    fits_a_receipt(&files)?;
    until(stop, store(lease, tools, &files)).await?;
    Ok((files.into_iter().map(output).collect(), contents))
}

/// Stores all results that do not travel with the receipt; those with the same bytes once.
async fn store<R: ServerClient>(
    lease: Lease,
    tools: &Tools<R>,
    files: &[ResultFile],
) -> Result<(), Stopped> {
    if files.iter().all(|file| file.is_small) {
        return Ok(());
    }
    let _turn = turn(&tools.uploads).await?;
    let mut stored = HashSet::new();
    let mut different = files.to_vec();
    different.retain(|file| !file.is_small && stored.insert(file.digest));
    stream::iter(different)
        .map(async |file| {
            transfer::put(&tools.remote, lease, file.size, file.digest, &file.path).await
        })
        .buffer_unordered(FILES_AT_ONCE)
        .try_collect::<()>()
        .await?;
    Ok(())
}

/// A receipt that no message can carry would never leave the node.
fn fits_a_receipt(files: &[ResultFile]) -> Result<(), Stopped> {
    let bytes: usize = files.iter().map(|file| file.name.len() + OUTPUT_BYTES_MAX).sum();
    if bytes + RECEIPT_OVERHEAD <= RECEIPT_BYTES_MAX {
        return Ok(());
    }
    let message = format!(
        "there are {} result files, more than one task can give with names of this length (about \
         {} are): write fewer or larger files",
        files.len(),
        (RECEIPT_BYTES_MAX - RECEIPT_OVERHEAD) * files.len() / bytes
    );
    Err(Stopped::Failed { failure: Failure::Results, message })
}

fn output(file: ResultFile) -> Output {
    Output { name: file.name, size: file.size, digest: file.digest }
}
