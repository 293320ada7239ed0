//! Names, references and other short texts.

use super::{refuse, shown};
use crate::error::ApiError;

/// Bytes of a name.
pub(crate) const MAX_NAME: usize = 256;
/// Bytes of `module.path:function`.
pub(crate) const MAX_REFERENCE: usize = 1024;
/// Bytes of an address.
pub(crate) const MAX_URL: usize = 2048;
/// Bytes of the client's free-form JSON.
pub(crate) const MAX_EXTRA: usize = 64 * 1024;
/// Secrets of one stub.
pub(crate) const MAX_SECRETS: usize = 1000;

/// Checks a name that is shown to people; it may be empty.
pub(crate) fn name(what: &str, text: String) -> Result<String, ApiError> {
    let why = if text.len() > MAX_NAME {
        format!("is longer than {MAX_NAME} bytes")
    } else if text.contains(char::is_control) {
        "has a control character in it".to_owned()
    } else {
        return Ok(text);
    };
    let what = format!("the {what} `{}` {why}", shown(&text));
    Err(refuse(what, "choose a short name in one line"))
}

/// Characters of a deployment's name.
const MAX_DEPLOYMENT: usize = 100;
/// What stands in addresses at the place of a name.
const RESERVED: [&str; 2] = ["id", "public"];

/// Checks the name of a deployment, which is part of its address.
pub(crate) fn deployment(text: String) -> Result<String, ApiError> {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    let why = if text.is_empty() {
        "is missing".to_owned()
    } else if text.len() > MAX_DEPLOYMENT {
        format!("is longer than {MAX_DEPLOYMENT} characters")
    } else if !text.chars().all(plain) || !text.starts_with(|c: char| c.is_ascii_alphanumeric()) {
        "is no part of an address".to_owned()
    } else if RESERVED.contains(&text.as_str()) {
        "means something else in addresses".to_owned()
    } else {
        return Ok(text);
    };
    let what = format!("the deployment's name `{}` {why}", shown(&text));
    Err(refuse(what, "use letters, digits, `-`, `_` and `.`, as `--name my-api`"))
}

/// Checks the name of a pool, which is not empty.
pub(crate) fn pool(text: String) -> Result<String, ApiError> {
    if text.trim().is_empty() {
        return Err(refuse("a pool needs a name", "leave `pool` out for any pool"));
    }
    name("pool", text)
}

/// Checks `module.path:name`.
pub(crate) fn reference(what: &str, text: String, needed: bool) -> Result<String, ApiError> {
    if text.is_empty() && !needed {
        return Ok(text);
    }
    let clean = text.len() <= MAX_REFERENCE && !text.contains(char::is_control);
    match text.split_once(':') {
        Some((module, name)) if clean && !module.is_empty() && !name.is_empty() => Ok(text),
        _ => Err(refuse(
            format!("the {what} `{}` does not read as `module:function`", shown(&text)),
            "the SDK sends the handler by itself; a program of one's own sends `app:square` for \
             `square` in `app.py`",
        )),
    }
}

/// Checks where results are posted.
pub(crate) fn callback_url(text: String) -> Result<String, ApiError> {
    let web = text.starts_with("http://") || text.starts_with("https://");
    let clean = !text.contains(|c: char| c.is_control() || c.is_whitespace());
    if text.is_empty() || (web && clean && text.len() <= MAX_URL) {
        return Ok(text);
    }
    Err(refuse(
        format!("the callback_url `{}` is not an address that can be posted to", shown(&text)),
        &format!("write it as https://host/path, in at most {MAX_URL} bytes"),
    ))
}

/// Checks the client's free-form JSON.
pub(crate) fn extra(text: String) -> Result<String, ApiError> {
    let hint = "send a JSON object, or nothing";
    if text.len() > MAX_EXTRA {
        let bytes = text.len();
        let what = format!("`extra` has {bytes} bytes, more than the limit of {MAX_EXTRA}");
        return Err(refuse(what, hint));
    }
    if text.is_empty() {
        return Ok(text);
    }
    match serde_json::from_str::<serde::de::IgnoredAny>(&text) {
        Ok(_) => Ok(text),
        Err(error) => Err(refuse(format!("`extra` is not JSON: {error}"), hint)),
    }
}

/// Checks how many secrets a stub names.
pub(crate) fn secret_count(count: usize) -> Result<(), ApiError> {
    if count <= MAX_SECRETS {
        return Ok(());
    }
    Err(refuse(
        format!("{count} secrets are more than the limit of {MAX_SECRETS}"),
        "put several values into one secret, for example as JSON",
    ))
}
