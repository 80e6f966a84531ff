//! What the headers of an upload say of its body. Some say that the body is not simply the file: a
//! file that was stored with its wrapping would be wrong without anybody's noticing.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use common::digest::Digest;
use warp::http::HeaderMap;
use warp::http::header::{CONTENT_ENCODING, CONTENT_RANGE, CONTENT_TYPE};

use crate::error::{Error, Result};

/// The digest of the body, or of the file that it is.
const DIGESTS: [&str; 2] = ["content-digest", "repr-digest"];

/// Refuses a body that is more or less than the file, and gives the digest that it must have.
///
/// # Errors
/// The message names the header.
pub fn read(headers: &HeaderMap) -> Result<Option<Digest>> {
    let codings = headers.get_all(CONTENT_ENCODING).iter();
    for coding in codings.flat_map(|value| value.to_str().unwrap_or("?").split(',')) {
        let coding = coding.trim();
        if !coding.is_empty() && !coding.eq_ignore_ascii_case("identity") {
            let problem = format!(
                "says that the file is packed with {coding:?}, but files are kept as they are \
                 sent: send it unpacked, or without this header"
            );
            return Err(Error::field("Content-Encoding", problem));
        }
    }
    if headers.contains_key(CONTENT_RANGE) {
        return Err(Error::field("Content-Range", "a file is sent as a whole, not in parts"));
    }
    let media = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok());
    let media = media.unwrap_or_default().trim_start().to_ascii_lowercase();
    if media.starts_with("multipart/form-data") {
        let problem = "the body must be the file itself and no form with the file in it: send it \
                       as `curl -T FILE` does";
        return Err(Error::field("Content-Type", problem));
    }
    DIGESTS.into_iter().find_map(|name| digest(headers, name).transpose()).transpose()
}

/// The SHA-256 in `sha-256=:BASE64:`; other digests are not looked at.
fn digest(headers: &HeaderMap, name: &'static str) -> Result<Option<Digest>> {
    let values = headers.get_all(name).iter().filter_map(|value| value.to_str().ok());
    let mut entries = values.flat_map(|value| value.split(','));
    let Some(text) = entries.find_map(|entry| entry.trim().strip_prefix("sha-256=")) else {
        return Ok(None);
    };
    let inner = text.strip_prefix(':').and_then(|text| text.strip_suffix(':'));
    let bytes = inner.and_then(|text| STANDARD.decode(text).ok());
    let digest = bytes.and_then(|bytes| hex::encode(bytes).parse().ok());
    let problem = "must be sha-256=:BASE64: with the 32 bytes of a digest";
    digest.map(Some).ok_or_else(|| Error::field(name, problem))
}
