use maud::{Markup, html};

use super::parts::grouped;
use crate::view::Seen;

/// JSON for people, as far as it may be seen.
pub(super) fn seen(seen: &Seen) -> Markup {
    match seen {
        Seen::Hidden(bytes) => html! {
            p.hidden-args { "Hidden. " (grouped(*bytes as u64)) " bytes; the program decides whether they are shown here." }
        },
        Seen::Json(json) => html! { pre.json tabindex="0" { code { (pretty(json.get())) } } },
        Seen::Text(text) => html! { p.dim { "This is no JSON:" } pre.json tabindex="0" { code { (text) } } },
    }
}

/// The most that is shown of one text, in bytes.
const MAX: usize = 256 * 1024;

/// The same JSON with line breaks. Numbers and strings stay as they are written, so no digit is lost.
pub(super) fn pretty(json: &str) -> String {
    let (mut text, mut depth, mut quoted, mut escaped) = (String::new(), 0_usize, false, false);
    let line = |text: &mut String, depth: usize| {
        text.push('\n');
        // Deeper than this, nobody counts.
        text.extend(std::iter::repeat_n("  ", depth.min(40)));
    };
    let mut signs = json.chars().peekable();
    while let Some(sign) = signs.next() {
        if text.len() > MAX {
            text.push_str("\n… (the rest is not shown)");
            return text;
        }
        if quoted {
            text.push(sign);
            quoted = escaped || sign != '"';
            escaped = sign == '\\' && !escaped;
            continue;
        }
        match sign {
            '"' => {
                quoted = true;
                text.push(sign);
            }
            '{' | '[' => {
                text.push(sign);
                while signs.next_if(char::is_ascii_whitespace).is_some() {}
                if let Some(end) = signs.next_if(|next| matches!(next, '}' | ']')) {
                    text.push(end);
                } else {
                    depth += 1;
                    line(&mut text, depth);
                }
            }
            '}' | ']' => {
                depth = depth.saturating_sub(1);
                line(&mut text, depth);
                text.push(sign);
            }
            ',' => {
                text.push(sign);
                line(&mut text, depth);
            }
            ':' => text.push_str(": "),
            sign if sign.is_ascii_whitespace() => {}
            sign => text.push(sign),
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::pretty;

    #[test]
    fn json_gets_lines_and_keeps_every_digit() {
        let text = pretty(r#"{"a":[1,12345678901234567890123.50],"b":{},"c":"x: {\"y\", [\\"}"#);
        let lines = [
            "{",
            "  \"a\": [",
            "    1,",
            "    12345678901234567890123.50",
            "  ],",
            "  \"b\": {},",
            r#"  "c": "x: {\"y\", [\\""#,
            "}",
        ];
        assert_eq!(text, lines.join("\n"));
        assert_eq!(pretty(r#""{""#), r#""{""#);
    }
}
