//! Showing the merged settings.

use std::fmt::Write as _;

use serde_json::{Map, Value, json};

use super::Settings;
use super::keys::KEYS;
use super::value::Kind;

impl Settings {
    /// The settings as a configuration file, with the origin of each value as a comment.
    pub(crate) fn as_toml(&self) -> String {
        let mut text = String::new();
        let mut section = "";
        for key in KEYS {
            if key.section != section {
                section = key.section;
                let gap = if text.is_empty() { "" } else { "\n" };
                let _ = writeln!(text, "{gap}[{section}]");
            }
            let _ = match self.get(key) {
                Some(setting) if matches!(key.kind, Kind::Secret) => {
                    let (about, name, origin) = (key.about, key.name, &setting.origin);
                    writeln!(text, "# {about}\n# {name} is set and not shown  # {origin}")
                }
                Some(setting) => {
                    writeln!(
                        text,
                        "# {}\n{} = {}  # {}",
                        key.about, key.name, setting.value, setting.origin
                    )
                }
                None => writeln!(text, "# {}\n# {} is not set", key.about, key.name),
            };
        }
        text
    }

    /// The settings with their origins, for programs.
    pub(crate) fn as_json(&self) -> Value {
        let mut sections = Map::new();
        for key in KEYS {
            let section = sections.entry(key.section).or_insert_with(|| json!({}));
            section[key.name] = match self.get(key) {
                Some(setting) if matches!(key.kind, Kind::Secret) => {
                    json!({ "secret": true, "origin": setting.origin.to_string() })
                }
                Some(setting) => {
                    json!({ "value": setting.value, "origin": setting.origin.to_string() })
                }
                None => Value::Null,
            };
        }
        Value::Object(sections)
    }
}

#[cfg(test)]
mod tests {
    use super::super::sources::Sources;

    #[test]
    fn secrets_are_not_in_the_dump() {
        let text = "[juicefs]\nmetadata = 'redis://:sesame@h/1'\nsecret_key = 'sesame'\n";
        let file = Some(("/x.toml".into(), text.to_owned()));
        let settings = Sources { file, ..Sources::default() }.merge().unwrap();
        let shown = format!("{}{}{settings:?}", settings.as_toml(), settings.as_json());
        assert!(!shown.contains("sesame"), "{shown}");
        assert!(shown.contains("metadata is set and not shown  # /x.toml"), "{shown}");
        let juicefs = settings.gateway().unwrap().juicefs;
        assert_eq!(juicefs.metadata.as_deref(), Some("redis://:sesame@h/1"));
        assert!(!format!("{juicefs:?}").contains("sesame"));
    }

    #[test]
    fn the_dump_is_a_configuration_file_again() {
        let dump = |text: &str| {
            let file = Some(("/x.toml".into(), text.to_owned()));
            let sources = Sources { home: "/home/me".into(), file, ..Sources::default() };
            sources.merge().unwrap()
        };
        let text = "[worker]\ncpu = 1.5\nlabels = { zone = \"attic\" }\n";
        let first = dump(text).as_toml();
        assert!(first.contains("cpu = 1.5  # /x.toml"), "{first}");
        assert!(first.contains("grpc = \"127.0.0.1:1993\"  # default"), "{first}");
        assert!(first.contains("# uv is not set"), "{first}");
        let again = dump(&first);
        assert_eq!(again.as_toml(), first.replace("# default", "# /x.toml"));
        assert_eq!(again.as_json()["worker"]["labels"]["value"]["zone"], "attic");
    }
}
