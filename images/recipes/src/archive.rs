//! Writes an image as the archive `docker save` writes: `manifest.json`, a config and one layer.
//!
//! The format is the one of the Docker image specification v1.2, which docker, podman, skopeo and
//! dhow all read. The layer is named by its digest, and every time stamp comes from the packages.

use std::fs::File;
use std::io::{BufWriter, Read, Seek, SeekFrom, Write};
use std::path::Path;

use anyhow::{Context, Result};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::rootfs::Rootfs;

/// A finished image: one layer and what to run.
#[derive(Debug)]
pub(crate) struct ImageArchive {
    /// Name and tag, as `docker images` shows them.
    pub(crate) reference: &'static str,
    pub(crate) rootfs: Rootfs,
    /// The `config` object of the image configuration (Cmd, Env, …).
    pub(crate) config: Value,
    /// What the history says made the layer.
    pub(crate) created_by: String,
}

/// Buffer between the tar writer and the file.
const BUFFER_BYTES: usize = 1 << 20;

/// Writes `image` to a temporary file beside `output` and renames it there.
pub(crate) fn write(image: &ImageArchive, output: &Path) -> Result<()> {
    let folder = output
        .parent()
        .filter(|folder| !folder.as_os_str().is_empty());
    let folder = folder.unwrap_or(Path::new("."));
    let (mut layer, diff_id) = write_layer(&image.rootfs, folder)?;
    let layer_size = layer.seek(SeekFrom::End(0))?;
    layer.seek(SeekFrom::Start(0))?;

    let mtime = image.rootfs.newest();
    let config = serde_json::to_vec(&configuration(image, &diff_id, mtime))?;
    let config_name = format!("{}.json", hexadecimal(&Sha256::digest(&config)));
    let layer_name = format!("{diff_id}.tar");
    let manifest = json!([{
        "Config": config_name,
        "RepoTags": [image.reference],
        "Layers": [layer_name],
    }]);

    let file = tempfile::Builder::new()
        .prefix(".dhow-images-")
        .tempfile_in(folder)?;
    let mut builder = tar::Builder::new(BufWriter::with_capacity(BUFFER_BYTES, file));
    let manifest = serde_json::to_vec(&manifest)?;
    append(
        &mut builder,
        "manifest.json",
        manifest.len() as u64,
        mtime,
        manifest.as_slice(),
    )?;
    append(
        &mut builder,
        &config_name,
        config.len() as u64,
        mtime,
        config.as_slice(),
    )?;
    append(&mut builder, &layer_name, layer_size, mtime, layer)?;
    let mut writer = builder.into_inner()?;
    writer.flush()?;
    let file = writer.into_inner().context("failed to flush")?;
    let readable = std::os::unix::fs::PermissionsExt::from_mode(0o644);
    file.as_file().set_permissions(readable)?;
    file.persist(output)?;
    Ok(())
}

fn append(
    builder: &mut tar::Builder<impl Write>,
    name: &str,
    size: u64,
    mtime: u64,
    content: impl Read,
) -> Result<()> {
    let mut header = tar::Header::new_ustar();
    header.set_size(size);
    header.set_mode(0o644);
    header.set_mtime(mtime);
    header.set_uid(0);
    header.set_gid(0);
    builder.append_data(&mut header, name, content)?;
    Ok(())
}

/// The layer tar in an unnamed file, and the digest of its bytes.
fn write_layer(rootfs: &Rootfs, folder: &Path) -> Result<(File, String)> {
    let file = tempfile::tempfile_in(folder)?;
    let mut writer = HashingWriter {
        inner: file,
        hasher: Sha256::new(),
    };
    rootfs.write_tar(BufWriter::with_capacity(BUFFER_BYTES, &mut writer))?;
    let digest = hexadecimal(&writer.hasher.finalize());
    Ok((writer.inner, digest))
}

fn configuration(image: &ImageArchive, diff_id: &str, mtime: u64) -> Value {
    let created = rfc3339(mtime);
    json!({
        "architecture": architecture(),
        "os": "linux",
        "created": created,
        "config": image.config,
        "rootfs": { "type": "layers", "diff_ids": [format!("sha256:{diff_id}")] },
        "history": [{ "created": created, "created_by": image.created_by }],
    })
}

/// This host's architecture in the image specification's words (those of Go's `GOARCH`).
fn architecture() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        "x86" => "386",
        other => other,
    }
}

fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Seconds since 1970 as an RFC 3339 time in UTC.
///
/// The date is computed by the civil-from-days method (March-based years of 400-year eras), which
/// is exact for every day of the Gregorian calendar.
fn rfc3339(seconds: u64) -> String {
    const SECONDS_A_DAY: u64 = 86_400;
    const DAYS_AN_ERA: u64 = 146_097;
    const DAYS_0000_03_01_TO_1970: u64 = 719_468;
    let (days, rest) = (
        seconds / SECONDS_A_DAY + DAYS_0000_03_01_TO_1970,
        seconds % SECONDS_A_DAY,
    );
    let (era, day_of_era) = (days / DAYS_AN_ERA, days % DAYS_AN_ERA);
    let year_of_era =
        (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 {
        month_from_march + 3
    } else {
        month_from_march - 9
    };
    let year = era * 400 + year_of_era + u64::from(month <= 2);
    let (hour, minute, second) = (rest / 3600, rest / 60 % 60, rest % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}Z")
}

/// Hashes what passes through to a file.
struct HashingWriter {
    inner: File,
    hasher: Sha256,
}

impl Write for HashingWriter {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        let written = self.inner.write(bytes)?;
        self.hasher.update(&bytes[..written]);
        Ok(written)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        self.inner.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn writes_times_as_rfc_3339() {
        assert_eq!(rfc3339(0), "1970-01-01T00:00:00Z");
        assert_eq!(rfc3339(951_782_399), "2000-02-28T23:59:59Z");
        assert_eq!(rfc3339(951_782_400), "2000-02-29T00:00:00Z");
        assert_eq!(rfc3339(1_795_348_968), "2026-11-22T12:02:48Z");
    }
}
