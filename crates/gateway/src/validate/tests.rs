use metal9_types::{Device, Vendor};
use proptest::prelude::*;

use super::*;

/// The refusal's text, which has a hint.
fn text<T: std::fmt::Debug>(refused: Result<T, ApiError>) -> String {
    let text = refused.unwrap_err().to_string();
    assert!(text.contains("\nhint: "), "no hint: {text}");
    assert!(text.len() < 700, "a refusal repeats what was sent: {} bytes", text.len());
    text
}

#[test]
fn nonsense_resources_are_refused_with_the_number() {
    let check = resources::resources;
    assert!(check(125, 128).is_ok());
    assert!(check(0, 0).is_ok());
    assert!(text(check(-1, 128)).contains("-1 millicores"));
    assert!(text(check(125, i64::MAX)).contains("more than any machine"));
    assert!(text(check(i64::MIN, 1)).contains("cannot be negative"));
    // A wish that a larger worker could meet waits for one.
    assert!(check(resources::MAX_MILLICORES, resources::MAX_MEMORY_MIB).is_ok());
}

#[test]
fn an_allow_list_has_addresses() {
    let check = |entries: &[&str]| {
        allow_list::allow_list(&entries.iter().map(|&entry| entry.to_owned()).collect::<Vec<_>>())
    };
    assert_eq!(check(&["10.0.0.9/8", "10.1.1.1"]).unwrap(), ["10.0.0.0/8"]);
    assert!(text(check(&["api.example.com"])).contains("`api.example.com` in `allow_list`"));
    assert!(text(check(&[&"x".repeat(5000)])).contains("names are not looked up"));
    assert!(text(check(&["169.254.169.254"])).contains("link-local"));
    assert!(text(check(&["10.0.0.1"; 65])).contains("has 65 entries, and may have 64"));
    assert!(allow_list::warning(&check(&["::/0"]).unwrap()).is_some());
    assert!(allow_list::warning(&check(&["0.0.0.0/0"]).unwrap()).is_none());
}

#[test]
fn a_runtime_is_asked_for_by_its_name() {
    let check = |value: &str, pool| {
        let env = [("A".to_owned(), "b".to_owned()), ("R".to_owned(), value.to_owned())];
        runtime::runtime(&env, "R", pool)
    };
    assert!(runtime::runtime(&[], "R", Some("public")).is_ok());
    assert!(check("runc", None).is_ok() && check(" runsc ", Some("public")).is_ok());
    assert!(text(check("docker", None)).contains("`docker` in R is no runtime"));
    assert!(text(check("native", Some("public"))).contains("pool `public` run in gVisor"));
}

#[test]
fn times_follow_the_client_api() {
    assert_eq!(policy::timeout(-1).unwrap(), None);
    assert_eq!(policy::timeout(0).unwrap(), Some(policy::DEFAULT_TIMEOUT));
    assert_eq!(policy::timeout(7).unwrap(), Some(7));
    assert!(text(policy::timeout(-2)).contains("timeout=-1"));
    assert!(text(policy::timeout(i64::MAX)).contains("31622400"));
    assert_eq!(policy::ttl(0).unwrap(), policy::DEFAULT_TTL);
    assert!(text(policy::ttl(u32::MAX)).contains("time to live"));
    assert_eq!(policy::retries(3).unwrap(), 3);
    assert!(text(policy::retries(101)).contains("101 retries"));
}

#[test]
fn a_container_is_not_kept_for_ever() {
    assert_eq!(policy::keep_warm(0.0).unwrap(), None);
    assert_eq!(policy::keep_warm(-1.0).unwrap(), None);
    assert_eq!(policy::keep_warm(f32::NEG_INFINITY).unwrap(), None);
    assert_eq!(policy::keep_warm(0.5).unwrap(), Some(0.5));
    // JSON has no such numbers: a stub with one could never be read back.
    for seconds in [f32::NAN, f32::INFINITY, f32::MAX] {
        assert!(text(policy::keep_warm(seconds)).contains("keep_warm_seconds"));
    }
}

#[test]
fn variables_that_no_program_can_be_started_with_are_refused() {
    let check = |line: &str| environment::variables(&[line.to_owned()]);
    assert_eq!(check("A=b=c").unwrap(), [("A".to_owned(), "b=c".to_owned())]);
    assert_eq!(check("A").unwrap(), [("A".to_owned(), String::new())]);
    assert!(check("CERT=-----BEGIN\nMII\n").is_ok(), "values may have several lines");
    for line in ["", "=x", "A B=x", "A\nB=x", "A\0=x", "A=x\0y"] {
        text(check(line));
    }
    let long = "x".repeat(environment::MAX_VARIABLE);
    assert!(text(check(&format!("A={long}"))).contains("`A`"));
    assert!(check(&format!("A={}", &long[2..])).is_ok());
    assert!(text(environment::variables(&vec!["A=1".into(); 1001])).contains("1001"));
    let total = vec![format!("A={}", &long[2..]); 10];
    assert!(text(environment::variables(&total)).contains("together"));
}

#[test]
fn names_are_short_and_in_one_line() {
    assert!(names::name("name", "função/é".into()).is_ok());
    assert!(text(names::name("name", "a\nb".into())).contains("the name `a\u{fffd}b`"));
    assert!(text(names::name("name", "x".repeat(100_000))).contains("longer than 256"));
    assert!(names::reference("handler", "app:f".into(), true).is_ok());
    assert!(names::reference("on_start", String::new(), false).is_ok());
    for bad in ["", "app", ":f", "app:", "app:f\0", "app:f\nimport os"] {
        assert!(text(names::reference("handler", bad.into(), true)).contains("handler"));
    }
    assert!(names::callback_url("https://example.test/x".into()).is_ok());
    for bad in ["file:///etc/passwd", "https://a b", "x", "http://a\n"] {
        text(names::callback_url(bad.into()));
    }
    assert!(names::pool("attic".into()).is_ok());
    text(names::pool("  ".into()));
}

#[test]
fn extra_is_json_or_nothing() {
    assert!(names::extra(String::new()).is_ok());
    assert!(names::extra("{\"a\": [1]}".into()).is_ok());
    assert!(text(names::extra("{\"a\": ".into())).contains("not JSON"));
    // A reader that recurses must not be led down.
    text(names::extra("[".repeat(60_000)));
    text(names::extra("1".repeat(names::MAX_EXTRA + 1)));
}

#[test]
fn an_unknown_accelerator_is_refused_with_the_nearest_known_one() {
    for known in ["", "0", "any", "T4", "a100-80", "MPS", "M3 Max", "m4", "RTX4090,H100"] {
        assert!(gpu::request(known, 0, &[]).is_ok(), "{known}");
        assert!(!gpu::has_unknown(known), "{known}");
    }
    assert!(text(gpu::request("H10O", 1, &[])).contains("did you mean `H100`?"));
    assert!(text(gpu::request("H100,potato", 1, &[])).contains("`potato`"));
    assert!(gpu::has_unknown("potato"));
    let potato = Device {
        vendor: Vendor::Nvidia,
        family: "Potato".into(),
        variant: String::new(),
        cores: 0,
        memory_mib: 1,
        slots: 1,
        simulated: false,
    };
    assert!(gpu::request("potato", 1, &[potato]).is_ok());
}

#[test]
fn a_count_of_accelerators_means_any_and_has_a_limit() {
    assert!(gpu::request("", 0, &[]).unwrap().is_none());
    assert_eq!(gpu::request("", 2, &[]).unwrap().to_string(), "ANY ×2");
    assert!(text(gpu::request("T4", u32::MAX, &[])).contains("gpu_count"));
    text(gpu::request(&"T4,".repeat(65), 1, &[]));
}

#[test]
fn images_have_limits() {
    let spec = |packages: Vec<String>| metal9_types::ImageSpec {
        python_packages: packages,
        ..Default::default()
    };
    assert!(image::image(&spec(vec!["numpy".into()])).is_ok());
    assert!(text(image::image(&spec(vec!["x".into(); 1001]))).contains("1001"));
    assert!(text(image::image(&spec(vec!["x".repeat(20_000)]))).contains("20000 bytes"));
    assert!(text(image::image(&spec(vec!["a\0b".into()]))).contains("NUL"));
}

proptest! {
    #[test]
    fn no_number_and_no_text_makes_a_validator_panic(
        cpu: i64, memory: i64, seconds: i64, ttl: u32, retries: u32, warm: f32, count: u32,
        line in ".*", other in "\\PC*",
    ) {
        let _ = resources::resources(cpu, memory);
        let _ = policy::timeout(seconds);
        let _ = policy::ttl(ttl);
        let _ = policy::retries(retries);
        if let Ok(Some(kept)) = policy::keep_warm(warm) {
            prop_assert!(kept.is_finite() && kept > 0.0);
        }
        let _ = gpu::request(&line, count, &[]);
        let _ = environment::variables(&[line.clone(), other.clone()]);
        let _ = names::name("name", line.clone());
        let _ = names::reference("handler", line.clone(), true);
        let _ = names::callback_url(line.clone());
        let _ = names::extra(line);
        let _ = shown(&other);
    }
}
