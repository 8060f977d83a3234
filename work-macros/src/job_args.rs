use proc_macro2::TokenStream;
use quote::quote;
use syn::{DeriveInput, LitStr};

use crate::options::{checked_name, default_kind};

pub(crate) fn expand(input: &DeriveInput) -> syn::Result<TokenStream> {
    if let Some(generic) = input.generics.params.first() {
        let message =
            "arguments have no type parameters and no lifetimes: their kind names one type that owns its data";
        return Err(syn::Error::new_spanned(generic, message));
    }
    let name = &input.ident;
    let kind = kind(input)?.map_or_else(|| default_kind(name, snake_case, "`#[job(kind = \"…\")]`"), Ok)?;
    Ok(quote! {
        impl ::work_core::JobArgs for #name {
            const KIND: &'static str = #kind;
        }
    })
}

fn kind(input: &DeriveInput) -> syn::Result<Option<LitStr>> {
    let mut kind = None;
    for attribute in input.attrs.iter().filter(|attribute| attribute.path().is_ident("job")) {
        attribute.parse_nested_meta(|meta| {
            if !meta.path.is_ident("kind") {
                return Err(meta.error("unknown option; a type has `kind`, the others are of `#[job]` on a function"));
            }
            if kind.is_some() {
                return Err(meta.error("`kind` is given twice"));
            }
            kind = Some(checked_name("kind", &meta.value()?.parse()?)?);
            Ok(())
        })?;
    }
    Ok(kind)
}

/// `SendHTTPMail` is `send_http_mail`.
fn snake_case(name: &str) -> String {
    let signs: Vec<char> = name.chars().collect();
    let mut snake = String::new();
    for (at, sign) in signs.iter().enumerate() {
        let before = at.checked_sub(1).and_then(|at| signs.get(at));
        let after_small = before.is_some_and(|c| c.is_lowercase() || c.is_ascii_digit());
        let ends_capitals =
            before.is_some_and(|c| c.is_uppercase()) && signs.get(at + 1).is_some_and(|c| c.is_lowercase());
        if sign.is_uppercase() && (after_small || ends_capitals) {
            snake.push('_');
        }
        snake.extend(sign.to_lowercase());
    }
    snake
}

#[cfg(test)]
mod tests {
    use super::snake_case;

    #[test]
    fn capitals_in_a_row_are_one_word() {
        for (name, snake) in [
            ("Welcome", "welcome"),
            ("SendHTTPMail", "send_http_mail"),
            ("ParseV2", "parse_v2"),
            ("V2Parse", "v2_parse"),
            ("already_snake", "already_snake"),
            ("A", "a"),
        ] {
            assert_eq!(snake_case(name), snake);
        }
    }
}
