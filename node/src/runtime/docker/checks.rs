//! What the container engine of this machine lacks, by what it says of itself.

use bollard::models::SystemInfo;

use super::confinement::{has_option, runtime};
use crate::doctor::Check;

/// The oldest version that gives containers control groups and system calls of their own.
const VERSION_MIN: (u32, u32) = (20, 10);

/// Every check of the engine, whatever comes out.
pub fn engine(info: &SystemInfo) -> Vec<Check> {
    vec![version(info), system_calls(info), container_runtime(info)]
        .into_iter()
        .chain(limits(info))
        .chain([swap(info), access_control(info)])
        .collect()
}

fn version(info: &SystemInfo) -> Check {
    let text = info.server_version.as_deref().unwrap_or("unknown");
    let os = info.os_type.as_deref().unwrap_or("unknown");
    let found = format!("version {text} for {os}");
    let mut parts = text.split('.').map(str::parse::<u32>);
    let is_new = match (parts.next(), parts.next()) {
        (Some(Ok(major)), Some(Ok(minor))) => (major, minor) >= VERSION_MIN,
        _ => false,
    };
    if is_new && os == "linux" {
        return Check::fine("engine", found);
    }
    Check::refused("engine", found, "install Docker 20.10 or newer, with Linux containers")
}

fn system_calls(info: &SystemInfo) -> Check {
    let is_unconfined = info
        .security_options
        .iter()
        .flatten()
        .any(|option| option.contains("seccomp") && option.contains("unconfined"));
    if has_option(info, "seccomp") && !is_unconfined {
        return Check::fine("system calls", "filtered by a profile of Fanfold's own");
    }
    let found = if is_unconfined {
        "the engine is set to filter none (seccomp-profile: unconfined)"
    } else {
        "the engine cannot filter them"
    };
    let advice = "remove \"seccomp-profile\" from /etc/docker/daemon.json, use a kernel with \
                  CONFIG_SECCOMP_FILTER and an engine built with seccomp, and restart the engine";
    Check::refused("system calls", found, advice)
}

fn container_runtime(info: &SystemInfo) -> Check {
    match runtime(info) {
        Some(name) => Check::fine("runtime", name),
        None => {
            let found = "neither runc nor crun is among the engine's runtimes";
            Check::refused("runtime", found, "install runc, and restart the engine")
        }
    }
}

/// The limits without which one task could take the whole machine.
fn limits(info: &SystemInfo) -> impl Iterator<Item = Check> {
    let limits = [
        ("memory limit", info.memory_limit),
        ("process limit", info.pids_limit),
        ("processor limit", info.cpu_cfs_quota),
        ("processor period", info.cpu_cfs_period),
    ];
    limits.into_iter().map(|(name, has)| match has {
        Some(true) => Check::fine(name, "enforced"),
        Some(false) | None => {
            let advice = "mount the control groups (Debian package cgroupfs-mount, or systemd), \
                          boot the kernel with this controller, and restart the engine";
            Check::refused(name, "the engine cannot enforce it", advice)
        }
    })
}

fn swap(info: &SystemInfo) -> Check {
    if info.swap_limit == Some(true) {
        return Check::fine("swap limit", "enforced");
    }
    let advice = "boot the kernel with swapaccount=1, or switch swap off";
    Check::warning("swap limit", "containers may swap beyond their memory", advice)
}

fn access_control(info: &SystemInfo) -> Check {
    let name = "access control";
    match ["apparmor", "selinux"].into_iter().find(|option| has_option(info, option)) {
        Some(found) => Check::fine(name, found),
        None => {
            let advice = "switch AppArmor or SELinux on for a second line of defence";
            Check::warning(name, "neither AppArmor nor SELinux", advice)
        }
    }
}

#[cfg(test)]
pub mod tests {
    use std::collections::HashMap;

    use super::*;
    use crate::doctor::Severity;

    /// Takes something from a sound engine.
    type Spoil = fn(&mut SystemInfo);

    /// An engine that has everything.
    pub fn sound() -> SystemInfo {
        let options = ["name=apparmor", "name=seccomp,profile=default", "name=cgroupns"];
        SystemInfo {
            server_version: Some("20.10.24+dfsg1".into()),
            os_type: Some("linux".into()),
            security_options: Some(options.map(str::to_owned).to_vec()),
            runtimes: Some(HashMap::from([("runc".to_owned(), Default::default())])),
            memory_limit: Some(true),
            swap_limit: Some(true),
            pids_limit: Some(true),
            cpu_cfs_quota: Some(true),
            cpu_cfs_period: Some(true),
            ..SystemInfo::default()
        }
    }

    #[test]
    fn sound_engine_passes() {
        let checks = engine(&sound());

        assert!(checks.iter().all(|check| check.severity == Severity::Fine), "{checks:?}");
    }

    #[test]
    fn engine_defects_are_each_named() {
        let cases: [(&str, Severity, Spoil); 8] = [
            ("engine", Severity::Refused, |info| info.server_version = Some("19.03.15".into())),
            ("engine", Severity::Refused, |info| info.os_type = Some("windows".into())),
            ("system calls", Severity::Refused, |info| info.security_options = None),
            ("runtime", Severity::Refused, |info| info.runtimes = Some(HashMap::new())),
            ("memory limit", Severity::Refused, |info| info.memory_limit = Some(false)),
            ("process limit", Severity::Refused, |info| info.pids_limit = None),
            ("processor limit", Severity::Refused, |info| info.cpu_cfs_quota = Some(false)),
            ("swap limit", Severity::Warning, |info| info.swap_limit = Some(false)),
        ];
        for (name, severity, spoil) in cases {
            let mut info = sound();
            spoil(&mut info);

            let checks = engine(&info);

            let check = checks.iter().find(|check| check.name == name).unwrap();
            assert_eq!(check.severity, severity, "{name}");
            assert!(!check.advice.is_empty(), "{name}");
        }
    }
}
