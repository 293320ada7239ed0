//! The client API's service for outputs.

use metal9_proto::beta9::output as wire;
use metal9_store::OutputRow;
use tonic::{Request, Response, Status, Streaming};

use super::{pieces, reply};
use crate::auth::Caller;
use crate::error::ApiError;
use crate::inflow::Room;
use crate::outputs::{address, output_of, task_of};
use crate::shared::{Shared, SharedRef};
use crate::timestamps::to_proto;
use crate::validate::refuse;

#[derive(Clone)]
pub(crate) struct OutputApi {
    shared: SharedRef,
}

impl OutputApi {
    pub(super) fn new(shared: SharedRef) -> Self {
        Self { shared }
    }
}

/// Stores a file; it exists only once it is whole.
async fn save(
    shared: &Shared,
    caller: &Caller,
    mut stream: Streaming<wire::OutputSaveRequest>,
) -> Result<wire::OutputSaveResponse, ApiError> {
    let mut upload = None;
    let mut room = Room::new("the output");
    while let Some(piece) = pieces::next(&mut stream, "output").await? {
        let upload = match &mut upload {
            Some(upload) => upload,
            None => {
                let task = task_of(shared, caller, &piece.task_id).await?;
                let begun = shared.store.put_output(caller.workspace, task, &piece.filename);
                upload.insert(begun.await?)
            }
        };
        room.take(&shared.disk, piece.content.len())?;
        upload.write(piece.content).await?;
    }
    let upload = upload.ok_or_else(|| {
        refuse("the output is missing", "send at least one message, with task and file name")
    })?;
    let row = upload.finish().await?;
    Ok(wire::OutputSaveResponse { ok: true, id: row.id.to_string(), ..Default::default() })
}

fn stat(row: &OutputRow) -> wire::OutputStatResponse {
    let at = Some(to_proto(row.created_at));
    let stat = wire::OutputStat {
        // As saved: readable by its owner and everybody who has an address.
        mode: "-rw-r--r--".to_owned(),
        size: i64::try_from(row.size).unwrap_or(i64::MAX),
        atime: at,
        mtime: at,
    };
    wire::OutputStatResponse { ok: true, err_msg: String::new(), stat: Some(stat) }
}

#[tonic::async_trait]
impl wire::output_service_server::OutputService for OutputApi {
    async fn output_save_stream(
        &self,
        request: Request<Streaming<wire::OutputSaveRequest>>,
    ) -> Result<Response<wire::OutputSaveResponse>, Status> {
        let caller = self.shared.grpc_caller(request.metadata()).await?;
        let result = save(&self.shared, &caller, request.into_inner()).await;
        reply(result, |err_msg| wire::OutputSaveResponse { err_msg, ..Default::default() })
    }

    async fn output_stat(
        &self,
        request: Request<wire::OutputStatRequest>,
    ) -> Result<Response<wire::OutputStatResponse>, Status> {
        let caller = self.shared.grpc_caller(request.metadata()).await?;
        let wire::OutputStatRequest { id, task_id, .. } = request.into_inner();
        let result = output_of(&self.shared, &caller, &task_id, &id).await.map(|row| stat(&row));
        reply(result, |err_msg| wire::OutputStatResponse { err_msg, ..Default::default() })
    }

    async fn output_public_url(
        &self,
        request: Request<wire::OutputPublicUrlRequest>,
    ) -> Result<Response<wire::OutputPublicUrlResponse>, Status> {
        let caller = self.shared.grpc_caller(request.metadata()).await?;
        let wire::OutputPublicUrlRequest { id, task_id, expires, .. } = request.into_inner();
        let row = output_of(&self.shared, &caller, &task_id, &id).await;
        let result = row.and_then(|row| address(&self.shared, row.id, expires));
        let result = result.map(|public_url| wire::OutputPublicUrlResponse {
            ok: true,
            err_msg: String::new(),
            public_url,
        });
        reply(result, |err_msg| wire::OutputPublicUrlResponse { err_msg, ..Default::default() })
    }
}
