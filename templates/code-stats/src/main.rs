//! The app: counts one chunk.

use std::error::Error;
use std::fs::{self, File};
use std::io::{BufReader, Write};
use std::path::PathBuf;
use std::{env, io};

use code_stats::Stats;

fn main() -> Result<(), Box<dyn Error>> {
    let chunk = PathBuf::from(env::var("TASK_DIR")?).join("data.bin");
    let results = PathBuf::from(env::var("TASK_RESULTS_DIR")?);

    let stats = Stats::of(BufReader::with_capacity(1 << 20, File::open(chunk)?))?;
    fs::write(results.join("stats.json"), serde_json::to_vec(&stats)?)?;

    writeln!(io::stdout(), "counted {} lines", stats.total().lines)?;
    Ok(())
}
