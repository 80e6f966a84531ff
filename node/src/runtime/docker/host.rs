//! What a container may see and use of its host.

use std::collections::HashMap;

use bollard::models::{
    DeviceRequest, HostConfig, HostConfigLogConfig, Mount as BindMount, MountBindOptions,
    MountBindOptionsPropagationEnum, MountTmpfsOptions, MountType, ResourcesUlimits,
};

use common::compute::container::Profile;

use super::images::Ready;
use crate::runtime::{Launch, Mount};

/// Processes and threads of a container, and as many more for each vCPU.
const PIDS_BASE: i64 = 1024;
const PIDS_PER_CPU: i64 = 512;
/// No more than what nearly every engine may give itself: it cannot raise its own limit.
const OPEN_FILES_MAX: i64 = 4096;
/// Too little for any core file. With 0, the kernel would still run a handler of the host's that
/// cores are piped to; 1 is what it heeds there.
const CORE_BYTES_MAX: i64 = 1;
/// What every engine may give itself; locked memory cannot be taken from a container that is idle.
const LOCKED_BYTES_MAX: i64 = 64 << 10;
/// The engine accepts no less.
const MEMORY_BYTES_MIN: i64 = 6 << 20;

/// What a container has of its host, beside how it is confined.
pub fn config(launch: &Launch, image: &Ready) -> HostConfig {
    let memory = (i64::from(launch.needs.memory_mib) << 20).max(MEMORY_BYTES_MIN);
    let cpu_millis = i64::from(launch.needs.cpu_millis);
    let mut mounts: Vec<_> = launch.mounts.iter().chain([&launch.results]).map(bind).collect();
    mounts.extend(image.volumes.iter().map(|inside| in_memory(inside, memory)));
    let ulimit = |name: &str, most| ResourcesUlimits {
        name: Some(name.into()),
        soft: Some(most),
        hard: Some(most),
    };
    // No single file is larger than what may be written where it lies: on the disk, or in memory.
    let file_bytes = launch.share.writes_max();
    let cache_bytes = launch.cache.as_ref().map_or(0, |cache| cache.bytes_max);
    let file_bytes = file_bytes.max(cache_bytes);
    let file_bytes = i64::try_from(file_bytes).unwrap_or(i64::MAX).max(memory);
    HostConfig {
        extra_hosts: (!launch.hosts.is_empty()).then(|| launch.hosts.clone()),
        mounts: Some(mounts),
        // What lies in memory counts as memory: that is limit enough.
        tmpfs: (launch.profile == Profile::Sealed).then(|| {
            let options = format!("rw,exec,nosuid,nodev,size={memory},mode=1777");
            HashMap::from([("/tmp".into(), options)])
        }),
        shm_size: Some(memory),
        memory: Some(memory),
        memory_swap: Some(memory),
        device_requests: launch.gpu.as_deref().map(|id| vec![gpu(id)]),
        cpu_period: Some(100_000),
        cpu_quota: Some((cpu_millis * 100).max(1000)),
        pids_limit: Some(PIDS_BASE + PIDS_PER_CPU * cpu_millis.max(0) / 1000),
        ulimits: Some(vec![
            ulimit("core", CORE_BYTES_MAX),
            ulimit("fsize", file_bytes),
            ulimit("memlock", LOCKED_BYTES_MAX),
            ulimit("nofile", OPEN_FILES_MAX),
        ]),
        // The output is read as it comes; nothing of it stays on the engine's disk.
        log_config: Some(HostConfigLogConfig { typ: Some("none".into()), config: None }),
        ..HostConfig::default()
    }
}

/// This very GPU and no other.
fn gpu(id: &str) -> DeviceRequest {
    DeviceRequest {
        driver: Some("nvidia".into()),
        device_ids: Some(vec![id.into()]),
        capabilities: Some(vec![vec!["gpu".into()]]),
        ..DeviceRequest::default()
    }
}

fn bind(mount: &Mount) -> BindMount {
    BindMount {
        typ: Some(MountType::BIND),
        source: Some(mount.host.to_string_lossy().into_owned()),
        target: Some(mount.inside.to_string()),
        read_only: Some(!mount.is_writable),
        bind_options: Some(MountBindOptions {
            propagation: Some(MountBindOptionsPropagationEnum::RPRIVATE),
            ..MountBindOptions::default()
        }),
        ..BindMount::default()
    }
}

/// A volume that an image asks for: in memory, which is limited, and not on the engine's disk,
/// which is not.
fn in_memory(inside: &str, bytes: i64) -> BindMount {
    BindMount {
        typ: Some(MountType::TMPFS),
        target: Some(inside.into()),
        tmpfs_options: Some(MountTmpfsOptions {
            size_bytes: Some(bytes),
            mode: Some(0o1777),
            ..MountTmpfsOptions::default()
        }),
        ..BindMount::default()
    }
}

#[cfg(test)]
pub mod tests {
    use std::sync::Arc;

    use common::compute::resources::Resources;

    use super::*;
    use crate::logs::redact::Redactor;
    use crate::runtime::Entry;
    use crate::runtime::launch::Connection;
    use crate::testing::lease;

    pub fn launch(gpu: Option<&str>) -> Launch {
        Launch {
            lease: lease(0),
            workspace: crate::testing::WORKSPACE,
            name: String::new(),
            image: 0,
            entry: Entry::Image,
            env: Vec::new(),
            redactor: Redactor::default(),
            working_dir: None,
            mounts: Vec::new(),
            results: Mount::own("/h".into(), "/r", true),
            shared: Vec::new(),
            cache: None,
            profile: Profile::Sealed,
            connection: Connection::None,
            hosts: Vec::new(),
            needs: Resources::new(1000, 64),
            gpu: gpu.map(str::to_owned),
            timeout: None,
            share: crate::testing::share(1),
            beside: Vec::new(),
            is_watched: false,
        }
    }

    fn made(gpu: Option<&str>) -> HostConfig {
        config(
            &launch(gpu),
            &Ready { id: "image".into(), volumes: Vec::new(), held: Arc::default() },
        )
    }

    #[test]
    fn host_limits_follow_from_memory_and_cpu() {
        let of = |cpu_millis, memory_mib| {
            let needs = Resources::new(cpu_millis, memory_mib);
            let volumes = vec!["/data".to_owned()];
            let ready = Ready { id: "image".into(), volumes, held: Arc::default() };
            config(&Launch { needs, ..launch(None) }, &ready)
        };

        let (small, large) = (of(500, 256), of(8000, 16 << 10));

        for (host, bytes) in [(&small, 256i64 << 20), (&large, 16 << 30)] {
            assert_eq!((host.memory, host.shm_size), (Some(bytes), Some(bytes)));
            let tmp = &host.tmpfs.as_ref().unwrap()["/tmp"];
            assert!(tmp.contains(&format!("size={bytes},")), "{tmp}");
            let volume = host.mounts.as_ref().unwrap().last().unwrap();
            assert_eq!(volume.tmpfs_options.as_ref().unwrap().size_bytes, Some(bytes));
        }
        assert_eq!((small.pids_limit, large.pids_limit), (Some(1280), Some(5120)));
    }

    #[test]
    fn container_sees_its_own_gpu_only() {
        let requests = made(Some("GPU-a")).device_requests.unwrap();

        assert_eq!(requests.len(), 1);
        assert_eq!(requests[0].device_ids, Some(vec!["GPU-a".to_owned()]));
        assert_eq!(requests[0].capabilities, Some(vec![vec!["gpu".to_owned()]]));
        assert_eq!(requests[0].count, None);
        assert_eq!(made(None).device_requests, None);
    }
}
