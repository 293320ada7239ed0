//! Plists, units and plans, word for word.
//!
//! `UPDATE_GOLDEN=1 cargo test --workspace --test golden` rewrites the files in `golden/`.

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::{Path, PathBuf};
    use std::process::Command;
    use std::time::Duration;

    use metal9_service::{
        Account, Manager, Place, Plan, Scope, Service, definition, log_of, plans,
    };

    fn service(manager: Manager, scope: Scope) -> Service {
        let home = match manager {
            Manager::Launchd => "/Users/ada",
            Manager::Systemd => "/home/ada",
        };
        let account = Account { name: "ada".into(), uid: 501, home: home.into() };
        Service {
            place: Place { manager, scope, account },
            program: "/usr/local/bin/metal9".into(),
            config: None,
            state: Path::new(home).join(".metal9/worker"),
            path: ["/usr/local/bin", "/usr/bin", "/bin"].map(PathBuf::from).into(),
            variables: vec![("METAL9_WORKER_LABELS".into(), "zone=attic & cellar".into())],
            drain: Duration::from_secs(10),
            makes_containers: false,
        }
    }

    /// The worker of a machine that makes containers, which only root's does.
    fn of_containers() -> Service {
        let account = Account { name: "root".into(), uid: 0, home: "/root".into() };
        let place = Place { manager: Manager::Systemd, scope: Scope::System, account };
        let variables = vec![("METAL9_WORKER_RUNTIME".into(), "runc".into())];
        let state = "/root/.metal9/worker".into();
        let usual = service(Manager::Systemd, Scope::System);
        Service { place, state, variables, makes_containers: true, ..usual }
    }

    fn all() -> impl Iterator<Item = (String, Service)> {
        let kinds = [
            ("agent", Manager::Launchd, Scope::User),
            ("daemon", Manager::Launchd, Scope::System),
            ("user_unit", Manager::Systemd, Scope::User),
            ("system_unit", Manager::Systemd, Scope::System),
        ];
        kinds.into_iter().map(|(name, manager, scope)| (name.to_owned(), service(manager, scope)))
    }

    fn check(name: &str, found: &str) {
        let golden = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(name);
        if std::env::var_os("UPDATE_GOLDEN").is_some() {
            fs::write(&golden, found).unwrap();
        }
        let expected = fs::read_to_string(&golden).unwrap_or_default();
        assert!(expected == found, "{} is\n{expected}\nbut now it is\n{found}", golden.display());
    }

    fn lines(plan: &Plan) -> String {
        let steps: Vec<String> = plan
            .iter()
            .map(|step| match step {
                metal9_service::Step::Write { path, .. } => format!("write {}", path.display()),
                other => other.to_string(),
            })
            .collect();
        steps.join("\n") + "\n"
    }

    #[test]
    fn definitions_are_what_they_were() {
        for (name, service) in all() {
            check(&format!("{name}.txt"), &definition(&service));
        }
        check("container_unit.txt", &definition(&of_containers()));
    }

    /// What takes away mounts, namespaces, devices, kernel settings or programs of other rights has
    /// no place in the unit of a worker that makes containers.
    #[test]
    fn a_unit_keeps_no_container_from_being_made() {
        let text = definition(&of_containers());
        let settings: Vec<&str> =
            text.lines().filter_map(|it| Some(it.split_once('=')?.0)).collect();
        let harmful =
            ["Private", "Protect", "Restrict", "NoNew", "SystemCall", "Capability", "ReadOnly"];
        let harmful =
            harmful.iter().chain(&["Device", "Inaccessible", "Memory", "Temporary", "Root"]);
        for prefix in harmful {
            let found = settings.iter().find(|it| it.starts_with(prefix) && **it != "RestartSec");
            assert_eq!(found, None, "{text}");
        }
        let needed =
            ["Delegate=yes", "KillMode=mixed", "User=root", "TasksMax=infinity", "UMask=0022"];
        for needed in needed {
            assert!(text.lines().any(|line| line == needed), "{needed} is not in\n{text}");
        }
        assert!(metal9_service::suits_containers(&text));
        let native = definition(&service(Manager::Systemd, Scope::System));
        assert!(!metal9_service::suits_containers(&native));
    }

    #[test]
    fn plans_are_what_they_were() {
        for (name, service) in all() {
            let place = &service.place;
            let mut text = String::new();
            for (verb, plan) in [
                ("install", plans::install(&service, None)),
                ("start", plans::start(place)),
                ("stop", plans::stop(place)),
                ("uninstall", plans::uninstall(place, Some(&definition(&service)))),
            ] {
                text += &format!("# {verb}\n{}", lines(&plan));
            }
            text += &format!("# ask\n{}\n", plans::query(place).join(" "));
            text +=
                &format!("# logs\n{}\n", plans::logs(place, &service.log(), 200, true).join(" "));
            if let Some(linger) = plans::linger(place) {
                text += &format!("# linger\n{}\n", linger.join(" "));
            }
            check(&format!("{name}_plans.txt"), &text);
        }
    }

    #[test]
    fn a_worker_is_waited_for_as_long_as_its_own_definition_lets_it_run() {
        let service = service(Manager::Launchd, Scope::User);
        let slow = Service { drain: Duration::from_secs(100), ..service.clone() };
        let waits = |plan: &Plan| {
            let within = plan.iter().find_map(|step| match step {
                metal9_service::Step::UntilGone { within, .. } => Some(within.as_secs()),
                _ => None,
            });
            within.unwrap()
        };
        let (before, place) = (definition(&slow), &service.place);
        assert_eq!(waits(&plans::install(&service, Some(&before))), 130);
        assert_eq!(waits(&plans::install(&service, None)), 40);
        assert_eq!(waits(&plans::uninstall(place, Some(&before))), 130);
        assert_eq!(waits(&plans::uninstall(place, Some("no plist"))), 30, "launchd's own default");
    }

    #[test]
    fn a_plist_is_read_back_as_it_was_meant() {
        for scope in [Scope::User, Scope::System] {
            let mut service = service(Manager::Launchd, scope);
            service.config = Some("/Users/ada/a <b> & \"c\".toml".into());
            service.drain = Duration::from_millis(1500);
            let text = definition(&service);
            assert_eq!(log_of(&text), Some(service.log()));
            let value = plist::Value::from_reader_xml(text.as_bytes()).unwrap();
            let keys = value.as_dictionary().unwrap();
            let text = |name: &str| keys.get(name).and_then(plist::Value::as_string);
            assert_eq!(text("ProcessType"), Some("Interactive"));
            assert_eq!(text("UserName"), (scope == Scope::System).then_some("ada"));
            let number = |name: &str| keys.get(name).and_then(plist::Value::as_unsigned_integer);
            assert_eq!(number("ExitTimeOut"), Some(22), "longer than the drain, in whole seconds");
            let words = keys.get("ProgramArguments").and_then(plist::Value::as_array).unwrap();
            assert_eq!(words[2].as_string(), Some("/Users/ada/a <b> & \"c\".toml"));
            let keep = keys.get("KeepAlive").and_then(plist::Value::as_dictionary).unwrap();
            assert_eq!(keep.get("SuccessfulExit"), Some(&plist::Value::Boolean(false)));
        }
    }

    #[test]
    fn systemd_finds_nothing_wrong_with_the_units() {
        if Command::new("systemd-analyze").arg("--version").output().is_err() {
            eprintln!("there is no systemd-analyze; the units are compared as text only");
            return;
        }
        let root = tempfile::tempdir().unwrap();
        let kinds = [(Scope::User, "--user", false), (Scope::System, "--system", false)];
        for (scope, flag, makes_containers) in
            kinds.into_iter().chain([(Scope::System, "--system", true)])
        {
            let mut service = Service { makes_containers, ..service(Manager::Systemd, scope) };
            // A program that is there, an account that is, and a name that needs quotes.
            service.program = "/bin/true".into();
            service.place.account.name = "root".into();
            service.state = "/tmp/a state of 100%".into();
            service.variables.push(("METAL9_WORKER_PYTHON".into(), "\"3.11\" $x \\ %h".into()));
            let unit = root.path().join(service.place.name());
            fs::write(&unit, definition(&service)).unwrap();
            let mut verify = Command::new("systemd-analyze");
            // Without a man page database it would complain about that.
            verify.args(["verify", "--man=no", flag]).arg(&unit);
            let output = verify.env("XDG_RUNTIME_DIR", root.path()).output().unwrap();
            let said = String::from_utf8_lossy(&output.stderr);
            let about_it = said.lines().filter(|line| line.contains(service.place.name()));
            assert_eq!(about_it.collect::<Vec<_>>(), [""; 0], "{said}");
            assert!(output.status.success(), "{said}");
        }
    }
}
