//! How a registry knows a workspace, by the names of its secrets.

use metal9_rootfs::Credentials;

/// Registries that take a token for the password of an account with a fixed name.
const FIXED: [(&str, &str); 2] =
    [("GCP_ACCESS_TOKEN", "oauth2accesstoken"), ("NGC_API_KEY", "$oauthtoken")];

/// Endings of the names of secrets with an account and with its password, in any letters.
const USERS: [&str; 3] = ["USERNAME", "USER", "LOGIN"];
const PASSWORDS: [&str; 4] = ["PASSWORD", "TOKEN", "KEY", "PASS"];

/// An account of the secrets that a client names; nothing if it names none. The error is for the user.
pub(super) fn credentials(secrets: &[(String, String)]) -> Result<Option<Credentials>, String> {
    if secrets.is_empty() {
        return Ok(None);
    }
    let account = |user: &str, password: &str| {
        Ok(Some(Credentials { user: user.to_owned(), password: password.to_owned() }))
    };
    for (name, user) in FIXED {
        if let Some((_, token)) = secrets.iter().find(|(known, _)| known == name) {
            return account(user, token);
        }
    }
    if secrets.iter().any(|(name, _)| name.starts_with("AWS_")) {
        return Err(
            "the keys of an AWS account are no password of its registry, and metal9 does not ask \
                    AWS for one\nhint: keep what `aws ecr get-login-password` prints as a secret \
                    `ECR_PASSWORD`, `AWS` as `ECR_USERNAME`, and name those two"
                .to_owned(),
        );
    }
    let with_end = |ends: &[&str]| {
        let ends_so = |name: &str| ends.iter().any(|end| name.to_uppercase().ends_with(end));
        secrets.iter().find(|(name, _)| ends_so(name)).map(|(_, value)| value.as_str())
    };
    match (with_end(&USERS), with_end(&PASSWORDS)) {
        (Some(user), Some(password)) => account(user, password),
        _ => {
            let names: Vec<&str> = secrets.iter().map(|(name, _)| name.as_str()).collect();
            Err(format!(
                "of the secrets in `base_image_creds`, {}, none is an account, or none its password\n\
                 hint: name two secrets that end in `_USERNAME` and in `_PASSWORD` or `_TOKEN`",
                names.join(", ")
            ))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn known(secrets: &[(&str, &str)]) -> Result<Option<(String, String)>, String> {
        let secrets: Vec<_> = secrets.iter().map(|(a, b)| ((*a).into(), (*b).into())).collect();
        let known = credentials(&secrets)?;
        Ok(known.map(|it| (it.user, it.password)))
    }

    #[test]
    fn accounts_are_known_by_the_names_that_secrets_have_for_the_usual_registries() {
        let account = |user: &str, password: &str| Ok(Some((user.into(), password.into())));
        assert_eq!(known(&[]), Ok(None));
        assert_eq!(
            known(&[("DOCKERHUB_USERNAME", "a"), ("DOCKERHUB_PASSWORD", "b")]),
            account("a", "b")
        );
        assert_eq!(known(&[("GITHUB_TOKEN", "b"), ("GITHUB_USERNAME", "a")]), account("a", "b"));
        assert_eq!(known(&[("GCP_ACCESS_TOKEN", "t")]), account("oauth2accesstoken", "t"));
        assert_eq!(known(&[("NGC_API_KEY", "t")]), account("$oauthtoken", "t"));
        assert!(known(&[("AWS_ACCESS_KEY_ID", "a")]).unwrap_err().contains("get-login-password"));
        assert!(known(&[("MY_PASSWORD", "b")]).unwrap_err().contains("_USERNAME"));
    }
}
