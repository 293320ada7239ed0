use futures::future::join_all;
use metal9_store::{
    Actor, DeploymentChange, DeploymentFilter, DeploymentRow, NewDeployment, StoreError, Unused,
};
use metal9_types::{StubId, StubKind, TaskId};
use sqlx::{Connection as _, SqliteConnection};
use uuid::Uuid;

use crate::fixture::{Fixture, stranger};

impl Fixture {
    async fn deploy(&self, name: &str, stub: StubId, replace: bool) -> DeploymentRow {
        self.try_deploy(name, stub, replace).await.unwrap()
    }

    async fn try_deploy(
        &self,
        name: &str,
        stub: StubId,
        replace: bool,
    ) -> Result<DeploymentRow, StoreError> {
        let new = NewDeployment {
            workspace: self.workspace,
            kind: StubKind::Function,
            name: name.into(),
            stub,
            replace,
        };
        self.store.by(&Actor::gateway()).deploy(new).await
    }

    async fn named(&self, name: &str, version: Option<u32>) -> Option<u32> {
        let found =
            self.store.deployment_named(self.workspace, StubKind::Function, name, version).await;
        found.unwrap().map(|row| row.version)
    }

    async fn change_one(&self, row: &DeploymentRow, change: DeploymentChange) -> bool {
        let by = Actor::gateway();
        self.store.by(&by).change_deployment(row.workspace, row.id, change).await.unwrap()
    }
}

#[tokio::test]
async fn versions_of_a_name_are_counted_whoever_deploys_when() {
    let fixture = Fixture::new().await;
    let stub = fixture.stub("f").await;
    let deployed = join_all((0..20).map(|_| fixture.deploy("api", stub, false))).await;
    let mut versions: Vec<u32> = deployed.iter().map(|row| row.version).collect();
    versions.sort_unstable();
    assert_eq!(versions, (1..=20).collect::<Vec<_>>());
    assert_eq!(fixture.deploy("other", stub, false).await.version, 1);

    let last = deployed.iter().max_by_key(|row| row.version).unwrap();
    let by = Actor::gateway();
    assert!(fixture.store.by(&by).delete_deployment(last.workspace, last.id).await.unwrap());
    assert!(!fixture.store.by(&by).delete_deployment(last.workspace, last.id).await.unwrap());
    let fixture = fixture.reopen().await;
    assert_eq!(fixture.deploy("api", stub, false).await.version, 21);
}

#[tokio::test]
async fn a_name_means_the_newest_version_that_takes_calls() {
    let fixture = Fixture::new().await;
    let stub = fixture.stub("f").await;
    fixture.deploy("api", stub, false).await;
    let second = fixture.deploy("api", stub, false).await;
    assert_eq!(fixture.named("api", None).await, Some(2));
    assert_eq!(fixture.named("api", Some(1)).await, Some(1));
    assert_eq!(fixture.named("api", Some(3)).await, None);
    assert!(fixture.change_one(&second, DeploymentChange::Stop).await);
    assert_eq!(fixture.named("api", None).await, Some(1));
    assert!(fixture.change_one(&second, DeploymentChange::Start).await);
    assert_eq!(fixture.named("api", None).await, Some(2));

    let third = fixture.deploy("api", stub, true).await;
    let active = DeploymentFilter { active: Some(true), limit: 10, ..Default::default() };
    let active = fixture.store.deployments(fixture.workspace, &active).await.unwrap();
    assert_eq!(active.iter().map(|row| row.id).collect::<Vec<_>>(), [third.id]);
    assert_eq!(fixture.named("api", Some(1)).await, Some(1), "it is there, and takes no calls");
}

#[tokio::test]
async fn a_deployment_is_its_workspaces_own() {
    let fixture = Fixture::new().await;
    let row = fixture.deploy("api", fixture.stub("f").await, false).await;
    let (store, by) = (&fixture.store, Actor::gateway());
    let by = store.by(&by);
    assert_eq!(store.deployment(stranger(), row.id).await.unwrap(), None);
    let all = DeploymentFilter { limit: 10, ..Default::default() };
    assert_eq!(store.deployments(stranger(), &all).await.unwrap(), []);
    let named = store.deployment_named(stranger(), row.kind, "api", None).await.unwrap();
    assert_eq!(named, None);
    assert!(!by.change_deployment(stranger(), row.id, DeploymentChange::Stop).await.unwrap());
    assert!(!by.delete_deployment(stranger(), row.id).await.unwrap());
    assert!(!by.schedule(stranger(), row.id, "@daily", 1).await.unwrap());
    assert_eq!(store.schedule_of(row.id).await.unwrap(), None);
    assert_eq!(store.deployment(fixture.workspace, row.id).await.unwrap(), Some(row));
}

#[tokio::test]
async fn what_is_deployed_is_not_unused() {
    let fixture = Fixture::new().await;
    let stub = fixture.stub("f").await;
    let row = fixture.deploy("api", stub, false).await;
    let unused = fixture.store.forget_unused(i64::MAX).await.unwrap();
    assert_eq!(unused.stubs, 0);
    let by = Actor::gateway();
    fixture.store.by(&by).delete_deployment(row.workspace, row.id).await.unwrap();
    let unused = fixture.store.forget_unused(i64::MAX).await.unwrap();
    assert_eq!(unused, Unused { stubs: 1, ..unused });
}

#[tokio::test]
async fn a_scale_is_remembered() {
    let fixture = Fixture::new().await;
    let row = fixture.deploy("api", fixture.stub("f").await, false).await;
    assert_eq!(fixture.store.scales().await.unwrap(), []);
    assert!(fixture.change_one(&row, DeploymentChange::Scale(Some(3))).await);
    let fixture = fixture.reopen().await;
    assert_eq!(fixture.store.scales().await.unwrap(), [(row.stub, 3)]);
    assert!(fixture.change_one(&row, DeploymentChange::Scale(None)).await);
    assert_eq!(fixture.store.scales().await.unwrap(), []);
}

#[tokio::test]
async fn a_schedule_advances_once_and_goes_with_its_deployment() {
    let fixture = Fixture::new().await;
    let row = fixture.deploy("api", fixture.stub("f").await, false).await;
    let by = Actor::gateway();
    let store = fixture.store.clone();
    let by = store.by(&by);
    assert!(by.schedule(row.workspace, row.id, "@daily", 10).await.unwrap());
    let task = TaskId(Uuid::from_u128(5));
    store.advance_schedule(row.id, 10, Some(task), 20).await.unwrap();
    store.advance_schedule(row.id, 10, None, 30).await.unwrap();
    let [schedule] = store.schedules(10).await.unwrap().try_into().unwrap();
    assert_eq!((schedule.due, schedule.last_task), (20, Some(task)));
    store.advance_schedule(row.id, 20, None, 30).await.unwrap();
    let [schedule] = store.schedules(10).await.unwrap().try_into().unwrap();
    assert_eq!((schedule.due, schedule.last_task), (30, Some(task)), "nothing new was begun");
    fixture.change_one(&row, DeploymentChange::Stop).await;
    assert_eq!(store.schedules(10).await.unwrap(), []);
    assert!(store.schedule_of(row.id).await.unwrap().is_some());
    by.delete_deployment(row.workspace, row.id).await.unwrap();
    assert_eq!(store.schedule_of(row.id).await.unwrap(), None);
}

#[tokio::test]
async fn a_workspace_has_so_many_deployments_and_names() {
    let fixture = Fixture::new().await;
    let stub = fixture.stub("f").await;
    fixture.deploy("api", stub, false).await;
    let url = format!("sqlite://{}/state.db", fixture.dir.path().display());
    let mut outside = SqliteConnection::connect(&url).await.unwrap();
    let fill = "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 99999) \
                INSERT INTO deployment_names (workspace, kind, name, last_version) \
                SELECT ?, 'function', 'n' || i, 1 FROM n";
    let workspace = &fixture.workspace.0.as_bytes()[..];
    sqlx::query(fill).bind(workspace).execute(&mut outside).await.unwrap();
    assert_eq!(fixture.deploy("api", stub, false).await.version, 2, "a name that is there");
    let refused = fixture.try_deploy("new", stub, false).await.unwrap_err().to_string();
    assert!(refused.contains("100000 deployments") && refused.contains("hint:"), "{refused}");
    let fill = "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 99998) \
                INSERT INTO deployments (id, workspace, kind, name, version, stub, active, \
                created_at, updated_at) \
                SELECT randomblob(16), ?, 'function', 'n', i, ?, 0, 1, 1 FROM n";
    let fill = sqlx::query(fill).bind(workspace).bind(&stub.0.as_bytes()[..]);
    fill.execute(&mut outside).await.unwrap();
    assert!(fixture.try_deploy("api", stub, false).await.is_err());
}
