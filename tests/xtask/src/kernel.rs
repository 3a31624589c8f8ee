//! `cargo xtask kernel`: the guest kernels, built from `kernel-config/` and Debian's source package
//! into the cache.
//!
//! A build is named by the hash of everything that goes into it ([`inputs`]); a finished one is a
//! folder that appears by rename and is never changed again. So asking twice costs nothing, a build
//! cut short goes on where it stopped, and two at once wait for each other instead of mixing.
//!
//! ```text
//! CACHE/kernel/um-0123456789abcdef/{linux,config,System.map}     finished
//! CACHE/kernel/build-um-0123456789abcdef/                        under way
//! CACHE/kernel/source-6.12.117-1-0123456789abcdef/               unpacked and patched, shared
//! CACHE/kernel/um.lock, source.lock                              held while working
//! ```

pub mod config;
mod inputs;
mod make;
mod source;

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use crate::{child, report, workspace};
use inputs::Inputs;

/// An architecture that Linux is built for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Arch {
    /// User Mode Linux: a process, no KVM.
    Um,
    /// A virtual machine's kernel, for KVM and QEMU.
    X86_64,
}

/// What `--arch` can say.
#[derive(Clone, Copy, Debug, clap::ValueEnum)]
pub enum Selection {
    /// User Mode Linux: `linux`
    Um,
    /// KVM and QEMU: `vmlinux`
    #[value(name = "x86_64")]
    X86_64,
    /// Both
    All,
}

/// A built kernel's files.
#[derive(Clone, Debug)]
pub struct Kernel {
    /// What boots: `linux` (a program) or `vmlinux` (an ELF file), stripped.
    pub image: PathBuf,
    /// The `.config` it was built with.
    pub config: PathBuf,
    /// Addresses of its symbols, to read a stack trace with: the image has none.
    pub symbols: PathBuf,
}

impl Arch {
    /// Every architecture, the quicker build first.
    pub const ALL: [Self; 2] = [Self::Um, Self::X86_64];

    /// The kernel's own name for it, as in `ARCH=`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Um => "um",
            Self::X86_64 => "x86_64",
        }
    }

    /// The file that boots, which is also the make target that builds it.
    #[must_use]
    pub fn image(self) -> &'static str {
        match self {
            Self::Um => "linux",
            Self::X86_64 => "vmlinux",
        }
    }
}

impl Selection {
    fn architectures(self) -> &'static [Arch] {
        match self {
            Self::Um => &[Arch::Um],
            Self::X86_64 => &[Arch::X86_64],
            Self::All => &Arch::ALL,
        }
    }
}

/// Builds what is selected and prints the path of each image.
///
/// # Errors
/// When a kernel cannot be built; the message says why and what to do.
pub fn run(selection: Selection) -> Result<()> {
    for &arch in selection.architectures() {
        report::result(&build(arch)?.image.display().to_string());
    }
    Ok(())
}

/// Returns the kernel of this checkout's configuration, building it if nobody has.
///
/// # Errors
/// When it cannot be built.
pub fn build(arch: Arch) -> Result<Kernel> {
    let inputs = Inputs::read(arch)?;
    let folder = workspace::cache()?.join("kernel");
    if let Some(kernel) = finished(&folder, &inputs) {
        return Ok(kernel);
    }
    fs::create_dir_all(&folder)
        .with_context(|| format!("failed to create {}", folder.display()))?;
    let _lock = lock(&folder, arch.name())?;
    // Whoever held the lock may just have built it.
    if let Some(kernel) = finished(&folder, &inputs) {
        return Ok(kernel);
    }
    let source = source::prepare(&folder, &inputs)?;
    let build = folder.join(format!("build-{}", inputs.name()));
    config::configure(&source, &build, &inputs)?;
    make::image(&source, &build, arch)?;
    publish(&folder, &build, &inputs)
        .with_context(|| format!("failed to put the {} kernel into the cache", arch.name()))
}

/// The kernel of this checkout's configuration, if it has been built.
///
/// # Errors
/// When the inputs cannot be read.
pub fn built(arch: Arch) -> Result<Option<Kernel>> {
    let inputs = Inputs::read(arch)?;
    Ok(finished(&workspace::cache()?.join("kernel"), &inputs))
}

/// The finished build of exactly these inputs.
fn finished(folder: &Path, inputs: &Inputs) -> Option<Kernel> {
    let finished = folder.join(inputs.name());
    finished.is_dir().then(|| Kernel {
        image: finished.join(inputs.arch().image()),
        config: finished.join("config"),
        symbols: finished.join("System.map"),
    })
}

/// Waits for whoever works on the same, and says so. The kernel of the host lets go of the lock when
/// its holder dies, however it dies.
fn lock(folder: &Path, what: &str) -> Result<File> {
    let path = folder.join(format!("{what}.lock"));
    let file = File::create(&path).with_context(|| format!("failed to open {}", path.display()))?;
    if file.try_lock().is_err() {
        report::say(&format!(
            "{what}: another build is under way, waiting for it"
        ));
        file.lock()
            .with_context(|| format!("failed to lock {}", path.display()))?;
    }
    Ok(file)
}

/// Moves what is worth keeping into place, all at once, and drops the rest.
fn publish(folder: &Path, build: &Path, inputs: &Inputs) -> Result<Kernel> {
    let arch = inputs.arch();
    // Inside the build folder, so that one which was cut short is overwritten by the next.
    let staging = build.join("finished");
    fs::create_dir_all(&staging)?;
    let image = staging.join(arch.image());
    child::run(
        Command::new("strip")
            .args(["--strip-all", "-o"])
            .args([&image, &build.join(arch.image())]),
    )?;
    fs::copy(build.join(".config"), staging.join("config"))?;
    fs::copy(build.join("System.map"), staging.join("System.map"))?;
    File::open(&image)?.sync_all()?;
    let finished_folder = folder.join(inputs.name());
    fs::rename(&staging, &finished_folder)?;
    fs::remove_dir_all(build)?;
    finished(folder, inputs).context("the finished build vanished")
}
