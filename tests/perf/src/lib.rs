//! Benchmarks of what dhow promises: one for each figure in `docs/spec.md`.
//!
//! A figure without its peer says little, and on a busy or throttled machine a figure from another
//! hour says nothing. So every benchmark runs ours and the peer in turn, in one run, and what is
//! promised is the ratio. A peer that cannot run here is said with its reason.
//!
//! - [`figures`]: samples, medians, ratios, and whether a goal is met
//! - [`table`]: how the outcome is printed
//! - [`stage`]: what benchmarks run on: the distribution, homes, timed commands
//! - [`peer`]: podman and QEMU
//! - [`benchmarks`]: what is measured, each in a module of its own
//! - [`traffic`]: the static program that stands for an application, in a container and elsewhere
//! - [`machine`]: the machine that all this ran on, in a line

pub mod benchmarks;
pub mod figures;
pub mod machine;
pub mod peer;
pub mod stage;
pub mod table;
pub mod traffic;
