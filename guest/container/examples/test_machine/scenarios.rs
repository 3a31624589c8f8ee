//! What a container must be like, one property each.

use crate::harness::{Machine, Result};

type Scenario = fn(&Machine) -> Result<()>;

const SCENARIOS: &[(&str, Scenario)] = &[("runs true", runs_true)];

/// Runs every scenario.
pub fn run(machine: &Machine) {
    let (mut passed, mut failed) = (0, 0);
    for (name, scenario) in SCENARIOS {
        match scenario(machine) {
            Ok(()) => {
                passed += 1;
                println!("ok {name}");
            }
            Err(error) => {
                failed += 1;
                println!("FAILED {name}: {error}");
            }
        }
    }
    println!("RESULT {passed} passed, {failed} failed");
}

fn runs_true(machine: &Machine) -> Result<()> {
    let output = machine.script("echo hello; exit 7")?;
    if (output.code, output.stdout.as_str()) == (7, "hello\n") {
        Ok(())
    } else {
        Err(format!("{output:?}").into())
    }
}
