//! Code archives on their way in over HTTP: whole ones, in parts, and what has changed since an
//! earlier one. An archive exists only once it is whole and has been looked through.
//!
//! Uploads are remembered in memory and their bytes in a directory that is emptied at the start:
//! the client of one that a restart interrupts begins again, as with any call that broke off.

mod finish;

use std::collections::{BTreeMap, HashMap};
use std::fs::{File, OpenOptions};
use std::io::{self, Seek, SeekFrom};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use metal9_store::StoreError;
use metal9_types::{ObjectId, UploadId, WorkspaceId};
use uuid::Uuid;

use crate::error::ApiError;
use crate::parts;
use crate::validate::refuse;
pub(crate) use finish::finish;

/// An upload that nobody finishes is removed after this long, and its addresses are good no longer.
pub(crate) const LIFE: Duration = Duration::from_secs(6 * 3600);
/// Unfinished uploads of one workspace at most.
const MOST_OF_A_WORKSPACE: usize = 256;

/// An archive on its way in.
#[derive(Clone, Debug)]
pub(crate) struct Upload {
    pub(crate) workspace: WorkspaceId,
    /// The id that the client was told.
    pub(crate) object: ObjectId,
    /// What the finished archive must hold.
    pub(crate) hash: String,
    /// Bytes of all files, as the client says.
    pub(crate) announced: i64,
    /// Bytes that are to come.
    pub(crate) size: u64,
    /// Bytes of each part but the last.
    pub(crate) chunk: u64,
    /// The object that has the files which do not come.
    pub(crate) base: Option<ObjectId>,
    begun: Instant,
    /// The etags of the parts that have come, by number.
    came: BTreeMap<u32, String>,
}

impl Upload {
    pub(crate) fn new(workspace: WorkspaceId, object: ObjectId, hash: String, size: u64) -> Self {
        Self {
            workspace,
            object,
            hash,
            announced: 0,
            size,
            chunk: size,
            base: None,
            begun: Instant::now(),
            came: BTreeMap::new(),
        }
    }

    /// How many parts there are.
    pub(crate) fn parts(&self) -> u64 {
        parts::count(self.size, self.chunk)
    }

    /// Where a part begins, and its bytes; nothing if there is no such part. Counted from 1.
    pub(crate) fn part(&self, number: u32) -> Option<(u64, u64)> {
        parts::place(self.size, self.chunk, number)
    }

    /// Refuses an upload of which not all parts have come, or others than the client was told.
    pub(crate) fn require_whole(
        &self,
        told: Option<&BTreeMap<u32, String>>,
    ) -> Result<(), ApiError> {
        let wanted = self.parts();
        if self.came.len() as u64 == wanted && told.is_none_or(|told| *told == self.came) {
            return Ok(());
        }
        let what = format!("{} of {wanted} parts have come as they were told", self.came.len());
        Err(refuse(what, "send the missing parts, and complete the upload then"))
    }
}

/// The archives on their way in.
#[derive(Debug)]
pub(crate) struct Uploads {
    dir: PathBuf,
    begun: Mutex<HashMap<UploadId, Upload>>,
}

/// Somebody writes to an upload's file. When that ends after the upload has, the file goes.
#[derive(Debug)]
pub(crate) struct Writing<'a> {
    uploads: &'a Uploads,
    id: UploadId,
}

impl Drop for Writing<'_> {
    fn drop(&mut self) {
        let begun = self.uploads.lock();
        if !begun.contains_key(&self.id) {
            self.uploads.remove(self.id);
        }
    }
}

impl Uploads {
    /// Opens the directory, and empties it.
    pub(crate) fn open(dir: PathBuf) -> Result<Self, StoreError> {
        let failed = |source| StoreError::File { doing: "empty", path: dir.clone(), source };
        match std::fs::remove_dir_all(&dir) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(failed(error)),
            _ => {}
        }
        std::fs::DirBuilder::new().mode(0o700).create(&dir).map_err(failed)?;
        Ok(Self { dir, begun: Mutex::default() })
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<UploadId, Upload>> {
        self.begun.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn path(&self, id: UploadId) -> PathBuf {
        self.dir.join(id.to_string())
    }

    /// Begins an upload.
    pub(crate) fn begin(&self, upload: Upload) -> Result<UploadId, ApiError> {
        let mut begun = self.lock();
        let open = begun.values().filter(|other| other.workspace == upload.workspace).count();
        if open >= MOST_OF_A_WORKSPACE {
            return Err(ApiError::Exhausted {
                text: format!(
                    "{open} uploads of this workspace have not ended, which is the limit\nhint: \
                     finish them; those that nobody finishes are removed after {} hours",
                    LIFE.as_secs() / 3600
                ),
                retry_after: Duration::from_secs(60),
            });
        }
        let id = UploadId(Uuid::now_v7());
        begun.insert(id, upload);
        Ok(id)
    }

    /// The id that another upload of the same content was told.
    pub(crate) fn told(&self, workspace: WorkspaceId, hash: &str) -> Option<ObjectId> {
        let begun = self.lock();
        let same = |upload: &&Upload| {
            upload.workspace == workspace && upload.base.is_none() && upload.hash == hash
        };
        begun.values().find(same).map(|upload| upload.object)
    }

    /// An upload; nothing if it has ended.
    pub(crate) fn get(&self, id: UploadId) -> Option<Upload> {
        self.lock().get(&id).cloned()
    }

    /// The upload of what has changed since `base`, by the id that was told.
    pub(crate) fn changes(
        &self,
        workspace: WorkspaceId,
        object: ObjectId,
        base: ObjectId,
    ) -> Option<(UploadId, Upload)> {
        let begun = self.lock();
        let mut found = begun.iter().filter(|(_, upload)| {
            let mine = upload.workspace == workspace && upload.object == object;
            mine && upload.base == Some(base)
        });
        found.next().map(|(id, upload)| (*id, upload.clone()))
    }

    /// The file of an upload, for writing from a byte on. What the second holds is kept until the
    /// writing has ended, however it ends: the upload may end before it.
    pub(crate) fn writer(&self, id: UploadId, start: u64) -> Result<(File, Writing<'_>), ApiError> {
        let writing = Writing { uploads: self, id };
        let path = self.path(id);
        let mut options = OpenOptions::new();
        options.write(true).create(true).truncate(false).mode(0o600);
        let file = options.open(&path).and_then(|mut file| {
            file.seek(SeekFrom::Start(start))?;
            Ok(file)
        });
        Ok((file.map_err(|source| failed("write", &path, source))?, writing))
    }

    /// Notes that a part has come; `false` if the upload has ended meanwhile.
    pub(crate) fn part_came(&self, id: UploadId, number: u32, etag: &str) -> bool {
        let mut begun = self.lock();
        let upload = begun.get_mut(&id);
        upload.map(|upload| upload.came.insert(number, etag.to_owned())).is_some()
    }

    /// Takes an upload out to end it; nobody else can then. Its bytes have no name any more.
    fn take(&self, id: UploadId) -> Option<(Upload, io::Result<File>)> {
        let mut begun = self.lock();
        let upload = begun.remove(&id)?;
        let file = File::open(self.path(id));
        self.remove(id);
        Some((upload, file))
    }

    fn remove(&self, id: UploadId) {
        // Of an upload without a byte there is no file.
        let _ = std::fs::remove_file(self.path(id));
    }

    /// Removes uploads that nobody has finished.
    pub(crate) fn tidy(&self, now: Instant) {
        let mut begun = self.lock();
        let stale: Vec<_> = begun
            .iter()
            .filter(|(_, upload)| now.saturating_duration_since(upload.begun) > LIFE)
            .map(|(id, _)| *id)
            .collect();
        for id in stale {
            begun.remove(&id);
            self.remove(id);
        }
    }

    /// A file without a name, which is gone when it is closed.
    fn scratch(&self) -> io::Result<File> {
        let path = self.dir.join(format!("merged-{}", Uuid::now_v7()));
        let mut options = OpenOptions::new();
        let file = options.read(true).write(true).create_new(true).mode(0o600).open(&path)?;
        std::fs::remove_file(&path)?;
        Ok(file)
    }
}

/// An upload's file cannot be worked with.
pub(crate) fn failed(doing: &'static str, path: &Path, source: io::Error) -> ApiError {
    if source.kind() == io::ErrorKind::StorageFull {
        return StoreError::Full { doing: "take an upload" }.into();
    }
    StoreError::File { doing, path: path.to_owned(), source }.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    const WORKSPACE: WorkspaceId = WorkspaceId(Uuid::nil());

    fn upload(size: u64, chunk: u64) -> Upload {
        let object = ObjectId(Uuid::now_v7());
        Upload { chunk, ..Upload::new(WORKSPACE, object, "hash".to_owned(), size) }
    }

    fn opened() -> (tempfile::TempDir, Uploads) {
        let root = tempfile::tempdir().unwrap();
        let uploads = Uploads::open(root.path().join("uploads")).unwrap();
        (root, uploads)
    }

    #[test]
    fn parts_cover_the_archive() {
        let upload = upload(25, 10);
        assert_eq!(upload.parts(), 3);
        let parts: Vec<_> = (0..5).map(|number| upload.part(number)).collect();
        assert_eq!(parts, [None, Some((0, 10)), Some((10, 10)), Some((20, 5)), None]);
        assert_eq!(upload.part(u32::MAX), None);
    }

    #[test]
    fn an_upload_is_whole_when_each_part_has_come_as_it_was_told() {
        let (_root, uploads) = opened();
        let id = uploads.begin(upload(20, 10)).unwrap();
        assert!(uploads.part_came(id, 1, "a"));
        let whole = |told: &[(u32, &str)]| {
            let told = told.iter().map(|(number, etag)| (*number, (*etag).to_owned())).collect();
            uploads.get(id).unwrap().require_whole(Some(&told)).is_ok()
        };
        assert!(!whole(&[(1, "a"), (2, "b")]));
        assert!(uploads.part_came(id, 2, "b"));
        assert!(whole(&[(1, "a"), (2, "b")]));
        assert!(!whole(&[(1, "a")]));
        assert!(!whole(&[(1, "a"), (2, "c")]));
        assert!(uploads.get(id).unwrap().require_whole(None).is_ok());
    }

    #[test]
    fn what_nobody_finishes_is_removed_with_its_bytes() {
        let (_root, uploads) = opened();
        let id = uploads.begin(upload(20, 10)).unwrap();
        drop(uploads.writer(id, 10).unwrap());
        uploads.tidy(Instant::now() + LIFE - Duration::from_secs(60));
        assert!(uploads.get(id).is_some() && uploads.path(id).exists());
        uploads.tidy(Instant::now() + LIFE + Duration::from_secs(60));
        assert!(uploads.get(id).is_none() && !uploads.path(id).exists());
        // A part that was on its way meanwhile leaves nothing either.
        let writing = uploads.writer(id, 0).unwrap();
        assert!(!uploads.part_came(id, 1, "a") && uploads.path(id).exists());
        drop(writing);
        assert!(!uploads.path(id).exists());
    }

    #[test]
    fn a_restart_removes_what_was_on_its_way() {
        let (root, uploads) = opened();
        let id = uploads.begin(upload(20, 10)).unwrap();
        drop(uploads.writer(id, 0).unwrap());
        assert!(uploads.path(id).exists());
        let uploads = Uploads::open(root.path().join("uploads")).unwrap();
        assert!(uploads.get(id).is_none() && !uploads.path(id).exists());
    }

    #[test]
    fn a_workspace_has_not_any_number_of_uploads() {
        let (_root, uploads) = opened();
        for _ in 0..MOST_OF_A_WORKSPACE {
            uploads.begin(upload(20, 10)).unwrap();
        }
        assert!(matches!(uploads.begin(upload(20, 10)), Err(ApiError::Exhausted { .. })));
        let other = Upload { workspace: WorkspaceId(Uuid::now_v7()), ..upload(20, 10) };
        assert!(uploads.begin(other).is_ok());
    }
}
