//! Access tokens for API keys, and who the caller is.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use common::access::{NotAScope, Scope, Scopes};
use common::ids::{NotAnId, UserId, WorkspaceId};
use common::package::loose::Loose;
use serde::Serialize;
use utoipa::ToSchema;
use warp::http::header::AUTHORIZATION;

use crate::api::bytenite::{names, words};
use crate::api::http::call::Call;
use crate::api::http::route::{Route, get, patch, post};
use crate::api::http::shape::{Field, Shape, one, text};
use crate::app::App;
use crate::clock;
use crate::error::{Error, Result};
use crate::people::caller;
use crate::people::caller::Caller;
use crate::store::people::workspaces;
use crate::store::people::workspaces::{Profile, User};

const NAME_CHARS_MAX: usize = 256;
const USERNAME_CHARS_MAX: usize = 64;
const PROFILE: &[Field] = &[
    text(
        "username",
        "Letters, digits, - _ and . : what the user is called, and their own workspace with them, \
         which is the OWNER of OWNER/NAME. What others have imported stays imported",
    ),
    text("firstName", ""),
    text("lastName", ""),
    one("contactInfo", &CONTACT, ""),
];
const CONTACT: Shape = Shape {
    name: "ContactInfo",
    fields: &[
        text("company", ""),
        text("jobTitle", ""),
        text("phoneNumber", ""),
        text("address1", ""),
        text("address2", ""),
        text("city", ""),
        text("state", ""),
        text("zip", ""),
        text("country", ""),
    ],
};

#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct TokenOut {
    token: String,
    expires_in: String,
    /// What the token may do, side by side as OAuth writes it.
    scope: String,
    #[schema(value_type = String)]
    workspace_id: WorkspaceId,
}

impl TokenOut {
    /// A token for the caller that may do at most this.
    pub fn issue(app: &App, caller: &Caller, only: Scopes) -> Result<Self> {
        let issued = caller.issue(&app.settings.token_key, only, clock::now())?;
        Ok(Self {
            token: issued.text,
            expires_in: issued.life_secs.to_string(),
            scope: issued.scopes.to_string(),
            workspace_id: caller.workspace,
        })
    }
}

#[derive(Serialize, ToSchema)]
struct UserAnswer {
    user: UserOut,
}

#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct UserOut {
    #[schema(value_type = String)]
    id: UserId,
    created_at: DateTime<Utc>,
    last_login: Option<DateTime<Utc>>,
    username: String,
    display_name: String,
    email: String,
    phone_number: String,
    photo_url: &'static str,
    provider_id: &'static str,
    email_verified: bool,
    custom_claims: Option<()>,
    /// In the workspace that the caller acts in.
    #[schema(value_type = words::UserRole)]
    role: &'static str,
    #[schema(value_type = String)]
    workspace_id: WorkspaceId,
    first_name: String,
    last_name: String,
    contact_info: BTreeMap<String, String>,
}

pub fn routes() -> Vec<Route> {
    vec![
        post("Auth_RequestAccessToken", "/access_token", access_token)
            .summary("Exchanges an API key for an access token")
            .body(vec![
                text("apiKey", "Left out by who has signed in and wants another workspace"),
                text("workspaceId", "One of the user's workspaces"),
                text("scope", "What the token may do, of what the key may; all where left out"),
            ])
            .fails(&[(401, "The key is not valid")])
            .open(),
        get("Auth_GetUser", "/user", user).summary("Shows the caller").any_role(),
        patch("Auth_UpdateUser", "/user", set_user)
            .summary("Changes the caller's names and contact")
            .body(PROFILE)
            .needs(Scope::UserWrite),
        post("Auth_SetUser", "/user", set_user)
            .summary("Changes the caller's names and contact")
            .body(PROFILE)
            .needs(Scope::UserWrite)
            .deprecated(),
    ]
}

/// Exchanges an API key for an access token. Who has signed in exchanges their token for one of
/// another workspace of theirs.
async fn access_token(mut call: Call) -> Result<TokenOut> {
    let mut body = call.json().await?;
    let workspace = read_workspace(&mut body)?;
    let field = body.name("scope");
    let only = match body.text("scope")? {
        None => Scopes::ALL,
        Some(text) => {
            text.parse().map_err(|error: NotAScope| Error::field(field, error.to_string()))?
        }
    };
    let field = body.name("apiKey");
    let app = call.app();
    let caller = match body.text("apiKey")? {
        Some(key) => call.stranger_unless(caller::by_key(app, &key).await)?,
        None if signed_in(&call) => call.caller().await?,
        None => return Err(Error::field(field, "is missing")),
    };
    let caller = caller.in_workspace(app, workspace.unwrap_or(caller.workspace)).await?;
    TokenOut::issue(app, &caller, only)
}

/// Whether a token or key came along; old clients send an empty one.
pub fn signed_in(call: &Call) -> bool {
    call.headers.get(AUTHORIZATION).is_some_and(|value| !value.is_empty())
}

/// The workspace in which somebody wants to act.
pub fn read_workspace(body: &mut Loose) -> Result<Option<WorkspaceId>> {
    let field = body.name("workspaceId");
    let read = |text: String| text.parse().map_err(|e: NotAnId| Error::field(field, e.to_string()));
    body.text("workspaceId")?.map(read).transpose()
}

/// Tells who calls.
async fn user(call: Call) -> Result<UserAnswer> {
    let caller = call.caller().await?;
    let user = workspaces::find_user(&call.app().db, caller.user).await?;
    Ok(answer(user.ok_or(Error::Unauthenticated)?, &caller))
}

/// Changes what the caller says of themselves; what is not given stays as it is.
async fn set_user(mut call: Call) -> Result<UserAnswer> {
    let caller = call.caller().await?;
    let mut body = call.json().await?;
    let app = call.app();
    let mut user =
        workspaces::find_user(&app.db, caller.user).await?.ok_or(Error::Unauthenticated)?;
    let username = read_username(&mut body)?.filter(|name| *name != user.username);
    let profile = read_profile(body, user.profile.clone())?;
    if let Some(name) = username {
        if !workspaces::set_username(&app.db, user.id, &name).await? {
            return Err(Error::field("username", "is taken: choose another one"));
        }
        user.username = name;
    }
    workspaces::set_profile(&app.db, user.id, &profile).await?;
    Ok(answer(User { profile, ..user }, &caller))
}

/// A name that can stand in front of a slash and is no id.
fn read_username(body: &mut Loose) -> Result<Option<String>> {
    let field = body.name("username");
    let Some(name) = body.text("username")? else { return Ok(None) };
    let allowed = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.');
    let begins = name.bytes().next().is_some_and(|b| b.is_ascii_alphanumeric());
    if !begins || name.len() > USERNAME_CHARS_MAX || !name.bytes().all(allowed) {
        let problem = format!(
            "must begin with a letter or a digit and have letters, digits, - _ and . only, at \
             most {USERNAME_CHARS_MAX}"
        );
        return Err(Error::field(field, problem));
    }
    if name.parse::<WorkspaceId>().is_ok() {
        return Err(Error::field(field, "must not look like an id"));
    }
    Ok(Some(name))
}

/// A profile with the fields of a body in place of its own.
pub fn read_profile(mut body: Loose, mut profile: Profile) -> Result<Profile> {
    if let Some(name) = body.line("firstName", NAME_CHARS_MAX)? {
        profile.first_name = name;
    }
    if let Some(name) = body.line("lastName", NAME_CHARS_MAX)? {
        profile.last_name = name;
    }
    if let Some(mut contact) = body.object("contactInfo")? {
        for field in CONTACT.fields {
            if let Some(text) = contact.line(field.name, NAME_CHARS_MAX)? {
                profile.contact.insert(field.name.to_owned(), text);
            }
        }
        contact.finish()?;
    }
    Ok(profile)
}

fn answer(user: User, caller: &Caller) -> UserAnswer {
    let Profile { first_name, last_name, contact } = user.profile;
    let named = |field: &Field| (field.name.to_owned(), String::new());
    let mut contact_info: BTreeMap<_, _> = CONTACT.fields.iter().map(named).collect();
    contact_info.extend(contact);
    let whole_name = format!("{first_name} {last_name}");
    let display_name = match whole_name.trim() {
        "" => user.username.clone(),
        name => name.to_owned(),
    };
    UserAnswer {
        user: UserOut {
            id: user.id,
            created_at: user.created_at,
            last_login: user.last_login_at,
            // An address counts only once a code that was sent there came back.
            email_verified: !user.email.is_empty(),
            display_name,
            username: user.username,
            email: user.email,
            phone_number: contact_info.get("phoneNumber").cloned().unwrap_or_default(),
            photo_url: "",
            provider_id: "",
            custom_claims: None,
            role: names::of_role(caller.role),
            workspace_id: caller.workspace,
            first_name,
            last_name,
            contact_info,
        },
    }
}

#[cfg(test)]
mod tests;
