use proc_macro2::TokenStream;
use quote::quote;
use syn::{Data, DataStruct, DeriveInput, Fields, LitStr};

use crate::options::{Options, default_kind};

pub(crate) fn expand(input: &DeriveInput) -> syn::Result<TokenStream> {
    if let Some(generic) = input.generics.params.first() {
        let message =
            "arguments have no type parameters and no lifetimes: their kind names one type that owns its data";
        return Err(syn::Error::new_spanned(generic, message));
    }
    let name = &input.ident;
    let options = options(input)?;
    let kind = options.kind.clone();
    let kind = kind.map_or_else(|| default_kind(name, snake_case, "`#[job(kind = \"…\")]`"), Ok)?;
    let key = match &options.unique {
        Some(key) => options.key(&fields(input, key)?),
        None => None,
    };
    let setters = options.setters();
    Ok(quote! {
        impl ::work_core::JobArgs for #name {
            const KIND: &'static str = #kind;

            fn job(self) -> ::work_core::Job {
                #key
                ::work_core::Job::new(::work_core::Kind::from_static(Self::KIND), self) #setters
            }
        }
    })
}

fn options(input: &DeriveInput) -> syn::Result<Options> {
    let mut attributes = input.attrs.iter().filter(|attribute| attribute.path().is_ident("job"));
    let options = attributes.next().map_or_else(|| Ok(Options::default()), syn::Attribute::parse_args);
    match attributes.next() {
        Some(second) => Err(syn::Error::new_spanned(second, "a second `#[job]`: put all options into one")),
        None => options,
    }
}

/// Brings the fields into scope that a unique key may name.
fn fields(input: &DeriveInput, key: &LitStr) -> syn::Result<TokenStream> {
    let Data::Struct(DataStruct { fields: Fields::Named(fields), .. }) = &input.data else {
        let message = "a unique key is made of named fields: this type has none";
        return Err(syn::Error::new(key.span(), message));
    };
    let names = fields.named.iter().filter_map(|field| field.ident.as_ref());
    Ok(quote! {
        #[allow(unused_variables)]
        let Self { #(#names),* } = &self;
    })
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
