//! Attributes and macros of the facade; they expand to the plain interface.
#![forbid(unsafe_code)]

mod arguments;
mod body;
mod entry;
mod group;
mod region;
mod select;

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
/// A failure prints what broke, the smallest schedule that shows it as a timeline, the crashpack's path, and the command that replays it.
///
/// Arguments, all optional:
/// - `seeds = N`: how many seeds; 8 unless set.
/// - `schedules = N`: how many schedules a search tries after the seeds; 200 if only `strategy` is set, none if neither is.
/// - `strategy = ".."`: how the search picks: `portfolio` (unless set), `random`, `pct3` (with any depth), `pos`, `urw`, `dpor`, which tries every class of schedules, or `all`, which tries every schedule.
/// - `faults = ..`: an expression of type `asupersync::lab::Faults`.
/// - `config = ..`: an expression of type `asupersync::LabConfig`.
/// - `cancel = "every_await"`: also cuts each task short wherever it waits, cancelled, dropped and unwound.
///
/// # Expansion
/// ```text
/// #[asupersync::test(seeds = 100)]
/// async fn name(cx: Cx) { body }
///
/// #[::core::prelude::v1::test]
/// fn name() {
///     async fn name(cx: Cx) { body }
///     ::asupersync::lab::Check::new("module::name").seeds(100).run(name)
/// }
/// ```
#[proc_macro_attribute]
pub fn test(arguments: TokenStream, item: TokenStream) -> TokenStream {
    entry::test(arguments.into(), item.into())
        .unwrap_or_else(syn::Error::into_compile_error)
        .into()
}

/// Opens a region, runs the body in it, and waits until nothing of it is left.
///
/// Options stand before the body: `policy = P`, `budget = B`.
/// # Expansion
/// ```text
/// scope!(cx, |scope| { body })
/// (cx).region(async |scope| { body }).await
///
/// scope!(cx, policy = Collect, |scope| { body })
/// (cx).region_with(::asupersync::RegionOptions::new().policy(Collect), async |scope| { body }).await
/// ```
#[proc_macro]
pub fn scope(input: TokenStream) -> TokenStream {
    region::scope(input.into())
        .unwrap_or_else(syn::Error::into_compile_error)
        .into()
}

/// Spawns a task on a scope; gives its handle.
///
/// The task is a body `|cx| { .. }`, which moves what it captures, a block `async { .. }`, or a function's name.
/// Options stand before it: `name = "..."`, `budget = B`.
/// # Expansion
/// ```text
/// spawn!(scope, |cx| { body })
/// (scope).spawn(async move |cx: ::asupersync::Cx<_>| { body })
///
/// spawn!(scope, name = "indexer", worker)
/// (scope).spawn_with(::asupersync::SpawnOptions::new().name("indexer"), worker)
/// ```
#[proc_macro]
pub fn spawn(input: TokenStream) -> TokenStream {
    region::spawn(input.into())
        .unwrap_or_else(syn::Error::into_compile_error)
        .into()
}

/// Runs branches together and gives all their values.
///
/// A branch is a body `|cx| { .. }` with a context of its own, or a future.
/// # Expansion
/// ```text
/// join!(cx, |cx| { body }, future)
/// ::asupersync::combinator::join(
///     &(cx),
///     (async |cx: ::asupersync::Cx| { body }, ::asupersync::combinator::plain(future)),
/// )
/// .await
/// ```
#[proc_macro]
pub fn join(input: TokenStream) -> TokenStream {
    group::expand("join", input.into())
        .unwrap_or_else(syn::Error::into_compile_error)
        .into()
}

/// Runs branches together; the first that ends badly has the others cancelled and drained.
///
/// A branch is a body `|cx| { .. }` with a context of its own, or a future.
/// # Expansion
/// ```text
/// try_join!(cx, first, second)
/// ::asupersync::combinator::try_join(
///     &(cx),
///     (::asupersync::combinator::plain(first), ::asupersync::combinator::plain(second)),
/// )
/// .await
/// ```
#[proc_macro]
pub fn try_join(input: TokenStream) -> TokenStream {
    group::expand("try_join", input.into())
        .unwrap_or_else(syn::Error::into_compile_error)
        .into()
}

/// Runs branches until one has ended; the others are cancelled and drained.
///
/// A branch is a body `|cx| { .. }` with a context of its own, or a future.
/// # Expansion
/// ```text
/// race!(cx, |cx| { body }, future)
/// ::asupersync::combinator::race(
///     &(cx),
///     (async |cx: ::asupersync::Cx| { body }, ::asupersync::combinator::plain(future)),
/// )
/// .await
/// ```
#[proc_macro]
pub fn race(input: TokenStream) -> TokenStream {
    group::expand("race", input.into())
        .unwrap_or_else(syn::Error::into_compile_error)
        .into()
}

/// Waits on several futures and handles the first whose output fits its pattern.
///
/// It begins with the context and a semicolon, then `biased;` if the branches are to be polled from the top; otherwise which is first is drawn anew.
/// A branch is `pattern = future, if guard => handler`; without its guard it is not started, and an output that its pattern does not take puts it out.
/// With every branch out, `else => handler` runs; without one the macro panics.
/// The other branches are cancelled with `RaceLost` and drained before the handler runs, so a wait that loses has taken nothing; a `send` that loses drops its value, so `reserve` first.
/// Handlers are the caller's code: they may use what the futures had borrowed, and `?`, `break` and `return`.
/// # Expansion
/// ```text
/// select! { cx;
///     Ok(job) = jobs.recv(cx), if open => handle(job),
///     _ = cx.sleep(TICK) => tick(),
/// }
///
/// let mut rule = ::asupersync::combinator::FirstMatch::fair(cx);
/// let (a, b) = FirstMatch::ends(settle_with(cx, (
///     plain(async {
///         if !open { return Outcome::Err(()) }
///         let output = jobs.recv(cx).await;
///         if matches!(&output, Ok(job)) { Outcome::Ok(output) } else { Outcome::Err(()) }
///     }),
///     plain(async { Outcome::Ok(cx.sleep(TICK).await) }),
/// ), &mut rule).await);
/// match rule.winner() {
///     Some(0) => match FirstMatch::value(a) { Some(Ok(job)) => handle(job), .. },
///     Some(1) => match FirstMatch::value(b) { Some(_) => tick(), .. },
///     _ => panic!(..),
/// }
/// ```
#[proc_macro]
pub fn select(input: TokenStream) -> TokenStream {
    select::select(input.into())
        .unwrap_or_else(syn::Error::into_compile_error)
        .into()
}
