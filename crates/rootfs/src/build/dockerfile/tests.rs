use super::*;

fn spec() -> BuildSpec {
    BuildSpec { base: Some("x".into()), python: "python3.11".into(), ..BuildSpec::default() }
}

fn words(words: &[&str]) -> Vec<String> {
    words.iter().map(|word| (*word).to_owned()).collect()
}

#[test]
fn a_base_alone_is_only_looked_at() {
    let expected = r#"FROM reg/x@sha256:00
RUN ["/bin/sh","-c","\"$0\" --version >/dev/null 2>&1 || { echo 'metal9: this image has no such python'; exit 96; }","python3.11"]
"#;
    assert_eq!(render(&spec(), "reg/x@sha256:00", &[]), expected);
    let ignoring = BuildSpec { ignore_python: true, ..spec() };
    assert_eq!(render(&ignoring, "b", &[]), "FROM b\n");
}

#[test]
fn everything_has_its_place() {
    let spec = BuildSpec {
        steps: vec![
            Step::Shell("echo \"$A\" 'b'\nls".into()),
            Step::Micromamba(words(&["cudatoolkit", "-c", "conda-forge"])),
            Step::Pip(words(&["torch", "--pre"])),
        ],
        packages: words(&["numpy==2.1", "a b"]),
        env: vec![("A".into(), r#"x"y$z\w"#.into())],
        secrets: vec![("TOKEN".into(), "hush".into())],
        owner: "ann".into(),
        files: vec![("/host/dir".into(), "/opt/it".into()), ("/host/f".into(), "/bin/f".into())],
        ..spec()
    };
    let expected = r#"FROM b
USER 0
LABEL dev.metal9.owner="ann"
ENV A="x\"y\$z\\w"
COPY --from=metal9-file-0 [".","/opt/it"]
COPY --from=metal9-file-1 ["file","/bin/f"]
RUN --mount=type=secret,id=TOKEN ["/bin/sh","-c","export TOKEN=\"$(cat /run/secrets/TOKEN)\"; \"$0\" --version >/dev/null 2>&1 || { echo 'metal9: this image has no such python'; exit 96; }","python3.11"]
RUN --mount=type=secret,id=TOKEN ["/bin/sh","-c","export TOKEN=\"$(cat /run/secrets/TOKEN)\"; export PIP_BREAK_SYSTEM_PACKAGES=1 PIP_NO_CACHE_DIR=1 PIP_ROOT_USER_ACTION=ignore PIP_DISABLE_PIP_VERSION_CHECK=1; exec \"$0\" -m pip install \"$@\"","python3.11","numpy==2.1","a b"]
RUN --mount=type=secret,id=TOKEN ["/bin/sh","-c","export TOKEN=\"$(cat /run/secrets/TOKEN)\"; micromamba --version >/dev/null 2>&1 || { echo 'metal9: this image has no micromamba'; exit 97; }"]
ENV PATH="${MAMBA_ROOT_PREFIX:-/opt/conda}/bin:${PATH}"
RUN --mount=type=secret,id=TOKEN ["/bin/sh","-c","export TOKEN=\"$(cat /run/secrets/TOKEN)\"; exec /bin/sh -c \"$0\"","echo \"$A\" 'b'\nls"]
RUN --mount=type=secret,id=TOKEN ["/bin/sh","-c","export TOKEN=\"$(cat /run/secrets/TOKEN)\"; exec micromamba install --yes --name base \"$@\"","micromamba","cudatoolkit","-c","conda-forge"]
RUN --mount=type=secret,id=TOKEN ["/bin/sh","-c","export TOKEN=\"$(cat /run/secrets/TOKEN)\"; export PIP_BREAK_SYSTEM_PACKAGES=1 PIP_NO_CACHE_DIR=1 PIP_ROOT_USER_ACTION=ignore PIP_DISABLE_PIP_VERSION_CHECK=1; exec \"$0\" -m pip install \"$@\"","python3.11","torch","--pre"]
RUN --mount=type=secret,id=TOKEN ["/bin/sh","-c","export TOKEN=\"$(cat /run/secrets/TOKEN)\"; \"$0\" --version >/dev/null 2>&1 || { echo 'metal9: this image has no such python'; exit 96; }","python3.11"]
"#;
    let text = render(&spec, "b", &[true, false]);
    assert_eq!(text, expected);
    assert!(!text.contains("hush"));
}

#[test]
fn a_dockerfile_is_gone_on_with() {
    let text = "FROM a AS b\nRUN x\n\n\n";
    let spec = BuildSpec { base: None, dockerfile: Some(text.into()), ..spec() };
    let spec = BuildSpec { steps: vec![Step::Shell("y".into())], ignore_python: true, ..spec };
    let expected = "FROM a AS b\nRUN x\n\nUSER 0\n\
                    RUN [\"/bin/sh\",\"-c\",\"exec /bin/sh -c \\\"$0\\\"\",\"y\"]\n";
    assert_eq!(render(&spec, "", &[]), expected);
}
