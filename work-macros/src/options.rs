use syn::parse::{Parse, ParseStream};
use syn::punctuated::Punctuated;
use syn::{Ident, Lit, LitInt, LitStr, Token};

/// The options of `#[job(…)]`, checked.
#[derive(Default)]
pub(crate) struct Options {
    pub(crate) kind: Option<LitStr>,
    pub(crate) queue: Option<LitStr>,
    pub(crate) max_attempts: Option<u32>,
    pub(crate) timeout_ms: Option<u64>,
    pub(crate) priority: Option<u8>,
}

const NAMES: [&str; 5] = ["kind", "queue", "max_attempts", "timeout", "priority"];

struct Pair {
    name: Ident,
    value: Lit,
}

impl Parse for Pair {
    fn parse(input: ParseStream<'_>) -> syn::Result<Self> {
        let name = input.parse()?;
        input.parse::<Token![=]>()?;
        Ok(Self { name, value: input.parse()? })
    }
}

impl Parse for Options {
    fn parse(input: ParseStream<'_>) -> syn::Result<Self> {
        let mut options = Self::default();
        let mut seen: Vec<Ident> = Vec::new();
        for Pair { name, value } in Punctuated::<Pair, Token![,]>::parse_terminated(input)? {
            if seen.contains(&name) {
                return Err(syn::Error::new(name.span(), format!("`{name}` is given twice")));
            }
            options.set(&name, &value)?;
            seen.push(name);
        }
        Ok(options)
    }
}

impl Options {
    fn set(&mut self, name: &Ident, value: &Lit) -> syn::Result<()> {
        match name.to_string().as_str() {
            "kind" => self.kind = Some(checked_name(text(value)?)?),
            "queue" => self.queue = Some(checked_name(text(value)?)?),
            "max_attempts" => self.max_attempts = Some(in_range(value, 1, 1000)?),
            "priority" => self.priority = Some(in_range(value, 0, 9)?.try_into().unwrap_or(9)),
            "timeout" => self.timeout_ms = Some(milliseconds(text(value)?)?),
            unknown => {
                let known = NAMES.join("`, `");
                let message = format!("unknown option `{unknown}`; there are `{known}`");
                return Err(syn::Error::new(name.span(), message));
            }
        }
        Ok(())
    }
}

fn text(value: &Lit) -> syn::Result<&LitStr> {
    match value {
        Lit::Str(text) => Ok(text),
        other => Err(syn::Error::new(other.span(), "expected a text in quotes, such as \"mail\"")),
    }
}

fn in_range(value: &Lit, min: u32, max: u32) -> syn::Result<u32> {
    let number = match value {
        Lit::Int(number) => LitInt::base10_parse::<u32>(number).ok(),
        _ => None,
    };
    number
        .filter(|number| (min..=max).contains(number))
        .ok_or_else(|| syn::Error::new(value.span(), format!("expected a number from {min} to {max}")))
}

/// The same rule as `work_core::Kind::validate`.
pub(crate) fn checked_name(name: &LitStr) -> syn::Result<LitStr> {
    let text = name.value();
    let allowed = |c: char| c.is_ascii_alphanumeric() || "_.:-".contains(c);
    let first = text.starts_with(|c: char| c.is_ascii_alphanumeric());
    if text.len() <= 63 && first && text.chars().all(allowed) {
        return Ok(name.clone());
    }
    let message = "names have 1 to 63 of A-Z a-z 0-9 _ . : -, and start with a letter or a digit";
    Err(syn::Error::new(name.span(), message))
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
