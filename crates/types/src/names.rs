//! Several names in one text, as settings have them.

/// The names in a text that separates them by commas, without the space around them.
pub fn names(text: &str) -> impl Iterator<Item = &str> {
    text.split(',').map(str::trim).filter(|name| !name.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_what_is_between_commas() {
        assert_eq!(names(" a, b c,,d ").collect::<Vec<_>>(), ["a", "b c", "d"]);
        assert_eq!(names("").count(), 0);
    }
}
