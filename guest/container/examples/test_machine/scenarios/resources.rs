//! Limits, and what happens at them.

use serde_json::{Value, json};

use super::{Scenario, check, prints};
use crate::harness::{Machine, Output, Result, config};

pub(crate) const ALL: &[Scenario] = &[
    ("has its memory, cpu and pids limits", limits),
    (
        "is told apart when it dies of too little memory",
        out_of_memory,
    ),
    (
        "tells a child's death of too little memory",
        child_out_of_memory,
    ),
    ("cannot make more processes than allowed", pids),
    ("refuses swap below memory", swap),
    ("tells limits that are discarded", discarded),
];

fn limited(machine: &Machine, script: &str, resources: &[(&str, Value)]) -> Result<Output> {
    let mut config = config(&["/bin/sh", "-c", script]);
    for (name, value) in resources {
        config["linux"]["resources"][*name] = value.clone();
    }
    machine.run(&machine.request("test", &config))
}

fn limits(machine: &Machine) -> Result<()> {
    let script = "cd /sys/fs/cgroup; cat memory.max memory.low pids.max cpu.max cpu.weight";
    let resources = [
        (
            "memory",
            json!({"limit": 67_108_864, "reservation": 33_554_432}),
        ),
        ("pids", json!({"limit": 44})),
        ("cpu", json!({"quota": 50_000, "shares": 2048})),
    ];
    let output = limited(machine, script, &resources)?;
    prints(&output, "67108864\n33554432\n44\n50000 100000\n79")
}

fn out_of_memory(machine: &Machine) -> Result<()> {
    let resources = [("memory", json!({"limit": 16_777_216, "swap": 16_777_216}))];
    let output = limited(machine, "exec tail /dev/zero", &resources)?;
    check("killed", output.code == 137 && output.oom_killed, &output)
}

fn child_out_of_memory(machine: &Machine) -> Result<()> {
    let resources = [("memory", json!({"limit": 16_777_216, "swap": 16_777_216}))];
    let output = limited(machine, "tail /dev/zero; exit 5", &resources)?;
    check("told", output.code == 5 && output.oom_killed, &output)
}

fn pids(machine: &Machine) -> Result<()> {
    let script = "for i in 1 2 3 4 5 6 7 8; do sleep 1 & done; echo all";
    let output = limited(machine, script, &[("pids", json!({"limit": 5}))])?;
    check("refused", output.stderr.contains("fork"), &output)
}

fn swap(machine: &Machine) -> Result<()> {
    let mut config = config(&["/bin/true"]);
    config["linux"]["resources"]["memory"] = json!({"limit": 33_554_432, "swap": 1_048_576});
    let failure = machine
        .start(&machine.request("test", &config))
        .err()
        .ok_or("it started")?;
    check(
        "kind",
        failure.kind() == dhow_protocol::FailureKind::Invalid,
        &failure.failure(),
    )
}

fn discarded(machine: &Machine) -> Result<()> {
    let mut config = config(&["/bin/true"]);
    config["linux"]["resources"]["unified"] = json!({"rdma.max": "max"});
    let process = machine.start(&machine.request("test", &config))?;
    let warnings = process.warnings.clone();
    let _exit = process.exit.wait();
    machine.runtime.finished("test")?;
    machine.runtime.remove("test")?;
    check(
        "warned",
        warnings.len() == 1 && warnings[0].ends_with("discarded."),
        &warnings,
    )
}
