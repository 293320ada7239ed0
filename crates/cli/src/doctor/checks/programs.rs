//! What environments are made with.

use crate::doctor::facts::Programs;
use crate::report::Check;

const INSTALL_PYTHON: &str =
    "install Python 3.10 or newer with `venv`, or let uv do it: `uv python install 3.12`";

pub(super) fn checks(programs: &Result<Programs, String>) -> Vec<Check> {
    let programs = match programs {
        Ok(programs) => programs,
        Err(reason) => {
            return vec![Check::fail("uv", reason).fix("check --uv, worker.uv and $METAL9_UV")];
        }
    };
    vec![uv(programs), pythons(programs)]
}

fn uv(programs: &Programs) -> Check {
    match (&programs.uv, &programs.python) {
        (Some(uv), _) => Check::ok("uv", uv.display().to_string()),
        (None, Some(python)) => {
            Check::ok("uv", format!("none; the worker fetches one with Python {python}"))
        }
        (None, None) => {
            Check::fail("uv", "none, and no Python to fetch it with").fix(INSTALL_PYTHON)
        }
    }
}

fn pythons(programs: &Programs) -> Check {
    match (&programs.pythons, &programs.python) {
        (Some(pythons), _) if pythons.is_empty() => {
            Check::fail("pythons", "none that environments can be made for").fix(INSTALL_PYTHON)
        }
        (Some(pythons), _) => Check::ok("pythons", pythons.join(", ")),
        (None, Some(python)) => {
            Check::ok("pythons", format!("{python}, and those that uv will find"))
        }
        (None, None) => Check::fail("pythons", "none").fix(INSTALL_PYTHON),
    }
}
