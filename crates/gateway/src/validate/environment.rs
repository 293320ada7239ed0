//! Environment variables.

use super::{refuse, shown};
use crate::error::ApiError;

/// Variables of one stub or image at most.
pub(crate) const MAX_VARIABLES: usize = 1000;
/// Bytes of a variable's name.
pub(crate) const MAX_NAME: usize = 256;
/// Bytes of one variable: Linux starts no program with a longer string (`MAX_ARG_STRLEN`), and the
/// end of the string counts.
pub(crate) const MAX_VARIABLE: usize = 128 * 1024 - 2;
/// Bytes of all variables together: Linux gives a program 2 MiB for them and its arguments where
/// its stack is of the usual 8 MiB, and the runner has its own share.
pub(crate) const MAX_TOTAL: usize = 1024 * 1024;

const WHERE: &str = "put large values into a file of the project or a secret store";

/// Reads `NAME=VALUE` lines; a line without `=` is a name with an empty value.
pub(crate) fn variables(lines: &[String]) -> Result<Vec<(String, String)>, ApiError> {
    if lines.len() > MAX_VARIABLES {
        let found = lines.len();
        let what =
            format!("{found} environment variables are more than the limit of {MAX_VARIABLES}");
        return Err(refuse(what, WHERE));
    }
    let total: usize = lines.iter().map(String::len).sum();
    if total > MAX_TOTAL {
        let what = format!(
            "the environment variables have {total} bytes together, more than the limit of {MAX_TOTAL}"
        );
        return Err(refuse(what, WHERE));
    }
    lines.iter().map(|line| variable(line)).collect()
}

fn variable(line: &str) -> Result<(String, String), ApiError> {
    let (name, value) = line.split_once('=').unwrap_or((line, ""));
    check_name(name)?;
    value_fits(name, value)?;
    Ok((name.to_owned(), value.to_owned()))
}

/// Checks a variable's name.
pub(crate) fn check_name(name: &str) -> Result<(), ApiError> {
    let why = if name.is_empty() {
        "is empty".to_owned()
    } else if name.len() > MAX_NAME {
        format!("is longer than {MAX_NAME} bytes")
    } else if name.contains(|c: char| c.is_control() || c.is_whitespace()) {
        "has white space or a control character in it".to_owned()
    } else {
        return Ok(());
    };
    let what = format!("the name of the environment variable `{}` {why}", shown(name));
    Err(refuse(what, "write variables as NAME=VALUE, with letters, digits and _ in the name"))
}

/// Checks that a program can be started with this variable.
pub(crate) fn value_fits(name: &str, value: &str) -> Result<(), ApiError> {
    let name = shown(name);
    if value.contains('\0') {
        let what = format!("the value of the environment variable `{name}` has a NUL in it");
        return Err(refuse(what, "encode binary values, for example as base64"));
    }
    let bytes = name.len() + 1 + value.len();
    if bytes > MAX_VARIABLE {
        let what = format!(
            "the environment variable `{name}` has {bytes} bytes, and no program can be started \
             with one of more than {MAX_VARIABLE}"
        );
        return Err(refuse(what, WHERE));
    }
    Ok(())
}
