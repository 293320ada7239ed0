//! GetOrCreateStub: check what a client asks for and give it an id.

use metal9_proto::beta9::gateway::{
    GetOrCreateStubRequest, GetOrCreateStubResponse, Schema as WireSchema,
};
use metal9_types::{
    GpuRequest, ImageId, Refusal, Resources, Schema, SchemaField, StubConfig, StubKind,
};

use super::image_spec::env;
use crate::auth::Caller;
use crate::error::ApiError;
use crate::references;
use crate::shared::Shared;

/// Seconds a call may run where the client does not say: the SDK's own default.
const DEFAULT_TIMEOUT: u64 = 3600;
/// Seconds a call may wait to be begun where the client does not say.
const DEFAULT_TTL: u64 = 12 * 3600;
/// More processor than any machine has; a typing mistake rather than a wish.
const MAX_MILLICORES: i64 = 4_096_000;
/// More memory than any machine has, in MiB.
const MAX_MEMORY_MIB: i64 = 64 * 1024 * 1024;
const MAX_RETRIES: u32 = 100;
/// The longest schema nesting that is read.
const MAX_SCHEMA_DEPTH: usize = 32;

/// Gives the stub for this configuration; an equal one is the same stub.
pub(super) async fn get_or_create(
    shared: &Shared,
    caller: &Caller,
    request: GetOrCreateStubRequest,
) -> Result<GetOrCreateStubResponse, ApiError> {
    caller.require_client()?;
    let force = request.force_create;
    let mut warnings = Vec::new();
    if request.checkpoint_enabled {
        warnings.push("checkpoints are not supported on native workers; starting without");
    }
    let config = check(shared, caller, request).await?;
    let stub = shared.store.get_or_create_stub(caller.workspace, &config, force).await?;
    Ok(GetOrCreateStubResponse {
        ok: true,
        stub_id: stub.to_string(),
        warn_msg: warnings.join("\n"),
        ..Default::default()
    })
}

fn invalid(text: impl Into<String>) -> ApiError {
    ApiError::Invalid(text.into())
}

async fn check(
    shared: &Shared,
    caller: &Caller,
    request: GetOrCreateStubRequest,
) -> Result<StubConfig, ApiError> {
    let kind = StubKind::parse(&request.stub_type).ok_or_else(|| {
        invalid(format!(
            "`{}` is not supported by metal9 {}; it runs functions",
            request.stub_type,
            env!("CARGO_PKG_VERSION")
        ))
    })?;
    refuse_unsupported(&request)?;
    let object = request
        .object_id
        .parse()
        .map_err(|_| ApiError::NotFound { kind: "object", id: request.object_id.clone() })?;
    if !shared.store.object_exists(caller.workspace, object).await? {
        return Err(ApiError::NotFound { kind: "object", id: request.object_id });
    }
    let image = ImageId(request.image_id);
    let spec = shared.store.image(&image).await?;
    let spec = spec.ok_or_else(|| ApiError::NotFound { kind: "image", id: image.to_string() })?;
    if let Some(refusal) = spec.native_refusals().first() {
        return Err(invalid(Refusal::to_string(refusal)));
    }
    let env = env(&request.env);
    let secrets: Vec<_> = request.secrets.into_iter().map(|secret| secret.name).collect();
    let mut wanted = references::secret_names(&env)?;
    wanted.extend(secrets.iter().cloned());
    let mut secrets_changed_at = 0;
    for name in &wanted {
        let row = shared.store.secret(caller.workspace, name).await?.ok_or_else(|| {
            invalid(format!(
                "Secret \"{name}\" does not exist in this workspace; create it with `beta9 secret \
                 create {name} VALUE`"
            ))
        })?;
        secrets_changed_at = secrets_changed_at.max(row.updated_at);
    }
    let policy = request.task_policy.unwrap_or_default();
    let keep_warm_seconds = if request.keep_warm_seconds > 0.0 {
        request.keep_warm_seconds
    } else {
        shared.options.keep_warm_seconds
    };
    let pool = request
        .pool
        .and_then(|pool| [pool.selector, pool.name].into_iter().find(|name| !name.is_empty()));
    Ok(StubConfig {
        kind,
        name: request.name,
        app: request.app_name,
        object,
        image,
        handler: check_reference("handler", request.handler, true)?,
        on_start: check_reference("on_start", request.on_start, false)?,
        callback_url: request.callback_url,
        env,
        secrets,
        secrets_changed_at,
        resources: resources(request.cpu, request.memory)?,
        gpu: GpuRequest::parse(&request.gpu, request.gpu_count),
        pool,
        timeout_seconds: timeout(policy.timeout)?,
        ttl_seconds: if policy.ttl == 0 { DEFAULT_TTL } else { u64::from(policy.ttl) },
        max_retries: policy.max_retries.min(MAX_RETRIES),
        keep_warm_seconds,
        inputs: schema(request.inputs, 0)?,
        outputs: schema(request.outputs, 0)?,
        block_network: request.block_network,
        allow_list: request.allow_list,
        extra: request.extra,
    })
}

/// What a stub can ask for and no native worker can give: refused, rather than left out silently.
fn refuse_unsupported(request: &GetOrCreateStubRequest) -> Result<(), ApiError> {
    let asked = [
        (!request.volumes.is_empty(), "volumes are not supported; leave `volumes` out"),
        (!request.disks.is_empty(), "disks are not supported; leave `disks` out"),
        (request.docker_enabled, "jobs on native workers cannot run Docker"),
        (request.use_vm, "native workers run no virtual machines; leave `use_vm` out"),
        (
            !request.allow_list.is_empty(),
            "native workers let a job reach every network or none; leave `allow_list` out",
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

/// Checks `module.path:name`.
fn check_reference(what: &str, text: String, needed: bool) -> Result<String, ApiError> {
    if text.is_empty() && !needed {
        return Ok(text);
    }
    match text.split_once(':') {
        Some((module, name)) if !module.is_empty() && !name.is_empty() => Ok(text),
        _ => Err(invalid(format!("the {what} `{text}` does not read as `module:function`"))),
    }
}

fn resources(cpu: i64, memory: i64) -> Result<Resources, ApiError> {
    let within = |number: i64, most: i64, what: &str, unit: &str| match u64::try_from(number) {
        Ok(value) if number <= most => Ok(value),
        Ok(_) => Err(invalid(format!("{what} of {number} {unit} is more than any machine has"))),
        Err(_) => Err(invalid(format!("{what} cannot be negative (got {number} {unit})"))),
    };
    Ok(Resources {
        cpu_millicores: within(cpu, MAX_MILLICORES, "cpu", "millicores")?,
        memory_mib: within(memory, MAX_MEMORY_MIB, "memory", "MiB")?,
    })
}

/// −1 means no limit, and 0 that the client did not say.
fn timeout(seconds: i64) -> Result<Option<u64>, ApiError> {
    match seconds {
        -1 => Ok(None),
        0 => Ok(Some(DEFAULT_TIMEOUT)),
        _ => u64::try_from(seconds)
            .map(Some)
            .map_err(|_| invalid(format!("a timeout of {seconds} s; use -1 for none"))),
    }
}

fn schema(wire: Option<WireSchema>, depth: usize) -> Result<Option<Schema>, ApiError> {
    let Some(wire) = wire else { return Ok(None) };
    if depth > MAX_SCHEMA_DEPTH {
        return Err(invalid(format!("a schema nested deeper than {MAX_SCHEMA_DEPTH} levels")));
    }
    if wire.fields.is_empty() {
        return Ok(None);
    }
    let fields = wire
        .fields
        .into_iter()
        .map(|(name, field)| {
            let fields = schema(field.fields, depth + 1)?;
            Ok((name, SchemaField { kind: field.r#type, fields }))
        })
        .collect::<Result<_, ApiError>>()?;
    Ok(Some(Schema { fields }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nonsense_resources_are_refused_with_the_number() {
        assert!(resources(125, 128).is_ok());
        assert!(resources(-1, 128).unwrap_err().to_string().contains("-1 millicores"));
        assert!(resources(125, i64::MAX).unwrap_err().to_string().contains("more than any"));
    }

    #[test]
    fn timeouts_follow_the_client_api() {
        assert_eq!(timeout(-1).unwrap(), None);
        assert_eq!(timeout(0).unwrap(), Some(DEFAULT_TIMEOUT));
        assert_eq!(timeout(7).unwrap(), Some(7));
        assert!(timeout(-2).is_err());
    }

    #[test]
    fn handlers_name_a_module_and_a_function() {
        assert!(check_reference("handler", "app:f".into(), true).is_ok());
        assert!(check_reference("handler", "app".into(), true).is_err());
        assert!(check_reference("handler", String::new(), true).is_err());
        assert!(check_reference("on_start", String::new(), false).is_ok());
    }
}
