//! What `system_profiler -json SPDisplaysDataType` says of GPUs.

use serde::Deserialize;

use super::Chip;

/// A GPU; displays, which carry serial numbers, are not read at all.
#[derive(PartialEq, Eq, Debug)]
pub(super) struct Gpu {
    /// The name of the model, as `Apple M4`.
    pub(super) model: String,
    /// GPU cores; 0 if unknown.
    pub(super) cores: u32,
}

#[derive(Deserialize)]
struct Document {
    #[serde(rename = "SPDisplaysDataType", default)]
    gpus: Vec<Item>,
}

#[derive(Deserialize)]
struct Item {
    #[serde(rename = "_name", default)]
    name: String,
    #[serde(rename = "sppci_model", default)]
    model: String,
    #[serde(rename = "sppci_cores", default)]
    cores: String,
    #[serde(rename = "spdisplays_vendor", default)]
    vendor: String,
}

/// Reads Apple's GPUs; nothing if the text is not what it should be.
pub(super) fn parse(text: &str) -> Vec<Gpu> {
    let document: Document = serde_json::from_str(text).unwrap_or(Document { gpus: Vec::new() });
    let of_apple = document.gpus.into_iter().filter(|item| item.vendor == "sppci_vendor_Apple");
    of_apple
        .filter_map(|item| {
            let cores = item.cores.parse().unwrap_or(0);
            // The name may be a token (`kHW_AppleM1Item`), and the model may lack the variant.
            let names =
                [item.name, item.model].into_iter().filter(|name| Chip::parse(name).is_some());
            names.max_by_key(String::len).map(|model| Gpu { model, cores })
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::super::captures;
    use super::*;

    #[test]
    fn every_capture_tells_its_model_and_cores() {
        let expected = [
            ("m1-7core-a045", "Apple M1", 7),
            ("m1-7core-a047", "Apple M1", 7),
            ("m1max-32core-2displays", "Apple M1 Max", 32),
            ("m1pro-16core-3displays", "Apple M1 Pro", 16),
            ("m2max-30core-metal4-trimmed", "Apple M2 Max", 30),
            ("m3max-40core-macos26.5-trimmed", "Apple M3 Max", 40),
            ("m3pro-14core-trimmed", "Apple M3 Pro", 14),
            ("m4-10core-metal4-trimmed", "Apple M4", 10),
            ("m5-10core-trimmed", "Apple M5", 10),
        ];
        for (name, model, cores) in expected {
            let text = captures::read(&format!("system_profiler-{name}.json"));
            assert_eq!(parse(&text), [Gpu { model: model.into(), cores }], "{name}");
        }
    }

    #[test]
    fn what_is_no_gpu_of_apple_s_or_no_json_is_nothing() {
        for text in ["", "{}", "[]", "{\"SPDisplaysDataType\": 3}"] {
            assert_eq!(parse(text), [], "{text}");
        }
        let intel = r#"{"SPDisplaysDataType": [{"_name": "kHW_IntelUHDGraphics630Item",
            "sppci_model": "Intel UHD Graphics 630", "spdisplays_vendor": "Intel"}]}"#;
        assert_eq!(parse(intel), []);
    }
}
