//! `scope!` and `spawn!`.

use proc_macro2::TokenStream;
use quote::quote;
use syn::parse::{Parse, ParseStream};
use syn::{Error, Expr, ExprClosure, Ident, Result, Token};

use crate::body;

/// `subject, name = value, .., last`.
struct Call {
    subject: Expr,
    options: Vec<(Ident, Expr)>,
    last: Expr,
}

impl Parse for Call {
    fn parse(input: ParseStream<'_>) -> Result<Self> {
        let subject = input.parse()?;
        input.parse::<Token![,]>()?;
        let mut options = Vec::new();
        while input.peek(Ident) && input.peek2(Token![=]) && !input.peek2(Token![==]) {
            let name = input.parse()?;
            input.parse::<Token![=]>()?;
            options.push((name, input.parse()?));
            input.parse::<Token![,]>()?;
        }
        let last = input.parse()?;
        input.parse::<Option<Token![,]>>()?;
        if input.is_empty() {
            Ok(Self {
                subject,
                options,
                last,
            })
        } else {
            Err(input.error("nothing follows the body"))
        }
    }
}

impl Call {
    /// The options as calls on a builder; `None` if there are none.
    fn options(&self, known: &[&str]) -> Result<Option<TokenStream>> {
        let mut calls = TokenStream::new();
        for (name, value) in &self.options {
            if !known.iter().any(|known| name == known) {
                let message = format!("unknown option; there are: {}", known.join(", "));
                return Err(Error::new_spanned(name, message));
            }
            calls.extend(quote!(.#name(#value)));
        }
        Ok((!self.options.is_empty()).then_some(calls))
    }
}

pub(crate) fn scope(input: TokenStream) -> Result<TokenStream> {
    let call: Call = syn::parse2(input)?;
    let options = call.options(&["policy", "budget"])?;
    let Expr::Closure(body) = &call.last else {
        let message = "the region's body is written `|scope| { .. }`";
        return Err(Error::new_spanned(&call.last, message));
    };
    let body = scope_body(body)?;
    let subject = &call.subject;
    Ok(match options {
        None => quote!((#subject).region(#body).await),
        Some(options) => quote! {
            (#subject).region_with(::asupersync::RegionOptions::new() #options, #body).await
        },
    })
}

fn scope_body(body: &ExprClosure) -> Result<ExprClosure> {
    if body.inputs.len() != 1 {
        let message = "the region's body takes one argument, its scope: `|scope| { .. }`";
        return Err(Error::new_spanned(body, message));
    }
    Ok(body::made_async(body))
}

pub(crate) fn spawn(input: TokenStream) -> Result<TokenStream> {
    let call: Call = syn::parse2(input)?;
    let options = call.options(&["name", "budget"])?;
    let task = match &call.last {
        Expr::Closure(body) => {
            let mut body = body::with_context(body, &quote!(::asupersync::Cx<_>))?;
            body.capture = Some(Token![move](proc_macro2::Span::call_site()));
            quote!(#body)
        }
        Expr::Async(block) => {
            let block = &block.block;
            quote!(async move |_: ::asupersync::Cx<_>| #block)
        }
        function => quote!(#function),
    };
    let subject = &call.subject;
    Ok(match options {
        None => quote!((#subject).spawn(#task)),
        Some(options) => quote! {
            (#subject).spawn_with(::asupersync::SpawnOptions::new() #options, #task)
        },
    })
}
