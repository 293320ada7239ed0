//! GPUs of containers, by what the machine's files say that they need.

use std::path::PathBuf;

use metal9_sandbox::{CdiError, Edits, OciRuntime, Registry, node};

use crate::devices::NvidiaGpu;

/// Where the files are if nobody says otherwise; the later directory goes first.
const USUAL: [&str; 2] = ["/etc/cdi", "/var/run/cdi"];

/// How containers of this worker get GPUs of NVIDIA's.
#[derive(Clone, Debug)]
pub(crate) struct Gpus {
    directories: Vec<PathBuf>,
    /// Why the runtime gives none to a container.
    cannot: Option<String>,
}

impl Gpus {
    /// By the files in these directories; none for the usual ones.
    pub(crate) fn new(directories: &[PathBuf], runtime: &OciRuntime) -> Self {
        let directories = match directories {
            [] => USUAL.map(PathBuf::from).to_vec(),
            some => some.to_vec(),
        };
        let cannot = (!runtime.passes_nvidia()).then(|| {
            format!(
                "gVisor {} passes nothing on to NVIDIA's driver; runsc of August 2023 or later does",
                runtime.version
            )
        });
        Self { directories, cannot }
    }

    /// Why containers cannot have the GPU that CUDA calls so; nothing if they can.
    pub(crate) fn why_not(&self, name: &str) -> Option<String> {
        if self.cannot.is_some() {
            return self.cannot.clone();
        }
        let error = self.ask(name).err()?;
        let way = match error {
            CdiError::Unknown { .. } => {
                "; `nvidia-ctk cdi generate --output=/etc/cdi/nvidia.yaml` writes one that does"
            }
            _ => "",
        };
        Some(format!("containers cannot have it: {error}{way}"))
    }

    fn ask(&self, name: &str) -> Result<Edits, CdiError> {
        Registry::read(&self.directories).edits(&[called(name)], &node)
    }

    /// What a container needs for these. One that is simulated needs nothing, unless a file names it.
    pub(crate) fn edits(&self, wanted: &[NvidiaGpu]) -> Result<Edits, CdiError> {
        // The files are read anew, since a new driver writes others.
        let registry = Registry::read(&self.directories);
        let mut names = Vec::new();
        for NvidiaGpu { name, simulated } in wanted {
            let name = called(name);
            let is_needless = *simulated
                && (self.cannot.is_some()
                    || matches!(
                        registry.edits(std::slice::from_ref(&name), &node),
                        Err(CdiError::Unknown { .. })
                    ));
            if !is_needless {
                names.push(name);
            }
        }
        registry.edits(&names, &node)
    }
}

/// What files call the GPU that CUDA calls so: by its UUID, which stays the same when another fails.
fn called(name: &str) -> String {
    format!("nvidia.com/gpu={name}")
}

#[cfg(test)]
#[cfg(target_os = "linux")]
mod tests {
    use std::path::Path;

    use metal9_sandbox::Engine;

    use super::*;

    fn gpus(directory: &Path, engine: Engine, version: &str) -> Gpus {
        let (program, version) = (PathBuf::from("/usr/bin/x"), version.to_owned());
        Gpus::new(&[directory.to_owned()], &OciRuntime { engine, program, version })
    }

    fn described() -> tempfile::TempDir {
        let root = tempfile::tempdir().unwrap();
        let text = r#"{"cdiVersion": "0.5.0", "kind": "nvidia.com/gpu", "devices": [
            {"name": "GPU-1", "containerEdits": {"deviceNodes": [{"path": "/dev/null"}]}},
            {"name": "GPU-2", "containerEdits": {"deviceNodes": [{"path": "/dev/nobody"}]}}]}"#;
        std::fs::write(root.path().join("nvidia.json"), text).unwrap();
        root
    }

    #[test]
    fn a_gpu_is_for_containers_if_a_file_names_it_and_its_nodes_are_there() {
        let root = described();
        let gpus = gpus(root.path(), Engine::Runc, "1.1.5");
        assert_eq!(gpus.why_not("GPU-1"), None);
        assert!(gpus.why_not("GPU-2").unwrap().contains("`/dev/nobody`, which is no device"));
        let told = gpus.why_not("GPU-3").unwrap();
        assert!(
            told.contains("names `nvidia.com/gpu=GPU-3`") && told.contains("nvidia-ctk"),
            "{told}"
        );
    }

    #[test]
    fn a_gvisor_that_knows_no_gpus_gets_none() {
        let root = described();
        let old = gpus(root.path(), Engine::Runsc, "0.0~20221219.0");
        assert!(
            old.why_not("GPU-1").unwrap().starts_with("gVisor 0.0~20221219.0 passes nothing on")
        );
        assert_eq!(gpus(root.path(), Engine::Runsc, "20250106.0").why_not("GPU-1"), None);
    }

    #[test]
    fn what_is_simulated_needs_no_file_and_what_is_real_does() {
        let root = described();
        let gpus = gpus(root.path(), Engine::Runc, "1.1.5");
        let wanted = |name: &str, simulated| [NvidiaGpu { name: name.to_owned(), simulated }];
        assert!(gpus.edits(&wanted("0", true)).unwrap().is_empty());
        assert!(gpus.edits(&wanted("0", false)).is_err());
        assert!(!gpus.edits(&wanted("GPU-1", true)).unwrap().is_empty());
        assert!(gpus.edits(&wanted("GPU-2", true)).is_err());
    }
}
