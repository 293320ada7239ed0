//! What was found out, for people.

use std::fmt::Write as _;

use super::{Checked, Image, Place};
use crate::output;

impl Checked {
    /// One paragraph for each image.
    pub(crate) fn text(&self) -> String {
        let images: Vec<String> = self.images.iter().map(Image::text).collect();
        images.join("\n")
    }

    /// What is wrong, in one sentence each; nothing if all is well.
    pub(crate) fn complaint(&self) -> Option<String> {
        let missing: Vec<&str> =
            self.images.iter().flat_map(|image| &image.missing).map(String::as_str).collect();
        (!missing.is_empty()).then(|| missing.join("; "))
    }
}

impl Image {
    fn text(&self) -> String {
        let mut text = String::new();
        let names: Vec<&str> = self.users.iter().map(|user| user.name.as_str()).collect();
        if !names.is_empty() {
            let _ = write!(text, "{}: ", names.join(", "));
        }
        let mut asked = vec![self.python.as_str()];
        asked.extend(self.packages.iter().map(String::as_str));
        let _ = writeln!(text, "{}", asked.join(", "));
        let rows = self.platforms.iter().map(|place| [place.name(), place.verdict()]);
        text + &output::table(["platform", "resolves"], rows)
    }
}

impl Place {
    fn name(&self) -> String {
        match &self.macos {
            Some(macos) => format!("{} (macOS {macos} and later)", self.platform),
            None => self.platform.to_string(),
        }
    }

    fn verdict(&self) -> String {
        match (&self.reason, &self.python) {
            (Some(reason), _) => format!("no: {reason}"),
            (None, Some(python)) => format!("yes, {} packages, python {python}", self.packages),
            (None, None) => "yes".to_owned(),
        }
    }
}

#[cfg(test)]
mod tests {
    use metal9_types::{EnvLock, Platform, Target};

    use super::super::{Asked, User};
    use super::*;

    #[test]
    fn an_image_is_shown_with_a_line_for_each_platform() {
        let lock = EnvLock {
            platform: Platform::X86_64Linux,
            python: "3.12".into(),
            requirements: "a==1 \\\n    --hash=sha256:0\nb==1\n".into(),
            macos: None,
            root: None,
        };
        let offline = metal9_env::EnvError::Offline { output: "dns error".into() };
        let mac = Target::from(Platform::Aarch64Darwin);
        let places =
            vec![Place::new(lock.platform.into(), Ok(lock)), Place::new(mac, Err(offline))];
        let users = vec![User { name: "train".into(), gpu: vec!["MPS".into()] }];
        let asked = Asked { users, ..Asked::packages(&["a".into()], None) };
        let image = Image::new(asked, places, &[]);
        let checked = Checked { ok: image.missing.is_empty(), images: vec![image] };
        let expected = [
            "train: python3, a",
            "PLATFORM                                    RESOLVES",
            "x86_64-linux                                yes, 2 packages, python 3.12",
            "aarch64-apple-darwin (macOS 14.0 and later)  no: the package index could not be reached",
            "",
        ];
        let squeezed = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
        assert_eq!(squeezed(&checked.text()), squeezed(&expected.join("\n")));
        assert!(!checked.ok && checked.complaint().unwrap().starts_with("`train` asks for gpu"));
    }
}
