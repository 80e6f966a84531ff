//! What most changes answer.

use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;

use crate::api::http::serving::exchange;

/// What most changes answer.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = commonGenericResponse)]
pub struct Done {
    ok: bool,
    request_id: String,
    message: String,
    #[schema(value_type = Option<Object>)]
    error: Option<Value>,
}

/// The answer of a change that needs no words.
pub fn done() -> Done {
    done_with(String::new())
}

pub fn done_with(message: String) -> Done {
    Done { ok: true, request_id: exchange::request_id(), message, error: None }
}
