//! Logins to registries of container images: kept encrypted, and never shown again.

use std::collections::BTreeMap;

use common::access::Scope;
use common::secret::{Purpose, SecretId, SecretKind};
use serde::Serialize;
use utoipa::ToSchema;
use uuid::Uuid;
use warp::http::{Method, StatusCode};

use super::envelope::{self, Envelope, Id, JSON, Page};
use crate::api::Answer;
use crate::api::http::call::{Call, Segment};
use crate::api::http::route::{Route, raw};
use crate::api::http::shape::text;
use crate::error::{Error, Result};
use crate::people::secrets::{self, Secret};

const PATH: &str = "/v1/client/container-registry";
const LINE_CHARS_MAX: usize = 4096;

pub fn routes() -> Vec<Route> {
    vec![
        raw(Method::POST, "Daestro_CreateRegistry", PATH, JSON, create)
            .gives::<Envelope<RegistryOut>>()
            .succeeds_with(201)
            .summary("Saves a login to a registry of container images")
            .body(vec![
                text("name", "For people").required(),
                text("registry", "Its host, and its port if it has one").required(),
                text("username", "Of the login").required(),
                text("password", "Kept encrypted, and never shown again").required(),
            ])
            .needs(Scope::SecretsWrite),
        raw(Method::GET, "Daestro_ListRegistries", PATH, JSON, list)
            .gives::<Envelope<Page<RegistryOut>>>()
            .summary("Lists saved logins, without their passwords")
            .needs(Scope::SecretsRead),
        raw(Method::DELETE, "Daestro_DeleteRegistry", format!("{PATH}/{{id}}"), JSON, remove)
            .gives::<Envelope<Id>>()
            .summary("Deletes a saved login")
            .needs(Scope::SecretsWrite),
    ]
}

/// A login without its password.
#[derive(Serialize, ToSchema)]
#[schema(as = DaestroRegistry)]
struct RegistryOut {
    /// What a definition calls it.
    id: String,
    name: String,
    registry: Option<String>,
    username: String,
}

async fn create(mut call: Call) -> Result<Answer> {
    let caller = call.caller().await?;
    let mut body = call.json().await?;
    let missing = |field: &'static str| move || Error::field(field, "is missing");
    let name = body.line("name", LINE_CHARS_MAX)?.ok_or_else(missing("name"))?;
    let host = body.line("registry", LINE_CHARS_MAX)?;
    let access_key = body.line("username", LINE_CHARS_MAX)?.ok_or_else(missing("username"))?;
    let password = body.required_text("password")?;
    body.finish()?;
    let purpose = Purpose::read(SecretKind::Registry, host.as_deref());
    let purpose = purpose.map_err(|unbound| Error::field("registry", unbound.to_string()))?;
    let id = Uuid::now_v7().to_string();
    let id = SecretId::named(&id).map_err(|bad| Error::Invalid(bad.to_string()))?;
    let params = BTreeMap::new();
    let secret = Secret { id, purpose, name, access_key, params, expires_at: None };
    secrets::keep(call.app(), &caller, &secret, &password).await?;
    envelope::answer(StatusCode::CREATED, RegistryOut::from(secret))
}

async fn list(call: Call) -> Result<Answer> {
    let caller = call.caller().await?;
    let found = secrets::list(call.app(), &caller, Some(SecretKind::Registry)).await?;
    let items: Vec<_> = found.into_iter().map(RegistryOut::from).collect();
    envelope::found(Page { items, next_cursor: None })
}

async fn remove(id: Segment, call: Call) -> Result<Answer> {
    let caller = call.caller().await?;
    let unknown = || Error::not_found("container registry", id.as_str());
    let secret = SecretId::named(id.as_str()).map_err(|_| unknown())?;
    if !secrets::delete(call.app(), &caller, SecretKind::Registry, &secret).await? {
        return Err(unknown());
    }
    envelope::found(Id { id: secret.to_string() })
}

impl From<Secret> for RegistryOut {
    fn from(secret: Secret) -> Self {
        Self {
            id: secret.id.to_string(),
            name: secret.name,
            registry: secret.purpose.bound_to().map(ToOwned::to_owned),
            username: secret.access_key,
        }
    }
}
