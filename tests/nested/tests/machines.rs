//! The KVM engine's machines on real hardware virtualisation: one outer guest, a step a property.

use std::time::Duration;

use dhow_nested_tests::outer::Outer;
use dhow_nested_tests::steps::Step;
use dhow_nested_tests::{inner, programs};

/// Bound of the whole run, which takes 20 s on a quiet host and 40 s beside builds.
const LIMIT: Duration = Duration::from_secs(180);
/// What every inner kernel is told: warnings to the serial port.
const QUIET: &str = "console=ttyS0 quiet";
/// An ordinary user of the outer guest.
const USER: u32 = 1000;

/// Boots the inner guest with this many vCPUs, stopped from outside after a while if not zero.
fn boot(name: &str, vcpus: &str, stop_after_ms: &str, asks: &str) -> Step {
    let line = format!("{QUIET} {asks}");
    let command = [
        "/machine",
        "/vmlinux",
        "/inner.cpio",
        vcpus,
        stop_after_ms,
        &line,
    ];
    Step::new(name, &command).prints("inner: userspace")
}

#[test]
fn machines_run_on_hardware_virtualisation() {
    let built = programs::build(
        "dhow-nested-tests",
        &["dhow-nested-machine", "dhow-nested-inner"],
    )
    .unwrap();
    let outer = Outer::new()
        .copy("/machine", &built[0])
        .copy("/vmlinux", &inner::kernel().unwrap())
        .file("/inner.cpio", &inner::initramfs(&built[1]).unwrap())
        .step(
            Step::new("finds_kvm_usable", &["/machine", "probe", "200"])
                .prints("KvmFacts")
                .shown(),
        )
        .step(
            boot("boots_linux_until_it_resets", "1", "0", "")
                .prints("exit: Reset")
                .shown(),
        )
        .step(boot("boots_two_cpus", "2", "0", "dhow.do=cpus").prints("inner: cpus 2"))
        .step(boot("reads_a_device", "2", "0", "dhow.do=random").prints("random dhowdhowdhowdhow"))
        .step(boot("tells_a_panic_from_a_reset", "1", "0", "dhow.end=panic").prints("exit: Panic"))
        .step(
            boot("stops_a_guest_that_hangs", "2", "10000", "dhow.end=hang").prints("exit: Stopped"),
        )
        .step(
            boot("runs_as_an_ordinary_user", "1", "0", "")
                .as_user(USER)
                .prints("exit: Reset"),
        );

    let report = outer.run(LIMIT).unwrap();

    assert_eq!(report.failures(), Vec::<String>::new(), "{}", report.tail());
}
