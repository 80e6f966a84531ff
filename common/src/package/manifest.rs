//! `manifest.json`: what a package is and what it needs.

use serde::{Deserialize, Serialize};

use super::loose::{Invalid, Loose};
use super::tag::{self, Version};
use crate::compute::container::{Isolation, RelativePath};
use crate::compute::resources::Resources;
use crate::input::text::is_plain;
use crate::secret::{self, Hidden};

const DESCRIPTION_CHARS_MAX: usize = 4000;
const REFERENCE_CHARS_MAX: usize = 512;
const LOGIN_CHARS_MAX: usize = 16 * 1024;
const LIST_MAX: usize = 64;
const CPUS_MAX: u64 = 1024;
const MEMORY_GIB_MAX: u64 = 4096;
/// The most disk that a package may ask for: more results than this no server takes of one task.
const DISK_GIB_MAX: u64 = 16;
/// The disk of a task whose package does not ask for any.
const DISK_GIB_DEFAULT: u64 = 2;

/// A manifest that has been checked.
///
/// ```
/// use common::package::loose::Invalid;
/// use common::package::manifest::{Kind, Manifest};
///
/// let json = br#"{
///     "name": "shout", "version": "0.1", "platform": "docker", "entrypoint": "main.py",
///     "platform_config": {"container": "python:3"},
///     "device_requirements": {"min_cpu": 2, "min_memory": 4}
/// }"#;
/// let (manifest, _) = Manifest::parse(json)?;
///
/// assert_eq!(manifest.kind, Kind::App);
/// assert_eq!((manifest.needs.cpu_millis, manifest.needs.memory_mib), (2_000, 4_096));
/// let refused = Manifest::parse(br#"{"name": "shout"}"#).unwrap_err();
/// assert_eq!(refused.to_string(), "manifest.json.version: is missing");
/// # Ok::<(), Invalid>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    pub name: String,
    pub version: Version,
    pub kind: Kind,
    pub description: String,
    pub platform: Platform,
    /// A path below the package's `app` folder.
    pub entrypoint: RelativePath,
    pub needs: Resources,
    /// Names of the GPUs that will do; empty where none is needed.
    pub gpus: Vec<String>,
    /// The ids of the secrets to be injected.
    pub secrets: Vec<String>,
    #[serde(default, skip_serializing_if = "Isolation::is_default")]
    pub isolation: Isolation,
}

/// What a package does in a template.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    App,
    Partitioner,
    Assembler,
}

impl Kind {
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::App => "app",
            Self::Partitioner => "partitioner",
            Self::Assembler => "assembler",
        }
    }

    pub fn from_name(name: &str) -> Option<Self> {
        [Self::App, Self::Partitioner, Self::Assembler].into_iter().find(|k| k.as_str() == name)
    }
}

/// What the package runs on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Platform {
    /// In a container of this image.
    Docker { container: String, private: bool },
    /// The entrypoint is a static executable that needs no image.
    Binary,
}

/// What opens a private image at its registry. It comes inside a manifest, and must be taken out
/// before anybody else sees the package.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Login {
    pub username: String,
    pub token: Hidden,
}

impl Manifest {
    /// Reads a manifest, and what it says beside: the login for its image.
    pub fn parse(json: &[u8]) -> Result<(Self, Option<Login>), Invalid> {
        let mut fields = Loose::parse("manifest.json", json)?;
        let name = fields.required_text("name")?;
        if !tag::is_name(&name) {
            let problem = "must be letters, digits, - and _, at most 64 characters";
            return Err(Invalid::new(fields.name("name"), problem));
        }
        let version = fields
            .required_text("version")?
            .parse()
            .map_err(|e: tag::NotAVersion| Invalid::new("manifest.json.version", e.to_string()))?;
        let kind = kind(&mut fields)?;
        let Parts { platform, secrets, login } = platform(&mut fields)?;
        let (needs, gpus) = needs(&mut fields)?;
        let description = fields.text("description")?.unwrap_or_default();
        if description.chars().count() > DESCRIPTION_CHARS_MAX {
            let problem = format!("must have at most {DESCRIPTION_CHARS_MAX} characters");
            return Err(Invalid::new(fields.name("description"), problem));
        }
        let entrypoint = fields.text("entrypoint")?.unwrap_or_else(|| "main.py".to_owned());
        let isolation = isolation(&mut fields)?;
        let entrypoint = checked_entrypoint(&fields.name("entrypoint"), entrypoint)?;
        // Published manifests have it, and it never did anything.
        fields.ignore("requirements");
        fields.finish_leniently()?;
        let manifest = Self {
            name,
            version,
            kind,
            description,
            platform,
            entrypoint,
            needs,
            gpus,
            secrets,
            isolation,
        };
        Ok((manifest, login))
    }
}

fn kind(fields: &mut Loose) -> Result<Kind, Invalid> {
    let field = fields.name("type");
    let Some(name) = fields.text("type")? else { return Ok(Kind::App) };
    Kind::from_name(&name.to_lowercase())
        .ok_or_else(|| Invalid::new(field, "must be app, partitioner or assembler"))
}

fn isolation(fields: &mut Loose) -> Result<Isolation, Invalid> {
    let field = fields.name("isolation");
    let Some(name) = fields.text("isolation")? else { return Ok(Isolation::default()) };
    Isolation::from_name(&name.to_lowercase())
        .ok_or_else(|| Invalid::new(field, "must be warm or fresh"))
}

/// What the platform's settings say.
struct Parts {
    platform: Platform,
    secrets: Vec<String>,
    login: Option<Login>,
}

fn platform(fields: &mut Loose) -> Result<Parts, Invalid> {
    let name = fields.text("platform")?.map(|name| name.to_lowercase());
    let mut config = match fields.object("platform_config")? {
        Some(config) => config,
        None => Loose::new(fields.name("platform_config"), serde_json::json!({}))?,
    };
    let secrets = secrets(&mut config)?;
    let container = config.line("container", REFERENCE_CHARS_MAX)?;
    let private = config.flag("private_image")?.unwrap_or(false);
    let login = login(&mut config)?;
    let (field, platform_field) = (config.name("container"), fields.name("platform"));
    config.finish_leniently()?;
    let platform = match name.as_deref() {
        Some("docker") | None => {
            let container = container.ok_or_else(|| Invalid::new(&field, "is missing"))?;
            if container.contains(char::is_whitespace) {
                return Err(Invalid::new(field, "must not contain spaces"));
            }
            Platform::Docker { container, private: private || login.is_some() }
        }
        Some("binary") => match container {
            None => Platform::Binary,
            Some(_) => {
                let problem = "must be left out where platform is binary";
                return Err(Invalid::new(field, problem));
            }
        },
        Some(_) => return Err(Invalid::new(platform_field, "must be docker or binary")),
    };
    Ok(Parts { platform, secrets, login })
}

fn login(config: &mut Loose) -> Result<Option<Login>, Invalid> {
    let fields = [config.name("username"), config.name("token")];
    let username = config.line("username", LOGIN_CHARS_MAX)?;
    let token = config.line("token", LOGIN_CHARS_MAX)?;
    let [no_username, no_token] = fields;
    match (username, token) {
        (None, None) => Ok(None),
        (Some(username), Some(token)) => Ok(Some(Login { username, token: Hidden(token) })),
        (None, Some(_)) => Err(Invalid::new(no_username, "is missing, though there is a token")),
        (Some(_), None) => Err(Invalid::new(no_token, "is missing, though there is a username")),
    }
}

/// The ids of the secrets to be injected, each of which becomes the name of a variable.
fn secrets(config: &mut Loose) -> Result<Vec<String>, Invalid> {
    let field = config.name("secrets");
    let ids = config.texts("secrets", LIST_MAX)?;
    for (i, id) in ids.iter().enumerate() {
        if !secret::is_variable(id) {
            let problem = "must be letters, digits and _, not begin with a digit, and be no name \
                           that containers find anyway: it becomes an environment variable";
            return Err(Invalid::new(format!("{field}[{i}]"), problem));
        }
        if ids[..i].contains(id) {
            return Err(Invalid::new(format!("{field}[{i}]"), "is there twice"));
        }
    }
    Ok(ids)
}

fn needs(fields: &mut Loose) -> Result<(Resources, Vec<String>), Invalid> {
    let Some(mut device) = fields.object("device_requirements")? else {
        return Ok((Resources::new(1000, 1024).with_disk(disk(0)), Vec::new()));
    };
    // 0 stands for unset, as in every number of this API.
    let cpus = device.number("min_cpu", 0..=CPUS_MAX)?.unwrap_or(0).max(1);
    let gib = device.number("min_memory", 0..=MEMORY_GIB_MAX)?.unwrap_or(0).max(1);
    let disk = disk(device.number("min_disk", 0..=DISK_GIB_MAX)?.unwrap_or(0));
    let gpus = device.texts("gpu", LIST_MAX)?;
    device.finish_leniently()?;
    Ok((Resources::new(small(cpus * 1000), small(gib * 1024)).with_disk(disk), gpus))
}

/// The MiB of disk that a task may fill with results; its input comes on top.
fn disk(gib: u64) -> u32 {
    small(if gib == 0 { DISK_GIB_DEFAULT } else { gib } * 1024)
}

fn small(n: u64) -> u32 {
    u32::try_from(n).expect("the bounds fit")
}

/// Refuses an entrypoint that is not a plain path below `app`.
fn checked_entrypoint(field: &str, path: String) -> Result<RelativePath, Invalid> {
    let plain =
        |part: &str| !part.starts_with('-') && part.chars().all(|c| is_plain(c) && c != '\\');
    let is_fine = path.len() <= 255 && path.split('/').all(plain);
    RelativePath::try_from(path).ok().filter(|_| is_fine).ok_or_else(|| {
        Invalid::new(field, "must be the path of a file inside the app folder, such as main.py")
    })
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn parse(manifest: &Value) -> Result<Manifest, Invalid> {
        Manifest::parse(manifest.to_string().as_bytes()).map(|(manifest, _)| manifest)
    }

    #[test]
    fn manifest_is_read_in_every_published_spelling() {
        let snake = parse(&json!({
            "name": "img-gen", "version": "0.2", "platform": "docker", "entrypoint": "main.py",
            "platform_config": {"container": "python:3", "private_image": false},
            "device_requirements": {"min_cpu": 4, "min_memory": "8", "gpu": []},
        }))
        .unwrap();
        let pascal = parse(&json!({
            "Name": "img-gen", "Version": "0.2", "Platform": "docker", "Entrypoint": "main.py",
            "PlatformConfig": {"Container": "python:3", "PrivateImage": false, "username": ""},
            "DeviceRequirements": {"MinCpu": 4, "MinMemory": 8, "MinDisk": 0},
            "requirements": ["numpy"],
        }))
        .unwrap();

        assert_eq!(snake, pascal);
        assert_eq!(snake.needs, Resources::new(4000, 8192).with_disk(2048));
    }

    #[test]
    fn manifest_field_that_is_misspelt_is_named_and_notes_are_ignored() {
        let with = |field: &str, value: Value| {
            let mut manifest = json!({"name": "a", "version": "1.0", "author": "me",
                "platform_config": {"container": "c"}, "device_requirements": {"note": 1}});
            manifest[field] = value;
            parse(&manifest).map_err(|invalid| invalid.to_string())
        };
        for (field, value, says) in [
            ("device_requirments", json!({"min_cpu": 8}), "did you mean device_requirements?"),
            ("entry_point2", json!("run.sh"), "did you mean entrypoint?"),
            ("device_requirements", json!({"gpus": ["T4"]}), "did you mean gpu?"),
            ("device_requirements", json!({"memory": 8}), "did you mean min_memory?"),
            (
                "platform_config",
                json!({"container": "c", "secret": ["x"]}),
                "did you mean secrets?",
            ),
        ] {
            let refused = with(field, value).unwrap_err();
            assert!(refused.contains(says), "{refused}");
        }
        assert!(with("requirements", json!(["numpy"])).is_ok());
        assert!(with("license", json!("MIT")).is_ok());
    }

    #[test]
    fn manifest_defaults_are_an_app_in_python_with_one_cpu() {
        let manifest =
            parse(&json!({"name": "a", "version": "1.0", "platformConfig": {"container": "c"}}))
                .unwrap();

        assert_eq!(manifest.kind, Kind::App);
        assert_eq!(manifest.entrypoint.as_str(), "main.py");
        assert_eq!(manifest.needs, Resources::new(1000, 1024).with_disk(2048));
    }

    #[test]
    fn manifest_requests_disk_in_gib() {
        let manifest = parse(&json!({
            "name": "a", "version": "1.0", "platform_config": {"container": "c"},
            "device_requirements": {"min_disk": 7},
        }));

        assert_eq!(manifest.unwrap().needs.disk_mib, 7 * 1024);
    }

    #[test]
    fn manifest_error_names_the_field() {
        let good = json!({"name": "a", "version": "1.0", "platform_config": {"container": "c"}});
        for (field, value, named) in [
            ("name", json!("a/b"), "manifest.json.name"),
            ("name", json!(7), "manifest.json.name"),
            ("version", json!("1"), "manifest.json.version"),
            ("type", json!("engine"), "manifest.json.type"),
            ("platform", json!("wasm"), "manifest.json.platform"),
            ("entrypoint", json!("../main.py"), "manifest.json.entrypoint"),
            ("entrypoint", json!("/bin/sh"), "manifest.json.entrypoint"),
            ("entrypoint", json!("-rf"), "manifest.json.entrypoint"),
            ("platform_config", json!({"container": "c", "token": "t"}), ".username"),
            ("platform_config", json!({"container": "c", "username": "u"}), ".token"),
            ("platform_config", json!({"container": "c", "secrets": ["my-s3"]}), ".secrets[0]"),
            ("platform_config", json!({"container": "c", "secrets": ["TASK_DIR"]}), ".secrets[0]"),
            ("platform_config", json!({"container": "c", "secrets": ["A", "A"]}), ".secrets[1]"),
            ("platform_config", json!({}), "platform_config.container"),
            ("device_requirements", json!({"min_cpu": 1.5}), "device_requirements.min_cpu"),
            ("device_requirements", json!({"min_cpu": 99999}), "device_requirements.min_cpu"),
            ("device_requirements", json!({"min_disk": 17}), "device_requirements.min_disk"),
        ] {
            let mut manifest = good.clone();
            manifest[field] = value;

            let refused = parse(&manifest).unwrap_err();
            assert!(refused.field.ends_with(named), "{refused}");
        }
    }

    #[test]
    fn manifest_login_makes_an_image_private_and_is_removed() {
        let json = json!({"name": "a", "version": "1.0", "platformConfig":
            {"container": "r.example/a:1", "Username": "me", "token": "TOPSECRET"}});

        let (manifest, login) = Manifest::parse(json.to_string().as_bytes()).unwrap();

        let container = "r.example/a:1".to_owned();
        assert_eq!(manifest.platform, Platform::Docker { container, private: true });
        assert!(!serde_json::to_string(&manifest).unwrap().contains("TOPSECRET"));
        assert!(!format!("{login:?}").contains("TOPSECRET"));
        assert_eq!(login.unwrap().token.0, "TOPSECRET");
    }
}
