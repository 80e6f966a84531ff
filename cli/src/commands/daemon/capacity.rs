//! What a node lends of the CPUs and the memory, as its owner says it.

use std::path::PathBuf;

use super::disk::gib;

/// What each node may use, and where it tells the others of this machine.
#[derive(Debug, Clone, clap::Args)]
pub struct Offered {
    /// CPUs that each node lends, such as 2 or 0.5 [default: all that no other node of this machine
    /// lends]
    #[arg(long = "cpus", env = "FANFOLD_NODE_CPUS", value_name = "NUMBER", value_parser = millis)]
    pub cpu_millis: Option<u32>,
    /// Memory that each node lends, in GiB [default: three quarters of it, less what other nodes of
    /// this machine lend]
    #[arg(long = "memory", env = "FANFOLD_NODE_MEMORY", value_name = "GIB", value_parser = mib)]
    pub memory_mib: Option<u32>,
    /// Folder in which the nodes of this machine record what they lend [default:
    /// /run/fanfold for root]
    #[arg(long, env = "FANFOLD_NODE_RUNTIME_DIR", value_name = "FOLDER")]
    pub runtime_dir: Option<PathBuf>,
}

/// A number of CPUs, with up to three decimals, in thousandths.
fn millis(text: &str) -> Result<u32, String> {
    let (whole, part) = text.split_once('.').unwrap_or((text, "0"));
    let is_number = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    let read = || {
        let fits = is_number(whole) && is_number(part) && part.len() <= 3;
        fits.then(|| format!("{whole}{part:0<3}").parse().ok())?
    };
    read()
        .filter(|millis| *millis > 0)
        .ok_or_else(|| format!("{text:?} is not a number of CPUs, such as 2 or 0.5"))
}

fn mib(text: &str) -> Result<u32, String> {
    u32::try_from(gib(text)? >> 20)
        .ok()
        .filter(|mib| *mib > 0)
        .ok_or_else(|| format!("{text:?} GiB cannot be lent"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn capacity_is_read_with_decimals() {
        for (text, expected) in [("2", 2000), ("0.5", 500), ("1.25", 1250), ("64", 64_000)] {
            assert_eq!(millis(text), Ok(expected), "{text}");
        }
        for text in ["", "0", "0.0", "-1", "1.", ".5", "1.2345", "x", "99999999999"] {
            assert!(millis(text).is_err(), "{text}");
        }
        assert_eq!((mib("0.5"), mib("4")), (Ok(512), Ok(4096)));
        assert!(mib("0").is_err() && mib("x").is_err());
    }
}
