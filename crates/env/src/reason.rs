//! uv's reason in one line.

/// What uv appends to every reason.
const CONCLUSION: &str = ", we can conclude that your requirements are unsatisfiable";

/// The sentence of uv's output that names what cannot be had; the first line if there is no such.
pub(crate) fn one_line(output: &str) -> String {
    let main = output.split("\nhint:").next().unwrap_or_default();
    let text = main.split_whitespace().collect::<Vec<_>>().join(" ");
    let text = match text.split_once("cause: ") {
        Some((_, cause)) => cause.replace(" cause: ", ": "),
        None => text.trim_start_matches("error: ").trim_start_matches(['×', ' ']).to_owned(),
    };
    // The last sentence draws the conclusion from those before.
    let last = match text.rfind("And because ") {
        Some(at) => &text[at + "And because ".len()..],
        None => text.strip_prefix("Because ").unwrap_or(&text),
    };
    last.trim_end_matches('.').trim_end_matches(CONCLUSION).to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    const NO_WHEELS: &str = "error: No solution found when resolving dependencies
  cause: Because triton<=1.1.1 has no wheels with a matching Python ABI tag (e.g., `cp311`) and only the following versions of triton are available:
             triton<=1.1.1
             triton>=2.0.0
         we can conclude that triton<2.0.0 cannot be used.
         And because triton>=2.0.0 has no wheels with a matching platform tag (e.g., `macosx_14_0_arm64`) and you require triton, we can conclude that your requirements are unsatisfiable.

hint: Wheels are available for `triton` (v3.9.0) on the following platforms: `manylinux_2_27_aarch64`
";

    #[test]
    fn the_package_and_why_it_cannot_be_had_remain() {
        assert_eq!(
            one_line(NO_WHEELS),
            "triton>=2.0.0 has no wheels with a matching platform tag (e.g., `macosx_14_0_arm64`) \
             and you require triton"
        );
        let one_cause = "error: No solution found when resolving dependencies\n  cause: Because \
                         docopt==0.6.2 has no usable wheels and you require docopt==0.6.2, we can \
                         conclude that your requirements are unsatisfiable.\n";
        assert_eq!(
            one_line(one_cause),
            "docopt==0.6.2 has no usable wheels and you require docopt==0.6.2"
        );
    }

    #[test]
    fn other_complaints_stay_whole_but_for_the_layout() {
        let git = "error: Git operation failed\n  cause: failed to clone into: /x\n  cause: exit 1";
        assert_eq!(one_line(git), "failed to clone into: /x: exit 1");
        assert_eq!(one_line("error: it is odd\n"), "it is odd");
        assert_eq!(one_line(""), "");
    }
}
