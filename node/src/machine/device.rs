//! What this machine is, as the server and its customers are told.

use std::fs;
use std::path::Path;

use common::compute::device::Device;

/// Where NVIDIA's driver lists its devices; nothing else is needed to find them.
const NVIDIA: &str = "/proc/driver/nvidia/gpus";

/// A GPU that is lent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Gpu {
    pub name: String,
    /// How the container engine knows it: its UUID, or its number where the driver does not say.
    pub id: String,
}

/// The GPUs that the driver knows, in its order.
pub fn found_gpus() -> Vec<Gpu> {
    let mut folders: Vec<_> = fs::read_dir(Path::new(NVIDIA))
        .into_iter()
        .flatten()
        .filter_map(|entry| Some(entry.ok()?.path().join("information")))
        .collect();
    folders.sort();
    let texts = folders.iter().filter_map(|file| fs::read_to_string(file).ok());
    texts.enumerate().filter_map(|(n, text)| read_gpu(n, &text)).collect()
}

/// The GPUs of these names: the driver's own where it knows one of the name, else by number.
pub fn named_gpus(names: &[String], mut found: Vec<Gpu>) -> Vec<Gpu> {
    let named = names.iter().enumerate().map(|(n, name)| {
        let known = found.iter().position(|gpu| gpu.name.eq_ignore_ascii_case(name));
        let id = known.map_or_else(|| n.to_string(), |at| found.remove(at).id);
        Gpu { name: name.clone(), id }
    });
    named.collect()
}

fn read_gpu(number: usize, information: &str) -> Option<Gpu> {
    let field = |name: &str| {
        let line = information.lines().find_map(|line| line.strip_prefix(name))?;
        Some(line.trim_start_matches(':').trim().to_owned()).filter(|text| !text.is_empty())
    };
    // A device that the driver has not woken up yet has question marks for an id.
    let id = field("GPU UUID").filter(|id| !id.contains('?')).unwrap_or_else(|| number.to_string());
    Some(Gpu { name: field("Model")?, id })
}

/// The machine with what the engine does not know of it.
pub fn described(engine: Device, label: String, region: String, gpus: &[Gpu]) -> Device {
    let cpuinfo = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let gpus = gpus.iter().map(|gpu| gpu.name.clone()).collect();
    Device { label, region, cpu: cpu_model(&cpuinfo), gpus, ..engine }.tidied()
}

fn cpu_model(cpuinfo: &str) -> String {
    let model = cpuinfo.lines().find_map(|line| line.strip_prefix("model name"));
    let name = model.and_then(|rest| rest.split_once(':')).map(|(_, name)| name.trim());
    name.unwrap_or(std::env::consts::ARCH).to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    const T4: &str = "Model: \t\t Tesla T4\nIRQ:   \t\t 70\nGPU UUID: \t \
                      GPU-12345678-aaaa-bbbb-cccc-1234567890ab\nDevice Minor: \t 0\n";

    #[test]
    fn gpu_is_read_from_its_drivers_output() {
        let gpu = read_gpu(3, T4).unwrap();

        assert_eq!(gpu.name, "Tesla T4");
        assert_eq!(gpu.id, "GPU-12345678-aaaa-bbbb-cccc-1234567890ab");
        let asleep = read_gpu(3, "Model: \t X\nGPU UUID: \t GPU-????????-????\n").unwrap();
        assert_eq!(asleep.id, "3");
        assert_eq!(read_gpu(0, "IRQ: 70\n"), None);
    }

    #[test]
    fn gpu_names_of_the_owner_keep_the_ids_of_the_driver() {
        let gpu = |name: &str, id: &str| Gpu { name: name.to_owned(), id: id.to_owned() };
        let found = vec![gpu("Tesla T4", "GPU-a"), gpu("Tesla T4", "GPU-b")];
        let names = ["tesla t4", "other", "TESLA T4"].map(str::to_owned);

        let named = named_gpus(&names, found);

        let ids: Vec<_> = named.iter().map(|gpu| gpu.id.as_str()).collect();
        assert_eq!(ids, ["GPU-a", "1", "GPU-b"]);
    }

    #[test]
    fn cpu_is_named_by_its_model() {
        let cpuinfo = "processor\t: 0\nmodel name\t: Intel(R) Xeon(R)\nflags\t: fpu\n";

        assert_eq!(cpu_model(cpuinfo), "Intel(R) Xeon(R)");
        assert_eq!(cpu_model(""), std::env::consts::ARCH);
    }
}
