//! A node made by hand, which lies.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use anyhow::Result;
use common::compute::resources::{Resources, Usage};
use common::protocol::{
    Contents, Held, Orders, Outcome, Receipt, SignedReceipt, Sync, UnsignedReceipt, sign_together,
};
use common::run::task::Lease;
use common::testing;
use node::link::{self, Link};
use serde_json::{Value, json};
use tokio::task::JoinHandle;
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::client::{Client, text};
use crate::market::Market;

/// A hand-made node that claims 4,000,000 vCPUs and says that all it is given runs.
pub struct Rogue {
    link: Link,
    token: String,
    /// After this long it claims to have succeeded, without results; `None` is never.
    claims_after: Option<Duration>,
    held: BTreeMap<Lease, Instant>,
    receipts: Vec<(Lease, SignedReceipt)>,
}

impl Rogue {
    /// Joins a node of this tenant's, which lies until the second value is dropped.
    pub async fn join(
        market: &Market,
        tenant: &Client,
        claims_after: Option<Duration>,
    ) -> Result<(JoinHandle<()>, DropGuard)> {
        let token = text(&tenant.post("/v1/dev/nodes/tokens", json!({})).await?["token"])?;
        let endpoint = std::fs::read(market.server_folder().join("endpoint.json"))?;
        let endpoint: Value = serde_json::from_slice(&endpoint)?;
        let options = link::Options {
            server: vec![text(&endpoint["nodes"][0])?],
            key_file: market.server_folder().join("rogue.key"),
            allow_private_addresses: true,
        };
        let stop = CancellationToken::new();
        let link = Link::start(options, stop.clone())?;
        let (held, receipts) = (BTreeMap::new(), Vec::new());
        let mut rogue = Self { link, token, claims_after, held, receipts };
        // Known to the server before anything else happens.
        let orders = rogue.link.sync(rogue.message()).await?;
        rogue.obey(orders);
        let ended = stop.clone();
        let lies = tokio::spawn(async move {
            let _ = ended.run_until_cancelled(rogue.lie()).await;
        });
        Ok((lies, stop.drop_guard()))
    }

    async fn lie(&mut self) {
        loop {
            self.claim();
            if let Ok(orders) = self.link.sync(self.message()).await {
                self.obey(orders);
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    fn message(&self) -> Sync {
        let running = |lease: &Lease| Held {
            lease: *lease,
            running_ms: Some(u64::MAX / 2),
            waits_for_bucket: false,
            progress: None,
        };
        Sync {
            token: Some(self.token.clone()),
            capacity: Resources::new(4_000_000_000, u32::MAX).with_disk(u32::MAX),
            engine_away: false,
            prefetch: u32::MAX,
            holding: self.held.keys().map(running).collect(),
            receipts: self.receipts.iter().map(|(_, receipt)| receipt.clone()).collect(),
            wait_ms: 50,
            ..testing::sync()
        }
    }

    fn obey(&mut self, orders: Orders) {
        let Orders::Work { assign, settled, cancel, .. } = orders else { return };
        self.receipts.retain(|(lease, _)| !settled.contains(lease) && !cancel.contains(lease));
        for lease in cancel {
            self.held.remove(&lease);
        }
        for lease in assign.into_iter().map(|assignment| assignment.lease) {
            if !self.receipts.iter().any(|(ended, _)| *ended == lease) {
                self.held.entry(lease).or_insert_with(Instant::now);
            }
        }
    }

    fn claim(&mut self) {
        let Some(after) = self.claims_after else { return };
        let (link, receipts) = (&self.link, &mut self.receipts);
        self.held.retain(|lease, since| {
            if since.elapsed() < after {
                return true;
            }
            let most = 1 << 62;
            let usage =
                Usage { cpu_ms: most, memory_mib_ms: most, wall_ms: most, ..Usage::default() };
            let outcome = Outcome::Succeeded { outputs: Vec::new(), value: None };
            let receipt = Receipt { lease: *lease, usage, outcome };
            let receipt = UnsignedReceipt::new(&receipt, Contents::default());
            let signed = sign_together(vec![receipt], |bytes| link.sign(bytes));
            receipts.extend(signed.into_iter().map(|signed| (*lease, signed)));
            false
        });
    }
}
