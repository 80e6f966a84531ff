//! The pool of connections to the database.

use instruments::{Builder, IntGauge, count};

#[derive(Debug, Clone)]
pub struct DatabaseMetrics {
    busy: IntGauge,
    idle: IntGauge,
}

impl DatabaseMetrics {
    pub(super) fn new(builder: &mut Builder) -> Self {
        let connections = builder.gauges(
            "fanfold_database_connections",
            "Connections of the pool to the database",
            &["state"],
        );
        Self {
            busy: connections.with_label_values(&["busy"]),
            idle: connections.with_label_values(&["idle"]),
        }
    }

    /// How many connections there are, and how many of them are idle.
    pub fn stands(&self, all: u32, idle: usize) {
        let idle = count(idle);
        self.idle.set(idle);
        self.busy.set((i64::from(all) - idle).max(0));
    }
}
