use std::time::Duration;

use metal9_store::{Actor, StoreError};

use crate::fixture::{Fixture, stranger};

const HOUR: Duration = Duration::from_secs(3600);

#[tokio::test]
async fn a_worker_joins_and_is_known_by_its_credential() {
    let fixture = Fixture::new().await;
    let token =
        fixture.store.create_join_token(fixture.workspace, "macs", HOUR, true).await.unwrap();
    let joined = fixture.store.join_worker(&token, "studio").await.unwrap();
    assert_eq!(joined.pool, "macs");

    let fixture = fixture.reopen().await;
    let worker = fixture.store.authenticate_worker(&joined.credential).await.unwrap().unwrap();
    assert_eq!((worker.id, worker.workspace), (joined.worker, fixture.workspace));
    assert_eq!((worker.pool.as_str(), worker.hostname.as_str()), ("macs", "studio"));
    assert_eq!(fixture.store.authenticate_worker("something else").await.unwrap(), None);

    fixture.store.worker_seen(worker.id).await.unwrap();
    let seen = fixture.store.list_workers(fixture.workspace).await.unwrap().remove(0);
    assert!(seen.last_seen > worker.last_seen);
}

#[tokio::test]
async fn a_join_token_is_refused_when_it_should_be() {
    let fixture = Fixture::new().await;
    let (store, workspace) = (&fixture.store, fixture.workspace);
    let once = store.create_join_token(workspace, "default", HOUR, true).await.unwrap();
    let many = store.create_join_token(workspace, "default", HOUR, false).await.unwrap();
    let expired =
        store.create_join_token(workspace, "default", Duration::ZERO, true).await.unwrap();
    let elsewhere = store.by(&Actor::nobody("")).join_worker(&once, "a", "attic").await;
    let elsewhere = elsewhere.unwrap_err().to_string();
    assert!(elsewhere.contains("another pool"), "{elsewhere}");
    // It was not used by that.
    store.by(&Actor::nobody("")).join_worker(&once, "a", "default").await.unwrap();
    store.join_worker(&many, "b").await.unwrap();
    store.join_worker(&many, "c").await.unwrap();
    for (token, expected) in
        [(once.as_str(), "was used"), (expired.as_str(), "has expired"), ("nonsense", "not known")]
    {
        let error = store.join_worker(token, "d").await.unwrap_err();
        assert!(matches!(error, StoreError::JoinRefused { .. }), "{error}");
        assert!(error.to_string().contains(expected), "{error}");
    }
    assert_eq!(store.list_workers(workspace).await.unwrap().len(), 3);
}

#[tokio::test]
async fn two_workers_cannot_use_one_single_use_token() {
    let fixture = Fixture::new().await;
    let token =
        fixture.store.create_join_token(fixture.workspace, "default", HOUR, true).await.unwrap();
    let (a, b) = tokio::join!(
        fixture.store.join_worker(&token, "a"),
        fixture.store.join_worker(&token, "b")
    );
    assert!(a.is_ok() != b.is_ok());
}

#[tokio::test]
async fn a_removed_worker_is_not_known_any_more() {
    let fixture = Fixture::new().await;
    let token =
        fixture.store.create_join_token(fixture.workspace, "default", HOUR, true).await.unwrap();
    let joined = fixture.store.join_worker(&token, "a").await.unwrap();
    assert!(!fixture.store.remove_worker(stranger(), joined.worker).await.unwrap());
    assert!(fixture.store.list_workers(stranger()).await.unwrap().is_empty());
    assert!(fixture.store.remove_worker(fixture.workspace, joined.worker).await.unwrap());
    assert_eq!(fixture.store.authenticate_worker(&joined.credential).await.unwrap(), None);
}

#[tokio::test]
async fn a_worker_has_its_old_credential_until_the_new_one_was_used() {
    let fixture = Fixture::new().await;
    let (store, workspace) = (&fixture.store, fixture.workspace);
    let token = store.create_join_token(workspace, "default", HOUR, true).await.unwrap();
    let joined = store.join_worker(&token, "a").await.unwrap();
    let actor = Actor::worker(workspace, joined.worker, "");
    let never_used = store.by(&actor).issue_credential(joined.worker).await.unwrap();
    let new = store.by(&actor).issue_credential(joined.worker).await.unwrap();
    let known = async |credential: &str| {
        let worker = fixture.store.authenticate_worker(credential).await.unwrap();
        worker.is_some_and(|worker| worker.id == joined.worker)
    };
    assert!(!known(&never_used).await, "another was issued after it");
    assert!(known(&joined.credential).await);
    assert!(known(&new).await);
    assert!(!known(&joined.credential).await, "the new one was used");
    assert!(known(&new).await);
    assert!(store.list_workers(workspace).await.unwrap()[0].rotated_at.is_some());
}

#[tokio::test]
async fn a_revoked_worker_has_no_credential_that_opens_anything() {
    let fixture = Fixture::new().await;
    let (store, workspace) = (&fixture.store, fixture.workspace);
    let token = store.create_join_token(workspace, "default", HOUR, true).await.unwrap();
    let joined = store.join_worker(&token, "a").await.unwrap();
    let actor = Actor::gateway();
    let new = store.by(&actor).issue_credential(joined.worker).await.unwrap();
    assert!(!store.by(&actor).revoke_worker(stranger(), joined.worker).await.unwrap());
    assert!(store.by(&actor).revoke_worker(workspace, joined.worker).await.unwrap());
    assert_eq!(store.authenticate_worker(&joined.credential).await.unwrap(), None);
    assert_eq!(store.authenticate_worker(&new).await.unwrap(), None);
    let issued = store.by(&actor).issue_credential(joined.worker).await;
    assert!(matches!(issued, Err(StoreError::Missing { .. })));
    assert!(store.list_workers(workspace).await.unwrap()[0].revoked_at.is_some());
}
