//! Who a request comes from: the holder of an API key or an access token in force.

use std::time::Duration;

use chrono::{DateTime, Utc};
use common::access;
use common::access::{Role, Scope, Scopes};
use common::ids::{ApiKeyId, UserId, WorkspaceId};
use common::schedule::Author;
use uuid::Uuid;

use super::access_token;
use crate::app::App;
use crate::clock;
use crate::error::{Error, Result};
use crate::store::people::api_keys;
use crate::store::people::api_keys::{KeyHolder, KeyPrefix};
use crate::store::people::{members, revoked_tokens};

/// How long an answer that goes on may outlast its caller's right to it.
const LOOK_AGAIN: Duration = Duration::from_secs(10);

/// Who a request comes from, and what they may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Caller {
    pub workspace: WorkspaceId,
    pub user: UserId,
    pub key: ApiKeyId,
    /// The access token, where it was one and not the key itself.
    pub token: Option<Token>,
    pub role: Role,
    /// What the key or token was made with; the role may allow less.
    pub made_with: Scopes,
    /// Came by signing in, so may act in each of the user's workspaces.
    pub(super) session: bool,
    /// When the key or token ends, whichever is first.
    pub(super) expires_at: Option<DateTime<Utc>>,
}

/// An access token that was presented.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Token {
    pub id: Uuid,
    pub expires_at: DateTime<Utc>,
}

impl Caller {
    /// All that the caller may do.
    pub fn scopes(&self) -> Scopes {
        self.role.scopes().and(self.made_with)
    }

    /// How the log names the caller: by the id of the API key, or of the user who has signed in.
    /// Neither is a secret or an address.
    pub fn log_name(&self) -> String {
        if self.session { format!("user:{}", self.user) } else { format!("key:{}", self.key) }
    }

    /// Refuses what the caller may not do, and says what would let them.
    pub fn check(&self, needed: Scope) -> Result<()> {
        Ok(access::check(self.role, self.made_with, needed)?)
    }

    /// The same user in another workspace of theirs.
    ///
    /// # Errors
    /// `NotFound` where the user does not belong to it, and for API keys, which act in one only.
    pub async fn in_workspace(self, app: &App, workspace: WorkspaceId) -> Result<Self> {
        if workspace == self.workspace {
            return Ok(self);
        }
        let unknown = || Error::not_found("workspace", &workspace.to_string());
        if !self.session {
            return Err(unknown());
        }
        let role = members::role(&app.db, workspace, self.user).await?.ok_or_else(unknown)?;
        Ok(Self { workspace, role, ..self })
    }
}

/// Who calls: the header holds an access token or an API key, bare or after `Bearer`.
pub async fn caller(app: &App, header: Option<&str>) -> Result<Caller> {
    let text = header.map(bare).ok_or(Error::Unauthenticated)?;
    if KeyPrefix::is_in(text) { by_key(app, text).await } else { by_token(app, text).await }
}

/// Who holds the API key with this text.
pub async fn by_key(app: &App, text: &str) -> Result<Caller> {
    let found = api_keys::find_member(&app.db, text).await?;
    let (holder, role) = found.ok_or(Error::Unauthenticated)?;
    member(app, &holder, holder.workspace, role).await
}

async fn by_token(app: &App, text: &str) -> Result<Caller> {
    let claims = access_token::open(&app.settings.token_key, text, clock::now());
    let claims = claims.ok_or(Error::Unauthenticated)?;
    if revoked_tokens::has_ended(&app.db, claims.jti).await? {
        return Err(Error::Unauthenticated);
    }
    let expires_at = DateTime::from_timestamp(claims.exp, 0).ok_or(Error::Unauthenticated)?;
    let scopes: Scopes = claims.scope.parse().map_err(|_| Error::Unauthenticated)?;
    let holder = api_keys::find(&app.db, claims.key).await?.ok_or(Error::Unauthenticated)?;
    let caller = who(app, &holder, claims.workspace).await?;
    Ok(Caller {
        token: Some(Token { id: claims.jti, expires_at }),
        made_with: caller.made_with.and(scopes),
        expires_at: Some(expires_at),
        ..caller
    })
}

/// Who holds this key: nobody who does not belong to the workspace any more.
pub(super) async fn who(app: &App, holder: &KeyHolder, workspace: WorkspaceId) -> Result<Caller> {
    let role = members::role(&app.db, workspace, holder.user).await?;
    member(app, holder, workspace, role).await
}

async fn member(
    app: &App,
    holder: &KeyHolder,
    workspace: WorkspaceId,
    role: Option<Role>,
) -> Result<Caller> {
    let role = role.ok_or(Error::Unauthenticated)?;
    api_keys::used(&app.db, holder).await?;
    Ok(Caller {
        workspace,
        user: holder.user,
        key: holder.key,
        token: None,
        role,
        made_with: holder.scopes,
        session: holder.session,
        expires_at: holder.expires_at,
    })
}

/// Who has set a schedule, with what they may do now.
///
/// # Errors
/// `Forbidden` where they are no member any more, or may not start jobs.
pub async fn of_author(app: &App, author: Author) -> Result<Caller> {
    let Author { workspace, user, key, scopes } = author;
    let left = "who has set this schedule is no longer a member of the workspace: set it again";
    let role = members::role(&app.db, workspace, user).await?;
    let role = role.ok_or_else(|| Error::Forbidden(left.to_owned()))?;
    let (token, session, expires_at) = (None, false, None);
    let caller =
        Caller { workspace, user, key, token, role, made_with: scopes, session, expires_at };
    caller.check(Scope::JobsWrite)?;
    Ok(caller)
}

/// Waits until the caller of an answer that goes on would be let in no more.
pub async fn gone(app: App, caller: Caller) {
    loop {
        tokio::time::sleep(LOOK_AGAIN).await;
        if let Ok(false) = is_let_in(&app, &caller).await {
            return;
        }
    }
}

/// Whether neither the token, nor the key, nor the membership of a caller has ended since, and
/// the role is what it was.
pub async fn is_let_in(app: &App, caller: &Caller) -> Result<bool> {
    let token_ended = match caller.token {
        None => false,
        Some(token) => {
            token.expires_at <= clock::now() || revoked_tokens::has_ended(&app.db, token.id).await?
        }
    };
    let key = api_keys::find(&app.db, caller.key).await?;
    let role = members::role(&app.db, caller.workspace, caller.user).await?;
    Ok(!token_ended && key.is_some() && role == Some(caller.role))
}

fn bare(header: &str) -> &str {
    let header = header.trim();
    match header.split_once(' ') {
        Some((scheme, token)) if scheme.eq_ignore_ascii_case("bearer") => token.trim(),
        _ => header,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bearer_prefix_is_optional() {
        for header in ["abc", "Bearer abc", "bearer  abc", " abc "] {
            assert_eq!(bare(header), "abc");
        }
    }
}
