//! Types of inputs and outputs.

use metal9_proto::beta9::gateway::Schema as WireSchema;
use metal9_types::{Schema, SchemaField};

use super::{names, refuse};
use crate::error::ApiError;

/// The longest schema nesting that is read.
pub(crate) const MAX_DEPTH: usize = 32;
/// Fields of one schema, nested ones included.
pub(crate) const MAX_FIELDS: usize = 1000;

/// Reads a schema; nothing for one without fields.
pub(crate) fn schema(wire: Option<WireSchema>) -> Result<Option<Schema>, ApiError> {
    let mut left = MAX_FIELDS;
    read(wire, 0, &mut left)
}

fn read(
    wire: Option<WireSchema>,
    depth: usize,
    left: &mut usize,
) -> Result<Option<Schema>, ApiError> {
    let Some(wire) = wire else { return Ok(None) };
    let hint = "describe the outer shape, and check the rest in the function";
    if depth > MAX_DEPTH {
        let what = format!("a schema is nested deeper than {MAX_DEPTH} levels");
        return Err(refuse(what, hint));
    }
    if wire.fields.is_empty() {
        return Ok(None);
    }
    *left = left
        .checked_sub(wire.fields.len())
        .ok_or_else(|| refuse(format!("a schema has more than {MAX_FIELDS} fields"), hint))?;
    let fields = wire
        .fields
        .into_iter()
        .map(|(name, field)| {
            let name = names::name("schema field", name)?;
            let kind = names::name("schema type", field.r#type)?;
            let fields = read(field.fields, depth + 1, left)?;
            Ok((name, SchemaField { kind, fields }))
        })
        .collect::<Result<_, ApiError>>()?;
    Ok(Some(Schema { fields }))
}
