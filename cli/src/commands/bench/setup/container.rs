//! A bare container, run through the engine's API with nothing of Fanfold around it.

use std::collections::HashMap;
use std::path::Path;
use std::time::Duration;

use bollard::Docker;
use bollard::errors::Error;
use bollard::models::{ContainerCreateBody, HostConfig};
use bollard::query_parameters::{
    CreateContainerOptions, CreateImageOptionsBuilder, RemoveContainerOptionsBuilder,
    RemoveImageOptions, WaitContainerOptions,
};
use futures::{StreamExt as _, TryStreamExt as _};
use tokio::time::Instant;

use super::tiny;

/// The image with nothing in it, as nodes make it for static executables.
const IMAGE: &str = "fanfold/scratch:1";
/// The image of [`make_image`].
pub const TINY: &str = "fanfold-bench/tiny:1";
const APP: &str = "/opt/fanfold/app";

/// The engine, if one answers.
pub async fn engine() -> Result<Docker, Error> {
    Docker::connect_with_local_defaults()?.negotiate_version().await
}

/// Creates, starts, awaits and removes a container that runs `main` of this folder, locked down
/// as a node does it, and gives the time that this took.
pub async fn cycle(engine: &Docker, app: &Path) -> Result<Duration, Error> {
    let start = Instant::now();
    let created = engine.create_container(None::<CreateContainerOptions>, body(app)).await?;
    let ran = run(engine, &created.id).await;
    let options = RemoveContainerOptionsBuilder::new().force(true).v(true).build();
    engine.remove_container(&created.id, Some(options)).await?;
    ran.map(|()| start.elapsed())
}

/// Makes an image with nothing in it but the smallest program there is and a folder for temporary
/// files.
pub async fn make_image(engine: &Docker) -> Result<(), Error> {
    let mut tar = tar::Builder::new(Vec::new());
    let mut folder = tar::Header::new_gnu();
    folder.set_entry_type(tar::EntryType::Directory);
    folder.set_mode(0o1777);
    folder.set_size(0);
    tar.append_data(&mut folder, "tmp", std::io::empty())?;
    let program = tiny::executable();
    let mut file = tar::Header::new_gnu();
    file.set_mode(0o755);
    file.set_size(program.len() as u64);
    tar.append_data(&mut file, "main", &program[..])?;
    let (repo, tag) = TINY.split_once(':').unwrap_or((TINY, "latest"));
    let options = CreateImageOptionsBuilder::new().from_src("-").repo(repo).tag(tag).build();
    let body = bollard::body_full(tar.into_inner()?.into());
    engine.create_image(Some(options), Some(body), None).try_for_each(|_| async { Ok(()) }).await
}

pub async fn remove_image(engine: &Docker) -> Result<(), Error> {
    engine.remove_image(TINY, None::<RemoveImageOptions>, None).await.map(drop)
}

async fn run(engine: &Docker, id: &str) -> Result<(), Error> {
    engine.start_container(id, None).await?;
    match engine.wait_container(id, None::<WaitContainerOptions>).next().await {
        Some(ended) => ended.map(drop),
        None => Ok(()),
    }
}

fn body(app: &Path) -> ContainerCreateBody {
    let host = HostConfig {
        binds: Some(vec![format!("{}:{APP}:ro", app.display())]),
        tmpfs: Some(HashMap::from([("/tmp".into(), "rw,nosuid,nodev,size=256m".into())])),
        network_mode: Some("none".into()),
        readonly_rootfs: Some(true),
        cap_drop: Some(vec!["ALL".into()]),
        security_opt: Some(vec!["no-new-privileges".into()]),
        memory: Some(1 << 30),
        memory_swap: Some(1 << 30),
        cpu_period: Some(100_000),
        cpu_quota: Some(100_000),
        pids_limit: Some(512),
        ..HostConfig::default()
    };
    ContainerCreateBody {
        image: Some(IMAGE.into()),
        entrypoint: Some(vec![format!("{APP}/main")]),
        user: Some("65534:65534".into()),
        network_disabled: Some(true),
        host_config: Some(host),
        ..ContainerCreateBody::default()
    }
}
