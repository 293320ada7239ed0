//! Calls over HTTP: JSON and a query string as the arguments of a function.

use std::collections::BTreeMap;

use bytes::Bytes;
use serde::Serialize;
use serde_json::value::RawValue;
use serde_json::{Map, Number, Value};

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
        [] => Fields::new(),
        text => object(text).map_err(|why| not_an_object(&why))?.unwrap_or_default(),
    };
    let args = fields.remove("args").filter(|args| !is_null(args));
    if args.as_ref().is_some_and(|args| !args.get().starts_with('[')) {
        return Err(refuse(
            "`args` is no list",
            "send positional arguments as `{\"args\": [1, 2]}`",
        ));
    }
    let mut kwargs = match fields.remove("kwargs").filter(|kwargs| !is_null(kwargs)) {
        None => fields,
        Some(kwargs) => object(kwargs.get().as_bytes())
            .map_err(|_| not_an_object("its `kwargs` is not an object"))?
            .unwrap_or_default(),
    };
    for (name, value) in merged(query) {
        let value = serde_json::value::to_raw_value(&value);
        kwargs.insert(name, value.map_err(|error| not_an_object(&error.to_string()))?);
    }
    let whole = serde_json::to_vec(&Arguments { args, kwargs });
    whole.map(Bytes::from).map_err(|error| not_an_object(&error.to_string()))
}

/// Values as they are written: Python's numbers have any size.
type Fields = BTreeMap<String, Box<RawValue>>;

#[derive(Serialize)]
struct Arguments {
    args: Option<Box<RawValue>>,
    kwargs: Fields,
}

/// The fields of an object; nothing for null. Else what is wrong.
fn object(text: &[u8]) -> Result<Option<Fields>, String> {
    serde_json::from_slice(text).map_err(|error| match error.is_data() {
        true => "it is another kind of value".to_owned(),
        false => error.to_string(),
    })
}

fn is_null(value: &RawValue) -> bool {
    value.get() == "null"
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
    use serde_json::json;

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
        let deep = format!("{{\"x\": {}}}", "[".repeat(100_000));
        for body in ["[1]", "1", "{", r#"{"kwargs": [1]}"#, &deep] {
            let error = arguments(body.as_bytes(), &[]).unwrap_err().to_string();
            assert!(error.contains("no JSON object") && error.contains("hint:"), "{error}");
        }
        for body in [r#"{"args": 5}"#, r#"{"args": {}}"#] {
            let error = arguments(body.as_bytes(), &[]).unwrap_err().to_string();
            assert!(error.contains("`args` is no list") && error.contains("hint:"), "{error}");
        }
    }

    #[test]
    fn numbers_stay_what_they_are() {
        let body = br#"{"args": [1.10], "x": 123456789012345678901234567890, "y": {"z": 1e400}}"#;
        let text = String::from_utf8(arguments(body, &[]).unwrap().into()).unwrap();
        let kwargs = r#"{"x":123456789012345678901234567890,"y":{"z": 1e400}}"#;
        assert_eq!(text, format!(r#"{{"args":[1.10],"kwargs":{kwargs}}}"#));
    }
}
