//! What server and node make their metrics with: a registry of counters, gauges and histograms
//! that can list them for the documents and print them for Prometheus. It knows no metric of
//! either, but those that every process has. The only user of the crate `prometheus`.

mod process;
mod table;

use std::fmt;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use prometheus::core::Collector;
pub use prometheus::{
    Counter, CounterVec, Gauge, GaugeVec, Histogram, HistogramVec, IntCounter, IntCounterVec,
    IntGauge, IntGaugeVec,
};
use prometheus::{HistogramOpts, Opts, TextEncoder};

pub use table::table;

/// The type of what `Registry::render` gives.
pub const CONTENT_TYPE: &str = "text/plain; version=0.0.4";

/// A metric as the documents list it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Description {
    pub name: String,
    pub kind: Kind,
    pub labels: Vec<String>,
    pub help: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Counter,
    Gauge,
    Histogram,
}

impl Kind {
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Counter => "counter",
            Self::Gauge => "gauge",
            Self::Histogram => "histogram",
        }
    }
}

type Sample = Box<dyn Fn() + Send + Sync>;

/// All metrics of one server or node. It is no global: tests run several in one process.
pub struct Registry {
    registry: prometheus::Registry,
    descriptions: Vec<Description>,
    /// Each sets gauges from what changes without telling them.
    samples: Mutex<Vec<Sample>>,
}

impl fmt::Debug for Registry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Registry").field("metrics", &self.descriptions.len()).finish()
    }
}

/// Makes a registry: all metrics are added before the first scrape.
///
/// # Panics
///
/// Its methods panic where a name is not valid or is taken, which the first test finds.
#[derive(Debug)]
pub struct Builder(Registry);

impl Builder {
    /// A registry with the metrics of every process, and `PREFIX_build_info` of this version.
    pub fn new(prefix: &str, version: &str) -> Self {
        let mut builder = Self(Registry {
            registry: prometheus::Registry::new(),
            descriptions: Vec::new(),
            samples: Mutex::default(),
        });
        process::add(&mut builder);
        let info = builder.gauges(
            &format!("{prefix}_build_info"),
            "1, with the version that runs as a label",
            &["version"],
        );
        info.with_label_values(&[version]).set(1);
        builder
    }

    pub fn counter(&mut self, name: &str, help: &str) -> IntCounter {
        self.add(Kind::Counter, name, help, &[], IntCounter::with_opts)
    }

    pub fn counters(&mut self, name: &str, help: &str, labels: &[&str]) -> IntCounterVec {
        self.add(Kind::Counter, name, help, labels, |opts| IntCounterVec::new(opts, labels))
    }

    /// A counter of seconds, or of other parts of a whole.
    pub fn float_counter(&mut self, name: &str, help: &str) -> Counter {
        self.add(Kind::Counter, name, help, &[], Counter::with_opts)
    }

    pub fn float_counters(&mut self, name: &str, help: &str, labels: &[&str]) -> CounterVec {
        self.add(Kind::Counter, name, help, labels, |opts| CounterVec::new(opts, labels))
    }

    pub fn gauge(&mut self, name: &str, help: &str) -> IntGauge {
        self.add(Kind::Gauge, name, help, &[], IntGauge::with_opts)
    }

    pub fn gauges(&mut self, name: &str, help: &str, labels: &[&str]) -> IntGaugeVec {
        self.add(Kind::Gauge, name, help, labels, |opts| IntGaugeVec::new(opts, labels))
    }

    pub fn float_gauge(&mut self, name: &str, help: &str) -> Gauge {
        self.add(Kind::Gauge, name, help, &[], Gauge::with_opts)
    }

    pub fn float_gauges(&mut self, name: &str, help: &str, labels: &[&str]) -> GaugeVec {
        self.add(Kind::Gauge, name, help, labels, |opts| GaugeVec::new(opts, labels))
    }

    pub fn histogram(&mut self, name: &str, help: &str, buckets: &[f64]) -> Histogram {
        let buckets = buckets.to_vec();
        self.add(Kind::Histogram, name, help, &[], |opts| {
            Histogram::with_opts(HistogramOpts::from(opts).buckets(buckets))
        })
    }

    pub fn histograms(
        &mut self,
        name: &str,
        help: &str,
        labels: &[&str],
        buckets: &[f64],
    ) -> HistogramVec {
        let buckets = buckets.to_vec();
        self.add(Kind::Histogram, name, help, labels, |opts| {
            HistogramVec::new(HistogramOpts::from(opts).buckets(buckets), labels)
        })
    }

    fn add<M: Collector + Clone + 'static>(
        &mut self,
        kind: Kind,
        name: &str,
        help: &str,
        labels: &[&str],
        make: impl FnOnce(Opts) -> prometheus::Result<M>,
    ) -> M {
        let metric = make(Opts::new(name, help)).expect("the name of a metric is valid");
        self.0.registry.register(Box::new(metric.clone())).expect("no two metrics share a name");
        self.0.descriptions.push(Description {
            name: name.to_owned(),
            kind,
            labels: labels.iter().map(ToString::to_string).collect(),
            help: help.to_owned(),
        });
        metric
    }

    pub fn build(self) -> Registry {
        self.0
    }
}

impl Registry {
    /// Every metric, in the order in which they were added.
    pub fn descriptions(&self) -> &[Description] {
        &self.descriptions
    }

    /// Calls this before each scrape: it sets gauges, reads memory only, and does not wait.
    pub fn before_scrape(&self, sample: impl Fn() + Send + Sync + 'static) {
        self.samples.lock().unwrap_or_else(PoisonError::into_inner).push(Box::new(sample));
    }

    /// All metrics in Prometheus' text format.
    pub fn render(&self) -> String {
        for sample in self.samples.lock().unwrap_or_else(PoisonError::into_inner).iter() {
            sample();
        }
        let families = self.registry.gather();
        TextEncoder::new().encode_to_string(&families).expect("a gathered metric has a value")
    }
}

/// A count as a gauge has it.
pub fn count(n: impl TryInto<i64>) -> i64 {
    n.try_into().unwrap_or(i64::MAX)
}

/// Thousandths as a whole, such as milliseconds as seconds.
pub fn thousandths(n: u64) -> f64 {
    Duration::from_millis(n).as_secs_f64()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn registry_renders_what_was_counted_and_sampled() {
        let mut builder = Builder::new("x", "0.1");
        let counted = builder.counters("x_things_total", "Things", &["kind"]);
        let sampled = builder.gauge("x_queue", "What waits");
        let registry = builder.build();
        registry.before_scrape(move || sampled.set(7));

        counted.with_label_values(&["a\"\n"]).inc_by(2);
        let text = registry.render();

        for line in [
            "# TYPE x_things_total counter",
            "x_things_total{kind=\"a\\\"\\n\"} 2",
            "x_queue 7",
            "x_build_info{version=\"0.1\"} 1",
        ] {
            assert!(text.lines().any(|found| found == line), "{line}: {text}");
        }
    }

    #[test]
    fn counts_and_thousandths_are_as_written() {
        assert_eq!((count(3_usize), count(u64::MAX)), (3, i64::MAX));
        assert_eq!(thousandths(1_500).to_string(), "1.5");
    }
}
