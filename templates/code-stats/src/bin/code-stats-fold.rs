//! The assembler: adds the counts of all chunks up.

use std::error::Error;
use std::fs;
use std::io::{self, Write};
use std::path::PathBuf;

use code_stats::Stats;
use code_stats::table::Table;

fn main() -> Result<(), Box<dyn Error>> {
    let results = PathBuf::from(std::env::var("TASK_RESULTS_DIR")?);
    let output = PathBuf::from(std::env::var("OUTPUT_DIR")?);

    let (mut stats, mut chunks) = (Stats::default(), 0);
    for entry in fs::read_dir(results)? {
        let path = entry?.path();
        if path.to_string_lossy().ends_with("stats.json") {
            stats.add(&serde_json::from_slice(&fs::read(path)?)?);
            chunks += 1;
        }
    }
    fs::write(output.join("code-stats.json"), serde_json::to_vec_pretty(&stats)?)?;
    fs::write(output.join("code-stats.txt"), Table(&stats).to_string())?;

    writeln!(io::stdout(), "folded {chunks} chunks")?;
    Ok(())
}
