//! What values a setting may have.

use std::net::SocketAddr;

use toml::{Table, Value};

/// A kind of value.
#[derive(Clone, Copy, Debug)]
pub(super) enum Kind {
    Text,
    /// A text that is shown to nobody.
    Secret,
    Path,
    Address,
    /// Not negative.
    Number,
    /// A whole number, not negative.
    Count,
    /// `true` or `false`.
    Switch,
    /// Texts by name.
    Labels,
    /// Directories, by their absolute paths.
    Directories,
    /// One of these.
    Choice(&'static [&'static str], &'static str),
}

impl Kind {
    /// What is expected, for messages.
    pub(super) fn expected(self) -> &'static str {
        match self {
            Self::Text | Self::Secret => "a text",
            Self::Path => "a path",
            Self::Address => "an address with a port, as 127.0.0.1:1993",
            Self::Number => "a number that is not negative",
            Self::Count => "a whole number that is not negative",
            Self::Switch => "true or false",
            Self::Labels => "labels, as zone=attic,disk=fast",
            Self::Directories => "absolute paths, as /data:/scratch",
            Self::Choice(_, expected) => expected,
        }
    }

    /// The value if it is of this kind.
    pub(super) fn accept(self, value: Value) -> Option<Value> {
        match (self, value) {
            (Self::Text | Self::Secret | Self::Path, Value::String(text)) => {
                (!text.is_empty()).then_some(Value::String(text))
            }
            (Self::Address, Value::String(text)) => {
                text.parse::<SocketAddr>().is_ok().then_some(Value::String(text))
            }
            (Self::Number, Value::Float(number)) => {
                (number.is_finite() && number >= 0.0).then_some(Value::Float(number))
            }
            (Self::Number, Value::Integer(number)) => {
                let number = i32::try_from(number).ok().filter(|number| *number >= 0)?;
                Some(Value::Float(f64::from(number)))
            }
            (Self::Count, Value::Integer(number)) => {
                (number >= 0).then_some(Value::Integer(number))
            }
            (Self::Switch, Value::Boolean(switch)) => Some(Value::Boolean(switch)),
            (Self::Labels, Value::Table(labels)) => {
                labels.values().all(Value::is_str).then_some(Value::Table(labels))
            }
            (Self::Directories, Value::Array(paths)) => {
                let absolute =
                    |path: &Value| path.as_str().is_some_and(|path| path.starts_with('/'));
                paths.iter().all(absolute).then_some(Value::Array(paths))
            }
            (Self::Choice(choices, _), Value::String(text)) => {
                choices.contains(&text.as_str()).then_some(Value::String(text))
            }
            _ => None,
        }
    }

    /// The value that a text from the environment or a flag stands for.
    pub(super) fn parse(self, text: &str) -> Option<Value> {
        let value = match self {
            Self::Text | Self::Secret | Self::Path | Self::Address | Self::Choice(..) => {
                Value::String(text.to_owned())
            }
            Self::Number => Value::Float(text.parse().ok()?),
            Self::Count => Value::Integer(text.parse().ok()?),
            Self::Switch => Value::Boolean(text.parse().ok()?),
            Self::Labels => Value::Table(labels(text)?),
            Self::Directories => {
                let paths = text.split(':').filter(|path| !path.is_empty());
                Value::Array(paths.map(|path| Value::String(path.to_owned())).collect())
            }
        };
        self.accept(value)
    }
}

fn labels(text: &str) -> Option<Table> {
    let pairs = text.split(',').map(str::trim).filter(|pair| !pair.is_empty());
    pairs
        .map(|pair| {
            let (name, value) = pair.split_once('=')?;
            let name = name.trim();
            (!name.is_empty()).then(|| (name.to_owned(), Value::String(value.trim().to_owned())))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_become_values_of_their_kind() {
        assert_eq!(Kind::Number.parse("2"), Some(Value::Float(2.0)));
        assert_eq!(Kind::Count.parse("2"), Some(Value::Integer(2)));
        assert_eq!(Kind::Switch.parse("false"), Some(Value::Boolean(false)));
        let paths = Kind::Directories.parse("/data:/scratch").unwrap();
        assert_eq!(paths.as_array().map(Vec::len), Some(2));
        let choice = Kind::Choice(&["on", "off"], "on or off");
        assert_eq!(choice.parse("off"), Some(Value::String("off".into())));
        let labels = Kind::Labels.parse("a=b, c=d").unwrap();
        assert_eq!(labels.get("c").and_then(Value::as_str), Some("d"));
    }

    #[test]
    fn what_is_not_of_the_kind_is_refused() {
        for (kind, text) in [
            (Kind::Address, "localhost"),
            (Kind::Number, "-1"),
            (Kind::Number, "NaN"),
            (Kind::Count, "1.5"),
            (Kind::Count, "-1"),
            (Kind::Switch, "on"),
            (Kind::Labels, "attic"),
            (Kind::Text, ""),
            (Kind::Directories, "/data:scratch"),
            (Kind::Choice(&["on", "off"], "on or off"), "maybe"),
        ] {
            assert_eq!(kind.parse(text), None, "{kind:?} {text:?}");
        }
        assert_eq!(Kind::Count.accept(Value::String("1".into())), None);
    }
}
