//! What containers are connected to: nothing, what the node's owner allows, or the other containers
//! of their task.
//!
//! The containers of a task that has some beside its steps share one network namespace. A small
//! container of the node's own holds it, so that it lasts as long as the task. They reach one
//! another at `localhost` and at their names, and nothing of it is to be seen on the machine.

use std::path::Path;
use std::time::Duration;

use common::compute::container::{Grants, Profile};
use common::compute::resources::Resources;
use tokio::time::sleep;

use super::images::HOLD_PROGRAM;
use super::{Docker, Made, failed};
use crate::logs::redact::Redactor;
use crate::runtime::launch::Connection;
use crate::runtime::{Entry, Error, Launch};

/// What the container needs that holds a network.
const HOLD_NEEDS: Resources = Resources::new(10, 16);
/// How often a port is looked for.
const LOOK: Duration = Duration::from_millis(50);
/// The state of a socket that listens, as the kernel writes it.
const LISTENS: &str = "0A";

/// What a node's owner allows containers beyond sealed ones of packages.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Allowed {
    /// Containers of the profile `plain`.
    pub plain: bool,
    /// The engine's network for containers that ask for one; `None` gives them none.
    pub network: Option<String>,
}

impl Allowed {
    /// The same on a node that runs as root, or does not: what root leaves in its folders, only
    /// root can remove.
    #[must_use]
    pub fn of_root(self, is_root: bool) -> Self {
        Self { plain: self.plain && is_root, ..self }
    }
}

/// A network that the containers of a task share.
#[derive(Debug)]
pub struct Shared {
    made: Made,
    process: u32,
}

impl Shared {
    pub fn connection(&self) -> Connection {
        Connection::Of(self.made.id.clone())
    }

    /// The container that holds it.
    pub const fn holder(&self) -> &Made {
        &self.made
    }

    /// Waits until something listens on this TCP port.
    pub async fn listens(&self, port: u16) {
        while !listens(self.process, port) {
            sleep(LOOK).await;
        }
    }
}

impl Docker {
    /// What tasks may ask of this node.
    pub fn grants(&self) -> Grants {
        Grants {
            plain: self.allowed.plain,
            network: self.allowed.network.is_some(),
            local_images: self.images.lends_local(),
        }
    }

    /// A server asks for nothing that the owner does not allow, unless it is hostile.
    pub(super) fn check_allowed(&self, launch: &Launch) -> Result<(), Error> {
        if launch.profile == Profile::Plain && !self.allowed.plain {
            return Err(Error::NotAllowed("containers of the profile plain"));
        }
        if launch.connection == Connection::Owners && self.allowed.network.is_none() {
            return Err(Error::NotAllowed("containers a network"));
        }
        Ok(())
    }

    /// What the engine calls a connection.
    pub(super) fn network_mode(&self, connection: &Connection) -> String {
        match connection {
            Connection::None => "none".to_owned(),
            Connection::Owners => self.allowed.network.clone().unwrap_or_else(|| "none".to_owned()),
            Connection::Of(container) => format!("container:{container}"),
        }
    }

    /// Makes a network for containers like this one, in which these names lead to `localhost`.
    /// The caller removes its holder.
    pub async fn share_network(&self, like: &Launch, names: &[String]) -> Result<Shared, Error> {
        let launch = Launch {
            env: Vec::new(),
            redactor: Redactor::default(),
            entry: Entry::Commands(Vec::new()),
            working_dir: None,
            mounts: Vec::new(),
            profile: Profile::Sealed,
            needs: HOLD_NEEDS,
            gpu: None,
            hosts: names.iter().map(|name| format!("{name}:127.0.0.1")).collect(),
            ..like.clone()
        };
        self.check_allowed(&launch)?;
        let image = self.hold_image().await?;
        let made = self.create(&launch, &image, Some(&[HOLD_PROGRAM.to_owned()])).await?;
        match self.begin_holding(&made).await {
            Ok(process) => Ok(Shared { made, process }),
            Err(error) => {
                self.remove(&made).await;
                Err(error)
            }
        }
    }

    async fn begin_holding(&self, made: &Made) -> Result<u32, Error> {
        let _begun = self.begin(made).await?;
        let state = self.state(&made.id).await?;
        let process = state.and_then(|state| state.pid).and_then(|pid| u32::try_from(pid).ok());
        process.filter(|pid| *pid > 0).ok_or_else(|| failed("hold a network", "it has ended"))
    }
}

/// Whether something listens on a TCP port in the network namespace of a process.
fn listens(process: u32, port: u16) -> bool {
    ["tcp", "tcp6"].into_iter().any(|kind| {
        let file = Path::new("/proc").join(process.to_string()).join("net").join(kind);
        std::fs::read_to_string(file).is_ok_and(|text| text.lines().any(|line| is_of(line, port)))
    })
}

/// Whether a line of the kernel's list of sockets is of one that listens on this port.
fn is_of(line: &str, port: u16) -> bool {
    let mut fields = line.split_whitespace().skip(1);
    let (Some(local), Some(_), Some(state)) = (fields.next(), fields.next(), fields.next()) else {
        return false;
    };
    let own = local.rsplit_once(':').and_then(|(_, port)| u16::from_str_radix(port, 16).ok());
    state == LISTENS && own == Some(port)
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    #[test]
    fn port_listens_while_somebody_has_it_open() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let own = std::process::id();

        assert!(listens(own, port));
        drop(listener);
        assert!(!listens(own, port));
    }

    #[test]
    fn socket_that_is_connected_does_not_listen() {
        let line = |state: &str| format!("  0: 0100007F:1538 00000000:0000 {state} 00000000:0");
        assert!(is_of(&line("0A"), 0x1538));
        assert!(!is_of(&line("01"), 0x1538));
        assert!(!is_of(&line("0A"), 5432 - 4));
        assert!(!is_of("  sl  local_address rem_address   st", 1));
    }
}
