//! What people are called, and what they say of themselves.

use std::collections::BTreeMap;

use common::ids::WorkspaceId;

use super::caller::Caller;
use crate::app::App;
use crate::error::{Error, Result};
use crate::store::people::workspaces;
pub use crate::store::people::workspaces::{Profile, User};

const USERNAME_CHARS_MAX: usize = 64;

/// A name that can stand before the slash of `OWNER/NAME`, and that is no id.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Username(String);

#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BadUsername {
    #[error(
        "must begin with a letter or a digit and have letters, digits, - _ and . only, at most \
         {USERNAME_CHARS_MAX}"
    )]
    Characters,
    #[error("must not look like an id")]
    Id,
}

impl Username {
    pub fn parse(name: String) -> std::result::Result<Self, BadUsername> {
        let allowed = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.');
        let begins = name.bytes().next().is_some_and(|b| b.is_ascii_alphanumeric());
        if !begins || name.len() > USERNAME_CHARS_MAX || !name.bytes().all(allowed) {
            return Err(BadUsername::Characters);
        }
        if name.parse::<WorkspaceId>().is_ok() {
            return Err(BadUsername::Id);
        }
        Ok(Self(name))
    }
}

/// What changes in a profile; what is not given stays as it is.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ProfileUpdate {
    pub first_name: Option<String>,
    pub last_name: Option<String>,
    /// By the names of its fields.
    pub contact: BTreeMap<String, String>,
}

impl ProfileUpdate {
    /// A profile after this update.
    pub fn apply(self, mut profile: Profile) -> Profile {
        if let Some(name) = self.first_name {
            profile.first_name = name;
        }
        if let Some(name) = self.last_name {
            profile.last_name = name;
        }
        profile.contact.extend(self.contact);
        profile
    }
}

/// The user who calls.
pub async fn find(app: &App, caller: &Caller) -> Result<User> {
    workspaces::find_user(&app.db, caller.user).await?.ok_or(Error::Unauthenticated)
}

/// Changes what the caller is called and says of themselves.
///
/// # Errors
/// `Invalid` where another workspace has the name.
pub async fn update(
    app: &App,
    caller: &Caller,
    username: Option<Username>,
    changes: ProfileUpdate,
) -> Result<User> {
    let mut user = find(app, caller).await?;
    if let Some(Username(name)) = username
        && name != user.username
    {
        if !workspaces::set_username(&app.db, user.id, &name).await? {
            return Err(Error::Invalid("is taken: choose another one".to_owned()));
        }
        user.username = name;
    }
    user.profile = changes.apply(user.profile);
    workspaces::set_profile(&app.db, user.id, &user.profile).await?;
    Ok(user)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn usernames_can_precede_a_slash_and_are_no_ids() {
        let id = "018f4e6c-0000-7000-8000-000000000000";
        let long = "a".repeat(USERNAME_CHARS_MAX + 1);
        for (name, expected) in [
            ("maria", None),
            ("7.a_b-c", None),
            ("", Some(BadUsername::Characters)),
            ("-a", Some(BadUsername::Characters)),
            ("a/b", Some(BadUsername::Characters)),
            ("ä", Some(BadUsername::Characters)),
            (&long, Some(BadUsername::Characters)),
            (id, Some(BadUsername::Id)),
        ] {
            assert_eq!(Username::parse(name.to_owned()).err(), expected, "{name}");
        }
    }
}
