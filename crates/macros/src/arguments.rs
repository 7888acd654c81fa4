//! `name = number` arguments of an attribute.

use proc_macro2::TokenStream;
use syn::parse::Parser;
use syn::punctuated::Punctuated;
use syn::{Error, Expr, ExprLit, Lit, MetaNameValue, Result, Token};

/// The value of the one argument that an attribute knows, if it is given.
pub(crate) fn number(arguments: TokenStream, known: &str) -> Result<Option<u64>> {
    let pairs = Punctuated::<MetaNameValue, Token![,]>::parse_terminated.parse2(arguments)?;
    let mut value = None;
    for pair in pairs {
        if !pair.path.is_ident(known) {
            let message = format!("unknown argument; this attribute takes `{known} = N`");
            return Err(Error::new_spanned(pair.path, message));
        }
        let Expr::Lit(ExprLit {
            lit: Lit::Int(number),
            ..
        }) = &pair.value
        else {
            let message = format!("`{known}` takes a number, as in `{known} = 4`");
            return Err(Error::new_spanned(pair.value, message));
        };
        value = Some(number.base10_parse()?);
    }
    Ok(value)
}
