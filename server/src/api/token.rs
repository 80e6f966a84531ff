//! Access tokens: signed for an hour, and good only while the API key behind them is.
//!
//! A token is a JWT with HS256. Nothing in its header is believed: a token is compared with the
//! one algorithm that this server uses.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chrono::{DateTime, Utc};
use common::ids::{ApiKeyId, UserId, WorkspaceId};
use ring::hmac;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::App;
use super::error::{Error, Result};
use crate::clock;
use crate::store::api_keys::{self, KeyHolder};
use crate::store::ended_tokens;

pub const LIFE_SECS: i64 = 3600;
const HEADER: &str = r#"{"alg":"HS256","typ":"JWT"}"#;
const TOKEN_BYTES_MAX: usize = 2048;

/// Who a request comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Caller {
    pub workspace: WorkspaceId,
    pub user: UserId,
    pub key: ApiKeyId,
    /// The access token, where it was one and not the key itself.
    pub token: Option<Token>,
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
    jti: Uuid,
    iat: i64,
    exp: i64,
}

/// Makes an access token for whoever holds the key.
pub fn issue(secret: &[u8; 32], holder: KeyHolder, now: DateTime<Utc>) -> Result<String> {
    let claims = Claims {
        sub: holder.user,
        workspace: holder.workspace,
        key: holder.key,
        jti: Uuid::now_v7(),
        iat: now.timestamp(),
        exp: now.timestamp() + LIFE_SECS,
    };
    let claims = serde_json::to_vec(&claims).map_err(|error| Error::Internal(Box::new(error)))?;
    let signed = format!("{}.{}", URL_SAFE_NO_PAD.encode(HEADER), URL_SAFE_NO_PAD.encode(claims));
    let signature = hmac::sign(&key(secret), signed.as_bytes());
    Ok(format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature)))
}

/// Who calls: the header holds an access token or an API key, bare or after `Bearer`.
pub async fn caller(app: &App, header: Option<&str>) -> Result<Caller> {
    let text = header.map(bare).ok_or(Error::Unauthenticated)?;
    let (holder, token) = if text.starts_with(api_keys::PREFIX) {
        (api_keys::find_by_text(&app.db, text).await?, None)
    } else {
        let claims =
            open(&app.settings.token_key, text, clock::now()).ok_or(Error::Unauthenticated)?;
        if ended_tokens::has_ended(&app.db, claims.jti).await? {
            return Err(Error::Unauthenticated);
        }
        let expires_at = DateTime::from_timestamp(claims.exp, 0).ok_or(Error::Unauthenticated)?;
        let token = Token { id: claims.jti, expires_at };
        (api_keys::find(&app.db, claims.key).await?, Some(token))
    };
    let KeyHolder { workspace, user, key } = holder.ok_or(Error::Unauthenticated)?;
    Ok(Caller { workspace, user, key, token })
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
    use chrono::TimeDelta;

    use super::*;

    fn holder() -> KeyHolder {
        KeyHolder {
            key: ApiKeyId::new(Uuid::from_u128(1)),
            workspace: WorkspaceId::new(Uuid::from_u128(2)),
            user: UserId::new(Uuid::from_u128(3)),
        }
    }

    #[test]
    fn a_token_is_good_for_an_hour() {
        let now = clock::now();
        let token = issue(&[1; 32], holder(), now).unwrap();

        assert!(open(&[1; 32], &token, now + TimeDelta::seconds(3599)).is_some());
        assert!(open(&[1; 32], &token, now + TimeDelta::seconds(3600)).is_none());
        assert!(open(&[2; 32], &token, now).is_none());
    }

    #[test]
    fn forged_tokens_are_refused() {
        let now = clock::now();
        let token = issue(&[1; 32], holder(), now).unwrap();
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
