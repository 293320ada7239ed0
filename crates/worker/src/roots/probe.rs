//! Which Python an image has: it is asked, in a container like those of jobs.

use std::time::Duration;

use metal9_sandbox::Exit;

use super::{Root, RootError};
use crate::runner::Launcher;

/// How long its Python may take to start and say what it is.
const WITHIN: Duration = Duration::from_secs(60);

/// What it runs. The second word says which system library it is made for.
const PROGRAM: &str = "import sys, sysconfig; \
    print('%d.%d' % sys.version_info[:2], sysconfig.get_config_var('SOABI') or 'unknown')";

/// The version of an image's Python, as `3.11`.
pub(super) async fn python(launcher: &Launcher, root: &Root) -> Result<String, RootError> {
    let args = ["-I", "-c", PROGRAM].map(Into::into).to_vec();
    let output = launcher
        .run_in(root, args, WITHIN)
        .await
        .map_err(|source| RootError::Start { python: root.python.clone(), source })?;
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    let failed = || {
        let stderr = String::from_utf8_lossy(&output.stderr);
        RootError::Python(format!(
            "the image's `{}` does not run: {}",
            root.python,
            stderr.trim().lines().last().unwrap_or("it said nothing")
        ))
    };
    if output.exit != Some(Exit::Code(0)) {
        return Err(failed());
    }
    read(&said).ok_or_else(failed)?.map_err(RootError::Python)
}

/// What it said; nothing if that makes no sense, and an error for one that jobs cannot use.
fn read(said: &str) -> Option<Result<String, String>> {
    let (version, made_for) = said.trim().split_once(' ')?;
    let (_, minor) = version.split_once('.').filter(|(major, _)| *major == "3")?;
    minor.parse::<u32>().ok()?;
    Some(if made_for.contains("musl") {
        Err("the image's Python is made for musl, as on Alpine, and the SDK's packages are not\n\
             hint: begin with an image on Debian or the like, as `python:3.12-slim`"
            .to_owned())
    } else {
        Ok(version.to_owned())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_python_says_of_itself_is_read() {
        assert_eq!(read("3.11 cpython-311-x86_64-linux-gnu\n"), Some(Ok("3.11".into())));
        assert!(
            read("3.12 cpython-312-x86_64-linux-musl").unwrap().unwrap_err().contains("Alpine")
        );
        assert_eq!(read("2.7 unknown"), None);
        assert_eq!(read(""), None);
    }
}
