//! A client of the gateway's API without an SDK.

use anyhow::{Context as _, Result, ensure};
use bytes::Bytes;
use metal9_proto::beta9::function::{FunctionInvokeRequest, FunctionInvokeResponse};
use metal9_proto::beta9::gateway as wire;
use metal9_proto::beta9::image::BuildImageRequest;
use metal9_proto::{function_client, gateway_client, image_client};
use tonic::metadata::MetadataValue;
use tonic::transport::Channel;
use tonic::{Request, Streaming};

use crate::wait::{until, within};

/// The smallest zip archive: an end record and nothing else.
const EMPTY_ZIP: &[u8] = b"PK\x05\x06\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0";

/// A connection with a token.
#[derive(Clone, Debug)]
pub struct Client {
    channel: Channel,
    token: String,
}

/// What a test's stub asks for.
#[derive(Clone, Debug)]
pub struct StubOptions {
    /// Processor, in millicores.
    pub cpu: i64,
    /// Memory, in MiB.
    pub memory: i64,
    /// Accelerators, in the client API's words.
    pub gpu: String,
    /// The pool; empty for any.
    pub pool: String,
    /// Seconds one call may run; −1 for no limit.
    pub timeout: i64,
    /// Further attempts.
    pub retries: u32,
}

impl Default for StubOptions {
    fn default() -> Self {
        Self {
            cpu: 100,
            memory: 128,
            gpu: String::new(),
            pool: String::new(),
            timeout: 60,
            retries: 0,
        }
    }
}

/// How a call ended.
#[derive(Clone, Debug)]
pub struct End {
    /// All output since the stream began.
    pub output: String,
    /// The exit code.
    pub exit_code: i32,
    /// The result; empty if the call failed.
    pub result: Bytes,
}

/// An open stream of a call.
#[derive(Debug)]
pub struct Call {
    /// The task's id, from the registration message.
    pub task: String,
    stream: Streaming<FunctionInvokeResponse>,
}

impl Client {
    /// Connects.
    ///
    /// # Errors
    /// When the gateway cannot be reached.
    pub async fn connect(grpc: std::net::SocketAddr, token: &str) -> Result<Self> {
        let endpoint = Channel::from_shared(format!("http://{grpc}"))?;
        Ok(Self { channel: endpoint.connect().await?, token: token.to_owned() })
    }

    /// A request that shows the token.
    ///
    /// # Errors
    /// When the token cannot be sent.
    pub fn request<T>(&self, message: T) -> Result<Request<T>> {
        let mut request = Request::new(message);
        let bearer = MetadataValue::try_from(format!("Bearer {}", self.token))?;
        request.metadata_mut().insert("authorization", bearer);
        request.metadata_mut().insert("x-beta9-caller", MetadataValue::from_static("cli/0.1.291"));
        Ok(request)
    }

    /// The channel, for calls that have no method here.
    #[must_use]
    pub fn channel(&self) -> Channel {
        self.channel.clone()
    }

    /// Makes a stub of an empty project and the plain image. Needs a worker for the image.
    ///
    /// # Errors
    /// When the gateway refuses.
    pub async fn stub(&self, options: &StubOptions) -> Result<String> {
        let object_id = Box::pin(self.put_object()).await?;
        let image_id = Box::pin(self.build_image()).await?;
        let request = wire::GetOrCreateStubRequest {
            object_id,
            image_id,
            stub_type: "function".into(),
            name: "function/app:f".into(),
            app_name: "app".into(),
            python_version: "python3".into(),
            cpu: options.cpu,
            memory: options.memory,
            gpu: options.gpu.clone(),
            pool: (!options.pool.is_empty())
                .then(|| wire::PoolConfig { name: options.pool.clone(), ..Default::default() }),
            handler: "app:f".into(),
            task_policy: Some(wire::TaskPolicy {
                timeout: options.timeout,
                max_retries: options.retries,
                ttl: 0,
            }),
            ..Default::default()
        };
        let mut client = gateway_client(self.channel());
        let answering = Box::pin(client.get_or_create_stub(self.request(request)?));
        let answer = answering.await?.into_inner();
        ensure!(answer.ok, "GetOrCreateStub: {}", answer.err_msg);
        Ok(answer.stub_id)
    }

    async fn put_object(&self) -> Result<String> {
        let piece = wire::PutObjectRequest {
            object_content: Bytes::from_static(EMPTY_ZIP),
            object_metadata: Some(wire::ObjectMetadata { name: "empty".into(), size: 0 }),
            hash: "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855".into(),
            overwrite: false,
        };
        let mut client = gateway_client(self.channel());
        let request = self.request(tokio_stream::once(piece))?;
        let answer = client.put_object_stream(request).await?.into_inner();
        ensure!(answer.ok, "PutObjectStream: {}", answer.error_msg);
        Ok(answer.object_id)
    }

    async fn build_image(&self) -> Result<String> {
        let request = BuildImageRequest { python_version: "python3".into(), ..Default::default() };
        let mut client = image_client(self.channel());
        let mut stream = client.build_image(self.request(request)?).await?.into_inner();
        while let Some(message) = within("an image build", stream.message()).await?? {
            if message.done {
                ensure!(message.success, "BuildImage: {}", message.msg);
                return Ok(message.image_id);
            }
        }
        anyhow::bail!("BuildImage ended without a last message")
    }

    /// Calls a stub and waits for the registration.
    ///
    /// # Errors
    /// When the gateway refuses.
    pub async fn invoke(&self, stub: &str, arguments: &[u8], headless: bool) -> Result<Call> {
        self.invoke_with(stub, arguments, headless, &[]).await
    }

    /// Attaches to a task that was called before.
    ///
    /// # Errors
    /// When the gateway refuses.
    pub async fn reattach(&self, task: &str, offset: usize) -> Result<Call> {
        let offset = offset.to_string();
        let headers = [("x-beta9-task-id", task), ("x-beta9-log-offset", offset.as_str())];
        self.invoke_with("", b"", false, &headers).await
    }

    /// Calls with headers of the test's own.
    ///
    /// # Errors
    /// When the gateway refuses.
    pub async fn invoke_with(
        &self,
        stub: &str,
        arguments: &[u8],
        headless: bool,
        headers: &[(&'static str, &str)],
    ) -> Result<Call> {
        let args = Bytes::copy_from_slice(arguments);
        let message = FunctionInvokeRequest { stub_id: stub.into(), args, headless };
        let mut request = self.request(message)?;
        for (name, value) in headers {
            request.metadata_mut().insert(*name, MetadataValue::try_from(*value)?);
        }
        let mut client = function_client(self.channel());
        let mut stream = client.function_invoke(request).await?.into_inner();
        let first = within("the registration", stream.message()).await??;
        let first = first.context("the stream ended at once")?;
        ensure!(first.output.is_empty() && !first.done, "not a registration: {first:?}");
        Ok(Call { task: first.task_id, stream })
    }

    /// Cancels a task.
    ///
    /// # Errors
    /// When the gateway refuses.
    pub async fn stop(&self, task: &str) -> Result<()> {
        let request = self.request(wire::StopTasksRequest { task_ids: vec![task.into()] })?;
        let answer = gateway_client(self.channel()).stop_tasks(request).await?.into_inner();
        ensure!(answer.ok, "StopTasks: {}", answer.err_msg);
        Ok(())
    }

    /// A task's state.
    ///
    /// # Errors
    /// When there is no such task.
    pub async fn status(&self, task: &str) -> Result<String> {
        let values = wire::StringList { values: vec![task.into()] };
        let filters = [("id".to_owned(), values)].into();
        let request = self.request(wire::ListTasksRequest { filters, limit: 1 })?;
        let answer = gateway_client(self.channel()).list_tasks(request).await?.into_inner();
        ensure!(answer.ok, "ListTasks: {}", answer.err_msg);
        Ok(answer.tasks.into_iter().next().context("no such task")?.status)
    }
}

impl Client {
    /// Waits until a task is in this state.
    ///
    /// # Errors
    /// When it does not get there.
    pub async fn becomes(&self, task: &str, wanted: &str) -> Result<()> {
        until(&format!("a task to be {wanted}"), || async {
            match self.status(task).await {
                Ok(status) if status == wanted => Ok(()),
                other => Err(format!("{other:?}")),
            }
        })
        .await
    }
}

impl Call {
    /// The next message's output.
    ///
    /// # Errors
    /// When the stream breaks or ends.
    pub async fn output(&mut self) -> Result<String> {
        let message = within("output", self.stream.message()).await??;
        Ok(message.context("the stream ended")?.output)
    }

    /// Reads to the end.
    ///
    /// # Errors
    /// When the stream breaks or ends without a last message.
    pub async fn end(mut self) -> Result<End> {
        let mut output = String::new();
        loop {
            let message = within("the end of a call", self.stream.message()).await??;
            let message = message.context("the stream ended without a last message")?;
            output.push_str(&message.output);
            if message.done {
                return Ok(End { output, exit_code: message.exit_code, result: message.result });
            }
        }
    }
}
