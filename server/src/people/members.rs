//! Who belongs to the caller's workspace, who is invited into it, and where else the caller
//! belongs.

use common::access::{Role, Scope};
use common::ids::{InvitationId, UserId};
use uuid::Uuid;

use super::caller::Caller;
use crate::app::App;
use crate::error::{Error, Result};
use crate::mail::email::Email;
use crate::store::people::invitations;
pub use crate::store::people::invitations::Invitation;
use crate::store::people::members;
use crate::store::people::members::Changed;
pub use crate::store::people::members::{Member, Membership};
use crate::store::people::workspaces;

/// Members and invitations of a workspace, and workspaces of a user.
const MEMBERS_MAX: u64 = 1_000;

/// All who belong to a workspace, or may come.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Members {
    pub members: Vec<Member>,
    pub invitations: Vec<Invitation>,
}

/// The workspaces that the caller belongs to, the first joined before the others.
pub async fn workspaces(app: &App, caller: &Caller) -> Result<Vec<Membership>> {
    Ok(members::of_user(&app.db, caller.user, MEMBERS_MAX).await?)
}

/// All who belong to the caller's workspace, or may come.
pub async fn list(app: &App, caller: &Caller) -> Result<Members> {
    let members = members::list(&app.db, caller.workspace, MEMBERS_MAX).await?;
    let invitations = invitations::list(&app.db, caller.workspace, MEMBERS_MAX).await?;
    Ok(Members { members, invitations })
}

/// Invites an address: who proves it by signing in is a member from then on.
pub async fn invite(app: &App, caller: &Caller, email: &Email, role: Role) -> Result<Invitation> {
    let (db, workspace, email) = (&app.db, caller.workspace, email.as_str());
    if let Some(known) = workspaces::find_by_email(db, email).await?
        && members::role(db, workspace, known.id).await?.is_some()
    {
        return Err(Error::NotNow("a member has this e-mail address already".to_owned()));
    }
    let n = members::count(db, workspace).await? + invitations::count(db, workspace).await?;
    if n >= MEMBERS_MAX {
        return Err(Error::NotNow(format!(
            "a workspace has at most {MEMBERS_MAX} members and invitations: remove one first"
        )));
    }
    app.attempts.take(&format!("invited {email} into {workspace}"))?;
    let invitation = invitations::invite(db, workspace, email, role).await?;
    app.mail.invitation(email, &workspaces::workspace_name(db, workspace).await?);
    Ok(invitation)
}

/// Gives another role to a member, by the user's id, or to an invitation, by its own.
pub async fn change_role(app: &App, caller: &Caller, id: Uuid, role: Role) -> Result<()> {
    let (db, workspace) = (&app.db, caller.workspace);
    match members::change(db, workspace, UserId::new(id), role).await? {
        Changed::Unknown => {
            found(invitations::change(db, workspace, InvitationId::new(id), role).await?, id)
        }
        Changed::LastAdmin => Err(last_admin()),
        Changed::Done => Ok(()),
    }
}

/// Ends a membership, with its keys and tokens, or takes an invitation back. Members may leave by
/// themselves.
pub async fn remove(app: &App, caller: &Caller, id: Uuid) -> Result<()> {
    if id != caller.user.uuid() {
        caller.check(Scope::MembersWrite)?;
    }
    let (db, workspace) = (&app.db, caller.workspace);
    match members::remove(db, workspace, UserId::new(id)).await? {
        Changed::Unknown => {
            found(invitations::withdraw(db, workspace, InvitationId::new(id)).await?, id)
        }
        Changed::LastAdmin => Err(last_admin()),
        Changed::Done => Ok(()),
    }
}

fn found(found: bool, id: Uuid) -> Result<()> {
    if found { Ok(()) } else { Err(Error::not_found("member", &id.to_string())) }
}

fn last_admin() -> Error {
    let text = "this is the last admin of the workspace: make another member an admin first";
    Error::Blocked("LAST_ADMIN", text.to_owned())
}
