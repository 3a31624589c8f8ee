//! The distributed `dhow` on the KVM engine: what a user does, on real hardware virtualisation.

use std::time::Duration;

use dhow_harness::{BUSYBOX, dist, image};
use dhow_nested_tests::outer::Outer;
use dhow_nested_tests::programs;
use dhow_nested_tests::steps::Step;

/// Bound of the whole run, which takes 40 s on a quiet host and 80 s beside builds.
const LIMIT: Duration = Duration::from_secs(240);
/// Bound of one command; the first also starts a daemon and a machine.
const STEP_LIMIT: Duration = Duration::from_secs(120);
/// An ordinary user of the outer guest.
const USER: u32 = 1000;
/// Where the programs lie in the outer guest.
const DHOW: &str = "/opt/dhow/bin/dhow";
const VISITOR: &str = "/visitor";
/// What a daemon and its machine write, below a home.
const LOGS: [&str; 3] = [
    "run/daemon.log",
    "run/machine/owner.log",
    "run/machine/console.log",
];

/// `dhow` with these arguments, in the home of this user.
fn dhow(user: u32, name: &str, arguments: &[&str]) -> Step {
    let home = format!("/tmp/home-{user}");
    let mut command = vec![DHOW];
    command.extend(arguments);
    let step = Step::new(name, &command)
        .with("DHOW_HOME", &home)
        .with("DHOW_ENGINE", "kvm")
        .as_user(user)
        .within(STEP_LIMIT);
    LOGS.iter()
        .fold(step, |step, log| step.logs(&format!("{home}/{log}")))
}

/// A web page of a container, fetched through its published port.
fn page(name: &str, path: &str) -> Step {
    Step::new(name, &[VISITOR, "get", "127.0.0.1:8080", path]).within(STEP_LIMIT)
}

/// An outer guest with the distribution in it.
fn outer() -> Outer {
    let visitor =
        programs::build("dhow-nested-tests", &["dhow-nested-visitor"]).expect("the visitor builds");
    let dist = dist();
    let mut outer = Outer::new()
        .copy(VISITOR, &visitor[0])
        .copy("/busybox.tar", &image(BUSYBOX));
    for name in ["bin/dhow", "lib/dhow/vmlinux", "lib/dhow/initramfs.cpio"] {
        outer = outer.copy(&format!("/opt/dhow/{name}"), &dist.join(name));
    }
    outer
}

/// What root does: every way of running a container, and what a machine's end leaves.
fn as_root(outer: Outer) -> Outer {
    let dhow = |name: &str, arguments: &[&str]| dhow(0, name, arguments);
    outer
        .step(dhow("doctor_finds_kvm_usable", &["doctor"]).prints("engine kvm: usable"))
        .step(dhow("loads_an_image", &["load", "-i", "/busybox.tar"]).prints("busybox"))
        .step(
            dhow(
                "runs_a_container",
                &["run", "--rm", "busybox", "echo", "hello"],
            )
            .prints("hello"),
        )
        .step(
            dhow(
                "passes_an_exit_code_on",
                &["run", "--rm", "busybox", "sh", "-c", "exit 7"],
            )
            .exits_with(7),
        )
        .step(dhow(
            "serves_in_the_background",
            &[
                "run", "-d", "--name", "web", "-p", "8080:80", "busybox", "httpd", "-f", "-h",
                "/etc",
            ],
        ))
        .step(page("answers_on_a_published_port", "/passwd").prints("root:"))
        .step(
            dhow("tells_the_engine", &["machine", "status"])
                .prints("kvm")
                .shown(),
        )
        .step(
            dhow(
                "executes_in_a_container",
                &["exec", "web", "cat", "/proc/1/comm"],
            )
            .prints("httpd"),
        )
        .step(dhow(
            "writes_into_a_container",
            &["exec", "web", "sh", "-c", "echo kept >/etc/kept"],
        ))
        .step(dhow("stops_a_container", &["stop", "-t", "1", "web"]))
        .step(dhow("starts_it_again", &["start", "web"]))
        .step(page("keeps_data_over_a_stop", "/kept").prints("kept"))
        .step(dhow("stops_it_again", &["stop", "-t", "1", "web"]))
        .step(dhow("powers_the_machine_off", &["machine", "down"]))
        .step(dhow("boots_it_again", &["start", "web"]))
        .step(page("keeps_data_over_a_power_off", "/kept").prints("kept"))
        .step(dhow("removes_a_container", &["rm", "-f", "web"]))
        .step(dhow("stops_the_daemon", &["daemon", "stop"]))
        .step(Step::new("leaves_no_process", &[VISITOR, "alone", "dhow"]))
}

/// What an ordinary user does the same way.
fn as_user(outer: Outer) -> Outer {
    let dhow = |name: &str, arguments: &[&str]| dhow(USER, name, arguments);
    outer
        .step(dhow(
            "loads_an_image_as_a_user",
            &["load", "-i", "/busybox.tar"],
        ))
        .step(
            dhow(
                "runs_a_container_as_a_user",
                &["run", "--rm", "busybox", "echo", "hello"],
            )
            .prints("hello"),
        )
        .step(dhow(
            "serves_as_a_user",
            &[
                "run", "-d", "--name", "web", "-p", "8080:80", "busybox", "httpd", "-f", "-h",
                "/etc",
            ],
        ))
        .step(page("answers_a_users_port", "/passwd").prints("root:"))
        .step(dhow("stops_a_users_daemon", &["daemon", "stop"]))
        .step(Step::new(
            "leaves_no_process_of_a_user",
            &[VISITOR, "alone", "dhow"],
        ))
}

#[test]
fn dhow_works_on_hardware_virtualisation() {
    let outer = as_user(as_root(outer()));

    let report = outer.run(LIMIT).unwrap();

    assert_eq!(report.failures(), Vec::<String>::new(), "{}", report.tail());
}
