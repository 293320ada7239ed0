use metal9_store::{Actor, StoreError, TokenKind, WorkspaceLimits};
use metal9_types::TokenId;
use sqlx::{Connection as _, SqliteConnection};
use uuid::Uuid;

use crate::fixture::{Fixture, all_bytes, contains, stranger};

#[tokio::test]
async fn the_first_workspace_is_made_once() {
    let fixture = Fixture::new().await;
    assert_eq!(fixture.token.len(), 88);
    assert!(fixture.store.bootstrap().await.unwrap().is_none());
    let found = fixture.store.default_workspace().await.unwrap();
    assert_eq!(found, Some((fixture.workspace, "default".to_owned())));
    let fixture = fixture.reopen().await;
    assert!(fixture.store.bootstrap().await.unwrap().is_none());
    let identity = fixture.store.authenticate(&fixture.token).await.unwrap().unwrap();
    assert_eq!(identity.workspace, fixture.workspace);
    assert_eq!(identity.workspace_name, "default");
    assert_eq!(identity.kind, TokenKind::WorkspacePrimary);
}

#[tokio::test]
async fn two_first_starts_at_once_make_one_workspace() {
    let dir = tempfile::tempdir().unwrap();
    let store = metal9_store::Store::open(dir.path()).await.unwrap();
    let (a, b) = tokio::join!(store.bootstrap(), store.bootstrap());
    assert!(a.unwrap().is_some() != b.unwrap().is_some());
}

#[tokio::test]
async fn a_switched_off_or_deleted_token_opens_nothing_at_once() {
    let Fixture { store, workspace, dir: _dir, .. } = Fixture::new().await;
    let (row, token) = store.create_token(workspace, TokenKind::WorkspaceRestricted).await.unwrap();
    let identity = store.authenticate(&token).await.unwrap().unwrap();
    assert_eq!((identity.token, identity.kind), (row.id, TokenKind::WorkspaceRestricted));

    let off = store.toggle_token(workspace, row.id).await.unwrap().unwrap();
    assert!(!off.active);
    assert_eq!(store.authenticate(&token).await.unwrap(), None);

    let on = store.toggle_token(workspace, row.id).await.unwrap().unwrap();
    assert!(on.active);
    assert!(store.authenticate(&token).await.unwrap().is_some());

    assert!(store.delete_token(workspace, row.id).await.unwrap());
    assert_eq!(store.authenticate(&token).await.unwrap(), None);
    assert!(!store.delete_token(workspace, row.id).await.unwrap());
}

#[tokio::test]
async fn the_last_active_primary_token_stays() {
    let Fixture { store, workspace, token, dir: _dir } = Fixture::new().await;
    let first = store.list_tokens(workspace).await.unwrap().remove(0).id;
    store.create_token(workspace, TokenKind::Workspace).await.unwrap();
    for refused in [
        store.delete_token(workspace, first).await.unwrap_err(),
        store.toggle_token(workspace, first).await.unwrap_err(),
    ] {
        assert!(matches!(refused, StoreError::LastToken), "{refused}");
    }
    assert!(store.authenticate(&token).await.unwrap().is_some());

    let (second, _) = store.create_token(workspace, TokenKind::WorkspacePrimary).await.unwrap();
    assert!(store.delete_token(workspace, first).await.unwrap());
    let refused = store.delete_token(workspace, second.id).await.unwrap_err();
    assert!(matches!(refused, StoreError::LastToken), "{refused}");
}

#[tokio::test]
async fn a_token_of_another_workspace_is_not_there() {
    let Fixture { store, workspace, dir: _dir, .. } = Fixture::new().await;
    let (row, _) = store.create_token(workspace, TokenKind::Workspace).await.unwrap();
    assert!(store.list_tokens(stranger()).await.unwrap().is_empty());
    assert_eq!(store.toggle_token(stranger(), row.id).await.unwrap(), None);
    assert!(!store.delete_token(stranger(), row.id).await.unwrap());
    let unknown = TokenId(Uuid::from_u128(5));
    assert_eq!(store.toggle_token(workspace, unknown).await.unwrap(), None);
}

#[tokio::test]
async fn tokens_are_not_in_the_files() {
    let fixture = Fixture::new().await;
    let join = fixture
        .store
        .create_join_token(fixture.workspace, "default", std::time::Duration::from_secs(60), true)
        .await
        .unwrap();
    let joined = fixture.store.join_worker(&join, "host-in-the-files").await.unwrap();
    let bytes = all_bytes(fixture.dir.path());
    assert!(contains(&bytes, "host-in-the-files"), "the search itself must work");
    for secret in [&fixture.token, &join, &joined.credential] {
        assert!(!contains(&bytes, secret));
    }
}

#[tokio::test]
async fn a_workspace_has_so_many_tokens_and_those_that_ran_out_do_not_count() {
    let fixture = Fixture::new().await;
    let (store, workspace) = (&fixture.store, fixture.workspace);
    let url = format!("sqlite://{}/state.db", fixture.dir.path().display());
    let mut outside = SqliteConnection::connect(&url).await.unwrap();
    let fill = "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 9999) \
                INSERT INTO tokens (id, workspace, kind, hash, active, reusable, created_at, \
                updated_at) SELECT randomblob(16), ?, 'workspace', randomblob(32), 1, 1, 1, 1 FROM n";
    sqlx::query(fill).bind(&workspace.0.as_bytes()[..]).execute(&mut outside).await.unwrap();
    let refused = store.create_token(workspace, TokenKind::Workspace).await.unwrap_err();
    assert!(matches!(refused, StoreError::OverLimit { .. }), "{refused:?}");
    let text = refused.to_string();
    assert!(text.contains("10000 tokens") && text.contains("hint:"), "{text}");
    assert_eq!(store.list_tokens(workspace).await.unwrap().len(), 10_000);

    // Another workspace does not notice.
    let by = Actor::gateway();
    store.by(&by).create_workspace("team", WorkspaceLimits::default()).await.unwrap();
    let team = store.workspaces().await.unwrap().pop().unwrap().id;
    store.create_token(team, TokenKind::Workspace).await.unwrap();

    let run_out = "UPDATE tokens SET expires_at = 1 WHERE workspace = ? AND created_at = 1";
    sqlx::query(run_out).bind(&workspace.0.as_bytes()[..]).execute(&mut outside).await.unwrap();
    store.create_token(workspace, TokenKind::Workspace).await.unwrap();
    assert_eq!(store.list_tokens(workspace).await.unwrap().len(), 2, "they made room");
}
