//! What a node may take of the disk, as its owner says it.

/// The owner's part in how full the disk gets.
#[derive(Debug, Clone, clap::Args)]
pub struct Lent {
    /// The most that a node may take of the disk, in GiB, for inputs, results, caches, packages and
    /// images together [default: half of what is free and of what it has]
    #[arg(long = "disk", env = "FANFOLD_NODE_DISK", value_name = "GIB", value_parser = gib)]
    disk: Option<u64>,
    /// Free space to leave on the disk, in GiB: with less, no task starts, and the one that has
    /// written most is ended
    #[arg(
        long,
        env = "FANFOLD_NODE_KEEP_FREE",
        value_name = "GIB",
        default_value = "2",
        value_parser = gib
    )]
    keep_free: u64,
}

impl Lent {
    /// For each of this many nodes on this machine.
    pub fn share(&self, nodes: u16) -> node::DiskShare {
        node::DiskShare { bytes: self.disk, keep_free: self.keep_free, nodes }
    }
}

/// GiB, with up to three decimals, in bytes.
pub(super) fn gib(text: &str) -> Result<u64, String> {
    let refused = || format!("{text:?} is no number of GiB, such as 20 or 0.5");
    let (whole, part) = text.split_once('.').unwrap_or((text, "0"));
    let is_number = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    if !is_number(whole) || !is_number(part) || part.len() > 3 {
        return Err(refused());
    }
    let thousandths = format!("{whole}{part:0<3}").parse::<u64>().map_err(|_| refused())?;
    thousandths.checked_mul(1 << 30).map(|bytes| bytes / 1000).ok_or_else(refused)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn disk_size_in_gib_is_read_with_decimals() {
        for (text, bytes) in [("0", 0), ("2", 2 << 30), ("0.5", 1 << 29), ("1.25", 5 << 28)] {
            assert_eq!(gib(text), Ok(bytes), "{text}");
        }
        for text in ["", ".", "1.", ".5", "-1", "+1", "1e3", "0.0001", "x", "99999999999999999999"]
        {
            assert!(gib(text).is_err(), "{text}");
        }
    }
}
