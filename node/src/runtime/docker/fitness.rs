//! What an image's configuration may not ask for. It is checked before a container is made, so that
//! no engine has to refuse it.

use bollard::models::ImageConfig;
use common::compute::container::{ContainerSpec, ENGINE_FILES, SYSTEM_DIRS, TMP, is_within};

use crate::runtime::Error;

const VOLUMES_MAX: usize = 16;
const PORTS_MAX: usize = 64;
const PATH_BYTES_MAX: usize = 4096;
const USER_BYTES_MAX: usize = 256;
/// The most bytes of all variables, of a command, and of all labels.
const TEXT_BYTES_MAX: usize = 64 << 10;

/// Why no container can be made of an image.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
enum Unfit {
    #[error("has more than {VOLUMES_MAX} volumes")]
    Volumes,
    #[error("has a volume at {0:?}, which is not a plain absolute path")]
    OddVolume(String),
    #[error("has a volume at {0:?}, which conflicts with a mount of the container")]
    VolumeInTheWay(String),
    #[error("has a working folder that is not a plain absolute path")]
    WorkingDir,
    #[error("has an invalid user")]
    User,
    #[error("has invalid variables, or more than {TEXT_BYTES_MAX} bytes of them")]
    Variables,
    #[error("has a command or labels of more than {TEXT_BYTES_MAX} bytes")]
    Texts,
    #[error("exposes more than {PORTS_MAX} ports, or invalid ones")]
    Ports,
}

impl From<Unfit> for Error {
    fn from(unfit: Unfit) -> Self {
        Self::Unusable(format!("the image {unfit}"))
    }
}

/// Checks an image's configuration, and gives the folders that are to be volumes.
pub fn volumes(config: ImageConfig) -> Result<Vec<String>, Error> {
    check_texts(&config)?;
    let asked = config.volumes.unwrap_or_default();
    if asked.len() > VOLUMES_MAX {
        return Err(Unfit::Volumes.into());
    }
    let mut volumes = Vec::new();
    for volume in asked {
        let inside = plain(&volume).ok_or_else(|| Unfit::OddVolume(short(&volume)))?;
        if inside == TMP {
            continue;
        }
        if is_in_the_way(&inside) {
            return Err(Unfit::VolumeInTheWay(short(&volume)).into());
        }
        volumes.push(inside);
    }
    volumes.sort();
    volumes.dedup();
    Ok(volumes)
}

/// At, above or below what the engine fills, or above the scratch folder.
fn is_in_the_way(volume: &str) -> bool {
    let engines = SYSTEM_DIRS.into_iter().chain(ENGINE_FILES);
    volume == "/"
        || engines.clone().any(|path| is_within(volume, path))
        || engines.chain([TMP]).any(|path| is_within(path, volume))
}

/// Refuses volumes of an image at, above or below what the task's container has mounted.
pub fn check_volumes(volumes: &[String], container: &ContainerSpec) -> Result<(), Error> {
    let points = || container.mount_points();
    let is_in_the_way = |volume: &&String| {
        points().any(|point| point.is_within(volume) || is_within(volume, point.as_str()))
    };
    match volumes.iter().find(is_in_the_way) {
        Some(volume) => Err(Unfit::VolumeInTheWay(short(volume)).into()),
        None => Ok(()),
    }
}

fn check_texts(config: &ImageConfig) -> Result<(), Unfit> {
    let folder = config.working_dir.as_deref().unwrap_or_default();
    if !folder.is_empty() && plain(folder).is_none() {
        return Err(Unfit::WorkingDir);
    }
    let user = config.user.as_deref().unwrap_or_default();
    if user.len() > USER_BYTES_MAX || user.contains(char::is_control) {
        return Err(Unfit::User);
    }
    let variables = config.env.as_deref().unwrap_or_default();
    let is_one = |text: &String| {
        text.split_once('=').is_some_and(|(name, _)| !name.is_empty()) && !text.contains('\0')
    };
    if bytes(variables) > TEXT_BYTES_MAX || !variables.iter().all(is_one) {
        return Err(Unfit::Variables);
    }
    let commands = [&config.entrypoint, &config.cmd, &config.shell, &config.on_build];
    let mut texts: Vec<String> = commands.into_iter().flatten().flatten().cloned().collect();
    let labels = config.labels.iter().flatten();
    texts.extend(labels.map(|(name, value)| format!("{name}={value}")));
    if bytes(&texts) > TEXT_BYTES_MAX {
        return Err(Unfit::Texts);
    }
    let ports = config.exposed_ports.as_deref().unwrap_or_default();
    if ports.len() > PORTS_MAX || !ports.iter().all(|port| is_port(port)) {
        return Err(Unfit::Ports);
    }
    Ok(())
}

/// A path from the root without detours, or nothing.
fn plain(path: &str) -> Option<String> {
    let parts: Vec<&str> =
        path.split('/').filter(|part| !part.is_empty() && *part != ".").collect();
    let odd = parts.contains(&"..") || path.contains(char::is_control);
    let fits = path.starts_with('/') && path.len() <= PATH_BYTES_MAX && !odd;
    fits.then(|| format!("/{}", parts.join("/")))
}

/// `80`, `80/tcp`, `8000-8010/udp`.
fn is_port(port: &str) -> bool {
    let (numbers, protocol) = port.split_once('/').unwrap_or((port, "tcp"));
    let (first, last) = numbers.split_once('-').unwrap_or((numbers, numbers));
    let is_range = match (first.parse::<u16>(), last.parse::<u16>()) {
        (Ok(first), Ok(last)) => first <= last && usize::from(last - first) < PORTS_MAX,
        _ => false,
    };
    is_range && ["tcp", "udp", "sctp"].contains(&protocol)
}

/// What texts take in a process's memory: each has an end, too.
fn bytes(texts: &[String]) -> usize {
    texts.iter().map(|text| text.len() + 1).sum()
}

fn short(text: &str) -> String {
    text.chars().take(100).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(volumes: &[&str]) -> Result<Vec<String>, Error> {
        let volumes = Some(volumes.iter().map(|&volume| volume.to_owned()).collect());
        super::volumes(ImageConfig { volumes, ..ImageConfig::default() })
    }

    #[test]
    fn volumes_of_the_image_itself_pass() {
        assert_eq!(of(&["/data", "/var/lib//x/", "/data/"]).unwrap(), ["/data", "/var/lib/x"]);
        assert_eq!(of(&["/tmp", "/tmp/"]).unwrap(), [""; 0]);
        assert_eq!(of(&["/process", "/tmp/x", "/opt/own", "/etc/own"]).unwrap().len(), 4);
    }

    #[test]
    fn volumes_on_folders_of_the_container_are_refused() {
        for volume in [
            "/",
            "//",
            "/proc",
            "/proc/",
            "/./proc",
            "/proc/sys",
            "/sys",
            "/sys/fs/cgroup",
            "/dev",
            "/dev/shm",
            "/etc",
            "/etc/hosts",
            "/etc/hosts/x",
            "/data/../proc",
            "data",
            "",
            "/a\nb",
        ] {
            let refused = of(&[volume]);

            assert!(matches!(refused, Err(Error::Unusable(_))), "{volume}: {refused:?}");
        }
        let many: Vec<String> = (0..=VOLUMES_MAX).map(|n| format!("/{n}")).collect();
        assert!(of(&many.iter().map(String::as_str).collect::<Vec<_>>()).is_err());
    }

    #[test]
    fn volumes_on_mounts_of_the_task_are_refused() {
        let container = ContainerSpec::new(crate::testing::parts()).unwrap();
        let check = |volume: &str| check_volumes(&[volume.to_owned()], &container);
        for volume in ["/test", "/test/package", "/test/package/x", "/test/results"] {
            assert!(matches!(check(volume), Err(Error::Unusable(_))), "{volume}");
        }
        for volume in ["/data", "/tests", "/test/other"] {
            assert!(check(volume).is_ok(), "{volume}");
        }
    }

    #[test]
    fn absurd_configurations_are_refused_and_usual_ones_pass() {
        let text = |text: &str| Some(text.to_owned());
        let texts = |texts: &[&str]| Some(texts.iter().map(|&text| text.to_owned()).collect());
        let usual = ImageConfig {
            user: text("www-data:www-data"),
            working_dir: text("/srv/app"),
            env: texts(&["PATH=/usr/bin:/bin", "EMPTY="]),
            exposed_ports: texts(&["80/tcp", "53", "8000-8010/udp"]),
            entrypoint: texts(&["/entry.sh"]),
            ..ImageConfig::default()
        };
        assert!(volumes(usual.clone()).is_ok());

        let long = "x".repeat(TEXT_BYTES_MAX + 1);
        for absurd in [
            ImageConfig { working_dir: text("relative"), ..usual.clone() },
            ImageConfig { working_dir: text("/a/../../b"), ..usual.clone() },
            ImageConfig { user: text(&long), ..usual.clone() },
            ImageConfig { user: text("a\0b"), ..usual.clone() },
            ImageConfig { env: texts(&["no value"]), ..usual.clone() },
            ImageConfig { env: texts(&["=x"]), ..usual.clone() },
            ImageConfig { env: texts(&[&format!("A={long}")]), ..usual.clone() },
            ImageConfig { cmd: texts(&[&long]), ..usual.clone() },
            ImageConfig { exposed_ports: texts(&["http"]), ..usual.clone() },
            ImageConfig { exposed_ports: texts(&["9-1/tcp"]), ..usual.clone() },
            ImageConfig { labels: Some([(long.clone(), long.clone())].into()), ..usual.clone() },
        ] {
            assert!(matches!(volumes(absurd), Err(Error::Unusable(_))));
        }
    }
}
