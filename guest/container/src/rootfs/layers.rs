//! Layers of images, each mounted once per machine and kept.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use dhow_protocol::LayerRange;
use rustix::fs::{CWD, FileType, Mode};
use rustix::io::Errno;
use rustix::mount::MountFlags;

use super::device_mapper::{DeviceMapper, DeviceMapperError};

/// The most layers of one container: what the kernel's overlay takes, and Docker allows.
pub(crate) const MAX_LAYERS: usize = 127;

/// The most layers mounted on one machine; a host gone wrong could otherwise fill kernel memory.
const MAX_MOUNTED_LAYERS: usize = 16 * 1024;

/// Offsets and lengths of layers are multiples of this.
const LAYER_ALIGNMENT_BYTES: u64 = 4096;

/// Why a layer cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum LayerError {
    /// The range is not one that a layer can have.
    #[error("layer range {offset}+{length} is empty or not aligned")]
    Range {
        /// The offset asked for.
        offset: u64,
        /// The length asked for.
        length: u64,
    },
    /// Too many layers for one container.
    #[error("{0} layers are more than {MAX_LAYERS}")]
    TooMany(usize),
    /// Too many layers on this machine.
    #[error("this machine has {MAX_MOUNTED_LAYERS} layers mounted already")]
    MachineFull,
    /// The layer disk is missing.
    #[error("failed to find the layer disk {path}")]
    Disk {
        /// Where it should be.
        path: PathBuf,
        /// Why it is not usable.
        #[source]
        errno: Errno,
    },
    /// The range could not become a device.
    #[error("failed to map the layer at {offset}")]
    Map {
        /// Where the layer lies.
        offset: u64,
        /// Why it failed.
        #[source]
        source: DeviceMapperError,
    },
    /// The device could not be mounted.
    #[error("failed to mount the layer at {offset}")]
    Mount {
        /// Where the layer lies.
        offset: u64,
        /// Why it failed.
        #[source]
        errno: Errno,
    },
}

/// The mounted layers of this machine.
#[derive(Debug)]
pub(crate) struct Layers {
    disk: PathBuf,
    folder: PathBuf,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    mapper: Option<DeviceMapper>,
    mounted: HashMap<LayerRange, PathBuf>,
}

impl Layers {
    /// Layers of this disk, to be mounted below `folder`.
    pub(crate) fn new(disk: &Path, folder: &Path) -> Self {
        Self {
            disk: disk.to_owned(),
            folder: folder.to_owned(),
            state: Mutex::default(),
        }
    }

    /// Uses directories in place of layers that would lie on the disk.
    #[doc(hidden)]
    pub(crate) fn use_folder(&self, range: LayerRange, folder: &Path) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.mounted.insert(range, folder.to_owned());
    }

    /// Where these layers are mounted, which happens now where it has not yet.
    pub(crate) fn mount(&self, ranges: &[LayerRange]) -> Result<Vec<PathBuf>, LayerError> {
        if ranges.len() > MAX_LAYERS {
            return Err(LayerError::TooMany(ranges.len()));
        }
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        ranges
            .iter()
            .map(|range| self.mount_one(&mut state, *range))
            .collect()
    }

    fn mount_one(&self, state: &mut State, range: LayerRange) -> Result<PathBuf, LayerError> {
        if let Some(path) = state.mounted.get(&range) {
            return Ok(path.clone());
        }
        check(range)?;
        if state.mounted.len() >= MAX_MOUNTED_LAYERS {
            return Err(LayerError::MachineFull);
        }
        let map_error = |source| LayerError::Map {
            offset: range.offset,
            source,
        };
        let mapper = match state.mapper.take() {
            Some(mapper) => mapper,
            None => DeviceMapper::open().map_err(map_error)?,
        };
        let mapper = state.mapper.insert(mapper);
        let device = mapper.map(self.disk_number()?, range).map_err(map_error)?;
        let path = self.mount_device(device, range).map_err(|errno| {
            mapper.unmap(range);
            LayerError::Mount {
                offset: range.offset,
                errno,
            }
        })?;
        state.mounted.insert(range, path.clone());
        Ok(path)
    }

    fn disk_number(&self) -> Result<u64, LayerError> {
        let error = |errno| LayerError::Disk {
            path: self.disk.clone(),
            errno,
        };
        let status = rustix::fs::stat(&self.disk).map_err(error)?;
        if FileType::from_raw_mode(status.st_mode) == FileType::BlockDevice {
            Ok(status.st_rdev)
        } else {
            Err(error(Errno::NOTBLK))
        }
    }

    /// Mounts an EROFS device; its node is ours, so no devtmpfs is needed.
    fn mount_device(&self, device: u64, range: LayerRange) -> Result<PathBuf, Errno> {
        let path = self.folder.join(range.offset.to_string());
        let node = self.folder.join(format!("{}.device", range.offset));
        match rustix::fs::mkdir(&path, Mode::from_raw_mode(0o755)) {
            Ok(()) | Err(Errno::EXIST) => {}
            Err(error) => return Err(error),
        }
        let mode = Mode::from_raw_mode(0o600);
        rustix::fs::mknodat(CWD, &node, FileType::BlockDevice, mode, device)?;
        let mounted = rustix::mount::mount(&node, &path, c"erofs", MountFlags::RDONLY, c"");
        let _unlinked = rustix::fs::unlink(&node);
        mounted.map(|()| path)
    }
}

/// Checks that a range can be a layer.
fn check(range: LayerRange) -> Result<(), LayerError> {
    let LayerRange { offset, length } = range;
    let aligned = offset.is_multiple_of(LAYER_ALIGNMENT_BYTES)
        && length.is_multiple_of(LAYER_ALIGNMENT_BYTES);
    if aligned && length > 0 && offset.checked_add(length).is_some() {
        Ok(())
    } else {
        Err(LayerError::Range { offset, length })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refuses_a_range_that_is_not_aligned() {
        let layers = Layers::new(Path::new("/dev/null"), Path::new("/nonexistent"));

        let error = layers
            .mount(&[LayerRange {
                offset: 100,
                length: 4096,
            }])
            .unwrap_err();

        assert!(matches!(error, LayerError::Range { offset: 100, .. }));
    }

    #[test]
    fn refuses_a_range_that_wraps_around() {
        let layers = Layers::new(Path::new("/dev/null"), Path::new("/nonexistent"));
        let offset = u64::MAX - 4095;

        let error = layers
            .mount(&[LayerRange {
                offset,
                length: 8192,
            }])
            .unwrap_err();

        assert!(matches!(error, LayerError::Range { .. }));
    }

    #[test]
    fn refuses_more_layers_than_overlay_takes() {
        let layers = Layers::new(Path::new("/dev/null"), Path::new("/nonexistent"));
        let ranges = vec![
            LayerRange {
                offset: 0,
                length: 4096
            };
            MAX_LAYERS + 1
        ];

        let error = layers.mount(&ranges).unwrap_err();

        assert!(matches!(error, LayerError::TooMany(128)));
    }
}
