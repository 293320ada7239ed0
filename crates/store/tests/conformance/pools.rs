use std::time::Duration;

use metal9_store::{Actor, DeploymentChange, JoinTokenRow, NewDeployment, Quota, StoreError};
use metal9_types::{StubConfig, StubId, StubKind, TaskStatus};

use crate::fixture::{Fixture, change, config, stranger};

const HOUR: Duration = Duration::from_secs(3600);

impl Fixture {
    async fn make_pool(&self, name: &str) -> bool {
        let by = Actor::gateway();
        self.store.by(&by).create_pool(self.workspace, name, &[], 0).await.unwrap()
    }

    async fn pool_names(&self) -> Vec<String> {
        let pools = self.store.pools(self.workspace).await.unwrap();
        pools.into_iter().map(|pool| pool.name).collect()
    }

    async fn stub_in(&self, name: &str, pool: Option<&str>) -> StubId {
        let wanted = StubConfig { pool: pool.map(str::to_owned), ..config(name) };
        self.store.get_or_create_stub(self.workspace, &wanted, true, Quota::NONE).await.unwrap()
    }

    async fn users(&self, pool: &str) -> Vec<String> {
        let users = self.store.pool_users(pool).await.unwrap();
        assert!(users.iter().all(|user| user.workspace == self.workspace));
        users.into_iter().map(|user| user.stub).collect()
    }

    async fn open_tokens(&self) -> Vec<JoinTokenRow> {
        let tokens = self.store.list_join_tokens(self.workspace).await.unwrap();
        tokens.into_iter().filter(|token| token.state(0) == "open").collect()
    }
}

#[tokio::test]
async fn a_pool_is_made_once_and_stays_until_it_is_deleted() {
    let fixture = Fixture::new().await;
    let by = Actor::gateway();
    let gpus = ["H100".to_owned(), "MPS".to_owned()];
    let first = fixture.store.by(&by).create_pool(fixture.workspace, "web", &gpus, 3).await;
    assert!(first.unwrap());
    assert!(!fixture.make_pool("web").await, "it is there already");
    assert!(fixture.make_pool("attic").await);

    let fixture = fixture.reopen().await;
    assert_eq!(fixture.pool_names().await, ["attic", "web"]);
    let web = fixture.store.pools(fixture.workspace).await.unwrap().remove(1);
    assert_eq!((web.gpus, web.nodes), (gpus.to_vec(), 3), "as it was made");
    assert!(fixture.store.pools(stranger()).await.unwrap().is_empty());

    let store = fixture.store.by(&by);
    assert!(!store.delete_pool(stranger(), "web").await.unwrap());
    assert!(store.delete_pool(fixture.workspace, "web").await.unwrap());
    assert!(!store.delete_pool(fixture.workspace, "web").await.unwrap());
    assert_eq!(fixture.pool_names().await, ["attic"]);
}

#[tokio::test]
async fn a_name_that_a_shell_or_an_address_would_take_apart_is_refused() {
    let fixture = Fixture::new().await;
    let by = Actor::gateway();
    let long = "x".repeat(65);
    for name in ["", " ", "a b", "-x", ".x", "a/b", "a;b", "é", "a\n", &long] {
        let made = fixture.store.by(&by).create_pool(fixture.workspace, name, &[], 0).await;
        assert!(matches!(made, Err(StoreError::Invalid { .. })), "{name:?}: {made:?}");
    }
    assert!(fixture.make_pool(&long[1..]).await);
}

#[tokio::test]
async fn nobody_joins_a_pool_that_was_deleted() {
    let fixture = Fixture::new().await;
    let (store, workspace) = (&fixture.store, fixture.workspace);
    fixture.make_pool("web").await;
    let once = store.create_join_token(workspace, "web", HOUR, true).await.unwrap();
    let other = store.create_join_token(workspace, "attic", HOUR, true).await.unwrap();
    assert!(store.by(&Actor::gateway()).delete_pool(workspace, "web").await.unwrap());
    let error = store.join_worker(&once, "a").await.unwrap_err();
    assert!(error.to_string().contains("was revoked"), "{error}");
    assert_eq!(fixture.open_tokens().await.len(), 1);
    store.join_worker(&other, "a").await.unwrap();
}

#[tokio::test]
async fn a_worker_is_known_by_the_token_that_was_for_it_alone() {
    let fixture = Fixture::new().await;
    let (store, workspace) = (&fixture.store, fixture.workspace);
    let once = store.create_join_token(workspace, "web", HOUR, true).await.unwrap();
    let many = store.create_join_token(workspace, "web", HOUR, false).await.unwrap();
    let tokens = store.list_join_tokens(workspace).await.unwrap();
    let [alone] = tokens.iter().filter(|token| token.single_use).collect::<Vec<_>>()[..] else {
        panic!("{tokens:?}");
    };
    store.join_worker(&many, "a").await.unwrap();
    let joined = store.join_worker(&once, "b").await.unwrap();
    let workers = store.list_workers(workspace).await.unwrap();
    let known: Vec<_> = workers.iter().filter(|row| row.join_token.is_some()).collect();
    assert_eq!(known.len(), 1);
    assert_eq!((known[0].id, known[0].join_token), (joined.worker, Some(alone.id)));
}

#[tokio::test]
async fn a_pool_is_used_by_what_is_deployed_and_by_calls_that_have_not_ended() {
    let fixture = Fixture::new().await;
    let by = Actor::gateway();
    fixture.stub_in("elsewhere", None).await;
    let idle = fixture.stub_in("idle", Some("web")).await;
    let deployed = fixture.stub_in("deployed", Some("web")).await;
    assert!(fixture.users("web").await.is_empty(), "nothing is deployed or called");

    let new = NewDeployment {
        workspace: fixture.workspace,
        kind: StubKind::Function,
        name: "api".into(),
        stub: deployed,
        replace: false,
    };
    let row = fixture.store.by(&by).deploy(new).await.unwrap();
    let task = fixture.task(idle);
    let id = task.id;
    fixture.store.accept_task(task).await.unwrap();
    assert_eq!(fixture.users("web").await, ["deployed", "idle"]);
    assert!(fixture.users("attic").await.is_empty());

    let stop = DeploymentChange::Stop;
    fixture.store.by(&by).change_deployment(fixture.workspace, row.id, stop).await.unwrap();
    fixture.store.transition(change(id, TaskStatus::Complete)).await.unwrap();
    assert!(fixture.users("web").await.is_empty());
}
