//! What a node says of the machine it is.

use serde::{Deserialize, Serialize};

use crate::compute::container::Grants;
use crate::input::text::is_plain;

/// The most characters of one text about a machine.
const TEXT_CHARS_MAX: usize = 128;
const REGION_CHARS_MAX: usize = 64;
/// The most GPUs of one node.
const GPUS_MAX: usize = 64;

/// A machine, in its owner's words: shown to customers, and not proven by anything.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Device {
    /// What its owner calls it; only they see it.
    #[serde(default)]
    pub label: String,
    /// Where it is, such as `eu-central-1`; empty where its owner does not say.
    pub region: String,
    pub os: String,
    /// The model of its CPU.
    pub cpu: String,
    pub cores: u32,
    pub memory_mib: u32,
    /// The name of each GPU that is lent: as many entries as there are devices.
    pub gpus: Vec<String>,
    /// The container engine and its version.
    pub engine: String,
    /// What its owner allows tasks.
    #[serde(default)]
    pub grants: Grants,
}

impl Device {
    /// The same, cut to what is taken from a stranger: short texts of visible characters.
    #[must_use]
    pub fn tidied(mut self) -> Self {
        if !self.region.is_empty() && !is_region(&self.region) {
            self.region.clear();
        }
        for text in [&mut self.label, &mut self.os, &mut self.cpu, &mut self.engine] {
            *text = tidy(text);
        }
        self.gpus.truncate(GPUS_MAX);
        for name in &mut self.gpus {
            *name = tidy(name);
        }
        self.gpus.retain(|name| !name.is_empty());
        self
    }
}

/// Whether this can be a region's name: letters, digits, `-`, `_` and `.`, at most 64.
pub fn is_region(name: &str) -> bool {
    (1..=REGION_CHARS_MAX).contains(&name.len())
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte))
}

fn tidy(text: &str) -> String {
    let plain: String = text.chars().filter(|c| is_plain(*c)).take(TEXT_CHARS_MAX).collect();
    plain.trim().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn device_text_from_a_peer_is_cut() {
        let device = Device {
            region: "eu\0".to_owned(),
            os: "x".repeat(1 << 20),
            cpu: " Xeon\n\0\u{202e} ".to_owned(),
            gpus: vec!["T4\r".to_owned(); 1000],
            ..Device::default()
        };

        let tidied = device.tidied();

        assert_eq!((tidied.region.as_str(), tidied.cpu.as_str()), ("", "Xeon"));
        assert_eq!((tidied.os.len(), tidied.gpus.len()), (TEXT_CHARS_MAX, GPUS_MAX));
        assert_eq!(tidied.gpus[0], "T4");
        assert_eq!(tidied.clone().tidied(), tidied);
    }

    #[test]
    fn region_is_one_short_word() {
        for name in ["eu-central-1", "home", "us_west.2"] {
            assert!(is_region(name), "{name}");
        }
        for name in ["", "two words", "é", "a/b", &"x".repeat(65)] {
            assert!(!is_region(name), "{name}");
        }
    }
}
