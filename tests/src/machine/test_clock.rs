//! A clock of servers that a test sets ahead; nobody else can, because a release build has none.

use std::fs;
use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use anyhow::Result;
use chrono::{DateTime, Utc};
use tempfile::TempDir;

use crate::market::Shape;

/// How far servers' clocks are ahead of the machine's.
#[derive(Debug)]
pub struct TestClock {
    folder: TempDir,
    ahead: Duration,
}

impl TestClock {
    pub fn new() -> Result<Self> {
        Ok(Self { folder: tempfile::tempdir()?, ahead: Duration::ZERO })
    }

    /// The shape of a market whose server has this clock.
    pub fn of(&self, shape: Shape) -> Shape {
        shape.set("TEST_CLOCK", &self.file().display().to_string())
    }

    /// Lets this much time pass at once.
    pub fn advance(&mut self, by: Duration) -> Result<()> {
        self.ahead += by;
        // Renamed, so that no server reads half of it.
        let new = self.folder.path().join("new");
        fs::write(&new, self.ahead.as_millis().to_string())?;
        Ok(fs::rename(new, self.file())?)
    }

    /// What such a server's clock says.
    pub fn now(&self) -> DateTime<Utc> {
        DateTime::from(SystemTime::now() + self.ahead)
    }

    fn file(&self) -> PathBuf {
        self.folder.path().join("ahead")
    }
}
