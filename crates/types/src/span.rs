//! Times as people write them.

/// The seconds of a time such as `30m`.
///
/// # Errors
/// What would have been right, for a text that is no time or is none at all.
pub fn seconds(text: &str) -> Result<u64, String> {
    let expected = || format!("expected a time as 45s, 30m, 12h or 7d, not `{text}`");
    let (number, unit) = text.split_at(text.find(char::is_alphabetic).unwrap_or(text.len()));
    let unit = match unit {
        "s" | "" => 1,
        "m" => 60,
        "h" => 60 * 60,
        "d" => 24 * 60 * 60,
        _ => return Err(expected()),
    };
    let number: u64 = number.parse().map_err(|_| expected())?;
    number.checked_mul(unit).filter(|seconds| *seconds > 0).ok_or_else(expected)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_have_units() {
        assert_eq!(seconds("45"), Ok(45));
        assert_eq!(seconds("30m"), Ok(1800));
        assert_eq!(seconds("7d"), Ok(604_800));
        for wrong in ["", "m", "0s", "1w", "-1s", "99999999999999999999d", "18446744073709551615d"]
        {
            assert!(seconds(wrong).is_err(), "{wrong}");
        }
    }
}
