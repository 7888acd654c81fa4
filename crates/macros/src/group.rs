//! `join!`, `try_join!` and `race!`.

use proc_macro2::TokenStream;
use quote::{format_ident, quote};
use syn::parse::{Parse, ParseStream};
use syn::punctuated::Punctuated;
use syn::{Expr, Result, Token};

use crate::body;

/// `cx, branch, ..`.
struct Group {
    cx: Expr,
    branches: Vec<Expr>,
}

impl Parse for Group {
    fn parse(input: ParseStream<'_>) -> Result<Self> {
        let all = Punctuated::<Expr, Token![,]>::parse_terminated(input)?;
        let mut all = all.into_iter();
        let cx = all.next();
        let branches: Vec<Expr> = all.collect();
        match cx {
            Some(cx) if (1..=BRANCHES_MAX).contains(&branches.len()) => Ok(Self { cx, branches }),
            _ => Err(input.error(format!(
                "expected the context and 1 to {BRANCHES_MAX} branches: `(cx, first, second, ..)`"
            ))),
        }
    }
}

/// As many as a tuple of branches has.
pub(crate) const BRANCHES_MAX: usize = 12;

/// A call of the combinator of that name.
pub(crate) fn expand(name: &str, input: TokenStream) -> Result<TokenStream> {
    let Group { cx, branches } = syn::parse2(input)?;
    let name = format_ident!("{name}");
    let branches = branches.iter().map(branch).collect::<Result<Vec<_>>>()?;
    Ok(quote! {
        ::asupersync::combinator::#name(&(#cx), (#(#branches,)*)).await
    })
}

/// A closure is a body; anything else is a future.
fn branch(expr: &Expr) -> Result<TokenStream> {
    match expr {
        Expr::Closure(body) => {
            let body = body::with_context(body, &quote!(::asupersync::Cx))?;
            Ok(quote!(#body))
        }
        future => Ok(quote!(::asupersync::combinator::plain(#future))),
    }
}
