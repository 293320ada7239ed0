//! Image requests become one [`ImageSpec`], whichever call they came with.

use metal9_proto::beta9::image::{BuildImageRequest, BuildStep, VerifyImageBuildRequest};
use metal9_types::{ImageSpec, RootSource, WorkspaceId};

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

/// Whose the image is, where what makes it may be one workspace's alone.
fn owned(spec: ImageSpec, workspace: WorkspaceId) -> ImageSpec {
    let owner = (spec.root() != RootSource::Host).then_some(workspace);
    ImageSpec { owner, ..spec }
}

pub(super) fn from_verify(
    request: VerifyImageBuildRequest,
    sdk_version: String,
    workspace: WorkspaceId,
) -> ImageSpec {
    let spec = ImageSpec {
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
        owner: None,
        credentials: Vec::new(),
    };
    owned(spec, workspace)
}

pub(super) fn from_build(
    request: BuildImageRequest,
    sdk_version: String,
    workspace: WorkspaceId,
) -> ImageSpec {
    let mut credentials: Vec<String> = request.existing_image_creds.into_keys().collect();
    credentials.sort();
    let spec = ImageSpec {
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
        owner: None,
        credentials,
    };
    owned(spec, workspace)
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
        let workspace = WorkspaceId(uuid::Uuid::nil());
        let verify = from_verify(verify, "1".into(), workspace);
        let build = from_build(build, "1".into(), workspace);
        assert_eq!(verify.id(), build.id());
        assert_eq!(verify.env_vars, [("A".to_owned(), "b=c".to_owned())]);
    }
}
