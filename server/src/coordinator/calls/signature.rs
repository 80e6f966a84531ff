//! Signatures of calls, as Standard Webhooks has them: `v1,` and the base64 of the HMAC-SHA256 of
//! the message's id, the time and the body.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ring::hmac;

const PREFIX: &str = "whsec_";
/// The bytes of a key, by the specification.
const KEY_BYTES: std::ops::RangeInclusive<usize> = 24..=64;
/// One key that is in use, and one that replaces it.
const KEYS_MAX: usize = 2;

/// The value of a secret is no signing key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "holds no signing key: store whsec_ and the base64 of 24 to 64 random bytes; during a rotation, \
     two of them with a space between"
)]
pub(super) struct NoKey;

/// The signatures of a message, one for each key in the value of a secret.
pub(super) fn sign(keys: &str, id: &str, seconds: i64, body: &str) -> Result<Vec<String>, NoKey> {
    let keys = keys.split_ascii_whitespace().map(key).collect::<Result<Vec<_>, _>>()?;
    if keys.is_empty() || keys.len() > KEYS_MAX {
        return Err(NoKey);
    }
    let signed = |key: &hmac::Key| {
        let tag = hmac::sign(key, format!("{id}.{seconds}.{body}").as_bytes());
        format!("v1,{}", STANDARD.encode(tag))
    };
    Ok(keys.iter().map(signed).collect())
}

fn key(text: &str) -> Result<hmac::Key, NoKey> {
    let encoded = text.strip_prefix(PREFIX).ok_or(NoKey)?;
    let bytes = STANDARD.decode(encoded).map_err(|_| NoKey)?;
    if !KEY_BYTES.contains(&bytes.len()) {
        return Err(NoKey);
    }
    Ok(hmac::Key::new(hmac::HMAC_SHA256, &bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The example of the Standard Webhooks libraries.
    const KEY: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

    #[test]
    fn signature_is_that_of_the_specification() {
        let signed =
            sign(KEY, "msg_p5jXN8AQM9LWM0D4loKWxJek", 1_614_265_330, r#"{"test": 2432232314}"#);

        assert_eq!(signed, Ok(vec!["v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=".to_owned()]));
    }

    #[test]
    fn rotation_signs_with_both_keys() {
        let other = format!("whsec_{}", STANDARD.encode([7; 32]));
        let both = sign(&format!("{other} {KEY}"), "msg_1", 1, "x").unwrap();

        assert_eq!(both.len(), 2);
        assert_eq!(vec![both[0].clone()], sign(&other, "msg_1", 1, "x").unwrap());
        assert_eq!(vec![both[1].clone()], sign(KEY, "msg_1", 1, "x").unwrap());
    }

    #[test]
    fn value_that_is_no_key_is_refused() {
        let short = format!("whsec_{}", STANDARD.encode([7; 23]));
        let long = format!("whsec_{}", STANDARD.encode([7; 65]));
        for text in ["", " ", "secret", "whsec_", "whsec_!!!!", &short, &long] {
            assert_eq!(sign(text, "msg_1", 1, ""), Err(NoKey), "{text}");
        }
        assert_eq!(sign(&[KEY; 3].join(" "), "msg_1", 1, ""), Err(NoKey));
    }
}
