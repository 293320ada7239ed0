use futures::future::join_all;
use metal9_store::{Quota, StoreError};
use metal9_types::{EnvLock, ImageId, ImageSpec, Platform, StubId};
use uuid::Uuid;

use crate::fixture::{Fixture, config};

fn lock(requirements: &str) -> EnvLock {
    EnvLock {
        platform: Platform::X86_64Linux,
        python: "3.11".into(),
        requirements: requirements.into(),
        macos: None,
        root: None,
    }
}

#[tokio::test]
async fn images_and_locks_are_kept() {
    let fixture = Fixture::new().await;
    let spec = ImageSpec { python_version: "python3.11".into(), ..ImageSpec::default() };
    let id = fixture.store.put_image(&spec).await.unwrap();
    assert_eq!(id, spec.id());
    assert_eq!(fixture.store.put_image(&spec).await.unwrap(), id);
    assert!(!fixture.store.has_lock(&id).await.unwrap());
    fixture.store.put_lock(&spec, &lock("a==1")).await.unwrap();

    let fixture = fixture.reopen().await;
    assert_eq!(fixture.store.image(&id).await.unwrap(), Some(spec.clone()));
    assert!(fixture.store.has_lock(&id).await.unwrap());
    let found = fixture.store.lock(&id, Platform::X86_64Linux).await.unwrap();
    assert_eq!(found, Some(lock("a==1")));
    assert_eq!(fixture.store.lock(&id, Platform::Aarch64Darwin).await.unwrap(), None);

    fixture.store.put_lock(&spec, &lock("a==2")).await.unwrap();
    let found = fixture.store.lock(&id, Platform::X86_64Linux).await.unwrap();
    assert_eq!(found, Some(lock("a==2")));
}

#[tokio::test]
async fn an_image_that_is_not_there_has_nothing() {
    let fixture = Fixture::new().await;
    let id = ImageId("not there".into());
    assert_eq!(fixture.store.image(&id).await.unwrap(), None);
    assert!(!fixture.store.has_lock(&id).await.unwrap());
}

#[tokio::test]
async fn equal_configurations_are_one_stub_unless_forced() {
    let fixture = Fixture::new().await;
    let (store, workspace) = (&fixture.store, fixture.workspace);
    let (a, b) = (config("function/a"), config("function/b"));
    let first = store.get_or_create_stub(workspace, &a, false, Quota::NONE).await.unwrap();
    assert_eq!(store.get_or_create_stub(workspace, &a, false, Quota::NONE).await.unwrap(), first);
    assert_ne!(store.get_or_create_stub(workspace, &b, false, Quota::NONE).await.unwrap(), first);
    let forced = store.get_or_create_stub(workspace, &a, true, Quota::NONE).await.unwrap();
    assert_ne!(forced, first);
    assert_eq!(store.get_or_create_stub(workspace, &a, false, Quota::NONE).await.unwrap(), first);

    let fixture = fixture.reopen().await;
    let row = fixture.store.stub(forced).await.unwrap().unwrap();
    assert_eq!((row.workspace, &row.config), (fixture.workspace, &a));
    let unknown = StubId(Uuid::from_u128(4));
    assert!(fixture.store.stub(unknown).await.unwrap().is_none());
}

#[tokio::test]
async fn the_same_configuration_from_many_at_once_is_one_stub() {
    let fixture = Fixture::new().await;
    let config = config("function/a");
    let ids =
        join_all((0..50).map(|_| {
            fixture.store.get_or_create_stub(fixture.workspace, &config, false, Quota::NONE)
        }))
        .await;
    let first = ids[0].as_ref().unwrap();
    assert!(ids.iter().all(|id| id.as_ref().unwrap() == first));
}

#[tokio::test]
async fn a_configuration_that_could_not_be_read_back_is_refused() {
    let fixture = Fixture::new().await;
    let mut config = config("function/a");
    config.keep_warm_seconds = f32::NAN;
    let error = fixture
        .store
        .get_or_create_stub(fixture.workspace, &config, false, Quota::NONE)
        .await
        .unwrap_err();
    assert!(matches!(error, StoreError::Invalid { .. }), "{error}");
}

#[tokio::test]
async fn a_workspace_has_so_many_stubs_and_unused_ones_of_a_full_one_go_sooner() {
    let fixture = Fixture::new().await;
    let (store, workspace) = (&fixture.store, fixture.workspace);
    let make = async |name: &str, quota| {
        let wanted = config(&format!("function/{name}"));
        store.get_or_create_stub(workspace, &wanted, false, quota).await
    };
    let quota = Quota { entries: 2, bytes: 1 << 20 };
    let first = make("a", quota).await.unwrap();
    let second = make("b", quota).await.unwrap();
    let refused = make("c", quota).await.unwrap_err();
    assert!(matches!(refused, StoreError::OverLimit { .. }), "{refused:?}");
    assert!(refused.to_string().contains("hint:"), "{refused}");
    assert_eq!(make("a", quota).await.unwrap(), first, "one that is there needs no room");
    let like = store.stub_like(workspace, &config("function/c")).await.unwrap();
    assert_eq!(like, None);
    let small = Quota { entries: 100, bytes: 1000 };
    assert!(make("c", small).await.is_err(), "their bytes count, too");

    store.accept_task(fixture.task(first)).await.unwrap();
    assert_eq!(store.forget_stubs_of_full(Quota::NONE, i64::MAX, 10).await.unwrap(), 0);
    assert_eq!(store.forget_stubs_of_full(quota, 1, 10).await.unwrap(), 0, "used since then");
    assert_eq!(store.forget_stubs_of_full(quota, i64::MAX, 10).await.unwrap(), 1);
    assert!(store.stub(second).await.unwrap().is_none(), "the other has a task");
    make("c", quota).await.unwrap();
    let fixture = fixture.reopen().await;
    let wanted = config("function/d");
    let again = fixture.store.get_or_create_stub(fixture.workspace, &wanted, false, quota).await;
    assert!(again.is_err(), "they are counted over a restart");
}
