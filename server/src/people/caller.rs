//! Access tokens: signed for an hour, and good only while the API key behind them is, and its
//! holder a member of the workspace.
//!
//! A token is a JWT with HS256. Nothing in its header is believed: a token is compared with the
//! one algorithm that this server uses.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chrono::{DateTime, TimeDelta, Utc};
use common::access;
use common::access::{Role, Scope, Scopes};
use common::ids::{ApiKeyId, UserId, WorkspaceId};
use ring::hmac;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::app::App;
use crate::clock;
use crate::error::{Error, Result};
use crate::store::people::api_keys;
use crate::store::people::api_keys::KeyHolder;
use crate::store::people::{members, revoked_tokens};

pub const LIFE_SECS: i64 = 3600;
/// How long an answer that goes on may outlast its caller's right to it.
const LOOK_AGAIN: Duration = Duration::from_secs(10);
const HEADER: &str = r#"{"alg":"HS256","typ":"JWT"}"#;
const TOKEN_BYTES_MAX: usize = 2048;

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
    session: bool,
    /// When the key or token ends, whichever is first.
    expires_at: Option<DateTime<Utc>>,
}

/// An access token that was presented.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Token {
    pub id: Uuid,
    pub expires_at: DateTime<Utc>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Claims {
    sub: UserId,
    workspace: WorkspaceId,
    key: ApiKeyId,
    scope: String,
    jti: Uuid,
    iat: i64,
    exp: i64,
}

/// An access token that was just made.
pub struct Issued {
    pub text: String,
    pub life_secs: i64,
    pub scopes: Scopes,
}

impl Caller {
    /// All that the caller may do.
    pub fn scopes(&self) -> Scopes {
        self.role.scopes().and(self.made_with)
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

    /// Makes an access token for the caller. It may do nothing that the caller may not, and what
    /// is made with a token does not outlive it.
    pub fn issue(&self, secret: &[u8; 32], only: Scopes, now: DateTime<Utc>) -> Result<Issued> {
        let full = now + TimeDelta::seconds(LIFE_SECS);
        let exp = self.expires_at.map_or(full, |end| end.min(full)).timestamp();
        let scopes = self.scopes().and(only);
        let claims = Claims {
            sub: self.user,
            workspace: self.workspace,
            key: self.key,
            scope: self.made_with.and(only).to_string(),
            jti: Uuid::now_v7(),
            iat: now.timestamp(),
            exp,
        };
        Ok(Issued { text: seal(secret, &claims)?, life_secs: exp - now.timestamp(), scopes })
    }
}

fn seal(secret: &[u8; 32], claims: &Claims) -> Result<String> {
    let claims = serde_json::to_vec(claims).map_err(|error| Error::Internal(Box::new(error)))?;
    let signed = format!("{}.{}", URL_SAFE_NO_PAD.encode(HEADER), URL_SAFE_NO_PAD.encode(claims));
    let signature = hmac::sign(&key(secret), signed.as_bytes());
    Ok(format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature)))
}

/// Who calls: the header holds an access token or an API key, bare or after `Bearer`.
pub async fn caller(app: &App, header: Option<&str>) -> Result<Caller> {
    let text = header.map(bare).ok_or(Error::Unauthenticated)?;
    if text.starts_with(api_keys::PREFIX) {
        by_key(app, text).await
    } else {
        by_token(app, text).await
    }
}

/// Who holds the API key with this text.
pub async fn by_key(app: &App, text: &str) -> Result<Caller> {
    let holder = api_keys::find_by_text(&app.db, text).await?.ok_or(Error::Unauthenticated)?;
    who(app, &holder, holder.workspace).await
}

async fn by_token(app: &App, text: &str) -> Result<Caller> {
    let claims = open(&app.settings.token_key, text, clock::now()).ok_or(Error::Unauthenticated)?;
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
pub async fn who(app: &App, holder: &KeyHolder, workspace: WorkspaceId) -> Result<Caller> {
    let role = members::role(&app.db, workspace, holder.user).await?;
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

/// The claims of a token that this server signed and that has not ended.
fn open(secret: &[u8; 32], token: &str, now: DateTime<Utc>) -> Option<Claims> {
    if token.len() > TOKEN_BYTES_MAX {
        return None;
    }
    let (signed, signature) = token.rsplit_once('.')?;
    let signature = URL_SAFE_NO_PAD.decode(signature).ok()?;
    hmac::verify(&key(secret), signed.as_bytes(), &signature).ok()?;
    let (_, claims) = signed.split_once('.')?;
    let claims: Claims = serde_json::from_slice(&URL_SAFE_NO_PAD.decode(claims).ok()?).ok()?;
    (claims.exp > now.timestamp()).then_some(claims)
}

fn key(secret: &[u8; 32]) -> hmac::Key {
    hmac::Key::new(hmac::HMAC_SHA256, secret)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn caller() -> Caller {
        Caller {
            workspace: WorkspaceId::new(Uuid::from_u128(2)),
            user: UserId::new(Uuid::from_u128(3)),
            key: ApiKeyId::new(Uuid::from_u128(1)),
            token: None,
            role: Role::User,
            made_with: Scopes::ALL,
            session: false,
            expires_at: None,
        }
    }

    fn token(now: DateTime<Utc>) -> String {
        caller().issue(&[1; 32], Scopes::ALL, now).unwrap().text
    }

    #[test]
    fn a_token_is_good_for_an_hour() {
        let now = clock::now();
        let token = token(now);

        assert!(open(&[1; 32], &token, now + TimeDelta::seconds(3599)).is_some());
        assert!(open(&[1; 32], &token, now + TimeDelta::seconds(3600)).is_none());
        assert!(open(&[2; 32], &token, now).is_none());
    }

    #[test]
    fn a_token_neither_outlives_what_it_was_made_with_nor_may_more() {
        let now = clock::now();
        let made_with = Scopes::from_iter([Scope::JobsRead, Scope::WalletWrite]);
        let soon = Some(now + TimeDelta::seconds(60));
        let caller = Caller { made_with, expires_at: soon, ..caller() };

        let all = caller.issue(&[1; 32], Scopes::ALL, now).unwrap();
        let none = caller.issue(&[1; 32], [Scope::JobsWrite].into_iter().collect(), now).unwrap();

        // The role of a user does not allow the wallet's other half.
        assert_eq!((all.scopes.to_string().as_str(), all.life_secs), ("jobs:read", 60));
        assert_eq!(none.scopes, Scopes::NONE);
        let claims = open(&[1; 32], &none.text, now).unwrap();
        assert_eq!(claims.scope.parse(), Ok(Scopes::NONE));
        assert!(open(&[1; 32], &all.text, now + TimeDelta::seconds(60)).is_none());
    }

    #[test]
    fn forged_tokens_are_refused() {
        let now = clock::now();
        let token = token(now);
        let (header, rest) = token.split_once('.').unwrap();
        let (claims, signature) = rest.split_once('.').unwrap();
        let none = URL_SAFE_NO_PAD.encode(r#"{"alg":"none"}"#);
        let later = URL_SAFE_NO_PAD
            .encode(serde_json::json!({"sub": Uuid::nil(), "exp": i64::MAX}).to_string());

        for forged in [
            format!("{none}.{claims}."),
            format!("{none}.{claims}.{signature}"),
            format!("{header}.{later}.{signature}"),
            format!("{header}.{claims}."),
            format!("{claims}.{signature}"),
            String::new(),
            ".".repeat(3000),
        ] {
            assert!(open(&[1; 32], &forged, now).is_none(), "{forged}");
        }
    }

    #[test]
    fn bearer_may_be_written_or_not() {
        for header in ["abc", "Bearer abc", "bearer  abc", " abc "] {
            assert_eq!(bare(header), "abc");
        }
    }
}
