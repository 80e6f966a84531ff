//! Where settings come from, and what they are in the end.

#[cfg(test)]
mod reference;

use std::path::Path;

use common::input::alike;
use figment::providers::{Format as _, Toml};
use figment::value::{Dict, Map, Value};
use figment::{Figment, Metadata, Profile, Provider, Source};

/// Each variable of the environment that is a setting begins with this.
const PREFIX: &str = "FANFOLD_";
/// Stands between a section and a setting in the name of a variable.
const SEPARATOR: &str = "__";
const DEFAULTS: &str = include_str!("../default.toml");
/// Settings that have no default, each with whether it is a number.
const OPTIONAL: [(&str, bool); 11] = [
    ("data.s3.bucket", false),
    ("data.s3.region", false),
    ("data.s3.endpoint", false),
    ("data.s3.access_key", false),
    ("data.s3.secret_key", false),
    ("mail.host", false),
    ("mail.port", true),
    ("mail.tls", false),
    ("mail.user", false),
    ("mail.password", false),
    ("mail.from", false),
];
/// Settings whose values are not shown.
const HIDDEN: [&str; 6] = [
    "database_url",
    "sign_up_codes",
    "data.s3.secret_key",
    "mail.password",
    "metrics.token",
    "traces.headers",
];

/// The defaults, then the file, then the variables.
pub fn figment(file: Option<&Path>, variables: impl Iterator<Item = (String, String)>) -> Figment {
    let defaults = Figment::new().merge(Toml::string(DEFAULTS));
    let variables = Variables::of(&defaults, variables);
    match file {
        Some(file) => defaults.merge(Toml::file_exact(file)),
        None => defaults,
    }
    .merge(variables)
}

/// Every setting as a line of TOML, with where its value comes from.
pub fn printed(figment: &Figment) -> Vec<String> {
    let mut settings = Vec::new();
    if let Ok(Value::Dict(_, all)) = figment.find_value("") {
        flatten("", &all, &mut settings);
    }
    let unset = OPTIONAL.iter().map(|(name, _)| *name);
    let unset: Vec<&str> =
        unset.filter(|name| !settings.iter().any(|(set, _)| set == name)).collect();
    let set = settings.iter().map(|(name, value)| {
        let shown = if HIDDEN.contains(&name.as_str()) && !is_empty(value) {
            "(hidden)".to_owned()
        } else {
            toml(value)
        };
        format!("{name} = {shown}  # {}", origin(figment, name))
    });
    set.chain(unset.into_iter().map(|name| format!("# {name} is not set"))).collect()
}

/// The settings below a section, each with its full name.
fn flatten(section: &str, dict: &Dict, settings: &mut Vec<(String, Value)>) {
    for (key, value) in dict {
        let name = if section.is_empty() { key.clone() } else { format!("{section}.{key}") };
        if let Value::Dict(_, inner) = value {
            flatten(&name, inner, settings);
        } else {
            settings.push((name, value.clone()));
        }
    }
}

fn is_empty(value: &Value) -> bool {
    match value {
        Value::String(_, text) => text.is_empty(),
        Value::Array(_, items) => items.is_empty(),
        Value::Char(..) | Value::Bool(..) | Value::Num(..) | Value::Empty(..) | Value::Dict(..) => {
            false
        }
    }
}

fn toml(value: &Value) -> String {
    match value {
        Value::String(_, text) => format!("{text:?}"),
        Value::Char(_, letter) => format!("{:?}", letter.to_string()),
        Value::Bool(_, flag) => flag.to_string(),
        Value::Num(_, number) => match (number.to_u128(), number.to_i128(), number.to_f64()) {
            (Some(number), ..) => number.to_string(),
            (None, Some(number), _) => number.to_string(),
            (None, None, number) => number.unwrap_or_default().to_string(),
        },
        Value::Array(_, items) => {
            format!("[{}]", items.iter().map(toml).collect::<Vec<_>>().join(", "))
        }
        Value::Empty(..) | Value::Dict(..) => "\"\"".to_owned(),
    }
}

fn origin(figment: &Figment, name: &str) -> String {
    match figment.find_metadata(name) {
        Some(from) if from.name == Variables::NAME => variable(name),
        Some(Metadata { source: Some(Source::File(path)), .. }) => path.display().to_string(),
        Some(_) | None => "default".to_owned(),
    }
}

/// The variable that sets this.
fn variable(name: &str) -> String {
    format!("{PREFIX}{}", name.replace('.', SEPARATOR).to_uppercase())
}

/// The variables of the environment that name settings, each read as its setting is written: as
/// plain text, a number or yes and no, and a list with commas.
struct Variables(Dict);

impl Variables {
    const NAME: &'static str = "environment";

    /// Variables of other names are the clients' own, which start alike; but for misspelt ones,
    /// which are kept so that they are refused by name.
    fn of(defaults: &Figment, variables: impl Iterator<Item = (String, String)>) -> Self {
        let mut known = Vec::new();
        if let Ok(Value::Dict(_, all)) = defaults.find_value("") {
            flatten("", &all, &mut known);
        }
        let sections: Vec<&str> = (known.iter().map(|(name, _)| name.as_str()))
            .chain(OPTIONAL.iter().map(|(name, _)| *name))
            .map(|name| name.split_once('.').map_or(name, |(section, _)| section))
            .collect();
        let mut dict = Dict::new();
        for (variable, text) in variables {
            let Some(name) = variable.strip_prefix(PREFIX) else { continue };
            let name = name.replace(SEPARATOR, ".").to_lowercase();
            let section = name.split_once('.').map_or(name.as_str(), |(section, _)| section);
            if !sections.contains(&section)
                && !alike::is_misspelt(section, sections.iter().copied())
            {
                continue;
            }
            let default = known.iter().find(|(known, _)| known.eq_ignore_ascii_case(&name));
            let (name, value) = match default {
                Some((name, default)) => (name.as_str(), read(&text, default)),
                None if OPTIONAL.contains(&(name.as_str(), true)) => (name.as_str(), parsed(&text)),
                None => (name.as_str(), Value::from(text)),
            };
            let path: Vec<&str> = name.split('.').collect();
            insert(&mut dict, &path, value);
        }
        Self(dict)
    }
}

impl Provider for Variables {
    fn metadata(&self) -> Metadata {
        Metadata::named(Self::NAME)
    }

    fn data(&self) -> Result<Map<Profile, Dict>, figment::Error> {
        Ok(Map::from([(Profile::Default, self.0.clone())]))
    }
}

/// A variable's text as a value of the same kind as the default.
fn read(text: &str, default: &Value) -> Value {
    match default {
        Value::Array(..) if !text.trim_start().starts_with('[') => {
            let items = text.split(',').map(str::trim).filter(|item| !item.is_empty());
            // Ports are numbers; addresses, names and codes are not.
            let numbers = matches!(default, Value::Array(_, of) if matches!(of.first(), Some(Value::Num(..))));
            let read = |item: &str| if numbers { parsed(item) } else { Value::from(item) };
            Value::from(items.map(read).collect::<Vec<_>>())
        }
        Value::String(..) | Value::Char(..) => Value::from(text),
        Value::Array(..)
        | Value::Bool(..)
        | Value::Num(..)
        | Value::Empty(..)
        | Value::Dict(..) => parsed(text),
    }
}

/// A number, a truth value, or a list in brackets.
fn parsed(text: &str) -> Value {
    text.parse().unwrap_or_else(|never: std::convert::Infallible| match never {})
}

fn insert(dict: &mut Dict, path: &[&str], value: Value) {
    let Some((first, rest)) = path.split_first() else { return };
    if rest.is_empty() {
        dict.insert((*first).to_owned(), value);
        return;
    }
    let inner = dict.entry((*first).to_owned()).or_insert_with(|| Value::from(Dict::new()));
    if !matches!(inner, Value::Dict(..)) {
        *inner = Value::from(Dict::new());
    }
    if let Value::Dict(_, inner) = inner {
        insert(inner, rest, value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Config, Hidden, SignUpCode};

    fn figment_of(variables: &[(&str, &str)]) -> Figment {
        let owned = variables.iter().map(|(name, text)| ((*name).to_owned(), (*text).to_owned()));
        figment(None, owned)
    }

    fn config(variables: &[(&str, &str)]) -> Config {
        figment_of(variables).extract().unwrap()
    }

    #[test]
    fn variables_are_plain_numbers_texts_and_lists() {
        let config = config(&[
            ("FANFOLD_PROMOTIONAL_CREDITS", "500"),
            ("FANFOLD_WALLET__PAYOUT_MIN", "0.5"),
            ("FANFOLD_WALLET__RATES__USD", "2"),
            ("FANFOLD_P2P_LISTEN", "/ip4/127.0.0.1/tcp/1, /ip4/127.0.0.1/tcp/2"),
            ("FANFOLD_SIGN_UP_CODES", "123,abc"),
            ("FANFOLD_TRUSTED_PROXIES", ""),
            ("FANFOLD_DATA__ALLOWED_PORTS", "9000"),
            ("FANFOLD_DATA__ALLOW_PRIVATE_ADDRESSES", "true"),
            ("FANFOLD_NODES__LEASE_SECS", "7"),
            ("FANFOLD_MAIL__HOST", "h"),
            ("FANFOLD_MAIL__PORT", "25"),
            ("FANFOLD_MAIL__PASSWORD", "0123"),
            ("FANFOLD_MAIL__FROM", "f@h"),
        ]);

        assert_eq!(config.promotional_credits.to_string(), "500.00000000");
        assert_eq!(config.wallet.payout_min.to_string(), "0.50000000");
        assert_eq!(config.p2p_listen, ["/ip4/127.0.0.1/tcp/1", "/ip4/127.0.0.1/tcp/2"]);
        let codes = ["123", "abc"].map(|code| SignUpCode::Unlimited(Hidden(code.to_owned())));
        assert_eq!(config.sign_up_codes, codes);
        assert!(config.trusted_proxies.is_empty() && config.data.allow_private_addresses);
        let mail = config.mail.unwrap();
        assert_eq!((mail.port, mail.password.0.as_str()), (Some(25), "0123"));
    }

    #[test]
    fn variables_of_lists_may_be_toml_in_brackets() {
        let codes = "[{ code = \"b\", uses = 2 }, \"a\"]";

        let config = config(&[("FANFOLD_SIGN_UP_CODES", codes)]);

        assert_eq!(config.sign_up_codes.len(), 2);
    }

    #[test]
    fn variables_of_clients_are_no_settings() {
        config(&[("FANFOLD_CREDENTIALS", "x"), ("FANFOLD_URL", "y"), ("FANFOLD_NODE_TOKEN", "z")]);

        for (name, named) in [
            ("FANFOLD_DATA__ALLOW_PRIVAT", "allow_privat"),
            ("FANFOLD_PROMOTIONAL_CREDIT", "promotional_credit"),
            ("FANFOLD_DATE__ALLOWED_PORTS", "date"),
        ] {
            let wrong = figment_of(&[(name, "1")]);
            let error = wrong.extract::<Config>().unwrap_err().to_string();
            assert!(error.contains(&format!("`{named}`")), "{error}");
        }
    }

    #[test]
    fn printed_settings_show_their_origin_and_no_secret() {
        let lines = printed(&figment_of(&[
            ("FANFOLD_NODES__LEASE_SECS", "7"),
            ("FANFOLD_DATABASE_URL", "postgres://u:hush@h/d"),
            ("FANFOLD_MAIL__PASSWORD", "hush"),
            ("FANFOLD_METRICS__TOKEN", "hush"),
            ("FANFOLD_TRACES__HEADERS", "authorization=hush"),
        ]));

        let has =
            |line: &str| assert!(lines.iter().any(|found| found == line), "{line}: {lines:#?}");
        has("nodes.lease_secs = 7  # FANFOLD_NODES__LEASE_SECS");
        has("http_listen = \"127.0.0.1:8700\"  # default");
        has("data.allowed_ports = [80, 443]  # default");
        has("database_url = (hidden)  # FANFOLD_DATABASE_URL");
        has("metrics.token = (hidden)  # FANFOLD_METRICS__TOKEN");
        has("traces.headers = (hidden)  # FANFOLD_TRACES__HEADERS");
        has("# data.s3.bucket is not set");
        assert!(!lines.iter().any(|line| line.contains("hush")), "{lines:#?}");
    }
}
