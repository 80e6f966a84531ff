//! What a run's next task needs of its node.

use super::run::Run;
use crate::resources::Resources;
use crate::task::Stage;

impl Run {
    /// What a task needs now: what its package asks for, and disk for its input, in whole MiB. How large the
    /// results are that an assembler reads, its node finds out.
    pub(super) fn needs(&self) -> Resources {
        let needs = self.container().map_or(Resources::NONE, |container| container.needs);
        let input = match self.stage() {
            Some(Stage::Partition) => self.source.as_ref().map(|table| table.objects().bytes()),
            Some(Stage::Process) => self.chunks.as_ref().map(|table| table.longest()),
            Some(Stage::Assemble) | None => None,
        };
        let mib = u32::try_from(input.unwrap_or(0) >> 20).unwrap_or(u32::MAX);
        needs.with_disk(needs.disk_mib.saturating_add(mib))
    }
}
