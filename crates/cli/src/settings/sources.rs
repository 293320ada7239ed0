//! Merging the sources of settings.

use std::path::{Path, PathBuf};

use toml::{Table, Value};

use super::keys::{KEYS, Key};
use super::value::Kind;
use super::{Flags, Origin, Setting, Settings, SettingsError};

/// What there is to merge, the weakest first.
#[derive(Debug, Default)]
pub(super) struct Sources {
    pub(super) home: PathBuf,
    /// The file's path and contents.
    pub(super) file: Option<(PathBuf, String)>,
    pub(super) environment: Vec<(String, String)>,
    pub(super) flags: Flags,
}

impl Sources {
    /// Merges them.
    ///
    /// # Errors
    ///
    /// If one of them says something that makes no sense.
    pub(super) fn merge(self) -> Result<Settings, SettingsError> {
        let mut settings = Settings { values: std::collections::BTreeMap::new() };
        for key in KEYS {
            if let Some(value) = key.default(&self.home) {
                settings.set(key, value, Origin::Default);
            }
        }
        if let Some((path, text)) = &self.file {
            self.merge_file(path, text, &mut settings)?;
        }
        self.merge_environment(&mut settings)?;
        for ((section, name), text) in &self.flags {
            let known = KEYS.iter().find(|key| key.section == *section && key.name == *name);
            if let Some(key) = known {
                let origin = Origin::Flag(format!("--{}", flag_name(name)));
                settings.set(key, self.parse(key, text, &origin)?, origin);
            }
        }
        Ok(settings)
    }

    fn merge_file(
        &self,
        path: &Path,
        text: &str,
        settings: &mut Settings,
    ) -> Result<(), SettingsError> {
        let unknown = |key: String, nearest: Option<String>, known: String| {
            SettingsError::UnknownKey { path: path.to_owned(), key, nearest, known }
        };
        let tables: Table = text.parse().map_err(|source| SettingsError::Syntax {
            path: path.to_owned(),
            source: Box::new(source),
        })?;
        for (section, table) in tables {
            let in_section = || KEYS.iter().filter(|key| key.section == section);
            let Value::Table(table) = table else {
                // A setting that was written above the first section, most likely.
                let nearest = KEYS.iter().find(|key| key.name == section).map(Key::path);
                return Err(unknown(section, nearest, sections()));
            };
            if in_section().next().is_none() {
                let nearest = nearest(&section, KEYS.iter().map(|key| key.section));
                let nearest = nearest.map(|section| format!("[{section}]"));
                return Err(unknown(format!("[{section}]"), nearest, sections()));
            }
            for (name, value) in table {
                let Some(key) = in_section().find(|key| key.name == name) else {
                    let known = list(in_section().map(|key| key.name));
                    let nearest = nearest(&name, in_section().map(|key| key.name));
                    return Err(unknown(format!("{section}.{name}"), nearest, known));
                };
                let origin = Origin::File(path.to_owned());
                let found = value.to_string();
                let value = key.kind.accept(value).ok_or_else(|| wrong(key, found, &origin))?;
                settings.set(key, self.expand(key, value), origin);
            }
        }
        Ok(())
    }

    fn merge_environment(&self, settings: &mut Settings) -> Result<(), SettingsError> {
        for (name, text) in self.environment.iter().filter(|(_, text)| !text.is_empty()) {
            let in_section = |key: &Key| {
                let prefix = format!("METAL9_{}_", key.section.to_uppercase());
                name.starts_with(&prefix)
            };
            let section: Vec<&Key> = KEYS.iter().filter(|key| in_section(key)).collect();
            let Some(key) = section.iter().find(|key| key.variable() == *name) else {
                if section.is_empty() {
                    continue;
                }
                let known = list(section.iter().map(|key| key.variable()));
                let variables: Vec<String> = section.iter().map(|key| key.variable()).collect();
                let nearest = nearest(name, variables.iter().map(String::as_str));
                return Err(SettingsError::UnknownVariable { name: name.clone(), nearest, known });
            };
            let origin = Origin::Environment(name.clone());
            settings.set(key, self.parse(key, text, &origin)?, origin);
        }
        Ok(())
    }

    fn parse(&self, key: &Key, text: &str, origin: &Origin) -> Result<Value, SettingsError> {
        let value = key.kind.parse(text).ok_or_else(|| wrong(key, text.to_owned(), origin))?;
        Ok(self.expand(key, value))
    }

    /// Puts the user's home in the place of a leading `~`, which no shell has done in a file.
    fn expand(&self, key: &Key, value: Value) -> Value {
        match (key.kind, &value) {
            (Kind::Path, Value::String(text)) => match text.strip_prefix("~/") {
                Some(rest) => Value::String(self.home.join(rest).to_string_lossy().into_owned()),
                None => value,
            },
            _ => value,
        }
    }
}

impl Settings {
    fn set(&mut self, key: &Key, value: Value, origin: Origin) {
        self.values.insert((key.section, key.name), Setting { value, origin });
    }
}

/// The flag of a setting, where it is not the setting's name.
fn flag_name(name: &str) -> String {
    match name {
        "state_dir" => "state".to_owned(),
        "labels" => "label".to_owned(),
        "memory_mib" => "memory".to_owned(),
        name => name.replace('_', "-"),
    }
}

fn wrong(key: &Key, found: String, origin: &Origin) -> SettingsError {
    let found = if matches!(key.kind, Kind::Secret) { "something else".to_owned() } else { found };
    let (key, expected) = (key.path(), key.kind.expected());
    SettingsError::Value { key, origin: origin.clone(), found, expected }
}

/// How alike two names must be for one to be offered in place of the other.
const ALIKE: f64 = 0.6;

/// The name that was meant, most likely.
fn nearest<'a>(name: &str, known: impl Iterator<Item = &'a str>) -> Option<String> {
    let alike = |known: &&str| strsim::normalized_damerau_levenshtein(name, known);
    let best = known.max_by(|a, b| alike(a).total_cmp(&alike(b)))?;
    (alike(&best) >= ALIKE).then(|| best.to_owned())
}

fn sections() -> String {
    list(["[gateway]", "[worker]", "[images]", "[juicefs]", "[dev]"])
}

fn list<T: AsRef<str>>(names: impl IntoIterator<Item = T>) -> String {
    let names: Vec<String> = names.into_iter().map(|name| format!("`{}`", name.as_ref())).collect();
    names.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sources(file: &str, environment: &[(&str, &str)]) -> Sources {
        Sources {
            home: "/home/me".into(),
            file: Some(("/etc/metal9.toml".into(), file.to_owned())),
            environment: environment.iter().map(|(n, v)| ((*n).into(), (*v).into())).collect(),
            flags: Vec::new(),
        }
    }

    fn grpc(settings: &Settings) -> (&str, &Origin) {
        let setting = &settings.values[&("gateway", "grpc")];
        (setting.value.as_str().unwrap(), &setting.origin)
    }

    fn error(sources: Sources) -> String {
        sources.merge().unwrap_err().to_string()
    }

    #[test]
    fn the_stronger_source_wins_and_is_named() {
        let file = "[gateway]\ngrpc = '127.0.0.1:1'\n";
        let variable = [("METAL9_GATEWAY_GRPC", "127.0.0.1:2")];

        let settings = sources("", &[]).merge().unwrap();
        assert_eq!(grpc(&settings), ("127.0.0.1:1993", &Origin::Default));

        let settings = sources(file, &[]).merge().unwrap();
        assert_eq!(grpc(&settings), ("127.0.0.1:1", &Origin::File("/etc/metal9.toml".into())));

        let settings = sources(file, &variable).merge().unwrap();
        let origin = Origin::Environment("METAL9_GATEWAY_GRPC".into());
        assert_eq!(grpc(&settings), ("127.0.0.1:2", &origin));

        let mut all = sources(file, &variable);
        all.flags.push((("gateway", "grpc"), "127.0.0.1:3".into()));
        let settings = all.merge().unwrap();
        assert_eq!(grpc(&settings), ("127.0.0.1:3", &Origin::Flag("--grpc".into())));
        assert_eq!(settings.gateway().unwrap().grpc.port(), 3);
    }

    #[test]
    fn a_key_that_is_no_setting_is_an_error_that_names_those_that_are() {
        let message = error(sources("[gateway]\ngrcp = 'x'\n", &[]));
        assert!(message.contains("gateway.grcp") && message.contains("mean `grpc`?"), "{message}");
        let message = error(sources("[gatewya]\n", &[]));
        assert!(message.contains("mean `[gateway]`?"), "{message}");
        let message = error(sources("grpc = '127.0.0.1:1'\n", &[]));
        assert!(message.contains("mean `gateway.grpc`?"), "{message}");
        let message = error(sources("[gateway]\nelephant = 1\n", &[]));
        assert!(!message.contains("did you mean"), "{message}");
        let message = error(sources("", &[("METAL9_WORKER_CPUS", "1")]));
        assert!(message.contains("mean `METAL9_WORKER_CPU`?"), "{message}");
    }

    #[test]
    fn variables_of_others_do_not_matter() {
        let others = [("METAL9_LOG", "debug"), ("METAL9_GATEWAY", "x:1"), ("METAL9_DEV_GRPC", "")];
        assert!(sources("", &others).merge().is_ok());
    }

    #[test]
    fn a_value_that_makes_no_sense_is_told_with_where_it_is_from() {
        let message = error(sources("[gateway]\ngrpc = 'here'\n", &[]));
        assert!(message.contains("/etc/metal9.toml") && message.contains("1993"), "{message}");
        let message = error(sources("", &[("METAL9_WORKER_CPU", "many")]));
        assert!(message.contains("$METAL9_WORKER_CPU") && message.contains("number"), "{message}");
    }

    #[test]
    fn the_sections_become_options() {
        let file = "[worker]\ncpu = 2\nstate_dir = '~/w'\n[worker.labels]\nzone = 'attic'\n\
                    [gateway]\nkeep_warm_seconds = 0\n";
        let settings = sources(file, &[]).merge().unwrap();
        let worker = settings.worker().unwrap();
        assert_eq!((worker.cpu, worker.memory_mib), (Some(2.0), None));
        assert_eq!(worker.state_dir, Path::new("/home/me/w"));
        assert_eq!(worker.labels["zone"], "attic");
        let dev = settings.dev().unwrap();
        assert_eq!(dev.state_dir, Path::new("/home/me/.metal9/dev"));
        assert_eq!((dev.grpc.port(), dev.http.port()), (1993, 1994));
        assert!(settings.gateway().unwrap().keep_warm_seconds.abs() < f32::EPSILON);
    }
}
