//! What an object store says when it refuses, in a few words.

/// Characters of an answer that are shown.
const SHOWN: usize = 600;

/// What kind of refusal it is, as far as a person can do something about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// The keys are wrong, or may not do this.
    Denied,
    /// There is no such bucket, or nothing of that name in it.
    Missing,
    /// An object has a name that is no path.
    Name,
    Other,
}

/// A refusal.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{text}")]
pub(crate) struct Answer {
    text: String,
    pub(crate) kind: Kind,
}

impl From<object_store::Error> for Answer {
    /// The library's own text has all layers in it, and the whole XML of the answer.
    fn from(error: object_store::Error) -> Self {
        let said = error.to_string();
        let text = short(&said);
        let kind = match error {
            object_store::Error::InvalidPath { .. } => Kind::Name,
            object_store::Error::Unauthenticated { .. }
            | object_store::Error::PermissionDenied { .. } => Kind::Denied,
            object_store::Error::NotFound { .. } => Kind::Missing,
            _ if said.contains("403 Forbidden") || said.contains("401 Unauthorized") => {
                Kind::Denied
            }
            _ if said.contains("404 Not Found") => Kind::Missing,
            _ => Kind::Other,
        };
        Self { text, kind }
    }
}

/// The text with what the answer's XML says in place of the XML.
fn short(said: &str) -> String {
    let (before, xml) = said.split_once('<').unwrap_or((said, ""));
    let mut text = before.trim_end_matches([' ', ':', '\n']).to_owned();
    for tag in ["Code", "Message"] {
        let (open, close) = (format!("<{tag}>"), format!("</{tag}>"));
        let found = xml.split_once(&open).and_then(|(_, rest)| rest.split_once(&close));
        if let Some((said, _)) = found {
            text.push_str(": ");
            text.push_str(said);
        }
    }
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).take(SHOWN).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(text: &str) -> object_store::Error {
        object_store::Error::Generic { store: "S3", source: text.to_owned().into() }
    }

    #[test]
    fn an_answers_xml_becomes_a_sentence() {
        let answer = Answer::from(said(
            "Server returned non-2xx status code: 403 Forbidden: <?xml version=\"1.0\"?>\n<Error>\
             <Code>SignatureDoesNotMatch</Code><Message>It does not match.</Message>\
             <RequestId>x</RequestId></Error>",
        ));
        assert_eq!(
            answer.to_string(),
            "Generic S3 error: Server returned non-2xx status code: 403 Forbidden: \
             SignatureDoesNotMatch: It does not match."
        );
        assert_eq!(answer.kind, Kind::Denied);
    }

    #[test]
    fn other_answers_are_shown_as_they_are_in_one_line() {
        let answer = Answer::from(said("error sending\nrequest"));
        assert_eq!(answer.to_string(), "Generic S3 error: error sending request");
        assert_eq!(answer.kind, Kind::Other);
        assert_eq!(Answer::from(said("404 Not Found: <Error/>")).kind, Kind::Missing);
    }
}
