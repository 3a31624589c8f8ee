//! The KVM engine's machines on real hardware virtualisation: one outer guest, a step a property.

use std::path::PathBuf;
use std::time::Duration;

use dhow_nested_tests::cpio::Archive;
use dhow_nested_tests::outer::Outer;
use dhow_nested_tests::programs;
use dhow_nested_tests::steps::Step;

/// Bound of the whole run: under emulation a boot takes seconds, and another build may compete.
const LIMIT: Duration = Duration::from_secs(300);
/// What every inner kernel is told: its messages, and no waiting for hardware that is not there.
const QUIET: &str = "console=ttyS0 quiet";

/// The kernel under test.
fn kernel() -> PathBuf {
    let path = std::env::var_os("DHOW_VMLINUX").expect(
        "DHOW_VMLINUX must name an x86_64 vmlinux with CONFIG_PVH; `cargo xtask kernel` builds one",
    );
    PathBuf::from(path)
}

/// An initramfs with nothing but the inner guest's PID 1.
fn inner_initramfs(init: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut archive = Archive::new(&mut bytes);
    for folder in ["dev", "proc"] {
        archive.folder(folder).unwrap();
    }
    archive.device("dev/console", 5, 1).unwrap();
    archive.file("init", init).unwrap();
    archive.finish().unwrap();
    bytes
}

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
    let initramfs = inner_initramfs(&std::fs::read(&built[1]).unwrap());
    let outer = Outer::new()
        .copy("/machine", &built[0])
        .copy("/vmlinux", &kernel())
        .file("/inner.cpio", &initramfs)
        .step(
            Step::new("finds_kvm_usable", &["/machine", "probe"])
                .prints("KvmFacts")
                .as_user(1000)
                .shown(),
        )
        .step(boot("boots_linux_until_it_resets", "1", "0", "").prints("exit: Reset"))
        .step(boot("boots_two_cpus", "2", "0", "dhow.do=cpus").prints("inner: cpus 2"))
        .step(boot("reads_a_device", "2", "0", "dhow.do=random").prints("random dhowdhowdhowdhow"))
        .step(boot("tells_a_panic_from_a_reset", "1", "0", "dhow.end=panic").prints("exit: Panic"))
        .step(
            boot("stops_a_guest_that_hangs", "2", "4000", "dhow.end=hang").prints("exit: Stopped"),
        )
        .step(
            boot("runs_as_an_ordinary_user", "1", "0", "")
                .as_user(1000)
                .prints("exit: Reset"),
        );

    let report = outer.run(LIMIT).unwrap();

    assert_eq!(report.failures(), Vec::<String>::new(), "{}", report.tail());
}
