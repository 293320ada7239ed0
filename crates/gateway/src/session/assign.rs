//! Putting the message of an assignment together.

use bytes::Bytes;
use metal9_core::{AttemptReport, Input};
use metal9_proto::worker as wire;
use metal9_store::{Actor, StubRow};
use metal9_types::{CallOutcome, Failure, FailureKind, Schema};
use wire::gateway_message::Message;

use super::Session;
use crate::error::ApiError;
use crate::fleet::Assignment;
use crate::references;
use crate::roots;
use crate::validate::mounts;

/// Larger arguments are fetched by the worker instead of holding up the session.
const INLINE_ARGUMENTS: usize = 1024 * 1024;

impl Session {
    /// The message of an assignment; nothing if it cannot be put together, in which case the
    /// attempt has been reported as failed.
    pub(super) async fn assign(&self, assignment: Assignment) -> Option<Message> {
        self.remember(assignment.attempt, assignment.task);
        match self.assign_message(&assignment).await {
            Ok(message) => Some(Message::Assign(message)),
            Err(error) => {
                tracing::warn!(task = %assignment.task, %error, "cannot assign");
                self.fail_unsent(&assignment, &error).await;
                None
            }
        }
    }

    async fn assign_message(&self, assignment: &Assignment) -> Result<wire::Assign, ApiError> {
        let Assignment { attempt, attempt_number, task, stub, container, fresh, .. } = *assignment;
        let shared = &self.shared;
        let stub = shared
            .store
            .stub(stub)
            .await?
            .ok_or_else(|| ApiError::NotFound { kind: "stub", id: stub.to_string() })?;
        let arguments = match shared.arguments.take(task) {
            Some(arguments) => arguments,
            None => shared.store.task_arguments(task).await?.unwrap_or_default(),
        };
        let fetch_arguments = arguments.len() > INLINE_ARGUMENTS;
        let spec = match fresh {
            true => Some(self.container_spec(&stub, container, &assignment.devices).await?),
            false => None,
        };
        // What serves requests lasts longer than any of them.
        let timeout = stub.config.timeout_seconds.filter(|_| stub.config.served().is_none());
        let timeout = timeout.unwrap_or(0).saturating_mul(1000);
        Ok(wire::Assign {
            attempt_id: attempt.0,
            task_id: task.to_string(),
            container_id: container.0,
            container: spec,
            arguments: if fetch_arguments { Bytes::new() } else { arguments },
            fetch_arguments,
            timeout_millis: timeout,
            job_token: shared.signer.job_token(stub.workspace, task),
            attempt_number,
            warm_up: shared.floors.is_warm_up(task),
        })
    }

    async fn container_spec(
        &self,
        stub: &StubRow,
        container: metal9_types::ContainerId,
        devices: &[usize],
    ) -> Result<wire::ContainerSpec, ApiError> {
        let store = &self.shared.store;
        let config = &stub.config;
        let image = store
            .image(&config.image)
            .await?
            .ok_or_else(|| ApiError::NotFound { kind: "image", id: config.image.to_string() })?;
        let lock = store.lock(&config.image, self.platform).await?;
        // One for a newer system than the worker's is of no use to it.
        let target = self.shared.fleet.target(self.session);
        let lock = lock.filter(|lock| target.is_none_or(|target| lock.fits(target)));
        let mut env = image.env_vars.clone();
        env.extend(references::resolve(store, stub.workspace, &config.env).await?);
        let mut used = config.secrets.clone();
        used.extend(mounts::secrets(&config.buckets));
        // In the log of whose secrets they are: what a workspace's containers do fills no other's.
        let worker = Actor::worker(stub.workspace, self.worker.id, "");
        if !used.is_empty() {
            let used = worker.did("secret.use", used.join(","));
            store.audit_later(used.with(format!("stub {}", stub.id))).await?;
        }
        let mounts = self.mounts(stub).await?;
        let buckets = self.buckets(stub).await?;
        let (root, marker) = self.shared.volumes.place();
        env.extend(store.secret_values(stub.workspace, &config.secrets).await?);
        Ok(wire::ContainerSpec {
            stub_id: stub.id.to_string(),
            workspace_id: stub.workspace.to_string(),
            container_name: container.api_name(config.kind, stub.id),
            stub_type: config.stub_type().to_string(),
            object_id: config.object.to_string(),
            handler: config.handler.clone(),
            on_start: config.on_start.clone(),
            callback_url: config.callback_url.clone(),
            env: env.into_iter().map(|(name, value)| wire::EnvVar { name, value }).collect(),
            cpu_millicores: config.resources.cpu_millicores,
            memory_mib: config.resources.memory_mib,
            inputs_schema: schema_json(config.inputs.as_ref()),
            outputs_schema: schema_json(config.outputs.as_ref()),
            image_id: config.image.to_string(),
            image_spec: serde_json::to_string(&image).unwrap_or_default(),
            lock: lock.map(|lock| wire::Lock {
                platform: lock.platform.to_string(),
                python: lock.python,
                requirements: lock.requirements,
                macos: lock.macos.map(|macos| macos.to_string()).unwrap_or_default(),
                root: lock.root.map(|root| wire::RootLock { base: root.base }),
            }),
            block_network: config.block_network,
            allow_list: config.allow_list.clone(),
            timeout_seconds: config
                .timeout_seconds
                .map_or(-1, |seconds| i64::try_from(seconds).unwrap_or(i64::MAX)),
            keep_warm_seconds: config.keep_warm_seconds,
            devices: devices.iter().filter_map(|&place| u32::try_from(place).ok()).collect(),
            volumes: mounts,
            volumes_root: root,
            volumes_marker: marker,
            serving_processes: config.served().map_or(0, |serving| serving.workers),
            buckets,
            juicefs: self.juicefs(stub),
            root_means: roots::means(&self.shared, &image, &worker).await?,
        })
    }

    /// What the worker needs to mount the volumes' file system, if it can and the stub has volumes.
    fn juicefs(&self, stub: &StubRow) -> Option<wire::JuiceFs> {
        if stub.config.volumes.is_empty() || !self.mounts_juicefs {
            return None;
        }
        self.shared.volumes.juicefs()?.told()
    }

    /// The stub's buckets with their keys, which only the worker gets.
    async fn buckets(&self, stub: &StubRow) -> Result<Vec<wire::BucketMount>, ApiError> {
        let mut mounts = Vec::with_capacity(stub.config.buckets.len());
        for mount in &stub.config.buckets {
            let (mut access_key, mut secret_key) = Default::default();
            if let Some(keys) = &mount.keys {
                let names = [keys.access.clone(), keys.secret.clone()];
                let mut values = self.shared.store.secret_values(stub.workspace, &names).await?;
                // One secret may be named as both; it is then wrong as one of them.
                access_key = values.get(&keys.access).cloned().unwrap_or_default();
                secret_key = values.remove(&keys.secret).unwrap_or_default();
            }
            let metal9_types::BucketMount { bucket, prefix, mount_path, endpoint, region, .. } =
                mount.clone();
            let path_style = mount.path_style;
            mounts.push(wire::BucketMount {
                bucket,
                prefix,
                mount_path,
                endpoint,
                region,
                path_style,
                access_key,
                secret_key,
            });
        }
        Ok(mounts)
    }

    /// The stub's volumes, which must still be there.
    async fn mounts(&self, stub: &StubRow) -> Result<Vec<wire::VolumeMount>, ApiError> {
        let mut mounts = Vec::with_capacity(stub.config.volumes.len());
        for mount in &stub.config.volumes {
            let there = self.shared.store.volume(stub.workspace, mount.volume).await?;
            let missing = || ApiError::NotFound { kind: "volume", id: mount.name.clone() };
            mounts.push(wire::VolumeMount {
                volume_id: mount.volume.to_string(),
                name: there.ok_or_else(missing)?.name,
                mount_path: mount.mount_path.clone(),
            });
        }
        if !mounts.is_empty() {
            self.shared.volumes.make(stub.config.volumes.iter().map(|mount| mount.volume)).await?;
        }
        Ok(mounts)
    }

    /// Ends an attempt that never reached its worker.
    async fn fail_unsent(&self, assignment: &Assignment, error: &ApiError) {
        self.forget(assignment.attempt);
        let failure = Failure::new(FailureKind::Setup, error.to_string());
        let outcome = CallOutcome::Failed(failure);
        let report = AttemptReport::Finished { outcome, reusable: false };
        let failed = Input::Attempt { attempt: assignment.attempt, report };
        let mut inputs = vec![failed];
        if assignment.fresh {
            inputs.push(Input::ContainerGone { container: assignment.container });
        }
        for input in inputs {
            if self.shared.driver.input(input).await.is_err() {
                return;
            }
        }
    }
}

/// A schema in the shape the SDK's runner reads; empty for none.
fn schema_json(schema: Option<&Schema>) -> String {
    schema.map(|schema| serde_json::to_string(schema).unwrap_or_default()).unwrap_or_default()
}
