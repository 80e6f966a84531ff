//! The params of the three phases, to the last digit.

use common::package::loose::{Invalid, Loose};
use common::package::template::{ParamsChange, PhaseParams};
use common::plan::Params;
use serde::Serialize;
use utoipa::ToSchema;

use crate::api::http::shape::{Shape, map};

pub const PARAMS: Shape = Shape {
    name: "NewParams",
    fields: &[
        map("partitioner", "As the partitioner needs them"),
        map("app", "What the app finds in APP_PARAMS, to the last digit"),
        map("assembler", "As the assembler needs them"),
    ],
};

/// The params of the three phases, to the last digit.
#[derive(Serialize, ToSchema)]
#[schema(as = Params)]
pub struct ParamsOut {
    #[schema(value_type = Object)]
    partitioner: Params,
    #[schema(value_type = Object)]
    app: Params,
    #[schema(value_type = Object)]
    assembler: Params,
}

/// The params in a body: a phase that is left out keeps its own.
pub fn read(body: &mut Loose) -> Result<Option<ParamsChange>, Invalid> {
    let Some(mut fields) = body.object("params")? else { return Ok(None) };
    let change = ParamsChange {
        partitioner: fields.params("partitioner")?,
        app: fields.params("app")?,
        assembler: fields.params("assembler")?,
        preset: None,
    };
    fields.finish()?;
    Ok(Some(change))
}

impl From<PhaseParams> for ParamsOut {
    fn from(PhaseParams { partitioner, app, assembler }: PhaseParams) -> Self {
        Self { partitioner, app, assembler }
    }
}
