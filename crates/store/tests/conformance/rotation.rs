use std::fs;

use metal9_store::{Store, StoreError};

use crate::fixture::Fixture;

async fn with_secrets() -> Fixture {
    let fixture = Fixture::new().await;
    for (name, value) in [("A", "one"), ("B", "two")] {
        fixture.store.create_secret(fixture.workspace, name, value).await.unwrap();
    }
    fixture
}

async fn values(fixture: &Fixture) -> Vec<String> {
    let names = ["A".to_owned(), "B".to_owned()];
    let values = fixture.store.secret_values(fixture.workspace, &names).await.unwrap();
    values.into_values().collect()
}

#[tokio::test]
async fn a_new_key_opens_every_secret_and_the_old_one_nothing() {
    let fixture = with_secrets().await;
    let key = fixture.dir.path().join("secret.key");
    let old = fs::read(&key).unwrap();
    assert!(matches!(Store::rotate_key(fixture.dir.path()).await, Err(StoreError::InUse { .. })));
    fixture.store.close().await;
    let before = fs::read(fixture.dir.path().join("state.db")).unwrap();
    assert_eq!(Store::rotate_key(fixture.dir.path()).await.unwrap(), 2);
    assert_ne!(fs::read(fixture.dir.path().join("state.db")).unwrap(), before);
    let fixture = fixture.reopen().await;
    assert_eq!(values(&fixture).await, ["one", "two"]);
    fixture.store.close().await;
    fs::write(&key, old).unwrap();
    assert!(matches!(Store::open(fixture.dir.path()).await, Err(StoreError::Key { .. })));
}

#[tokio::test]
async fn a_crash_before_the_database_changed_leaves_the_old_key() {
    let fixture = with_secrets().await;
    fixture.store.close().await;
    let (key, next) =
        (fixture.dir.path().join("secret.key"), fixture.dir.path().join("secret.key.next"));
    let old = fs::read(&key).unwrap();
    let other = tempfile::tempdir().unwrap();
    Store::open(other.path()).await.unwrap().close().await;
    fs::copy(other.path().join("secret.key"), &next).unwrap();
    let fixture = fixture.reopen().await;
    assert_eq!(values(&fixture).await, ["one", "two"]);
    assert_eq!(fs::read(&key).unwrap(), old);
    assert!(!next.exists());
}

#[tokio::test]
async fn a_crash_after_the_database_changed_leaves_the_new_key() {
    let fixture = with_secrets().await;
    fixture.store.close().await;
    let (key, next) =
        (fixture.dir.path().join("secret.key"), fixture.dir.path().join("secret.key.next"));
    let old = fs::read(&key).unwrap();
    Store::rotate_key(fixture.dir.path()).await.unwrap();
    let new = fs::read(&key).unwrap();
    fs::rename(&key, &next).unwrap();
    fs::write(&key, old).unwrap();
    let fixture = fixture.reopen().await;
    assert_eq!(values(&fixture).await, ["one", "two"]);
    assert_eq!(fs::read(&key).unwrap(), new);
    assert!(!next.exists());
}
