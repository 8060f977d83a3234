use proc_macro2::TokenStream;
use quote::quote;
use syn::{FnArg, GenericArgument, ItemFn, PathArguments, Type};

use crate::options::{Options, checked_name};

/// The function, and a type of its name: an empty enum shares no namespace with a function, can be declared wherever a
/// function can, and sees the same names.
pub(crate) fn expand(options: &Options, function: &ItemFn) -> syn::Result<TokenStream> {
    check(function)?;
    let (name, visibility) = (&function.sig.ident, &function.vis);
    let kind = match &options.kind {
        Some(kind) => kind.clone(),
        None => checked_name(&syn::LitStr::new(&name.to_string(), name.span()))?,
    };
    let args = args(function).map_or_else(|| quote!(()), |args| quote!(#args));
    let setters = setters(options);
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
            #visibility fn job(args: #args) -> ::work_core::Job {
                ::work_core::Job::new(Self::KIND, args) #setters
            }
        }
    })
}

fn check(function: &ItemFn) -> syn::Result<()> {
    let signature = &function.sig;
    if signature.asyncness.is_none() {
        return Err(syn::Error::new(signature.fn_token.span, "a job is an async function: write `async fn`"));
    }
    if let Some(generic) = signature.generics.params.first() {
        return Err(syn::Error::new_spanned(generic, "a job has no type parameters: its kind names one function"));
    }
    if let Some(FnArg::Receiver(receiver)) = signature.inputs.first() {
        return Err(syn::Error::new_spanned(receiver, "a job is a free function: take what it needs as `State<T>`"));
    }
    Ok(())
}

/// The `T` of the argument of type `Args<T>`.
fn args(function: &ItemFn) -> Option<&Type> {
    function.sig.inputs.iter().find_map(|input| match input {
        FnArg::Typed(argument) => inner_type(&argument.ty, "Args"),
        FnArg::Receiver(_) => None,
    })
}

/// The `T` of a type written as `name<T>`, whatever path leads to it.
pub(crate) fn inner_type<'t>(ty: &'t Type, name: &str) -> Option<&'t Type> {
    let Type::Path(path) = ty else { return None };
    let last = path.path.segments.last().filter(|segment| segment.ident == name)?;
    let PathArguments::AngleBracketed(arguments) = &last.arguments else { return None };
    match arguments.args.first() {
        Some(GenericArgument::Type(inner)) => Some(inner),
        _ => None,
    }
}

fn setters(options: &Options) -> TokenStream {
    let queue = options.queue.iter();
    let max_attempts = options.max_attempts.iter();
    let timeout = options.timeout_ms.iter();
    let priority = options.priority.iter();
    quote! {
        #(.queue(#queue))*
        #(.max_attempts(#max_attempts))*
        #(.timeout(::std::time::Duration::from_millis(#timeout)))*
        #(.priority(#priority))*
    }
}
