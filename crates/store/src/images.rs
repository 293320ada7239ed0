//! Images and what they were resolved to.

use metal9_types::{EnvLock, ImageId, ImageSpec, Platform};

use crate::cache::Cache;
use crate::clock::now;
use crate::columns::{Columns, to_json};
use crate::retention::Used;
use crate::store::database;
use crate::{Store, StoreError, UnixMicros};

/// Images and locks read lately: every assignment asks for both.
#[derive(Default)]
pub(crate) struct ImageCache {
    specs: Cache<ImageId, ImageSpec>,
    locks: Cache<(ImageId, Platform), EnvLock>,
}

impl ImageCache {
    /// Forgets images that are gone.
    pub(crate) fn forget(&self, gone: &[ImageId]) {
        self.specs.forget(|id, _| gone.contains(id));
        self.locks.forget(|(id, _), _| gone.contains(id));
    }
}

/// Adds an image, or notes that it is used.
const PUT_IMAGE: &str = "INSERT INTO images (id, spec, created_at, used_at) VALUES (?1, ?2, ?3, ?3) \
     ON CONFLICT (id) DO UPDATE SET used_at = excluded.used_at, spec = excluded.spec";

impl Store {
    /// Keeps an image, which is about to be built or named; one that is there already stays as it
    /// is.
    ///
    /// # Errors
    /// When the database cannot be written.
    pub async fn put_image(&self, spec: &ImageSpec) -> Result<ImageId, StoreError> {
        let id = spec.id();
        if let Some(used_at) = self.image_used_at(&id).await? {
            self.note_use(Used::Image(id.clone()), used_at).await?;
            return Ok(id);
        }
        let data = (id.clone(), to_json("image", spec)?, now());
        self.write("keep an image", data, |(id, spec, at), conn| {
            Box::pin(async move {
                let query = sqlx::query(PUT_IMAGE).bind(&id.0).bind(spec).bind(*at);
                query.execute(conn).await.map(drop)
            })
        })
        .await?;
        Ok(id)
    }

    /// When an image, if it is there, was last asked for.
    async fn image_used_at(&self, id: &ImageId) -> Result<Option<UnixMicros>, StoreError> {
        sqlx::query_scalar("SELECT used_at FROM images WHERE id = ?")
            .bind(&id.0)
            .fetch_optional(self.readers())
            .await
            .map_err(database("look up an image"))
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
        let columns = Columns { what: "image", row: &row };
        let spec: ImageSpec = columns.json("spec")?;
        cache.remember(miss, id.clone(), spec.clone(), columns.size("spec")?);
        Ok(Some(spec))
    }

    /// Keeps what an image was resolved to; replaces an earlier lock for the same platform. The image
    /// is kept as well: a build may take so long that it was removed meanwhile.
    ///
    /// # Errors
    /// When the database cannot be written.
    pub async fn put_lock(&self, spec: &ImageSpec, lock: &EnvLock) -> Result<(), StoreError> {
        let id = &spec.id();
        let texts = (to_json("image", spec)?, to_json("lock", lock)?);
        let data = (id.clone(), lock.platform, texts, now());
        self.write("keep a lock", data, |(id, platform, (spec, lock), at), conn| {
            Box::pin(async move {
                let image = sqlx::query(PUT_IMAGE).bind(&id.0).bind(spec).bind(*at);
                image.execute(&mut *conn).await?;
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
        // By other credentials, perhaps.
        self.inner.images.specs.forget(|image, _| image == id);
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
        let columns = Columns { what: "lock", row: &row };
        let lock: EnvLock = columns.json("lock")?;
        cache.remember(miss, key, lock.clone(), columns.size("lock")?);
        Ok(Some(lock))
    }

    /// `true` if the image was resolved for any platform. Whoever asks is about to name it in a stub,
    /// so it must not be removed meanwhile.
    ///
    /// # Errors
    /// When the database cannot be read or written.
    pub async fn has_lock(&self, id: &ImageId) -> Result<bool, StoreError> {
        let used_at: Option<UnixMicros> = sqlx::query_scalar(
            "SELECT used_at FROM images WHERE id = ? \
             AND EXISTS (SELECT 1 FROM image_locks WHERE image = images.id)",
        )
        .bind(&id.0)
        .fetch_optional(self.readers())
        .await
        .map_err(database("look up a lock"))?;
        let Some(used_at) = used_at else { return Ok(false) };
        self.note_use(Used::Image(id.clone()), used_at).await?;
        Ok(true)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Unused;

    const LOCK: EnvLock = EnvLock {
        platform: Platform::X86_64Linux,
        python: String::new(),
        requirements: String::new(),
        macos: None,
        root: None,
    };

    fn image(python: &str) -> ImageSpec {
        ImageSpec { python_version: python.to_owned(), ..ImageSpec::default() }
    }

    /// Nobody has asked for any image in ages.
    async fn age(store: &Store) {
        store
            .write("age", (), |(), conn| {
                Box::pin(async { sqlx::query("UPDATE images SET used_at = 7").execute(conn).await })
            })
            .await
            .unwrap();
    }

    #[tokio::test]
    async fn an_image_that_no_stub_names_goes_unless_somebody_has_asked_for_it() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path()).await.unwrap();
        let spec = image("python3.11");
        let id = store.put_image(&spec).await.unwrap();
        let unused = async |before| store.forget_unused(before).await.unwrap();
        let one = Unused { images: 1, ..Unused::default() };

        age(&store).await;
        store.put_image(&spec).await.unwrap();
        assert_eq!(unused(8).await, Unused::default(), "it is about to be built");
        age(&store).await;
        store.put_lock(&spec, &LOCK).await.unwrap();
        assert_eq!(unused(8).await, Unused::default(), "it was built");
        age(&store).await;
        assert!(store.has_lock(&id).await.unwrap());
        assert_eq!(unused(8).await, Unused::default(), "it is about to be named");
        age(&store).await;
        assert!(store.lock(&id, LOCK.platform).await.unwrap().is_some(), "it is remembered now");
        assert_eq!(unused(8).await, one);

        assert_eq!(store.image(&id).await.unwrap(), None);
        assert_eq!(store.lock(&id, LOCK.platform).await.unwrap(), None);
        assert!(!store.has_lock(&id).await.unwrap());
        store.put_lock(&spec, &LOCK).await.unwrap();
        assert_eq!(store.image(&id).await.unwrap(), Some(spec), "a build brings it back");
    }

    #[tokio::test]
    async fn the_image_of_a_stub_stays_as_long_as_the_stub() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path()).await.unwrap();
        let workspace = store.bootstrap().await.unwrap().unwrap().workspace;
        let named = store.put_image(&image("python3.11")).await.unwrap();
        store.put_image(&image("python3.12")).await.unwrap();
        age(&store).await;
        let stub = (workspace, serde_json::json!({ "image": named }).to_string());
        store
            .write("make a stub", stub, |(workspace, config), conn| {
                Box::pin(async move {
                    sqlx::query(
                        "INSERT INTO stubs (id, workspace, name, config, created_at, used_at) \
                         VALUES (zeroblob(16), ?, 'f', ?, 0, 9)",
                    )
                    .bind(&workspace.0.as_bytes()[..])
                    .bind(config)
                    .execute(conn)
                    .await
                })
            })
            .await
            .unwrap();
        let removed = store.forget_unused(8).await.unwrap();
        assert_eq!((removed.stubs, removed.images), (0, 1));
        assert!(store.image(&named).await.unwrap().is_some());
        let removed = store.forget_unused(UnixMicros::MAX).await.unwrap();
        assert_eq!((removed.stubs, removed.images), (1, 1));
    }
}
