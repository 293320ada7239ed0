use serde_json::json;

use super::*;

const HERE: (&str, &str) = ("linux", "amd64");

fn settings() -> Settings {
    Settings {
        budget_bytes: 0,
        max_image_bytes: 100,
        max_layer_bytes: 60,
        max_entries: 1,
        uid_shift: 0,
        insecure_registries: Vec::new(),
    }
}

fn digest(name: &str) -> String {
    Digest::of(name.as_bytes()).to_string()
}

fn manifest(sizes: &[i64]) -> OciImageManifest {
    let descriptor = |size: &i64| {
        json!({
            "mediaType": "application/vnd.oci.image.layer.v1.tar+gzip",
            "digest": digest("layer"),
            "size": size,
        })
    };
    let layers: Vec<_> = sizes.iter().map(descriptor).collect();
    let text = json!({ "schemaVersion": 2, "config": descriptor(&1), "layers": layers });
    match parse(text.to_string().as_bytes(), "it").unwrap() {
        OciManifest::Image(manifest) => manifest,
        OciManifest::ImageIndex(_) => panic!("it is an index"),
    }
}

fn entries(platforms: &[Option<(&str, &str)>]) -> Vec<ImageIndexEntry> {
    let entry = |(at, platform): (usize, &Option<(&str, &str)>)| {
        let mut entry = json!({
            "mediaType": "application/vnd.oci.image.manifest.v1+json",
            "digest": digest(&at.to_string()),
            "size": 1,
        });
        if let Some((os, architecture)) = platform {
            entry["platform"] = json!({ "os": os, "architecture": architecture });
        }
        serde_json::from_value(entry).unwrap()
    };
    platforms.iter().enumerate().map(entry).collect()
}

#[test]
fn an_index_gives_what_is_for_this_machine() {
    let both = entries(&[Some(("linux", "arm64")), Some(HERE), Some(("unknown", "unknown"))]);
    assert_eq!(choose(&both, HERE).unwrap().digest, digest("1"));
    assert_eq!(choose(&both, ("linux", "arm64")).unwrap().digest, digest("0"));
    let error = choose(&both[..1], HERE).unwrap_err().to_string();
    assert_eq!(error, "the image is for linux/arm64, and this machine is linux/amd64");
    assert_eq!(choose(&entries(&[None]), HERE).unwrap().digest, digest("0"));
    assert!(choose(&entries(&[None, None]), HERE).is_err());
}

#[test]
fn sizes_are_checked_before_anything_is_fetched() {
    assert_eq!(blobs(&manifest(&[50, 50]), &settings()).unwrap().len(), 2);
    let too_large = |sizes: &[i64]| {
        matches!(blobs(&manifest(sizes), &settings()), Err(RootfsError::TooLarge { .. }))
    };
    assert!(too_large(&[61]) && too_large(&[50, 51]) && too_large(&[i64::MAX, i64::MAX]));
    assert!(blobs(&manifest(&[-1]), &settings()).is_err());
    assert!(blobs(&manifest(&[0; MOST_LAYERS + 1]), &settings()).is_err());
}

#[test]
fn a_configuration_says_how_programs_start() {
    let text = json!({
        "os": "linux",
        "architecture": "amd64",
        "rootfs": { "type": "layers", "diff_ids": [digest("a")] },
        "config": { "Env": ["A=b=c", "D"], "WorkingDir": "", "User": "me", "Cmd": ["sh"] },
    });
    let text = text.to_string();
    let (ids, config) = super::config(text.as_bytes(), 1, HERE).unwrap();
    assert_eq!(ids, [Digest::of(b"a")]);
    let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    assert_eq!(config.env, [pair("A", "b=c"), pair("D", "")]);
    assert_eq!((config.workdir, config.user.as_deref()), (None, Some("me")));
    assert_eq!((config.entrypoint, config.cmd), (vec![], vec!["sh".to_owned()]));
    assert!(super::config(text.as_bytes(), 2, HERE).is_err());
    assert!(super::config(text.as_bytes(), 1, ("linux", "arm64")).is_err());
}

#[test]
fn what_is_no_manifest_is_refused() {
    for text in ["", "[]", "{}", r#"{"schemaVersion":1}"#, r#"{"schemaVersion":2}"#] {
        assert!(parse(text.as_bytes(), "it").is_err(), "{text}");
    }
}
