//! Secrets: written whole, read back without their secret half.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use common::access::Scope;
use common::package::loose::{Invalid, Loose};
use common::secret::{NotAKind, Purpose, SecretId, SecretKind};
use serde::Serialize;
use utoipa::ToSchema;
use uuid::Uuid;

use crate::api::bytenite::wire::{Done, done};
use crate::api::bytenite::words;
use crate::api::http::call::{BODY_BYTES_MAX, Call, Segment};
use crate::api::http::idempotency;
use crate::api::http::route::{Route, delete, get, post};
use crate::api::http::shape::{Shape, date, map, one, text, word};
use crate::error::{Error, Result};
use crate::people::secrets;
use crate::people::secrets::Secret;

/// The name that the type aws had before.
const S3: &str = "s3";
const KEY_CHARS_MAX: usize = 64 * 1024;
const ID_CHARS_MAX: usize = 128;
const ADDRESS_CHARS_MAX: usize = 1024;

#[derive(Serialize, ToSchema)]
struct ListOut {
    secrets: Vec<SecretOut>,
}

#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct SecretOut {
    id: String,
    #[schema(value_type = words::SecretType)]
    secret_type: &'static str,
    access_key: String,
    expires_at: Option<DateTime<Utc>>,
    params: BTreeMap<String, String>,
    name: String,
    /// The only server that it is sent to.
    #[serde(skip_serializing_if = "Option::is_none")]
    endpoint: Option<String>,
}

pub fn routes() -> Vec<Route> {
    vec![
        post("Auth_CreateSecret", "/secrets", create)
            .creates()
            .summary("Creates or replaces a secret; its value is never returned")
            .body(vec![
                one("secret", &SECRET, "").required(),
                text("secretKey", "The value to keep secret").required().example("..."),
            ])
            .needs(Scope::SecretsWrite),
        get("Auth_ListSecrets", "/secrets", list)
            .summary("Lists secrets, without their values")
            .query(vec![word("secretType", &TYPES, "Those of this type only")])
            .needs(Scope::SecretsRead),
        delete("Auth_DeleteSecret", "/secrets/{secretType}/{id}", remove)
            .summary("Deletes a secret")
            .needs(Scope::SecretsWrite),
    ]
}

const TYPES: [&str; 7] = ["aws", "s3", "gcp", "storj", "azure", "url", "other"];

const SECRET: Shape = Shape {
    name: "Secret",
    fields: &[
        text("id", "Made where it is left out"),
        word("secretType", &TYPES, "url is a user and a password; s3 is an old name of aws")
            .required()
            .example("aws"),
        text("accessKey", "").required().example("AKIAIOSFODNN7EXAMPLE"),
        date("expiresAt", ""),
        map("params", "Texts"),
        text("name", ""),
        text(
            "endpoint",
            "The one server that it is sent to, such as https://host: needed for url, and for azure \
             where the account is not at Azure itself",
        ),
    ],
};

async fn create(mut call: Call) -> Result<Done> {
    let caller = call.caller().await?;
    let bytes = call.bytes(BODY_BYTES_MAX).await?;
    let mut body = call.object(&bytes)?;
    let field = body.name("secret");
    let secret = body.object("secret")?.ok_or_else(|| Invalid::new(field, "is missing"))?;
    let secret = read(secret, idempotency::new_id(&call, &caller, &bytes).await?.id)?;
    let secret_key = body.required_text("secretKey")?;
    if secret_key.len() > KEY_CHARS_MAX {
        return Err(Error::field("secretKey", format!("must have at most {KEY_CHARS_MAX} bytes")));
    }
    secrets::keep(call.app(), &caller, &secret, &secret_key).await?;
    Ok(done())
}

async fn list(call: Call) -> Result<ListOut> {
    let caller = call.caller().await?;
    let asked = call.query()?.remove("secretType").filter(|kind| !kind.is_empty());
    let kind = asked.as_ref().map(|kind| read_kind("secretType", kind)).transpose()?;
    let kept = secrets::list(call.app(), &caller, kind).await?;
    // Clients that ask by the old name look for it in the answer.
    let old = asked.is_some_and(|asked| asked.eq_ignore_ascii_case(S3));
    let shown = |secret: Secret| {
        let shown = SecretOut::from(secret);
        if old { SecretOut { secret_type: S3, ..shown } } else { shown }
    };
    Ok(ListOut { secrets: kept.into_iter().map(shown).collect() })
}

async fn remove(kind: Segment, id: Segment, call: Call) -> Result<Done> {
    let caller = call.caller().await?;
    let known = read_kind("secretType", &kind.0)?;
    let unknown = || Error::not_found("secret", &id.0);
    let named = SecretId::named(&id.0).map_err(|_| unknown())?;
    if !secrets::delete(call.app(), &caller, known, &named).await? {
        return Err(unknown());
    }
    Ok(done())
}

/// `fresh` becomes the id of a secret that names none.
fn read(mut fields: Loose, fresh: Uuid) -> Result<Secret> {
    let field = fields.name("secretType");
    let kind = read_kind(&field, &fields.required_text("secretType")?)?;
    let access_key = match fields.line("accessKey", KEY_CHARS_MAX)? {
        // A secret of type `other` has one half only.
        None if kind == SecretKind::Other => String::new(),
        None => return Err(Error::field(fields.name("accessKey"), "is missing")),
        Some(access_key) => access_key,
    };
    let field = fields.name("id");
    let id = match fields.line("id", ID_CHARS_MAX)? {
        None => fresh.to_string(),
        Some(id) => id,
    };
    let id = SecretId::named(&id).map_err(|bad| Error::field(field, bad.to_string()))?;
    let field = fields.name("endpoint");
    let endpoint = fields.line("endpoint", ADDRESS_CHARS_MAX)?;
    let purpose = Purpose::read(kind, endpoint.as_deref())
        .map_err(|unbound| Error::field(field, unbound.to_string()))?;
    let field = fields.name("expiresAt");
    let expires_at = match fields.text("expiresAt")? {
        None => None,
        Some(text) => {
            let problem = "must be a time such as 2027-01-31T12:00:00Z";
            let time = DateTime::parse_from_rfc3339(&text)
                .map_err(|_| Error::field(field.as_str(), problem))?;
            let expiry = secrets::expiry(time.to_utc());
            Some(expiry.map_err(|refused| refused.about(&field))?)
        }
    };
    let mut params = BTreeMap::new();
    for (key, value) in fields.params("params")?.unwrap_or_default() {
        let serde_json::Value::String(text) = value.value() else {
            return Err(Error::field(format!("secret.params.{key}"), "must be a text"));
        };
        params.insert(key, text);
    }
    let name = fields.line("name", 256)?.unwrap_or_default();
    Ok(Secret { id, purpose, name, access_key, params, expires_at })
}

fn read_kind(field: &str, text: &str) -> Result<SecretKind> {
    text.parse().map_err(|unknown: NotAKind| Error::field(field, unknown.to_string()))
}

impl From<Secret> for SecretOut {
    fn from(secret: Secret) -> Self {
        Self {
            secret_type: secret.purpose.kind().name(),
            endpoint: secret.purpose.bound_to().map(ToOwned::to_owned),
            id: secret.id.to_string(),
            access_key: secret.access_key,
            expires_at: secret.expires_at,
            params: secret.params,
            name: secret.name,
        }
    }
}

#[cfg(test)]
mod tests {
    use reqwest::Method;
    use serde_json::json;

    use crate::api::testing::TestServer;

    #[tokio::test]
    async fn secret_is_listed_without_its_secret_half_and_deleted() {
        let server = TestServer::open().await;
        let secret = json!({"secret": {"id": "my-s3", "secretType": "s3", "accessKey": "AK",
                            "params": {"a": "b"}}, "secretKey": "TOPSECRET"});

        let (status, body) = server.post("/v1/auth/secrets", secret).await;
        let (_, list) = server.get("/v1/auth/secrets?secretType=aws").await;

        assert_eq!((status, body["ok"].as_bool()), (200, Some(true)));
        assert_eq!(list["secrets"][0]["id"], "my-s3");
        assert_eq!(list["secrets"][0]["secretType"], "aws");
        let (_, old) = server.get("/v1/auth/secrets?secretType=s3").await;
        assert_eq!(old["secrets"][0]["secretType"], "s3");
        assert!(!list.to_string().contains("TOPSECRET"));
        let stranger = server.stranger().await;
        let path = "/v1/auth/secrets/aws/my-s3";
        assert_eq!(server.call_as(&stranger, Method::DELETE, path, None).await.0, 404);
        assert_eq!(server.call(Method::DELETE, path, None).await.0, 200);
        assert_eq!(server.call(Method::DELETE, path, None).await.0, 404);
    }

    #[tokio::test]
    async fn repeated_create_of_a_secret_keeps_one_secret() {
        let server = TestServer::open().await;
        let body = json!({"secret": {"secretType": "aws", "accessKey": "AK"}, "secretKey": "K"});
        for _ in 0..2 {
            assert_eq!(server.post_named("k", "/v1/auth/secrets", &body).await.0, 200);
        }

        let (_, list) = server.get("/v1/auth/secrets").await;

        assert_eq!(list["secrets"].as_array().unwrap().len(), 1, "{list}");
    }

    #[tokio::test]
    async fn invalid_secret_is_refused_with_the_named_field() {
        let server = TestServer::open().await;
        for (secret, field) in [
            (json!({"accessKey": "a"}), "secret.secretType"),
            (json!({"secretType": "ftp", "accessKey": "a"}), "secret.secretType"),
            (json!({"secretType": "aws"}), "secret.accessKey"),
            (json!({"secretType": "aws", "accessKey": "a", "id": "../x"}), "secret.id"),
            (json!({"secretType": "aws", "accessKey": "a", "expiresAt": "x"}), "secret.expiresAt"),
            (json!({"secretType": "registry", "accessKey": "a"}), "secret.endpoint"),
            (json!({"secretType": "url", "accessKey": "a"}), "secret.endpoint"),
            (json!({"secretType": "url", "accessKey": "a", "endpoint": "h"}), "secret.endpoint"),
            (
                json!({"secretType": "aws", "accessKey": "a", "endpoint": "https://h"}),
                "secret.endpoint",
            ),
            (json!({"secretType": "aws", "accessKey": "a\u{0}"}), "secret.accessKey"),
        ] {
            let body = json!({"secret": secret, "secretKey": "s"});
            let (status, body) = server.post("/v1/auth/secrets", body).await;

            assert_eq!(status, 400);
            assert!(body["message"].as_str().unwrap().starts_with(field), "{body}");
        }
    }
}
