//! Process 1 of a machine that does nothing but test the container runtime: built static, put into
//! an initramfs as `/init` beside an image's files in `/image`, booted with User Mode Linux.
//!
//! With `layers=OFFSET+LENGTH,…` the image comes from EROFS files on `/dev/vda` instead, lowest
//! first. It prints a line per scenario, `ok NAME` or `FAILED NAME: why`, then `RESULT passed failed`, and
//! powers off. With `bench` on the kernel's command line it measures instead.

mod bench;
mod harness;
mod scenarios;

use std::process::ExitCode;

fn main() -> ExitCode {
    dhow_container::init_if_requested();
    let machine = match harness::Machine::boot() {
        Ok(machine) => machine,
        Err(error) => {
            harness::say(&format!("FAILED boot: {error}"));
            harness::power_off();
        }
    };
    let arguments = std::fs::read_to_string("/proc/cmdline").unwrap_or_default();
    if arguments.split_whitespace().any(|word| word == "bench") {
        bench::run(&machine);
    } else {
        scenarios::run(&machine);
    }
    harness::power_off();
}
