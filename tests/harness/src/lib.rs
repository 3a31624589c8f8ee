//! A dhow of a test's own: a home that no other test sees, the built programs, the test images.
//!
//! ```no_run
//! let home = dhow_harness::Home::with_image(dhow_harness::BUSYBOX);
//! let output = home.dhow(&["run", "--rm", "busybox", "echo", "hello"]).succeed();
//! assert_eq!(output.stdout, "hello\n");
//! ```
//!
//! Everything under test is what users get: the distribution that `cargo xtask build` made. A test
//! that leaves a process behind fails when its [`Home`] is dropped.

use std::io::Write as _;

mod command;
mod home;
mod processes;
mod registry;

pub use command::{Finished, Running, run};
pub use home::{Home, dist, image};
pub use registry::{REGISTRY_PASSWORD, REGISTRY_USER, Registry, RegistryOptions};

/// The smallest test image: a shell and its tools.
pub const BUSYBOX: &str = "busybox";

/// Debian with apt.
pub const DEBIAN: &str = "debian";

/// Debian with a redis server.
pub const REDIS: &str = "redis";

/// Says why a test does nothing on this host, and tells `cargo xtask test`, which repeats it at its
/// end.
///
/// # Panics
/// Where the list that `DHOW_SKIPPED` names takes no line.
#[expect(clippy::print_stderr, reason = "a test that is run alone says it here")]
pub fn skipped(reason: &str) {
    eprintln!("skipped: {reason}");
    if let Some(list) = std::env::var_os("DHOW_SKIPPED") {
        let list = std::fs::OpenOptions::new().append(true).open(list);
        writeln!(list.expect("the list is there"), "{reason}").expect("it takes a line");
    }
}
