use std::os::unix::fs::PermissionsExt;

use futures::future::join_all;
use metal9_store::{Accepted, Quota, Store, StoreError};

use crate::fixture::{Fixture, config, stranger};

#[tokio::test]
async fn the_epoch_grows_with_every_start_and_the_key_stays() {
    let first = Fixture::new().await;
    assert_eq!(first.store.epoch(), 1);
    let key = *first.store.signing_key();
    let second = first.reopen().await;
    assert_eq!(second.store.epoch(), 2);
    assert_eq!(*second.store.signing_key(), key);
    assert_eq!(second.reopen().await.store.epoch(), 3);
}

#[tokio::test]
async fn a_second_opener_is_told_who_has_the_directory() {
    let fixture = Fixture::new().await;
    let error = Store::open(fixture.dir.path()).await.unwrap_err();
    let text = error.to_string();
    assert!(matches!(error, StoreError::InUse { .. }), "{text}");
    assert!(text.contains(&fixture.dir.path().display().to_string()), "{text}");
    assert!(text.contains(&std::process::id().to_string()), "{text}");
}

#[tokio::test]
async fn only_the_user_may_look_into_the_directory_and_the_key() {
    let fixture = Fixture::new().await;
    let mode = |path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(fixture.dir.path().to_owned()), 0o700);
    assert_eq!(mode(fixture.dir.path().join("secret.key")), 0o600);
}

#[tokio::test]
async fn a_closed_store_says_so() {
    let fixture = Fixture::new().await;
    fixture.store.close().await;
    let error = fixture.store.list_tokens(fixture.workspace).await.unwrap_err();
    assert!(matches!(error, StoreError::Closed), "{error}");
    let error = fixture.store.bootstrap().await.unwrap_err();
    assert!(matches!(error, StoreError::Closed), "{error}");
}

#[tokio::test]
async fn a_lost_or_foreign_key_file_is_refused_and_not_replaced() {
    let fixture = Fixture::new().await;
    fixture.store.close().await;
    let key = fixture.dir.path().join("secret.key");
    let saved = std::fs::read(&key).unwrap();
    std::fs::remove_file(&key).unwrap();
    let error = Store::open(fixture.dir.path()).await.unwrap_err();
    assert!(matches!(error, StoreError::Key { .. }), "{error}");
    assert!(!key.exists());

    let other = Fixture::new().await;
    std::fs::copy(other.dir.path().join("secret.key"), &key).unwrap();
    let error = Store::open(fixture.dir.path()).await.unwrap_err();
    assert!(matches!(error, StoreError::Key { .. }), "{error}");

    std::fs::write(&key, saved).unwrap();
    Store::open(fixture.dir.path()).await.unwrap();
}

#[tokio::test]
async fn what_was_accepted_survives_a_kill() {
    let fixture = Fixture::new().await;
    let stub = fixture.stub("function/a").await;
    let tasks: Vec<_> = (0..20).map(|_| fixture.task(stub)).collect();
    for task in &tasks {
        fixture.store.accept_task(task.clone()).await.unwrap();
    }
    // A copy of the files as they are now is what a killed process leaves.
    let left = tempfile::tempdir().unwrap();
    for name in ["state.db", "state.db-wal", "secret.key"] {
        std::fs::copy(fixture.dir.path().join(name), left.path().join(name)).unwrap();
    }
    let store = Store::open(left.path()).await.unwrap();
    for task in &tasks {
        assert!(store.task(task.id).await.unwrap().is_some(), "{}", task.id);
        assert_eq!(store.task_arguments(task.id).await.unwrap(), Some(task.arguments.clone()));
    }
}

#[tokio::test]
async fn concurrent_calls_are_committed_together_and_all_are_kept() {
    let fixture = Fixture::new().await;
    let stub = fixture.stub("function/a").await;
    let before = fixture.store.commits();
    let tasks: Vec<_> = (0..200).map(|_| fixture.task(stub)).collect();
    let accepted = join_all(tasks.iter().map(|task| fixture.store.accept_task(task.clone()))).await;
    assert!(accepted.iter().all(|it| matches!(it, Ok(Accepted::New))), "{accepted:?}");
    let commits = fixture.store.commits() - before;
    assert!(commits <= 20, "{commits} commits");
    let fixture = fixture.reopen().await;
    assert_eq!(fixture.store.unfinished_tasks().await.unwrap().len(), 200);
}

#[tokio::test]
async fn a_change_that_cannot_be_applied_does_not_fail_its_neighbours() {
    let fixture = Fixture::new().await;
    let stub = fixture.stub("function/a").await;
    let tasks: Vec<_> = (0..10).map(|_| fixture.task(stub)).collect();
    let accepts = join_all(tasks.iter().map(|task| fixture.store.accept_task(task.clone())));
    let config = config("function/b");
    let stranger = fixture.store.get_or_create_stub(stranger(), &config, false, Quota::NONE);
    let (accepted, refused) = tokio::join!(accepts, stranger);
    assert!(matches!(refused, Err(StoreError::Database { .. })), "{refused:?}");
    assert!(accepted.iter().all(|it| matches!(it, Ok(Accepted::New))), "{accepted:?}");
    assert_eq!(fixture.store.unfinished_tasks().await.unwrap().len(), 10);
}
