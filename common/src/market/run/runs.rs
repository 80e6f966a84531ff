//! The runs in memory.

use indexmap::IndexMap;

use super::Run;
use crate::ids::RunId;

/// Runs by their ids. A run is looked up many times for each task, so the cost of that does not
/// grow with the runs. Their order is one that only insertions and removals decide.
#[derive(Debug, Default)]
pub(in crate::market) struct Runs(IndexMap<RunId, Box<Run>>);

impl Runs {
    pub fn get(&self, id: &RunId) -> Option<&Run> {
        self.0.get(id).map(Box::as_ref)
    }

    pub fn get_mut(&mut self, id: &RunId) -> Option<&mut Run> {
        self.0.get_mut(id).map(Box::as_mut)
    }

    pub fn contains_key(&self, id: &RunId) -> bool {
        self.0.contains_key(id)
    }

    pub fn len(&self) -> usize {
        self.0.len()
    }

    pub fn values(&self) -> impl Iterator<Item = &Run> {
        self.0.values().map(Box::as_ref)
    }

    pub fn insert(&mut self, run: Run) {
        self.0.insert(run.id, Box::new(run));
    }

    pub fn remove(&mut self, id: &RunId) -> Option<Run> {
        self.0.swap_remove(id).map(|run| *run)
    }
}

impl FromIterator<Run> for Runs {
    fn from_iter<I: IntoIterator<Item = Run>>(runs: I) -> Self {
        Self(runs.into_iter().map(|run| (run.id, Box::new(run))).collect())
    }
}
