use metal9_store::{Actor, StoreError, WorkspaceLimits};

use crate::fixture::{Fixture, stranger};

#[tokio::test]
async fn a_workspace_is_made_once_with_a_token_of_its_own() {
    let fixture = Fixture::new().await;
    let by = Actor::gateway();
    let limits = WorkspaceLimits { max_gpus: Some(2), ..WorkspaceLimits::default() };
    let (row, token) = fixture.store.by(&by).create_workspace("team", limits).await.unwrap();
    let identity = fixture.store.authenticate(&token).await.unwrap().unwrap();
    assert_eq!((identity.workspace, &*identity.workspace_name), (row.id, "team"));
    let again = fixture.store.by(&by).create_workspace("team", limits).await;
    assert!(matches!(again, Err(StoreError::Exists { .. })), "{again:?}");
    for bad in ["", "a b", "ä", &"x".repeat(65)] {
        let made = fixture.store.by(&by).create_workspace(bad, limits).await;
        assert!(matches!(made, Err(StoreError::Invalid { .. })), "{made:?}");
    }
    let fixture = fixture.reopen().await;
    let [first, second] = fixture.store.workspaces().await.unwrap().try_into().unwrap();
    assert_eq!((first.id, first.limits), (fixture.workspace, WorkspaceLimits::default()));
    assert_eq!(second, row);
    let (oldest, _) = fixture.store.default_workspace().await.unwrap().unwrap();
    assert_eq!(oldest, fixture.workspace);
}

#[tokio::test]
async fn limits_are_set_and_taken_away() {
    let fixture = Fixture::new().await;
    let by = Actor::gateway();
    let by = fixture.store.by(&by);
    let limits = WorkspaceLimits {
        weight: 3,
        max_containers: Some(4),
        max_cpu_millicores: Some(8000),
        max_memory_mib: Some(1024),
        max_gpus: Some(1),
        max_requests_per_second: Some(50),
    };
    for limits in [limits, WorkspaceLimits::default()] {
        assert!(by.limit_workspace(fixture.workspace, limits).await.unwrap());
        let [row] = fixture.store.workspaces().await.unwrap().try_into().unwrap();
        assert_eq!(row.limits, limits);
    }
    assert!(!by.limit_workspace(stranger(), limits).await.unwrap());
}
