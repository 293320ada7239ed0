//! What there is to make environments with, without making any.

use std::path::{Path, PathBuf};

use crate::EnvError;
use crate::layout::Layout;
use crate::pythons;
use crate::uv::{self, Uv};

/// What was found.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Survey {
    /// The uv that would be used; nothing if one would be fetched.
    pub uv: Option<PathBuf>,
    /// The Python versions environments can be made for, oldest first, as `3.11`; nothing if that
    /// is not known before there is a uv.
    pub pythons: Option<Vec<String>>,
    /// Those of them whose Python restarts, so that the kernel's limit of memory is lost.
    pub restarting: Vec<String>,
    /// The version of the `python3` that a shell would run.
    pub python: Option<String>,
}

/// Looks for uv and the Pythons of this machine. `root` is the directory of environments, which need
/// not be there; `named` is the uv to use.
///
/// # Errors
/// The uv that was named is of no use, or does not answer.
pub async fn survey(root: &Path, named: Option<&Path>) -> Result<Survey, EnvError> {
    let elsewhere = std::env::temp_dir();
    let scratch = tempfile::tempdir_in(&elsewhere)
        .map_err(|error| EnvError::files("create a directory in", &elsewhere, error))?;
    let layout = Layout::create(scratch.path())?;
    let own = || uv::own(root).map(|program| Uv::at(program, &layout));
    let uv = Uv::present(named, &layout).await?.or_else(own);
    let python = pythons::minor_on_path().await.map(|minor| format!("3.{minor}"));
    let pythons = match &uv {
        Some(uv) => Some(uv.pythons(&root.join("pythons"), None).await?),
        None => None,
    };
    let restarting = pythons.iter().flat_map(|pythons| pythons.that_restart(true));
    Ok(Survey {
        restarting: restarting.map(|minor| format!("3.{minor}")).collect(),
        uv: uv.map(|uv| uv.program().to_owned()),
        pythons: pythons.map(|pythons| pythons.versions()),
        python,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_survey_leaves_the_root_alone() {
        let root = tempfile::tempdir().unwrap();
        let missing = root.path().join("env");
        let found = survey(&missing, None).await.unwrap();
        assert!(!missing.exists());
        assert_eq!(found.uv.is_some(), found.pythons.is_some());
        assert!(survey(&missing, Some(Path::new("/bin/true"))).await.is_err());
    }
}
