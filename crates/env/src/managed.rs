//! Pythons that are installed for environments, by uv below the root, where the machine has none
//! that will do: on Macs, whose own ones restart and so lose the kernel's limit of memory.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};

use metal9_types::PythonVersion;
use tokio::process::Command;

use crate::layout::Layout;
use crate::process;
use crate::pythons::Pythons;
use crate::uv::Uv;
use crate::{EnvError, hold};

/// The minor version that is installed for whoever asks for any.
const ANY: u32 = 12;

/// The Pythons that are known, and more of them where they are to be installed.
#[derive(Debug)]
pub(crate) struct Interpreters {
    preferred: Option<PythonVersion>,
    installs: bool,
    known: Mutex<Arc<Pythons>>,
    /// Versions that could not be installed and have something in their place.
    given_up: Mutex<BTreeSet<u32>>,
}

impl Interpreters {
    /// Looks for what there is.
    ///
    /// # Errors
    /// uv does not answer.
    pub(crate) async fn look(
        uv: &Uv,
        layout: &Layout,
        preferred: Option<PythonVersion>,
        installs: bool,
    ) -> Result<Self, EnvError> {
        let known = Mutex::new(Arc::new(uv.pythons(&layout.pythons, preferred).await?));
        Ok(Self { preferred, installs, known, given_up: Mutex::default() })
    }

    /// What there is.
    pub(crate) fn known(&self) -> Arc<Pythons> {
        Arc::clone(&self.known.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Whether a version is there or may be installed.
    pub(crate) fn may_have(&self, wanted: PythonVersion) -> bool {
        self.installs || self.known().find(wanted).is_ok()
    }

    /// The same after a Python for the wish was installed, if it is to be.
    ///
    /// # Errors
    /// It could not be installed, and there is none that would do in its place.
    pub(crate) async fn with(
        &self,
        uv: &Uv,
        layout: &Layout,
        wanted: PythonVersion,
    ) -> Result<Arc<Pythons>, EnvError> {
        let known = self.known();
        let wanted = match wanted {
            PythonVersion::Any => self.preferred.unwrap_or(PythonVersion::Any),
            minor => minor,
        };
        let Some(minor) = missing(&known, wanted).filter(|_| self.installs) else {
            return Ok(known);
        };
        if self.given_up.lock().unwrap_or_else(PoisonError::into_inner).contains(&minor) {
            return Ok(known);
        }
        match install(uv, layout, minor).await {
            Ok(()) => {
                let found = Arc::new(uv.pythons(&layout.pythons, self.preferred).await?);
                *self.known.lock().unwrap_or_else(PoisonError::into_inner) = Arc::clone(&found);
                Ok(found)
            }
            Err(error) if known.find(wanted).is_ok() => {
                tracing::warn!(
                    %error,
                    hint = error.hint(),
                    "jobs get a Python of the system, under which the kernel does not enforce \
                     their limit of memory"
                );
                self.given_up.lock().unwrap_or_else(PoisonError::into_inner).insert(minor);
                Ok(known)
            }
            Err(error) => Err(error),
        }
    }
}

/// The minor version to install for a wish; nothing if the machine has a good one.
fn missing(pythons: &Pythons, wanted: PythonVersion) -> Option<u32> {
    let mut good = pythons.that_restart(false);
    match wanted {
        PythonVersion::Any => good.next().is_none().then_some(ANY),
        PythonVersion::Minor(minor) => (!good.any(|other| other == minor)).then_some(minor),
    }
}

/// Installs a minor version below the root; at once if it is there.
async fn install(uv: &Uv, layout: &Layout, minor: u32) -> Result<(), EnvError> {
    let held = hold::acquire(&layout.tools.join(".pythons"), || ()).await?;
    tracing::info!(version = %format!("3.{minor}"), directory = %layout.pythons.display(), "installing a python");
    let input = hold::share(&held)?;
    let ended = process::run(command(uv, layout, minor), input, &mut |line: &str| {
        tracing::debug!(line, "uv python install");
    })
    .await?;
    if ended.success {
        return Ok(());
    }
    Err(EnvError::PythonInstall { version: format!("3.{minor}"), output: ended.tail })
}

fn command(uv: &Uv, layout: &Layout, minor: u32) -> Command {
    let mut command = uv.command(&["python", "install", "--no-bin", &format!("3.{minor}")]);
    command
        .arg("--install-dir")
        .arg(&layout.pythons)
        // The only command that may.
        .env("UV_PYTHON_DOWNLOADS", "manual");
    command
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::pythons::Python;

    fn pythons(found: &[(u32, bool)]) -> Pythons {
        let python = |restarts| Python { path: "/python".into(), restarts };
        let by_minor: BTreeMap<_, _> =
            found.iter().map(|(minor, restarts)| (*minor, python(*restarts))).collect();
        Pythons::new(by_minor, None)
    }

    #[test]
    fn one_is_installed_where_none_will_do() {
        let any = |found: &[(u32, bool)]| missing(&pythons(found), PythonVersion::Any);
        assert_eq!(any(&[]), Some(12));
        assert_eq!(any(&[(9, true), (13, true)]), Some(12));
        assert_eq!(any(&[(9, true), (11, false)]), None);
    }

    #[test]
    fn the_version_that_is_asked_for_is_installed_unless_a_good_one_is_there() {
        let eleven = |found: &[(u32, bool)]| missing(&pythons(found), PythonVersion::Minor(11));
        assert_eq!(eleven(&[]), Some(11));
        assert_eq!(eleven(&[(11, true), (12, false)]), Some(11));
        assert_eq!(eleven(&[(11, false)]), None);
    }
}
