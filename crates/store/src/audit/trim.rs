//! Taking away old lines, part by part: what one workspace does takes away nothing of another's, of the
//! gateway's own or of what strangers tried.

use std::time::Duration;

use sqlx::SqliteConnection;

use crate::clock::now;
use crate::store::database;
use crate::{Store, StoreError, UnixMicros};

/// Lines taken away in one change, so that others do not wait long for the database.
const BATCH: u32 = 5000;

/// Every part that has lines, with one look at the index for each.
const PARTS: &str = "WITH RECURSIVE parts (part) AS (SELECT min(part) FROM audit UNION ALL \
     SELECT (SELECT min(part) FROM audit WHERE part > parts.part) FROM parts \
     WHERE parts.part IS NOT NULL) SELECT part FROM parts WHERE part IS NOT NULL";

/// From which line on those of a part stay: the first that is young enough, and the newest so many. A
/// `+` keeps the database from looking at the lines of all parts by their time.
const KEPT_FROM: &str = "SELECT max(\
     coalesce((SELECT id FROM audit WHERE part = ?1 AND +at >= ?2 ORDER BY id LIMIT 1), \
              (SELECT max(id) + 1 FROM audit WHERE part = ?1), 0), \
     coalesce((SELECT id + 1 FROM audit WHERE part = ?1 ORDER BY id DESC LIMIT 1 OFFSET ?3), 0))";

impl Store {
    /// Takes away what is older than `age`, and of each part (a workspace's lines, the gateway's own,
    /// those of strangers) the oldest of more than `rows`. Returns how many lines that were.
    ///
    /// # Errors
    /// When the database cannot be read or written.
    pub async fn trim_audit(&self, age: Duration, rows: u64) -> Result<u64, StoreError> {
        let doing = "trim the audit log";
        let age = UnixMicros::try_from(age.as_micros()).unwrap_or(UnixMicros::MAX);
        let oldest = now().saturating_sub(age);
        let rows = i64::try_from(rows).unwrap_or(i64::MAX);
        let parts: Vec<Vec<u8>> =
            sqlx::query_scalar(PARTS).fetch_all(self.readers()).await.map_err(database(doing))?;
        let mut removed = 0;
        for part in parts {
            // Lines only come behind those there are, so that this does not become wrong.
            let kept_from: i64 = sqlx::query_scalar(KEPT_FROM)
                .bind(&part)
                .bind(oldest)
                .bind(rows)
                .fetch_one(self.readers())
                .await
                .map_err(database(doing))?;
            loop {
                let data = (part.clone(), kept_from);
                let batch = self.write(doing, data, |(part, kept_from), conn| {
                    Box::pin(remove(part, *kept_from, conn))
                });
                let batch = batch.await?;
                removed += batch;
                if batch < u64::from(BATCH) {
                    break;
                }
            }
        }
        Ok(removed)
    }
}

async fn remove(
    part: &[u8],
    kept_from: i64,
    conn: &mut SqliteConnection,
) -> Result<u64, sqlx::Error> {
    // First say from where on lines are kept; only then does the database let others go.
    sqlx::query(
        "INSERT INTO audit_kept (part, kept_from) VALUES (?1, ?2) \
         ON CONFLICT (part) DO UPDATE SET kept_from = max(kept_from, excluded.kept_from)",
    )
    .bind(part)
    .bind(kept_from)
    .execute(&mut *conn)
    .await?;
    let done = sqlx::query(
        "DELETE FROM audit WHERE id IN \
         (SELECT id FROM audit WHERE part = ?1 AND id < ?2 ORDER BY id LIMIT ?3)",
    )
    .bind(part)
    .bind(kept_from)
    .bind(BATCH)
    .execute(conn)
    .await?;
    Ok(done.rows_affected())
}
