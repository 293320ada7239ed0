//! Addresses that need no token: signed with the gateway's key for one method, one path and a time.

use std::time::Duration;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde::Deserialize;
use utoipa::IntoParams;

use crate::error::ApiError;
use crate::job_token::Signer;
use crate::shared::Shared;
use crate::timestamps::now;
use crate::validate::refuse;

/// The longest that an address may be good for.
const LONGEST: Duration = Duration::from_secs(7 * 24 * 3600);

/// What of a path's text is written as it is.
const PLAIN: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// What a signed address carries.
#[derive(Clone, Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct Signature {
    /// Until when the address is good, in Unix seconds.
    #[serde(default)]
    expires: i64,
    /// Proves that the gateway made the address.
    #[serde(default)]
    signature: String,
}

/// A part of a path as it stands in an address.
pub(crate) fn encoded(text: &str) -> String {
    utf8_percent_encode(text, PLAIN).to_string()
}

fn text(method: &str, path: &str, expires: i64) -> String {
    format!("{method}\n{path}\n{expires}")
}

/// `path?expires=…&signature=…`.
fn sign(signer: &Signer, method: &str, path: &str, expires: i64) -> String {
    let signature = signer.sign_address(&text(method, path, expires));
    format!("{path}?expires={expires}&signature={signature}")
}

fn check(
    signer: &Signer,
    method: &str,
    path: &str,
    shown: &Signature,
    now_seconds: i64,
) -> Result<(), ApiError> {
    // The signature first: whether an address has expired is nobody's business who made it up.
    if !signer.verify_address(&text(method, path, shown.expires), &shown.signature) {
        return Err(ApiError::Forbidden("the address is not signed by this gateway"));
    }
    if shown.expires <= now_seconds {
        return Err(ApiError::Forbidden("the address has expired"));
    }
    Ok(())
}

fn now_seconds() -> i64 {
    now().div_euclid(1_000_000)
}

impl Shared {
    /// A whole address that is good for one method and path. `path` is encoded already.
    pub(crate) fn presign(
        &self,
        method: &str,
        path: &str,
        valid_seconds: u32,
    ) -> Result<String, ApiError> {
        if valid_seconds == 0 || u64::from(valid_seconds) > LONGEST.as_secs() {
            let hint = "ask for 1 second to 7 days (604800 seconds)";
            return Err(refuse(format!("an address cannot be good for {valid_seconds} s"), hint));
        }
        let expires = now_seconds() + i64::from(valid_seconds);
        Ok(format!("{}{}", self.http_url(), sign(&self.signer, method, path, expires)))
    }

    /// Refuses an address that this gateway has not signed for this method, or that has expired.
    pub(crate) fn check_presigned(
        &self,
        method: &str,
        path: &str,
        shown: &Signature,
    ) -> Result<(), ApiError> {
        check(&self.signer, method, path, shown, now_seconds())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parts(address: &str) -> (String, Signature) {
        let (path, query) = address.split_once('?').unwrap();
        let (expires, signature) = query.split_once('&').unwrap();
        let expires = expires.strip_prefix("expires=").unwrap().parse().unwrap();
        let signature = signature.strip_prefix("signature=").unwrap().to_owned();
        (path.to_owned(), Signature { expires, signature })
    }

    #[test]
    fn an_address_is_good_for_its_method_and_path_and_time() {
        let signer = Signer::new([1; 32]);
        let (path, shown) = parts(&sign(&signer, "GET", "/output/id/1", 1000));
        assert!(check(&signer, "GET", &path, &shown, 999).is_ok());
        assert!(check(&signer, "PUT", &path, &shown, 999).is_err());
        assert!(check(&signer, "GET", "/output/id/2", &shown, 999).is_err());
        assert!(check(&signer, "GET", &path, &shown, 1000).is_err());
        assert!(check(&Signer::new([2; 32]), "GET", &path, &shown, 999).is_err());
        let longer = Signature { expires: 2000, ..shown };
        assert!(check(&signer, "GET", &path, &longer, 999).is_err());
    }

    #[test]
    fn a_name_cannot_get_out_of_its_part_of_the_path() {
        assert_eq!(encoded("a b/../?#%\n"), "a%20b%2F..%2F%3F%23%25%0A");
    }
}
