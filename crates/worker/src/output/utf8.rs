//! Bytes that come in pieces, as text.

/// Decodes UTF-8 piece by piece: a character is never split, invalid bytes become `U+FFFD`.
#[derive(Debug, Default)]
pub(crate) struct Utf8 {
    /// The beginning of a character: at most three bytes.
    carry: Vec<u8>,
}

impl Utf8 {
    /// The text of all characters that are complete now.
    pub(crate) fn push(&mut self, bytes: &[u8]) -> String {
        if self.carry.is_empty() {
            return self.decode(bytes);
        }
        let mut joined = std::mem::take(&mut self.carry);
        joined.extend_from_slice(bytes);
        self.decode(&joined)
    }

    /// The text of what cannot become complete any more.
    pub(crate) fn finish(&mut self) -> String {
        if self.carry.is_empty() {
            return String::new();
        }
        self.carry.clear();
        char::REPLACEMENT_CHARACTER.to_string()
    }

    fn decode(&mut self, mut bytes: &[u8]) -> String {
        let mut text = String::with_capacity(bytes.len());
        loop {
            let error = match std::str::from_utf8(bytes) {
                Ok(rest) => {
                    text.push_str(rest);
                    return text;
                }
                Err(error) => error,
            };
            let (valid, rest) = bytes.split_at(error.valid_up_to());
            text.push_str(&String::from_utf8_lossy(valid));
            let Some(invalid) = error.error_len() else {
                self.carry = rest.to_vec();
                return text;
            };
            text.push(char::REPLACEMENT_CHARACTER);
            bytes = &rest[invalid..];
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn decode_in_pieces(bytes: &[u8], cuts: &[usize]) -> String {
        let mut decoder = Utf8::default();
        let mut text = String::new();
        let mut rest = bytes;
        for cut in cuts {
            let (piece, after) = rest.split_at(cut % (rest.len() + 1));
            text.push_str(&decoder.push(piece));
            rest = after;
        }
        text.push_str(&decoder.push(rest));
        text + &decoder.finish()
    }

    #[test]
    fn a_character_in_two_pieces_comes_whole_with_the_second() {
        let mut decoder = Utf8::default();
        assert_eq!(decoder.push(b"a\xf0\x9f"), "a");
        assert_eq!(decoder.push(b"\x8d\x95b"), "🍕b");
        assert_eq!(decoder.finish(), "");
    }

    #[test]
    fn a_character_that_never_ends_is_replaced_at_the_end() {
        let mut decoder = Utf8::default();
        assert_eq!(decoder.push(b"\xe2\x82"), "");
        assert_eq!(decoder.finish(), "\u{fffd}");
        assert_eq!(decoder.push(b"ok"), "ok");
    }

    proptest! {
        #[test]
        fn pieces_give_the_same_text_as_the_whole(
            bytes in proptest::collection::vec(any::<u8>(), 0..200),
            cuts in proptest::collection::vec(0usize..20, 0..20),
        ) {
            prop_assert_eq!(decode_in_pieces(&bytes, &cuts), String::from_utf8_lossy(&bytes));
        }

        #[test]
        fn valid_text_is_never_changed(
            text in ".{0,60}",
            cuts in proptest::collection::vec(0usize..9, 0..30),
        ) {
            prop_assert_eq!(decode_in_pieces(text.as_bytes(), &cuts), text);
        }
    }
}
