//! Texts that were given, as messages show them.

/// How many characters of a text a message shows, when they are escaped.
const SHOWN: usize = 80;

/// The beginning of a text that was given, for a message that names it: at most 80 characters when it is escaped, with a mark if
/// it is not all. For authors of stores.
///
/// ```
/// use work_core::store::cut;
///
/// assert_eq!(format!("{:?}", cut("a b")), "\"a b\"");
/// assert_eq!(cut(&"\u{1b}".repeat(1_000)).chars().count(), 14);
/// ```
#[must_use]
pub fn cut(text: &str) -> String {
    let mut shown = 0;
    let fits = |c: &char| {
        shown += c.escape_debug().count();
        shown <= SHOWN
    };
    let beginning: String = text.chars().take_while(fits).collect();
    if beginning.len() == text.len() { beginning } else { beginning + "…" }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_shown_is_short_however_it_is_escaped() {
        assert_eq!(cut("a b"), "a b");
        assert_eq!(cut(&"x".repeat(80)), "x".repeat(80));
        assert_eq!(cut(&"x".repeat(81)), "x".repeat(80) + "…");
        assert_eq!(cut(&"\u{202e}".repeat(1_000)), "\u{202e}".repeat(10) + "…");
    }
}
