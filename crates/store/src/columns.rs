//! Reading typed values out of rows, and putting lists of values into queries.

use metal9_types::{StubKind, TaskStatus};
use serde::de::DeserializeOwned;
use sqlx::sqlite::SqliteRow;
use sqlx::{QueryBuilder, Row, Sqlite};
use uuid::Uuid;

use crate::StoreError;

/// A row, with what it is for messages.
#[derive(Clone, Copy)]
pub(crate) struct Columns<'r> {
    pub(crate) what: &'static str,
    pub(crate) row: &'r SqliteRow,
}

impl Columns<'_> {
    fn corrupt(self, why: impl ToString) -> StoreError {
        StoreError::Corrupt { what: self.what, why: why.to_string() }
    }

    pub(crate) fn bytes(self, name: &'static str) -> Result<Vec<u8>, StoreError> {
        self.row.try_get(name).map_err(|error| self.corrupt(error))
    }

    /// How many bytes a text has.
    pub(crate) fn size(self, name: &'static str) -> Result<usize, StoreError> {
        let text: &str = self.row.try_get(name).map_err(|error| self.corrupt(error))?;
        Ok(text.len())
    }

    pub(crate) fn uuid(self, name: &'static str) -> Result<Uuid, StoreError> {
        let bytes: &[u8] = self.row.try_get(name).map_err(|error| self.corrupt(error))?;
        Uuid::from_slice(bytes).map_err(|error| self.corrupt(error))
    }

    pub(crate) fn optional_uuid(self, name: &'static str) -> Result<Option<Uuid>, StoreError> {
        let bytes: Option<&[u8]> = self.row.try_get(name).map_err(|error| self.corrupt(error))?;
        bytes.map(Uuid::from_slice).transpose().map_err(|error| self.corrupt(error))
    }

    pub(crate) fn text(self, name: &'static str) -> Result<String, StoreError> {
        self.row.try_get(name).map_err(|error| self.corrupt(error))
    }

    pub(crate) fn number(self, name: &'static str) -> Result<i64, StoreError> {
        self.row.try_get(name).map_err(|error| self.corrupt(error))
    }

    pub(crate) fn optional_number(self, name: &'static str) -> Result<Option<i64>, StoreError> {
        self.row.try_get(name).map_err(|error| self.corrupt(error))
    }

    pub(crate) fn flag(self, name: &'static str) -> Result<bool, StoreError> {
        Ok(self.number(name)? != 0)
    }

    pub(crate) fn json<T: DeserializeOwned>(self, name: &'static str) -> Result<T, StoreError> {
        let text: &str = self.row.try_get(name).map_err(|error| self.corrupt(error))?;
        serde_json::from_str(text).map_err(|error| self.corrupt(error))
    }

    pub(crate) fn optional_json<T: DeserializeOwned>(
        self,
        name: &'static str,
    ) -> Result<Option<T>, StoreError> {
        let text: Option<&str> = self.row.try_get(name).map_err(|error| self.corrupt(error))?;
        text.map(serde_json::from_str).transpose().map_err(|error| self.corrupt(error))
    }

    pub(crate) fn kind(self, name: &'static str) -> Result<StubKind, StoreError> {
        let text: &str = self.row.try_get(name).map_err(|error| self.corrupt(error))?;
        StubKind::parse(text).ok_or_else(|| self.corrupt(format!("`{text}` is no kind of stub")))
    }

    pub(crate) fn status(self, name: &'static str) -> Result<TaskStatus, StoreError> {
        let text: &str = self.row.try_get(name).map_err(|error| self.corrupt(error))?;
        text.parse().map_err(|error: String| self.corrupt(error))
    }
}

/// A value as JSON text.
pub(crate) fn to_json<T: serde::Serialize>(
    what: &'static str,
    value: &T,
) -> Result<String, StoreError> {
    serde_json::to_string(value)
        .map_err(|error| StoreError::Corrupt { what, why: error.to_string() })
}

/// Adds `before`, the values and `after`; nothing where there is no value.
pub(crate) fn any_of<T>(
    query: &mut QueryBuilder<Sqlite>,
    before: &'static str,
    values: impl ExactSizeIterator<Item = T>,
    after: &'static str,
) where
    T: for<'q> sqlx::Encode<'q, Sqlite> + sqlx::Type<Sqlite>,
{
    if values.len() == 0 {
        return;
    }
    query.push(before);
    let mut list = query.separated(", ");
    for value in values {
        list.push_bind(value);
    }
    query.push(after);
}
