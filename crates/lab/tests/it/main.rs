//! The lab host, through its public interface.

mod chaos;
mod dependences;
mod ends;
mod foreign;
mod interrupt;
mod nodes;
mod search;
mod timers;
mod vars;
