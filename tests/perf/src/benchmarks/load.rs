//! How long it takes to load a Debian image into empty storage. Ours includes the start of the
//! daemon, and what it loaded is on the disk at the end; podman's is in the page cache.

use std::fs;

use dhow_harness::{DEBIAN, image};

use crate::figures::{Pairs, alternate};
use crate::peer::podman::Podman;
use crate::stage::Dhow;

pub(super) fn measure(rounds: usize) -> anyhow::Result<Pairs> {
    let archive = image(DEBIAN);
    // Both sides read the archive from memory.
    drop(fs::read(&archive)?);
    alternate(
        rounds,
        || Dhow::new().load(&archive),
        || Podman::new()?.load(&archive),
    )
}
