//! StartEndpointServe and StartTaskQueueServe: a container for code that changes.

use metal9_types::StubKind;

use crate::accept::own_stub;
use crate::auth::Caller;
use crate::error::ApiError;
use crate::serves::{self, Patience};
use crate::shared::SharedRef;
use crate::validate::refuse;

/// Starts the container of an endpoint or a web application; gives its name.
pub(super) async fn endpoint(
    shared: &SharedRef,
    caller: &Caller,
    stub: &str,
    timeout: i32,
) -> Result<String, ApiError> {
    start(shared, caller, stub, timeout, StubKind::is_served).await
}

/// Starts the container of a task queue; gives its name.
pub(super) async fn task_queue(
    shared: &SharedRef,
    caller: &Caller,
    stub: &str,
    timeout: i32,
) -> Result<String, ApiError> {
    start(shared, caller, stub, timeout, |kind| kind == StubKind::Taskqueue).await
}

async fn start(
    shared: &SharedRef,
    caller: &Caller,
    stub: &str,
    timeout: i32,
    is_kind: impl FnOnce(StubKind) -> bool,
) -> Result<String, ApiError> {
    caller.require_client()?;
    let patience = Patience::read(timeout)?;
    let stub = own_stub(shared, caller, stub).await?;
    let config = &stub.config;
    if !config.is_developed() || !is_kind(config.kind) {
        return Err(refuse(
            format!(
                "`{}`, of type `{}`, is not made to be served so",
                config.name,
                config.stub_type()
            ),
            "use `beta9 serve app.py:name`, which makes a stub of the right type",
        ));
    }
    let kind = config.kind;
    let (stub_id, container) = (stub.id, serves::start(shared, &stub, patience).await?);
    Ok(container.api_name(kind, stub_id))
}
