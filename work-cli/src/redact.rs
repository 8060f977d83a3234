/// The text without the passwords of the URLs in it.
pub(crate) fn redact(text: &str) -> String {
    let mut clean = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find(AFTER_SCHEME) {
        let (before, after) = rest.split_at(at + AFTER_SCHEME.len());
        clean.push_str(before);
        let (word, behind) = after.split_at(end_of_url(after));
        clean.push_str(&without_secrets(word));
        rest = behind;
    }
    clean.push_str(rest);
    clean
}

/// A URL without its password, whatever signs that has.
pub(crate) fn redact_url(url: &str) -> String {
    match url.split_once(AFTER_SCHEME) {
        Some((scheme, rest)) => format!("{scheme}{AFTER_SCHEME}{}", without_secrets(rest)),
        None => url.to_owned(),
    }
}

const AFTER_SCHEME: &str = "://";

fn ends(c: char) -> bool {
    c.is_whitespace() || matches!(c, '\'' | '"' | '`')
}

/// Where the URL in front of this text ends. If it may have a password, that may have quotes and spaces too: then it goes on
/// to the last `@` before another URL, since rather too much than too little is taken out.
fn end_of_url(after: &str) -> usize {
    let word = |from: usize| after[from..].find(ends).map_or(after.len(), |end| from + end);
    let first = word(0);
    if !after[..first].contains(':') {
        return first;
    }
    let last = after[..next_url(after)].rfind('@').unwrap_or(0);
    word(last).max(first)
}

/// Where another URL starts in the text: a scheme at the start of a word.
fn next_url(text: &str) -> usize {
    let starts = text.match_indices(AFTER_SCHEME).filter_map(|(at, _)| {
        let start = text[..at].trim_end_matches(|c: char| c.is_ascii_alphanumeric() || matches!(c, '+' | '-' | '.'));
        (start.len() < at && start.ends_with(ends)).then_some(start.len())
    });
    starts.min().unwrap_or(text.len())
}

/// What follows `://`: user, host and path stay. A password may have any sign, so the last `@` before the query counts.
fn without_secrets(word: &str) -> String {
    let (place, query) = word.split_once('?').map_or((word, None), |(place, query)| (place, Some(query)));
    if let Some((before, host)) = query.and_then(|query| query.rsplit_once('@')) {
        let user = place.split(':').next().unwrap_or_default();
        // The `?` is in the password, or there is an `@` in the query, where a password may be too.
        let host = if place.contains('@') || before.contains('=') { "…" } else { host };
        return format!("{user}:***@{host}");
    }
    let place = match place.rsplit_once('@') {
        Some((user, host)) => match user.split_once(':') {
            Some((user, _)) => format!("{user}:***@{host}"),
            None => format!("{user}@{host}"),
        },
        None => place.to_owned(),
    };
    if query.is_some() { format!("{place}?…") } else { place }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_is_taken_out_wherever_it_stands() {
        for (text, clean) in [
            ("no url", "no url"),
            ("postgres://host/db", "postgres://host/db"),
            ("at postgres://ann@host/db.", "at postgres://ann@host/db."),
            ("'postgres://ann:s3cret@host/db' is", "'postgres://ann:***@host/db' is"),
            ("postgres://ann:s3c@ret@host/db", "postgres://ann:***@host/db"),
            ("postgres://ann:s3c?ret@host/db", "postgres://ann:***@host/db"),
            ("postgres://host/db?password=s3cret", "postgres://host/db?…"),
            ("a://u:p@h b://u:p@h", "a://u:***@h b://u:***@h"),
            ("postgres://ann:s'3c ret@host/db is", "postgres://ann:***@host/db is"),
            ("postgres://ann:s3://cret@host/db", "postgres://ann:***@host/db"),
            ("postgres://host/db?password=s3@cret", "postgres://host/db:***@…"),
            ("postgres://ann:s3@c?r=et@host/db", "postgres://ann:***@…"),
            ("'postgres://host:5432/db' is 'a://b'", "'postgres://host:5432/db' is 'a://b'"),
        ] {
            assert_eq!(redact(text), clean);
        }
    }
}
