//! The client API's service for signals. Jobs use it with their own token, as programs do.
//!
//! Its answers have no place for a reason, so what cannot be done is a status.

use std::time::Duration;

use metal9_proto::beta9::signal as wire;
use tonic::codegen::BoxStream;
use tonic::{Request, Response, Status};

use crate::auth::Caller;
use crate::error::ApiError;
use crate::shared::{Shared, SharedRef};
use crate::yielding::{Yielder, yielding};

/// How often a watcher is told although nothing changed: it runs its handler each time it reads
/// that the signal is set.
const BEAT: Duration = Duration::from_secs(1);

type Messages = Yielder<Result<wire::SignalMonitorResponse, Status>>;

#[derive(Clone)]
pub(crate) struct SignalApi {
    shared: SharedRef,
}

impl SignalApi {
    pub(super) fn new(shared: SharedRef) -> Self {
        Self { shared }
    }
}

/// Tells whether a signal is set, now, at every change and once a beat, until the store fails.
async fn watch(shared: &Shared, caller: &Caller, name: &str, messages: &Messages) -> ApiError {
    let watcher = shared.signals.watch(caller.workspace, name);
    loop {
        let mut change = std::pin::pin!(watcher.change());
        // Before the look, so that a change right after it is not missed.
        change.as_mut().enable();
        match shared.store.signal_is_set(caller.workspace, name).await {
            Ok(set) => messages.give(Ok(wire::SignalMonitorResponse { ok: true, set })).await,
            Err(error) => return error.into(),
        }
        let _ = tokio::time::timeout(BEAT, change).await;
    }
}

#[tonic::async_trait]
impl wire::signal_service_server::SignalService for SignalApi {
    async fn signal_set(
        &self,
        request: Request<wire::SignalSetRequest>,
    ) -> Result<Response<wire::SignalSetResponse>, Status> {
        let shared = &self.shared;
        let caller = shared.grpc_caller(request.metadata()).await?;
        shared.disk.room_for("the signal", 0)?;
        let wire::SignalSetRequest { name, ttl } = request.into_inner();
        let quota = shared.options.value_quota();
        let set = shared.store.signal_set(caller.workspace, &name, ttl, quota).await;
        set.map_err(ApiError::from)?;
        shared.signals.changed(caller.workspace, &name);
        Ok(Response::new(wire::SignalSetResponse { ok: true }))
    }

    async fn signal_clear(
        &self,
        request: Request<wire::SignalClearRequest>,
    ) -> Result<Response<wire::SignalClearResponse>, Status> {
        let shared = &self.shared;
        let caller = shared.grpc_caller(request.metadata()).await?;
        let name = request.into_inner().name;
        let cleared = shared.store.signal_clear(caller.workspace, &name).await;
        cleared.map_err(ApiError::from)?;
        shared.signals.changed(caller.workspace, &name);
        Ok(Response::new(wire::SignalClearResponse { ok: true }))
    }

    async fn signal_monitor(
        &self,
        request: Request<wire::SignalMonitorRequest>,
    ) -> Result<Response<BoxStream<wire::SignalMonitorResponse>>, Status> {
        let shared = SharedRef::clone(&self.shared);
        let caller = shared.grpc_caller(request.metadata()).await?;
        let name = request.into_inner().name;
        let open = shared.admission.stream(caller.workspace)?;
        let mut leave = caller.leave.clone();
        Ok(Response::new(Box::pin(yielding(move |messages| async move {
            let _open = open;
            let error = tokio::select! {
                error = watch(&shared, &caller, &name, &messages) => error,
                error = leave.over() => error,
                () = shared.shutdown.cancelled() => {
                    ApiError::Unavailable("the gateway is stopping")
                }
            };
            messages.give(Err(error.into())).await;
        }))))
    }
}
