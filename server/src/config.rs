//! The server's settings: `default.toml`, which is the manual, then a file, then the environment.

mod sources;
mod traces;

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::num::NonZeroU32;
use std::path::{Path, PathBuf};

use chrono::TimeDelta;
use common::digest::Digest;
use common::market::{CallLimits, Checks, Policy};
use common::money::credits::Credits;
use common::money::currency::Rates;
use figment::Figment;
use serde::Deserialize;

use crate::data::ssrf_guard::Ports;
pub use traces::TracesConfig;

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    pub http_listen: SocketAddr,
    pub p2p_listen: Vec<String>,
    pub data_dir: PathBuf,
    pub database_url: Hidden,
    pub public_url: String,
    pub promotional_credits: Credits,
    pub sign_up_codes: Vec<SignUpCode>,
    pub trusted_proxies: Vec<IpAddr>,
    pub limits: LimitsConfig,
    pub http: HttpConfig,
    pub mail: Option<MailConfig>,
    pub data: DataConfig,
    pub storage: StorageConfig,
    pub nodes: NodesConfig,
    pub calls: CallsConfig,
    pub containers: ContainersConfig,
    pub wallet: WalletConfig,
    pub metrics: MetricsConfig,
    pub traces: TracesConfig,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DataConfig {
    pub allow_private_addresses: bool,
    /// To which the server connects at customers' URLs, endpoints and registries.
    pub allowed_ports: Ports,
    pub s3: Option<S3Config>,
}

/// Fanfold's own bucket on an S3-compatible store.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct S3Config {
    pub bucket: String,
    pub region: String,
    pub endpoint: Option<String>,
    pub access_key: String,
    pub secret_key: Hidden,
}

/// How much and how long is kept.
#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StorageConfig {
    /// The most that one workspace may keep in the bucket.
    pub quota_gib: NonZeroU32,
    /// What is kept for nothing.
    pub free_gib: u32,
    /// What a GiB beyond that costs for 30 days.
    pub gib_month_price: Credits,
    /// How long the file of a draft is kept that is not run.
    pub draft_days: NonZeroU32,
    /// How long logs are kept after their run has ended.
    pub log_days: NonZeroU32,
}

impl StorageConfig {
    /// The quota in bytes.
    pub fn quota_bytes(self) -> u64 {
        u64::from(self.quota_gib.get()) << 30
    }
}

/// What lets people sign up.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(untagged)]
pub enum SignUpCode {
    /// As often as anybody likes.
    Unlimited(Hidden),
    Limited(LimitedCode),
}

/// A code that this many new accounts can be made with.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LimitedCode {
    pub code: Hidden,
    pub uses: NonZeroU32,
}

/// How often may be asked.
#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LimitsConfig {
    /// By one workspace.
    pub requests_per_minute: NonZeroU32,
    /// From one address, without a valid token or key.
    pub stranger_requests_per_minute: NonZeroU32,
    /// Tests of data sources by one workspace: each connects to an address of its choice.
    pub source_tests_per_minute: NonZeroU32,
}

/// How long requests and connections may take, and how many connections there may be.
#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HttpConfig {
    pub header_timeout_secs: NonZeroU32,
    pub idle_timeout_secs: NonZeroU32,
    pub request_timeout_secs: NonZeroU32,
    pub stall_timeout_secs: NonZeroU32,
    pub bytes_per_sec_min: NonZeroU32,
    pub connections_max: NonZeroU32,
    pub connections_per_address_max: NonZeroU32,
}

/// The mail server through which letters go.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MailConfig {
    pub host: String,
    /// The usual one of the TLS mode where none is set.
    pub port: Option<u16>,
    #[serde(default)]
    pub tls: MailTls,
    #[serde(default)]
    pub user: String,
    #[serde(default)]
    pub password: Hidden,
    pub from: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum MailTls {
    /// From the first byte.
    #[default]
    Implicit,
    /// After a greeting in the clear, and never without.
    Starttls,
    /// Never: for a mail server on the same machine.
    None,
}

#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NodesConfig {
    lease_secs: u32,
    estimate_secs: u32,
    task_timeout_secs: NonZeroU32,
    spot_check_percent: u32,
}

/// How many calls the server makes at once.
#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CallsConfig {
    at_once: NonZeroU32,
    at_once_per_workspace: NonZeroU32,
    at_once_per_host: NonZeroU32,
}

/// Containers of customers' images.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ContainersConfig {
    /// What scripts of definitions run in.
    pub script_image: String,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WalletConfig {
    /// What a credit costs in each currency that is dealt in.
    pub rates: Rates,
    /// The least that is paid out at a time.
    pub payout_min: Credits,
    /// What a call costs that is accepted.
    pub call_price: Credits,
    /// How long after it was captured an earning can be spent.
    pub earnings_delay_secs: u32,
}

impl WalletConfig {
    pub fn earnings_delay(&self) -> TimeDelta {
        TimeDelta::seconds(self.earnings_delay_secs.into())
    }
}

/// Who may read `/metrics`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MetricsConfig {
    /// Lets others than this machine read them, where it is not empty.
    pub token: Hidden,
}

impl MetricsConfig {
    /// The hash of the token: tokens are compared by their hashes, so that how long it takes tells
    /// nothing about the token.
    pub fn token_hash(&self) -> Option<Digest> {
        let text = &self.token.0;
        (!text.is_empty()).then(|| Digest::of(text.as_bytes()))
    }
}

/// A text that no log shows.
#[derive(Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(transparent)]
pub struct Hidden(pub String);

impl fmt::Debug for Hidden {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("(hidden)")
    }
}

/// The settings cannot be used; the text names the one.
#[derive(Debug, thiserror::Error)]
#[error("the configuration cannot be used: {0}")]
pub struct Error(#[from] Box<figment::Error>);

impl Config {
    /// Reads the settings: the defaults, then the file, then `FANFOLD_SECTION__KEY`.
    pub fn load(file: Option<&Path>) -> Result<Self, Error> {
        settings(file).extract().map_err(|error| Error(Box::new(error)))
    }

    /// Every setting as a line, with its value and where that comes from; secrets are not shown.
    pub fn printed(file: Option<&Path>) -> Result<Vec<String>, Error> {
        Self::load(file)?;
        Ok(sources::printed(&settings(file)))
    }

    pub(crate) fn policy(&self) -> Policy {
        Policy {
            lease: TimeDelta::seconds(self.nodes.lease_secs.into()),
            estimate: TimeDelta::seconds(self.nodes.estimate_secs.into()),
            task_timeout_secs: self.nodes.task_timeout_secs.get(),
            calls: CallLimits {
                all: self.calls.at_once.get(),
                workspace: self.calls.at_once_per_workspace.get(),
                host: self.calls.at_once_per_host.get(),
            },
            checks: Checks { percent: self.nodes.spot_check_percent.min(100), ..Checks::default() },
            ..Policy::default()
        }
    }

    /// The database's address; a SQLite file in the data folder where none is set.
    pub(crate) fn database(&self) -> String {
        if self.database_url.0.is_empty() {
            format!("sqlite://{}", self.data_dir.join("fanfold.sqlite").display())
        } else {
            self.database_url.0.clone()
        }
    }
}

fn settings(file: Option<&Path>) -> Figment {
    // A variable that is not valid UTF-8 is no setting.
    let variables = std::env::vars_os()
        .filter_map(|(name, text)| Some((name.into_string().ok()?, text.into_string().ok()?)));
    sources::figment(file, variables)
}

#[cfg(test)]
mod tests {
    use figment::providers::{Format as _, Toml};

    use super::*;

    #[test]
    fn manual_is_a_valid_configuration() {
        let config: Config =
            Figment::new().merge(Toml::string(include_str!("default.toml"))).extract().unwrap();

        assert_eq!(config.promotional_credits.to_string(), "1000.00000000");
        assert_eq!(config.policy(), Policy::default());
        assert!(!config.data.allow_private_addresses);
        assert_eq!(config.data.allowed_ports, Ports::WEB);
        assert_eq!(config.wallet.rates.names(), "USD");
        assert!(config.mail.is_none());
        assert!(config.traces.otlp_endpoint.0.is_none());
    }

    #[test]
    fn mail_server_requires_its_name_and_a_sender() {
        let with = |mail: &str| {
            let figment = Figment::new().merge(Toml::string(include_str!("default.toml")));
            figment.merge(Toml::string(mail)).extract::<Config>().map_err(Box::new)
        };

        let mail = with("[mail]\nhost = \"h\"\nfrom = \"f@h\"\ntls = \"starttls\"").unwrap().mail;

        assert_eq!(mail.unwrap().tls, MailTls::Starttls);
        assert!(with("[mail]\nhost = \"h\"").unwrap_err().to_string().contains("from"));
    }

    #[test]
    fn sign_up_code_may_have_a_number_of_uses() {
        let with = |codes: &str| {
            let figment = Figment::new().merge(Toml::string(include_str!("default.toml")));
            figment.merge(Toml::string(codes)).extract::<Config>().map_err(Box::new)
        };

        let config =
            with("sign_up_codes = [\"a\", { code = \"b\", uses = 2 }]").unwrap().sign_up_codes;

        let uses = NonZeroU32::new(2).unwrap();
        let limited = LimitedCode { code: Hidden("b".to_owned()), uses };
        assert_eq!(
            config,
            [SignUpCode::Unlimited(Hidden("a".to_owned())), SignUpCode::Limited(limited)]
        );
        assert!(with("sign_up_codes = [{ code = \"b\", uses = 0 }]").is_err());
    }

    #[test]
    fn unknown_setting_is_named() {
        let error = Figment::new()
            .merge(Toml::string(include_str!("default.toml")))
            .merge(Toml::string("[data]\nallow_privat = true"))
            .extract::<Config>()
            .unwrap_err();

        assert!(error.to_string().contains("allow_privat"), "{error}");
    }
}
