//! Images that are made for a test.

use std::io::Write;

use metal9_rootfs::Image;
use oci_client::Reference;
use oci_client::client::{Client, ClientConfig, ClientProtocol, Config, ImageLayer};
use oci_client::manifest::{IMAGE_LAYER_GZIP_MEDIA_TYPE, OciImageIndex};
use oci_client::secrets::RegistryAuth;
use serde_json::{Value, json};
use sha2::Digest;

use crate::server::ACCOUNT;

/// How a layer is packed.
#[derive(Clone, Copy)]
pub(crate) enum Packing {
    Plain,
    Gzip,
    Zstd,
}

/// A layer of files with their contents; a name that ends in `/` is a directory.
pub(crate) fn layer(files: &[(&str, &[u8])]) -> Vec<u8> {
    let mut builder = tar::Builder::new(Vec::new());
    for (name, contents) in files {
        let mut header = tar::Header::new_gnu();
        let is_dir = name.ends_with('/');
        header.set_entry_type(if is_dir {
            tar::EntryType::Directory
        } else {
            tar::EntryType::Regular
        });
        header.set_size(contents.len() as u64);
        header.set_mode(0o755);
        header.set_uid(0);
        header.set_gid(0);
        header.set_mtime(0);
        builder.append_data(&mut header, name, *contents).unwrap();
    }
    builder.into_inner().unwrap()
}

/// Bytes that pack badly, always the same.
pub(crate) fn noise(length: usize, seed: u32) -> Vec<u8> {
    let mut state = seed | 1;
    let next = || {
        state ^= state << 13;
        state ^= state >> 17;
        state ^= state << 5;
        state.to_le_bytes()[1]
    };
    std::iter::repeat_with(next).take(length).collect()
}

/// An image that is not pushed yet.
pub(crate) struct Made {
    layers: Vec<(Vec<u8>, Packing)>,
    architecture: &'static str,
}

pub(crate) fn image(layers: &[Vec<u8>]) -> Made {
    let architecture = if cfg!(target_arch = "aarch64") { "arm64" } else { "amd64" };
    Made { layers: layers.iter().map(|it| (it.clone(), Packing::Gzip)).collect(), architecture }
}

impl Made {
    pub(crate) fn packed(mut self, packings: &[Packing]) -> Self {
        for ((_, packing), wanted) in self.layers.iter_mut().zip(packings) {
            *packing = *wanted;
        }
        self
    }

    pub(crate) fn foreign(mut self) -> Self {
        self.architecture = "s390x";
        self
    }

    fn config(&self) -> Vec<u8> {
        let diff_ids: Vec<String> = self.layers.iter().map(|(plain, _)| digest(plain)).collect();
        let config = json!({
            "os": "linux",
            "architecture": self.architecture,
            "rootfs": { "type": "layers", "diff_ids": diff_ids },
            // Buildah counts them.
            "history": vec![json!({ "created_by": "a test" }); self.layers.len()],
            "config": {
                "Env": ["PATH=/bin", "A=1"],
                "WorkingDir": "/srv",
                "User": "7:8",
                "Entrypoint": ["/bin/sh"],
                "Cmd": ["-c", "true"],
            },
        });
        config.to_string().into_bytes()
    }

    /// The layers as they are sent.
    pub(crate) fn blobs(&self) -> Vec<Vec<u8>> {
        self.layers.iter().map(|(plain, packing)| pack(plain, *packing)).collect()
    }

    /// Pushes it; returns the digest of its manifest.
    pub(crate) async fn push(&self, reference: &str) -> String {
        let reference: Reference = reference.parse().unwrap();
        let kind = IMAGE_LAYER_GZIP_MEDIA_TYPE.to_owned();
        let blobs = self.blobs().into_iter();
        let layers: Vec<_> = blobs.map(|it| ImageLayer::new(it, kind.clone(), None)).collect();
        let config = Config::oci_v1(self.config(), None);
        let client = client();
        let auth = RegistryAuth::Basic(ACCOUNT.0.to_owned(), ACCOUNT.1.to_owned());
        client.push(&reference, &layers, config, &auth, None).await.unwrap();
        client.fetch_manifest_digest(&reference, &auth).await.unwrap()
    }

    /// Writes it as an OCI image layout.
    pub(crate) fn layout(&self, directory: &std::path::Path) -> String {
        let blobs = directory.join("blobs/sha256");
        std::fs::create_dir_all(&blobs).unwrap();
        let put = |bytes: &[u8]| {
            let digest = digest(bytes);
            std::fs::write(blobs.join(&digest[7..]), bytes).unwrap();
            json!({ "mediaType": "application/x", "digest": digest, "size": bytes.len() })
        };
        let layers: Vec<Value> = self.blobs().iter().map(|it| put(it)).collect();
        let config = put(&self.config());
        let manifest = json!({ "schemaVersion": 2, "config": config, "layers": layers });
        let manifest = put(manifest.to_string().as_bytes());
        let index = json!({ "schemaVersion": 2, "manifests": [manifest] });
        std::fs::write(directory.join("index.json"), index.to_string()).unwrap();
        std::fs::write(directory.join("oci-layout"), r#"{"imageLayoutVersion":"1.0.0"}"#).unwrap();
        manifest["digest"].as_str().unwrap().to_owned()
    }
}

/// Pushes an index of manifests that are there, by architecture and digest.
pub(crate) async fn push_index(reference: &str, of: &[(&str, &str)]) -> String {
    let reference: Reference = reference.parse().unwrap();
    let entry = |(architecture, digest): &(&str, &str)| {
        json!({
            "mediaType": "application/vnd.oci.image.manifest.v1+json",
            "digest": digest,
            "size": 1,
            "platform": { "os": "linux", "architecture": architecture },
        })
    };
    let index = json!({
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.index.v1+json",
        "manifests": of.iter().map(entry).collect::<Vec<_>>(),
    });
    let index: OciImageIndex = serde_json::from_value(index).unwrap();
    let client = client();
    client.push_manifest_list(&reference, &RegistryAuth::Anonymous, index).await.unwrap();
    client.fetch_manifest_digest(&reference, &RegistryAuth::Anonymous).await.unwrap()
}

fn client() -> Client {
    metal9_tls::use_for_everything();
    let config = ClientConfig { protocol: ClientProtocol::Http, ..ClientConfig::default() };
    Client::try_from(config).unwrap()
}

pub(crate) fn digest(bytes: &[u8]) -> String {
    let hex: String = sha2::Sha256::digest(bytes).iter().map(|it| format!("{it:02x}")).collect();
    format!("sha256:{hex}")
}

fn pack(plain: &[u8], packing: Packing) -> Vec<u8> {
    match packing {
        Packing::Plain => plain.to_vec(),
        Packing::Gzip => {
            let mut packer = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
            packer.write_all(plain).unwrap();
            packer.finish().unwrap()
        }
        Packing::Zstd => {
            let level = ruzstd::encoding::CompressionLevel::Fastest;
            ruzstd::encoding::compress_to_vec(plain, level)
        }
    }
}

/// The text of a file in an image's top layer.
pub(crate) fn top(image: &Image, name: &str) -> String {
    std::fs::read_to_string(image.layers[0].join(name)).unwrap()
}
