//! What to do about a refusal, in the words of the command line.

use crate::client::failure::Failure;

/// What the server calls a thing, and the command that lists those there are.
const LISTS: [(&str, &str); 14] = [
    ("API key", "key list"),
    ("app", "app list"),
    ("engine", "engine list"),
    ("file", "cache list"),
    ("image", "image list"),
    ("job", "job list"),
    ("member", "member list"),
    ("node", "node list"),
    ("payout", "wallet payout list"),
    ("queue", "queue list"),
    ("secret", "secret list"),
    ("spend cap", "wallet cap list"),
    ("template", "template list"),
    ("top-up", "wallet top-up list"),
];

/// Fields of the API that the command line calls otherwise.
const OPTIONS: [(&str, &str); 10] = [
    ("accessCode", "--access-code"),
    ("containers", "--containers"),
    ("couponCode", "the code"),
    ("expiresAt", "--expires"),
    ("log_days", "--log-days"),
    ("scopes", "--scope"),
    ("secret.accessKey", "--access-key"),
    ("secret.endpoint", "--endpoint"),
    ("secret.secretType", "--type"),
    ("workspaceId", "--workspace"),
];

/// The same failure with what to do, and with options in place of the API's fields.
pub fn with_advice(failure: Failure) -> Failure {
    if let Failure::Refused { message } = &failure {
        return Failure::Refused { message: advised(message) };
    }
    failure
}

fn advised(message: &str) -> String {
    if let Some(named) = message.strip_suffix(" not found")
        && let Some((kind, _)) = named.split_once(" \"")
        && let Some((_, list)) = LISTS.iter().find(|(known, _)| *known == kind)
    {
        return format!("{message}: fanfold {list} shows those there are");
    }
    let renamed = OPTIONS.iter().find_map(|(field, option)| {
        let rest = message.strip_prefix(field)?;
        // As `scopes[0]: `.
        let end = if rest.starts_with('[') { rest.find(']')? + 1 } else { 0 };
        rest[end..].starts_with(": ").then(|| format!("{option}{}", &rest[end..]))
    });
    renamed.unwrap_or_else(|| message.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hint_of_a_refusal_uses_the_words_of_the_command_line() {
        for (api, own) in [
            ("job \"x\" not found", "job \"x\" not found: fanfold job list shows those there are"),
            (
                "API key \"a b\" not found",
                "API key \"a b\" not found: fanfold key list shows those there are",
            ),
            ("import \"x\" not found", "import \"x\" not found"),
            ("path not found", "path not found"),
            ("scopes[0]: must be one of jobs:read", "--scope: must be one of jobs:read"),
            ("expiresAt: must be a time to come", "--expires: must be a time to come"),
            ("secret.secretType: must be aws", "--type: must be aws"),
            ("expiresAtAll: x", "expiresAtAll: x"),
            ("the wallet is empty", "the wallet is empty"),
        ] {
            assert_eq!(advised(api), own);
        }
    }
}
