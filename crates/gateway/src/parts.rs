//! Files that come in parts: how many there are, and where each goes.

use std::ops::RangeInclusive;

use crate::error::ApiError;
use crate::validate::refuse;

/// Parts of one file at most.
const MOST: u64 = 10_000;

/// How many parts of `chunk` bytes a file of `size` has.
pub(crate) fn count(size: u64, chunk: u64) -> u64 {
    size.div_ceil(chunk.max(1))
}

/// The numbers of a file's parts; refuses more than there may be.
pub(crate) fn numbers(size: u64, chunk: u64) -> Result<RangeInclusive<u32>, ApiError> {
    let parts = count(size, chunk);
    match u32::try_from(parts) {
        Ok(last) if parts <= MOST => Ok(1..=last),
        _ => {
            let what = format!("{parts} parts are more than the limit of {MOST}");
            Err(refuse(what, "make the parts larger"))
        }
    }
}

/// The place of a part in a file of `size` bytes that comes in parts of `chunk`: where it begins and
/// its bytes. Nothing if there is no such part. Parts are counted from 1.
pub(crate) fn place(size: u64, chunk: u64, number: u32) -> Option<(u64, u64)> {
    let start = u64::from(number.checked_sub(1)?).checked_mul(chunk)?;
    let length = size.checked_sub(start)?.min(chunk);
    (length > 0).then_some((start, length))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_cover_a_file_and_nothing_more() {
        let parts: Vec<_> = (0..5).map(|number| place(10, 4, number)).collect();
        assert_eq!(parts, [None, Some((0, 4)), Some((4, 4)), Some((8, 2)), None]);
        assert_eq!(place(0, 0, 1), None);
        assert_eq!(place(8, 4, 3), None);
        assert_eq!(place(u64::MAX, u64::MAX, u32::MAX), None);
    }
}
