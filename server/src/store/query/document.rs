//! Documents in columns: JSON in text, and postcard in bytes.
//!
//! What is acknowledged must be readable after a restart, so whatever is written here is read back
//! first. What the coordinator commits is proven before the coordinator hears of it: a commit that
//! fails ends the server.

use common::data::chunk_table::ChunkTable;
use common::schedule::Rules;
use sea_orm::DbErr;
use serde::Serialize;
use serde::de::DeserializeOwned;

/// The most bytes of a document. Far more than a request can bring in.
const BYTES_MAX: usize = 16 * 1024 * 1024;

/// Writes a document that is known to be readable.
pub fn write<T: Serialize + DeserializeOwned>(document: &T) -> Result<String, DbErr> {
    let text = unproven(document)?;
    prove::<T>(&text)?;
    Ok(text)
}

/// Makes sure that a document can be read back.
pub(in crate::store) fn prove<T: DeserializeOwned>(text: &str) -> Result<(), DbErr> {
    if text.len() > BYTES_MAX {
        return Err(DbErr::Json(format!("a document of more than {BYTES_MAX} bytes")));
    }
    read::<T>(text).map(drop)
}

pub fn read<T: DeserializeOwned>(text: &str) -> Result<T, DbErr> {
    serde_json::from_str(text).map_err(|error| DbErr::Json(error.to_string()))
}

/// Writes what was proven before.
pub(in crate::store) fn unproven<T: Serialize>(document: &T) -> Result<String, DbErr> {
    serde_json::to_string(document).map_err(|error| DbErr::Json(error.to_string()))
}

/// The same for the rules of a schedule.
pub fn prove_rules(rules: &Rules) -> Result<(), DbErr> {
    write(rules).map(drop)
}

/// The same for a chunk table.
pub fn prove_table(table: &ChunkTable) -> Result<(), DbErr> {
    unpack::<ChunkTable>(&pack(table)?).map(drop)
}

pub(in crate::store) fn pack<T: Serialize>(value: &T) -> Result<Vec<u8>, DbErr> {
    postcard::to_stdvec(value).map_err(|error| DbErr::Type(error.to_string()))
}

pub(in crate::store) fn unpack<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, DbErr> {
    postcard::from_bytes(bytes).map_err(|error| DbErr::Type(error.to_string()))
}

#[cfg(test)]
mod tests {
    use common::testing;
    use serde_json::Value;

    use super::*;

    fn deep(levels: usize) -> Value {
        (1..levels).fold(Value::from(1), |inner, _| Value::from(vec![inner]))
    }

    #[test]
    fn document_that_could_not_be_read_back_is_refused() {
        let mut pipeline = testing::pipeline();
        testing::code_of(&mut pipeline.process)
            .params
            .insert("a".to_owned(), deep(common::input::json::DEPTH_MAX).into());
        assert!(write(&pipeline.plan()).is_ok());
        assert!(write(&deep(200)).is_err());
        assert!(write(&Value::from("x".repeat(BYTES_MAX))).is_err());
    }
}
