//! References in environment values: `${{ secret.NAME }}`.

use std::collections::BTreeMap;

use metal9_store::Store;
use metal9_types::WorkspaceId;

use crate::error::ApiError;

/// A piece of a value.
#[derive(Debug, PartialEq, Eq)]
enum Piece<'a> {
    Text(&'a str),
    Secret(&'a str),
}

fn parse(value: &str) -> Result<Vec<Piece<'_>>, ApiError> {
    let mut pieces = Vec::new();
    let mut rest = value;
    while let Some(start) = rest.find("${{") {
        let Some(end) = rest[start..].find("}}") else { break };
        if start > 0 {
            pieces.push(Piece::Text(&rest[..start]));
        }
        let reference = rest[start + 3..start + end].trim();
        match reference.strip_prefix("secret.") {
            Some(name) => pieces.push(Piece::Secret(name.trim())),
            None => {
                return Err(ApiError::Invalid(format!(
                    "`${{{{{reference}}}}}` cannot be resolved: this version resolves only \
                     `${{{{secret.NAME}}}}`"
                )));
            }
        }
        rest = &rest[start + end + 2..];
    }
    if !rest.is_empty() || pieces.is_empty() {
        pieces.push(Piece::Text(rest));
    }
    Ok(pieces)
}

/// The names of all secrets that these values refer to.
///
/// # Errors
/// When a reference is of a kind that cannot be resolved.
pub(crate) fn secret_names(env: &[(String, String)]) -> Result<Vec<String>, ApiError> {
    let mut names = Vec::new();
    for (_, value) in env {
        for piece in parse(value)? {
            if let Piece::Secret(name) = piece {
                names.push(name.to_owned());
            }
        }
    }
    Ok(names)
}

/// The values with their references replaced.
///
/// # Errors
/// When a secret does not exist or the store fails.
pub(crate) async fn resolve(
    store: &Store,
    workspace: WorkspaceId,
    env: &[(String, String)],
) -> Result<Vec<(String, String)>, ApiError> {
    let names = secret_names(env)?;
    let secrets = if names.is_empty() {
        BTreeMap::new()
    } else {
        store.secret_values(workspace, &names).await?
    };
    env.iter()
        .map(|(name, value)| {
            let text = parse(value)?
                .into_iter()
                .map(|piece| match piece {
                    Piece::Text(text) => text,
                    Piece::Secret(name) => secrets.get(name).map_or("", String::as_str),
                })
                .collect();
            Ok((name.clone(), text))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn references_are_found_between_text() {
        assert_eq!(
            parse("a${{ secret.KEY }}b${{secret.OTHER}}").unwrap(),
            [Piece::Text("a"), Piece::Secret("KEY"), Piece::Text("b"), Piece::Secret("OTHER")]
        );
        assert_eq!(parse("").unwrap(), [Piece::Text("")]);
        assert_eq!(parse("${{ open").unwrap(), [Piece::Text("${{ open")]);
    }

    #[test]
    fn other_kinds_of_reference_are_refused_by_name() {
        let error = parse("${{db.main.url}}").unwrap_err().to_string();
        assert!(error.contains("db.main.url") && error.contains("secret.NAME"), "{error}");
    }
}
