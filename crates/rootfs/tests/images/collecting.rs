//! What is removed when there is too much.

use metal9_rootfs::Settings;

use crate::made::{image, layer, noise};
use crate::server::{cache, settings};

#[tokio::test(flavor = "multi_thread")]
async fn what_was_not_used_for_longest_goes_unless_it_is_held() {
    let base = layer(&[("base", &noise(1 << 20, 7))]);
    let (directory, images) = cache(Settings { budget_bytes: 5 << 19, ..settings(&[]) }).await;
    let mut loaded = Vec::new();
    for at in 0..3 {
        let source = tempfile::tempdir().unwrap();
        let own = layer(&[("own", &noise(1 << 20, 11 + 2 * at))]);
        image(&[base.clone(), own]).layout(source.path());
        loaded.push(images.load(source.path()).await.unwrap());
    }
    let [first, second, third] = loaded.try_into().unwrap();
    // All three are in use, and together too large.
    let collected = images.collect(u64::MAX).await.unwrap();
    assert_eq!((collected.images, collected.layers), (0, 0));
    let lease = first.lease.clone();
    let digests = [&first, &second, &third].map(|image| image.digest.clone());
    drop((first, second, third));
    let [first, second, third] = digests;
    // The lease of the first is still held.
    let collected = images.collect(u64::MAX).await.unwrap();
    assert_eq!((collected.images, collected.layers), (2, 2), "{collected:?}");
    assert!(images.get(&first).is_some() && images.get(&second).is_none());
    assert!(images.get(&third).is_none());
    drop(lease);
    assert_eq!(images.collect(u64::MAX).await.unwrap().images, 0, "now it fits");
    let bytes = images.disk_bytes().await.unwrap();
    assert!(bytes >= 2 << 20, "{bytes}");
    assert_eq!(images.collect(bytes).await.unwrap().images, 0, "and so it does here");
    assert_eq!(images.collect(bytes - 1).await.unwrap().images, 1, "the disk has less room");
    assert_eq!(directory.path().join("tmp").read_dir().unwrap().count(), 0);
}
