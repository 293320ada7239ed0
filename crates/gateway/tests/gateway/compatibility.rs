//! Which calls of the client API a gateway serves: asked of a gateway, and kept in docs/from-beta9.md.
//!
//! The part of that page between two marks is made here. After a change, it is brought up to date by
//! `METAL9_UPDATE_DOCS=1 cargo test -p metal9-gateway --test gateway compatibility`.

use std::fmt::Write as _;
use std::path::Path;

use anyhow::{Context as _, Result, ensure};
use bytes::{Buf, BufMut, Bytes};
use metal9_proto::FILE_DESCRIPTOR_SET;
use metal9_testkit::Client;
use prost::Message as _;
use prost_types::FileDescriptorSet;
use tonic::Code;
use tonic::client::Grpc;
use tonic::codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder};

use crate::fixture::fresh;

const BEGIN: &str = "<!-- what the gateway answers: made by a test -->\n";
const END: &str = "<!-- until here -->\n";
/// Our own side of the protocol, which no SDK speaks.
const OURS: &str = "metal9.";

/// Messages as bytes.
#[derive(Clone, Copy, Debug, Default)]
struct Raw;

impl Codec for Raw {
    type Encode = Bytes;
    type Decode = Bytes;
    type Encoder = Self;
    type Decoder = Self;

    fn encoder(&mut self) -> Self {
        *self
    }

    fn decoder(&mut self) -> Self {
        *self
    }
}

impl Encoder for Raw {
    type Item = Bytes;
    type Error = tonic::Status;

    fn encode(&mut self, item: Bytes, buffer: &mut EncodeBuf<'_>) -> Result<(), tonic::Status> {
        buffer.put(item);
        Ok(())
    }
}

impl Decoder for Raw {
    type Item = Bytes;
    type Error = tonic::Status;

    fn decode(&mut self, buffer: &mut DecodeBuf<'_>) -> Result<Option<Bytes>, tonic::Status> {
        Ok(Some(buffer.copy_to_bytes(buffer.remaining())))
    }
}

/// Every service of the client API with its methods, in the order of the protocol's files.
fn services() -> Result<Vec<(String, Vec<String>)>> {
    let files = FileDescriptorSet::decode(FILE_DESCRIPTOR_SET)?.file;
    let mut services = Vec::new();
    for file in files.iter().filter(|file| !file.package().starts_with(OURS)) {
        for service in &file.service {
            let methods = service.method.iter().map(|method| method.name().to_owned()).collect();
            services.push((format!("{}.{}", file.package(), service.name()), methods));
        }
    }
    ensure!(!services.is_empty(), "the client API has no services");
    services.sort();
    Ok(services)
}

/// What is said of every call that is not served, and of no other.
const REFUSES: &str = " does not support ";

/// What a gateway says to a call with an empty message if it does not serve it; nothing if it does.
async fn refusal(client: &Client, service: &str, method: &str) -> Result<Option<String>> {
    let mut grpc = Grpc::new(client.channel());
    grpc.ready().await.context("the gateway is not there")?;
    let path = format!("/{service}/{method}").parse()?;
    let request = client.request(tokio_stream::once(Bytes::new()))?;
    let status = match grpc.streaming(request, path, Raw).await {
        // Whatever becomes of it, it is served.
        Ok(_) => return Ok(None),
        Err(status) => status,
    };
    ensure!(status.code() != Code::Unauthenticated, "{service}/{method}: {status:?}");
    let refuses = status.message().starts_with("metal9 ") && status.message().contains(REFUSES);
    Ok((status.code() == Code::InvalidArgument && refuses).then(|| status.message().to_owned()))
}

/// The part of the page that says what works.
async fn table(client: &Client) -> Result<String> {
    let (mut rows, mut served, mut all) = (String::new(), 0, 0);
    for (service, methods) in services()? {
        for method in methods {
            let refusal = refusal(client, &service, &method).await?;
            all += 1;
            served += usize::from(refusal.is_none());
            let answer = match refusal {
                None => "works".to_owned(),
                Some(text) => {
                    // The version is of no interest here, and changes.
                    let version = concat!(" ", env!("CARGO_PKG_VERSION"));
                    format!("refuses: {}", text.replace(version, ""))
                }
            };
            writeln!(rows, "| `{service}/{method}` | {answer} |")?;
        }
    }
    Ok(format!("{served} of {all} calls work.\n\n| call | |\n|---|---|\n{rows}"))
}

#[tokio::test]
async fn the_page_for_those_who_come_says_what_the_gateway_serves() -> Result<()> {
    let fixture = fresh().await?;
    let client = fixture.client().await?;
    let table = table(&client).await?;
    fixture.running.stop().await?;

    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/from-beta9.md");
    let text = std::fs::read_to_string(&page)?;
    let (before, rest) = text.split_once(BEGIN).context("the page has no place for the table")?;
    let (kept, after) = rest.split_once(END).context("the page's table has no end")?;
    if std::env::var_os("METAL9_UPDATE_DOCS").is_some() {
        std::fs::write(&page, format!("{before}{BEGIN}\n{table}\n{END}{after}"))?;
        return Ok(());
    }
    ensure!(
        kept.trim() == table.trim(),
        "docs/from-beta9.md is not what the gateway answers; run\n\
         METAL9_UPDATE_DOCS=1 cargo test -p metal9-gateway --test gateway compatibility"
    );
    Ok(())
}
