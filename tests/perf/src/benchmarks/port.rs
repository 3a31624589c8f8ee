//! Bytes a second through a published TCP port, beside QEMU's user networking with the same server
//! on our kernel. Each round lasts a second for each side.

use std::fs::File;
use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, anyhow, ensure};
use tempfile::TempDir;

use crate::figures::{Pairs, alternate};
use crate::peer::qemu::{GUEST_PORT, Qemu};
use crate::stage::{Dhow, TRAFFIC_IMAGE, TRAFFIC_PATH, distributed, traffic_program};
use crate::traffic::{self, Direction, LISTENING};

const NAME: &str = "traffic";

/// How long one figure is taken.
const DURATION: Duration = Duration::from_secs(1);

pub(super) fn measure(
    rounds: usize,
    direction: Direction,
    streams: usize,
) -> anyhow::Result<Pairs> {
    let dhow = Dhow::with_traffic()?;
    let ours = publish(&dhow)?;
    let scratch = tempfile::tempdir()?;
    let peer = boot_peer(&scratch);
    let pairs = alternate(
        rounds,
        || traffic::measure(ours, direction, streams, DURATION),
        || match &peer {
            Ok((_running, address)) => traffic::measure(*address, direction, streams, DURATION),
            Err(error) => Err(anyhow!("{error:#}")),
        },
    );
    dhow.run(&["rm", "-f", NAME])?;
    pairs
}

/// Starts the server in a container; returns where it can be reached.
fn publish(dhow: &Dhow) -> anyhow::Result<SocketAddr> {
    let port = GUEST_PORT.to_string();
    let publish = format!("0:{port}");
    dhow.run(&[
        "run",
        "-d",
        "--name",
        NAME,
        "-p",
        &publish,
        TRAFFIC_IMAGE,
        TRAFFIC_PATH,
        "serve",
        &port,
    ])?;
    let told = dhow.run(&["port", NAME, &port])?;
    let first = told.lines().next().context("the port is not published")?;
    first
        .parse()
        .with_context(|| format!("{first:?} is no address"))
}

/// The same server as PID 1 of a machine of QEMU's.
fn boot_peer(scratch: &TempDir) -> anyhow::Result<(Qemu, SocketAddr)> {
    let initramfs = scratch.path().join("initramfs.cpio");
    pack(scratch.path(), &initramfs)?;
    Qemu::serve_traffic(&distributed("lib/dhow/vmlinux"), &initramfs, LISTENING)
}

/// Packs the server as `/init`. The distribution's own archive comes first, for its folders and its
/// console; the kernel unpacks both, and the later `/init` is the one that stays.
fn pack(scratch: &Path, initramfs: &Path) -> anyhow::Result<()> {
    std::fs::copy(traffic_program()?, scratch.join("init")).context("failed to copy the server")?;
    std::fs::write(scratch.join("names"), "init\n")?;
    let addition = scratch.join("addition.cpio");
    let packed = Command::new("cpio")
        .args(["--create", "--format", "newc", "--quiet", "--file"])
        .arg(&addition)
        .current_dir(scratch)
        .stdin(File::open(scratch.join("names"))?)
        .status()
        .context("failed to start cpio")?;
    ensure!(packed.success(), "cpio failed ({packed})");
    let mut whole = std::fs::read(distributed("lib/dhow/initramfs.cpio"))?;
    whole.extend(std::fs::read(&addition)?);
    std::fs::write(initramfs, whole)?;
    Ok(())
}
