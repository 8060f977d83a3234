/// The text without the passwords of the URLs in it.
pub(crate) fn redact(text: &str) -> String {
    let mut clean = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find("://") {
        let (before, after) = rest.split_at(at + 3);
        clean.push_str(before);
        let ends = |c: char| c.is_whitespace() || matches!(c, '\'' | '"' | '`');
        let (word, behind) = after.split_at(after.find(ends).unwrap_or(after.len()));
        clean.push_str(&without_secrets(word));
        rest = behind;
    }
    clean.push_str(rest);
    clean
}

/// What follows `://`: user, host and path stay. A password may have any sign, so the last `@` before the query counts.
fn without_secrets(word: &str) -> String {
    let (place, query) = word.split_once('?').map_or((word, None), |(place, query)| (place, Some(query)));
    // A `?` in the password itself: then the `@` comes after it.
    if let Some(at) = query.and_then(|query| query.rfind('@')) {
        let host = &query.unwrap_or_default()[at + 1..];
        let user = place.split(':').next().unwrap_or_default();
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
        ] {
            assert_eq!(redact(text), clean);
        }
    }
}
