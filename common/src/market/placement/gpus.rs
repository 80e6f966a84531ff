//! A node's GPUs, counted by name: which are taken, and which one a task gets.

use std::collections::BTreeMap;

use crate::ids::NodeId;
use crate::market::Market;

/// How many there are of each name, in lower case, and how many of them tasks have.
#[derive(Debug, Default)]
pub(in crate::market) struct Gpus(BTreeMap<String, Stock>);

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
struct Stock {
    total: u32,
    used: u32,
}

impl Stock {
    fn is_free(self, ahead: u32) -> bool {
        self.total > 0 && self.used < self.total.saturating_add(ahead)
    }
}

impl Gpus {
    fn new(names: &[String]) -> Self {
        let mut stocks: BTreeMap<String, Stock> = BTreeMap::new();
        for name in names {
            stocks.entry(name.to_ascii_lowercase()).or_default().total += 1;
        }
        Self(stocks)
    }

    fn accepted<'a>(
        &'a self,
        names: &'a [String],
    ) -> impl Iterator<Item = (&'a String, &'a Stock)> {
        self.0.iter().filter(|(known, _)| names.iter().any(|name| name.eq_ignore_ascii_case(known)))
    }

    /// Whether there is one of these names, taken or not. No names ask for none.
    pub fn has(&self, names: &[String]) -> bool {
        names.is_empty() || self.accepted(names).any(|(_, stock)| stock.total > 0)
    }

    /// Whether one of these names is free, or will be: a node takes this many tasks ahead.
    pub fn has_free(&self, names: &[String], ahead: u32) -> bool {
        names.is_empty() || self.accepted(names).any(|(_, stock)| stock.is_free(ahead))
    }

    /// Takes one of these names: of the one that there is most of.
    pub fn take(&mut self, names: &[String]) -> Option<String> {
        let left = |stock: &Stock| i64::from(stock.total) - i64::from(stock.used);
        let (name, _) = self.accepted(names).max_by_key(|(_, stock)| left(stock))?;
        let name = name.clone();
        self.take_named(&name);
        Some(name)
    }

    fn take_named(&mut self, name: &str) {
        self.0.entry(name.to_owned()).or_default().used += 1;
    }

    pub fn give_back(&mut self, name: &str) {
        if let Some(stock) = self.0.get_mut(name) {
            stock.used = stock.used.saturating_sub(1);
        }
    }

    /// How many tasks have one, by name.
    pub fn used(&self) -> BTreeMap<&str, u32> {
        let used = self.0.iter().filter(|(_, stock)| stock.used > 0);
        used.map(|(name, stock)| (name.as_str(), stock.used)).collect()
    }
}

impl Market {
    /// Counts a node's GPUs again, because it says that they are others. A task that had one after
    /// a restart of the server is given its name again.
    pub(in crate::market) fn recount_gpus(&mut self, id: NodeId) {
        let Some(node) = self.nodes.get_mut(&id) else { return };
        node.gpus = Gpus::new(&node.device.gpus);
        for lease in &node.leased {
            let Some(run) = self.runs.get_mut(&lease.task.run) else { continue };
            let Some(stage) = run.tasks(lease.task.stage) else { continue };
            let names = stage.demand().gpus.to_vec();
            let Some(active) = run.active_lease_mut(*lease) else { continue };
            match &active.gpu {
                Some(name) => node.gpus.take_named(name),
                None => active.gpu = node.gpus.take(&names),
            }
        }
    }
}
