use std::fmt::Display;
use std::str::FromStr;

use proc_macro2::TokenStream;
use quote::quote;
use syn::ext::IdentExt;
use syn::parse::{Parse, ParseStream};
use syn::{Ident, Lit, LitStr, Token};

/// The options of `#[job(…)]` on a function or on arguments, checked.
#[derive(Default)]
pub(crate) struct Options {
    pub(crate) kind: Option<LitStr>,
    pub(crate) queue: Option<LitStr>,
    pub(crate) max_attempts: Option<u32>,
    pub(crate) timeout_ms: Option<u64>,
    pub(crate) priority: Option<u8>,
    /// A format string.
    pub(crate) unique: Option<LitStr>,
    pub(crate) unique_for_ms: Option<u64>,
}

const NAMES: [&str; 7] = ["kind", "queue", "max_attempts", "timeout", "priority", "unique", "unique_for"];

impl Parse for Options {
    fn parse(input: ParseStream<'_>) -> syn::Result<Self> {
        let mut options = Self::default();
        let mut seen: Vec<Ident> = Vec::new();
        while !input.is_empty() {
            let name = input.call(Ident::parse_any)?;
            if seen.contains(&name) {
                return Err(syn::Error::new(name.span(), format!("`{name}` is given twice")));
            }
            options.set(&name, input)?;
            if name == "unique_for" && !seen.iter().any(|name| name == "unique") {
                return Err(syn::Error::new(
                    name.span(),
                    "`unique_for` says how long a key is held: put `unique` before it",
                ));
            }
            seen.push(name);
            if !input.is_empty() {
                input.parse::<Token![,]>()?;
            }
        }
        Ok(options)
    }
}

impl Options {
    fn set(&mut self, name: &Ident, input: ParseStream<'_>) -> syn::Result<()> {
        let value = || value(name, input);
        match name.to_string().as_str() {
            "kind" => self.kind = Some(checked_name("kind", text(&value()?)?)?),
            "queue" => self.queue = Some(checked_name("queue", text(&value()?)?)?),
            "max_attempts" => self.max_attempts = Some(in_range(&value()?, 1, 1000)?),
            "priority" => self.priority = Some(in_range(&value()?, 0, 9)?),
            "timeout" => self.timeout_ms = Some(milliseconds(text(&value()?)?)?),
            "unique" => self.unique = Some(key(text(&value()?)?)?),
            "unique_for" => self.unique_for_ms = Some(milliseconds(text(&value()?)?)?),
            unknown => {
                let hint =
                    nearest(unknown).map_or_else(|| "; there".into(), |near| format!(": did you mean `{near}`? There"));
                let known = NAMES.join("`, `");
                let message = format!("unknown option `{unknown}`{hint} are `{known}`");
                return Err(syn::Error::new(name.span(), message));
            }
        }
        Ok(())
    }
}

/// The known option that is one third of its letters or fewer away.
fn nearest(unknown: &str) -> Option<&'static str> {
    let near = NAMES.into_iter().map(|name| (distance(unknown, name), name)).min();
    near.filter(|(distance, name)| *distance <= name.len() / 3).map(|(_, name)| name)
}

/// How many letters must be added, dropped or changed.
fn distance(from: &str, to: &str) -> usize {
    let mut row: Vec<usize> = (0..=to.chars().count()).collect();
    for (i, a) in from.chars().enumerate() {
        let mut diagonal = std::mem::replace(&mut row[0], i + 1);
        for (j, b) in to.chars().enumerate() {
            let changed = diagonal + usize::from(a != b);
            diagonal = row[j + 1];
            row[j + 1] = changed.min(diagonal + 1).min(row[j] + 1);
        }
    }
    row.pop().unwrap_or_default()
}

fn value(name: &Ident, input: ParseStream<'_>) -> syn::Result<Lit> {
    if !input.peek(Token![=]) {
        return Err(syn::Error::new(name.span(), format!("`{name}` needs a value: `{name} = …`")));
    }
    input.parse::<Token![=]>()?;
    let literal = |error: syn::Error| syn::Error::new(error.span(), "expected a text in quotes, or a number");
    input.parse().map_err(literal)
}

fn text(value: &Lit) -> syn::Result<&LitStr> {
    match value {
        Lit::Str(text) => Ok(text),
        other => Err(syn::Error::new(other.span(), "expected a text in quotes, such as \"mail\"")),
    }
}

fn in_range<N: FromStr<Err: Display> + PartialOrd + Display + Copy>(value: &Lit, min: N, max: N) -> syn::Result<N> {
    let number = match value {
        Lit::Int(number) => number.base10_parse::<N>().ok(),
        _ => None,
    };
    number
        .filter(|number| (&min..=&max).contains(&number))
        .ok_or_else(|| syn::Error::new(value.span(), format!("expected a number from {min} to {max}")))
}

/// As far as it can be said of a key that is not filled in yet.
fn key(text: &LitStr) -> syn::Result<LitStr> {
    if text.value().is_empty() || text.value().len() > 512 {
        return Err(syn::Error::new(text.span(), "a unique key has 1 to 512 bytes"));
    }
    Ok(text.clone())
}

impl Options {
    /// The statement that makes the unique key, if there is one, from what `names` brings into scope.
    pub(crate) fn key(&self, names: &TokenStream) -> Option<TokenStream> {
        let key = self.unique.as_ref()?;
        Some(quote! {
            let __key = {
                #names
                ::std::format!(#key)
            };
        })
    }

    /// The calls that set them on a job, after [`key`](Self::key).
    pub(crate) fn setters(&self) -> TokenStream {
        let queue = self.queue.iter();
        let max_attempts = self.max_attempts.iter();
        let timeout = self.timeout_ms.iter();
        let priority = self.priority.iter();
        let window = self.unique_for_ms.iter();
        let unique = self.unique.iter().map(|_| {
            let window = window.clone();
            quote!(.unique(::work_core::Unique::new(__key)#(.within(::std::time::Duration::from_millis(#window)))*))
        });
        quote! {
            #(.queue(#queue))*
            #(.max_attempts(#max_attempts))*
            #(.timeout(::std::time::Duration::from_millis(#timeout)))*
            #(.priority(#priority))*
            #(#unique)*
        }
    }
}

/// The same rule as `work_core::Kind::validate`.
pub(crate) fn checked_name(what: &str, name: &LitStr) -> syn::Result<LitStr> {
    let text = name.value();
    let allowed = |c: char| c.is_ascii_alphanumeric() || "_.:-".contains(c);
    let first = text.starts_with(|c: char| c.is_ascii_alphanumeric());
    if text.len() <= 63 && first && text.chars().all(allowed) {
        return Ok(name.clone());
    }
    let message = format!("a {what} has 1 to 63 of A-Z a-z 0-9 _ . : -, and starts with a letter or a digit");
    Err(syn::Error::new(name.span(), message))
}

/// The kind that the name of an item stands for.
pub(crate) fn default_kind(item: &Ident, kind: impl Fn(&str) -> String, option: &str) -> syn::Result<LitStr> {
    let kind = LitStr::new(&kind(&item.unraw().to_string()), item.span());
    checked_name("kind", &kind)
        .map_err(|error| syn::Error::new(item.span(), format!("{error}: give it one with {option}")))
}

fn milliseconds(text: &LitStr) -> syn::Result<u64> {
    let value = text.value();
    let digits = value.find(|c: char| !c.is_ascii_digit()).unwrap_or(value.len());
    let (number, unit) = value.split_at(digits);
    let unit = match unit {
        "ms" => Some(1),
        "s" => Some(1_000),
        "m" => Some(60_000),
        "h" => Some(3_600_000),
        "d" => Some(86_400_000),
        _ => None,
    };
    let millis = unit.zip(number.parse::<u64>().ok()).and_then(|(unit, number)| number.checked_mul(unit));
    millis.filter(|millis| *millis > 0).ok_or_else(|| {
        syn::Error::new(
            text.span(),
            "expected a time above zero with its unit: \"500ms\", \"30s\", \"5m\", \"2h\", \"1d\"",
        )
    })
}

#[cfg(test)]
mod tests {
    use proc_macro2::Span;
    use work_core::{Kind, MAX_ATTEMPTS, MAX_NAME, MAX_PRIORITY};

    use super::*;

    fn text(text: &str) -> LitStr {
        LitStr::new(text, Span::call_site())
    }

    fn message(options: &str) -> String {
        syn::parse_str::<Options>(options).err().map_or_else(String::new, |error| error.to_string())
    }

    #[test]
    fn names_are_those_that_a_store_takes() {
        let (longest, longer) = ("x".repeat(MAX_NAME), "x".repeat(MAX_NAME + 1));
        for name in ["a", "mail.welcome:v2-b_1", "9", "", "_a", ".a", "a b", "größe", "a\n", "a/b", &longest, &longer]
        {
            let core = Kind::from(name.to_owned()).validate().is_ok();
            assert_eq!(checked_name("kind", &text(name)).is_ok(), core, "{name:?}");
        }
    }

    #[test]
    fn numbers_are_those_that_a_job_takes() {
        for (option, min, max) in [("max_attempts", 1, MAX_ATTEMPTS), ("priority", 0, u32::from(MAX_PRIORITY))] {
            assert_eq!(message(&format!("{option} = {min}")) + &message(&format!("{option} = {max}")), "");
            let range = format!("expected a number from {min} to {max}");
            for outside in
                [format!("{}", max + 1), format!("{}", i64::from(min) - 1), "5000000000".into(), "\"1\"".into()]
            {
                assert_eq!(message(&format!("{option} = {outside}")), range, "{outside}");
            }
        }
    }

    #[test]
    fn a_timeout_has_a_unit_and_is_not_zero() {
        for (given, millis) in [("500ms", 500), ("30s", 30_000), ("5m", 300_000), ("2h", 7_200_000), ("1d", 86_400_000)]
        {
            assert_eq!(milliseconds(&text(given)).ok(), Some(millis), "{given}");
        }
        for refused in ["", "30", "s", "0s", "-1s", "+1s", "1.5s", "1 s", "1S", "1w", "1s1", "99999999999999999999s"] {
            assert!(milliseconds(&text(refused)).is_err(), "{refused}");
        }
    }

    #[test]
    fn the_nearest_option_is_suggested_if_it_is_near() {
        assert!(message("max_atempts = 3").starts_with("unknown option `max_atempts`: did you mean `max_attempts`?"));
        assert!(message("timout = \"1s\"").contains("`timeout`?"));
        assert!(message("retries = 3").starts_with("unknown option `retries`; there are `kind`"));
    }
}
