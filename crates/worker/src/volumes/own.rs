//! The volumes' file system, mounted by the worker itself where it does not see the gateway's.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use metal9_juicefs::{Access, Mount, Role, Settings};
use tokio::sync::Mutex;

use crate::errors::chain;

/// How long a container waits for a file system that is being mounted again.
const PATIENCE: Duration = Duration::from_secs(10);
/// How long one that could not be mounted is not tried again: each try may take many seconds.
const REST: Duration = Duration::from_secs(60);

/// At most one file system, mounted when it is first needed.
#[derive(Debug)]
pub(crate) struct OwnMount {
    settings: Settings,
    home: PathBuf,
    /// Why there cannot be one; nothing if there can.
    obstacle: Option<String>,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    mounted: Option<(Access, Arc<Mount>)>,
    refused: Option<(Access, Instant, String)>,
}

impl OwnMount {
    /// None yet; `home` is the directory for all of it, and `unwanted` a reason not to have one.
    pub(crate) fn new(settings: Settings, home: PathBuf, unwanted: Option<&str>) -> Self {
        let unable = || metal9_juicefs::obstacle(settings.program.as_deref(), Role::Guest);
        let obstacle = unwanted.map(str::to_owned).or_else(unable);
        tracing::debug!(obstacle, "mounting volumes");
        Self { settings, home, obstacle, state: Mutex::default() }
    }

    /// Whether the gateway may tell how to mount it.
    pub(crate) fn is_possible(&self) -> bool {
        self.obstacle.is_none()
    }

    /// Whether it is wanted also where the worker sees the gateway's.
    pub(crate) fn is_preferred(&self) -> bool {
        self.settings.own_mount == Some(true)
    }

    /// Where it is mounted.
    ///
    /// # Errors
    /// Why it is not.
    pub(crate) async fn root(&self, access: &Access) -> Result<PathBuf, String> {
        if let Some(obstacle) = &self.obstacle {
            return Err(obstacle.clone());
        }
        let mut state = self.state.lock().await;
        if let Some((known, since, why)) = &state.refused
            && known == access
            && since.elapsed() < REST
        {
            return Err(why.clone());
        }
        // The gateway has another one now.
        if let Some((_, old)) = state.mounted.take_if(|(known, _)| known != access) {
            old.stop().await;
        }
        if let Some((_, mount)) = &state.mounted {
            let mount = Arc::clone(mount);
            drop(state);
            return mount.up(PATIENCE).await.map(|()| mount.point().to_owned());
        }
        match Mount::start(&self.settings, access.clone(), &self.home, Role::Guest).await {
            Ok(mount) => {
                let point = mount.point().to_owned();
                *state = State { mounted: Some((access.clone(), mount.into())), refused: None };
                Ok(point)
            }
            Err(error) => {
                let why = chain(&error);
                tracing::warn!(why, hint = error.hint(), "volumes are copied instead");
                state.refused = Some((access.clone(), Instant::now(), why.clone()));
                Err(why)
            }
        }
    }

    /// Takes it away.
    pub(crate) async fn stop(&self) {
        if let Some((_, mount)) = self.state.lock().await.mounted.take() {
            mount.stop().await;
        }
    }
}
