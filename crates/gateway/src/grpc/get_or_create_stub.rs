//! GetOrCreateStub: check what a client asks for and give it an id.

use metal9_proto::beta9::gateway::{GetOrCreateStubRequest, GetOrCreateStubResponse};
use metal9_store::StoreError;
use metal9_types::{
    Device, GpuRequest, ImageId, MacosVersion, Refusal, RootSource, Stage, StubConfig, StubId,
    StubKind, StubType, Target,
};

use crate::auth::{Caller, Rights};
use crate::driver::RUNTIME_VARIABLE;
use crate::error::ApiError;
use crate::macs::{self, Verdict};
use crate::references;
use crate::shared::Shared;
use crate::validate::{
    allow_list, environment, gpu, mounts, names, policy, quota, refuse, resources, runtime, schema,
    serving, shown,
};

/// Gives the stub for this configuration; an equal one is the same stub.
pub(super) async fn get_or_create(
    shared: &Shared,
    caller: &Caller,
    request: GetOrCreateStubRequest,
) -> Result<GetOrCreateStubResponse, ApiError> {
    if let Rights::Job(_) = caller.rights {
        return find_for_job(shared, caller, &request).await;
    }
    let force = request.force_create;
    let mut warnings = Vec::new();
    if request.checkpoint_enabled {
        warnings.push("checkpoints are not supported on native workers; starting without");
    }
    let config = check(shared, caller, request).await?;
    let mac = on_macs(shared, &config).await?;
    warnings.extend(mac.as_deref());
    warnings.extend(allow_list::warning(&config.allow_list));
    let stub = give(shared, caller, &config, force).await?;
    Ok(GetOrCreateStubResponse {
        ok: true,
        stub_id: stub.to_string(),
        warn_msg: warnings.join("\n"),
        ..Default::default()
    })
}

/// The stub, which costs room only if it is a new one.
async fn give(
    shared: &Shared,
    caller: &Caller,
    config: &StubConfig,
    force: bool,
) -> Result<StubId, ApiError> {
    let (store, workspace) = (&shared.store, caller.workspace);
    if !force && let Some(known) = store.stub_like(workspace, config).await? {
        return Ok(known);
    }
    shared
        .disk
        .room_for("the stub", config.env.iter().map(|(_, value)| value.len() as u64).sum())?;
    let made =
        store.get_or_create_stub(workspace, config, force, shared.options.stub_quota()).await;
    if matches!(made, Err(StoreError::OverLimit { .. })) {
        shared.disk.want_room();
    }
    Ok(made?)
}

/// A job makes no stub, and so gets nothing that its own does not have. It finds what was made of the
/// same code.
async fn find_for_job(
    shared: &Shared,
    caller: &Caller,
    request: &GetOrCreateStubRequest,
) -> Result<GetOrCreateStubResponse, ApiError> {
    let wanted = StubType::parse(&request.stub_type).zip(request.object_id.parse().ok());
    let found = match wanted {
        Some((StubType { kind, stage: Stage::Run }, object)) if !request.force_create => {
            // As clients name what they deploy.
            let deployed = format!("{}/deployment/{}", request.stub_type, request.handler);
            let (store, names) = (&shared.store, [&*request.name, &*deployed]);
            let handler = &request.handler;
            store.stub_of_code(caller.workspace, names, kind, handler, object).await?
        }
        _ => None,
    };
    let stub = found.ok_or_else(|| {
        refuse(
            format!(
                "a running job may not make a stub, and there is none of `{}` with its code",
                shown(&request.handler)
            ),
            "deploy it, or call it once from a program, before a job does",
        )
    })?;
    Ok(GetOrCreateStubResponse { ok: true, stub_id: stub.to_string(), ..Default::default() })
}

fn invalid(text: impl Into<String>) -> ApiError {
    ApiError::Invalid(text.into())
}

async fn check(
    shared: &Shared,
    caller: &Caller,
    request: GetOrCreateStubRequest,
) -> Result<StubConfig, ApiError> {
    let StubType { kind, stage } = StubType::parse(&request.stub_type).ok_or_else(|| {
        invalid(format!(
            "`{}` is not supported by metal9 {}; it runs functions, endpoints, schedules and task \
             queues",
            shown(&request.stub_type),
            env!("CARGO_PKG_VERSION")
        ))
    })?;
    refuse_unsupported(&request)?;
    if stage == Stage::Serve && matches!(kind, StubKind::Function | StubKind::Schedule) {
        return Err(invalid("functions are not served: call them, and they run the code of now"));
    }
    let serving = serving::serving(kind, &request)?;
    // All that needs no look at the state comes first: a bad request costs no reading.
    let resources = resources::resources(request.cpu, request.memory)?;
    let policy = request.task_policy.unwrap_or_default();
    let timeout_seconds = policy::timeout(policy.timeout)?;
    let ttl_seconds = match policy.ttl {
        0 if kind.is_served() => serving::DEFAULT_TTL,
        ttl => policy::ttl(ttl)?,
    };
    // A request is made once: who made it waits, and can make it again.
    let max_retries = if kind.is_served() { 0 } else { policy::retries(policy.max_retries)? };
    let keep_warm_seconds = policy::keep_warm(request.keep_warm_seconds)?;
    let allow_list = allow_list::allow_list(&request.allow_list)?;
    let handler = names::reference("handler", request.handler, true)?;
    let on_start = names::reference("on_start", request.on_start, false)?;
    let callback_url = names::callback_url(request.callback_url)?;
    let name = names::name("name", request.name)?;
    let app = names::name("app", request.app_name)?;
    let extra = names::extra(request.extra)?;
    let inputs = schema::schema(request.inputs)?;
    let outputs = schema::schema(request.outputs)?;
    let env = environment::variables(&request.env)?;
    names::secret_count(request.secrets.len())?;
    let pool = request
        .pool
        .and_then(|pool| [pool.selector, pool.name].into_iter().find(|name| !name.is_empty()))
        .map(names::pool)
        .transpose()?;
    let untrusted = pool.as_deref().filter(|pool| shared.options.is_untrusted(pool));
    runtime::runtime(&env, RUNTIME_VARIABLE, untrusted)?;
    let gpu = gpu_request(shared, &request.gpu, request.gpu_count).await?;
    let workspaces = shared.store.workspaces().await?;
    if let Some(own) = workspaces.iter().find(|row| row.id == caller.workspace) {
        quota::within(&own.limits, resources, &gpu)?;
    }
    let missing = |kind: &'static str, id: &str| ApiError::NotFound { kind, id: shown(id) };
    let object = request.object_id.parse().map_err(|_| missing("object", &request.object_id))?;
    if !shared.store.object_exists(caller.workspace, object).await? {
        return Err(missing("object", &request.object_id));
    }
    let image = ImageId(request.image_id);
    let spec = shared.store.image(&image).await?;
    let spec = spec.ok_or_else(|| missing("image", &image.to_string()))?;
    if spec.owner.is_some_and(|owner| owner != caller.workspace) {
        return Err(missing("image", &image.to_string()));
    }
    if let Some(refusal) = spec.refusals().first() {
        return Err(invalid(Refusal::to_string(refusal)));
    }
    let (volumes, buckets) = mounts::mounts(shared, caller, request.volumes).await?;
    let secrets: Vec<_> = request.secrets.into_iter().map(|secret| secret.name).collect();
    let mut wanted = references::secret_names(&env)?;
    wanted.extend(secrets.iter().cloned());
    wanted.extend(mounts::secrets(&buckets));
    let mut secrets_changed_at = 0;
    for name in &wanted {
        let row = shared.store.secret(caller.workspace, name).await?.ok_or_else(|| {
            invalid(format!(
                "Secret \"{name}\" does not exist in this workspace; create it with `beta9 secret \
                 create {name} VALUE`",
                name = shown(name)
            ))
        })?;
        secrets_changed_at = secrets_changed_at.max(row.updated_at);
    }
    Ok(StubConfig {
        kind,
        stage,
        serving,
        name,
        app,
        object,
        image,
        root: spec.root(),
        handler,
        on_start,
        callback_url,
        env,
        secrets,
        secrets_changed_at,
        resources,
        gpu,
        pool,
        timeout_seconds,
        ttl_seconds,
        max_retries,
        keep_warm_seconds: keep_warm_seconds.unwrap_or(shared.options.keep_warm_seconds),
        inputs,
        outputs,
        block_network: request.block_network,
        allow_list,
        volumes,
        buckets,
        extra,
    })
}

/// Refuses a stub that only Macs can run and whose image Macs cannot have. A warning for one that
/// others can run, too.
async fn on_macs(shared: &Shared, config: &StubConfig) -> Result<Option<String>, ApiError> {
    let names = &config.gpu.any_of;
    let on_macs = names.iter().filter(|name| name.is_apple()).count();
    if on_macs == 0 || config.root != RootSource::Host {
        return Ok(None);
    }
    let image = shared.store.image(&config.image).await?;
    let Some(image) = image else { return Ok(None) };
    let target = macs::connected(shared, config.pool.as_deref())
        .unwrap_or_else(|| Target::mac(MacosVersion::DEFAULT));
    let Verdict::Impossible(reason) = macs::verdict(shared, &image, target).await? else {
        return Ok(None);
    };
    let gpu = &config.gpu;
    if on_macs == names.len() {
        return Err(invalid(format!(
            "gpu \"{gpu}\" is in Macs only, and the image cannot be made for {target}: {reason}\n\
             hint: use packages that have wheels for Macs; `metal9 image check` tells which do"
        )));
    }
    Ok(Some(format!(
        "the image cannot be made for {target}, so calls must not come to one: {reason}"
    )))
}

/// Reads the accelerators that are asked for. What is no known name may be what a worker calls its
/// own, so they are looked at then.
async fn gpu_request(shared: &Shared, gpu: &str, count: u32) -> Result<GpuRequest, ApiError> {
    let devices: Vec<Device> = if gpu::has_unknown(gpu) {
        let workers = shared.driver.query(|core, _| core.workers()).await?;
        workers.into_iter().flat_map(|worker| worker.offer.devices).collect()
    } else {
        Vec::new()
    };
    gpu::request(gpu, count, &devices)
}

/// What a stub can ask for and no native worker can give: refused, rather than left out silently.
fn refuse_unsupported(request: &GetOrCreateStubRequest) -> Result<(), ApiError> {
    let asked = [
        (!request.disks.is_empty(), "disks are not supported; leave `disks` out"),
        (request.docker_enabled, "jobs on native workers cannot run Docker"),
        (request.use_vm, "native workers run no virtual machines; leave `use_vm` out"),
        (
            request.block_network && !request.allow_list.is_empty(),
            "`block_network` blocks what `allow_list` allows; leave one of them out",
        ),
        (
            request.block_network && !request.callback_url.is_empty(),
            "callbacks are sent by the function's own process, which `block_network` cuts off; \
             leave one of `block_network` and `callback_url` out",
        ),
    ];
    match asked.into_iter().find(|(asked, _)| *asked) {
        Some((_, reason)) => Err(invalid(reason)),
        None => Ok(()),
    }
}
