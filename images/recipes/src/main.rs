//! `dhow-images build busybox|debian|redis -o FILE`: base images from Debian's packages.
//!
//! A recipe asks [`packages`] for a closure of `.deb` files, merges them into a [`rootfs`], finishes
//! what the maintainer scripts would have done, and [`archive`] writes one `docker load` archive.
//! Nothing here needs root, a mount or a container registry, and the same packages always give the
//! same bytes: nothing of the building host (its clock, its users) may reach the output.

use std::path::PathBuf;

use anyhow::{Context, Result};
use clap::{Parser, Subcommand, ValueEnum};

mod archive;
mod dpkg;
mod packages;
mod recipes;
mod rootfs;

/// Builds base images from Debian's packages, as an ordinary user.
#[derive(Debug, Parser)]
#[command(name = "dhow-images", version)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Build one image and write it as an archive for `dhow load` or `docker load`.
    Build {
        /// Which image to build.
        recipe: RecipeName,
        /// The archive to write (replaced atomically).
        #[arg(short, long)]
        output: PathBuf,
        /// Where downloaded packages are kept [default: the XDG cache folder].
        #[arg(long, env = "DHOW_CACHE")]
        cache: Option<PathBuf>,
    },
}

/// The images there are recipes for.
#[derive(Debug, Clone, Copy, ValueEnum)]
enum RecipeName {
    /// busybox-static and its applets.
    Busybox,
    /// Minimal Debian with apt.
    Debian,
    /// `debian` and redis-server.
    Redis,
}

fn main() -> Result<()> {
    let Command::Build {
        recipe,
        output,
        cache,
    } = Arguments::parse().command;
    let cache = match cache {
        Some(folder) => folder,
        None => default_cache()?,
    };
    let packages = packages::PackageSource::new(&cache.join("debian"))?;
    let image = match recipe {
        RecipeName::Busybox => recipes::busybox::build(&packages)?,
        RecipeName::Debian => recipes::debian::build(&packages)?,
        RecipeName::Redis => recipes::redis::build(&packages)?,
    };
    archive::write(&image, &output).with_context(|| format!("failed to write {}", output.display()))
}

/// `$XDG_CACHE_HOME/dhow`, or `~/.cache/dhow`, as the XDG base directory specification says.
fn default_cache() -> Result<PathBuf> {
    if let Some(folder) = std::env::var_os("XDG_CACHE_HOME").filter(|value| !value.is_empty()) {
        return Ok(PathBuf::from(folder).join("dhow"));
    }
    let home =
        std::env::var_os("HOME").context("neither --cache, XDG_CACHE_HOME nor HOME is set")?;
    Ok(PathBuf::from(home).join(".cache/dhow"))
}
