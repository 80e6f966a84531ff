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
use crate::error::{Error, Result};
use crate::people::access_token::{self, AccessToken};
use crate::people::caller;
use crate::people::caller::Caller;
use crate::people::profile::{self, BadUsername, Profile, ProfileUpdate, User, Username};

const NAME_CHARS_MAX: usize = 256;
const PROFILE: &[Field] = &[
    text(
        "username",
        "Letters, digits, - _ and . : the name of the user and of the user's own workspace, which \
         is the OWNER of OWNER/NAME. What others have imported stays imported",
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

impl From<AccessToken> for TokenOut {
    fn from(token: AccessToken) -> Self {
        Self {
            token: token.text,
            expires_in: token.life_secs.to_string(),
            scope: token.scopes.to_string(),
            workspace_id: token.workspace,
        }
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
                text(
                    "apiKey",
                    "Not needed with the access token of a sign-in, to change the workspace",
                ),
                text("workspaceId", "One of the user's workspaces"),
                text(
                    "scope",
                    "What the token may do, at most what the key may do; all of it where left out",
                ),
            ])
            .fails(&[(401, "The key is not valid")])
            .open(),
        get("Auth_GetUser", "/user", user).summary("Gets the caller's profile").any_role(),
        patch("Auth_UpdateUser", "/user", set_user)
            .summary("Updates the caller's names and contact")
            .body(PROFILE)
            .needs(Scope::UserWrite),
        post("Auth_SetUser", "/user", set_user)
            .summary("Updates the caller's names and contact")
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
    Ok(access_token::issue(app, caller, workspace, only).await?.into())
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

/// Shows who calls.
async fn user(call: Call) -> Result<UserAnswer> {
    let caller = call.caller().await?;
    Ok(answer(profile::find(call.app(), &caller).await?, &caller))
}

/// Changes what the caller says of themselves; what is not given stays as it is.
async fn set_user(mut call: Call) -> Result<UserAnswer> {
    let caller = call.caller().await?;
    let mut body = call.json().await?;
    let username = read_username(&mut body)?;
    let changes = read_profile(body)?;
    let user = profile::update(call.app(), &caller, username, changes).await;
    Ok(answer(user.map_err(|error| error.about("username"))?, &caller))
}

fn read_username(body: &mut Loose) -> Result<Option<Username>> {
    let field = body.name("username");
    let read = |name| {
        Username::parse(name).map_err(|bad: BadUsername| Error::field(field, bad.to_string()))
    };
    body.text("username")?.map(read).transpose()
}

/// What a body changes in a profile.
pub fn read_profile(mut body: Loose) -> Result<ProfileUpdate> {
    let mut update = ProfileUpdate {
        first_name: body.line("firstName", NAME_CHARS_MAX)?,
        last_name: body.line("lastName", NAME_CHARS_MAX)?,
        ..ProfileUpdate::default()
    };
    if let Some(mut contact) = body.object("contactInfo")? {
        for field in CONTACT.fields {
            if let Some(text) = contact.line(field.name, NAME_CHARS_MAX)? {
                update.contact.insert(field.name.to_owned(), text);
            }
        }
        contact.finish()?;
    }
    Ok(update)
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
