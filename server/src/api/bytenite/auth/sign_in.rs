//! Signing up, in and out.

use chrono::{DateTime, Utc};
use common::package::loose::Loose;
use serde::Serialize;
use utoipa::ToSchema;

use super::caller::{TokenOut, read_profile, read_workspace, signed_in};
use crate::api::bytenite::wire::{Done, done};
use crate::api::http::call::Call;
use crate::api::http::route::{Route, get, post};
use crate::api::http::shape::{Field, flag, map, text, unread};
use crate::error::{Error, Result};
use crate::mail::email::Email;
use crate::people::sign_in;
use crate::people::sign_in::{CodeIn, CodeSent, SignUp};

const CODE_CHARS_MAX: usize = 64;

pub fn routes() -> Vec<Route> {
    vec![
        post("Auth_SignIn", "/signin", sign_in)
            .summary("Sends a one-time code to an e-mail address, to sign up or in")
            .body(SIGN_IN)
            .fails(&[(403, "Signing up takes a valid access code")])
            .open(),
        post("Auth_Authenticate", "/authenticate", authenticate)
            .summary("Exchanges a one-time code for an access token")
            .body(AUTHENTICATE)
            .fails(&[(401, "The code is not valid"), (403, "The address belongs to no workspace")])
            .open(),
        post("Auth_SignOut", "/signout", sign_out)
            .summary("Revokes the access token of this call")
            .any_role(),
        get("Auth_Skip", "/skip", skip)
            .summary("Checks whether a sign-in may be skipped, for old clients")
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
    text("workspaceId", "The workspace to act in; the first joined where left out"),
    unread("deviceId", ""),
    unread("loginChallenge", ""),
];

#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct SentOut {
    ok: bool,
    sent_at: DateTime<Utc>,
    expire_at: DateTime<Utc>,
    nonce: String,
    /// False where the server has no mail server: the code is in its log.
    sent_by_mail: bool,
}

/// Sends a code. The answer is the same whether the address is known or not.
async fn sign_in(mut call: Call) -> Result<SentOut> {
    let mut body = call.json().await?;
    let email = read_email(&mut body)?;
    let is_new = body.flag("isNewUser")?.unwrap_or(false);
    let access_code = body.line("accessCode", CODE_CHARS_MAX)?;
    let profile = read_profile(body)?;
    call.stranger()?;
    let sign_up = is_new.then_some(SignUp { profile, access_code });
    let sent = sign_in::send_code(call.app(), &email, &call.network(), sign_up).await?;
    let CodeSent { nonce, sent_at, expires_at, by_mail } = sent;
    Ok(SentOut { ok: true, sent_at, expire_at: expires_at, nonce, sent_by_mail: by_mail })
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
    call.stranger()?;
    let code = CodeIn { nonce, code };
    let token =
        sign_in::sign_in(call.app(), &email, &call.network(), &code, workspace).await?.into();
    Ok(AuthenticatedOut { redirect_to: "", token })
}

#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct SkipOut {
    skip: bool,
    redirect_to: &'static str,
}

/// A caller with a valid token needs no new one. There is no page to go on to.
async fn skip(call: Call) -> Result<SkipOut> {
    let skip = signed_in(&call) && call.caller().await.is_ok();
    Ok(SkipOut { skip, redirect_to: "" })
}

/// Ends the access token that it is called with, and with a sign-in's token all of that sign-in.
async fn sign_out(call: Call) -> Result<Done> {
    sign_in::sign_out(call.app(), &call.caller().await?).await?;
    Ok(done())
}

/// An address in its one spelling.
pub fn read_email(body: &mut Loose) -> Result<Email> {
    Email::parse(&body.required_text("email")?).ok_or_else(|| {
        let problem = "must be one e-mail address such as maria@example.org, without a name or \
                       brackets around it";
        Error::field("email", problem)
    })
}

#[cfg(test)]
mod tests;
