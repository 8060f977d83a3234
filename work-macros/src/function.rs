use syn::{FnArg, GenericArgument, ItemFn, PathArguments, Type};

/// Refuses what can be no handler, whatever its types are.
pub(crate) fn check(function: &ItemFn) -> syn::Result<()> {
    let signature = &function.sig;
    if signature.asyncness.is_none() {
        return Err(syn::Error::new(signature.fn_token.span, "a handler is an `async fn`: add `async`"));
    }
    if let Some(receiver) = signature.receiver() {
        let message = "a handler is a free function: take what it needs as `State<T>`";
        return Err(syn::Error::new_spanned(receiver, message));
    }
    for ty in types(function) {
        let message = match inner_type(ty, "Args").unwrap_or(ty) {
            Type::Reference(_) => "a handler owns its arguments: take a type without `&`, such as `Args<String>`",
            Type::ImplTrait(_) => "the router must know each type: name it instead of `impl`",
            _ => continue,
        };
        return Err(syn::Error::new_spanned(ty, message));
    }
    if let Some(second) = types(function).filter(|ty| inner_type(ty, "Args").is_some()).nth(1) {
        let message = "a job has one `Args`: put what it needs into one type, or a tuple `Args<(A, B)>`";
        return Err(syn::Error::new_spanned(second, message));
    }
    match signature.inputs.iter().nth(12) {
        Some(extra) => {
            Err(syn::Error::new_spanned(extra, "a handler takes at most 12 arguments: put some into one type"))
        }
        None => Ok(()),
    }
}

/// The types of the arguments.
pub(crate) fn types(function: &ItemFn) -> impl Iterator<Item = &Type> {
    function.sig.inputs.iter().filter_map(|argument| match argument {
        FnArg::Typed(argument) => Some(&*argument.ty),
        FnArg::Receiver(_) => None,
    })
}

/// The `T` of a type written as `name<T>`, whatever path leads to it.
pub(crate) fn inner_type<'t>(ty: &'t Type, name: &str) -> Option<&'t Type> {
    let Type::Path(path) = ty else { return None };
    let last = path.path.segments.last().filter(|segment| segment.ident == name)?;
    let PathArguments::AngleBracketed(arguments) = &last.arguments else { return None };
    match arguments.args.first() {
        Some(GenericArgument::Type(inner)) if arguments.args.len() == 1 => Some(inner),
        _ => None,
    }
}
