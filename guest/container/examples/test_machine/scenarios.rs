//! What a container must be like, one property each.

mod isolation;
mod lifecycle;
mod process;
mod resources;

use crate::harness::{Machine, Output, Result, say};

type Scenario = (&'static str, fn(&Machine) -> Result<()>);

/// Runs every scenario, or those whose name holds the word after `only=` on the command line.
pub(crate) fn run(machine: &Machine) {
    let arguments = std::fs::read_to_string("/proc/cmdline").unwrap_or_default();
    let only = arguments
        .split_whitespace()
        .find_map(|word| word.strip_prefix("only="));
    let (mut passed, mut failed) = (0, 0);
    let all = [isolation::ALL, process::ALL, resources::ALL, lifecycle::ALL].concat();
    for (name, scenario) in all {
        if only.is_some_and(|word| !name.contains(word)) {
            continue;
        }
        match scenario(machine).and_then(|()| nothing_is_left(machine)) {
            Ok(()) => {
                passed += 1;
                say(&format!("ok {name}"));
            }
            Err(error) => {
                failed += 1;
                say(&format!("FAILED {name}: {error}"));
            }
        }
    }
    say(&format!("RESULT {passed} passed, {failed} failed"));
}

/// After each scenario: no directory, cgroup, mount or process of a container.
fn nothing_is_left(_machine: &Machine) -> Result<()> {
    for folder in ["/data/containers", "/sys/fs/cgroup/containers"] {
        for entry in std::fs::read_dir(folder)? {
            let entry = entry?;
            if entry.file_type()?.is_dir() {
                return Err(format!("{} is left", entry.path().display()).into());
            }
        }
    }
    let mounts = std::fs::read_to_string("/proc/self/mounts")?;
    check("mounts left", !mounts.contains("overlay"), &mounts)
}

/// An error that shows what was found, unless it is as it should be.
pub(crate) fn check(what: &str, holds: bool, found: &dyn std::fmt::Debug) -> Result<()> {
    if holds {
        Ok(())
    } else {
        Err(format!("{what}: {found:?}").into())
    }
}

/// Checks that a script printed this and ended with 0.
pub(crate) fn prints(output: &Output, expected: &str) -> Result<()> {
    let holds = output.code == 0 && output.stdout.trim_end() == expected;
    check(&format!("expected {expected:?}"), holds, output)
}
