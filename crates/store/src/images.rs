//! Images and what they were resolved to.

use metal9_types::{EnvLock, ImageId, ImageSpec, Platform};

use crate::cache::Cache;
use crate::clock::now;
use crate::columns::{Columns, to_json};
use crate::store::database;
use crate::{Store, StoreError};

/// Images and locks read lately: every assignment asks for both.
#[derive(Default)]
pub(crate) struct ImageCache {
    specs: Cache<ImageId, ImageSpec>,
    locks: Cache<(ImageId, Platform), EnvLock>,
}

impl Store {
    /// Keeps an image; one that is there already stays as it is.
    ///
    /// # Errors
    /// When the database cannot be written.
    pub async fn put_image(&self, spec: &ImageSpec) -> Result<ImageId, StoreError> {
        let id = spec.id();
        if self.image(&id).await?.is_some() {
            return Ok(id);
        }
        let data = (id.clone(), to_json("image", spec)?, now());
        self.write("keep an image", data, |(id, spec, at), conn| {
            Box::pin(async move {
                sqlx::query(
                    "INSERT INTO images (id, spec, created_at) VALUES (?, ?, ?) \
                     ON CONFLICT DO NOTHING",
                )
                .bind(&id.0)
                .bind(spec)
                .bind(*at)
                .execute(conn)
                .await?;
                Ok(())
            })
        })
        .await?;
        Ok(id)
    }

    /// An image.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn image(&self, id: &ImageId) -> Result<Option<ImageSpec>, StoreError> {
        let cache = &self.inner.images.specs;
        let miss = match cache.get(id) {
            Ok(spec) => return Ok(Some(spec)),
            Err(miss) => miss,
        };
        let row = sqlx::query("SELECT spec FROM images WHERE id = ?")
            .bind(&id.0)
            .fetch_optional(self.readers())
            .await
            .map_err(database("look up an image"))?;
        let Some(row) = row else { return Ok(None) };
        let spec: ImageSpec = Columns { what: "image", row: &row }.json("spec")?;
        cache.remember(miss, id.clone(), spec.clone());
        Ok(Some(spec))
    }

    /// Keeps what an image, which must be there, was resolved to; replaces an earlier lock for the
    /// same platform.
    ///
    /// # Errors
    /// When the database cannot be written, as for an image that is not there.
    pub async fn put_lock(&self, id: &ImageId, lock: &EnvLock) -> Result<(), StoreError> {
        let data = (id.clone(), lock.platform, to_json("lock", lock)?, now());
        self.write("keep a lock", data, |(id, platform, lock, at), conn| {
            Box::pin(async move {
                sqlx::query(
                    "INSERT INTO image_locks (image, platform, lock, created_at) \
                     VALUES (?, ?, ?, ?) ON CONFLICT (image, platform) \
                     DO UPDATE SET lock = excluded.lock, created_at = excluded.created_at",
                )
                .bind(&id.0)
                .bind(platform.as_str())
                .bind(lock)
                .bind(*at)
                .execute(conn)
                .await?;
                Ok(())
            })
        })
        .await?;
        self.inner
            .images
            .locks
            .forget(|(image, platform), _| image == id && *platform == lock.platform);
        Ok(())
    }

    /// What an image was resolved to for a platform.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn lock(
        &self,
        id: &ImageId,
        platform: Platform,
    ) -> Result<Option<EnvLock>, StoreError> {
        let cache = &self.inner.images.locks;
        let key = (id.clone(), platform);
        let miss = match cache.get(&key) {
            Ok(lock) => return Ok(Some(lock)),
            Err(miss) => miss,
        };
        let row = sqlx::query("SELECT lock FROM image_locks WHERE image = ? AND platform = ?")
            .bind(&id.0)
            .bind(platform.as_str())
            .fetch_optional(self.readers())
            .await
            .map_err(database("look up a lock"))?;
        let Some(row) = row else { return Ok(None) };
        let lock: EnvLock = Columns { what: "lock", row: &row }.json("lock")?;
        cache.remember(miss, key, lock.clone());
        Ok(Some(lock))
    }

    /// `true` if the image was resolved for any platform.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn has_lock(&self, id: &ImageId) -> Result<bool, StoreError> {
        sqlx::query_scalar("SELECT EXISTS (SELECT 1 FROM image_locks WHERE image = ?)")
            .bind(&id.0)
            .fetch_one(self.readers())
            .await
            .map_err(database("look up a lock"))
    }
}
