//! What environments are made with.

use crate::doctor::facts::Programs;
use crate::report::Check;

const INSTALL_PYTHON: &str =
    "install Python 3.10 or newer, or let uv do it: `uv python install 3.12`";
const INSTALL_UV: &str =
    "install metal9 with install.sh, which brings a uv, or install uv yourself";
const INSTALL_GOOD_PYTHON: &str = "let the worker reach github.com, or a mirror that \
                                   $UV_PYTHON_INSTALL_MIRROR names, or run `uv python install 3.12`";

pub(super) fn checks(programs: &Result<Programs, String>, is_mac: bool) -> Vec<Check> {
    let programs = match programs {
        Ok(programs) => programs,
        Err(reason) => {
            return vec![Check::fail("uv", reason).fix("check --uv, worker.uv and $METAL9_UV")];
        }
    };
    vec![uv(programs), pythons(programs, is_mac)]
}

fn uv(programs: &Programs) -> Check {
    match (&programs.uv, &programs.python) {
        (Some(uv), _) => Check::ok("uv", uv.display().to_string()),
        (None, Some(python)) => {
            Check::ok("uv", format!("none; the worker fetches one with Python {python}"))
        }
        (None, None) => Check::fail("uv", "none, and no Python to fetch it with").fix(INSTALL_UV),
    }
}

fn pythons(programs: &Programs, is_mac: bool) -> Check {
    let none = |found: &str| match is_mac {
        true => Check::ok("pythons", "none; the worker installs Python 3.12"),
        false => Check::fail("pythons", found).fix(INSTALL_PYTHON),
    };
    match (&programs.pythons, &programs.python) {
        (Some(pythons), _) if pythons.is_empty() => none("none that environments can be made for"),
        (Some(pythons), _) if *pythons == programs.restarting => {
            let found = format!(
                "{}, of Xcode, Homebrew or python.org: they restart as another program, and jobs \
                 lose the kernel's limit of memory",
                pythons.join(", ")
            );
            Check::warn("pythons", found).fix(INSTALL_GOOD_PYTHON)
        }
        (Some(pythons), _) => Check::ok("pythons", pythons.join(", ")),
        (None, Some(python)) => {
            Check::ok("pythons", format!("{python}, and those that uv will find"))
        }
        (None, None) => none("none"),
    }
}
