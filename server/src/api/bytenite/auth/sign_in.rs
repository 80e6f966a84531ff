//! Signing up, in and out: an e-mail address is proven by a code that is used once.

use chrono::{DateTime, TimeDelta, Utc};
use common::access::Scopes;
use common::digest::Digest;
use common::ids::{UserId, WorkspaceId};
use common::package::loose::Loose;
use serde::Serialize;
use utoipa::ToSchema;

use super::caller::{TokenOut, read_profile, read_workspace, signed_in};
use crate::api::bytenite::wire::{Done, done};
use crate::api::http::call::Call;
use crate::api::http::route::{Route, get, post};
use crate::api::http::shape::{Field, flag, map, text, unread};
use crate::app::{AccessCode, App};
use crate::clock;
use crate::error::{Error, Result};
use crate::mail::email::{Email, mailbox};
use crate::people::caller;
use crate::store::people::one_time_codes;
use crate::store::people::one_time_codes::{Proof, Redeemed};
use crate::store::people::workspaces;
use crate::store::people::workspaces::Profile;
use crate::store::people::{access_codes, api_keys, invitations, members, revoked_tokens};

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
    let email = email.as_str();
    let is_new = body.flag("isNewUser")?.unwrap_or(false);
    let access_code = body.line("accessCode", CODE_CHARS_MAX)?;
    let profile = read_profile(body, Profile::default())?;
    call.stranger()?;
    // For each network apart: nobody can use up the letters of somebody else.
    call.doors().codes.take(&format!("sent {email} for {}", call.network()))?;
    let app = call.app();
    let access = match is_new {
        true => Some(check_access(app, access_code.as_deref()).await?),
        false => None,
    };
    let counted = access.filter(|code| code.uses_max.is_some()).map(|code| code.hash);
    let profile = is_new.then_some(&profile);
    let sent = one_time_codes::issue_for(&app.db, email, profile, counted).await?;
    let known = workspaces::find_by_email(&app.db, email).await?.is_some();
    let invited = invitations::exist_for(&app.db, email).await?;
    if is_new || known || invited {
        app.mail.code(email, &sent);
    }
    Ok(SentOut {
        ok: true,
        sent_at: sent.sent_at,
        expire_at: sent.expires_at,
        nonce: sent.nonce,
        sent_by_mail: app.mail.sends(),
    })
}

async fn check_access(app: &App, given: Option<&str>) -> Result<AccessCode> {
    let given = given.map(|code| Digest::of(code.as_bytes()));
    let found = app.settings.access_codes.iter().find(|code| Some(code.hash) == given);
    let found = found.ok_or_else(|| {
        Error::Forbidden("accessCode: signing up here takes a valid access code".to_owned())
    })?;
    match found.uses_max {
        Some(most) if !access_codes::is_left(&app.db, found.hash, most.get()).await? => {
            Err(used_up())
        }
        Some(_) | None => Ok(*found),
    }
}

fn used_up() -> Error {
    Error::Forbidden("accessCode: this access code has been used up: ask for another".to_owned())
}

/// Takes a use of the access code with which somebody new signs up. A crash after it costs that
/// use and nothing else.
async fn take_access(app: &App, proof: &Proof) -> Result<()> {
    let code = app.settings.access_codes.iter().find(|code| Some(code.hash) == proof.access);
    let Some(AccessCode { hash, uses_max: Some(most) }) = code else { return Ok(()) };
    if workspaces::find_by_email(&app.db, &proof.email).await?.is_some()
        || access_codes::take(&app.db, *hash, most.get()).await?
    {
        return Ok(());
    }
    Err(used_up())
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
    let email = email.as_str();
    let (nonce, code) = (body.required_text("nonce")?, body.required_text("code")?);
    let workspace = read_workspace(&mut body)?;
    let doors = call.doors();
    call.stranger()?;
    let guesser = format!("{email} from {}", call.network());
    doors.guesses.check(&guesser)?;
    let app = call.app();
    let proof = match one_time_codes::redeem(&app.db, email, &nonce, &code).await? {
        Redeemed::Right(proof) => proof,
        Redeemed::Wrong => {
            doors.guesses.wrong(&guesser);
            return Err(Error::Unauthenticated);
        }
        // Not counted: who knows no nonce proves nothing against who does.
        Redeemed::Unknown => return Err(Error::Unauthenticated),
    };
    doors.guesses.right(&guesser);
    take_access(app, &proof).await?;
    let arrival = workspaces::arrive(&app.db, &proof.email, proof.profile.as_ref()).await?;
    let arrival = arrival.ok_or(Error::Unauthenticated)?;
    if let Some(own) = arrival.own {
        // Once for each mailbox, however it is spelt and however often it signs up.
        let key = format!("welcome {}", Digest::of(mailbox(&proof.email).as_bytes()));
        app.coordinator.grant(own, app.settings.welcome, &key).await?;
    }
    let workspace = match workspace.or(arrival.own) {
        Some(workspace) => workspace,
        None => first_workspace(app, arrival.user).await?,
    };
    let ends = clock::now() + TimeDelta::seconds(caller::LIFE_SECS);
    let session = api_keys::open_session(&app.db, workspace, arrival.user, ends).await?;
    let caller = match caller::who(app, &session, workspace).await {
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
    revoked_tokens::end(db, token.id, token.expires_at).await?;
    api_keys::close_session(db, caller.key).await?;
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
