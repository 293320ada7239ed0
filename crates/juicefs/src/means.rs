//! Whether a machine can mount at all.

use std::path::Path;

use crate::{Role, control};

/// Where macFUSE is.
const MACFUSE: &str = "/Library/Filesystems/macfuse.fs";
/// Programs that mount for others; `juicefs` wants one of them also as root.
const HELPERS: [&str; 2] = ["fusermount3", "fusermount"];

/// Why this machine cannot mount a JuiceFS file system; nothing if it can. `named` is the program
/// that was chosen, if one was. A worker must also be able to keep its jobs from what is not theirs.
#[must_use]
pub fn obstacle(named: Option<&Path>, role: Role) -> Option<String> {
    if role == Role::Guest
        && let Some(obstacle) = control::obstacle()
    {
        return Some(obstacle);
    }
    let is_mac = cfg!(target_os = "macos");
    if is_mac && !Path::new(MACFUSE).exists() {
        return Some("macFUSE is not installed".to_owned());
    }
    if !is_mac {
        let device = std::fs::File::options().read(true).write(true).open("/dev/fuse");
        if let Err(error) = device {
            return Some(format!("/dev/fuse cannot be used ({error})"));
        }
        if !HELPERS.iter().any(|name| which::which(name).is_ok()) {
            return Some("there is no fusermount3 (on Debian and Ubuntu: `fuse3`)".to_owned());
        }
    }
    match named {
        Some(named) => {
            let name = named.display();
            which::which(named).err().map(|_| format!("`{name}` is no program that can be run"))
        }
        // Elsewhere it is installed when it is needed.
        None if is_mac && which::which("juicefs").is_err() => {
            Some("juicefs is not installed".to_owned())
        }
        None => None,
    }
}
