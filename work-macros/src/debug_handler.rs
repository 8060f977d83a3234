use proc_macro2::TokenStream;
use quote::{ToTokens, format_ident, quote, quote_spanned};
use syn::parse::{Parse, ParseStream};
use syn::spanned::Spanned;
use syn::{Ident, ItemFn, ReturnType, Token, Type};

use crate::function::{self, inner_type};

/// `state = T`, or nothing.
pub(crate) struct StateOption(Option<Type>);

impl Parse for StateOption {
    fn parse(input: ParseStream<'_>) -> syn::Result<Self> {
        if input.is_empty() {
            return Ok(Self(None));
        }
        let name: Ident = input.parse()?;
        if name != "state" {
            return Err(syn::Error::new(name.span(), format!("unknown option `{name}`; there is `state = T`")));
        }
        input.parse::<Token![=]>()?;
        input.parse().map(|state| Self(Some(state)))
    }
}

/// The function as it is, and checks of each of its parts where it stands.
pub(crate) fn expand(state: &StateOption, function: &ItemFn) -> syn::Result<TokenStream> {
    function::check(function)?;
    // The bounds below cannot be written for a type that is not known.
    if !function.sig.generics.params.is_empty() {
        return Ok(quote!(#function));
    }
    let types: Vec<&Type> = function::types(function).collect();
    let state = router_state(state, &types)?;
    let arguments = types.iter().enumerate().map(|(at, ty)| {
        let check = format_ident!("argument_{at}");
        quote_spanned! {ty.span()=> fn #check() where #ty: ::work_core::FromJob<#state> {} }
    });
    let result = match &function.sig.output {
        ReturnType::Default => TokenStream::new(),
        ReturnType::Type(_, ty) => quote_spanned! {ty.span()=> fn result() where #ty: ::work_core::IntoOutcome {} },
    };
    let (name, span) = (&function.sig.ident, function.sig.ident.span());
    let values: Vec<Ident> = (0..types.len()).map(|at| format_ident!("a{at}")).collect();
    let future = quote_spanned! {span=>
        fn future(#(#values: #types),*) {
            // The compiler shows the name as the last word of its message, so it is the advice.
            fn is_send_so_use_arc_or_drop_before_await<F: ::core::future::Future + Send>(_: F) {}
            is_send_so_use_arc_or_drop_before_await(#name(#(#values),*));
        }
    };
    Ok(quote! {
        #function

        #[allow(dead_code, deprecated, unreachable_code)]
        const _: () = {
            #(#arguments)*
            #result
            #future
        };
    })
}

/// The state that is given; else that of the `State<T>`, which says it only if all of them agree.
fn router_state(given: &StateOption, types: &[&Type]) -> syn::Result<TokenStream> {
    if let Some(state) = &given.0 {
        return Ok(quote!(#state));
    }
    let mut states = types.iter().filter_map(|ty| inner_type(ty, "State"));
    let Some(first) = states.next().map(ToTokens::to_token_stream) else { return Ok(quote!(())) };
    match states.find(|ty| ty.to_token_stream().to_string() != first.to_string()) {
        Some(other) => {
            let message = "there are several states: say what the router has with `#[debug_handler(state = T)]`";
            Err(syn::Error::new_spanned(other, message))
        }
        None => Ok(first),
    }
}
