use std::time::Duration;

use metal9_store::{
    Actor, AuditFilter, AuditRow, DeploymentChange, NewDeployment, NewToken, StoreError, TokenKind,
    WorkspaceLimits,
};
use metal9_types::{StubKind, TokenId, WorkerId};
use sqlx::{Connection as _, SqliteConnection};
use uuid::Uuid;

use crate::fixture::Fixture;

const DAY: Duration = Duration::from_secs(24 * 3600);

async fn log(fixture: &Fixture) -> Vec<AuditRow> {
    let filter = AuditFilter { limit: 1000, ..AuditFilter::default() };
    fixture.store.audit_log(fixture.workspace, &filter).await.unwrap()
}

fn actions(rows: &[AuditRow]) -> Vec<&str> {
    rows.iter().map(|row| row.action.as_str()).collect()
}

#[tokio::test]
async fn every_change_is_noted_with_who_made_it_and_no_refusal_is() {
    let fixture = Fixture::new().await;
    let (store, workspace) = (&fixture.store, fixture.workspace);
    let identity = store.authenticate(&fixture.token).await.unwrap().unwrap();
    let actor = Actor::token(workspace, identity.token, "10.0.0.7");
    let by = store.by(&actor);
    let wanted = NewToken { kind: TokenKind::Workspace, name: "ci".into(), ttl: None };
    let (row, key) = by.create_token(workspace, wanted).await.unwrap();
    by.toggle_token(workspace, row.id).await.unwrap();
    assert!(matches!(by.delete_token(workspace, identity.token).await, Err(StoreError::LastToken)));
    by.create_secret(workspace, "KEY", "a value").await.unwrap();
    by.create_secret(workspace, "KEY", "another").await.unwrap_err();
    by.read_secret(workspace, "KEY").await.unwrap().unwrap();
    assert_eq!(by.read_secret(workspace, "NONE").await.unwrap(), None);
    assert!(!by.delete_secret(workspace, "NONE").await.unwrap());
    let (_, token) = by.create_join_token(workspace, "macs", DAY, true).await.unwrap();
    let joined =
        store.by(&Actor::nobody("10.0.0.9")).join_worker(&token, "studio", "").await.unwrap();
    assert!(by.create_pool(workspace, "web", &[], 0).await.unwrap());
    assert!(!by.create_pool(workspace, "web", &[], 0).await.unwrap());
    assert!(by.delete_pool(workspace, "web").await.unwrap());
    assert!(!by.delete_pool(workspace, "web").await.unwrap());

    let fixture = fixture.reopen().await;
    let rows = log(&fixture).await;
    assert_eq!(
        actions(&rows),
        [
            "token.create",
            "token.create",
            "token.toggle",
            "secret.create",
            "secret.read",
            "join_token.create",
            "worker.join",
            "pool.create",
            "pool.delete",
        ]
    );
    let made = &rows[1];
    assert_eq!((made.actor_kind.as_str(), made.peer.as_str()), ("token", "10.0.0.7"));
    assert_eq!(made.actor, identity.token.to_string());
    assert_eq!((made.object.clone(), made.detail.as_str()), (row.id.to_string(), "workspace ci"));
    assert_eq!(
        (rows[6].object.clone(), rows[6].peer.as_str()),
        (joined.worker.to_string(), "10.0.0.9")
    );
    for row in &rows {
        let text = format!("{row:?}");
        assert!(
            !text.contains("a value") && !text.contains(&key) && !text.contains(&token),
            "{text}"
        );
    }
}

#[tokio::test]
async fn nothing_is_done_that_cannot_be_noted() {
    let fixture = Fixture::new().await;
    let url = format!("sqlite://{}/state.db", fixture.dir.path().display());
    let mut outside = SqliteConnection::connect(&url).await.unwrap();
    sqlx::query(
        "CREATE TRIGGER broken BEFORE INSERT ON audit BEGIN SELECT raise(ABORT, 'broken'); END",
    )
    .execute(&mut outside)
    .await
    .unwrap();
    let (store, workspace) = (&fixture.store, fixture.workspace);
    assert!(store.create_secret(workspace, "KEY", "value").await.is_err());
    assert!(store.create_token(workspace, TokenKind::Workspace).await.is_err());
    assert!(store.create_join_token(workspace, "default", DAY, true).await.is_err());
    assert_eq!(store.list_secrets(workspace).await.unwrap(), []);
    assert_eq!(store.list_tokens(workspace).await.unwrap().len(), 1);
    assert_eq!(store.list_join_tokens(workspace).await.unwrap(), []);
}

#[tokio::test]
async fn the_log_cannot_be_changed_and_only_its_old_end_goes() {
    let fixture = Fixture::new().await;
    for number in 0..20 {
        let entry = Actor::nobody("10.0.0.1").did("auth.fail", number.to_string()).refused(1);
        fixture.store.audit(entry).await.unwrap();
    }
    let url = format!("sqlite://{}/state.db", fixture.dir.path().display());
    let mut outside = SqliteConnection::connect(&url).await.unwrap();
    for statement in ["DELETE FROM audit", "UPDATE audit SET actor = 'somebody else'"] {
        let refused = sqlx::query(statement).execute(&mut outside).await.unwrap_err();
        assert!(refused.to_string().contains("append-only"), "{refused}");
    }
    assert_eq!(fixture.store.trim_audit(DAY, 100).await.unwrap(), 0);
    assert_eq!(fixture.store.trim_audit(DAY, 5).await.unwrap(), 15);
    let kept = log(&fixture).await;
    let objects: Vec<_> = kept[1..].iter().map(|row| row.object.as_str()).collect();
    assert_eq!(objects, ["15", "16", "17", "18", "19"]);
    assert_eq!(kept[0].action, "token.create", "what the gateway did is apart");
    assert_eq!(fixture.store.trim_audit(Duration::ZERO, 100).await.unwrap(), 6);
    fixture.store.audit(Actor::gateway().did("key.rotate", "x")).await.unwrap();
    assert_eq!(actions(&log(&fixture).await), ["key.rotate"]);
}

#[tokio::test]
async fn a_flood_of_one_workspace_takes_away_only_its_own_lines() {
    let fixture = Fixture::new().await;
    let elsewhere = metal9_types::WorkspaceId(Uuid::from_u128(9));
    let own = Actor::token(fixture.workspace, TokenId(Uuid::from_u128(1)), "");
    let flooder = Actor::token(elsewhere, TokenId(Uuid::from_u128(2)), "");
    fixture.store.audit(own.did("secret.create", "mine")).await.unwrap();
    fixture.store.audit(Actor::nobody("").did("auth.fail", "token").refused(1)).await.unwrap();
    for number in 0..30 {
        fixture.store.audit(flooder.did("token.create", number.to_string())).await.unwrap();
    }
    assert_eq!(fixture.store.trim_audit(DAY, 10).await.unwrap(), 20);
    assert_eq!(actions(&log(&fixture).await), ["token.create", "secret.create", "auth.fail"]);
    let filter = AuditFilter { limit: 100, own_only: true, ..AuditFilter::default() };
    let theirs = fixture.store.audit_log(elsewhere, &filter).await.unwrap();
    let objects: Vec<_> = theirs.iter().map(|row| row.object.as_str()).collect();
    assert_eq!(objects.len(), 10);
    assert_eq!((objects[0], objects[9]), ("20", "29"), "the newest are kept");
}

#[tokio::test]
async fn the_log_is_read_by_actor_time_and_from_where_one_was() {
    let fixture = Fixture::new().await;
    let worker = WorkerId(Uuid::from_u128(7));
    let actor = Actor::worker(fixture.workspace, worker, "");
    for _ in 0..3 {
        fixture.store.audit(actor.did("secret.use", "A")).await.unwrap();
    }
    let read = async |filter| fixture.store.audit_log(fixture.workspace, &filter).await.unwrap();
    let base = AuditFilter { limit: 2, ..AuditFilter::default() };
    let newest = read(base.clone()).await;
    assert_eq!(newest.len(), 2);
    let after = Some(newest[0].id);
    assert_eq!(read(AuditFilter { after, ..base.clone() }).await, newest[1..]);
    let by_kind = AuditFilter { actor: Some("worker".into()), limit: 9, ..base.clone() };
    assert_eq!(read(by_kind).await.len(), 3);
    let by_id = AuditFilter { actor: Some(worker.to_string()), limit: 9, ..base.clone() };
    assert_eq!(read(by_id).await.len(), 3);
    assert_eq!(read(AuditFilter { since: Some(i64::MAX), ..base }).await, []);
    let elsewhere = metal9_types::WorkspaceId(Uuid::from_u128(9));
    let filter = AuditFilter { limit: 9, ..AuditFilter::default() };
    let theirs = fixture.store.audit_log(elsewhere, &filter).await.unwrap();
    assert_eq!(actions(&theirs), ["token.create"], "only what the gateway itself did");
}

#[tokio::test]
async fn deployments_volumes_and_workspaces_are_noted_with_who_changed_them() {
    let fixture = Fixture::new().await;
    let (store, workspace) = (&fixture.store, fixture.workspace);
    let actor = Actor::token(workspace, TokenId(Uuid::from_u128(7)), "10.0.0.7");
    let by = store.by(&actor);
    let new = NewDeployment {
        workspace,
        kind: StubKind::Function,
        name: "api".into(),
        stub: fixture.stub("f").await,
        replace: false,
    };
    let deployed = by.deploy(new).await.unwrap().id;
    assert!(by.schedule(workspace, deployed, "@daily", 1).await.unwrap());
    for change in
        [DeploymentChange::Stop, DeploymentChange::Start, DeploymentChange::Scale(Some(2))]
    {
        assert!(by.change_deployment(workspace, deployed, change).await.unwrap());
    }
    assert!(by.delete_deployment(workspace, deployed).await.unwrap());
    assert!(!by.delete_deployment(workspace, deployed).await.unwrap(), "it is gone");
    by.get_or_create_volume(workspace, "data").await.unwrap();
    by.get_or_create_volume(workspace, "data").await.unwrap();
    by.delete_volume(workspace, "data").await.unwrap().unwrap();
    let limits = WorkspaceLimits::default();
    let (team, _) = by.create_workspace("team", limits).await.unwrap();
    assert!(by.limit_workspace(team.id, limits).await.unwrap());

    let rows = log(&fixture).await;
    let noted: Vec<_> = rows.iter().filter(|row| row.peer == "10.0.0.7").collect();
    assert_eq!(
        noted.iter().map(|row| row.action.as_str()).collect::<Vec<_>>(),
        [
            "deployment.create",
            "deployment.schedule",
            "deployment.stop",
            "deployment.start",
            "deployment.scale",
            "deployment.delete",
            "volume.create",
            "volume.delete",
            "workspace.create",
            "workspace.limit",
        ]
    );
    let (first, last) = (noted[0], noted[noted.len() - 1]);
    assert_eq!((first.object.clone(), &first.detail[..]), (deployed.to_string(), "function api"));
    assert_eq!(last.object, team.id.to_string());
}
