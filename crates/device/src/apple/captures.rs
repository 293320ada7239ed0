//! Reads the captures of real Macs under `tests/captures`.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use super::raw::{Accelerator, IDENTITY, NUMBERS, STATISTICS, TEXTS, Value};

/// A capture's text.
pub(crate) fn read(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/captures").join(name);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// Values of sysctl, of those that are asked for.
pub(crate) fn sysctl(values: &[(&str, Value)]) -> BTreeMap<String, Value> {
    let asked_for = |name: &str| TEXTS.contains(&name) || NUMBERS.contains(&name);
    assert!(values.iter().all(|(name, _)| asked_for(name)), "{values:?}");
    values.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect()
}

/// The entries of a capture of `ioreg`, as the registry itself would have told them.
pub(crate) fn registry(name: &str) -> Vec<Accelerator> {
    let mut found: Vec<Accelerator> = Vec::new();
    for line in read(name).lines().map(str::trim) {
        if let Some(head) = line.strip_prefix("+-o ") {
            let class = head.split_whitespace().next().unwrap().to_owned();
            let id = head.split_once("id 0x").map_or(0, |(_, rest)| {
                let digits = rest.split(|c: char| !c.is_ascii_hexdigit()).next().unwrap();
                u64::from_str_radix(digits, 16).unwrap()
            });
            found.push(Accelerator { id, class, properties: BTreeMap::new() });
        } else if let Some((name, text)) = line.split_once(" = ") {
            let name = name.trim_matches('"');
            // As on a Mac, only what is asked for is told.
            if name == STATISTICS || IDENTITY.contains(&name) {
                let properties = &mut found.last_mut().unwrap().properties;
                properties.insert(name.to_owned(), value(text));
            }
        }
    }
    found
}

/// A value as `ioreg` prints it.
fn value(text: &str) -> Value {
    if let Some(inner) = text.strip_prefix('{') {
        let pairs = inner.strip_suffix('}').unwrap().split(',');
        let pairs = pairs.map(|pair| pair.rsplit_once('=').unwrap());
        let pairs = pairs.map(|(name, text)| (name.trim_matches('"').to_owned(), value(text)));
        return Value::Map(pairs.collect());
    }
    match text.parse() {
        Ok(number) => Value::Number(number),
        Err(_) => Value::Text(text.trim_matches('"').to_owned()),
    }
}
