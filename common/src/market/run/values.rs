//! The values of a run, and what its expressions read.

use std::sync::Arc;

use super::Run;
use crate::market::stage::Stage;
use crate::market::stage::frozen::{Element, Frozen, Resolution};
use crate::market::stage::values::{TooMuch, ValueRecord};
use crate::plan::{BlockId, Body, Each, Name};
use crate::protocol::VALUE_BYTES_MAX;
use crate::run::task::StageNo;

impl Run {
    /// Gives a loaded run what expressions have decided of a stage, which is there if it is open.
    #[must_use]
    pub fn with_resolution(mut self, no: StageNo, resolution: Resolution) -> Self {
        self.note_length(no, &resolution);
        if let Some(stage) = self.stages.get_mut(&no) {
            stage.resolved = Some(Arc::new(resolution));
        }
        self
    }

    /// Gives a loaded run, whose stages are there, a value.
    #[must_use]
    pub fn with_value(mut self, record: ValueRecord) -> Self {
        if record.within.is_none_or(|within| self.stages.contains_key(&within)) {
            self.values.restore(record);
        }
        self
    }

    #[cfg(any(test, feature = "testing"))]
    pub(in crate::market) fn known_values(&self) -> &[ValueRecord] {
        self.values.known()
    }

    /// What the run gives.
    pub fn output(&self) -> Option<&Arc<str>> {
        self.output.as_ref()
    }

    pub(in crate::market) fn set_output(&mut self, output: Option<String>) {
        self.output = output.map(Arc::from);
    }

    /// How many values it has had.
    pub(in crate::market) fn values_seen(&self) -> u32 {
        self.values.next()
    }

    /// What a block has given that is opened once.
    pub(in crate::market) fn value_of(&self, block: BlockId) -> Option<Arc<str>> {
        let name = self.spec.plan.block(block).var.as_ref()?;
        self.values.given(name).cloned()
    }

    /// The blocks in which the task is that has ended it.
    pub(in crate::market) fn failed_blocks(&self) -> impl Iterator<Item = BlockId> {
        let failed = self.failed_in.into_iter();
        failed.flat_map(|no| self.way_up(no).map(|stage| stage.block))
    }

    /// Notes how long the list of a block is that is opened once.
    pub(in crate::market) fn note_length(&mut self, no: StageNo, resolution: &Resolution) {
        let plan = &self.spec.plan;
        let block = u16::try_from(no.number()).ok().map(BlockId::new);
        let single = block.filter(|block| plan.has(*block) && !plan.is_repeated(*block));
        if let (Some(block), Some(items)) = (single, &resolution.items) {
            self.lengths.insert(block, items.len());
        }
    }

    /// How many elements a list had that an expression gave.
    pub(in crate::market) fn length(&self, block: BlockId) -> Option<u32> {
        self.lengths.get(&block).copied()
    }

    /// Takes the value that a task, a call or a part of the run has given. Gives what is to be
    /// stored; `None` where nobody reads it.
    pub(in crate::market) fn take_value(
        &mut self,
        no: StageNo,
        index: u32,
        value: Arc<str>,
    ) -> Result<Option<ValueRecord>, TooMuch> {
        let Some(stage) = self.stages.get(&no) else { return Ok(None) };
        if value.len() > VALUE_BYTES_MAX {
            return Err(TooMuch);
        }
        let (plan, block) = (&self.spec.plan, self.spec.plan.block(stage.block));
        let is_list = |block: BlockId| matches!(plan.block(block).body, Body::Each(_));
        let parent = stage.parent.and_then(|parent| self.stages.get(&parent));
        let (name, within, item) = match (&block.var, parent.filter(|of| is_list(of.block))) {
            // One of the tasks of a list.
            (Some(name), _) if is_list(stage.block) => (name.clone(), Some(no), Some(index)),
            (Some(name), _) => (name.clone(), self.elements_of(no).last().copied(), None),
            (None, Some(list)) => match &plan.block(list.block).var {
                Some(name) => (name.clone(), Some(list.no), stage.item),
                None => return Ok(None),
            },
            (None, None) => return Ok(None),
        };
        self.values.put(self.id, name, within, item, value).map(Some)
    }

    /// Takes what the elements of a list have given, as the value of the list that ends.
    pub(in crate::market) fn gather(
        &mut self,
        no: StageNo,
    ) -> Result<Option<ValueRecord>, TooMuch> {
        let Some(stage) = self.stages.get(&no) else { return Ok(None) };
        let block = self.spec.plan.block(stage.block);
        let (Body::Each(_), Some(name)) = (&block.body, &block.var) else { return Ok(None) };
        let (name, len) = (name.clone(), stage.len());
        let value: Arc<str> = self.values.gathered(no, len).into();
        let within = stage.parent.and_then(|of| self.elements_of(of).last().copied());
        self.values.forget(no);
        self.values.put(self.id, name, within, None, value).map(Some)
    }

    /// The stages of the elements that a stage lies in, the innermost last.
    fn elements_of(&self, no: StageNo) -> Vec<StageNo> {
        let mut elements: Vec<StageNo> =
            self.way_up(no).filter(|stage| stage.item.is_some()).map(|stage| stage.no).collect();
        elements.reverse();
        elements
    }

    /// A stage and those that it lies in, from the inside.
    fn way_up(&self, no: StageNo) -> impl Iterator<Item = &Stage> {
        let above = |stage: &&Stage| self.stage(stage.parent?);
        std::iter::successors(self.stage(no), above)
    }

    /// What the expressions of a stage read.
    pub fn frozen(&self, no: StageNo) -> Option<&Arc<Frozen>> {
        let stage = self.stages.get(&no)?;
        Some(stage.frozen.get_or_init(|| Arc::new(self.freeze(stage))))
    }

    fn freeze(&self, stage: &Stage) -> Frozen {
        let seen = self.elements_of(stage.no);
        let values = self.values.seen(stage.seen, &seen);
        let values = values.map(|(name, value): (&Name, _)| (name.clone(), Arc::clone(value)));
        let each = |stage: &Stage| match &self.spec.plan.block(stage.block).body {
            Body::Each(Each { item, .. }) => Some(item.clone()),
            Body::Group(_)
            | Body::Child(_)
            | Body::Container(_)
            | Body::Data(_)
            | Body::Call(_) => None,
        };
        let element = |stage: &Stage| {
            let list = self.stages.get(&stage.parent?)?;
            Some(Element { name: each(list)?, index: stage.item?, of: list.resolved.clone() })
        };
        let mut items: Vec<Element> = self.way_up(stage.no).filter_map(element).collect();
        items.reverse();
        Frozen {
            run: self.id,
            spec: Arc::clone(&self.spec),
            stage: stage.no,
            block: stage.block,
            opened_at: stage.opened_at,
            is_end: stage.is_output(),
            values: values.collect(),
            items,
            list: each(stage).map(|name| (name, stage.resolved.clone())),
        }
    }
}
