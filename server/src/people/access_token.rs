//! Access tokens: signed for an hour, and good only while the API key behind them is, and its
//! holder a member of the workspace.
//!
//! A token is a JWT with HS256. Nothing in its header is believed: a token is compared with the
//! one algorithm that this server uses.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chrono::{DateTime, TimeDelta, Utc};
use common::access::Scopes;
use common::ids::{ApiKeyId, UserId, WorkspaceId};
use ring::hmac;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::caller::Caller;
use crate::app::App;
use crate::clock;
use crate::error::{Error, Result};

pub const LIFE_SECS: i64 = 3600;
const HEADER: &str = r#"{"alg":"HS256","typ":"JWT"}"#;
const TOKEN_BYTES_MAX: usize = 2048;

/// An access token that was just made.
pub struct AccessToken {
    pub text: String,
    pub life_secs: i64,
    pub scopes: Scopes,
    pub workspace: WorkspaceId,
}

/// What a token says of who presents it.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Claims {
    pub sub: UserId,
    pub workspace: WorkspaceId,
    pub key: ApiKeyId,
    pub scope: String,
    pub jti: Uuid,
    pub iat: i64,
    pub exp: i64,
}

/// Makes an access token for the caller, in this workspace where one is named. It may do nothing
/// that the caller may not, and what is made with a token does not outlive it.
///
/// # Errors
/// `NotFound` where the caller cannot act in that workspace.
pub async fn issue(
    app: &App,
    caller: Caller,
    workspace: Option<WorkspaceId>,
    only: Scopes,
) -> Result<AccessToken> {
    let caller = caller.in_workspace(app, workspace.unwrap_or(caller.workspace)).await?;
    sign(&app.settings.token_key, &caller, only, clock::now())
}

fn sign(
    secret: &[u8; 32],
    caller: &Caller,
    only: Scopes,
    now: DateTime<Utc>,
) -> Result<AccessToken> {
    let full = now + TimeDelta::seconds(LIFE_SECS);
    let exp = caller.expires_at.map_or(full, |end| end.min(full)).timestamp();
    let claims = Claims {
        sub: caller.user,
        workspace: caller.workspace,
        key: caller.key,
        scope: caller.made_with.and(only).to_string(),
        jti: Uuid::now_v7(),
        iat: now.timestamp(),
        exp,
    };
    Ok(AccessToken {
        text: seal(secret, &claims)?,
        life_secs: exp - now.timestamp(),
        scopes: caller.scopes().and(only),
        workspace: caller.workspace,
    })
}

fn seal(secret: &[u8; 32], claims: &Claims) -> Result<String> {
    let claims = serde_json::to_vec(claims).map_err(|error| Error::Internal(Box::new(error)))?;
    let signed = format!("{}.{}", URL_SAFE_NO_PAD.encode(HEADER), URL_SAFE_NO_PAD.encode(claims));
    let signature = hmac::sign(&key(secret), signed.as_bytes());
    Ok(format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature)))
}

/// The claims of a token that this server signed and that has not ended.
pub(super) fn open(secret: &[u8; 32], token: &str, now: DateTime<Utc>) -> Option<Claims> {
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
    use common::access::{Role, Scope};

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
        sign(&[1; 32], &caller(), Scopes::ALL, now).unwrap().text
    }

    #[test]
    fn access_token_is_valid_for_an_hour() {
        let now = clock::now();
        let token = token(now);

        assert!(open(&[1; 32], &token, now + TimeDelta::seconds(3599)).is_some());
        assert!(open(&[1; 32], &token, now + TimeDelta::seconds(3600)).is_none());
        assert!(open(&[2; 32], &token, now).is_none());
    }

    #[test]
    fn access_token_never_exceeds_the_time_or_scopes_of_its_origin() {
        let now = clock::now();
        let made_with = Scopes::from_iter([Scope::JobsRead, Scope::WalletWrite]);
        let soon = Some(now + TimeDelta::seconds(60));
        let caller = Caller { made_with, expires_at: soon, ..caller() };

        let all = sign(&[1; 32], &caller, Scopes::ALL, now).unwrap();
        let none = sign(&[1; 32], &caller, Scopes::from_iter([Scope::JobsWrite]), now).unwrap();

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
}
