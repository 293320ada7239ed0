//! Which extended attributes of a layer's files are kept.

use std::borrow::Cow;

/// What a tar archive calls an extended attribute.
const PAX: &str = "SCHILY.xattr.";
const CAPABILITY: &str = "security.capability";
/// The kernel's: a version in the highest byte, and the effective bit.
const VERSION_BITS: u32 = 0xff00_0000;
const VERSION_2: u32 = 0x0200_0000;
const VERSION_3: u32 = 0x0300_0000;
/// Bytes of a capability attribute of version 2; version 3 adds the root account's number.
const VERSION_2_BYTES: usize = 20;

/// The attribute a record of an archive stands for, if it is to be kept.
///
/// Never one that tells overlayfs something (`trusted.*`, `user.overlay.*`), nor labels, access
/// lists and signatures: they mean something on the machine where they were made only.
pub(crate) fn kept<'a>(
    key: &'a str,
    value: &'a [u8],
    shift: u32,
) -> Option<(&'a str, Cow<'a, [u8]>)> {
    let name = key.strip_prefix(PAX)?;
    if name == CAPABILITY {
        return Some((name, shifted(value, shift)));
    }
    let is_users = name.starts_with("user.") && !name.starts_with("user.overlay.");
    is_users.then_some((name, Cow::Borrowed(value)))
}

/// A capability attribute as the kernel takes it in a user namespace whose root is the account
/// `shift`: there, one of version 2 counts for nothing.
fn shifted(value: &[u8], shift: u32) -> Cow<'_, [u8]> {
    let header = value.first_chunk().map(|four| u32::from_le_bytes(*four));
    let (Some(header), true) = (header, shift != 0) else { return Cow::Borrowed(value) };
    let version = header & VERSION_BITS;
    if value.len() < VERSION_2_BYTES || (version != VERSION_2 && version != VERSION_3) {
        return Cow::Borrowed(value);
    }
    let mut whole = (header & !VERSION_BITS | VERSION_3).to_le_bytes().to_vec();
    whole.extend_from_slice(&value[4..VERSION_2_BYTES]);
    whole.extend_from_slice(&shift.to_le_bytes());
    Cow::Owned(whole)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_overlayfs_or_the_machine_would_believe_is_not_kept() {
        for name in ["trusted.overlay.redirect", "user.overlay.opaque", "security.ima", "system.x"]
        {
            assert_eq!(kept(&format!("{PAX}{name}"), b"y", 0), None, "{name}");
        }
        assert_eq!(kept("mtime", b"1", 0), None);
        assert!(kept("SCHILY.xattr.user.mine", b"1", 0).is_some());
    }

    #[test]
    fn capabilities_belong_to_the_root_of_the_user_namespace() {
        let mut value = (VERSION_2 | 1).to_le_bytes().to_vec();
        value.extend([9; 16]);
        let key = "SCHILY.xattr.security.capability";
        assert_eq!(kept(key, &value, 0).unwrap().1, &value[..]);
        let (_, shifted) = kept(key, &value, 100_000).unwrap();
        let expected = [&(VERSION_3 | 1).to_le_bytes()[..], &[9; 16], &100_000_u32.to_le_bytes()];
        assert_eq!(shifted, expected.concat());
        assert_eq!(kept(key, b"ab", 5).unwrap().1, &b"ab"[..]);
    }
}
