//! Matrices are multiplied where they should be, and the product is right.

use anyhow::{Context as _, Result};
use serde_json::{Value, json};

use super::Found;
use crate::selftest::client::{Ask, found, tail};
use crate::selftest::jobs::Jobs;

/// Rows and columns.
const SIZE: u32 = 1024;

/// How far a product may be off in single precision, relative to the processor's.
const TOLERANCE: f64 = 1e-2;

/// Memory that the libraries and three matrices need, in MiB.
const MEMORY: i64 = 2048;

/// What multiplies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::selftest) enum Library {
    Mlx,
    Torch,
}

impl Library {
    /// The packages that it needs on this system.
    pub(in crate::selftest) fn packages(self) -> &'static [&'static str] {
        match self {
            Self::Mlx if cfg!(target_os = "macos") => &["mlx"],
            Self::Mlx => &["mlx[cpu]"],
            Self::Torch => &["torch"],
        }
    }

    fn function(self) -> &'static str {
        match self {
            Self::Mlx => "mlx_matmul",
            Self::Torch => "torch_matmul",
        }
    }

    /// The function that uses memory by this library.
    pub(super) fn hog(self) -> &'static str {
        match self {
            Self::Mlx => "mlx_hog",
            Self::Torch => "torch_hog",
        }
    }
}

/// Multiplies with a library, on the GPU if the worker has one.
pub(in crate::selftest) async fn matmul(jobs: &Jobs, library: Library, gpu: bool) -> Result<Found> {
    let selector = if gpu { "MPS" } else { "" };
    let ask = Ask { memory: MEMORY, gpu: selector.to_owned(), ..Ask::new(library.function()) };
    let end = jobs.run(&ask, json!({ "size": SIZE })).await?;
    let said = found(&end.output, 1).with_context(|| {
        format!("the job ended with exit code {}: {}", end.exit_code, tail(&end.output))
    })?;
    Ok(judge(&said, gpu))
}

/// What the job's figures mean.
fn judge(said: &Value, gpu: bool) -> Found {
    let text = |name: &str| said[name].as_str().unwrap_or("?").to_owned();
    let number = |name: &str| said[name].as_f64().unwrap_or(f64::NAN);
    let (library, name, on_gpu) = (text("library"), text("name"), said["device"] == "gpu");
    let off = number("off");
    if off.is_nan() || off > TOLERANCE {
        return Found::fail(format!("{library}: the product is off by {off:.0e}"));
    }
    if gpu && !on_gpu {
        return Found::fail(format!("{library} saw no GPU, though the worker offers one"));
    }
    let speed = 2.0 * f64::from(SIZE).powi(3) / number("seconds") / 1e9;
    let place = match (on_gpu, name.as_str()) {
        (true, "") => "on the GPU".to_owned(),
        (true, name) => format!("on the GPU {name}"),
        (false, _) => "on the processor, as there is no Apple GPU".to_owned(),
    };
    Found::ok(format!("{library} {place}: {speed:.0} GFLOP/s, off by {off:.0e} from the processor"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::Status;

    fn figures(device: &str, off: f64) -> Value {
        json!({ "device": device, "name": "", "off": off, "seconds": 0.001, "library": "mlx 1" })
    }

    #[test]
    fn a_product_counts_if_it_is_right_and_was_made_where_it_should_be() {
        assert_eq!(judge(&figures("gpu", 1e-5), true).status, Status::Ok);
        assert_eq!(judge(&figures("cpu", 1e-5), true).status, Status::Fail);
        assert_eq!(judge(&figures("gpu", 0.5), true).status, Status::Fail);
        let found = judge(&figures("cpu", 0.0), false);
        assert!(found.status == Status::Ok && found.text.contains("no Apple GPU"), "{found:?}");
        assert_eq!(judge(&json!({}), false).status, Status::Fail, "no figures");
    }
}
