//! Whether the engine answers. While it does not, the node lends nothing, so that tasks go to other
//! nodes; what could not be removed meanwhile is removed once it is back.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bollard::Docker as Client;
use bollard::errors::Error as EngineError;
use bollard::query_parameters::RemoveContainerOptionsBuilder;
use common::error_chain::chain;
use tokio::sync::watch;
use tokio::time::{sleep, timeout};
use tokio_util::task::AbortOnDropHandle;

use super::Docker;

/// How long the engine may take to say that it is there.
const PATIENCE: Duration = Duration::from_secs(5);
/// How often it is asked while it is away.
const PERIOD: Duration = Duration::from_millis(500);
/// Containers to be removed later. Of more than these the next start of the node takes care.
const LEFT_MAX: usize = 1024;

#[derive(Debug, Default)]
pub struct Presence {
    is_away: watch::Sender<bool>,
    /// Asks until the engine is back.
    asking: Mutex<Option<AbortOnDropHandle<()>>>,
}

/// Containers that could not be removed, by their ids or names.
#[derive(Debug, Clone, Default)]
pub struct Left(Arc<Mutex<Vec<String>>>);

impl Left {
    pub fn add(&self, container: &str) {
        let mut left = self.lock();
        if left.len() < LEFT_MAX {
            left.push(container.to_owned());
        }
    }

    /// Removes a container, whatever it does.
    pub async fn remove(&self, client: &Client, container: &str) {
        let options = RemoveContainerOptionsBuilder::new().force(true).v(true).build();
        match client.remove_container(container, Some(options)).await {
            Ok(()) => {}
            Err(EngineError::DockerResponseServerError { status_code: 404 | 409, .. }) => {}
            Err(error) => {
                tracing::warn!(
                    error = %chain(&error), container,
                    "a container cannot be removed; it is tried again later"
                );
                self.add(container);
            }
        }
    }

    /// Tries again to remove what is left.
    async fn remove_all(&self, client: &Client) {
        let left = std::mem::take(&mut *self.lock());
        for container in left {
            self.remove(client, &container).await;
        }
    }

    fn lock(&self) -> MutexGuard<'_, Vec<String>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Docker {
    /// Whether the engine was away when it was needed last.
    pub fn is_away(&self) -> watch::Receiver<bool> {
        self.presence.is_away.subscribe()
    }

    /// Asks the engine whether it is there, after something has failed. Where it is not, it is
    /// asked until it is.
    pub async fn look(&self) {
        if answers(&self.client).await {
            return self.left.remove_all(&self.client).await;
        }
        if self.presence.is_away.send_replace(true) {
            return;
        }
        tracing::warn!(
            "the container engine does not answer: the node lends nothing until it does"
        );
        let (client, left) = (self.client.clone(), self.left.clone());
        let is_away = self.presence.is_away.clone();
        let asking = tokio::spawn(async move {
            while !answers(&client).await {
                sleep(PERIOD).await;
            }
            left.remove_all(&client).await;
            tracing::info!("the container engine answers again");
            is_away.send_replace(false);
        });
        let mut handle = self.presence.asking.lock().unwrap_or_else(PoisonError::into_inner);
        *handle = Some(AbortOnDropHandle::new(asking));
    }
}

async fn answers(client: &Client) -> bool {
    matches!(timeout(PATIENCE, client.ping()).await, Ok(Ok(_)))
}
