//! A client of the gateway's API without an SDK.

use std::io::{Cursor, Write as _};
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use metal9_proto::beta9::function::{FunctionInvokeRequest, FunctionInvokeResponse};
use metal9_proto::beta9::gateway as wire;
use metal9_proto::beta9::image::BuildImageRequest;
use metal9_proto::{function_client, gateway_client, image_client};
use serde_json::{Value, json};
use tonic::metadata::MetadataValue;
use tonic::transport::Channel;
use tonic::{Request, Streaming};
use zip::write::SimpleFileOptions;

/// The SDK that environments are made for: the one this version is tested with.
const SDK: &str = include_str!("../../../../python/sdk.txt");

/// The file that the jobs are in, without its ending.
const MODULE: &str = "metal9_selftest";

/// How long a message of a stream may take to come.
const SILENCE: Duration = Duration::from_secs(120);

/// Before what a job has found, in its output.
pub(super) const MARK: &str = "metal9-selftest: ";

/// A connection with a token.
#[derive(Clone, Debug)]
pub(super) struct Client {
    channel: Channel,
    token: String,
}

/// What a job asks for.
#[derive(Clone, Debug)]
pub(super) struct Ask {
    /// The function in `handlers.py`.
    pub(super) function: &'static str,
    /// In MiB.
    pub(super) memory: i64,
    /// Accelerators, in the client API's words.
    pub(super) gpu: String,
    /// Without a network.
    pub(super) block_network: bool,
}

impl Ask {
    /// A small job.
    pub(super) fn new(function: &'static str) -> Self {
        Self { function, memory: 256, gpu: String::new(), block_network: false }
    }
}

/// How a call ended.
#[derive(Clone, Debug)]
pub(super) struct End {
    pub(super) output: String,
    pub(super) exit_code: i32,
    /// Nothing if the call failed.
    pub(super) result: bool,
}

/// A call that may still run.
#[derive(Debug)]
pub(super) struct Call {
    pub(super) task: String,
    pub(super) output: String,
    stream: Streaming<FunctionInvokeResponse>,
    end: Option<(i32, bool)>,
}

impl Client {
    /// Connects.
    pub(super) async fn connect(grpc: &str, token: &str) -> Result<Self> {
        let endpoint = Channel::from_shared(format!("http://{grpc}"))?;
        Ok(Self { channel: endpoint.connect().await?, token: token.to_owned() })
    }

    fn request<T>(&self, message: T) -> Result<Request<T>> {
        let mut request = Request::new(message);
        let metadata = request.metadata_mut();
        metadata.insert("authorization", format!("Bearer {}", self.token).parse()?);
        let version = SDK.trim().rsplit("==").next().unwrap_or_default();
        let caller = MetadataValue::try_from(format!("cli/{version}"))?;
        metadata.insert("x-beta9-caller", caller);
        Ok(request)
    }

    /// Uploads the jobs' code.
    pub(super) async fn upload(&self) -> Result<String> {
        let content = archive()?;
        let piece = wire::PutObjectRequest {
            object_metadata: Some(wire::ObjectMetadata { name: MODULE.into(), size: 0 }),
            hash: format!("{MODULE}-{}", env!("CARGO_PKG_VERSION")),
            object_content: content.into(),
            overwrite: true,
        };
        let request = self.request(tokio_stream::once(piece))?;
        let answer = gateway_client(self.channel.clone()).put_object_stream(request).await;
        let answer = answer.map_err(refused)?.into_inner();
        ensure!(answer.ok, "{}", answer.error_msg);
        Ok(answer.object_id)
    }

    /// Builds an image with packages; gives its id and its Python.
    pub(super) async fn build(&self, packages: &[&str]) -> Result<(String, String)> {
        let request = BuildImageRequest {
            python_version: "python3".into(),
            python_packages: packages.iter().map(|it| (*it).to_owned()).collect(),
            ..Default::default()
        };
        let answer = image_client(self.channel.clone()).build_image(self.request(request)?).await;
        let mut stream = answer.map_err(refused)?.into_inner();
        let mut said = String::new();
        // Packages may be large, and the network slow.
        while let Some(message) = stream.message().await.map_err(refused)? {
            said += &message.msg;
            if message.done {
                ensure!(message.success, "{}", said.trim());
                return Ok((message.image_id, message.python_version));
            }
        }
        bail!("the gateway ended the build without a word")
    }

    /// Makes a stub.
    pub(super) async fn stub(&self, ask: &Ask, object: &str, image: &str) -> Result<String> {
        let handler = format!("{MODULE}:{}", ask.function);
        let request = wire::GetOrCreateStubRequest {
            object_id: object.into(),
            image_id: image.into(),
            stub_type: "function".into(),
            name: format!("function/{handler}"),
            app_name: "selftest".into(),
            python_version: "python3".into(),
            cpu: 100,
            memory: ask.memory,
            gpu: ask.gpu.clone(),
            block_network: ask.block_network,
            handler,
            task_policy: Some(wire::TaskPolicy { timeout: 300, max_retries: 0, ttl: 0 }),
            ..Default::default()
        };
        let answer = gateway_client(self.channel.clone())
            .get_or_create_stub(self.request(request)?)
            .await
            .map_err(refused)?
            .into_inner();
        ensure!(answer.ok, "{}", answer.err_msg);
        Ok(answer.stub_id)
    }

    /// Calls a stub with arguments by name.
    pub(super) async fn call(&self, stub: &str, arguments: Value) -> Result<Call> {
        let args = json!({ "args": [], "kwargs": arguments }).to_string().into_bytes().into();
        let message = FunctionInvokeRequest { stub_id: stub.into(), args, headless: false };
        let answer =
            function_client(self.channel.clone()).function_invoke(self.request(message)?).await;
        let stream = answer.map_err(refused)?.into_inner();
        let mut call = Call { task: String::new(), output: String::new(), stream, end: None };
        call.next().await?;
        ensure!(!call.task.is_empty(), "the call has no task");
        Ok(call)
    }

    /// Cancels a task.
    pub(super) async fn cancel(&self, task: &str) -> Result<()> {
        let request = self.request(wire::StopTasksRequest { task_ids: vec![task.into()] })?;
        let answer = gateway_client(self.channel.clone()).stop_tasks(request).await;
        let answer = answer.map_err(refused)?.into_inner();
        ensure!(answer.ok, "{}", answer.err_msg);
        Ok(())
    }
}

impl Call {
    async fn next(&mut self) -> Result<()> {
        let message = tokio::time::timeout(SILENCE, self.stream.message()).await;
        let message = message.context("nothing came of the call for two minutes")?;
        let message = message.map_err(refused)?.context("the call ended without a word")?;
        if !message.task_id.is_empty() {
            self.task.clone_from(&message.task_id);
        }
        self.output += &message.output;
        if message.done {
            self.end = Some((message.exit_code, !message.result.is_empty()));
        }
        Ok(())
    }

    /// Waits until the job has said what it found, for the `number`th time.
    pub(super) async fn said(&mut self, number: usize) -> Result<Value> {
        loop {
            if let Some(found) = found(&self.output, number) {
                return Ok(found);
            }
            if let Some((code, _)) = self.end {
                bail!("the job ended with exit code {code} and found nothing: {}", self.tail());
            }
            self.next().await?;
        }
    }

    /// `true` if the call is known to have ended.
    pub(super) fn has_ended(&self) -> bool {
        self.end.is_some()
    }

    /// Waits for the end.
    pub(super) async fn end(mut self) -> Result<End> {
        loop {
            if let Some((exit_code, result)) = self.end {
                return Ok(End { output: self.output, exit_code, result });
            }
            self.next().await?;
        }
    }

    fn tail(&self) -> &str {
        tail(&self.output)
    }
}

/// The last line of an output that says anything.
pub(super) fn tail(output: &str) -> &str {
    output.lines().rev().map(str::trim).find(|line| !line.is_empty()).unwrap_or("no output")
}

/// What a job has found, by its output.
pub(super) fn found(output: &str, number: usize) -> Option<Value> {
    // A line without an end may still grow.
    let whole = output.split_inclusive('\n').filter(|line| line.ends_with('\n'));
    let mut found = whole.filter_map(|line| line.trim_end().split_once(MARK));
    serde_json::from_str(found.nth(number.checked_sub(1)?)?.1).ok()
}

/// What the gateway says is what counts.
fn refused(status: tonic::Status) -> anyhow::Error {
    match status.message() {
        "" => anyhow::anyhow!("{}", status.code().description()),
        message => anyhow::anyhow!("{message}"),
    }
}

/// The jobs' code as the archive that clients upload.
fn archive() -> Result<Vec<u8>> {
    let mut archive = zip::ZipWriter::new(Cursor::new(Vec::new()));
    archive.start_file(format!("{MODULE}.py"), SimpleFileOptions::default())?;
    archive.write_all(include_bytes!("handlers.py"))?;
    Ok(archive.finish()?.into_inner())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_job_found_is_read_from_its_output() {
        let output = format!("noise\n{MARK}{{\"a\": 1}}\nmore {MARK}{{\"a\": 2}}\n{MARK}{{\"a\"");
        assert_eq!(found(&output, 1).unwrap()["a"], 1);
        assert_eq!(found(&output, 2).unwrap()["a"], 2);
        assert_eq!(found(&output, 3), None);
        assert_eq!(tail("a\nb\n\n"), "b");
    }

    #[test]
    fn the_jobs_speak_as_they_are_listened_to() {
        let code = include_str!("handlers.py");
        assert!(code.contains(&format!("MARK = \"{MARK}\"")));
        let mut read = zip::ZipArchive::new(Cursor::new(archive().unwrap())).unwrap();
        let file = read.by_name("metal9_selftest.py").unwrap();
        assert_eq!(std::io::read_to_string(file).unwrap(), code);
    }
}
