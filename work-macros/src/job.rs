use proc_macro2::{Span, TokenStream};
use quote::{quote, quote_spanned};
use syn::ItemFn;
use syn::spanned::Spanned;

use crate::function::{self, inner_type};
use crate::options::{Options, default_kind};

/// The function, and a type of its name: an empty enum shares no namespace with a function, can be declared wherever a
/// function can, and sees the same names.
pub(crate) fn expand(options: &Options, function: &ItemFn) -> syn::Result<TokenStream> {
    function::check(function)?;
    if let Some(generic) = function.sig.generics.params.first() {
        let message = "a job has no type parameters and no lifetimes: its kind names one function";
        return Err(syn::Error::new_spanned(generic, message));
    }
    let (name, visibility) = (&function.sig.ident, &function.vis);
    let kind = options.kind.clone().map_or_else(|| default_kind(name, str::to_owned, "`kind = \"…\"`"), Ok)?;
    let args = function::types(function).find_map(|ty| inner_type(ty, "Args"));
    let span = args.map_or_else(Span::call_site, |args| Span::call_site().located_at(args.span()));
    let args = args.map_or_else(|| quote!(()), |args| quote!(#args));
    // Where the arguments stand, since that is where their missing `Serialize` is to be told.
    let job = quote_spanned!(span=> ::work_core::Job::new(Self::KIND, args));
    let setters = options.setters();
    let key = options.key(&quote!(#[allow(unused_variables)] let args = &args;));
    let about = format!("The jobs of kind `{}`, see the function of this name.", kind.value());
    Ok(quote! {
        #function

        #[doc = #about]
        #[allow(non_camel_case_types)]
        #[derive(Debug)]
        #visibility enum #name {}

        #[allow(dead_code)]
        impl #name {
            /// The kind.
            #visibility const KIND: &'static str = #kind;

            /// A job with these arguments.
            #[must_use = "a job does nothing until a worker performs it"]
            #visibility fn job(args: #args) -> ::work_core::Job {
                #key
                #job #setters
            }
        }
    })
}
