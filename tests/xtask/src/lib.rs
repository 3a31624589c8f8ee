//! The commands of `cargo xtask`, as a library so that tests can ask where a kernel was built and
//! what belongs into a configuration. `main.rs` only picks one.
//!
//! Everything here runs other programs (cargo, make, apt) and shows what they do; a command that
//! fails ends with one line that says what to do next.

pub mod bench;
pub mod child;
pub mod cpio;
pub mod demo;
pub mod dist;
pub mod images;
pub mod kernel;
pub mod prepush;
pub mod report;
pub mod setup;
pub mod test;
pub mod workspace;
