//! The bench of a machine's start against QEMU's microvm: figures, not assertions.
//!
//! Takes a quiet machine and a minute: `cargo test -p dhow-nested-tests --bench startup`.
#![expect(
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a bench prints its figures, and stops at the first thing that is wrong"
)]

use std::time::Duration;

use dhow_nested_tests::outer::Outer;
use dhow_nested_tests::steps::Step;
use dhow_nested_tests::{inner, peer, programs};

fn main() {
    let built = programs::build(
        "dhow-nested-tests",
        &[
            "dhow-nested-machine",
            "dhow-nested-inner",
            "dhow-nested-bench",
        ],
    )
    .unwrap();
    let outer = Outer::new()
        .copy("/machine", &built[0])
        .copy("/bench", &built[2])
        .copy("/vmlinux", &inner::kernel().unwrap())
        .file("/inner.cpio", &inner::initramfs(&built[1]).unwrap());
    let bench = Step::new(
        "starts_beside_a_microvm",
        &["/bench", "/vmlinux", "/inner.cpio", "5"],
    );

    let report = peer::add_qemu(outer)
        .unwrap()
        .step(bench.shown().within(Duration::from_secs(240)))
        .run(Duration::from_secs(300))
        .unwrap();

    for line in report
        .serial
        .iter()
        .filter_map(|line| line.strip_prefix("| "))
    {
        println!("{line}");
    }
    assert_eq!(report.failures(), Vec::<String>::new(), "{}", report.tail());
}
