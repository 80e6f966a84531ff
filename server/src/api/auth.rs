//! Access tokens for API keys, and who the caller is.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use common::ids::UserId;
use common::package::loose::Loose;
use serde::Serialize;
use utoipa::ToSchema;

use super::call::Call;
use super::error::{Error, Result};
use super::route::{Route, get, patch, post};
use super::shape::{Field, Shape, one, text};
use super::token;
use crate::clock;
use crate::store::accounts::{self, Profile, User};
use crate::store::api_keys;

const NAME_CHARS_MAX: usize = 256;
const PROFILE: &[Field] =
    &[text("firstName", ""), text("lastName", ""), one("contactInfo", &CONTACT, "")];
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
    scope: &'static str,
}

impl TokenOut {
    pub fn new(token: String) -> Self {
        Self { token, expires_in: token::LIFE_SECS.to_string(), scope: "" }
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
    photo_url: &'static str,
    provider_id: &'static str,
    email_verified: bool,
    custom_claims: Option<()>,
    role: &'static str,
    first_name: String,
    last_name: String,
    contact_info: BTreeMap<String, String>,
}

pub fn routes() -> Vec<Route> {
    vec![
        post("Auth_RequestAccessToken", "/access_token", access_token)
            .summary("Exchanges an API key for an access token")
            .body(vec![text("apiKey", "").required()])
            .fails(&[(401, "The key is not valid")])
            .open(),
        get("Auth_GetUser", "/user", user).summary("Shows the caller"),
        patch("Auth_UpdateUser", "/user", set_user)
            .summary("Changes the caller's names and contact")
            .body(PROFILE),
        post("Auth_SetUser", "/user", set_user)
            .summary("Changes the caller's names and contact")
            .body(PROFILE)
            .deprecated(),
    ]
}

/// Exchanges an API key for an access token.
async fn access_token(mut call: Call) -> Result<TokenOut> {
    let mut body = call.json().await?;
    let api_key = body.required_text("apiKey")?;
    let app = call.app();
    let Some(holder) = api_keys::find_by_text(&app.db, &api_key).await? else {
        call.doors().wrong_keys.take("")?;
        return Err(Error::Unauthenticated);
    };
    let token = token::issue(&app.settings.token_key, holder, clock::now())?;
    Ok(TokenOut::new(token))
}

/// Tells who calls.
async fn user(call: Call) -> Result<UserAnswer> {
    let caller = call.caller().await?;
    let user = accounts::find_user(&call.app().db, caller.workspace, caller.user)
        .await?
        .ok_or(Error::Unauthenticated)?;
    Ok(user.into())
}

/// Changes what the caller says of themselves; what is not given stays as it is.
async fn set_user(mut call: Call) -> Result<UserAnswer> {
    let caller = call.caller().await?;
    let body = call.json().await?;
    let app = call.app();
    let user = accounts::find_user(&app.db, caller.workspace, caller.user)
        .await?
        .ok_or(Error::Unauthenticated)?;
    let profile = read_profile(body, user.profile.clone())?;
    accounts::set_profile(&app.db, user.id, &profile).await?;
    Ok(User { profile, ..user }.into())
}

/// A profile with the fields of a body in place of its own; other fields are passed over.
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

impl From<User> for UserAnswer {
    fn from(user: User) -> Self {
        let named = |field: &Field| (field.name.to_owned(), String::new());
        let mut contact_info: BTreeMap<_, _> = CONTACT.fields.iter().map(named).collect();
        contact_info.extend(user.profile.contact);
        let user = UserOut {
            id: user.id,
            created_at: user.created_at,
            last_login: user.last_login_at,
            email_verified: !user.email.is_empty(),
            display_name: user.username.clone(),
            username: user.username,
            email: user.email,
            photo_url: "",
            provider_id: "",
            custom_claims: None,
            role: "ROLE_DEVELOPER",
            first_name: user.profile.first_name,
            last_name: user.profile.last_name,
            contact_info,
        };
        Self { user }
    }
}

#[cfg(test)]
mod tests {
    use reqwest::Method;
    use serde_json::json;

    use super::super::testing::Door;
    use crate::store::api_keys;

    #[tokio::test]
    async fn a_key_is_exchanged_for_a_token_that_works_bare_and_as_bearer() {
        let door = Door::open().await;

        let (status, body) = door
            .call_as("", Method::POST, "/v1/auth/access_token", Some(json!({"apiKey": door.key})))
            .await;
        let token = body["token"].as_str().unwrap();

        assert_eq!((status, body["expiresIn"].as_str()), (200, Some("3600")));
        for key in [token.to_owned(), format!("Bearer {token}"), format!("Bearer {}", door.key)] {
            let (status, body) = door.call_as(&key, Method::GET, "/v1/auth/user", None).await;

            assert_eq!((status, body["user"]["username"].as_str()), (200, Some("owner")));
        }
    }

    #[tokio::test]
    async fn a_wrong_key_and_a_missing_one_are_refused() {
        let door = Door::open().await;
        let ask = |body| door.call_as("", Method::POST, "/v1/auth/access_token", Some(body));

        assert_eq!(ask(json!({"apiKey": "ff_wrong"})).await.0, 401);
        let (status, body) = ask(json!({})).await;
        assert_eq!((status, body["message"].as_str()), (400, Some("apiKey: is missing")));
    }

    #[tokio::test]
    async fn a_revoked_key_ends_its_tokens_too() {
        let door = Door::open().await;
        let (_, body) = door
            .call_as("", Method::POST, "/v1/auth/access_token", Some(json!({"apiKey": door.key})))
            .await;
        let token = body["token"].as_str().unwrap();
        let holder = api_keys::find_by_text(&door.app.db, &door.key).await.unwrap().unwrap();

        assert!(api_keys::revoke(&door.app.db, door.workspace, holder.key).await.unwrap());

        assert_eq!(door.call_as(token, Method::GET, "/v1/auth/user", None).await.0, 401);
        assert_eq!(door.get("/v1/auth/user").await.0, 401);
    }
}
