use std::collections::HashSet;

use bytes::Bytes;
use metal9_store::{MAX_MAP_VALUE_BYTES, Quota, Store, StoreError};
use metal9_types::WorkspaceId;

use crate::fixture::{Fixture, stranger};

const DAY: i64 = 86_400;
const ROOM: Quota = Quota { entries: 1000, bytes: 64 << 20 };

fn text(value: &str) -> Bytes {
    Bytes::copy_from_slice(value.as_bytes())
}

async fn set(store: &Store, workspace: WorkspaceId, key: &str, value: &str) {
    store.map_set(workspace, "m", key, text(value), DAY, ROOM).await.unwrap();
}

async fn got(store: &Store, workspace: WorkspaceId, key: &str) -> Option<Bytes> {
    store.map_get(workspace, "m", key).await.unwrap()
}

#[tokio::test]
async fn a_map_keeps_what_was_set_in_order_over_a_restart() {
    let fixture = Fixture::new().await;
    let workspace = fixture.workspace;
    for (key, value) in [("b", "1"), ("a", "2"), ("", "empty key"), ("b", "3")] {
        set(&fixture.store, workspace, key, value).await;
    }
    let fixture = fixture.reopen().await;
    let store = &fixture.store;
    assert_eq!(got(store, workspace, "b").await, Some(text("3")));
    assert_eq!(got(store, workspace, "").await, Some(text("empty key")));
    assert_eq!(got(store, workspace, "c").await, None);
    assert_eq!(store.map_keys(workspace, "m").await.unwrap(), ["b", "a", ""]);
    assert_eq!(store.map_count(workspace, "m").await.unwrap(), 3);
    assert!(store.map_delete(workspace, "m", "a").await.unwrap());
    assert!(!store.map_delete(workspace, "m", "a").await.unwrap());
    assert_eq!(store.map_count(workspace, "m").await.unwrap(), 2);
    assert_eq!(store.map_count(workspace, "other").await.unwrap(), 0);
}

/// Puts the ends of everything into the past.
async fn expire(fixture: &Fixture) {
    let options =
        sqlx::sqlite::SqliteConnectOptions::new().filename(fixture.dir.path().join("state.db"));
    let pool = sqlx::SqlitePool::connect_with(options).await.unwrap();
    for table in ["UPDATE map_entries SET expires_at = 1", "UPDATE signals SET expires_at = 1"] {
        sqlx::query(table).execute(&pool).await.unwrap();
    }
    pool.close().await;
}

#[tokio::test]
async fn what_is_expired_is_not_seen_and_is_removed_and_counts_no_more() {
    let fixture = Fixture::new().await;
    let (store, workspace) = (&fixture.store, fixture.workspace);
    let small = Quota { entries: 3, bytes: 1 << 20 };
    store.map_set(workspace, "m", "a", text("1"), DAY, small).await.unwrap();
    store.map_set(workspace, "m", "b", text("1"), DAY, small).await.unwrap();
    store.signal_set(workspace, "s", 60, small).await.unwrap();
    let full = store.map_set(workspace, "m", "c", text("1"), DAY, small).await.unwrap_err();
    assert!(matches!(full, StoreError::OverLimit { .. }), "{full}");
    expire(&fixture).await;
    assert_eq!(got(store, workspace, "a").await, None);
    assert!(store.map_keys(workspace, "m").await.unwrap().is_empty());
    assert!(!store.map_delete(workspace, "m", "a").await.unwrap());
    assert!(!store.signal_is_set(workspace, "s").await.unwrap());
    // Nobody has swept: what is new finds room by itself.
    for key in ["c", "d", "e"] {
        store.map_set(workspace, "m", key, text("1"), DAY, small).await.unwrap();
    }
    expire(&fixture).await;
    assert_eq!(store.forget_expired(2).await.unwrap(), 2);
    assert_eq!(store.forget_expired(2).await.unwrap(), 1);
    assert_eq!(store.forget_expired(2).await.unwrap(), 0);
}

#[tokio::test]
async fn a_quota_counts_entries_and_bytes_of_maps_queues_and_signals_together() {
    let fixture = Fixture::new().await;
    let (store, workspace) = (&fixture.store, fixture.workspace);
    let quota = Quota { entries: 100, bytes: 100 };
    store.map_set(workspace, "m", "k", Bytes::from(vec![0; 50]), DAY, quota).await.unwrap();
    store.queue_put(workspace, "q", Bytes::from(vec![0; 40]), quota).await.unwrap();
    let put = store.queue_put(workspace, "q", Bytes::from(vec![0; 40]), quota).await;
    let text = put.unwrap_err().to_string();
    assert!(text.contains("max_value_mib_per_workspace") && text.contains("hint: "), "{text}");
    // A smaller value in the place of a larger one gives room.
    store.map_set(workspace, "m", "k", Bytes::from(vec![0; 5]), DAY, quota).await.unwrap();
    store.queue_put(workspace, "q", Bytes::from(vec![0; 40]), quota).await.unwrap();
    assert!(store.signal_set(workspace, "0123456789ab", 60, quota).await.is_err());
    store.queue_pop(workspace, "q").await.unwrap().unwrap();
    store.signal_set(workspace, "0123456789ab", 60, quota).await.unwrap();
    store.signal_clear(workspace, "0123456789ab").await.unwrap();
    store.map_delete(workspace, "m", "k").await.unwrap();
    store.queue_pop(workspace, "q").await.unwrap().unwrap();
    let whole = Bytes::from(vec![0; 99]);
    store.queue_put(workspace, "q", whole, quota).await.unwrap();
}

#[tokio::test]
async fn values_and_names_that_are_too_large_are_refused() {
    let fixture = Fixture::new().await;
    let (store, workspace) = (&fixture.store, fixture.workspace);
    let large = Bytes::from(vec![0; MAX_MAP_VALUE_BYTES + 1]);
    let error = store.map_set(workspace, "m", "k", large, DAY, ROOM).await.unwrap_err();
    assert!(error.to_string().contains("it may be 1 MiB"), "{error}");
    for (map, key, ttl) in [("", "k", DAY), ("m", &"k".repeat(1025), DAY), ("m", "k", 8 * DAY)] {
        let error = store.map_set(workspace, map, key, text("v"), ttl, ROOM).await.unwrap_err();
        assert!(matches!(error, StoreError::Invalid { .. }), "{error}");
    }
    assert!(store.queue_put(workspace, "a\nb", text("v"), ROOM).await.is_err());
}

#[tokio::test]
async fn a_queue_gives_its_items_in_order_over_a_restart() {
    let fixture = Fixture::new().await;
    let workspace = fixture.workspace;
    for value in ["1", "2", "3"] {
        fixture.store.queue_put(workspace, "q", text(value), ROOM).await.unwrap();
    }
    assert_eq!(fixture.store.queue_pop(workspace, "q").await.unwrap(), Some(text("1")));
    let fixture = fixture.reopen().await;
    let store = &fixture.store;
    assert_eq!(store.queue_peek(workspace, "q").await.unwrap(), Some(text("2")));
    assert_eq!(store.queue_size(workspace, "q").await.unwrap(), 2);
    assert_eq!(store.queue_pop(workspace, "q").await.unwrap(), Some(text("2")));
    assert_eq!(store.queue_pop(workspace, "q").await.unwrap(), Some(text("3")));
    assert_eq!(store.queue_pop(workspace, "q").await.unwrap(), None);
    assert!(store.queue_is_empty(workspace, "q").await.unwrap());
}

#[tokio::test]
async fn an_item_goes_to_one_of_many_who_ask_at_once() {
    let fixture = Fixture::new().await;
    let (store, workspace) = (&fixture.store, fixture.workspace);
    let puts = (0..100).map(|n| store.queue_put(workspace, "q", text(&n.to_string()), ROOM));
    futures::future::try_join_all(puts).await.unwrap();
    let pops = (0..150).map(|_| store.queue_pop(workspace, "q"));
    let given = futures::future::try_join_all(pops).await.unwrap();
    let given: Vec<_> = given.into_iter().flatten().collect();
    assert_eq!(given.len(), 100);
    assert_eq!(given.iter().collect::<HashSet<_>>().len(), 100);
}

#[tokio::test]
async fn a_signal_is_set_until_it_is_cleared() {
    let fixture = Fixture::new().await;
    let workspace = fixture.workspace;
    fixture.store.signal_set(workspace, "s", 600, ROOM).await.unwrap();
    fixture.store.signal_set(workspace, "s", 600, ROOM).await.unwrap();
    let fixture = fixture.reopen().await;
    let store = &fixture.store;
    assert!(store.signal_is_set(workspace, "s").await.unwrap());
    store.signal_clear(workspace, "s").await.unwrap();
    store.signal_clear(workspace, "s").await.unwrap();
    assert!(!store.signal_is_set(workspace, "s").await.unwrap());
}

#[tokio::test]
async fn values_of_another_workspace_are_not_there() {
    let fixture = Fixture::new().await;
    let (store, workspace) = (&fixture.store, fixture.workspace);
    set(store, workspace, "k", "v").await;
    store.queue_put(workspace, "q", text("v"), ROOM).await.unwrap();
    store.signal_set(workspace, "s", 60, ROOM).await.unwrap();
    assert_eq!(got(store, stranger(), "k").await, None);
    assert!(store.map_keys(stranger(), "m").await.unwrap().is_empty());
    assert!(!store.map_delete(stranger(), "m", "k").await.unwrap());
    assert_eq!(store.queue_pop(stranger(), "q").await.unwrap(), None);
    assert_eq!(store.queue_size(stranger(), "q").await.unwrap(), 0);
    assert!(!store.signal_is_set(stranger(), "s").await.unwrap());
    store.signal_clear(stranger(), "s").await.unwrap();
    assert!(store.signal_is_set(workspace, "s").await.unwrap());
}
