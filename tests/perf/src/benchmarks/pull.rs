//! How long it takes from an image in a registry on loopback to one that is ready to run. Ours includes
//! the start of the daemon, and what it pulled is on the disk at the end; the peers' is in the page cache.

use std::process::Command;

use anyhow::Context as _;
use dhow_harness::{DEBIAN, Registry, RegistryOptions, image};

use crate::figures::{Pairs, alternate};
use crate::peer::podman::Podman;
use crate::stage::{self, Dhow};

/// Under which name the image is in the registry.
const NAME: &str = "bench/debian:1";

/// A registry that has the Debian image.
fn registry() -> anyhow::Result<Registry> {
    let registry = Registry::start(RegistryOptions::default());
    let registry = registry.context("no docker-registry: run `cargo xtask setup`")?;
    let archive = format!("docker-archive:{}", image(DEBIAN).display());
    registry.copy(&archive, &format!("docker://{}", registry.name(NAME)));
    Ok(registry)
}

pub(super) fn against_podman(rounds: usize) -> anyhow::Result<Pairs> {
    let registry = registry()?;
    let name = registry.name(NAME);
    alternate(
        rounds,
        || Dhow::new().time(&["pull", "-q", &name]),
        || Podman::new()?.pull(&name),
    )
}

pub(super) fn against_skopeo(rounds: usize) -> anyhow::Result<Pairs> {
    let registry = registry()?;
    let name = registry.name(NAME);
    alternate(
        rounds,
        || Dhow::new().time(&["pull", "-q", &name]),
        || copy_and_unpack(&name),
    )
}

/// What it takes without a container engine: a copy into an OCI layout, and its unpacking.
fn copy_and_unpack(name: &str) -> anyhow::Result<f64> {
    let folder = tempfile::tempdir()?;
    let script = "skopeo --insecure-policy copy -q --src-tls-verify=false docker://$0 oci:layout:1 \
        && umoci unpack --image layout:1 bundle >/dev/null";
    let mut shell = Command::new("sh");
    shell.args(["-ec", script, name]).current_dir(folder.path());
    stage::time(&mut shell)
}
