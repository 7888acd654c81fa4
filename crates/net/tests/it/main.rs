//! The crate's promises under the lab's faults, and on the operating system alone.

mod faults;
mod lab_network;
mod os;
