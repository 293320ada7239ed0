use metal9_store::{Store, StoreError};
use metal9_types::WorkspaceId;
use sqlx::{Connection as _, SqliteConnection};

use crate::fixture::{Fixture, all_bytes, contains, stranger};

async fn value(store: &Store, workspace: WorkspaceId, name: &str) -> Option<String> {
    store.secret(workspace, name).await.unwrap().map(|row| row.value)
}

#[tokio::test]
async fn a_secret_is_kept_changed_and_deleted() {
    let fixture = Fixture::new().await;
    let (store, workspace) = (&fixture.store, fixture.workspace);
    let made = store.create_secret(workspace, "API_KEY", "one").await.unwrap();
    assert_eq!((made.name.as_str(), made.value.as_str()), ("API_KEY", "one"));
    let error = store.create_secret(workspace, "API_KEY", "two").await.unwrap_err();
    assert!(matches!(error, StoreError::Exists { .. }), "{error}");
    assert!(store.update_secret(workspace, "API_KEY", "three").await.unwrap());
    assert!(!store.update_secret(workspace, "OTHER", "x").await.unwrap());
    store.create_secret(workspace, "EMPTY", "").await.unwrap();

    let fixture = fixture.reopen().await;
    let store = &fixture.store;
    assert_eq!(value(store, workspace, "API_KEY").await.as_deref(), Some("three"));
    assert_eq!(value(store, workspace, "EMPTY").await.as_deref(), Some(""));
    let names: Vec<_> =
        store.list_secrets(workspace).await.unwrap().into_iter().map(|row| row.name).collect();
    assert_eq!(names, ["API_KEY", "EMPTY"]);
    let values = store.secret_values(workspace, &["API_KEY".into()]).await.unwrap();
    assert_eq!(values["API_KEY"], "three");
    let error = store.secret_values(workspace, &["NO".into()]).await.unwrap_err();
    assert_eq!(error.to_string(), "there is no secret `NO`");
    assert!(store.delete_secret(workspace, "API_KEY").await.unwrap());
    assert_eq!(value(store, workspace, "API_KEY").await, None);
}

#[tokio::test]
async fn values_are_not_readable_in_the_files() {
    let fixture = Fixture::new().await;
    let (store, workspace) = (&fixture.store, fixture.workspace);
    store.create_secret(workspace, "NAME_IN_FILE", "value-not-in-file").await.unwrap();
    store.update_secret(workspace, "NAME_IN_FILE", "value-not-in-file-either").await.unwrap();
    let bytes = all_bytes(fixture.dir.path());
    assert!(contains(&bytes, "NAME_IN_FILE"), "the search itself must work");
    assert!(!contains(&bytes, "value-not-in-file"));
}

#[tokio::test]
async fn a_value_moved_to_another_name_does_not_open() {
    let fixture = Fixture::new().await;
    fixture.store.create_secret(fixture.workspace, "LOW", "low").await.unwrap();
    fixture.store.create_secret(fixture.workspace, "HIGH", "high").await.unwrap();
    fixture.store.close().await;
    let file = fixture.dir.path().join("state.db");
    let options = sqlx::sqlite::SqliteConnectOptions::new().filename(&file);
    let pool = sqlx::SqlitePool::connect_with(options).await.unwrap();
    sqlx::query(
        "UPDATE secrets SET (nonce, sealed) = (SELECT nonce, sealed FROM secrets \
         WHERE name = 'HIGH') WHERE name = 'LOW'",
    )
    .execute(&pool)
    .await
    .unwrap();
    pool.close().await;
    let store = Store::open(fixture.dir.path()).await.unwrap();
    let error = store.secret(fixture.workspace, "LOW").await.unwrap_err();
    assert!(matches!(error, StoreError::Corrupt { .. }), "{error}");
    assert_eq!(value(&store, fixture.workspace, "HIGH").await.as_deref(), Some("high"));
}

#[tokio::test]
async fn names_that_are_no_environment_variables_are_refused() {
    let fixture = Fixture::new().await;
    for name in ["", "1A", "A-B", "A B", "Ä", "A\0", &"A".repeat(300)] {
        let error = fixture.store.create_secret(fixture.workspace, name, "x").await.unwrap_err();
        assert!(matches!(error, StoreError::Invalid { .. }), "{name}: {error}");
    }
    for name in ["_", "a1", "A_B"] {
        fixture.store.create_secret(fixture.workspace, name, "x").await.unwrap();
    }
}

#[tokio::test]
async fn a_secret_of_another_workspace_is_not_there() {
    let fixture = Fixture::new().await;
    fixture.store.create_secret(fixture.workspace, "A", "x").await.unwrap();
    assert_eq!(value(&fixture.store, stranger(), "A").await, None);
    assert!(fixture.store.list_secrets(stranger()).await.unwrap().is_empty());
    assert!(!fixture.store.delete_secret(stranger(), "A").await.unwrap());
    assert!(!fixture.store.update_secret(stranger(), "A", "y").await.unwrap());
}

#[tokio::test]
async fn a_workspace_has_so_many_secrets_of_such_a_size() {
    let fixture = Fixture::new().await;
    let (store, workspace) = (&fixture.store, fixture.workspace);
    let large = "x".repeat(1024 * 1024 + 1);
    store.create_secret(workspace, "LARGE", &large[1..]).await.unwrap();
    let refused = store.create_secret(workspace, "LARGER", &large).await.unwrap_err().to_string();
    assert!(refused.contains("may be 1 MiB") && refused.contains("hint:"), "{refused}");
    assert!(store.update_secret(workspace, "LARGE", &large).await.is_err());

    let url = format!("sqlite://{}/state.db", fixture.dir.path().display());
    let mut outside = SqliteConnection::connect(&url).await.unwrap();
    let fill = "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 999) \
                INSERT INTO secrets (id, workspace, name, nonce, sealed, created_at, updated_at) \
                SELECT randomblob(16), ?, 'S' || i, x'00', x'00', 1, 1 FROM n";
    sqlx::query(fill).bind(&workspace.0.as_bytes()[..]).execute(&mut outside).await.unwrap();
    let refused = store.create_secret(workspace, "MORE", "x").await.unwrap_err().to_string();
    assert!(refused.contains("1000 secrets") && refused.contains("hint:"), "{refused}");
    let there = store.create_secret(workspace, "LARGE", "x").await.unwrap_err();
    assert!(matches!(there, StoreError::Exists { .. }), "{there:?}");
    assert!(store.delete_secret(workspace, "S1").await.unwrap());
    store.create_secret(workspace, "MORE", "x").await.unwrap();
}
