//! Maps that are looked things up in.

/// A map whose order means nothing. It has no random seed, so a scheduler that is told the same
/// does the same; where an order shows outside, sort.
pub(crate) type Map<K, V> = rustc_hash::FxHashMap<K, V>;
