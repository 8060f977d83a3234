//! Texts that were given, as messages show them.

/// How much of a text a message shows, when it is escaped.
const CHARACTERS: usize = 80;
const BYTES: usize = 120;

/// The beginning of a text that was given, for a field that a message shows by its `Debug`: at most 80 characters when it is
/// escaped, and 120 bytes, with a mark if it is not all. For authors of stores.
///
/// ```
/// use work_core::cut;
///
/// assert_eq!(format!("{:?}", cut("a b")), "\"a b\"");
/// assert_eq!(cut(&"\u{1b}".repeat(1_000)).chars().count(), 14);
/// ```
#[must_use]
pub fn cut(text: &str) -> String {
    let (mut characters, mut bytes) = (0, 0);
    let fits = |c: &char| {
        characters += c.escape_debug().count();
        bytes += c.escape_debug().map(char::len_utf8).sum::<usize>();
        characters <= CHARACTERS && bytes <= BYTES
    };
    let beginning: String = text.chars().take_while(fits).collect();
    if beginning.len() == text.len() { beginning } else { beginning + "…" }
}

/// A text from outside, for a message: in quotes, with no sign that a terminal obeys, and 120 bytes of it at most, however
/// long it is.
///
/// ```
/// assert_eq!(work_core::shown("mail"), "\"mail\"");
/// assert_eq!(work_core::shown("a\n\u{1b}[31m"), "\"a\\n\\u{1b}[31m\"");
/// assert!(work_core::shown(&"\u{202e}".repeat(1_000)).len() <= 125);
/// ```
#[must_use]
pub fn shown(text: &str) -> String {
    format!("{:?}", cut(text))
}

/// What another library says of a text from outside, perhaps with all of it, for a message: 240 bytes of it at most, with no
/// sign that a terminal obeys.
///
/// ```
/// let error = serde_json::from_str::<bool>(r#""a\u001b[31m""#).unwrap_err();
/// assert!(work_core::brief(&error).starts_with("invalid type: string \"a\\u{1b}[31m\", expected a boolean"));
/// ```
#[must_use]
pub fn brief(error: &(impl std::fmt::Display + ?Sized)) -> String {
    let (text, mut short) = (error.to_string(), String::new());
    for sign in text.chars() {
        let whole = short.len();
        if matches!(sign, '\'' | '"' | '\\') {
            short.push(sign);
        } else {
            short.extend(sign.escape_debug());
        }
        if short.len() > 2 * BYTES {
            short.truncate(whole);
            short.push('…');
            break;
        }
    }
    short
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn short_texts_are_shown_as_their_debug_has_them() {
        for text in ["", "it's", "\"quoted\"", "größe", "\0\r\n\t\\", "\u{202e}\u{feff}\u{10ffff}"] {
            assert_eq!(shown(text), format!("{text:?}"));
        }
    }

    #[test]
    fn long_texts_are_cut_between_signs() {
        assert_eq!(cut(&"x".repeat(80)), "x".repeat(80));
        assert_eq!(shown(&"x".repeat(81)), format!("\"{}…\"", "x".repeat(80)));
        assert_eq!(cut(&"\u{202e}".repeat(1_000)), "\u{202e}".repeat(10) + "…");
        assert_eq!(shown(&"€".repeat(100)), format!("\"{}…\"", "€".repeat(40)));
    }

    #[test]
    fn what_others_say_keeps_its_quotes_and_loses_its_controls() {
        assert_eq!(brief(&"expected `\"a\"`, found `\n`"), "expected `\"a\"`, found `\\n`");
        assert_eq!(brief(&"x".repeat(10_000)).len(), 240 + 3);
    }
}
