//! The dhow command.
fn main() {}
