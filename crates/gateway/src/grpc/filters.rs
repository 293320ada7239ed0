//! What all lists have in common: how many they name, and reading the values of their filters.

use std::fmt::Display;
use std::str::FromStr;

use crate::error::ApiError;
use crate::validate::shown;

/// How many are named if the client does not say.
const DEFAULT_LIMIT: u32 = 100;

/// How many to name, of at most `most`; 0 stands for the default.
pub(super) fn limit(asked: u32, most: u32) -> u32 {
    if asked == 0 { DEFAULT_LIMIT } else { asked.min(most) }
}

/// Reads the values of a filter.
pub(super) fn parse<'a, T: FromStr<Err: Display>>(
    values: impl Iterator<Item = &'a str>,
) -> Result<Vec<T>, ApiError> {
    let read = |value: &'a str| {
        let value = value.trim();
        value
            .parse()
            .map_err(|error| invalid(format!("the filter's value `{}`: {error}", shown(value))))
    };
    values.map(read).collect()
}

/// A value that is not one of its kind.
pub(super) fn invalid(error: impl Display) -> ApiError {
    ApiError::Invalid(error.to_string())
}
