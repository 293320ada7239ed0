//! A JSON body that must be an object with the right fields.

use axum::Json;
use axum::extract::rejection::JsonRejection;
use axum::extract::{FromRequest, Request};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use super::error::Refused;

/// The fields. Unlike [`Json`], a list is not taken for an object without names.
pub(super) struct Fields<T>(pub(super) T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequest<S> for Fields<T> {
    type Rejection = Response;

    async fn from_request(request: Request, state: &S) -> Result<Self, Response> {
        let body: Result<Json<Map<String, Value>>, JsonRejection> =
            Json::from_request(request, state).await;
        let Json(fields) = body.map_err(IntoResponse::into_response)?;
        serde_json::from_value(Value::Object(fields)).map(Self).map_err(|error| {
            let refused = Refused::new(format!("the body cannot be read: {error}"));
            (StatusCode::UNPROCESSABLE_ENTITY, Json(refused)).into_response()
        })
    }
}
