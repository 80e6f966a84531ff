use std::fs;
use std::path::Path;

use common::data::location::{Location as _, Provider};
use common::ids::JobId;
use common::net::origin::Origin;
use common::secret::{DataEnd, Purpose};

use super::*;
use crate::api::bytenite::descriptor;

#[path = "../../../../../fuzz/descriptors.rs"]
mod input;

fn source(value: Value) -> Result<Checked<DraftSource>, Invalid> {
    read_source(Loose::new("dataSource", value)?)
}

fn refused(value: Value) -> String {
    source(value).err().expect("must be refused").field
}

#[test]
fn s3_source_is_read_in_both_spellings_and_both_names() {
    let camel = json!({"dataSourceDescriptor": "aws", "params": {
        "@type": "type.googleapis.com/bytenite.data_source.S3DataSource",
        "name": "in/data.csv", "bucketName": "b", "cloudRegion": "us-east-2",
        "secret_id": "s"}});
    let snake = json!({"data_source_descriptor": "S3", "params": {
        "name": "in/data.csv", "bucket_name": "b", "cloud_region": "us-east-2",
        "secretId": "s"}});

    let place = source(camel).ok().unwrap().location;

    assert_eq!(place.secret().map(SecretId::as_str), Some("s"));
    assert!(source(snake).ok().unwrap().location == place);
}

#[test]
fn descriptor_that_is_shown_reads_back_as_the_same_location() {
    for params in [
        json!({"dataSourceDescriptor": "s3", "params": {"name": "n", "bucketName": "b",
               "endpointUrl": "http://127.0.0.1:9000/"}}),
        json!({"dataSourceDescriptor": "gcp", "params": {"names": ["a/", "b/*.csv", "c"],
               "bucketName": "b", "cloudRegion": "us-west2-b", "secret_id": "g"}}),
        json!({"dataSourceDescriptor": "storj", "params": {"name": "a", "names": ["a", "b"],
               "bucketName": "b"}}),
        json!({"dataSourceDescriptor": "azure", "params": {"name": "n", "containerName": "$web",
               "secret_id": "s"}}),
        json!({"dataSourceDescriptor": "azure", "params": {"name": "n", "bucketName": "c",
               "accountName": "store7", "endpoint": "http://127.0.0.1:10000/store7"}}),
        json!({"dataSourceDescriptor": "url", "params": {"url": "https://h/x", "username": "u",
               "secret_id": "s"}}),
        json!({"dataSourceDescriptor": "file", "params": {"name": "a.csv", "tempUrl": "x"}}),
        json!({"dataSourceDescriptor": "bypass"}),
    ] {
        let place = source(params).ok().unwrap().location;

        let again = source(source_out(&place)).ok().unwrap();

        assert_eq!(again.location, place);
    }
}

#[test]
fn inline_keys_are_never_stored_in_a_job_or_shown() {
    let checked = source(json!({"dataSourceDescriptor": "ftp", "params": {}}));
    assert!(checked.is_err());

    let checked = source(json!({"dataSourceDescriptor": "s3", "params": {"name": "n",
        "bucketName": "b", "accessKey": "AK", "secretKey": "TOPSECRET"}}))
    .ok()
    .unwrap();

    let own = SecretId::of_job(JobId::new(uuid::Uuid::from_u128(7)), DataEnd::Source);
    let place = checked.location.with_secret(Some(own.clone()));
    let shown = source_out(&place);
    assert!(checked.inline.is_some_and(|inline| inline.secret_key == "TOPSECRET"));
    let kept = serde_json::to_string(&place).unwrap();
    assert!(!kept.contains("TOPSECRET") && !shown.to_string().contains("TOPSECRET"));
    assert_eq!(shown["params"].get("secret_id"), None, "{shown}");
    assert_eq!(serde_json::from_str::<DraftSource>(&kept).unwrap(), place);
}

#[test]
fn derived_id_is_refused_wherever_it_is_written() {
    let own = SecretId::of_job(JobId::new(uuid::Uuid::from_u128(7)), DataEnd::Source);
    for id in [own.as_str(), "image/app/priv@1.0", "a/b", "../a", "a b"] {
        for place in [
            json!({"dataSourceDescriptor": "url",
                   "params": {"url": "https://h/x", "secret_id": id}}),
            json!({"dataSourceDescriptor": "aws",
                   "params": {"name": "n", "bucketName": "b", "Secret-ID": id}}),
        ] {
            assert_eq!(refused(place), "dataSource.params.secret_id", "{id}");
        }
    }
    let own = json!({"dataSourceDescriptor": "url",
                     "params": {"url": "https://h/x", "own_secret": "x"}});
    assert_eq!(refused(own), "dataSource.params.own_secret");
    let own = json!({"dataSourceDescriptor": "url", "own_secret": "x",
                     "params": {"url": "https://h/x"}});
    assert_eq!(refused(own), "dataSource.own_secret");
}

#[test]
fn descriptor_keys_are_for_its_place_only() {
    let purpose = |value: Value| source(value).ok().unwrap().location.purpose();
    let url = json!({"dataSourceDescriptor": "url", "params": {"url": "https://H:8443/a",
                     "username": "u", "password": "p"}});
    let azure = json!({"dataSourceDescriptor": "azure", "params": {"name": "n",
        "containerName": "ccc", "accessKey": "acc", "secretKey": "k", "endpoint": "http://h/acc"}});
    let aws = json!({"dataSourceDescriptor": "aws", "params": {"name": "n", "bucketName": "b",
                     "accessKey": "a", "secretKey": "k"}});

    assert_eq!(
        purpose(url),
        Some(Purpose::Url { origin: Origin::parse("https://h:8443").unwrap() })
    );
    let endpoint = Some(Origin::parse("http://h").unwrap());
    assert_eq!(purpose(azure), Some(Purpose::Azure { endpoint }));
    assert_eq!(purpose(aws), Some(Purpose::Aws));
}

#[test]
fn descriptor_error_names_the_field() {
    let s3 = |params: Value| refused(json!({"dataSourceDescriptor": "aws", "params": params}));
    let url = |url: &str| refused(json!({"dataSourceDescriptor": "url", "params": {"url": url}}));

    assert_eq!(refused(json!({"params": {}})), "dataSource.dataSourceDescriptor");
    assert_eq!(
        refused(json!({"dataSourceDescriptor": "bucket"})),
        "dataSource.dataSourceDescriptor"
    );
    assert_eq!(s3(json!({"name": "n"})), "dataSource.params.bucketName");
    assert_eq!(s3(json!({"bucketName": "b"})), "dataSource.params.name");
    assert_eq!(s3(json!({"bucketName": "b/c", "name": "n"})), "dataSource.params.bucketName");
    assert_eq!(s3(json!({"bucketName": "b", "name": "a/../b"})), "dataSource.params.name");
    assert_eq!(
        s3(json!({"bucketName": "b", "name": "n", "secretKey": "s"})),
        "dataSource.params.accessKey"
    );
    assert_eq!(
        s3(json!({"bucketName": "b", "name": "n", "endpont": "http://x"})),
        "dataSource.params.endpont"
    );
    for bad in ["ftp://h/x", "file:///etc/passwd", "http://", "http://u:p@h/", "h/x"] {
        assert_eq!(url(bad), "dataSource.params.url", "{bad}");
    }
}

#[test]
fn descriptor_keeps_its_given_name() {
    for (given, kept, kind) in [
        ("S3", "aws", "S3DataSource"),
        ("aws", "aws", "S3DataSource"),
        ("gcp", "gcp", "S3DataSource"),
        ("Storj", "storj", "S3DataSource"),
        ("azure", "azure", "AzureDataSource"),
    ] {
        let place = source(json!({"dataSourceDescriptor": given, "params": {
            "@type": "type.googleapis.com/bytenite.data_source.StorjDataSource",
            "name": "n", "bucketName": "bbb", "secret_id": "s"}}));

        let shown = source_out(&place.ok().unwrap().location);

        assert_eq!(shown["dataSourceDescriptor"], kept);
        assert_eq!(shown["params"]["@type"], format!("{TYPE_PREFIX}{kind}"));
    }
}

#[test]
fn descriptor_of_2023_is_read() {
    let checked = source(json!({"dataSourceDescriptor": "storj", "params": {
        "@type": "type.googleapis.com/bytenite.data_source.StorjDataSource", "name": "/in/x.mp4",
        "bucketName": "demo", "cloudRegion": "us1", "accessKey": "AK", "secretKey": "SK"}}))
    .ok()
    .unwrap();

    let inline = checked.inline.unwrap();
    assert_eq!((inline.access_key.as_str(), inline.secret_key.as_str()), ("AK", "SK"));
    let Source::Cloud { bucket, paths } = checked.location else { panic!("not a bucket") };
    assert_eq!(bucket.provider, Provider::Storj { region: "us1".to_owned() });
    assert_eq!(paths, ["/in/x.mp4"]);
}

#[test]
fn azure_account_comes_from_its_field_or_its_key() {
    let azure = |params: Value| source(json!({"dataSourceDescriptor": "azure", "params": params}));
    let inline = |params: Value| azure(params).ok().unwrap().inline.unwrap().access_key;

    let named = json!({"name": "n", "containerName": "ccc", "accountName": "acc1",
                       "secretKey": "k"});
    let keyed = json!({"name": "n", "containerName": "ccc", "accessKey": "acc2",
                       "secretKey": "k"});

    assert_eq!((inline(named).as_str(), inline(keyed).as_str()), ("acc1", "acc2"));
    let nobodys = azure(json!({"name": "n", "containerName": "ccc"}));
    assert_eq!(nobodys.err().unwrap().field, "dataSource.params.accountName");
    let evil = json!({"name": "n", "containerName": "ccc", "accountName": "x.evil.com/"});
    assert_eq!(azure(evil).err().unwrap().field, "dataSource.params.accountName");
    let other = json!({"name": "n", "containerName": "ccc", "accountName": "acc1",
                       "accessKey": "acc2", "secretKey": "k"});
    assert_eq!(azure(other).err().unwrap().field, "dataSource.params.accessKey");
}

#[test]
fn descriptor_names_that_cannot_be_read_are_named() {
    let aws = |params: Value| {
        let mut with_bucket = json!({"bucketName": "bbb"});
        with_bucket.as_object_mut().unwrap().extend(params.as_object().unwrap().clone());
        refused(json!({"dataSourceDescriptor": "aws", "params": with_bucket}))
    };

    assert_eq!(aws(json!({"name": "in/[a"})), "dataSource.params.name");
    assert_eq!(aws(json!({"names": ["a", "in/[z-a]"]})), "dataSource.params.names[1]");
    assert_eq!(aws(json!({"names": ["a", ""]})), "dataSource.params.names[1]");
    assert_eq!(aws(json!({"names": ["a", "b/../c"]})), "dataSource.params.names[1]");
    assert_eq!(aws(json!({"names": ["a\nb"]})), "dataSource.params.names[0]");
    assert_eq!(aws(json!({"names": vec!["a/"; 33]})), "dataSource.params.names");
    assert_eq!(aws(json!({"names": vec!["a"; 1001]})), "dataSource.params.names");
    let destination = json!({"dataSourceDescriptor": "aws", "params": {"names": ["a"],
                             "bucketName": "bbb"}});
    let fields = Loose::new("dataDestination", destination).unwrap();
    assert!(read_destination(fields).is_err());
}

#[test]
fn corpus_of_the_fuzz_target_passes() {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz/corpus/descriptors");
    let files: Vec<_> = fs::read_dir(corpus).unwrap().collect();

    assert!(!files.is_empty(), "there is no corpus");
    for file in files {
        let path = file.unwrap().path();
        let bytes = fs::read(&path).unwrap();

        let outcome = std::panic::catch_unwind(|| input::descriptors(&bytes));

        assert!(outcome.is_ok(), "{}", path.display());
    }
}
