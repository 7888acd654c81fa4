//! Closures that are bodies of tasks, regions and branches.

use proc_macro2::{Span, TokenStream};
use syn::spanned::Spanned as _;
use syn::{Error, ExprClosure, Pat, PatType, Result, Token, parse_quote};

/// The closure as an async one.
pub(crate) fn made_async(body: &ExprClosure) -> ExprClosure {
    let mut body = body.clone();
    if body.asyncness.is_none() {
        body.asyncness = Some(Token![async](Span::call_site()));
    }
    body
}

/// The closure as an async one whose one argument is a context, of the given type unless it says otherwise.
pub(crate) fn with_context(body: &ExprClosure, context: &TokenStream) -> Result<ExprClosure> {
    if body.inputs.len() != 1 {
        let message = "a body takes one argument, its context: `|cx| { .. }`";
        return Err(Error::new_spanned(body, message));
    }
    let mut body = made_async(body);
    for input in &mut body.inputs {
        if !matches!(input, Pat::Type(_)) {
            *input = Pat::Type(PatType {
                attrs: Vec::new(),
                pat: Box::new(input.clone()),
                colon_token: Token![:](input.span()),
                ty: parse_quote!(#context),
            });
        }
    }
    Ok(body)
}
