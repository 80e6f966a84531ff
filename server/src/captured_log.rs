//! The log of a test, kept in memory.

use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tracing::Level;
use tracing::subscriber::DefaultGuard;

/// How long a line is waited for.
const PATIENCE: Duration = Duration::from_secs(20);

/// What is logged on this thread, down to the level debug, while this exists.
pub struct CapturedLog {
    text: Text,
    _guard: DefaultGuard,
}

#[derive(Clone, Default)]
struct Text(Arc<Mutex<Vec<u8>>>);

impl CapturedLog {
    pub fn start() -> Self {
        let text = Text::default();
        let writer = text.clone();
        let subscriber = tracing_subscriber::fmt()
            .with_max_level(Level::DEBUG)
            .with_ansi(false)
            .with_writer(move || writer.clone())
            .finish();
        Self { text, _guard: tracing::subscriber::set_default(subscriber) }
    }

    pub fn text(&self) -> String {
        let bytes = self.text.0.lock().unwrap_or_else(PoisonError::into_inner);
        String::from_utf8_lossy(&bytes).into_owned()
    }

    /// Waits for a line with all of these parts.
    pub async fn line(&self, parts: &[&str]) -> String {
        let looking = async {
            loop {
                let text = self.text();
                let has_all = |line: &&str| parts.iter().all(|part| line.contains(part));
                if let Some(line) = text.lines().find(has_all) {
                    return line.to_owned();
                }
                tokio::task::yield_now().await;
            }
        };
        let found = tokio::time::timeout(PATIENCE, looking).await;
        found.unwrap_or_else(|_| panic!("no line has {parts:?}:\n{}", self.text()))
    }
}

impl io::Write for Text {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
