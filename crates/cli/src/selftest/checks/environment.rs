//! An environment is resolved, locked and installed.

use anyhow::Result;

use super::Found;
use crate::selftest::client::Client;

/// Builds an image; gives its id too.
pub(in crate::selftest) async fn environment(
    client: &Client,
    packages: &[&str],
) -> Result<(String, Found)> {
    let (image, python) = client.build(packages).await?;
    let with = if packages.is_empty() { "the SDK".to_owned() } else { packages.join(", ") };
    Ok((image, Found::ok(format!("{python} with {with}"))))
}
