//! What the server counts and measures, for Prometheus. The parts of the server tell it as they
//! work; it asks none of them and knows none. A label has few values, all known beforehand: never
//! an id, a path or a text from outside.

mod coordinator;
mod database;
mod http;
mod money;
mod nodes;
mod transfers;

use std::sync::Arc;

use instruments::{Builder, Description, IntGauge, Registry};

use coordinator::CoordinatorMetrics;
use database::DatabaseMetrics;
use http::HttpMetrics;
use money::MoneyMetrics;
use nodes::NodesMetrics;
pub use transfers::Kind as TransferKind;
use transfers::TransferMetrics;

/// All metrics of one server.
#[derive(Debug)]
pub struct Metrics {
    pub http: HttpMetrics,
    pub coordinator: CoordinatorMetrics,
    pub money: MoneyMetrics,
    pub nodes: NodesMetrics,
    pub transfers: TransferMetrics,
    pub database: DatabaseMetrics,
    ready: IntGauge,
    registry: Registry,
}

impl Metrics {
    pub fn new() -> Arc<Self> {
        let mut builder = Builder::new("fanfold", env!("CARGO_PKG_VERSION"));
        let ready = builder.gauge(
            "fanfold_ready",
            "1 while the database and the bucket answer, as `/readyz` says",
        );
        Arc::new(Self {
            http: HttpMetrics::new(&mut builder),
            coordinator: CoordinatorMetrics::new(&mut builder),
            money: MoneyMetrics::new(&mut builder),
            nodes: NodesMetrics::new(&mut builder),
            transfers: TransferMetrics::new(&mut builder),
            database: DatabaseMetrics::new(&mut builder),
            ready,
            registry: builder.build(),
        })
    }

    /// Every metric, for the documents.
    pub fn descriptions(&self) -> &[Description] {
        self.registry.descriptions()
    }

    /// Calls this before each scrape. It reads memory only and does not wait.
    pub fn before_scrape(&self, sample: impl Fn() + Send + Sync + 'static) {
        self.registry.before_scrape(sample);
    }

    /// The text of a scrape.
    pub fn render(&self, is_ready: bool) -> String {
        self.ready.set(is_ready.into());
        self.registry.render()
    }
}
