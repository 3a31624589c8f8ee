//! QEMU as a peer inside the outer guest: its program, libraries and firmware, as installed here.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, ensure};

use crate::outer::Outer;

/// The program.
const PROGRAM: &str = "/usr/bin/qemu-system-x86_64";
/// Where Debian's QEMU looks for firmware, and what a microvm needs of it.
const FIRMWARE_FOLDERS: [&str; 2] = ["/usr/share/qemu", "/usr/share/seabios"];
const FIRMWARE: [&str; 4] = ["qboot.rom", "pvh.bin", "linuxboot_dma.bin", "kvmvapic.bin"];

/// Puts QEMU into an outer guest.
///
/// # Errors
/// Where it is not installed.
pub fn add_qemu(mut outer: Outer) -> anyhow::Result<Outer> {
    let output = Command::new("ldd")
        .arg(PROGRAM)
        .output()
        .context("failed to start ldd")?;
    ensure!(
        output.status.success(),
        "ldd cannot read {PROGRAM}; `apt-get install qemu-system-x86` has it"
    );
    outer = outer.copy(PROGRAM, Path::new(PROGRAM));
    for library in libraries(&String::from_utf8_lossy(&output.stdout)) {
        outer = outer.copy(&library, Path::new(&library));
    }
    for name in FIRMWARE {
        let path = FIRMWARE_FOLDERS
            .iter()
            .map(|folder| PathBuf::from(folder).join(name))
            .find(|path| path.exists())
            .with_context(|| format!("no {name} in {FIRMWARE_FOLDERS:?}"))?;
        outer = outer.copy(&format!("/usr/share/qemu/{name}"), &path);
    }
    Ok(outer)
}

/// The libraries and the loader that a line of `ldd` names by their path.
fn libraries(listing: &str) -> Vec<String> {
    listing
        .lines()
        .filter_map(|line| line.split_whitespace().find(|word| word.starts_with('/')))
        .map(str::to_owned)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_libraries_and_the_loader() {
        let listing = "\tlinux-vdso.so.1 (0x7ffd)\n\tlibc.so.6 => /lib/x/libc.so.6 (0x7f)\n\t/lib64/ld.so (0x7f)\n";

        assert_eq!(libraries(listing), ["/lib/x/libc.so.6", "/lib64/ld.so"]);
    }
}
