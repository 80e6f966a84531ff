//! The params of the three phases as this API writes them.

use common::package::loose::{Invalid, Loose};
use common::package::template::{ParamsChange, PhaseParams};

/// Clients of 2023 write `data` for `app`, and beside it the name of a preset, which the app is
/// told as its param `preset`.
pub fn read_change(mut fields: Loose) -> Result<ParamsChange, Invalid> {
    let partitioner = fields.params("partitioner")?;
    let app = fields.params("app")?;
    let assembler = fields.params("assembler")?;
    let old = fields.name("data");
    let data = fields.params("data")?;
    let preset = fields.text("preset")?;
    fields.finish()?;
    if app.is_some() && data.is_some() {
        return Err(Invalid::new(old, "is an old name of app, and both are given: keep app"));
    }
    Ok(ParamsChange { partitioner, app: app.or(data), assembler, preset })
}

/// Params that stand for themselves.
pub fn read(fields: Loose) -> Result<PhaseParams, Invalid> {
    Ok(PhaseParams::default().changed_by(read_change(fields)?))
}

#[cfg(test)]
mod tests {
    use common::plan::Params;
    use serde_json::{Value, json};

    use super::*;

    fn read_json(value: Value) -> Result<PhaseParams, Invalid> {
        read(Loose::new("params", value).unwrap())
    }

    #[test]
    fn params_of_2023_are_the_apps() {
        let app = |value: Value| serde_json::from_value::<Params>(value).unwrap();

        let old = read_json(json!({"data": {"a": 1}, "preset": "hd"})).unwrap();
        assert_eq!(old.app, app(json!({"a": 1, "preset": "hd"})));
        assert!(old.partitioner.is_empty() && old.assembler.is_empty());
        // What clients of 2025 send of it is empty.
        let new = read_json(json!({"app": {"a": 1}, "preset": ""})).unwrap();
        assert_eq!(new.app, app(json!({"a": 1})));
        let both = read_json(json!({"app": {}, "data": {}})).unwrap_err();
        assert_eq!(both.field, "params.data");
    }

    #[test]
    fn params_of_an_unknown_phase_are_refused_and_the_known_ones_named() {
        let refused = read_json(json!({"ap": {"a": 1}})).unwrap_err();

        assert_eq!(refused.field, "params.ap");
        assert!(refused.problem.contains("partitioner, app, assembler"), "{refused}");
    }
}
