//! What every use case works with.

use std::net::IpAddr;
use std::num::NonZeroU32;
use std::path::PathBuf;
use std::sync::Arc;

use common::digest::Digest;
use common::money::credits::Credits;

use crate::config::{HttpConfig, LimitsConfig, SignUpCode, WalletConfig};
use crate::coordinator::Coordinator;
use crate::data::Data;
use crate::mail::Mail;
use crate::metrics::Metrics;
use crate::people::attempts::Attempts;
use crate::registry::Registries;
use crate::secrets::Secrets;
use crate::store::Db;

/// The parts of a server that use cases need; clones share them.
#[derive(Clone)]
pub struct App {
    pub db: Db,
    pub data: Data,
    pub coordinator: Coordinator,
    pub secrets: Secrets,
    pub mail: Mail,
    pub registries: Registries,
    pub attempts: Attempts,
    pub metrics: Arc<Metrics>,
    pub settings: Settings,
}

#[derive(Clone)]
pub struct Settings {
    /// Signs access tokens; 32 random bytes that the server keeps on its disk.
    pub token_key: [u8; 32],
    /// Signing up takes one of these; where there is none, nobody can.
    pub access_codes: Vec<AccessCode>,
    /// What a new workspace is given.
    pub welcome: Credits,
    /// Proxies whose `X-Forwarded-For` is trusted.
    pub trusted_proxies: Vec<IpAddr>,
    pub limits: LimitsConfig,
    pub http: HttpConfig,
    /// A folder for bodies that wait for their turn.
    pub spool: PathBuf,
    pub wallet: WalletConfig,
    /// The image that scripts of definitions run in.
    pub script_image: String,
    /// How long logs are kept after the end of their run, at most.
    pub log_days: NonZeroU32,
    /// Where nodes join.
    pub node_addresses: Vec<String>,
    /// The hash of what lets others than this machine read the metrics.
    pub metrics_token: Option<Digest>,
}

/// What lets people sign up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AccessCode {
    /// Codes are compared by their hashes, so that how long it takes tells nothing about a code.
    pub hash: Digest,
    /// How many accounts can be made with it; `None` is any number.
    pub uses_max: Option<NonZeroU32>,
}

impl From<&SignUpCode> for AccessCode {
    fn from(code: &SignUpCode) -> Self {
        let (text, uses_max) = match code {
            SignUpCode::Unlimited(text) => (text, None),
            SignUpCode::Limited(limited) => (&limited.code, Some(limited.uses)),
        };
        Self { hash: Digest::of(text.0.as_bytes()), uses_max }
    }
}
