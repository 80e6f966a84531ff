//! What keeps a container apart from its host beside its limits: the system calls that it may
//! make, its namespaces, and the variables that programs of the host heed.

use bollard::models::{HostConfig, HostConfigCgroupnsModeEnum, SystemInfo};
use common::compute::container::Profile;

use super::checks;
use crate::doctor::{Check, Severity};
use crate::runtime::Launch;

/// The system calls that containers may make, in the engine's format.
const SYSTEM_CALLS: &str = include_str!("../../../seccomp.json");

/// The runtimes that a container may have, the best first. It is always named: an engine's default
/// may be one that gives every container all GPUs.
const RUNTIMES: [&str; 2] = ["runc", "crun"];

/// What a GPU's driver offers to containers: computing, its tools, and video codecs.
const DRIVER_CAPABILITIES: &str = "compute,utility,video";

/// Variables that the loader of any program heeds, and those that NVIDIA's hook on the host heeds.
/// An image's own values would reach the hook, which runs outside the container: they are always
/// set, and empty means unset to the loader. A package whose programs need one sets it by itself.
const NEUTRAL: [(&str, &str); 12] = [
    ("GLIBC_TUNABLES", ""),
    ("LD_AUDIT", ""),
    ("LD_LIBRARY_PATH", ""),
    ("LD_PRELOAD", ""),
    ("NVIDIA_GDRCOPY", ""),
    ("NVIDIA_GDS", ""),
    ("NVIDIA_IMEX_CHANNELS", ""),
    ("NVIDIA_MIG_CONFIG_DEVICES", ""),
    ("NVIDIA_MIG_MONITOR_DEVICES", ""),
    ("NVIDIA_MOFED", ""),
    ("NVIDIA_NVSWITCH", ""),
    ("NVIDIA_REQUIRE_CUDA", ""),
];

/// How the engine of this machine confines containers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Confinement {
    runtime: &'static str,
    has_apparmor: bool,
    /// The engine gives containers' users other numbers on the host.
    pub maps_users: bool,
}

impl Confinement {
    /// Refuses an engine that would not confine containers, and says what it lacks.
    pub fn of(info: &SystemInfo) -> Result<Self, Vec<Check>> {
        let mut refused = checks::engine(info);
        refused.retain(|check| check.severity == Severity::Refused);
        let runtime = runtime(info).filter(|_| refused.is_empty()).ok_or(refused)?;
        Ok(Self {
            runtime,
            has_apparmor: has_option(info, "apparmor"),
            maps_users: has_option(info, "userns"),
        })
    }

    /// The same container, confined.
    pub fn applied(&self, host: HostConfig, profile: Profile) -> HostConfig {
        let mut security = vec!["no-new-privileges".to_owned(), format!("seccomp={SYSTEM_CALLS}")];
        if self.has_apparmor {
            security.push("apparmor=docker-default".to_owned());
        }
        HostConfig {
            cap_drop: Some(vec!["ALL".into()]),
            cgroupns_mode: Some(HostConfigCgroupnsModeEnum::PRIVATE),
            ipc_mode: Some("private".into()),
            privileged: Some(false),
            readonly_rootfs: Some(profile == Profile::Sealed),
            runtime: Some(self.runtime.to_owned()),
            security_opt: Some(security),
            ..host
        }
    }
}

/// The runtime that containers get.
pub fn runtime(info: &SystemInfo) -> Option<&'static str> {
    let runtimes = info.runtimes.as_ref()?;
    RUNTIMES.into_iter().find(|name| runtimes.contains_key(*name))
}

/// Whether the engine has a security option of this name; `seccomp` is listed as
/// `name=seccomp,profile=default`.
pub fn has_option(info: &SystemInfo, name: &str) -> bool {
    let options = info.security_options.iter().flatten();
    options
        .flat_map(|option| option.split(','))
        .any(|part| part.strip_prefix("name=") == Some(name))
}

/// The variables of a container: its own, and those that no image, package or secret decides.
pub fn environment(launch: &Launch) -> Vec<String> {
    let (devices, capabilities) = match &launch.gpu {
        Some(id) => (id.as_str(), DRIVER_CAPABILITIES),
        None => ("void", ""),
    };
    let gpu = [("NVIDIA_VISIBLE_DEVICES", devices), ("NVIDIA_DRIVER_CAPABILITIES", capabilities)];
    let fixed: Vec<_> = NEUTRAL.into_iter().chain(gpu).collect();
    let is_fixed = |variable: &&String| {
        let name = variable.split('=').next().unwrap_or_default();
        fixed.iter().any(|(fixed, _)| *fixed == name)
    };
    let own = launch.env.iter().filter(|variable| !is_fixed(variable)).cloned();
    own.chain(fixed.iter().map(|(name, value)| format!("{name}={value}"))).collect()
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::*;
    use crate::runtime::docker::host::tests::launch;

    fn info(options: &[&str], runtimes: &[&str]) -> SystemInfo {
        let runtimes = runtimes.iter().map(|name| ((*name).to_owned(), Default::default()));
        SystemInfo {
            security_options: Some(options.iter().map(|option| (*option).to_owned()).collect()),
            runtimes: Some(HashMap::from_iter(runtimes)),
            ..checks::tests::sound()
        }
    }

    #[test]
    fn confinement_names_the_runtime_whatever_the_default_is() {
        let seccomp = ["name=seccomp,profile=default", "name=apparmor"];
        let nvidia = SystemInfo {
            default_runtime: Some("nvidia".into()),
            ..info(&seccomp, &["nvidia", "runc"])
        };

        let host =
            Confinement::of(&nvidia).unwrap().applied(HostConfig::default(), Profile::Sealed);

        assert_eq!(host.runtime.as_deref(), Some("runc"));
        let security = host.security_opt.unwrap();
        assert!(security.contains(&"apparmor=docker-default".to_owned()), "{security:?}");
        assert!(security.iter().any(|option| option.starts_with("seccomp={")));
    }

    #[test]
    fn engine_without_seccomp_is_refused() {
        for options in [&[][..], &["name=apparmor"], &["name=seccomp,profile=unconfined"]] {
            let refused = Confinement::of(&info(options, &["runc"])).unwrap_err();

            assert!(refused.iter().any(|check| check.name == "system calls"), "{options:?}");
        }
        let refused = Confinement::of(&info(&["name=seccomp,profile=default"], &["kata"]));
        assert!(refused.is_err());
    }

    #[test]
    fn variables_of_the_loader_and_of_gpus_are_always_set() {
        for (gpu, devices) in [(None, "void"), (Some("GPU-a"), "GPU-a")] {
            let mut launch = launch(gpu);
            launch.env = vec!["LD_PRELOAD=/evil.so".into(), "NVIDIA_VISIBLE_DEVICES=all".into()];
            launch.env.push("A=b=c".into());

            let env = environment(&launch);

            assert_eq!(env[0], "A=b=c");
            assert!(env.contains(&format!("NVIDIA_VISIBLE_DEVICES={devices}")), "{env:?}");
            for name in ["LD_PRELOAD=", "LD_LIBRARY_PATH=", "LD_AUDIT="] {
                assert_eq!(env.iter().filter(|text| text.starts_with(name)).count(), 1);
                assert!(env.contains(&name.to_owned()), "{env:?}");
            }
        }
    }

    #[test]
    fn seccomp_profile_denies_by_default_and_excludes_other_word_sizes() {
        let profile: serde_json::Value = serde_json::from_str(SYSTEM_CALLS).unwrap();

        assert_eq!(profile["defaultAction"], "SCMP_ACT_ERRNO");
        for arch in profile["archMap"].as_array().unwrap() {
            assert_eq!(arch["subArchitectures"], serde_json::json!([]));
        }
        let allowed = |name: &str| {
            let rules = profile["syscalls"].as_array().unwrap().iter();
            rules
                .filter(|rule| rule["action"] == "SCMP_ACT_ALLOW" && rule["args"].is_null())
                .any(|rule| rule["names"].as_array().unwrap().contains(&name.into()))
        };
        for name in ["read", "execve", "futex", "sendmsg", "pidfd_open"] {
            assert!(allowed(name), "{name}");
        }
        for name in ["socket", "clone", "clone3", "fallocate", "ptrace", "bpf", "io_uring_setup"] {
            assert!(!allowed(name), "{name}");
        }
    }
}
