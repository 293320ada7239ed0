//! Errors as text for a person.

use std::error::Error;

/// The error and its causes, outermost first, each separated by a colon.
pub(crate) fn chain(error: &(dyn Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use std::io;

    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("could not read `x`")]
    struct Outer(#[source] io::Error);

    #[test]
    fn every_layer_is_told_once() {
        let error = Outer(io::Error::other("disk is gone"));
        assert_eq!(chain(&error), "could not read `x`: disk is gone");
    }
}
