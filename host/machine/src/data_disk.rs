//! The data disk: a sparse file with one ext4, made on the host without root or `mkfs`.
//!
//! It holds upper directories, so it outlives the machine and is never part of the system image.

use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use mkext4::build::ImageWriter;
use mkext4::sink::FileSink;
use mkext4::{FsBuilder, Options};

/// Size of a new data disk in bytes: 64 GiB, of which the host stores only what was written.
pub const DATA_DISK_BYTES: u64 = 64 << 30;

/// The file system's label, so that a person who finds the file knows what it is.
const LABEL: &str = "dhow-data";

/// Journal size in blocks of 4096 bytes: 64 MiB, enough for container churn; the default for this
/// size (1 GiB) would only make recovery after a kill longer.
const JOURNAL_BLOCKS: u32 = 16_384;

/// Length of a file system UUID.
const UUID_BYTES: usize = 16;

/// Why there is no data disk.
#[derive(Debug, thiserror::Error)]
pub enum DataDiskError {
    /// A file could not be made.
    #[error("failed to {operation} {}", path.display())]
    Io {
        /// What was tried, as a verb.
        operation: &'static str,
        /// On which file.
        path: PathBuf,
        /// What the operating system answered.
        #[source]
        source: io::Error,
    },
    /// The file system could not be made.
    #[error("failed to make an ext4 file system in {}", path.display())]
    Format {
        /// In which file.
        path: PathBuf,
        /// What the formatter said.
        #[source]
        source: mkext4::Error,
    },
}

/// Makes the data disk where there is none; leaves an existing one as it is.
///
/// Made under a temporary name and renamed, so a kill at any point leaves no half-made disk.
///
/// # Errors
/// [`DataDiskError`] with nothing left behind.
pub fn ensure(path: &Path) -> Result<(), DataDiskError> {
    if path.exists() {
        return Ok(());
    }
    let temporary = path.with_extension("new");
    let made = format(&temporary).and_then(|()| {
        fs::rename(&temporary, path).map_err(|source| DataDiskError::Io {
            operation: "rename",
            path: temporary.clone(),
            source,
        })
    });
    if made.is_err() {
        // Nothing to add to the error that is on its way.
        let _ = fs::remove_file(&temporary);
    }
    made
}

fn format(path: &Path) -> Result<(), DataDiskError> {
    let io = |operation| {
        move |source| DataDiskError::Io {
            operation,
            path: path.to_owned(),
            source,
        }
    };
    let mut uuid = [0; UUID_BYTES];
    File::open("/dev/urandom")
        .and_then(|mut source| source.read_exact(&mut uuid))
        .map_err(io("make a UUID for"))?;
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    let epoch = i64::try_from(now.as_secs()).unwrap_or(0);
    let mut options = Options::new(DATA_DISK_BYTES, uuid, epoch);
    options.label = Some(LABEL.to_owned());
    options.reserved_percent = 0;
    options.journal_blocks = Some(JOURNAL_BLOCKS);

    let format = |source| DataDiskError::Format {
        path: path.to_owned(),
        source,
    };
    let layout = FsBuilder::new(options)
        .and_then(FsBuilder::seal)
        .map_err(format)?;
    let mut sink = FileSink::create(path, DATA_DISK_BYTES).map_err(io("create"))?;
    layout
        .writer(&mut sink)
        .and_then(ImageWriter::finish)
        .map_err(format)?;
    sink.into_file().sync_all().map_err(io("sync"))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::MetadataExt;
    use std::process::Command;

    use super::*;

    /// 512-byte units in which `stat` counts a file's blocks.
    const STAT_BLOCK_BYTES: u64 = 512;

    #[test]
    fn a_new_disk_passes_fsck_and_is_sparse() {
        let folder = tempfile::tempdir().unwrap();
        let disk = folder.path().join("data.img");

        ensure(&disk).unwrap();

        let fsck = Command::new("/sbin/e2fsck")
            .arg("-fn")
            .arg(&disk)
            .output()
            .unwrap();
        assert!(
            fsck.status.success(),
            "{}",
            String::from_utf8_lossy(&fsck.stdout)
        );
        let stored = fs::metadata(&disk).unwrap().blocks() * STAT_BLOCK_BYTES;
        assert!(stored < 32 << 20, "{stored} bytes stored");
    }

    #[test]
    fn an_existing_disk_is_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        let disk = folder.path().join("data.img");
        fs::write(&disk, b"mine").unwrap();

        ensure(&disk).unwrap();

        assert_eq!(fs::read(&disk).unwrap(), b"mine");
    }
}
