//! What a function's containers are to be isolated by.

use metal9_types::Runtime;

use super::{refuse, shown};
use crate::error::ApiError;

/// Checks what the environment says under this name, if it says anything; `untrusted` is the pool that
/// the function is for, if that takes gVisor only.
pub(crate) fn runtime(
    env: &[(String, String)],
    variable: &str,
    untrusted: Option<&str>,
) -> Result<(), ApiError> {
    let Some((_, value)) = env.iter().rev().find(|(name, _)| name == variable) else {
        return Ok(());
    };
    let asked: Runtime = value.trim().parse().map_err(|_| {
        let what = format!("`{}` in {variable} is no runtime", shown(value));
        refuse(what, "write one of native, runc and runsc, or leave it out for any")
    })?;
    match untrusted {
        Some(pool) if asked != Runtime::Runsc => Err(refuse(
            format!(
                "{variable} asks for {}, and functions of pool `{}` run in gVisor (runsc) only, since \
                 nobody trusts them",
                asked.as_str(),
                shown(pool)
            ),
            "leave it out, or choose another pool",
        )),
        _ => Ok(()),
    }
}
