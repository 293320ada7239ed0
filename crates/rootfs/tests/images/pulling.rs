//! What a registry sends, and what is made of it.

use std::sync::Mutex;

use metal9_rootfs::{Credentials, Images, Progress, RootfsError, Settings};

use crate::made::{self, Packing, image, layer, noise, push_index, top};
use crate::proxy::{Fault, Proxy};
use crate::server::{ACCOUNT, Server, cache, settings};

/// Names the process that is to be killed, and what it pulls into which cache.
const CHILD: &str = "METAL9_ROOTFS_CHILD";

fn ignore(_: Progress) {}

/// Waits until what has come is in the cache, too.
async fn until_kept(cache: &std::path::Path, proxy: &Proxy) {
    let kept = || {
        let files = cache.join("blobs").read_dir().into_iter().flatten().flatten();
        files.map(|file| file.metadata().map_or(0, |facts| facts.len())).sum::<u64>()
    };
    let wait = async {
        // Headers and manifests come, too.
        while kept() + (64 << 10) < proxy.carried() {
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(std::time::Duration::from_secs(30), wait).await.expect("nothing came");
}

#[tokio::test(flavor = "multi_thread")]
async fn layers_are_fetched_once_however_they_are_packed() {
    let server = Server::start();
    let layers = [layer(&[("a", b"1")]), layer(&[("a", b"2"), ("b/", b"")]), layer(&[("a", b"3")])];
    let first = format!("{}/one:latest", server.host);
    let packings = [Packing::Plain, Packing::Gzip, Packing::Zstd];
    let digest = image(&layers).packed(&packings).push(&first).await;
    let (_directory, images) = cache(settings(&[&server.host])).await;
    let events = Mutex::new(Vec::new());
    let tell = |event| events.lock().unwrap().push(event);
    let pulled = images.pull(&first, None, tell).await.unwrap();
    assert_eq!(pulled.digest, digest);
    assert_eq!((pulled.layers.len(), top(&pulled, "a")), (3, "3".to_owned()));
    assert_eq!(pulled.config.env[1], ("A".to_owned(), "1".to_owned()));
    assert_eq!(pulled.config.workdir.as_deref(), Some("/srv"));
    assert_eq!(pulled.config.user.as_deref(), Some("7:8"));
    assert_eq!(pulled.config.entrypoint, ["/bin/sh"]);
    let events = events.into_inner().unwrap();
    assert!(matches!(&events[0], Progress::Resolved { missing: 3, .. }), "{events:?}");
    assert_eq!(events.last(), Some(&Progress::Unpacked { missing: 0 }));

    // Another image with the same layers, and one more.
    let more = [&layers[..], &[layer(&[("c", b"4")])]].concat();
    let second = format!("{}/two:latest", server.host);
    image(&more).push(&second).await;
    let events = Mutex::new(Vec::new());
    let tell = |event| events.lock().unwrap().push(event);
    let other = images.pull(&second, None, tell).await.unwrap();
    assert_eq!(other.layers[1..], pulled.layers);
    let events = events.into_inner().unwrap();
    assert!(matches!(&events[0], Progress::Resolved { missing: 1, .. }), "{events:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_digest_is_asked_for_once_and_a_tag_each_time() {
    let mut server = Server::start();
    let name = format!("{}/it:latest", server.host);
    let old = image(&[layer(&[("a", b"old")])]).push(&name).await;
    let (directory, images) = cache(settings(&[&server.host])).await;
    let pinned = format!("{}/it@{old}", server.host);
    assert_eq!(top(&images.pull(&pinned, None, ignore).await.unwrap(), "a"), "old");
    let new = image(&[layer(&[("a", b"new")])]).push(&name).await;
    assert_eq!(images.resolve(&name, None).await.unwrap(), new);
    assert_eq!(images.pull(&name, None, ignore).await.unwrap().digest, new);
    assert_eq!(images.get(&old).unwrap().digest, old);

    // Also by the process after this one.
    server.stop();
    drop(images);
    let images = Images::open(directory.path(), settings(&[&server.host])).await.unwrap();
    assert_eq!(images.pull(&pinned, None, ignore).await.unwrap().digest, old);
    let warnings = Mutex::new(Vec::new());
    let tell = |event| warnings.lock().unwrap().push(event);
    assert_eq!(images.pull(&name, None, tell).await.unwrap().digest, new);
    let warnings = warnings.into_inner().unwrap();
    assert!(matches!(&warnings[..], [Progress::Warning(text)] if text.contains(&new)));
    let unknown = images.pull(&format!("{}/other", server.host), None, ignore).await;
    assert!(matches!(unknown, Err(RootfsError::Registry { .. })), "{unknown:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_index_leads_to_what_is_for_this_machine() {
    let server = Server::start();
    let name = |tag: &str| format!("{}/it:{tag}", server.host);
    let ours = image(&[layer(&[("a", b"ours")])]).push(&name("ours")).await;
    let theirs = image(&[layer(&[("a", b"theirs")])]).foreign();
    let foreign = theirs.push(&name("theirs")).await;
    let here = if cfg!(target_arch = "aarch64") { "arm64" } else { "amd64" };
    let index = push_index(&name("all"), &[("s390x", &foreign), (here, &ours)]).await;
    let (_directory, images) = cache(settings(&[&server.host])).await;
    let pulled = images.pull(&name("all"), None, ignore).await.unwrap();
    assert_eq!((pulled.digest.as_str(), top(&pulled, "a").as_str()), (ours.as_str(), "ours"));
    let pinned = format!("{}/it@{index}", server.host);
    assert_eq!(images.pull(&pinned, None, ignore).await.unwrap().digest, ours);
    for (name, what) in [(name("theirs"), "s390x"), (name("only"), "linux/s390x")] {
        push_index(&format!("{}/it:only", server.host), &[("s390x", &foreign)]).await;
        let error = images.pull(&name, None, ignore).await.unwrap_err();
        assert!(matches!(error, RootfsError::Platform { .. }), "{error:?}");
        assert!(error.to_string().contains(what), "{error}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_private_image_is_for_those_who_may_read_it() {
    let server = Server::private();
    let name = format!("{}/it:latest", server.host);
    let digest = image(&[layer(&[("a", b"secret")])]).push(&name).await;
    let (_directory, images) = cache(settings(&[&server.host])).await;
    let who = |password: &str| Credentials { user: ACCOUNT.0.into(), password: password.into() };
    let pinned = format!("{}/it@{digest}", server.host);
    images.pull(&pinned, Some(&who(ACCOUNT.1)), ignore).await.unwrap();
    // It is here, and still nobody else gets it.
    for credentials in [None, Some(who("wrong"))] {
        let error = images.pull(&pinned, credentials.as_ref(), ignore).await.unwrap_err();
        assert!(matches!(error, RootfsError::Unauthorized { .. }), "{error:?}");
        assert!(error.hint().unwrap().contains("credentials"));
    }
    let missing = images.pull(&format!("{}/no", server.host), Some(&who(ACCOUNT.1)), ignore).await;
    assert!(matches!(missing, Err(RootfsError::NotFound { .. })), "{missing:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fetch_that_is_cut_goes_on_where_it_was() {
    let server = Server::start();
    let made = image(&[layer(&[("noise", &noise(2 << 20, 1))])]);
    let size = made.blobs()[0].len() as u64;
    made.push(&format!("{}/it:latest", server.host)).await;
    let mut proxy = Proxy::start(&server.host, Fault::Cut, 3, 512 << 10).await;
    let (_directory, images) = cache(settings(&[&proxy.host])).await;
    let fetched = Mutex::new(0);
    let tell = |event| {
        if let Progress::Fetched { bytes, .. } = event {
            *fetched.lock().unwrap() = bytes;
        }
    };
    let pulled = images.pull(&format!("{}/it:latest", proxy.host), None, tell).await.unwrap();
    proxy.faults(3).await;
    assert_eq!(std::fs::read(pulled.layers[0].join("noise")).unwrap(), noise(2 << 20, 1));
    assert_eq!(*fetched.lock().unwrap(), size);
    let carried = proxy.carried();
    assert!(carried < size + (256 << 10), "{carried} bytes came for a layer of {size}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_registry_that_always_breaks_off_is_given_up() {
    let server = Server::start();
    let made = image(&[layer(&[("noise", &noise(1 << 20, 2))])]);
    made.push(&format!("{}/it:latest", server.host)).await;
    // Enough for the manifest, and for nothing of the layer.
    let proxy = Proxy::start(&server.host, Fault::Cut, usize::MAX, 4096).await;
    let (_directory, images) = cache(settings(&[&proxy.host])).await;
    let error = images.pull(&format!("{}/it:latest", proxy.host), None, ignore).await.unwrap_err();
    assert!(matches!(error, RootfsError::Registry { .. }), "{error:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn bytes_that_are_others_than_the_digest_says_are_refused() {
    let server = Server::start();
    let made = image(&[layer(&[("noise", &noise(1 << 20, 3))])]);
    let name = format!("{}/it:latest", server.host);
    made.push(&name).await;
    let blob = server.blob(&made::digest(&made.blobs()[0]));
    let whole = std::fs::read(&blob).unwrap();
    let mut spoilt = whole.clone();
    spoilt[500_000] ^= 1;
    std::fs::write(&blob, spoilt).unwrap();
    let (directory, images) = cache(settings(&[&server.host])).await;
    let error = images.pull(&name, None, ignore).await.unwrap_err();
    assert!(matches!(error, RootfsError::Digest { .. }), "{error:?}");
    for empty in ["layers", "images", "blobs", "tmp"] {
        assert_eq!(directory.path().join(empty).read_dir().unwrap().count(), 0, "{empty}");
    }
    std::fs::write(&blob, whole).unwrap();
    images.pull(&name, None, ignore).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn an_image_over_a_limit_is_refused_and_leaves_nothing() {
    let server = Server::start();
    let name = format!("{}/it:latest", server.host);
    // Packs to almost nothing.
    image(&[layer(&[("a", &vec![0; 4 << 20]), ("b", b"")])]).push(&name).await;
    let base = settings(&[&server.host]);
    let small = [
        Settings { max_layer_bytes: 1 << 20, ..base.clone() },
        Settings { max_image_bytes: 1 << 20, ..base.clone() },
        Settings { max_entries: 1, ..base.clone() },
        // Seen before a byte of the layer comes.
        Settings { max_layer_bytes: 100, ..base },
    ];
    for settings in small {
        let (directory, images) = cache(settings.clone()).await;
        let error = images.pull(&name, None, ignore).await.unwrap_err();
        let is_limit = matches!(error, RootfsError::TooLarge { .. } | RootfsError::TooMany { .. });
        assert!(is_limit && error.hint().is_some(), "{settings:?}: {error:?}");
        for empty in ["layers", "images", "tmp"] {
            assert_eq!(directory.path().join(empty).read_dir().unwrap().count(), 0, "{empty}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn many_who_want_the_same_image_fetch_it_once() {
    let server = Server::start();
    let made = image(&[layer(&[("noise", &noise(2 << 20, 4))])]);
    made.push(&format!("{}/it:latest", server.host)).await;
    let proxy = Proxy::start(&server.host, Fault::Cut, 0, 0).await;
    let (_directory, images) = cache(settings(&[&proxy.host])).await;
    let name = format!("{}/it:latest", proxy.host);
    let pulls = (0..8).map(|_| images.pull(&name, None, ignore));
    let pulled = futures::future::try_join_all(pulls).await.unwrap();
    assert!(pulled.windows(2).all(|two| two[0].layers == two[1].layers));
    assert!(proxy.carried() < made.blobs()[0].len() as u64 + (256 << 10));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_process_that_is_killed_leaves_nothing_half_made() {
    if let Ok(task) = std::env::var(CHILD) {
        let (directory, name) = task.split_once(' ').unwrap();
        let host = name.split_once('/').unwrap().0;
        let images = Images::open(directory.as_ref(), settings(&[host])).await.unwrap();
        images.pull(name, None, ignore).await.unwrap();
        panic!("it was not killed");
    }
    let server = Server::start();
    let made = image(&[layer(&[("small", b"1")]), layer(&[("noise", &noise(2 << 20, 5))])]);
    let size: u64 = made.blobs().iter().map(|blob| blob.len() as u64).sum();
    made.push(&format!("{}/it:latest", server.host)).await;
    let mut proxy = Proxy::start(&server.host, Fault::Stall, 1, 1 << 20).await;
    let name = format!("{}/it:latest", proxy.host);
    let directory = tempfile::tempdir().unwrap();
    let mut child = tokio::process::Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "pulling::a_process_that_is_killed_leaves_nothing_half_made"])
        .env(CHILD, format!("{} {name}", directory.path().display()))
        .stdout(std::process::Stdio::null())
        .spawn()
        .unwrap();
    proxy.faults(1).await;
    until_kept(directory.path(), &proxy).await;
    let settings = settings(&[&proxy.host]);
    let busy = Images::open(directory.path(), settings.clone()).await.unwrap_err();
    assert!(matches!(busy, RootfsError::InUse(_)), "{busy:?}");
    child.kill().await.unwrap();
    let images = Images::open(directory.path(), settings).await.unwrap();
    assert_eq!(directory.path().join("tmp").read_dir().unwrap().count(), 0);
    let pulled = images.pull(&name, None, ignore).await.unwrap();
    assert_eq!(std::fs::read(pulled.layers[0].join("noise")).unwrap(), noise(2 << 20, 5));
    assert!(proxy.carried() < size + (256 << 10), "what was there came again");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pull_that_is_given_up_keeps_what_has_come() {
    let server = Server::start();
    let made = image(&[layer(&[("noise", &noise(2 << 20, 6))])]);
    made.push(&format!("{}/it:latest", server.host)).await;
    let mut proxy = Proxy::start(&server.host, Fault::Stall, 1, 1 << 20).await;
    let name = format!("{}/it:latest", proxy.host);
    let (directory, images) = cache(settings(&[&proxy.host])).await;
    let given_up = async {
        proxy.faults(1).await;
        until_kept(directory.path(), &proxy).await;
    };
    tokio::select! {
        _ = images.pull(&name, None, ignore) => panic!("it ended"),
        () = given_up => {}
    }
    images.pull(&name, None, ignore).await.unwrap();
    assert!(proxy.carried() < made.blobs()[0].len() as u64 + (256 << 10));
}
