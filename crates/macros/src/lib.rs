//! Attributes and macros of the facade; they expand to the plain interface.
#![forbid(unsafe_code)]

mod arguments;
mod entry;

use proc_macro::TokenStream;

/// Runs an async function as the program.
///
/// The function takes a `Cx`, or nothing, and returns nothing, a `Result` with a standard error, or an `Outcome`.
/// It becomes `fn main() -> ExitCode`: 0 for a value, 1 for an error, 130 if a signal ended it, 101 after a panic.
///
/// Arguments: `workers = N`, the number of worker threads; as many as cores unless set.
///
/// # Expansion
/// ```text
/// #[asupersync::main(workers = 2)]
/// async fn main(cx: Cx) -> Result<(), AppError> { body }
///
/// fn main() -> ::std::process::ExitCode {
///     async fn main(cx: Cx) -> Result<(), AppError> { body }
///     ::asupersync::run_main(::asupersync::RuntimeBuilder::new().worker_threads(2), main)
/// }
/// ```
#[proc_macro_attribute]
pub fn main(arguments: TokenStream, item: TokenStream) -> TokenStream {
    entry::main(arguments.into(), item.into())
        .unwrap_or_else(syn::Error::into_compile_error)
        .into()
}

/// Runs an async function as a test under the lab, over several seeds.
///
/// The function takes a `Cx`, or nothing, and returns nothing, a `Result` with a standard error, or an `Outcome`.
/// A failure prints the seed and the command that replays it.
///
/// Arguments: `seeds = N`, how many seeds; 8 unless set.
///
/// # Expansion
/// ```text
/// #[asupersync::test(seeds = 100)]
/// async fn name(cx: Cx) { body }
///
/// #[::core::prelude::v1::test]
/// fn name() {
///     async fn name(cx: Cx) { body }
///     ::asupersync::lab::check_seeds(::asupersync::lab::Seeds::first(100), ..)
/// }
/// ```
#[proc_macro_attribute]
pub fn test(arguments: TokenStream, item: TokenStream) -> TokenStream {
    entry::test(arguments.into(), item.into())
        .unwrap_or_else(syn::Error::into_compile_error)
        .into()
}
