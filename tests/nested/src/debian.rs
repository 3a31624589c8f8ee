//! The outer guest's kernel and KVM modules, from Debian's package, kept between runs.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, bail, ensure};
use etcetera::BaseStrategy as _;

/// The package that depends on the newest cloud kernel.
const META_PACKAGE: &str = "linux-image-cloud-amd64";
/// The modules to load, in this order.
const MODULES: [&str; 3] = ["irqbypass", "kvm", "kvm-amd"];

/// A kernel and its modules.
#[derive(Clone, Debug)]
pub struct OuterKernel {
    /// The bootable image.
    pub image: PathBuf,
    /// The modules, in loading order.
    pub modules: Vec<PathBuf>,
}

/// Where things are kept between runs: `DHOW_CACHE`, or the user's cache folder.
///
/// # Errors
/// Where there is no home, or the folder cannot be made.
pub fn cache() -> anyhow::Result<PathBuf> {
    let folder = match std::env::var_os("DHOW_CACHE") {
        Some(folder) => PathBuf::from(folder),
        None => etcetera::choose_base_strategy()
            .context("failed to find the cache folder; set DHOW_CACHE")?
            .cache_dir()
            .join("dhow"),
    };
    let folder = folder.join("nested");
    fs::create_dir_all(&folder).with_context(|| format!("failed to make {}", folder.display()))?;
    Ok(folder)
}

/// Fetches and unpacks the package, unless that was done before. Needs no root.
///
/// # Errors
/// Where the package cannot be had or is not as expected; says what to run by hand.
pub fn outer_kernel() -> anyhow::Result<OuterKernel> {
    let cache = cache()?;
    let unpacked = cache.join("kernel");
    if !unpacked.is_dir() {
        fetch(&cache, &unpacked)?;
    }
    let image = find(&unpacked.join("boot"), &|name| name.starts_with("vmlinuz-"))?
        .with_context(|| format!("no kernel in {}", unpacked.display()))?;
    let modules = MODULES
        .iter()
        .map(|module| find_module(&unpacked.join("lib/modules"), module))
        .collect::<anyhow::Result<_>>()?;
    Ok(OuterKernel { image, modules })
}

/// Downloads beside the final place and renames, so that a broken-off run leaves nothing half.
fn fetch(cache: &Path, unpacked: &Path) -> anyhow::Result<()> {
    let partial = cache.join(format!("kernel.partial.{}", std::process::id()));
    fs::create_dir_all(&partial)?;
    let package = image_package()?;
    run(Command::new("apt-get")
        .args(["download", &package])
        .current_dir(&partial))
    .with_context(|| format!("failed to fetch {package}; `apt-get update` may help"))?;
    let archive = find(&partial, &|name| name.ends_with(".deb"))?
        .with_context(|| format!("apt-get left no package in {}", partial.display()))?;
    let tree = partial.join("tree");
    run(Command::new("dpkg-deb").arg("-x").arg(&archive).arg(&tree))?;
    match fs::rename(&tree, unpacked) {
        // Another run was quicker: its tree is as good.
        Err(_) if unpacked.is_dir() => {}
        result => result.with_context(|| format!("failed to make {}", unpacked.display()))?,
    }
    fs::remove_dir_all(&partial).with_context(|| format!("failed to remove {}", partial.display()))
}

/// The name of the package that holds the kernel itself.
fn image_package() -> anyhow::Result<String> {
    let output = run(Command::new("apt-cache").args(["depends", "--important", META_PACKAGE]))?;
    output
        .lines()
        .filter_map(|line| line.trim().strip_prefix("Depends: "))
        .find(|package| package.starts_with("linux-image-"))
        .map(str::to_owned)
        .with_context(|| format!("apt knows no {META_PACKAGE}; `apt-get update` may help"))
}

/// Finds a module; one that is packed is unpacked beside itself.
fn find_module(tree: &Path, module: &str) -> anyhow::Result<PathBuf> {
    let plain = format!("{module}.ko");
    if let Some(path) = find(tree, &|name| name == plain)? {
        return Ok(path);
    }
    let packed_name = format!("{module}.ko.xz");
    let packed = find(tree, &|name| name == packed_name)?
        .with_context(|| format!("no module {module} in {}", tree.display()))?;
    run(Command::new("xz")
        .args(["--decompress", "--keep"])
        .arg(&packed))?;
    Ok(packed.with_extension(""))
}

/// The first file below `folder` whose name fits.
fn find(folder: &Path, fits: &dyn Fn(&str) -> bool) -> anyhow::Result<Option<PathBuf>> {
    let entries =
        fs::read_dir(folder).with_context(|| format!("failed to list {}", folder.display()))?;
    for entry in entries {
        let entry = entry?;
        let path = entry.path();
        if entry.file_type()?.is_dir() {
            if let Some(found) = find(&path, fits)? {
                return Ok(Some(found));
            }
        } else if entry.file_name().to_str().is_some_and(fits) {
            return Ok(Some(path));
        }
    }
    Ok(None)
}

fn run(command: &mut Command) -> anyhow::Result<String> {
    let program = command.get_program().to_string_lossy().into_owned();
    let output = command
        .output()
        .with_context(|| format!("failed to start {program}"))?;
    if !output.status.success() {
        bail!(
            "{program}: {}",
            String::from_utf8_lossy(&output.stderr).trim()
        );
    }
    ensure!(
        output.stdout.len() < (1 << 20),
        "{program} printed too much"
    );
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}
