//! Spend caps of projects: the market has them, and a batch stores them with what is spent.

use chrono::{DateTime, Utc};
use common::ids::WorkspaceId;
pub use common::market::CapView;
use common::market::{Market, Refused};
use common::money::credits::Credits;
use common::money::spend_cap::CapPeriod;

use super::{Command, Coordinator, Error, Reply};

type Answer = Result<(), Refused>;

/// What is asked of the market's caps.
pub(super) enum CapCommand {
    /// Sets the cap of a project, or takes it away.
    Set {
        workspace: WorkspaceId,
        project: String,
        limit: Option<(Credits, CapPeriod)>,
        reply: Reply<Answer>,
    },
    List {
        workspace: WorkspaceId,
        reply: Reply<Vec<CapView>>,
    },
}

impl Coordinator {
    /// Sets the most that the runs of a project may cost in a period, or takes that away. What its
    /// runs hold already stays theirs.
    pub async fn set_cap(
        &self,
        workspace: WorkspaceId,
        project: String,
        limit: Option<(Credits, CapPeriod)>,
    ) -> Result<(), Error> {
        let set = |reply| Command::Cap(CapCommand::Set { workspace, project, limit, reply });
        Ok(self.ask(set).await??)
    }

    /// The spend caps of a workspace, by the names of its projects.
    pub async fn caps(&self, workspace: WorkspaceId) -> Result<Vec<CapView>, Error> {
        self.ask(|reply| Command::Cap(CapCommand::List { workspace, reply })).await
    }
}

impl CapCommand {
    /// Applies it; gives who is answered once that is on disk. Another asker may have gone.
    pub fn apply(self, market: &mut Market, now: DateTime<Utc>) -> Option<(Reply<Answer>, Answer)> {
        match self {
            Self::Set { workspace, project, limit, reply } => {
                market.set_cap(workspace, project, limit, now);
                Some((reply, Ok(())))
            }
            Self::List { workspace, reply } => {
                let _ = reply.send(market.caps(workspace));
                None
            }
        }
    }
}
