//! Image requests become one [`ImageSpec`], whichever call they came with.

use metal9_proto::beta9::image::{BuildImageRequest, BuildStep, VerifyImageBuildRequest};
use metal9_types::ImageSpec;

fn steps(steps: Vec<BuildStep>) -> Vec<metal9_types::BuildStep> {
    steps
        .into_iter()
        .map(|step| metal9_types::BuildStep { kind: step.r#type, command: step.command })
        .collect()
}

/// `NAME=VALUE` lines; a line without `=` is a name with an empty value.
fn env(lines: &[String]) -> Vec<(String, String)> {
    lines
        .iter()
        .map(|line| match line.split_once('=') {
            Some((name, value)) => (name.to_owned(), value.to_owned()),
            None => (line.clone(), String::new()),
        })
        .collect()
}

pub(super) fn from_verify(request: VerifyImageBuildRequest, sdk_version: String) -> ImageSpec {
    ImageSpec {
        python_version: request.python_version,
        python_packages: request.python_packages,
        commands: request.commands,
        build_steps: steps(request.build_steps),
        env_vars: env(&request.env_vars),
        base_image: request.existing_image_uri,
        dockerfile: request.dockerfile,
        build_context: request.build_ctx_object,
        secrets: request.secrets,
        gpu: request.gpu,
        git_repository: request.git_source.map(|git| git.repo_url).unwrap_or_default(),
        ignore_python: request.ignore_python,
        sdk_version,
    }
}

pub(super) fn from_build(request: BuildImageRequest, sdk_version: String) -> ImageSpec {
    ImageSpec {
        python_version: request.python_version,
        python_packages: request.python_packages,
        commands: request.commands,
        build_steps: steps(request.build_steps),
        env_vars: env(&request.env_vars),
        base_image: request.existing_image_uri,
        dockerfile: request.dockerfile,
        build_context: request.build_ctx_object,
        secrets: request.secrets,
        gpu: request.gpu,
        git_repository: request.git_source.map(|git| git.repo_url).unwrap_or_default(),
        ignore_python: request.ignore_python,
        sdk_version,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn verify_and_build_of_one_image_agree_on_its_id() {
        let verify = VerifyImageBuildRequest {
            python_version: "python3.11".into(),
            python_packages: vec!["six".into()],
            env_vars: vec!["A=b=c".into()],
            ..Default::default()
        };
        let build = BuildImageRequest {
            python_version: "python3.11".into(),
            python_packages: vec!["six".into()],
            env_vars: vec!["A=b=c".into()],
            ..Default::default()
        };
        let (verify, build) = (from_verify(verify, "1".into()), from_build(build, "1".into()));
        assert_eq!(verify.id(), build.id());
        assert_eq!(verify.env_vars, [("A".to_owned(), "b=c".to_owned())]);
    }
}
