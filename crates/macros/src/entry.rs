//! `#[main]` and `#[test]`.

use proc_macro2::TokenStream;
use quote::quote;
use syn::{Error, ItemFn, Result, ReturnType, Type};

use crate::arguments;

pub(crate) fn main(arguments: TokenStream, item: TokenStream) -> Result<TokenStream> {
    let workers = arguments::number(arguments, "workers")?;
    let function = parse(item)?;
    if function.sig.ident != "main" {
        let message = "`#[asupersync::main]` belongs on `async fn main`";
        return Err(Error::new_spanned(function.sig.ident, message));
    }
    let builder = match workers.map(usize::try_from) {
        None => quote!(::asupersync::RuntimeBuilder::new()),
        Some(Ok(count)) => quote!(::asupersync::RuntimeBuilder::new().worker_threads(#count)),
        Some(Err(error)) => return Err(Error::new_spanned(function.sig, error)),
    };
    let body = body_of(&function);
    Ok(quote! {
        fn main() -> ::std::process::ExitCode {
            #function
            ::asupersync::run_main(#builder, #body)
        }
    })
}

pub(crate) fn test(arguments: TokenStream, item: TokenStream) -> Result<TokenStream> {
    let seeds = arguments::number(arguments, "seeds")?.unwrap_or(SEEDS);
    let mut function = parse(item)?;
    let name = function.sig.ident.clone();
    let attributes = std::mem::take(&mut function.attrs);
    let body = body_of(&function);
    Ok(quote! {
        #[::core::prelude::v1::test]
        #(#attributes)*
        fn #name() {
            #function
            ::asupersync::lab::check_seeds(::asupersync::lab::Seeds::first(#seeds), #body)
        }
    })
}

/// How many seeds a test runs under unless it says otherwise.
const SEEDS: u64 = 8;

fn parse(item: TokenStream) -> Result<ItemFn> {
    let function: ItemFn = syn::parse2(item)?;
    if function.sig.asyncness.is_none() {
        let message = "the function must be `async`: it runs as the root body";
        return Err(Error::new_spanned(function.sig.fn_token, message));
    }
    if function.sig.inputs.len() > 1 {
        let message = "the function takes a `Cx`, or nothing";
        return Err(Error::new_spanned(function.sig.inputs, message));
    }
    if !function.sig.generics.params.is_empty() {
        let message = "the function cannot be generic: nothing calls it with types";
        return Err(Error::new_spanned(function.sig.generics, message));
    }
    Ok(function)
}

/// A closure from a context to what a body returns.
fn body_of(function: &ItemFn) -> TokenStream {
    let name = &function.sig.ident;
    let call = if function.sig.inputs.is_empty() {
        quote!(#name())
    } else {
        quote!(#name(cx))
    };
    if returns_nothing(&function.sig.output) {
        quote! {
            async |cx: ::asupersync::Cx| {
                let _ = &cx;
                #call.await;
                ::asupersync::Outcome::<(), ::core::convert::Infallible>::Ok(())
            }
        }
    } else {
        quote! {
            async |cx: ::asupersync::Cx| {
                let _ = &cx;
                #call.await
            }
        }
    }
}

fn returns_nothing(output: &ReturnType) -> bool {
    match output {
        ReturnType::Default => true,
        ReturnType::Type(_, ty) => {
            matches!(&**ty, Type::Tuple(tuple) if tuple.elems.is_empty())
        }
    }
}
