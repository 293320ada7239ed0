//! What a workspace may keep of values, and what a value may be.

use std::time::Duration;

use metal9_types::WorkspaceId;
use sqlx::{Row, SqliteConnection};

use crate::clock::now;
use crate::{StoreError, UnixMicros};

/// Bytes of the name of a map, queue or signal at most.
pub const LONGEST_NAME: usize = 256;

/// Bytes of a map's key at most.
pub const LONGEST_KEY: usize = 1024;

/// Bytes of a map's value at most: the 1 MiB that the SDK promises, and room for the pickle around it.
pub const MAX_MAP_VALUE_BYTES: usize = 1024 * 1024 + 1024;

/// Bytes of a queue's value at most.
pub const MAX_QUEUE_VALUE_BYTES: usize = 8 * 1024 * 1024;

/// The longest life of a map's entry or a signal: the SDK's 7 days.
pub const LONGEST_TTL_SECONDS: i64 = 7 * 24 * 3600;

/// What a workspace may hold of something: of maps, queues and signals together, or of stubs.
#[derive(Clone, Copy, Debug)]
pub struct Quota {
    /// How many: entries, items and signals; stubs.
    pub entries: u64,
    /// Bytes of them: names, keys and values; configurations.
    pub bytes: u64,
}

/// Whether there was room.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Room {
    Taken,
    NoEntries,
    NoBytes,
}

impl Quota {
    /// No limit.
    pub const NONE: Self = Self { entries: u64::MAX, bytes: u64::MAX };

    /// Whether this much more fits; asked in the transaction that adds it.
    pub(super) async fn room_for(
        self,
        workspace: WorkspaceId,
        entries: i64,
        bytes: i64,
        conn: &mut SqliteConnection,
    ) -> Result<Room, sqlx::Error> {
        let row = sqlx::query("SELECT entries, bytes FROM data_usage WHERE workspace = ?")
            .bind(&workspace.0.as_bytes()[..])
            .fetch_optional(conn)
            .await?;
        let has = match row {
            Some(row) => (row.try_get(0)?, row.try_get(1)?),
            None => (0, 0),
        };
        Ok(self.room_beside(has, entries, bytes))
    }

    /// Whether this much more fits beside what there is: how many, and their bytes.
    pub(crate) fn room_beside(
        self,
        (has_entries, has_bytes): (i64, i64),
        entries: i64,
        bytes: i64,
    ) -> Room {
        let over = |sum: i64, most: u64| u64::try_from(sum).unwrap_or(0) > most;
        // What needs no more than before is let in even where a quota was made smaller.
        if entries > 0 && over(has_entries.saturating_add(entries), self.entries) {
            return Room::NoEntries;
        }
        if bytes > 0 && over(has_bytes.saturating_add(bytes), self.bytes) {
            return Room::NoBytes;
        }
        Room::Taken
    }

    /// The answer to a change that asked for room.
    pub(super) fn answer(self, room: Room) -> Result<(), StoreError> {
        let (what, setting) = match room {
            Room::Taken => return Ok(()),
            Room::NoEntries => {
                (format!("{} entries, items and signals", self.entries), "max_values_per_workspace")
            }
            Room::NoBytes => {
                (format!("{} MiB of values", self.bytes >> 20), "max_value_mib_per_workspace")
            }
        };
        Err(StoreError::OverLimit {
            what: format!(
                "the maps, queues and signals of this workspace may hold {what} together, and this \
                 would be more (gateway.{setting})\nhint: delete map entries, or take items out of \
                 queues"
            ),
        })
    }
}

/// Refuses a name that is empty, long or not in one line.
pub(super) fn check_name(what: &'static str, name: &str) -> Result<(), StoreError> {
    if !name.is_empty() && name.len() <= LONGEST_NAME && !name.chars().any(char::is_control) {
        return Ok(());
    }
    Err(StoreError::Invalid {
        what,
        value: shown(name),
        expected: "1 to 256 bytes, none of them a control character",
    })
}

/// Refuses a value that is too large.
pub(super) fn check_value(what: &str, value: &[u8], most: usize) -> Result<(), StoreError> {
    if value.len() <= most {
        return Ok(());
    }
    Err(StoreError::OverLimit {
        what: format!(
            "the {what} is {:.1} MiB pickled; it may be {} MiB\nhint: keep large data in a volume \
             and pass its path",
            value.len() as f64 / (1024.0 * 1024.0),
            most >> 20,
        ),
    })
}

/// When something that lives this many seconds from now is over.
pub(super) fn expiry(ttl_seconds: i64) -> Result<UnixMicros, StoreError> {
    let good = (1..=LONGEST_TTL_SECONDS).contains(&ttl_seconds);
    let ttl = u64::try_from(ttl_seconds).ok().filter(|_| good).ok_or(StoreError::Invalid {
        what: "ttl",
        value: ttl_seconds.to_string(),
        expected: "1 second to 7 days (604800 seconds)",
    })?;
    let ttl = Duration::from_secs(ttl).as_micros();
    Ok(now().saturating_add(i64::try_from(ttl).unwrap_or(i64::MAX)))
}

/// Sizes fit by the checks above.
pub(super) fn total(parts: &[usize]) -> i64 {
    i64::try_from(parts.iter().sum::<usize>()).unwrap_or(i64::MAX)
}

fn shown(name: &str) -> String {
    name.chars().filter(|c| !c.is_control()).take(64).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_life_is_between_a_second_and_a_week() {
        assert!(expiry(1).unwrap() > now());
        assert!(expiry(LONGEST_TTL_SECONDS).is_ok());
        for bad in [0, -1, LONGEST_TTL_SECONDS + 1, i64::MIN, i64::MAX] {
            assert!(expiry(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn names_are_short_lines() {
        assert!(check_name("map name", "a b/ü").is_ok());
        for bad in ["", "a\nb", "a\0", &"x".repeat(257)] {
            assert!(check_name("map name", bad).is_err(), "{bad:?}");
        }
    }
}
