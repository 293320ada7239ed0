//! A program of three load commands, two pages and a signature, made here.

use super::*;

const PAGE: usize = 4096;
const CODE: usize = PAGE + 100;

fn little(words: &[u32]) -> Vec<u8> {
    words.iter().flat_map(|word| word.to_le_bytes()).collect()
}

fn big(words: &[u32]) -> Vec<u8> {
    words.iter().flat_map(|word| word.to_be_bytes()).collect()
}

/// A load command with a path behind `words`, padded to a multiple of 8 bytes.
fn library(path: &str) -> Vec<u8> {
    let size = (24 + path.len() + 1).next_multiple_of(8);
    let mut command = little(&[0xc, u32::try_from(size).unwrap(), 24, 0, 0, 0]);
    command.extend(path.as_bytes());
    command.resize(size, 0);
    command
}

/// An embedded signature with one code directory of SHA-256 over 4 KiB pages.
fn sign(code: &[u8], flags: u32) -> Vec<u8> {
    let pages: Vec<&[u8]> = code.chunks(PAGE).collect();
    let head = 44;
    let hashes = head + 2;
    let length = u32::try_from(hashes + 32 * pages.len()).unwrap();
    let mut directory = big(&[0xfade_0c02, length, 0x2_0000, flags]);
    directory.extend(big(&[u32::try_from(hashes).unwrap(), 44, 0]));
    directory
        .extend(big(&[u32::try_from(pages.len()).unwrap(), u32::try_from(code.len()).unwrap()]));
    directory.extend([32, 2, 0, 12, 0, 0, 0, 0]);
    directory.extend(b"x\0");
    pages.iter().for_each(|page| directory.extend(Sha256::digest(page)));
    let mut signature = big(&[0xfade_0cc0, 20 + length, 1, 0, 20]);
    signature.extend(directory);
    signature
}

fn program(path: &str, flags: u32) -> Vec<u8> {
    let mut commands = little(&[0x32, 24, 1, 14 << 16, 15 << 16, 0]);
    commands.extend(library(path));
    let size = u32::try_from(sign(&[0; CODE], flags).len()).unwrap();
    commands.extend(little(&[0x1d, 16, u32::try_from(CODE).unwrap(), size]));
    let length = u32::try_from(commands.len()).unwrap();
    let mut code = little(&[0xfeed_facf, 0x0100_000c, 0, 2, 3, length, 0, 0]);
    code.extend(commands);
    code.resize(CODE, 7);
    let signature = sign(&code, flags);
    code.extend(signature);
    code
}

#[test]
fn a_sound_program_is_described() {
    let binary = Binary::read(&program("/usr/lib/libSystem.B.dylib", 0x2_0002)).unwrap();
    binary.require("14.0", &["/usr/lib/"], &["libobjc.A.dylib"]).unwrap();
    assert_eq!(
        binary.to_string(),
        "Mach-O arm64 from macOS 14.0, ad-hoc signature of 2 pages right, loads libSystem.B.dylib"
    );
    assert!(binary.require("13.0", &["/usr/lib/"], &[]).is_err());
}

#[test]
fn a_library_that_not_every_mac_has_is_refused() {
    let binary = Binary::read(&program("/opt/homebrew/lib/libpq.dylib", 2)).unwrap();
    let error = binary.require("14.0", &["/usr/lib/"], &[]).unwrap_err().to_string();
    assert!(error.contains("/opt/homebrew/lib/libpq.dylib"), "{error}");
}

#[test]
fn a_library_that_only_the_probe_may_load_is_refused() {
    let metal = "/System/Library/Frameworks/Metal.framework/Versions/A/Metal";
    let binary = Binary::read(&program(metal, 2)).unwrap();
    let error = binary.require("14.0", &["/System/Library/"], &["Metal"]).unwrap_err().to_string();
    assert_eq!(error, format!("the program loads {metal} wherever it runs"));
}

#[test]
fn a_changed_byte_or_a_missing_signature_is_noticed() {
    let sound = program("/usr/lib/libSystem.B.dylib", 2);
    let mut changed = sound.clone();
    changed[PAGE + 1] ^= 1;
    let error = Binary::read(&changed).unwrap_err().to_string();
    assert_eq!(error, "page 1 is not as it was signed");
    let mut unsigned = sound;
    let at = unsigned.windows(4).position(|word| word == 0x1d_u32.to_le_bytes()).unwrap();
    unsigned[at] = 0x26;
    assert!(Binary::read(&unsigned).is_err());
    assert!(Binary::read(&program("/usr/lib/libSystem.B.dylib", 0)).is_err(), "not ad-hoc");
}
