//! The lab host, through its public interface.

mod ends;
mod foreign;
mod interrupt;
mod timers;
mod vars;
