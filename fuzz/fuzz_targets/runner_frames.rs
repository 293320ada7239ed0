//! What a runner says: user code shares its process, so it may be anything. However the bytes are
//! cut into pieces, the same messages come out.

#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: (Vec<u8>, Vec<u8>)| {
    let (bytes, cuts) = input;
    let whole = metal9_worker::fuzzing::runner_messages(&[&bytes]);
    let mut rest = bytes.as_slice();
    let mut pieces = Vec::new();
    for cut in cuts {
        let (piece, after) = rest.split_at(usize::from(cut).min(rest.len()));
        pieces.push(piece);
        rest = after;
    }
    pieces.push(rest);
    assert_eq!(metal9_worker::fuzzing::runner_messages(&pieces), whole);
});
