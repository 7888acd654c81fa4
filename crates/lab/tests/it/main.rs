//! The lab host, through its public interface.

mod chaos;
mod ends;
mod foreign;
mod interrupt;
mod search;
mod timers;
mod vars;
