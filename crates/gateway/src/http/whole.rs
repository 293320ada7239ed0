//! Whole numbers in JSON, which does not know them from others: `5.0` is 5.

use serde::de::Error;
use serde::{Deserialize, Deserializer};
use serde_json::Number;

/// Numbers from here on are more than there are.
const TOO_MANY: f64 = 18_446_744_073_709_551_616.0;

fn read(number: &Number) -> Option<u64> {
    let whole = |number: &f64| number.fract() == 0.0 && (0.0..TOO_MANY).contains(number);
    // Whole and in range, so nothing is lost.
    number.as_u64().or_else(|| number.as_f64().filter(whole).map(|number| number as u64))
}

/// A whole number; nothing for null.
pub(super) fn optional<'de, D: Deserializer<'de>>(from: D) -> Result<Option<u64>, D::Error> {
    let Some(number) = Option::<Number>::deserialize(from)? else { return Ok(None) };
    let text = || D::Error::custom(format!("`{number}` is no whole number from 0 on"));
    read(&number).map(Some).ok_or_else(text)
}

/// The same where there must be one.
pub(super) fn required<'de, D: Deserializer<'de>>(from: D) -> Result<u64, D::Error> {
    optional(from)?.ok_or_else(|| D::Error::custom("expected a whole number, not null"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_without_a_fraction_are_whole_however_they_are_written() {
        for (text, expected) in [
            ("5", Some(5)),
            ("5.0", Some(5)),
            ("1e3", Some(1000)),
            ("0", Some(0)),
            ("18446744073709551615", Some(u64::MAX)),
            ("5.5", None),
            ("-1", None),
            ("-1.0", None),
            ("1e30", None),
        ] {
            let number: Number = serde_json::from_str(text).unwrap();
            assert_eq!(read(&number), expected, "{text}");
        }
    }
}
