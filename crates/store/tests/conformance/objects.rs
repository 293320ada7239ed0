use bytes::Bytes;
use futures::TryStreamExt;
use metal9_store::StoreError;
use metal9_types::ObjectId;
use uuid::Uuid;

use crate::fixture::{Fixture, all_bytes, stranger};

async fn put(fixture: &Fixture, hash: &str, parts: &[Bytes]) -> ObjectId {
    let mut upload = fixture.store.put_object(fixture.workspace, hash, 1).await.unwrap();
    for part in parts {
        upload.write(part.clone()).await.unwrap();
    }
    upload.finish().await.unwrap()
}

async fn get(fixture: &Fixture, id: ObjectId) -> Bytes {
    let (size, stream) = fixture.store.object_reader(id).await.unwrap().unwrap();
    let parts: Vec<Bytes> = stream.try_collect().await.unwrap();
    let all = parts.concat();
    assert_eq!(all.len() as u64, size);
    all.into()
}

#[tokio::test]
async fn an_object_comes_back_as_it_went_in() {
    let fixture = Fixture::new().await;
    let large: Vec<Bytes> = (0..9_u8).map(|fill| Bytes::from(vec![fill; 1_500_000])).collect();
    let id = put(&fixture, "aa", &large).await;
    let empty = put(&fixture, "bb", &[]).await;
    let fixture = fixture.reopen().await;
    assert!(get(&fixture, id).await == large.concat());
    assert!(get(&fixture, empty).await.is_empty());
    assert_eq!(fixture.store.head_object(fixture.workspace, "aa").await.unwrap(), Some(id));
    assert_eq!(fixture.store.head_object(fixture.workspace, "cc").await.unwrap(), None);
    let unknown = ObjectId(Uuid::from_u128(3));
    assert!(fixture.store.object_reader(unknown).await.unwrap().is_none());
}

#[tokio::test]
async fn the_same_hash_gives_the_same_object_even_at_once() {
    let fixture = Fixture::new().await;
    let part = [Bytes::from_static(b"code")];
    let (a, b) = tokio::join!(put(&fixture, "aa", &part), put(&fixture, "aa", &part));
    assert_eq!(a, b);
    assert_eq!(put(&fixture, "aa", &part).await, a);
    assert_eq!(all_bytes(&fixture.dir.path().join("objects")), b"code");
}

#[tokio::test]
async fn an_upload_that_is_dropped_midway_leaves_nothing() {
    let fixture = Fixture::new().await;
    let mut upload = fixture.store.put_object(fixture.workspace, "aa", 1).await.unwrap();
    upload.write(Bytes::from(vec![1; 12_000_000])).await.unwrap();
    assert_eq!(fixture.store.head_object(fixture.workspace, "aa").await.unwrap(), None);
    drop(upload);
    assert_eq!(fixture.store.head_object(fixture.workspace, "aa").await.unwrap(), None);
    let fixture = fixture.reopen().await;
    assert_eq!(fixture.store.head_object(fixture.workspace, "aa").await.unwrap(), None);
    assert!(all_bytes(&fixture.dir.path().join("objects")).is_empty());
}

#[tokio::test]
async fn what_a_crash_leaves_of_uploads_is_removed_at_the_next_start() {
    let fixture = Fixture::new().await;
    let kept = put(&fixture, "aa", &[Bytes::from_static(b"kept")]).await;
    let shelf = fixture.dir.path().join("objects/00");
    std::fs::create_dir_all(&shelf).unwrap();
    std::fs::write(shelf.join("00000000-0000-7000-8000-000000000000#1"), b"half").unwrap();
    let fixture = fixture.reopen().await;
    assert_eq!(all_bytes(&fixture.dir.path().join("objects")), b"kept");
    assert_eq!(get(&fixture, kept).await, "kept");
}

#[tokio::test]
async fn an_object_whose_bytes_were_lost_can_be_uploaded_again() {
    let fixture = Fixture::new().await;
    let part = [Bytes::from_static(b"code")];
    let id = put(&fixture, "aa", &part).await;
    std::fs::remove_dir_all(fixture.dir.path().join("objects")).unwrap();
    std::fs::create_dir(fixture.dir.path().join("objects")).unwrap();
    let error = fixture.store.object_reader(id).await.err().unwrap();
    assert!(matches!(error, StoreError::ObjectLost { .. }), "{error}");
    assert_eq!(fixture.store.head_object(fixture.workspace, "aa").await.unwrap(), None);
    assert_eq!(put(&fixture, "aa", &part).await, id);
    assert_eq!(get(&fixture, id).await, "code");
}

#[tokio::test]
async fn an_object_belongs_to_its_workspace() {
    let fixture = Fixture::new().await;
    let id = put(&fixture, "aa", &[Bytes::from_static(b"code")]).await;
    assert!(fixture.store.object_exists(fixture.workspace, id).await.unwrap());
    assert!(!fixture.store.object_exists(stranger(), id).await.unwrap());
    assert_eq!(fixture.store.head_object(stranger(), "aa").await.unwrap(), None);
}

#[tokio::test]
async fn a_hash_must_be_one() {
    let fixture = Fixture::new().await;
    for hash in [String::new(), "a".repeat(300)] {
        let error = fixture.store.put_object(fixture.workspace, &hash, 1).await.unwrap_err();
        assert!(matches!(error, StoreError::Invalid { .. }), "{error}");
    }
}

/// Puts content under an id that somebody was told before.
async fn put_as(fixture: &Fixture, id: ObjectId, hash: &str, bytes: &'static [u8]) -> ObjectId {
    let begun = fixture.store.put_object_as(fixture.workspace, id, hash, 1).await;
    let mut upload = begun.unwrap();
    upload.write(Bytes::from_static(bytes)).await.unwrap();
    upload.finish().await.unwrap()
}

#[tokio::test]
async fn an_object_has_the_id_that_was_told_unless_its_content_has_another() {
    let fixture = Fixture::new().await;
    let told = ObjectId(Uuid::from_u128(7));
    assert_eq!(fixture.store.object_id(fixture.workspace, "aa").await.unwrap(), None);
    let (a, b) =
        tokio::join!(put_as(&fixture, told, "aa", b"code"), put_as(&fixture, told, "aa", b"code"));
    assert_eq!((a, b), (told, told));
    assert_eq!(fixture.store.object_id(fixture.workspace, "aa").await.unwrap(), Some(told));
    let other = ObjectId(Uuid::from_u128(8));
    assert_eq!(put_as(&fixture, other, "aa", b"code").await, told);
    assert_eq!(get(&fixture, told).await, "code");
    assert!(fixture.store.object_file(fixture.workspace, told).await.unwrap().is_some());
    assert!(fixture.store.object_file(fixture.workspace, other).await.unwrap().is_none());
    assert!(fixture.store.object_file(stranger(), told).await.unwrap().is_none());
    assert_eq!(all_bytes(&fixture.dir.path().join("objects")), b"code");
}

#[tokio::test]
async fn bytes_that_do_not_pass_leave_what_has_their_id() {
    let fixture = Fixture::new().await;
    let id = put(&fixture, "aa", &[Bytes::from_static(b"code")]).await;
    let mut upload = fixture.store.put_object_as(fixture.workspace, id, "aa", 1).await.unwrap();
    upload.write(Bytes::from_static(b"something else")).await.unwrap();
    let refused = upload.finish_if(|_| Err::<(), _>(StoreError::Closed)).await;
    assert!(matches!(refused, Err(StoreError::Closed)), "{refused:?}");
    assert_eq!(get(&fixture, id).await, "code");
    assert_eq!(all_bytes(&fixture.dir.path().join("objects")), b"code");
}
