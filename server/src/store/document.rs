//! JSON documents in text columns.

use sea_orm::DbErr;
use serde::Serialize;
use serde::de::DeserializeOwned;

pub fn write<T: Serialize>(document: &T) -> Result<String, DbErr> {
    serde_json::to_string(document).map_err(|error| DbErr::Json(error.to_string()))
}

pub fn read<T: DeserializeOwned>(text: &str) -> Result<T, DbErr> {
    serde_json::from_str(text).map_err(|error| DbErr::Json(error.to_string()))
}
