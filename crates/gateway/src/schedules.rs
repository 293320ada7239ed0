//! Calling deployments at the times of their schedules.
//!
//! The store knows for each schedule the next time for which no task was made. A task's request id is
//! made of the schedule and that time, so however often the gateway dies between making the task and
//! noting it, a time makes one task. Times that passed while the gateway was down make one task
//! together. A time at which the task of the time before has not ended makes none.

mod cron;

use std::time::Duration;

use bytes::Bytes;
use metal9_store::{DeploymentRow, ScheduleRow, StoreError};

use crate::accept::{NewCall, accept};
use crate::auth::Caller;
use crate::deployed::Callable;
use crate::error::ApiError;
use crate::shared::{Shared, SharedRef};
use crate::timestamps::{UnixMicros, now, to_rfc3339};
use cron::Cron;

/// The longest pause between two looks: how late a new schedule, or a clock that jumped, is noticed.
const LOOK_AGAIN: Duration = Duration::from_secs(1);

/// Schedules looked at together; further ones follow at once.
const AT_A_TIME: u32 = 100;

/// How long a schedule whose task cannot be made now is left alone.
const TRY_AGAIN: Duration = Duration::from_secs(5);

/// What a function that is called by the clock is given.
const NO_ARGUMENTS: &[u8] = br#"{"args":null,"kwargs":null}"#;

/// Gives a deployment a schedule.
///
/// # Errors
/// If `when` cannot be read, or names no time.
pub(crate) async fn set(
    shared: &Shared,
    caller: &Caller,
    deployment: &DeploymentRow,
    when: &str,
) -> Result<(), ApiError> {
    let due = Cron::parse(when)?.after(now())?;
    shared.disk.room_for("the schedule", 0)?;
    let by = shared.store.by(&caller.actor);
    by.schedule(caller.workspace, deployment.id, when, due).await?;
    Ok(())
}

/// Forgets the times that have passed, if the deployment has a schedule.
///
/// # Errors
/// If the store fails.
pub(crate) async fn from_now(
    shared: &Shared,
    caller: &Caller,
    deployment: &DeploymentRow,
) -> Result<(), ApiError> {
    match shared.store.schedule_of(deployment.id).await? {
        Some(schedule) => set(shared, caller, deployment, &schedule.cron).await,
        None => Ok(()),
    }
}

/// Calls what is due, until the gateway stops.
pub(crate) fn start(shared: SharedRef) {
    metal9_tasks::spawn_infallible("schedules", async move {
        loop {
            let pause = match round(&shared).await {
                Ok(pause) => pause,
                Err(StoreError::Closed) => return,
                Err(error) => {
                    tracing::warn!(%error, "cannot look at the schedules");
                    TRY_AGAIN
                }
            };
            tokio::select! {
                () = tokio::time::sleep(pause) => {}
                () = shared.shutdown.cancelled() => return,
            }
        }
    });
}

/// Calls everything that is due; returns how long to wait before the next look.
async fn round(shared: &SharedRef) -> Result<Duration, StoreError> {
    let schedules = shared.store.schedules(AT_A_TIME).await?;
    let mut pause = LOOK_AGAIN;
    let mut stuck = false;
    for schedule in &schedules {
        let left = schedule.due - now();
        if left > 0 {
            let left = Duration::from_micros(left.unsigned_abs());
            return Ok(pause.min(left));
        }
        if let Err(error) = call(shared, schedule).await {
            let deployment = schedule.deployment;
            tracing::warn!(%deployment, %error, "a scheduled call cannot be made now");
            stuck = true;
        }
        pause = if stuck { TRY_AGAIN } else { Duration::ZERO };
    }
    // Nothing is due, or there are more that are.
    Ok(pause)
}

async fn call(shared: &SharedRef, schedule: &ScheduleRow) -> Result<(), ApiError> {
    let ScheduleRow { deployment, due, .. } = *schedule;
    let next = Cron::parse(&schedule.cron)?.after(now().max(due))?;
    let task = match is_running(shared, schedule).await? {
        true => {
            let due = to_rfc3339(due);
            tracing::info!(%deployment, due, "not called: the call before has not ended");
            None
        }
        false => make_task(shared, schedule).await?,
    };
    metal9_faults::point("scheduled").await;
    shared.store.advance_schedule(deployment, due, task, next).await?;
    Ok(())
}

async fn is_running(shared: &Shared, schedule: &ScheduleRow) -> Result<bool, ApiError> {
    let Some(last) = schedule.last_task else { return Ok(false) };
    let row = shared.store.task(last).await?;
    Ok(row.is_some_and(|row| !row.status.is_terminal()))
}

/// Makes the task of the time that is due; nothing if its stub is gone.
async fn make_task(
    shared: &SharedRef,
    schedule: &ScheduleRow,
) -> Result<Option<metal9_types::TaskId>, ApiError> {
    let Some(stub) = shared.store.stub(schedule.stub).await? else { return Ok(None) };
    let call = NewCall {
        stub: Callable::of(shared, stub).await?,
        arguments: Bytes::from_static(NO_ARGUMENTS),
        headless: true,
        request_id: Some(request_id(schedule.deployment, schedule.due)),
    };
    Ok(Some(accept(shared, call).await?.task()))
}

fn request_id(deployment: metal9_types::DeploymentId, due: UnixMicros) -> String {
    format!("schedule/{deployment}/{due}")
}
