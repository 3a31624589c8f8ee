//! The bench of a machine's start against QEMU's microvm: figures, not assertions.
//!
//! Ignored, for it takes a quiet machine and a minute: `cargo test -p dhow-nested-tests --test
//! startup -- --ignored --nocapture`.

use std::time::Duration;

use dhow_nested_tests::outer::Outer;
use dhow_nested_tests::steps::Step;
use dhow_nested_tests::{inner, peer, programs};

#[test]
#[ignore = "a bench: its figures need a quiet machine"]
fn starts_beside_a_microvm() {
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
