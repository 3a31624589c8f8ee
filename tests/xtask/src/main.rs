//! The one developer entry point: cargo xtask.
fn main() {}
