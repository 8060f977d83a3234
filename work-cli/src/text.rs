/// The text on one line, with everything visible that a terminal would act on.
pub(crate) fn one_line(text: &str) -> String {
    cleaned(text, |_| false)
}

/// The text on its lines, with everything else visible that a terminal would act on.
pub(crate) fn lines(text: &str) -> String {
    cleaned(text, |c| c == '\n')
}

/// At most so many characters, with a mark if there were more.
pub(crate) fn shortened(text: &str, most: usize) -> String {
    match text.char_indices().nth(most) {
        None => text.to_owned(),
        Some(_) => text.chars().take(most.saturating_sub(1)).chain(['…']).collect(),
    }
}

/// The name that was meant, if one is near.
pub(crate) fn nearest<'n>(given: &str, names: impl IntoIterator<Item = &'n str>) -> Option<&'n str> {
    let near = names.into_iter().map(|name| (strsim::jaro_winkler(given, name), name));
    let best = near.filter(|(score, _)| *score > 0.8).max_by(|a, b| a.0.total_cmp(&b.0));
    best.map(|(_, name)| name)
}

/// `; did you mean x?`, or nothing.
pub(crate) fn did_you_mean<'n>(given: &str, names: impl IntoIterator<Item = &'n str>) -> String {
    nearest(given, names).map_or_else(String::new, |name| format!("; did you mean `{}`?", one_line(name)))
}

/// `1 job`, `2 jobs`.
pub(crate) fn count_of(count: u64, what: &str) -> String {
    format!("{count} {what}{}", if count == 1 { "" } else { "s" })
}

fn cleaned(text: &str, stays: impl Fn(char) -> bool) -> String {
    let mut clean = String::with_capacity(text.len());
    for c in text.chars() {
        if (c.is_control() && !stays(c)) || turns(c) {
            clean.extend(c.escape_default());
        } else {
            clean.push(c);
        }
    }
    clean
}

/// Signs that turn the direction of what follows.
const fn turns(c: char) -> bool {
    matches!(c, '\u{202A}'..='\u{202E}' | '\u{2066}'..='\u{2069}' | '\u{2028}' | '\u{2029}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_terminal_would_act_on_is_shown() {
        assert_eq!(one_line("a\x1b[2Jb\nc"), "a\\u{1b}[2Jb\\nc");
        assert_eq!(lines("a\nb\r\u{202E}ü"), "a\nb\\r\\u{202e}ü");
    }

    #[test]
    fn the_name_that_was_meant_is_the_nearest_one() {
        assert_eq!(nearest("mial", ["default", "mail", "main"]), Some("mail"));
        assert_eq!(nearest("zzz", ["default", "mail"]), None);
        assert_eq!(shortened("abcd", 3), "ab…");
    }
}
