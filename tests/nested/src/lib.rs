//! Runs programs on a host with real hardware virtualisation, made by QEMU's emulation of AMD-V.
//!
//! An *outer* guest (Debian's cloud kernel with its kvm-amd module) boots under
//! `qemu-system-x86_64 -accel tcg -cpu EPYC,+svm,+npt`. Its PID 1 is our own `dhow-nested-outer`,
//! which runs a list of [`steps::Step`]s, each a command with what is expected of it, and says on
//! the serial line how each went. *Inner* guests are what those commands start with KVM.
//!
//! - [`steps`] – what to run, and how the outside reads the results
//! - [`outer`] – puts an outer guest together and runs it within a bound of time
//! - [`inner`] – what inner guests are made of
//! - [`debian`] – its kernel and modules, from the distribution's package
//! - [`programs`] – static builds of this workspace's programs
//! - [`peer`] – QEMU inside the outer guest, to compare with
//! - [`cpio`] – writes an initramfs

pub mod cost;
pub mod cpio;
pub mod debian;
pub mod inner;
pub mod outer;
pub mod peer;
pub mod programs;
pub mod steps;
