//! `dhow vmm`: owns a KVM machine, our VMM with the devices in this process.

use std::fs::File;
use std::io::{BufReader, Stdin, Write};

use anyhow::Context;
use dhow_machine::probe::{PROBE_BUDGET, Problem};
use dhow_machine::spec::{MachineSpec, VmExit};
use dhow_vmm::{Exit, Vm, VmConfig};

use super::owner::{self, Devices};

/// The kernel's parameters. Without ACPI a reset through the keyboard controller is the guest's
/// only way to end; `DHOW_POWER_OFF` tells the agent so.
const COMMAND_LINE: &str = "console=ttyS0 quiet random.trust_cpu=on \
                            cgroup_no_v1=all DHOW_POWER_OFF=reset";

/// Runs the machine described on standard input until it or its user ends.
pub(crate) fn run() -> anyhow::Result<()> {
    let mut input = owner::input();
    let spec = owner::read_spec(&mut input)?;
    let exit = own(&spec, input).unwrap_or_else(|error| VmExit::Failed {
        reason: format!("{error:#}"),
    });
    owner::tell_end(exit);
    Ok(())
}

/// Tries KVM and prints what is wrong with it, or `null`.
pub(crate) fn probe() -> anyhow::Result<()> {
    let problem = dhow_vmm::probe(PROBE_BUDGET).err().map(|unusable| Problem {
        reason: unusable.to_string(),
        fix: unusable
            .hint()
            .unwrap_or_else(|| "use DHOW_ENGINE=uml".to_owned()),
    });
    let text = serde_json::to_string(&problem).context("failed to encode the finding")?;
    std::io::stdout()
        .write_all(text.as_bytes())
        .context("failed to print the finding")
}

fn own(spec: &MachineSpec, input: BufReader<Stdin>) -> anyhow::Result<VmExit> {
    let Devices {
        list,
        layers,
        network,
        // To the end of this function: until the machine has gone.
        data_lock: _data_lock,
    } = owner::devices(spec)?;
    let console = File::create(&spec.console)
        .with_context(|| format!("failed to create {}", spec.console.display()))?;
    let config = VmConfig {
        kernel: spec.kernel.clone(),
        initramfs: Some(spec.initramfs.clone()),
        command_line: COMMAND_LINE.to_owned(),
        memory_bytes: spec.memory_bytes,
        vcpus: spec.vcpus,
        console: Some(console),
    };
    let mut vm = Vm::new(&config).context("failed to build the virtual machine")?;
    for device in list {
        vm.attach(device).context("failed to attach a device")?;
    }
    let stop = owner::serve_user(input, layers, network)?;
    Ok(
        match vm.run(&stop).context("failed to run the virtual machine")? {
            Exit::Stopped => VmExit::Stopped,
            Exit::PowerOff | Exit::Reset => VmExit::PowerOff,
            Exit::Panic => VmExit::Failed {
                reason: "the guest's kernel panicked".to_owned(),
            },
            Exit::TripleFault => VmExit::Failed {
                reason: "the guest faulted beyond rescue".to_owned(),
            },
        },
    )
}
