//! t
use crate::archive::ImageArchive;
use crate::packages::PackageSource;
use anyhow::Result;
pub(crate) fn build(_packages: &PackageSource) -> Result<ImageArchive> {
    anyhow::bail!("x")
}
