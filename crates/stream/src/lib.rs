//! Streams and sinks: items over time, with cancellation, time and tasks where they matter.
//!
//! # What is here
//! - [`StreamExt`]: one trait in scope gives every adaptor of a stream: those of `futures-util`, handed through, and ours.
//! - Waits that take `&Cx` and fail with `Cancelled`: [`StreamExt::next`], [`StreamExt::fold`], [`TryStreamExt::try_next`] and the others that end a stream.
//! - Items as tasks of a region: [`StreamExt::buffered`], [`StreamExt::buffer_unordered`], [`StreamExt::for_each_concurrent`], [`StreamExt::map_concurrent`] and their `try_` forms.
//! - Time: [`StreamExt::throttle`], [`StreamExt::rate_limited`], [`StreamExt::debounce`], [`StreamExt::timeout_each`], [`StreamExt::chunks_timeout`], [`StreamExt::window_timed`].
//! - Several streams: [`merge`], [`StreamExt::merge`], [`StreamExt::zip_latest`], [`StreamExt::partition`].
//! - Sources: [`receiver_stream`], [`unbounded_stream`], [`broadcast_stream`], [`watch_stream`], [`interval_stream`], [`generate`], [`try_generate`].
//! - Sinks: [`sender_sink`], [`unbounded_sink`] and [`SinkExt`], with backpressure.
//!
//! # What cancellation looks like
//! A source of ours that waits gives `Err(Cancelled)` once, and then ends for as long as the context being polled must stop.
//! An adaptor of ours that holds items back for a time lets them go when the context must stop, so that what its source says is heard.
//! So no stream of ours that was cut short looks like one that came to its end.
//!
//! # What is not
//! `buffered`, `buffer_unordered` and `for_each_concurrent` of `futures-util`, whose items stand still while nobody polls the stream.
#![forbid(unsafe_code)]

// tidy(contents-page): the types behind the methods, which few programs name and which would bury the rest
pub mod adaptor;
mod broadcast;
mod buffered;
mod cancel;
mod chunks_timeout;
mod debounce;
mod forward;
mod generate;
mod interval;
mod latest;
mod mpsc;
mod pace;
mod partition;
mod rate;
mod sink;
mod sink_ext;
mod stop;
mod stream_ext;
mod timeout_each;
mod timer;
mod try_stream_ext;
mod watch;
mod window;
mod window_timed;

pub use broadcast::{BroadcastStream, broadcast_stream};
pub use generate::{Generate, TryGenerate, Yield, Yielder, generate, try_generate};
pub use interval::{IntervalStream, interval_stream};
pub use latest::ZipLatest;
pub use mpsc::{ReceiverStream, UnboundedStream, receiver_stream, unbounded_stream};
pub use partition::{Part, PartitionError, PartitionOptions, WhenFull};
pub use rate::Rate;
pub use sink::{SenderSink, SinkError, UnboundedSink, sender_sink, unbounded_sink};
pub use sink_ext::SinkExt;
pub use stream_ext::{StreamExt, merge};
pub use timeout_each::Elapsed;
pub use try_stream_ext::TryStreamExt;
pub use watch::{WatchStream, watch_changes, watch_stream};
pub use window::Window;
pub use window_timed::{TimedWindow, Windows};

pub use futures_core::Stream;
pub use futures_sink::Sink;
pub use futures_util::stream::{
    empty, iter, once, pending, poll_fn, repeat, repeat_with, try_unfold, unfold,
};
