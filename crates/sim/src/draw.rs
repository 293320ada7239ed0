//! Chance, all of it from one seed.
//!
//! Two ways to draw. A plan draws from one [`stream`] per kind of event, so that one more event of
//! a kind leaves the others as they were. A running world draws from a generator of its own for
//! each thing that it asks about ([`about`]), so that leaving a step out of a script changes how
//! long the calls of the others take as little as possible: that keeps a failure in place while its
//! script is shrunk.

use std::time::Duration;

use rand::{RngExt as _, SeedableRng as _};

/// The generator of all streams.
pub(crate) use rand::rngs::ChaCha8Rng as Draw;

use crate::script::Span;

/// What is drawn for. The numbers are part of what a seed means; a new kind goes to the end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stream {
    Stubs = 1,
    Workers = 2,
    Submissions = 3,
    Cancellations = 4,
    Crashes = 5,
    PowerCuts = 6,
    Cuts = 7,
    Partitions = 8,
    Freezes = 9,
    Restarts = 10,
    Departures = 11,
    Messages = 12,
    Calls = 13,
    Containers = 14,
    Sessions = 15,
    Store = 16,
    Drains = 17,
}

/// The generator of one kind of event.
pub(crate) fn stream(seed: u64, of: Stream) -> Draw {
    let mut draw = Draw::seed_from_u64(seed);
    draw.set_stream(of as u64);
    draw
}

/// The generator of one thing: what it says does not depend on what else was asked before.
pub(crate) fn about(seed: u64, of: Stream, thing: u64, number: u64) -> Draw {
    let mixed = mix(mix(seed ^ (of as u64) << 56, thing), number);
    Draw::seed_from_u64(mixed)
}

/// Two numbers made one; the same two always give the same.
pub(crate) fn mix(left: u64, right: u64) -> u64 {
    let mut value = left.rotate_left(23) ^ right.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    value = (value ^ (value >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    value = (value ^ (value >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    value ^ (value >> 31)
}

/// A duration from a span.
pub(crate) fn duration(draw: &mut Draw, span: Span) -> Duration {
    if span.least >= span.most {
        return span.least;
    }
    let micros = |duration: Duration| u64::try_from(duration.as_micros()).unwrap_or(u64::MAX);
    Duration::from_micros(draw.random_range(micros(span.least)..=micros(span.most)))
}

/// `true` in so many of a hundred cases.
pub(crate) fn happens(draw: &mut Draw, percent: u32) -> bool {
    percent > 0 && draw.random_range(0..100) < percent
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stream_says_the_same_whatever_another_was_asked() {
        let mut alone = stream(7, Stream::Crashes);
        let mut other = stream(7, Stream::Freezes);
        let _: u64 = other.random();
        let mut again = stream(7, Stream::Crashes);
        let (left, right): (u64, u64) = (alone.random(), again.random());
        assert_eq!(left, right);
        let mut first_of_other = stream(7, Stream::Freezes);
        assert_ne!(left, first_of_other.random::<u64>());
    }

    #[test]
    fn things_have_their_own_luck() {
        let one: u64 = about(7, Stream::Calls, 1, 1).random();
        let same: u64 = about(7, Stream::Calls, 1, 1).random();
        let other: u64 = about(7, Stream::Calls, 1, 2).random();
        assert_eq!(one, same);
        assert_ne!(one, other);
    }
}
