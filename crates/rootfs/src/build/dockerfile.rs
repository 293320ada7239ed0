//! One Dockerfile for all that is to be built.

use super::spec::{BuildSpec, Step};

/// The line that says that there is no Python, and the one that there is no micromamba.
pub(super) const NO_PYTHON: &str = "metal9: this image has no such python";
pub(super) const NO_MICROMAMBA: &str = "metal9: this image has no micromamba";

/// The label of images that were built with secrets.
const OWNER: &str = "dev.metal9.owner";

/// The name of the additional context with the file of this number.
pub(super) fn context_name(number: usize) -> String {
    format!("metal9-file-{number}")
}

/// Renders a build that was checked. `base` is what `spec.base` stands for now; of each file, whether
/// it is a directory.
pub(super) fn render(spec: &BuildSpec, base: &str, directories: &[bool]) -> String {
    let mut lines = Lines(match &spec.dockerfile {
        Some(text) => format!("{}\n\n", text.trim_end()),
        None => format!("FROM {base}\n"),
    });
    if spec.has_steps() {
        lines.push("USER 0");
    }
    if !spec.secrets.is_empty() {
        // Steps are remembered whatever the values of secrets are, and by what was before them.
        lines.push(&format!("LABEL {OWNER}={}", quoted(&spec.owner)));
    }
    for (name, value) in &spec.env {
        lines.push(&format!("ENV {name}={}", quoted(value)));
    }
    for (number, ((_, inside), is_dir)) in spec.files.iter().zip(directories).enumerate() {
        let from = if *is_dir { "." } else { FILE };
        let words = json(&[from, &inside.to_string_lossy()]);
        lines.push(&format!("COPY --from={} {words}", context_name(number)));
    }
    let mut checked = false;
    let mut pip = |lines: &mut Lines, words: &[String]| {
        if !checked {
            lines.run(spec, &python_check(), &[&spec.python]);
            checked = true;
        }
        // Some distributions refuse otherwise to install what is not a package of theirs.
        let script = "export PIP_BREAK_SYSTEM_PACKAGES=1 PIP_NO_CACHE_DIR=1 \
                      PIP_ROOT_USER_ACTION=ignore PIP_DISABLE_PIP_VERSION_CHECK=1; \
                      exec \"$0\" -m pip install \"$@\"";
        let mut arguments = vec![spec.python.as_str()];
        arguments.extend(words.iter().map(String::as_str));
        lines.run(spec, script, &arguments);
    };
    if !spec.packages.is_empty() {
        pip(&mut lines, &spec.packages);
    }
    if spec.uses_micromamba() {
        let check = format!(
            "micromamba --version >/dev/null 2>&1 || {{ echo '{NO_MICROMAMBA}'; exit 97; }}"
        );
        lines.run(spec, &check, &[]);
        lines.push("ENV PATH=\"${MAMBA_ROOT_PREFIX:-/opt/conda}/bin:${PATH}\"");
    }
    for step in &spec.steps {
        match step {
            Step::Shell(command) => lines.run(spec, "exec /bin/sh -c \"$0\"", &[command]),
            Step::Pip(words) => pip(&mut lines, words),
            Step::Micromamba(words) => {
                let arguments = words.iter().map(String::as_str).collect::<Vec<_>>();
                let script = "exec micromamba install --yes --name base \"$@\"";
                lines.run(spec, script, &[&["micromamba"][..], &arguments].concat());
            }
        }
    }
    if !spec.ignore_python {
        lines.run(spec, &python_check(), &[&spec.python]);
    }
    lines.0
}

/// The name of a single file in the context of its own.
pub(super) const FILE: &str = "file";

fn python_check() -> String {
    format!("\"$0\" --version >/dev/null 2>&1 || {{ echo '{NO_PYTHON}'; exit 96; }}")
}

struct Lines(String);

impl Lines {
    fn push(&mut self, line: &str) {
        self.0.push_str(line);
        self.0.push('\n');
    }

    /// As a list of words: nothing in them means anything to whoever reads the file.
    fn run(&mut self, spec: &BuildSpec, script: &str, arguments: &[&str]) {
        let mut mounts = String::new();
        let mut exports = String::new();
        for (name, _) in &spec.secrets {
            mounts.push_str(&format!("--mount=type=secret,id={name} "));
            exports.push_str(&format!("export {name}=\"$(cat /run/secrets/{name})\"; "));
        }
        let script = format!("{exports}{script}");
        let words = [&["/bin/sh", "-c", &script][..], arguments].concat();
        self.push(&format!("RUN {mounts}{}", json(&words)));
    }
}

fn json(words: &[&str]) -> String {
    serde_json::Value::from(words.to_vec()).to_string()
}

/// A value of a variable, so that it stays as it is.
fn quoted(value: &str) -> String {
    let mut text = String::from("\"");
    for character in value.chars() {
        if matches!(character, '"' | '\\' | '$') {
            text.push('\\');
        }
        text.push(character);
    }
    text.push('"');
    text
}

#[cfg(test)]
mod tests;
