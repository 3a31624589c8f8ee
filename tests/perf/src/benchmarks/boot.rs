//! How long a machine takes from the start of its process until the agent has answered a request,
//! beside the same kernel and initramfs, built for x86-64, in QEMU without KVM until the agent's
//! first sign of life. That sign is the agent's complaint that its data disk is missing: less than
//! an answer to a request, so the comparison errs in QEMU's favour.

use anyhow::Context as _;

use crate::figures::{Pairs, alternate};
use crate::peer::qemu::Qemu;
use crate::stage::{Dhow, distributed};

/// How every line of the agent begins in the kernel's log.
const AGENT: &str = "dhow-agent:";

pub(super) fn measure(rounds: usize) -> anyhow::Result<Pairs> {
    let dhow = Dhow::new();
    // Makes the data disk, which a machine does once.
    dhow.run(&["machine", "up"])?;
    let (kernel, initramfs) = (
        distributed("lib/dhow/vmlinux"),
        distributed("lib/dhow/initramfs.cpio"),
    );
    alternate(
        rounds,
        || boot(&dhow),
        || {
            Ok(Qemu::boot(&kernel, &initramfs, AGENT)?
                .spoke_after
                .as_secs_f64())
        },
    )
}

fn boot(dhow: &Dhow) -> anyhow::Result<f64> {
    dhow.run(&["machine", "down"])?;
    dhow.run(&["machine", "up"])?;
    let told = dhow.run(&["machine", "status", "--format", "{{.BootMilliseconds}}"])?;
    let milliseconds: f64 = told
        .trim()
        .parse()
        .with_context(|| format!("{told:?} is no boot time"))?;
    Ok(milliseconds / 1e3)
}
