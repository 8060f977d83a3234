use proc_macro2::TokenStream;
use quote::quote;
use syn::{DeriveInput, LitStr};

use crate::options::checked_name;

pub(crate) fn expand(input: &DeriveInput) -> syn::Result<TokenStream> {
    if let Some(generic) = input.generics.params.first() {
        return Err(syn::Error::new_spanned(generic, "arguments have no type parameters: their kind names one type"));
    }
    let name = &input.ident;
    let kind = match kind(input)? {
        Some(kind) => kind,
        None => checked_name(&LitStr::new(&snake_case(&name.to_string()), name.span()))?,
    };
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
                return Err(meta.error("unknown option; there is `kind`"));
            }
            kind = Some(checked_name(&meta.value()?.parse()?)?);
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
