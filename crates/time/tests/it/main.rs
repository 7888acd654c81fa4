//! Intervals and timeouts, through their public interface.

mod every_await;
