//! Cron expressions: which times they name.

use std::str::FromStr;

use chrono::{DateTime, Utc};

use crate::error::ApiError;
use crate::timestamps::UnixMicros;
use crate::validate::{refuse, shown};

/// What the client writes for times that people name by a word, beside those that the parser knows.
const MIDNIGHT: (&str, &str) = ("@midnight", "0 0 * * *");

/// A cron expression of five fields (minute, hour, day of the month, month, day of the week) or a
/// word as `@daily`, in UTC.
#[derive(Debug)]
pub(super) struct Cron {
    text: String,
    cron: croner::Cron,
}

impl Cron {
    /// Reads an expression.
    ///
    /// # Errors
    /// If it is none.
    pub(super) fn parse(text: &str) -> Result<Self, ApiError> {
        let trimmed = text.trim();
        let known = if trimmed.eq_ignore_ascii_case(MIDNIGHT.0) { MIDNIGHT.1 } else { trimmed };
        let fields = known.split_whitespace().count();
        if fields != 5 && !(fields == 1 && known.starts_with('@')) {
            return Err(refused(trimmed, &format!("it has {fields} fields")));
        }
        let cron = croner::Cron::from_str(known);
        let cron = cron.map_err(|error| refused(trimmed, &error.to_string()))?;
        Ok(Self { text: trimmed.to_owned(), cron })
    }

    /// The first time after a moment.
    ///
    /// # Errors
    /// If there is none, as for the 30th of February.
    pub(super) fn after(&self, moment: UnixMicros) -> Result<UnixMicros, ApiError> {
        let start = DateTime::<Utc>::from_timestamp_micros(moment);
        let next = start.and_then(|start| self.cron.find_next_occurrence(&start, false).ok());
        let next = next.map(|next| next.timestamp_micros());
        next.ok_or_else(|| refused(&self.text, "no such time will come"))
    }
}

fn refused(text: &str, why: &str) -> ApiError {
    refuse(
        format!("`{}` is no schedule: {why}", shown(text)),
        "write minute, hour, day of the month, month and day of the week, as `*/5 * * * *`, or a \
         word as `@daily`; times are in UTC",
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn next(cron: &str, moment: &str) -> String {
        let moment = moment.parse::<DateTime<Utc>>().unwrap().timestamp_micros();
        let next = Cron::parse(cron).unwrap().after(moment).unwrap();
        DateTime::<Utc>::from_timestamp_micros(next).unwrap().to_rfc3339()
    }

    #[test]
    fn the_next_time_is_later_than_the_last() {
        let cases = [
            ("*/5 * * * *", "2026-01-01T00:00:00Z", "2026-01-01T00:05:00+00:00"),
            ("*/5 * * * *", "2026-01-01T00:04:59.999999Z", "2026-01-01T00:05:00+00:00"),
            ("0 0 29 2 *", "2026-01-01T00:00:00Z", "2028-02-29T00:00:00+00:00"),
            ("30 9 * * 1-5", "2026-11-27T09:30:00Z", "2026-11-30T09:30:00+00:00"),
            // Either day will do where both are named.
            ("0 0 13 * 5", "2026-11-24T00:00:00Z", "2026-11-27T00:00:00+00:00"),
            ("0 0 * * 0", "2026-11-24T00:00:00Z", "2026-11-29T00:00:00+00:00"),
        ];
        for (cron, moment, expected) in cases {
            assert_eq!(next(cron, moment), expected, "{cron}");
        }
    }

    #[test]
    fn the_words_of_the_client_are_known() {
        let words = [
            ("@yearly", "2027-01-01T00:00:00+00:00"),
            ("@annually", "2027-01-01T00:00:00+00:00"),
            ("@monthly", "2026-12-01T00:00:00+00:00"),
            ("@weekly", "2026-11-29T00:00:00+00:00"),
            ("@daily", "2026-11-25T00:00:00+00:00"),
            ("@midnight", "2026-11-25T00:00:00+00:00"),
            ("@hourly", "2026-11-24T01:00:00+00:00"),
        ];
        for (word, expected) in words {
            assert_eq!(next(word, "2026-11-24T00:00:00Z"), expected, "{word}");
        }
    }

    #[test]
    fn what_names_no_time_is_refused() {
        for text in ["", "* * * *", "* * * * * *", "61 * * * *", "@sometimes", "0 0 * * MOON"] {
            let error = Cron::parse(text).unwrap_err().to_string();
            assert!(error.contains("is no schedule") && error.contains("hint:"), "{error}");
        }
        let never = Cron::parse("0 0 30 2 *");
        let error = never.and_then(|cron| cron.after(0)).unwrap_err().to_string();
        assert!(error.contains("is no schedule"), "{error}");
    }
}
