//! Who belongs to the caller's workspace, who is invited into it, and where else the caller belongs.

use chrono::{DateTime, Utc};
use common::access::{Role, Scope};
use common::ids::WorkspaceId;
use common::package::loose::Loose;
use serde::Serialize;
use utoipa::ToSchema;
use uuid::Uuid;

use super::sign_in::read_email;
use crate::api::bytenite::wire::{Done, done};
use crate::api::bytenite::{names, words};
use crate::api::http::call::{Call, Segment};
use crate::api::http::route::{Route, delete, get, patch, post};
use crate::api::http::shape::{Field, text, word};
use crate::error::{Error, Result};
use crate::people::members;
use crate::people::members::{Invitation, Member, Membership};

#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct WorkspacesOut {
    workspaces: Vec<WorkspaceOut>,
}

#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct WorkspaceOut {
    #[schema(value_type = String)]
    id: WorkspaceId,
    name: String,
    #[schema(value_type = words::UserRole)]
    role: &'static str,
    since: DateTime<Utc>,
    /// The one that the caller's key or token acts in.
    current: bool,
}

#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct MembersOut {
    members: Vec<MemberOut>,
}

#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct MemberOut {
    /// The user's id, or the invitation's until it is accepted.
    #[schema(value_type = String)]
    id: Uuid,
    #[schema(value_type = words::MemberState)]
    state: &'static str,
    #[schema(value_type = words::UserRole)]
    role: &'static str,
    email: String,
    username: String,
    first_name: String,
    last_name: String,
    since: DateTime<Utc>,
}

const ROLE: Field = word(
    "role",
    &["ROLE_NONE", "ROLE_USER", "ROLE_DEVELOPER", "ROLE_ADMIN"],
    "What the member may do",
)
.required()
.example("ROLE_DEVELOPER");

pub fn routes() -> Vec<Route> {
    vec![
        get("Auth_ListWorkspaces", "/workspaces", workspaces)
            .summary("Lists the caller's workspaces")
            .any_role(),
        get("Auth_ListMembers", "/members", list)
            .summary("Lists the workspace's members and invitations")
            .needs(Scope::MembersRead),
        post("Auth_InviteMember", "/members", invite)
            .summary("Invites an e-mail address into the workspace")
            .body(vec![text("email", "").required().example("maria@example.org"), ROLE])
            .needs(Scope::MembersWrite),
        patch("Auth_ChangeMember", "/members/{userId}", change)
            .summary("Changes the role of a member or an invitation")
            .body(vec![ROLE])
            .needs(Scope::MembersWrite),
        // Members may do it to themselves.
        delete("Auth_RemoveMember", "/members/{userId}", remove)
            .summary("Removes a member and their API keys, or an invitation")
            .needs(Scope::UserWrite),
    ]
}

/// The caller's workspaces.
async fn workspaces(call: Call) -> Result<WorkspacesOut> {
    let caller = call.caller().await?;
    let mine = members::workspaces(call.app(), &caller).await?;
    let out = |mine: Membership| WorkspaceOut {
        id: mine.workspace,
        name: mine.name,
        role: names::of_role(mine.role),
        since: mine.since,
        current: mine.workspace == caller.workspace,
    };
    Ok(WorkspacesOut { workspaces: mine.into_iter().map(out).collect() })
}

async fn list(call: Call) -> Result<MembersOut> {
    let all = members::list(call.app(), &call.caller().await?).await?;
    let members = all.members.into_iter().map(MemberOut::from);
    Ok(MembersOut {
        members: members.chain(all.invitations.into_iter().map(MemberOut::from)).collect(),
    })
}

/// Invites an address: who proves it by signing in is a member from then on.
async fn invite(mut call: Call) -> Result<MemberOut> {
    let caller = call.caller().await?;
    let mut body = call.json().await?;
    let email = read_email(&mut body)?;
    let role = read_role(&mut body)?;
    body.finish()?;
    Ok(members::invite(call.app(), &caller, &email, role).await?.into())
}

/// Gives a member or an invitation another role.
async fn change(id: Segment, mut call: Call) -> Result<Done> {
    let caller = call.caller().await?;
    let mut body = call.json().await?;
    let role = read_role(&mut body)?;
    body.finish()?;
    members::change_role(call.app(), &caller, id.id("member")?, role).await?;
    Ok(done())
}

/// Ends a membership, or takes an invitation back.
async fn remove(id: Segment, call: Call) -> Result<Done> {
    let caller = call.caller().await?;
    members::remove(call.app(), &caller, id.id("member")?).await?;
    Ok(done())
}

fn read_role(body: &mut Loose) -> Result<Role> {
    let field = body.name("role");
    let text = body.required_text("role")?;
    names::role(&text).map_err(|error| Error::field(field, error.to_string()))
}

impl From<Member> for MemberOut {
    fn from(member: Member) -> Self {
        let user = member.user;
        Self {
            id: user.id.uuid(),
            state: "MEMBER",
            role: names::of_role(member.role),
            email: user.email,
            username: user.username,
            first_name: user.profile.first_name,
            last_name: user.profile.last_name,
            since: member.since,
        }
    }
}

impl From<Invitation> for MemberOut {
    fn from(invitation: Invitation) -> Self {
        Self {
            id: invitation.id.uuid(),
            state: "INVITED",
            role: names::of_role(invitation.role),
            email: invitation.email,
            username: String::new(),
            first_name: String::new(),
            last_name: String::new(),
            since: invitation.at,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU32;

    use common::ids::UserId;
    use reqwest::Method;
    use serde_json::{Value, json};
    use tokio_util::sync::CancellationToken;

    use super::*;
    use crate::api::testing::TestServer;
    use crate::mail::Mail;
    use crate::mail::testing::Post;
    use crate::people::caller;
    use crate::store::people::{api_keys, invitations, one_time_codes, workspaces};

    const PATH: &str = "/v1/auth/members";

    async fn sign_in(
        server: &TestServer,
        email: &str,
        workspace: Option<WorkspaceId>,
    ) -> (u16, Value) {
        let sent = one_time_codes::issue(&server.app.db, email, None).await.unwrap();
        let body = json!({"email": email, "nonce": sent.nonce, "code": sent.code,
                          "workspaceId": workspace});
        server.call_as("", Method::POST, "/v1/auth/authenticate", Some(body)).await
    }

    #[tokio::test]
    async fn invited_user_gets_an_email_signs_in_with_a_code_and_is_a_member() {
        let mut post = Post::open(0).await;
        let (mail, sending) =
            Mail::start(&post.config, "https://fan".to_owned(), CancellationToken::new()).unwrap();
        tokio::spawn(sending);
        let server = TestServer::open_with(mail, NonZeroU32::MAX).await;

        let body = json!({"email": "Ada@Example.com", "role": "ROLE_DEVELOPER"});
        let (status, invited) = server.post(PATH, body).await;

        assert_eq!((status, &invited["state"]), (200, &json!("INVITED")), "{invited}");
        assert!(post.letter().await.contains("https://fan"));
        let asked = json!({"email": "ada@example.com", "isNewUser": false});
        let (_, sent) = server.call_as("", Method::POST, "/v1/auth/signin", Some(asked)).await;
        let letter = post.letter().await;
        let code = letter.lines().map(str::trim).find(|line| line.len() == 9).unwrap();
        let body = json!({"email": "ada@example.com", "nonce": sent["nonce"], "code": code});
        let (status, signed_in) =
            server.call_as("", Method::POST, "/v1/auth/authenticate", Some(body)).await;
        assert_eq!((status, &signed_in["workspaceId"]), (200, &json!(server.workspace)));
        assert!(signed_in["scope"].as_str().unwrap().contains("packages:write"));
        assert!(!signed_in["scope"].as_str().unwrap().contains("members:write"));
        let (_, list) = server.get(PATH).await;
        let ada = &list["members"][1];
        assert_eq!((&ada["state"], &ada["role"]), (&json!("MEMBER"), &json!("ROLE_DEVELOPER")));
        assert_eq!(
            server.post(PATH, json!({"email": "ada@example.com", "role": "user"})).await.0,
            400
        );
    }

    #[tokio::test]
    async fn removed_member_loses_access_at_once_by_key_and_by_token() {
        let server = TestServer::open().await;
        let (id, key) = server.member(Role::User).await;
        let body = json!({"apiKey": key});
        let (_, made) = server.call_as("", Method::POST, "/v1/auth/access_token", Some(body)).await;
        let token_text = made["token"].as_str().unwrap();
        let jobs =
            async |by: &str| server.call_as(by, Method::GET, "/v1/customer/jobs", None).await.0;
        assert_eq!((jobs(&key).await, jobs(token_text).await), (200, 200));
        let listening = caller::caller(&server.app, Some(token_text)).await.unwrap();
        assert!(caller::is_let_in(&server.app, &listening).await.unwrap());

        assert_eq!(server.call(Method::DELETE, &format!("{PATH}/{id}"), None).await.0, 200);

        assert_eq!((jobs(&key).await, jobs(token_text).await), (401, 401));
        assert!(!caller::is_let_in(&server.app, &listening).await.unwrap());
        assert_eq!(server.call(Method::DELETE, &format!("{PATH}/{id}"), None).await.0, 404);
    }

    #[tokio::test]
    async fn members_leave_by_themselves_and_remove_no_other() {
        let server = TestServer::open().await;
        let (id, key) = server.member(Role::User).await;
        let (other, _) = server.member(Role::User).await;
        let remove = async |by: &str, id: &str| {
            server.call_as(by, Method::DELETE, &format!("{PATH}/{id}"), None).await
        };

        let (status, body) = remove(&key, &other).await;
        assert_eq!(status, 403);
        assert!(body["message"].as_str().unwrap().contains("ROLE_ADMIN"), "{body}");
        assert_eq!(remove(&server.stranger().await, &other).await.0, 404);
        assert_eq!(remove(&key, &id).await.0, 200);
        let (_, list) = server.get(PATH).await;
        let owner = list["members"][0]["id"].as_str().unwrap();
        assert_eq!(remove(&server.key, owner).await.0, 400);
        let demoted = server.patch(&format!("{PATH}/{owner}"), json!({"role": "ROLE_USER"})).await;
        assert_eq!(demoted.0, 400);
        assert!(demoted.1["message"].as_str().unwrap().contains("last admin"));
    }

    #[tokio::test]
    async fn roles_of_members_and_invitations_change_within_the_workspace_only() {
        let server = TestServer::open().await;
        let stranger = server.stranger().await;
        let (id, key) = server.member(Role::None).await;
        let body = json!({"email": "a@b.c", "role": "ROLE_USER"});
        let invited = server.post(PATH, body).await.1["id"].as_str().unwrap().to_owned();
        let change = async |by: &str, id: &str, role: &str| {
            let body = Some(json!({"role": role}));
            server.call_as(by, Method::PATCH, &format!("{PATH}/{id}"), body).await.0
        };

        for id in [&id, &invited] {
            assert_eq!(change(&stranger, id, "ROLE_ADMIN").await, 404);
            assert_eq!(change(&key, id, "ROLE_ADMIN").await, 403);
            assert_eq!(change(&server.key, id, "root").await, 400);
            assert_eq!(change(&server.key, id, "ROLE_DEVELOPER").await, 200);
        }
        let (_, list) = server.get(PATH).await;
        assert_eq!(list["members"][1]["role"], "ROLE_DEVELOPER");
        assert_eq!(list["members"][2]["role"], "ROLE_DEVELOPER");
        let remove = format!("{PATH}/{invited}");
        assert_eq!(server.call_as(&stranger, Method::DELETE, &remove, None).await.0, 404);
        assert_eq!(server.call(Method::DELETE, &remove, None).await.0, 200);
        assert_eq!(sign_in(&server, "a@b.c", None).await.0, 401);
    }

    #[tokio::test]
    async fn member_of_several_workspaces_chooses_one() {
        let server = TestServer::open().await;
        let db = &server.app.db;
        let second = workspaces::create_workspace(db, "second").await.unwrap();
        for workspace in [server.workspace, second] {
            invitations::invite(db, workspace, "a@b.c", Role::User).await.unwrap();
        }
        let foreign = workspaces::create_workspace(db, "foreign").await.unwrap();

        let (_, signed_in) = sign_in(&server, "a@b.c", Some(second)).await;

        assert_eq!(signed_in["workspaceId"], json!(second));
        assert_eq!(sign_in(&server, "a@b.c", Some(foreign)).await.0, 404);
        let token = signed_in["token"].as_str().unwrap();
        let (_, mine) = server.call_as(token, Method::GET, "/v1/auth/workspaces", None).await;
        assert_eq!(mine["workspaces"].as_array().unwrap().len(), 2);
        let other = async |by: &str, to: WorkspaceId| {
            let body = Some(json!({"workspaceId": to}));
            server.call_as(by, Method::POST, "/v1/auth/access_token", body).await
        };
        let (status, there) = other(token, server.workspace).await;
        assert_eq!((status, &there["workspaceId"]), (200, &json!(server.workspace)));
        assert_eq!(other(token, foreign).await.0, 404);
        let user = UserId::new(
            server.call_as(token, Method::GET, "/v1/auth/user", None).await.1["user"]["id"]
                .as_str()
                .unwrap()
                .parse()
                .unwrap(),
        );
        // A key stays in its workspace, and what one signs out of is all of the sign-in.
        let key = api_keys::issue(db, second, user, "k").await.unwrap();
        assert_eq!(other(&key, server.workspace).await.0, 404);
        let there = there["token"].as_str().unwrap();
        assert_eq!(server.call_as(there, Method::POST, "/v1/auth/signout", None).await.0, 200);
        assert_eq!(server.call_as(token, Method::GET, "/v1/auth/user", None).await.0, 401);
    }
}
