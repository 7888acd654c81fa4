//! `#[main]` and `#[test]`.

use proc_macro2::TokenStream;
use quote::quote;
use syn::{Error, ItemFn, LitStr, Result, ReturnType, Type};

use crate::arguments::Arguments;

pub(crate) fn main(arguments: TokenStream, item: TokenStream) -> Result<TokenStream> {
    let arguments = Arguments::parse(arguments, &["workers"], "`workers = N`")?;
    let workers = arguments.number("workers")?;
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
    let known = [
        "seeds",
        "strategy",
        "schedules",
        "config",
        "faults",
        "cancel",
    ];
    let arguments = Arguments::parse(arguments, &known, TEST_USAGE)?;
    let check = check(&arguments)?;
    let mut function = parse(item)?;
    let name = function.sig.ident.clone();
    let attributes = std::mem::take(&mut function.attrs);
    let body = body_of(&function);
    Ok(quote! {
        #[::core::prelude::v1::test]
        #(#attributes)*
        fn #name() {
            #function
            ::asupersync::lab::Check::new(::core::concat!(
                ::core::module_path!(), "::", ::core::stringify!(#name)
            ))
            #check
            .run(#body)
        }
    })
}

/// The calls that the arguments of a test stand for.
fn check(arguments: &Arguments) -> Result<TokenStream> {
    let mut calls = TokenStream::new();
    if let Some(config) = arguments.expression("config") {
        calls.extend(quote!(.config(#config)));
    }
    if let Some(faults) = arguments.expression("faults") {
        calls.extend(quote!(.faults(#faults)));
    }
    if let Some(seeds) = arguments.number("seeds")? {
        calls.extend(quote!(.seeds(#seeds)));
    }
    let strategy = arguments.text("strategy", "pct3")?;
    let schedules = arguments.number("schedules")?;
    if strategy.is_some() || schedules.is_some() {
        let strategies = strategies(strategy)?;
        let schedules = schedules.unwrap_or(SCHEDULES);
        calls.extend(quote!(.search(#strategies, #schedules)));
    }
    match arguments.text("cancel", "every_await")? {
        Some(text) if text.value() == "every_await" => calls.extend(quote!(.every_await())),
        Some(text) => {
            let message = "`cancel` is \"every_await\": each task is cut short wherever it waits";
            return Err(Error::new_spanned(text, message));
        }
        None => {}
    }
    Ok(calls)
}

fn strategies(text: Option<&LitStr>) -> Result<TokenStream> {
    let Some(text) = text else {
        return Ok(quote!(::asupersync::lab::Strategy::PORTFOLIO));
    };
    let value = text.value();
    let strategy = match value.as_str() {
        "portfolio" => return Ok(quote!(::asupersync::lab::Strategy::PORTFOLIO)),
        "random" => quote!(Random),
        "fifo" => quote!(Fifo),
        "pos" => quote!(Pos),
        "urw" => quote!(Urw),
        "dpor" => quote!(Dpor),
        "all" => quote!(All),
        _ => {
            let depth = value
                .strip_prefix("pct")
                .and_then(|depth| depth.parse::<u32>().ok());
            let Some(depth) = depth.filter(|depth| *depth > 0) else {
                let message = "the strategies are portfolio, random, fifo, pct2 (with any depth), pos, urw, dpor and all";
                return Err(Error::new_spanned(text, message));
            };
            quote!(Pct { depth: #depth })
        }
    };
    Ok(quote!([::asupersync::lab::Strategy::#strategy]))
}

const TEST_USAGE: &str = "`seeds = N`, `strategy = \"..\"`, `schedules = N`, `config = ..`, `faults = ..` and `cancel = \"every_await\"`";
/// How many schedules a search tries unless it says otherwise.
const SCHEDULES: u64 = 200;

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
