//! Signing up, in and out: an e-mail address is proven by a code that is used once.

use chrono::{DateTime, TimeDelta, Utc};
use common::digest::Digest;
use common::ids::{UserId, WorkspaceId};
use common::package::loose::Loose;
use common::rights::Scopes;
use serde::Serialize;
use utoipa::ToSchema;

use super::caller::{TokenOut, read_profile, read_workspace, signed_in};
use crate::api::App;
use crate::api::http::call::Call;
use crate::api::http::error::{Error, Result};
use crate::api::http::reply::{Done, done};
use crate::api::http::route::{Route, get, post};
use crate::api::http::shape::{Field, flag, map, text};
use crate::api::http::token;
use crate::clock;
use crate::store::accounts::{self, Profile};
use crate::store::{api_keys, codes, ended_tokens, invitations, members};

const EMAIL_CHARS_MAX: usize = 254;
const CODE_CHARS_MAX: usize = 64;

pub fn routes() -> Vec<Route> {
    vec![
        post("Auth_SignIn", "/signin", sign_in)
            .summary("Sends a one-time code to an e-mail address, to sign up or in")
            .body(SIGN_IN)
            .fails(&[(403, "Signing up takes a valid access code")])
            .open(),
        post("Auth_Authenticate", "/authenticate", authenticate)
            .summary("Takes the code and gives an access token")
            .body(AUTHENTICATE)
            .fails(&[(401, "The code is not valid"), (403, "The address belongs to no workspace")])
            .open(),
        post("Auth_SignOut", "/signout", sign_out)
            .summary("Ends the access token of this call")
            .any_role(),
        get("Auth_Skip", "/skip", skip)
            .summary("Says whether a sign-in may be skipped, to old clients")
            .query(vec![text("loginChallenge", "")])
            .open(),
    ]
}

const SIGN_IN: &[Field] = &[
    text("email", "").required().example("maria@example.org"),
    flag("isNewUser", "To sign up"),
    text("firstName", ""),
    text("lastName", ""),
    text("accessCode", "Needed to sign up"),
    map("contactInfo", ""),
];

const AUTHENTICATE: &[Field] = &[
    text("email", "").required().example("maria@example.org"),
    text("code", "From the e-mail").required(),
    text("nonce", "From signin").required(),
    text("workspaceId", "Of several, the one to act in; the first joined where left out"),
    text("deviceId", ""),
    text("loginChallenge", ""),
];

#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct SentOut {
    ok: bool,
    sent_at: DateTime<Utc>,
    expire_at: DateTime<Utc>,
    nonce: String,
}

/// Sends a code. The answer is the same whether the address is known or not.
async fn sign_in(mut call: Call) -> Result<SentOut> {
    let mut body = call.json().await?;
    let email = read_email(&mut body)?;
    let is_new = body.flag("isNewUser")?.unwrap_or(false);
    let access_code = body.line("accessCode", CODE_CHARS_MAX)?;
    let profile = read_profile(body, Profile::default())?;
    call.stranger()?;
    call.doors().codes.take(&format!("sent {email}"))?;
    if is_new {
        check_access(call.app(), access_code.as_deref())?;
    }
    let app = call.app();
    let sent = codes::issue(&app.db, &email, is_new.then_some(&profile)).await?;
    let known = accounts::find_by_email(&app.db, &email).await?.is_some();
    let invited = invitations::exist_for(&app.db, &email).await?;
    if is_new || known || invited {
        app.mail.code(&email, &sent);
    }
    Ok(SentOut { ok: true, sent_at: sent.sent_at, expire_at: sent.expires_at, nonce: sent.nonce })
}

fn check_access(app: &App, given: Option<&str>) -> Result<()> {
    // Compared by hash, so that how long it takes tells nothing about a code.
    let hash = |code: &str| Digest::of(code.as_bytes());
    let given = given.map(hash);
    if app.settings.access_codes.iter().any(|code| Some(hash(code)) == given) {
        return Ok(());
    }
    Err(Error::Forbidden("accessCode: signing up here takes a valid access code".to_owned()))
}

#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct AuthenticatedOut {
    redirect_to: &'static str,
    #[serde(flatten)]
    token: TokenOut,
}

/// Exchanges a code for an access token, and makes the account of who signs up or was invited.
async fn authenticate(mut call: Call) -> Result<AuthenticatedOut> {
    let mut body = call.json().await?;
    let email = read_email(&mut body)?;
    let (nonce, code) = (body.required_text("nonce")?, body.required_text("code")?);
    let workspace = read_workspace(&mut body)?;
    let doors = call.doors();
    call.stranger()?;
    doors.codes.take(&format!("tried {email}"))?;
    let app = call.app();
    let proof = codes::redeem(&app.db, &email, &nonce, code.trim()).await?;
    let proof = proof.ok_or(Error::Unauthenticated)?;
    let arrival = accounts::arrive(&app.db, &proof.email, proof.profile.as_ref()).await?;
    let arrival = arrival.ok_or(Error::Unauthenticated)?;
    if let Some(own) = arrival.own {
        // Once for each user, however often they sign up.
        let key = format!("welcome {}", arrival.user);
        app.coordinator.grant(own, app.settings.welcome, &key).await?;
    }
    let workspace = match workspace.or(arrival.own) {
        Some(workspace) => workspace,
        None => first_workspace(app, arrival.user).await?,
    };
    let ends = clock::now() + TimeDelta::seconds(token::LIFE_SECS);
    let session = api_keys::open_session(&app.db, workspace, arrival.user, ends).await?;
    let caller = match token::who(app, &session, workspace).await {
        Err(Error::Unauthenticated) => Err(Error::not_found("workspace", &workspace.to_string())),
        known => known,
    }?;
    let token = TokenOut::issue(app, &caller, Scopes::ALL)?;
    Ok(AuthenticatedOut { redirect_to: "", token })
}

async fn first_workspace(app: &App, user: UserId) -> Result<WorkspaceId> {
    let first = members::of_user(&app.db, user, 1).await?.into_iter().next();
    let none = "this address belongs to no workspace: ask to be invited into one, or sign up";
    Ok(first.ok_or_else(|| Error::Forbidden(none.to_owned()))?.workspace)
}

#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct SkipOut {
    skip: bool,
    redirect_to: &'static str,
}

/// Who has a valid token needs no new one. There is no page to go on to: whoever asks has it.
async fn skip(call: Call) -> Result<SkipOut> {
    let skip = signed_in(&call) && call.caller().await.is_ok();
    Ok(SkipOut { skip, redirect_to: "" })
}

/// Ends the access token that it is called with, and with a sign-in's token all of that sign-in.
async fn sign_out(call: Call) -> Result<Done> {
    let caller = call.caller().await?;
    let Some(token) = caller.token else {
        return Err(Error::NotNow(
            "this is an API key and not an access token: revoke it to end it".to_owned(),
        ));
    };
    let db = &call.app().db;
    ended_tokens::end(db, token.id, token.expires_at).await?;
    api_keys::close_session(db, caller.key).await?;
    Ok(done())
}

/// An address in its one spelling.
pub fn read_email(body: &mut Loose) -> Result<String> {
    let email = body.required_text("email")?.trim().to_lowercase();
    let (name, host) = email.rsplit_once('@').unwrap_or_default();
    let plain = !email.chars().any(|c| c.is_control() || c.is_whitespace());
    if name.is_empty() || host.is_empty() || !plain || email.chars().count() > EMAIL_CHARS_MAX {
        return Err(Error::field("email", "must be an e-mail address"));
    }
    Ok(email)
}

#[cfg(test)]
mod tests {
    use reqwest::Method;
    use serde_json::{Value, json};

    use super::*;
    use crate::api::testing::Door;

    async fn authenticate(door: &Door, email: &str, sent: &codes::Issued) -> (u16, Value) {
        let body = json!({"email": email, "nonce": sent.nonce, "code": sent.code,
                          "deviceId": "d", "loginChallenge": ""});
        door.call_as("", Method::POST, "/v1/auth/authenticate", Some(body)).await
    }

    #[tokio::test]
    async fn who_signs_up_gets_a_workspace_and_comes_back_to_it() {
        let door = Door::open().await;
        let profile = Profile { first_name: "Ada".to_owned(), ..Profile::default() };
        let sent = codes::issue(&door.app.db, "ada@example.com", Some(&profile)).await.unwrap();

        let (status, body) = authenticate(&door, "Ada@Example.com ", &sent).await;

        assert_eq!((status, &body["expiresIn"]), (200, &json!("3600")), "{body}");
        let token = body["token"].as_str().unwrap();
        let (_, user) = door.call_as(token, Method::GET, "/v1/auth/user", None).await;
        assert_eq!(user["user"]["email"], "ada@example.com");
        assert_eq!(user["user"]["firstName"], "Ada");
        assert_eq!(user["user"]["emailVerified"], true);
        assert!(user["user"]["lastLogin"].is_string());
        let (_, wallet) = door.call_as(token, Method::GET, "/v1/wallet/balance", None).await;
        assert_eq!(wallet["totalBalance"].to_string(), "5.0");
        assert_ne!(wallet["accountId"], json!(door.workspace));
        let again = codes::issue(&door.app.db, "ada@example.com", None).await.unwrap();
        let (_, body) = authenticate(&door, "ada@example.com", &again).await;
        let token = body["token"].as_str().unwrap();
        let (_, same) = door.call_as(token, Method::GET, "/v1/auth/user", None).await;
        assert_eq!(same["user"]["id"], user["user"]["id"]);
        assert_eq!(authenticate(&door, "ada@example.com", &again).await.0, 401);
    }

    #[tokio::test]
    async fn signing_up_takes_an_access_code_and_tells_nothing_of_others() {
        let door = Door::open().await;
        let ask =
            async |body: Value| door.call_as("", Method::POST, "/v1/auth/signin", Some(body)).await;

        let (unknown, sent) = ask(json!({"email": "no@body.com", "isNewUser": false})).await;
        let new = json!({"email": "new@body.com", "isNewUser": true, "firstName": "N"});

        assert_eq!((unknown, &sent["ok"]), (200, &json!(true)));
        assert!(sent["nonce"].is_string() && sent["expireAt"].is_string());
        assert!(sent.get("code").is_none());
        assert_eq!(ask(new.clone()).await.0, 403);
        let mut coded = new;
        coded["accessCode"] = json!("beta");
        assert_eq!(ask(coded).await.0, 200);
        for email in ["", "x", "@x", "a b@c", "a@b\nc"] {
            assert_eq!(ask(json!({"email": email, "isNewUser": false})).await.0, 400, "{email}");
        }
        let nobody = codes::issue(&door.app.db, "no@body.com", None).await.unwrap();
        assert_eq!(authenticate(&door, "no@body.com", &nobody).await.0, 401);
    }

    #[tokio::test]
    async fn too_many_codes_are_refused_until_later() {
        let door = Door::open().await;
        let url = format!("{}/v1/auth/signin", door.url);
        let body = json!({"email": "a@b.c", "isNewUser": false}).to_string();
        let ask = || door.client.post(&url).body(body.clone()).send();
        for _ in 0..crate::api::CODES_MAX {
            assert_eq!(ask().await.unwrap().status(), 200);
        }

        let refused = ask().await.unwrap();

        assert_eq!(refused.status(), 429);
        let after: u64 = refused.headers()["retry-after"].to_str().unwrap().parse().unwrap();
        assert!((1..=31).contains(&after));
    }

    #[tokio::test]
    async fn a_token_ends_when_its_holder_signs_out_and_others_do_not() {
        let door = Door::open().await;
        let token = async || {
            let body = json!({"apiKey": door.key});
            let (_, body) =
                door.call_as("", Method::POST, "/v1/auth/access_token", Some(body)).await;
            body["token"].as_str().unwrap().to_owned()
        };
        let (first, second) = (token().await, token().await);
        let user =
            async |token: &str| door.call_as(token, Method::GET, "/v1/auth/user", None).await.0;

        let out = door.call_as(&first, Method::POST, "/v1/auth/signout", Some(json!({}))).await;

        assert_eq!((out.0, &out.1["ok"]), (200, &json!(true)));
        assert_eq!((user(&first).await, user(&second).await), (401, 200));
        assert_eq!(door.post("/v1/auth/signout", json!({})).await.0, 400);
        assert_eq!(door.get("/v1/auth/user").await.0, 200);
    }

    #[tokio::test]
    async fn people_change_what_they_say_of_themselves() {
        let door = Door::open().await;
        let body = json!({"firstName": "Ada", "contactInfo": {"city": "London", "zip": "1"}});
        door.patch("/v1/auth/user", body).await;

        let (status, body) = door.post("/v1/auth/user", json!({"last_name": "L"})).await;

        let user = &body["user"];
        assert_eq!(
            (status, &user["firstName"], &user["lastName"]),
            (200, &json!("Ada"), &json!("L"))
        );
        assert_eq!(user["contactInfo"]["city"], "London");
        assert_eq!(user["contactInfo"]["company"], "");
        assert_eq!(door.get("/v1/auth/user").await.1, body);
        let (status, body) =
            door.patch("/v1/auth/user", json!({"contactInfo": {"planet": "x"}})).await;
        assert_eq!(
            (status, body["message"].as_str()),
            (400, Some("contactInfo.planet: is not a known field"))
        );
    }
}
