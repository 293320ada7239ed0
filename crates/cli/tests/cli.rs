//! What the program prints, word for word, where nobody has to be asked.
//!
//! `UPDATE_GOLDEN=1 cargo test -p metal9-cli` rewrites the files in `golden/`.

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::{Path, PathBuf};
    use std::process::{Command, Output};

    /// The program with nothing of ours around it but `home`.
    fn metal9(home: &Path, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_metal9"));
        command.args(arguments).env_clear().env("HOME", home).current_dir(home);
        command
    }

    fn run(arguments: &[&str]) -> Output {
        let home = tempfile::tempdir().unwrap();
        metal9(home.path(), arguments).output().unwrap()
    }

    fn stdout(output: &Output) -> String {
        String::from_utf8(output.stdout.clone()).unwrap()
    }

    fn stderr(output: &Output) -> String {
        String::from_utf8(output.stderr.clone()).unwrap()
    }

    fn check(name: &str, found: &str) {
        let golden = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(name);
        if std::env::var_os("UPDATE_GOLDEN").is_some() {
            fs::write(&golden, found).unwrap();
        }
        let expected = fs::read_to_string(&golden).unwrap_or_default();
        assert!(
            expected == found,
            "{} is\n{expected}\nbut the program says\n{found}",
            golden.display()
        );
    }

    #[test]
    fn every_command_has_its_help() {
        let commands: [&[&str]; 25] = [
            &[],
            &["dev"],
            &["gateway"],
            &["worker"],
            &["worker", "join"],
            &["worker", "run"],
            &["worker", "install"],
            &["worker", "logs"],
            &["status"],
            &["devices"],
            &["image"],
            &["image", "check"],
            &["task"],
            &["task", "list"],
            &["task", "explain"],
            &["task", "logs"],
            &["token"],
            &["token", "create"],
            &["token", "join"],
            &["doctor"],
            &["selftest"],
            &["config"],
            &["config", "dump"],
            &["completions"],
            &["worker", "status"],
        ];
        let mut all = String::new();
        for command in commands {
            let output = run(&[command, &["--help"]].concat());
            assert!(output.status.success(), "{command:?}");
            all += &format!(
                "$ metal9 {}\n{}\n",
                [command, &["--help"]].concat().join(" "),
                stdout(&output)
            );
        }
        check("help.txt", &all);
    }

    #[test]
    fn hidden_commands_are_not_in_the_help() {
        let help = stdout(&run(&["--help"]));
        assert!(!help.contains("exec-shim") && !help.contains("probe-metal"), "{help}");
    }

    #[test]
    fn this_machine_s_devices_are_shown_without_a_gateway() {
        let output = run(&["devices", "--json"]);
        assert!(output.status.success() && stderr(&output).is_empty(), "{}", stderr(&output));
        let json: serde_json::Value = serde_json::from_str(&stdout(&output)).unwrap();
        assert_ne!(json["machine"]["os"], "");
        let count = |list: &serde_json::Value| list.as_array().unwrap().len();
        assert_eq!(count(&json["devices"]), count(&json["condition"]["devices"]));

        let text = stdout(&run(&["devices"]));
        assert!(text.contains(&format!("system: {}", json["machine"]["os"].as_str().unwrap())));
    }

    #[test]
    fn an_unknown_device_is_explained_with_a_similar_one() {
        let output = run(&["devices", "--explain", "H10O"]);
        assert!(output.status.success());
        check("unknown_device.txt", &stdout(&output));
    }

    #[test]
    fn the_probe_says_why_there_is_no_metal_or_lists_its_devices() {
        let output = run(&["probe-metal"]);
        assert!(output.status.success() && stderr(&output).is_empty(), "{}", stderr(&output));
        let json: serde_json::Value = serde_json::from_str(&stdout(&output)).unwrap();
        assert_eq!(json["devices"].as_array().unwrap().is_empty(), json["reason"].is_string());
        if cfg!(not(target_os = "macos")) {
            assert_eq!(json["reason"], "Metal exists on macOS only");
        }
    }

    #[test]
    fn a_wrong_command_is_a_usage_error_with_a_suggestion() {
        let output = run(&["taks"]);
        assert_eq!(output.status.code(), Some(2));
        assert!(stdout(&output).is_empty());
        assert!(stderr(&output).contains("'task'"), "{}", stderr(&output));
    }

    #[test]
    fn the_settings_are_dumped_with_their_origins() {
        let home = tempfile::tempdir().unwrap();
        let config = home.path().join(".config/metal9/config.toml");
        fs::create_dir_all(config.parent().unwrap()).unwrap();
        fs::write(&config, "[worker]\ncpu = 2\n[gateway]\nhttp = '127.0.0.1:80'\n").unwrap();
        let mut command = metal9(home.path(), &["config", "dump"]);
        let output = command.env("METAL9_GATEWAY_HTTP", "127.0.0.1:81").output().unwrap();
        assert!(output.status.success(), "{}", stderr(&output));
        check("config_dump.txt", &stdout(&output).replace(home.path().to_str().unwrap(), "HOME"));

        let output = metal9(home.path(), &["config", "dump", "--json"]).output().unwrap();
        let json: serde_json::Value = serde_json::from_str(&stdout(&output)).unwrap();
        assert_eq!(json["gateway"]["http"]["value"], "127.0.0.1:80");
        assert_eq!(json["gateway"]["http"]["origin"], config.to_str().unwrap());
    }

    #[test]
    fn an_unknown_setting_is_a_configuration_error() {
        let home = tempfile::tempdir().unwrap();
        let config = home.path().join("my.toml");
        fs::write(&config, "[gateway]\nport = 1\n").unwrap();
        let arguments = ["--config", config.to_str().unwrap(), "gateway"];
        let output = metal9(home.path(), &arguments).output().unwrap();
        assert_eq!(output.status.code(), Some(2));
        check(
            "unknown_setting.txt",
            &stderr(&output).replace(home.path().to_str().unwrap(), "HOME"),
        );
    }

    #[test]
    fn a_configuration_file_that_was_named_must_be_there() {
        let output = run(&["--config", "/not/there.toml", "config", "dump"]);
        assert_eq!(output.status.code(), Some(2));
        assert!(
            stderr(&output).contains("`/not/there.toml`\n  caused by: "),
            "{}",
            stderr(&output)
        );
    }

    #[test]
    fn a_command_without_a_gateway_says_how_to_get_one() {
        let output = run(&["status"]);
        assert_eq!(output.status.code(), Some(2));
        check("no_gateway.txt", &stderr(&output));
    }

    #[test]
    fn a_gateway_of_this_user_is_found_where_it_usually_is() {
        let home = tempfile::tempdir().unwrap();
        let state = home.path().join(".metal9/gateway");
        fs::create_dir_all(&state).unwrap();
        let (grpc, http) = ("127.0.0.1:1", "127.0.0.1:1");
        let ready = serde_json::json!({
            "grpc": grpc, "http": http, "token": "t", "config": state.join("config.ini"), "pid": 1,
        });
        fs::write(state.join("gateway.json"), ready.to_string()).unwrap();
        let output = metal9(home.path(), &["token", "join"]).output().unwrap();
        let text = stderr(&output);
        assert!(text.contains("cannot reach the gateway at"), "{text}");
        assert!(text.contains("127.0.0.1:1"), "{text}");
    }

    #[test]
    fn a_worker_that_has_not_joined_is_told_how_to() {
        let output = run(&["worker", "run"]);
        let text = stderr(&output);
        assert_eq!(output.status.code(), Some(2), "{text}");
        assert!(text.contains("this worker has not joined a gateway"), "{text}");
        assert!(text.contains("hint: join one first with `metal9 worker join`"), "{text}");
    }

    #[test]
    fn a_gateway_that_is_not_there_is_the_requests_failure() {
        // Nobody can listen on port 1 without having been root.
        for command in [&["task", "list"][..], &["status"]] {
            let flags = ["--gateway", "127.0.0.1:1", "--http", "127.0.0.1:1", "--token", "t"];
            let output = run(&[command, &flags].concat());
            assert_eq!(output.status.code(), Some(1), "{command:?}");
            let text = stderr(&output);
            assert!(text.contains("cannot reach the gateway at"), "{text}");
            assert!(text.contains("hint: "), "{text}");
        }
    }

    #[test]
    fn a_state_directory_that_nothing_runs_in_is_named() {
        let output = run(&["status", "--state", "/nobody/here"]);
        assert_eq!(output.status.code(), Some(1));
        assert!(stderr(&output).starts_with("error: no gateway runs in `/nobody/here`\n"));
    }

    #[test]
    fn a_log_filter_that_is_none_is_a_usage_error() {
        let output = run(&["--log", "metal9=loud", "status"]);
        assert_eq!(output.status.code(), Some(2));
        assert!(stderr(&output).contains("`metal9=loud`"), "{}", stderr(&output));
    }

    #[test]
    fn completions_are_made_for_shells() {
        for shell in ["bash", "zsh", "fish"] {
            let output = run(&["completions", shell]);
            assert!(output.status.success() && stdout(&output).contains("metal9"), "{shell}");
        }
    }

    #[test]
    fn the_version_is_one_line() {
        assert_eq!(
            stdout(&run(&["--version"])),
            concat!("metal9 ", env!("CARGO_PKG_VERSION"), "\n")
        );
    }
}
