//! The types that the methods of [`StreamExt`](crate::StreamExt), [`TryStreamExt`](crate::TryStreamExt) and [`SinkExt`](crate::SinkExt) give.
//!
//! Those of `futures-util` are its own.

pub use futures_util::sink::{Buffer, SinkErrInto, SinkMapErr, With};
pub use futures_util::stream::{
    All, AndThen, Any, BoxStream, CatchUnwind, Chain, Chunks, Collect, Count, Cycle, Enumerate,
    ErrInto, Filter, FilterMap, FlatMap, Flatten, FlattenUnordered, Fold, ForEach, Fuse, Inspect,
    InspectErr, InspectOk, LocalBoxStream, Map, MapErr, MapOk, Next, OrElse, Peekable, ReadyChunks,
    Scan, Select, SelectAll, Skip, SkipWhile, Take, TakeUntil, TakeWhile, Then, TryChunks,
    TryCollect, TryFilter, TryFilterMap, TryFlatten, TryFold, TryForEach, TryNext, TrySkipWhile,
    TryTakeWhile, Unzip, Zip,
};

pub use crate::buffered::{AsOk, Buffered, BufferedOk};
pub use crate::cancel::{OrCancelled, TryOrCancelled};
pub use crate::chunks_timeout::ChunksTimeout;
pub use crate::debounce::Debounce;
pub use crate::forward::Forward;
pub use crate::pace::Paced;
pub use crate::rate::RateLimited;
pub use crate::sink_ext::{Close, Feed, Flush, Ready, SendAll, Slot};
pub use crate::timeout_each::TimeoutEach;
pub use crate::window::Windowed;
pub use crate::window_timed::WindowTimed;
