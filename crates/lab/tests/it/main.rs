//! The lab host, through its public interface.

mod ends;
mod interrupt;
mod timers;
