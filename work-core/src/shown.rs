/// The most bytes of a text that a message shows.
const MOST: usize = 120;

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
    format!("\"{}\"", cut(text, MOST, |sign| sign != '\''))
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
    cut(&error.to_string(), 2 * MOST, |sign| !matches!(sign, '\'' | '"' | '\\'))
}

/// At most so many bytes, with those signs escaped that are to be, where their `Debug` is.
fn cut(text: &str, most: usize, escape: impl Fn(char) -> bool) -> String {
    let mut short = String::with_capacity(text.len().min(most));
    for sign in text.chars() {
        let whole = short.len();
        if escape(sign) {
            short.extend(sign.escape_debug());
        } else {
            short.push(sign);
        }
        if short.len() > most {
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
        assert_eq!(shown(&"x".repeat(10_000)), format!("\"{}…\"", "x".repeat(120)));
        assert_eq!(shown(&"\0".repeat(10_000)).len(), 2 + 120 + 3);
        assert_eq!(shown(&"€".repeat(100)), format!("\"{}…\"", "€".repeat(40)));
    }

    #[test]
    fn what_others_say_keeps_its_quotes_and_loses_its_controls() {
        assert_eq!(brief(&"expected `\"a\"`, found `\n`"), "expected `\"a\"`, found `\\n`");
        assert_eq!(brief(&"x".repeat(10_000)).len(), 240 + 3);
    }
}
