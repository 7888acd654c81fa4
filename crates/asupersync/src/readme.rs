//! The README's example, compiled and run with the doc tests.

#[doc = include_str!("../../../README.md")]
struct Readme;
