//! How long a command takes that runs `true`, beside a container of podman's on the bare host.

use dhow_harness::{BUSYBOX, image};

use crate::figures::{Pairs, alternate};
use crate::peer::podman::Podman;
use crate::stage::Dhow;

const RUN: [&str; 4] = ["run", "--rm", BUSYBOX, "true"];
const NAME: &str = "web";

/// From nothing running at all: the daemon starts, the machine boots, the container runs.
pub(super) fn cold(rounds: usize) -> anyhow::Result<Pairs> {
    compare(rounds, &[], |dhow| {
        dhow.rest()?;
        dhow.time(&RUN)
    })
}

/// With the machine running.
pub(super) fn warm(rounds: usize) -> anyhow::Result<Pairs> {
    compare(rounds, &[], |dhow| dhow.time(&RUN))
}

/// In a container that runs already.
pub(super) fn exec(rounds: usize) -> anyhow::Result<Pairs> {
    let start = ["run", "-d", "--name", NAME, BUSYBOX, "sleep", "3600"];
    compare(rounds, &start, |dhow| dhow.time(&["exec", NAME, "true"]))
}

/// Measures after a container has run on each side, so that neither pays for the first one.
fn compare(
    rounds: usize,
    prepare: &[&str],
    ours: impl Fn(&Dhow) -> anyhow::Result<f64>,
) -> anyhow::Result<Pairs> {
    let dhow = Dhow::with_image(BUSYBOX)?;
    dhow.run(&RUN)?;
    if !prepare.is_empty() {
        dhow.run(prepare)?;
    }
    let podman = Podman::with_image(&image(BUSYBOX)).and_then(|podman| {
        podman.run_true(BUSYBOX)?;
        Ok(podman)
    });
    let pairs = alternate(
        rounds,
        || ours(&dhow),
        || match &podman {
            Ok(podman) => podman.run_true(BUSYBOX),
            Err(error) => anyhow::bail!("{error:#}"),
        },
    )?;
    if !prepare.is_empty() {
        dhow.run(&["rm", "-f", NAME])?;
    }
    Ok(pairs)
}
