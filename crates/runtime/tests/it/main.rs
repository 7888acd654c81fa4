//! The production host, through its public interface.

mod regions;
