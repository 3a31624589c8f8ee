//! PID 1 of dhow's microVM.
fn main() {}
