//! What becomes of images: stored ones, ones with volumes, and the owner's own.

use bollard::query_parameters::RemoveImageOptions;

use super::*;
use crate::files::users::{IdRange, Jobs};

#[tokio::test]
async fn stored_image_is_loaded_once_and_adds_no_names() {
    let Some(bench) = Bench::new().await else { return };
    let server = &bench.tools.remote;
    // An image of its own with a volume and a check, saved under the scratch image's name.
    let own = format!("fanfold-test/own:{}", uuid::Uuid::new_v4().simple());
    import(&bench.docker().client, &own, r#""/data", "/tmp""#).await;
    let mut saved = Vec::new();
    let mut archive = Box::pin(bench.docker().client.export_image(&own));
    while let Some(piece) = archive.next().await {
        saved.extend_from_slice(&piece.unwrap());
    }
    forget(&bench.docker().client, &own).await;
    let digest = Digest::of(&saved);
    server.state().image = saved;

    let stored = From::Stored { reference: "mine".into(), digest };
    let (first, second) = tokio::join!(bench.image(&stored), bench.image(&stored));

    let image = first.unwrap();
    assert_eq!(image, second.unwrap());
    assert_eq!(server.state().fetches, 1);
    assert_eq!(image.volumes, ["/data"]);
    assert!(bench.docker().client.inspect_image(&own).await.is_err());
    let script = "echo x > /data/x && b grep ' /data ' /proc/mounts";
    let launch = bench.launch(lease(0), script);
    let ended =
        bench.docker().whole(&launch, &image, &bench.tools.logs, || {}, &bench.stop).await.unwrap();
    let text = bench.text();
    let name = bench.docker().own_name("fanfold/stored", &digest.to_string()[..32]);
    assert!(bench.docker().image_bytes() > 0);
    assert!(!bench.docker().evict_oldest_image().await, "it is held");
    drop(image);
    assert!(bench.docker().evict_oldest_image().await);
    assert!(bench.docker().client.inspect_image(&name).await.is_err());
    assert_eq!(bench.docker().image_bytes(), 0);
    assert_eq!(ended.ending, Ending::Exited(0), "{text}");
    assert!(text.starts_with("tmpfs /data "), "{text}");
}

#[tokio::test]
async fn stored_image_may_be_compressed_and_an_invalid_one_is_the_customers_fault() {
    use std::io::Write as _;
    let Some(bench) = Bench::new().await else { return };
    let own = format!("fanfold-test/own:{}", uuid::Uuid::new_v4().simple());
    import(&bench.docker().client, &own, r#""/data""#).await;
    let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    let mut archive = Box::pin(bench.docker().client.export_image(&own));
    while let Some(piece) = archive.next().await {
        packed.write_all(&piece.unwrap()).unwrap();
    }
    forget(&bench.docker().client, &own).await;
    let packed = packed.finish().unwrap();
    let stored = |bytes: &[u8]| {
        bench.tools.remote.state().image = bytes.to_vec();
        From::Stored { reference: "mine".into(), digest: Digest::of(bytes) }
    };

    let whole = bench.image(&stored(&packed)).await;
    let cut = bench.image(&stored(&packed[..packed.len() * 2 / 3])).await;
    let text = bench.image(&stored(b"a text")).await;

    drop(whole.unwrap());
    assert!(bench.docker().evict_oldest_image().await);
    for refused in [cut, text] {
        assert!(matches!(refused, Err(Error::Unusable(_))), "{refused:?}");
    }
}

#[tokio::test]
async fn volume_over_a_mount_is_refused_before_a_container_is_made() {
    let Some(bench) = Bench::new().await else { return };
    for volumes in [r#""/test/package""#, r#""/test/package/x""#, r#""/proc""#, r#""/dev""#] {
        let own = format!("fanfold-test/odd:{}", uuid::Uuid::new_v4().simple());
        import(&bench.docker().client, &own, volumes).await;

        let result = bench.image(&From::Local { name: own.clone() }).await;

        forget(&bench.docker().client, &own).await;
        assert!(matches!(result, Err(Error::Unusable(_))), "{volumes}: {result:?}");
    }
}

#[tokio::test]
async fn image_error_found_only_by_the_engine_is_the_customers_fault() {
    let Some(bench) = Bench::new().await else { return };
    let launch = bench.launch(lease(0), "");
    let mut image = bench.image(&From::Binary).await.unwrap();
    // As if the check before had let it through.
    image.volumes = vec!["/proc".to_owned()];

    let result = bench.docker().whole(&launch, &image, &bench.tools.logs, || {}, &bench.stop).await;

    assert!(matches!(result, Err(Error::Unusable(_))), "{result:?}");
    let missing = Launch { entry: Entry::Commands(vec![vec!["no-such-program".into()]]), ..launch };
    image.volumes.clear();
    let result =
        bench.docker().whole(&missing, &image, &bench.tools.logs, || {}, &bench.stop).await;
    let Err(Error::Unusable(message)) = result else { panic!("{result:?}") };
    assert!(message.contains("no program \"no-such-program\""), "{message}");
}

#[tokio::test]
async fn image_of_the_machines_owner_is_used_only_if_shared() {
    let Some(bench) = Bench::new().await else { return };
    let own = format!("fanfold-test/own:{}", uuid::Uuid::new_v4().simple());
    import(&bench.docker().client, &own, r#""/data""#).await;
    let images = Images::new(crate::net::ssrf_guard::SsrfGuard::new(true), false, u64::MAX);
    let data_dir = crate::files::data_dir::DataDir::open(&bench.dir.path().join("closed")).unwrap();
    let users = Users::new(&data_dir, IdRange::default(), Jobs::OfOne).unwrap();
    let closed =
        Docker::connect(data_dir.label(), users, images, Allowed::default()).await.unwrap();

    let lent = bench.image(&From::Local { name: own.clone() }).await;
    let refused = closed.local(&own).await;

    forget(&bench.docker().client, &own).await;
    lent.unwrap();
    let Err(Error::Unusable(message)) = refused else { panic!("{refused:?}") };
    assert!(message.contains("fanfold image push"), "{message}");
}

pub async fn forget(client: &Client, name: &str) {
    client.remove_image(name, None::<RemoveImageOptions>, None).await.unwrap();
}

async fn import(client: &Client, name: &str, volumes: &str) {
    import_with(client, name, &format!("VOLUME [{volumes}]")).await;
}

pub async fn import_with(client: &Client, name: &str, change: &str) {
    let (repo, tag) = name.rsplit_once(':').unwrap();
    let options = bollard::query_parameters::CreateImageOptionsBuilder::new()
        .from_src("-")
        .repo(repo)
        .tag(tag)
        .changes(vec![change.to_owned()])
        .build();
    // Not empty, so that the image is not the scratch image under another name.
    let mut tar = tar::Builder::new(Vec::new());
    let mut header = tar::Header::new_gnu();
    header.set_size(name.len() as u64);
    tar.append_data(&mut header, "name", name.as_bytes()).unwrap();
    let body = bollard::body_full(tar.into_inner().unwrap().into());
    let steps: Vec<_> = client.create_image(Some(options), Some(body), None).collect().await;
    steps.into_iter().for_each(|step| drop(step.unwrap()));
}
