//! Who belongs to the caller's workspace, and who is invited into it.

use chrono::{DateTime, Utc};
use common::access::{NotARole, Role, Scope};
use common::package::loose::Loose;
use serde::Serialize;
use utoipa::ToSchema;
use uuid::Uuid;

use crate::api::http::call::{Call, Segment};
use crate::api::http::route::{Route, delete, get, patch, post};
use crate::api::http::shape::{Field, text, word};
use crate::error::{Error, Result};
use crate::mail::email::Email;
use crate::people::members::{self, Invitation, Member, Members};

pub fn routes() -> Vec<Route> {
    vec![
        get("Fanfold_ListMembers", "/members", list)
            .summary("Lists the workspace's members and invitations")
            .needs(Scope::MembersRead),
        post("Fanfold_InviteMember", "/members", invite)
            .summary("Invites an e-mail address into the workspace")
            .body(vec![text("email", "").required().example("maria@example.org"), ROLE])
            .needs(Scope::MembersWrite),
        patch("Fanfold_ChangeMember", "/members/{member}", change)
            .summary("Changes the role of a member or an invitation")
            .body(vec![ROLE])
            .needs(Scope::MembersWrite),
        // Members may do it to themselves.
        delete("Fanfold_RemoveMember", "/members/{member}", remove)
            .summary("Removes a member and their API keys, or an invitation")
            .needs(Scope::UserWrite),
    ]
}

const ROLE: Field = word("role", &["none", "user", "developer", "admin"], "What the member may do")
    .required()
    .example("developer");

/// All who belong to the workspace, or may come.
#[derive(Serialize, ToSchema)]
struct MemberList {
    /// Members, and then invitations.
    members: Vec<MemberOut>,
    /// Always null: the list is whole.
    next_cursor: Option<String>,
}

/// A member of the workspace, or an invitation into it.
#[derive(Serialize, ToSchema)]
#[schema(as = Member)]
struct MemberOut {
    /// The user's, or the invitation's until it is accepted.
    #[schema(value_type = String)]
    id: Uuid,
    /// Whether it is an invitation that has not been accepted.
    is_invitation: bool,
    role: RoleOut,
    email: String,
    /// Empty for an invitation.
    username: String,
    /// Since when they belong to the workspace, or are invited.
    since: DateTime<Utc>,
}

/// What a member may do: `none` is nothing, `user` runs jobs, `developer` also makes packages and
/// templates and lends machines, `admin` also decides on members and money.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
#[schema(as = Role)]
enum RoleOut {
    None,
    User,
    Developer,
    Admin,
}

/// A member as it is from now on.
#[derive(Serialize, ToSchema)]
struct ChangedMember {
    #[schema(value_type = String)]
    id: Uuid,
    role: RoleOut,
}

/// What was removed.
#[derive(Serialize, ToSchema)]
struct RemovedMember {
    #[schema(value_type = String)]
    id: Uuid,
}

async fn list(call: Call) -> Result<MemberList> {
    let caller = call.caller().await?;
    let Members { members, invitations } = members::list(call.app(), &caller).await?;
    let members = members.into_iter().map(MemberOut::from);
    let all = members.chain(invitations.into_iter().map(MemberOut::from)).collect();
    Ok(MemberList { members: all, next_cursor: None })
}

async fn invite(mut call: Call) -> Result<MemberOut> {
    let caller = call.caller().await?;
    let mut body = call.json().await?;
    let field = body.name("email");
    let email = Email::parse(&body.required_text("email")?).ok_or_else(|| {
        Error::field(field, "must be one e-mail address, such as maria@example.org")
    })?;
    let role = read_role(&mut body)?;
    body.finish()?;
    Ok(members::invite(call.app(), &caller, &email, role).await?.into())
}

async fn change(member: Segment, mut call: Call) -> Result<ChangedMember> {
    let caller = call.caller().await?;
    let mut body = call.json().await?;
    let role = read_role(&mut body)?;
    body.finish()?;
    let id = member.id("member")?;
    members::change_role(call.app(), &caller, id, role).await?;
    Ok(ChangedMember { id, role: role.into() })
}

async fn remove(member: Segment, call: Call) -> Result<RemovedMember> {
    let caller = call.caller().await?;
    let id = member.id("member")?;
    members::remove(call.app(), &caller, id).await?;
    Ok(RemovedMember { id })
}

fn read_role(body: &mut Loose) -> Result<Role> {
    let field = body.name("role");
    let role = body.required_text("role")?.parse();
    role.map_err(|bad: NotARole| Error::field(field, bad.to_string()))
}

impl From<Member> for MemberOut {
    fn from(Member { user, role, since }: Member) -> Self {
        Self {
            id: user.id.uuid(),
            is_invitation: false,
            role: role.into(),
            email: user.email,
            username: user.username,
            since,
        }
    }
}

impl From<Invitation> for MemberOut {
    fn from(Invitation { id, email, role, at, .. }: Invitation) -> Self {
        Self {
            id: id.uuid(),
            is_invitation: true,
            role: role.into(),
            email,
            username: String::new(),
            since: at,
        }
    }
}

impl From<Role> for RoleOut {
    fn from(role: Role) -> Self {
        match role {
            Role::None => Self::None,
            Role::User => Self::User,
            Role::Developer => Self::Developer,
            Role::Admin => Self::Admin,
        }
    }
}
