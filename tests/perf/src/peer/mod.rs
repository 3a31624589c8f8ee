//! What dhow is compared with.

pub mod podman;
pub mod qemu;
