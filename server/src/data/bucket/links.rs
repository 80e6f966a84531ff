//! Links into a bucket that cannot sign its own: the server signs them and serves them itself.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chrono::{DateTime, Utc};
use common::digest::Digest;
use common::ids::{ApiKeyId, UserId, WorkspaceId};
use reqwest::Method;
use ring::hmac;

use super::blob_key::BlobKey;
use crate::data::file_name;

/// The path under the server's address at which links are served, before the object's segment.
pub const PATH: &str = "/v1/storage/";
/// Longest query of a link; ours are far shorter.
const QUERY_BYTES_MAX: usize = 4096;

/// Who a link was made for: it ends with their membership, and with the key they had it made by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Holder {
    pub workspace: WorkspaceId,
    pub user: UserId,
    pub key: ApiKeyId,
}

impl fmt::Display for Holder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}", self.workspace, self.user, self.key)
    }
}

impl FromStr for Holder {
    type Err = LinkError;

    fn from_str(text: &str) -> Result<Self, LinkError> {
        let mut ids = text.splitn(3, '.');
        let mut next = || ids.next().ok_or(LinkError::Invalid);
        let (workspace, user, key) = (next()?, next()?, next()?);
        Ok(Self {
            workspace: workspace.parse().map_err(|_| LinkError::Invalid)?,
            user: user.parse().map_err(|_| LinkError::Invalid)?,
            key: key.parse().map_err(|_| LinkError::Invalid)?,
        })
    }
}

/// Makes and checks links.
pub struct Links {
    public_url: String,
    key: hmac::Key,
}

/// What is told of the object behind a link.
#[derive(Debug, Clone, Copy, Default)]
pub struct Linked<'a> {
    /// What a browser should save it as.
    pub name: &'a str,
    /// Of its bytes, where that is known.
    pub digest: Option<Digest>,
}

/// What a valid link gives access to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OpenedLink {
    pub key: BlobKey,
    /// What a browser should save it as.
    pub file_name: String,
    /// Of its bytes, where that is known.
    pub digest: Option<Digest>,
    /// Who it was made for; serving it checks that they still may; a link to upload
    /// a draft's file belongs to the draft alone.
    pub holder: Option<Holder>,
}

/// Why a link is not served. A forged link and a mistyped one look the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum LinkError {
    #[error("this link is not valid: use it exactly as it was given, with the same method")]
    Invalid,
    #[error("this link has expired: ask for a new one")]
    Expired,
}

impl Links {
    pub fn new(public_url: &str, key: &[u8; 32]) -> Self {
        let public_url = public_url.trim_end_matches('/').to_owned();
        Self { public_url, key: hmac::Key::new(hmac::HMAC_SHA256, key) }
    }

    /// A link that allows one method on one object until `expires`.
    pub fn make(
        &self,
        method: &Method,
        key: &BlobKey,
        file: Linked<'_>,
        holder: Option<Holder>,
        expires: DateTime<Utc>,
    ) -> String {
        let (path, expires) = (key.path(), expires.timestamp());
        let holder = holder.map(|holder| holder.to_string()).unwrap_or_default();
        let Linked { name, digest } = file;
        let digest = digest.map(|digest| digest.to_string()).unwrap_or_default();
        let message = message(method.as_str(), &path, expires, &holder, &digest, name);
        let signature = hex::encode(hmac::sign(&self.key, message.as_bytes()));
        let query = url::form_urlencoded::Serializer::new(String::new())
            .append_pair("method", method.as_str())
            .append_pair("expires", &expires.to_string())
            .append_pair("holder", &holder)
            .append_pair("digest", &digest)
            .append_pair("name", name)
            .append_pair("signature", &signature)
            .finish();
        format!("{}{PATH}{}?{query}", self.public_url, URL_SAFE_NO_PAD.encode(path))
    }

    /// Checks a link: the request's method, the path's segment after [`PATH`], and the raw query.
    /// A link to GET an object also allows HEAD.
    pub fn open(
        &self,
        method: &Method,
        segment: &str,
        query: &str,
        now: DateTime<Utc>,
    ) -> Result<OpenedLink, LinkError> {
        let parsed = Parsed::read(segment, query).ok_or(LinkError::Invalid)?;
        let wanted = if method == Method::HEAD { &Method::GET } else { method };
        if parsed.method != wanted.as_str() {
            return Err(LinkError::Invalid);
        }
        let Parsed { path, method, expires, holder, digest, name, .. } = &parsed;
        let message = message(method, path, *expires, holder, digest, name);
        hmac::verify(&self.key, message.as_bytes(), &parsed.signature)
            .map_err(|_| LinkError::Invalid)?;
        if parsed.expires <= now.timestamp() {
            return Err(LinkError::Expired);
        }
        let key = BlobKey::from_path(&parsed.path).ok_or(LinkError::Invalid)?;
        let holder = Some(parsed.holder).filter(|holder| !holder.is_empty());
        let holder = holder.map(|holder| holder.parse()).transpose()?;
        let digest = Some(parsed.digest).filter(|digest| !digest.is_empty());
        let digest = digest.map(|digest| digest.parse()).transpose();
        let digest = digest.map_err(|_| LinkError::Invalid)?;
        Ok(OpenedLink { key, file_name: parsed.name, digest, holder })
    }
}

/// A link's parts, before anything is believed.
struct Parsed {
    path: String,
    method: String,
    expires: i64,
    holder: String,
    digest: String,
    name: String,
    signature: Vec<u8>,
}

impl Parsed {
    fn read(segment: &str, query: &str) -> Option<Self> {
        if query.len() > QUERY_BYTES_MAX || segment.len() > QUERY_BYTES_MAX {
            return None;
        }
        let path = String::from_utf8(URL_SAFE_NO_PAD.decode(segment).ok()?).ok()?;
        let (mut method, mut expires, mut name, mut signature) = (None, None, None, None);
        let (mut holder, mut digest) = (String::new(), String::new());
        for (field, value) in url::form_urlencoded::parse(query.as_bytes()) {
            match field.as_ref() {
                "method" => method = Some(value.into_owned()),
                "expires" => expires = Some(value.parse().ok()?),
                "holder" => holder = value.into_owned(),
                "digest" => digest = value.into_owned(),
                "name" => name = Some(value.into_owned()),
                "signature" => signature = Some(hex::decode(value.as_ref()).ok()?),
                // Proxies and trackers add their own.
                _ => {}
            }
        }
        let (method, expires, name) = (method?, expires?, name?);
        Some(Self { path, method, expires, holder, digest, name, signature: signature? })
    }
}

/// What is signed. The name comes last, because only it may contain any character.
fn message(
    method: &str,
    path: &str,
    expires: i64,
    holder: &str,
    digest: &str,
    name: &str,
) -> String {
    // A holder is read as ids and a digest as one, so they have no line of their own to add.
    let (holder, digest) = (holder.replace('\n', ""), digest.replace('\n', ""));
    format!("fanfold link\n{method}\n{path}\n{expires}\n{holder}\n{digest}\n{name}")
}

/// The value of a `Content-Disposition` header that makes a browser save an answer as a file.
pub fn disposition(file_name: &str) -> String {
    let name = file_name::of_result(file_name);
    // For clients that know nothing better; some decode a percent sign in it.
    let is_plain = |c: char| (c.is_ascii_graphic() || c == ' ') && !matches!(c, '"' | '%');
    let plain: String = name.chars().map(|c| if is_plain(c) { c } else { '_' }).collect();
    let encoded = percent_encoding::utf8_percent_encode(&name, percent_encoding::NON_ALPHANUMERIC);
    format!("attachment; filename=\"{plain}\"; filename*=UTF-8''{encoded}")
}

/// When a link that lives so long ends.
pub fn expiry(now: DateTime<Utc>, lives: Duration) -> DateTime<Utc> {
    chrono::TimeDelta::from_std(lives)
        .ok()
        .and_then(|lives| now.checked_add_signed(lives))
        .unwrap_or(DateTime::<Utc>::MAX_UTC)
}

#[cfg(test)]
mod tests {
    use common::ids::JobId;
    use uuid::Uuid;

    use super::*;

    const NOW: DateTime<Utc> = DateTime::from_timestamp(1_800_000_000, 0).unwrap();

    fn upload() -> BlobKey {
        BlobKey::Upload(JobId::new(Uuid::from_u128(7)))
    }

    fn holder() -> Holder {
        Holder {
            workspace: WorkspaceId::new(Uuid::from_u128(1)),
            user: UserId::new(Uuid::from_u128(2)),
            key: ApiKeyId::new(Uuid::from_u128(3)),
        }
    }

    fn links() -> Links {
        Links::new("http://localhost:8700/", &[7; 32])
    }

    fn split(link: &str) -> (String, String) {
        let rest = link.strip_prefix("http://localhost:8700/v1/storage/").unwrap();
        let (segment, query) = rest.split_once('?').unwrap();
        (segment.to_owned(), query.to_owned())
    }

    fn link(method: &Method, name: &str) -> (String, String) {
        let expires = expiry(NOW, Duration::from_secs(60));
        let file = Linked { name, digest: Some(Digest::of(b"x")) };
        split(&links().make(method, &upload(), file, Some(holder()), expires))
    }

    #[test]
    fn link_opens_its_object() {
        let name = "a &b=c\n日本.txt";
        let (segment, query) = link(&Method::GET, name);

        let opened = links().open(&Method::GET, &segment, &query, NOW);

        let expected = OpenedLink {
            key: upload(),
            file_name: name.into(),
            digest: Some(Digest::of(b"x")),
            holder: Some(holder()),
        };
        assert_eq!(opened, Ok(expected.clone()));
        assert_eq!(links().open(&Method::HEAD, &segment, &query, NOW), Ok(expected));
    }

    #[test]
    fn link_expires() {
        let (segment, query) = link(&Method::GET, "x");
        let late = NOW + chrono::TimeDelta::seconds(60);

        assert_eq!(links().open(&Method::GET, &segment, &query, late), Err(LinkError::Expired));
    }

    #[test]
    fn link_for_one_method_does_not_open_another() {
        let (segment, get) = link(&Method::GET, "x");
        let (_, put) = link(&Method::PUT, "x");

        for (method, query) in [(Method::PUT, &get), (Method::GET, &put), (Method::HEAD, &put)] {
            let opened = links().open(&method, &segment, query, NOW);
            assert_eq!(opened, Err(LinkError::Invalid));
        }
        let claims = get.replace("method=GET", "method=PUT");
        let opened = links().open(&Method::PUT, &segment, &claims, NOW);
        assert_eq!(opened, Err(LinkError::Invalid));
    }

    #[test]
    fn link_that_is_changed_in_any_part_is_refused() {
        let (segment, query) = link(&Method::GET, "x");
        let other = URL_SAFE_NO_PAD.encode(BlobKey::Upload(JobId::new(Uuid::from_u128(8))).path());
        let longer = query.replace("expires=1800000060", "expires=1900000060");
        assert_ne!(longer, query);
        for (segment, query) in [
            (&other, &query),
            (&segment, &longer),
            (&segment, &query.replace("name=x", "name=y")),
            (&segment, &query.replace("000003&", "000004&")),
            (&segment, &query.replace("holder=", "held=")),
            (&segment, &query.replace("digest=2", "digest=3")),
            (&segment, &query.replace("digest=", "nodigest=")),
            (&segment, &query.replace("signature=", "signature=00")),
            (&segment, &query.split("&signature").next().unwrap().to_owned()),
            (&segment, &String::new()),
            (&"%%%".to_owned(), &query),
        ] {
            let opened = links().open(&Method::GET, segment, query, NOW);
            assert_eq!(opened, Err(LinkError::Invalid), "{segment}?{query}");
        }
        let stranger = Links::new("http://localhost:8700", &[8; 32]);
        let opened = stranger.open(&Method::GET, &segment, &query, NOW);
        assert_eq!(opened, Err(LinkError::Invalid));
    }

    #[test]
    fn file_name_cannot_add_headers() {
        let header = disposition("a\"; x=\r\nSet-Cookie: b");

        assert!(header.chars().all(|c| c.is_ascii_graphic() || c == ' '), "{header}");
        assert_eq!(header.matches('"').count(), 2);
    }

    #[test]
    fn file_name_is_saved_unchanged() {
        let header = disposition("2026-11-28T08:15 100%.json");

        let (plain, encoded) = header.split_once("; filename*=UTF-8''").unwrap();
        assert_eq!(plain, "attachment; filename=\"2026-11-28T08:15 100_.json\"");
        let decoded = percent_encoding::percent_decode_str(encoded).decode_utf8().unwrap();
        assert_eq!(decoded, "2026-11-28T08:15 100%.json");
    }
}
