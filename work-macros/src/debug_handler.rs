use proc_macro2::TokenStream;
use quote::{format_ident, quote, quote_spanned};
use syn::parse::{Parse, ParseStream};
use syn::spanned::Spanned;
use syn::{FnArg, Ident, ItemFn, ReturnType, Token, Type};

use crate::job::inner_type;

/// `state = T`, or nothing.
pub(crate) struct StateOption(Option<Type>);

impl Parse for StateOption {
    fn parse(input: ParseStream<'_>) -> syn::Result<Self> {
        if input.is_empty() {
            return Ok(Self(None));
        }
        let name: Ident = input.parse()?;
        if name != "state" {
            return Err(syn::Error::new(name.span(), "unknown option; there is `state = T`"));
        }
        input.parse::<Token![=]>()?;
        input.parse().map(|state| Self(Some(state)))
    }
}

/// The function as it is, and what is wrong with it.
pub(crate) fn expand(state: StateOption, function: &ItemFn) -> TokenStream {
    let wrong = check(function).map_or_else(syn::Error::into_compile_error, |()| checks(state, function));
    quote!(#function #wrong)
}

fn check(function: &ItemFn) -> syn::Result<()> {
    let signature = &function.sig;
    if signature.asyncness.is_none() {
        return Err(syn::Error::new(signature.fn_token.span, "a handler is an async function: write `async fn`"));
    }
    if let Some(FnArg::Receiver(receiver)) = signature.inputs.first() {
        return Err(syn::Error::new_spanned(
            receiver,
            "a handler is a free function: take what it needs as `State<T>`",
        ));
    }
    match signature.inputs.iter().nth(12) {
        Some(extra) => {
            Err(syn::Error::new_spanned(extra, "a handler takes at most 12 arguments: put some into one type"))
        }
        None => Ok(()),
    }
}

fn checks(state: StateOption, function: &ItemFn) -> TokenStream {
    // The bounds below cannot be written for a type that is not known.
    if !function.sig.generics.params.is_empty() {
        return TokenStream::new();
    }
    let types: Vec<&Type> = function.sig.inputs.iter().filter_map(argument_type).collect();
    let inferred = types.iter().find_map(|ty| inner_type(ty, "State")).map(|state| quote!(#state));
    let state = state.0.map(|state| quote!(#state)).or(inferred).unwrap_or_else(|| quote!(()));
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
            fn is_send<F: ::core::future::Future + Send>(_: F) {}
            is_send(#name(#(#values),*));
        }
    };
    quote! {
        #[allow(dead_code, unreachable_code)]
        const _: () = {
            #(#arguments)*
            #result
            #future
        };
    }
}

fn argument_type(argument: &FnArg) -> Option<&Type> {
    match argument {
        FnArg::Typed(argument) => Some(&argument.ty),
        FnArg::Receiver(_) => None,
    }
}
