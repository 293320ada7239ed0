//! Calls over HTTP: JSON and a query string as the arguments of a function.

use bytes::Bytes;
use serde_json::{Map, Number, Value, json};

use crate::auth::TOKEN_PARAMETER;
use crate::error::ApiError;
use crate::validate::refuse;

/// The arguments, as the runner reads them: `args` and `kwargs` of the body, or the whole body as
/// `kwargs`; and over them what stands in the query string.
///
/// # Errors
/// If the body is no JSON object.
pub(crate) fn arguments(body: &[u8], query: &[(String, String)]) -> Result<Bytes, ApiError> {
    let mut fields = match body.trim_ascii() {
        [] => Map::new(),
        text => match serde_json::from_slice(text) {
            Ok(Value::Object(fields)) => fields,
            Ok(Value::Null) => Map::new(),
            Ok(_) => return Err(not_an_object("it is another kind of value")),
            Err(error) => return Err(not_an_object(&error.to_string())),
        },
    };
    let args = fields.remove("args").unwrap_or(Value::Null);
    let mut kwargs = match fields.remove("kwargs") {
        Some(Value::Object(kwargs)) => kwargs,
        None | Some(Value::Null) => fields,
        Some(_) => return Err(not_an_object("its `kwargs` is not an object")),
    };
    for (name, value) in merged(query) {
        kwargs.insert(name, value);
    }
    Ok(Bytes::from(json!({ "args": args, "kwargs": kwargs }).to_string()))
}

fn not_an_object(why: &str) -> ApiError {
    refuse(
        format!("the body is no JSON object: {why}"),
        "send the function's arguments by name, as `{\"x\": 1}`, or nothing",
    )
}

/// A name that is there several times is a list. What looks like a number is one.
fn merged(query: &[(String, String)]) -> Map<String, Value> {
    let mut values = Map::new();
    for (name, text) in query.iter().filter(|(name, _)| name != TOKEN_PARAMETER) {
        let number = text.parse().ok().and_then(Number::from_f64);
        let value = number.map_or_else(|| Value::String(text.clone()), Value::Number);
        match values.get_mut(name) {
            None => drop(values.insert(name.clone(), value)),
            Some(Value::Array(list)) => list.push(value),
            Some(first) => *first = Value::Array(vec![first.take(), value]),
        }
    }
    values
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(body: &str, query: &[(&str, &str)]) -> Value {
        let query: Vec<_> = query.iter().map(|(n, v)| ((*n).into(), (*v).into())).collect();
        serde_json::from_slice(&arguments(body.as_bytes(), &query).unwrap()).unwrap()
    }

    #[test]
    fn an_object_is_the_arguments_by_name() {
        assert_eq!(read(r#"{"x": 1}"#, &[]), json!({ "args": null, "kwargs": { "x": 1 } }));
        assert_eq!(
            read(r#"{"args": [1], "kwargs": {"y": 2}}"#, &[]),
            json!({ "args": [1], "kwargs": { "y": 2 } })
        );
        for nothing in ["", " ", "null", "{}"] {
            assert_eq!(read(nothing, &[]), json!({ "args": null, "kwargs": {} }));
        }
    }

    #[test]
    fn the_query_string_goes_over_the_body() {
        let query =
            [("x", "2"), ("name", "a b"), ("l", "1"), ("l", "z"), ("l", "3"), ("auth_token", "s")];
        let expected = json!({ "x": 2.0, "name": "a b", "l": [1.0, "z", 3.0], "y": 5 });
        assert_eq!(read(r#"{"x": 1, "y": 5}"#, &query)["kwargs"], expected);
        assert_eq!(read("", &[("x", "nan")])["kwargs"], json!({ "x": "nan" }));
    }

    #[test]
    fn what_is_no_object_is_refused_with_what_to_send() {
        for body in ["[1]", "1", "{", r#"{"kwargs": [1]}"#] {
            let error = arguments(body.as_bytes(), &[]).unwrap_err().to_string();
            assert!(error.contains("no JSON object") && error.contains("hint:"), "{error}");
        }
    }
}
