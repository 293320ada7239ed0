//! Volumes on a JuiceFS file system, which the gateway keeps mounted.

use std::io;
use std::time::Duration;

use metal9_juicefs::{Access, JuiceFsError, Mount, Role};
use metal9_proto::worker as wire;
use nix::errno::Errno;

use crate::error::ApiError;
use crate::options::Options;

/// How long work waits for a file system that is being mounted again.
const PATIENCE: Duration = Duration::from_secs(5);

/// What a dead mount answers, and one whose database or object storage is not there.
const LOST: [Errno; 4] = [Errno::ENOTCONN, Errno::ECONNABORTED, Errno::EIO, Errno::ENXIO];

/// A file system that is mounted.
#[derive(Debug)]
pub(crate) struct JuiceFs {
    mount: Mount,
    /// What workers are told; nothing if they are not to mount it.
    told: Option<Access>,
}

impl JuiceFs {
    /// Mounts the file system that the options name; nothing if they name none.
    pub(crate) async fn open(options: &Options) -> Result<Option<Self>, JuiceFsError> {
        let settings = &options.juicefs;
        let state = std::path::absolute(&options.state_dir);
        let home = state.unwrap_or_else(|_| options.state_dir.clone()).join("juicefs");
        let Some(address) = &settings.metadata else {
            metal9_juicefs::remove_leftover(&home);
            return Ok(None);
        };
        let access = Access::parse(address)?;
        let told = Some(access.clone()).filter(|it| it.is_shared() && settings.is_shared());
        let mount = Mount::start(settings, access, &home, Role::Keeper).await?;
        Ok(Some(Self { mount, told }))
    }

    /// Where it is mounted.
    pub(crate) fn root(&self) -> &std::path::Path {
        self.mount.point()
    }

    /// What a worker needs to mount it itself; nothing if it is not to.
    pub(crate) fn told(&self) -> Option<wire::JuiceFs> {
        let access = self.told.as_ref()?;
        let (metadata_url, password) = (access.url().to_owned(), access.password().to_owned());
        Some(wire::JuiceFs { metadata_url, password })
    }

    /// Waits a little for it to be there.
    pub(crate) async fn is_up(&self) -> Result<(), ApiError> {
        self.mount.up(PATIENCE).await.map_err(ApiError::VolumesDown)
    }

    /// Takes it away.
    pub(crate) async fn close(&self) {
        self.mount.stop().await;
    }
}

/// Whether this is what one hears from a file system that is not there.
pub(super) fn is_lost(error: &io::Error) -> bool {
    error.raw_os_error().is_some_and(|code| LOST.contains(&Errno::from_raw(code)))
}
