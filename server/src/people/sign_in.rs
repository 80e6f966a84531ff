//! Signing up, in and out: an e-mail address is proven by a code that is used once.

use chrono::{DateTime, TimeDelta, Utc};
use common::access::Scopes;
use common::digest::Digest;
use common::ids::{UserId, WorkspaceId};

use super::access_token::{self, AccessToken, LIFE_SECS};
use super::caller;
use super::caller::Caller;
use super::profile::ProfileUpdate;
use crate::app::{AccessCode, App};
use crate::clock;
use crate::error::{Error, Result};
use crate::mail::email::{Email, mailbox};
use crate::store::people::one_time_codes;
use crate::store::people::one_time_codes::{Proof, Redeemed};
use crate::store::people::workspaces;
use crate::store::people::workspaces::Profile;
use crate::store::people::{access_codes, api_keys, invitations, members, revoked_tokens};

/// What somebody signs up with.
#[derive(Debug, Clone, Default)]
pub struct SignUp {
    pub profile: ProfileUpdate,
    pub access_code: Option<String>,
}

/// A code that was sent, without the code.
#[derive(Debug, Clone)]
pub struct CodeSent {
    pub nonce: String,
    pub sent_at: DateTime<Utc>,
    pub expires_at: DateTime<Utc>,
    /// False where the server has no mail server: the code is in its log.
    pub by_mail: bool,
}

/// A code as its receiver gives it back, with the nonce that it was asked for with.
#[derive(Debug, Clone)]
pub struct CodeIn {
    pub nonce: String,
    pub code: String,
}

/// Sends a code to an address, to sign up or in. The answer is the same whether the address is
/// known or not. `network` is where it is asked for from.
///
/// # Errors
/// `Forbidden` where signing up takes another access code.
pub async fn send_code(
    app: &App,
    email: &Email,
    network: &str,
    sign_up: Option<SignUp>,
) -> Result<CodeSent> {
    let email = email.as_str();
    // For each network apart: nobody can use up the messages of somebody else.
    app.attempts.take(&format!("sent {email} for {network}"))?;
    let (profile, access) = match sign_up {
        None => (None, None),
        Some(SignUp { profile, access_code }) => {
            let code = check_access(app, access_code.as_deref()).await?;
            let counted = code.uses_max.map(|_| code.hash);
            (Some(profile.apply(Profile::default())), counted)
        }
    };
    let sent = one_time_codes::issue_for(&app.db, email, profile.as_ref(), access).await?;
    let known = workspaces::find_by_email(&app.db, email).await?.is_some();
    let invited = invitations::exist_for(&app.db, email).await?;
    if profile.is_some() || known || invited {
        app.mail.code(email, &sent);
    }
    Ok(CodeSent {
        nonce: sent.nonce,
        sent_at: sent.sent_at,
        expires_at: sent.expires_at,
        by_mail: app.mail.sends(),
    })
}

async fn check_access(app: &App, given: Option<&str>) -> Result<AccessCode> {
    let given = given.map(|code| Digest::of(code.as_bytes()));
    let found = app.settings.access_codes.iter().find(|code| Some(code.hash) == given);
    let found = found
        .ok_or_else(|| Error::Forbidden("signing up here takes a valid access code".to_owned()))?;
    match found.uses_max {
        Some(most) if !access_codes::is_left(&app.db, found.hash, most.get()).await? => {
            Err(used_up())
        }
        Some(_) | None => Ok(*found),
    }
}

fn used_up() -> Error {
    Error::Forbidden("this access code has been used up: ask for another".to_owned())
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

/// Signs in who proves an address with a code, into the workspace that they name, their own, or
/// the first joined; makes the account of who signs up or was invited. Wrong codes for an address
/// make their network wait.
///
/// # Errors
/// `Unauthenticated` where the code is not the right one, and `Forbidden` where the address
/// belongs to no workspace.
pub async fn sign_in(
    app: &App,
    email: &Email,
    network: &str,
    given: &CodeIn,
    workspace: Option<WorkspaceId>,
) -> Result<AccessToken> {
    let proof = prove(app, email, network, given).await?;
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
    let ends = clock::now() + TimeDelta::seconds(LIFE_SECS);
    let session = api_keys::open_session(&app.db, workspace, arrival.user, ends).await?;
    let caller = match caller::who(app, &session, workspace).await {
        Err(Error::Unauthenticated) => Err(Error::not_found("workspace", &workspace.to_string())),
        known => known,
    }?;
    access_token::issue(app, caller, None, Scopes::ALL).await
}

async fn prove(app: &App, email: &Email, network: &str, given: &CodeIn) -> Result<Proof> {
    let guesses = app.attempts.guesses();
    let guesser = format!("{email} from {network}");
    guesses.check(&guesser)?;
    match one_time_codes::redeem(&app.db, email.as_str(), &given.nonce, &given.code).await? {
        Redeemed::Right(proof) => {
            guesses.right(&guesser);
            Ok(proof)
        }
        Redeemed::Wrong => {
            guesses.wrong(&guesser);
            Err(Error::Unauthenticated)
        }
        // Not counted: who knows no nonce proves nothing against who does.
        Redeemed::Unknown => Err(Error::Unauthenticated),
    }
}

async fn first_workspace(app: &App, user: UserId) -> Result<WorkspaceId> {
    let first = members::of_user(&app.db, user, 1).await?.into_iter().next();
    let none = "this address belongs to no workspace: ask to be invited into one, or sign up";
    Ok(first.ok_or_else(|| Error::Forbidden(none.to_owned()))?.workspace)
}

/// Ends the access token that the caller came with, and with a sign-in's token all of that
/// sign-in.
///
/// # Errors
/// `NotNow` where the caller came with an API key.
pub async fn sign_out(app: &App, caller: &Caller) -> Result<()> {
    let Some(token) = caller.token else {
        let text = "this is an API key and not an access token: revoke it to end it";
        return Err(Error::NotNow(text.to_owned()));
    };
    revoked_tokens::end(&app.db, token.id, token.expires_at).await?;
    api_keys::close_session(&app.db, caller.key).await?;
    Ok(())
}
