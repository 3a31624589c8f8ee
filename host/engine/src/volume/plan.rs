//! From everything a user and an image say to a container's mounts, each place once.
//!
//! Docker's order: what other containers have (`--volumes-from`), then `-v`, then `--mount`, then
//! what the image or `-v /path` declares and nothing else is mounted at.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use super::bind::{Bind, BindError, Mode, clean};
use super::mount::{MountPoint, MountRequest, MountSource, RequestedMount};
use super::{LOCAL_DRIVER, VolumeName, VolumeNameError};
use crate::class::{Classified, ErrorClass};
use crate::container::{ContainerConfig, HostConfig, LookupError};

/// The most mounts of a container that a client may ask for.
const MAX_MOUNTS: usize = 512;

/// Why a container's mounts cannot be as asked.
#[derive(Debug, thiserror::Error)]
pub enum MountError {
    /// A `-v` that is none.
    #[error(transparent)]
    Bind(#[from] BindError),
    /// A volume's name that is none.
    #[error(transparent)]
    Name(#[from] VolumeNameError),
    /// Two mounts at one place.
    #[error("Duplicate mount point: {0}")]
    Duplicate(String),
    /// A place that cannot be mounted at.
    #[error(
        "invalid mount config for type {kind:?}: invalid mount path: '{path}' mount path must be absolute"
    )]
    Target {
        /// The mount's type.
        kind: &'static str,
        /// The place.
        path: String,
    },
    /// A part of a volume that would lead out of it.
    #[error(
        "invalid mount config for type \"volume\": subpath must be a relative path within the volume"
    )]
    Subpath,
    /// A path of the host.
    #[error(
        "bind mounts of the host's files are not supported by dhow yet ({0}); use a volume, or \
         `docker cp`"
    )]
    HostPath(String),
    /// A driver that is not there.
    #[error("error looking up volume plugin {0}: plugin {0:?} not found")]
    Driver(String),
    /// Another container whose mounts were asked for is not there.
    #[error(transparent)]
    Lookup(#[from] LookupError),
    /// A mode of `--volumes-from` that is none.
    #[error("invalid mode: {0}")]
    DonorMode(String),
    /// More than any container needs.
    #[error("{0} mounts are more than {MAX_MOUNTS}")]
    TooMany(usize),
}

impl Classified for MountError {
    fn class(&self) -> ErrorClass {
        match self {
            Self::HostPath(_) => ErrorClass::NotImplemented,
            Self::Driver(_) => ErrorClass::NotFound,
            Self::Lookup(error) => error.class(),
            _ => ErrorClass::InvalidParameter,
        }
    }
}

/// What another container has, and what `--volumes-from` says about it.
#[derive(Debug)]
pub struct Donor {
    /// Its mounts.
    pub mounts: Vec<MountPoint>,
    /// Whether they are read-only here.
    pub read_only: bool,
}

/// A mount to be: as kept, but for volumes that have no name yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PlannedMount {
    /// As it is kept.
    Known {
        /// The mount.
        mount: MountPoint,
        /// Labels of its volume, where that is made now.
        labels: BTreeMap<String, String>,
    },
    /// A volume of the container's own.
    Fresh {
        /// Where.
        destination: String,
        /// How.
        mode: Mode,
        /// Labels of the volume.
        labels: BTreeMap<String, String>,
    },
}

impl PlannedMount {
    fn destination(&self) -> &str {
        match self {
            Self::Known { mount, .. } => &mount.destination,
            Self::Fresh { destination, .. } => destination,
        }
    }
}

/// `container[:mode]` of `--volumes-from`.
///
/// # Errors
/// [`MountError::DonorMode`].
pub fn donor_reference(text: &str) -> Result<(&str, bool), MountError> {
    let Some((container, mode)) = text.split_once(':') else {
        return Ok((text, false));
    };
    let parsed = Mode::parse(mode).filter(|mode| !mode.no_copy);
    let parsed = parsed.ok_or_else(|| MountError::DonorMode(mode.to_owned()))?;
    Ok((container, parsed.read_only))
}

/// Plans a container's mounts. `api_sockets` are paths of the host that stand for the API's socket.
///
/// # Errors
/// [`MountError`].
pub fn plan(
    config: &ContainerConfig,
    host: &HostConfig,
    donors: Vec<Donor>,
    api_sockets: &[PathBuf],
) -> Result<Vec<PlannedMount>, MountError> {
    let asked = host.binds.len() + host.mounts.len() + config.volumes.len();
    if asked > MAX_MOUNTS {
        return Err(MountError::TooMany(asked));
    }
    if !matches!(host.volume_driver.as_str(), "" | LOCAL_DRIVER) {
        return Err(MountError::Driver(host.volume_driver.clone()));
    }
    let mut taken: BTreeSet<String> = BTreeSet::new();
    for path in host.tmpfs.keys() {
        taken.insert(clean(path).unwrap_or_else(|| path.clone()));
    }
    let mut planned = from_donors(donors);
    let of_binds = host.binds.iter().map(|text| from_bind(text, api_sockets));
    let of_mounts = host
        .mounts
        .iter()
        .map(|request| from_request(request, api_sockets));
    for mount in of_binds.chain(of_mounts) {
        let mount = mount?;
        let destination = mount.destination().to_owned();
        if !taken.insert(destination.clone()) {
            return Err(MountError::Duplicate(destination));
        }
        planned.insert(destination, mount);
    }
    for path in &config.volumes {
        let bind = Bind::parse(path)?;
        if !taken.contains(&bind.destination) {
            let fresh = PlannedMount::Fresh {
                destination: bind.destination.clone(),
                mode: bind.mode,
                labels: BTreeMap::new(),
            };
            planned.entry(bind.destination).or_insert(fresh);
        }
    }
    Ok(planned.into_values().collect())
}

/// What other containers have, by its place; the last of several counts.
fn from_donors(donors: Vec<Donor>) -> BTreeMap<String, PlannedMount> {
    let mut planned = BTreeMap::new();
    for donor in donors {
        for mut mount in donor.mounts {
            mount.read_only |= donor.read_only;
            if let MountSource::Volume { copy, .. } = &mut mount.source {
                *copy = false;
            }
            let labels = BTreeMap::new();
            let destination = mount.destination.clone();
            planned.insert(destination, PlannedMount::Known { mount, labels });
        }
    }
    planned
}

fn from_bind(text: &str, api_sockets: &[PathBuf]) -> Result<PlannedMount, MountError> {
    let Bind {
        source,
        destination,
        mode,
    } = Bind::parse(text)?;
    if source.is_empty() {
        return Ok(PlannedMount::Fresh {
            destination,
            mode,
            labels: BTreeMap::new(),
        });
    }
    let what = if source.starts_with('/') {
        host_path(source, api_sockets)?
    } else {
        MountSource::Volume {
            name: VolumeName::try_from(source)?,
            anonymous: false,
            copy: !mode.no_copy,
            subpath: String::new(),
        }
    };
    Ok(PlannedMount::Known {
        mount: MountPoint {
            source: what,
            destination,
            read_only: mode.read_only,
            mode: mode.text,
        },
        labels: BTreeMap::new(),
    })
}

fn from_request(
    request: &MountRequest,
    api_sockets: &[PathBuf],
) -> Result<PlannedMount, MountError> {
    let kind = match request.what {
        RequestedMount::Volume { .. } => "volume",
        RequestedMount::Tmpfs { .. } => "tmpfs",
        RequestedMount::Bind { .. } => "bind",
    };
    let destination = clean(&request.target).filter(|path| path != "/");
    let destination = destination.ok_or_else(|| MountError::Target {
        kind,
        path: request.target.clone(),
    })?;
    let read_only = request.read_only;
    let known = |source, mode: &str, labels| PlannedMount::Known {
        mount: MountPoint {
            source,
            destination: destination.clone(),
            read_only,
            mode: mode.to_owned(),
        },
        labels,
    };
    match &request.what {
        RequestedMount::Volume {
            source,
            no_copy,
            labels,
            ..
        } if source.is_empty() => Ok(PlannedMount::Fresh {
            destination: destination.clone(),
            mode: Mode {
                text: VOLUME_MODE.to_owned(),
                read_only,
                no_copy: *no_copy,
            },
            labels: labels.clone(),
        }),
        RequestedMount::Volume {
            source,
            no_copy,
            labels,
            subpath,
        } => {
            let source = named_volume(source, subpath, *no_copy)?;
            Ok(known(source, VOLUME_MODE, labels.clone()))
        }
        RequestedMount::Tmpfs { size_bytes, mode } => {
            Ok(known(tmpfs(*size_bytes, *mode), "", BTreeMap::new()))
        }
        RequestedMount::Bind { source } => {
            let source = host_path(source.clone(), api_sockets)?;
            Ok(known(source, "", BTreeMap::new()))
        }
    }
}

/// What Docker shows as the mode of a volume that `--mount` brought.
const VOLUME_MODE: &str = "z";

fn named_volume(source: &str, subpath: &str, no_copy: bool) -> Result<MountSource, MountError> {
    if subpath.starts_with('/') || subpath.split('/').any(|part| part == "..") {
        return Err(MountError::Subpath);
    }
    Ok(MountSource::Volume {
        name: VolumeName::try_from(source.to_owned())?,
        anonymous: false,
        copy: !no_copy,
        subpath: subpath.to_owned(),
    })
}

fn tmpfs(size_bytes: i64, mode: u32) -> MountSource {
    let size = (size_bytes > 0).then(|| format!("size={size_bytes}"));
    let mode = (mode != 0).then(|| format!("mode={mode:o}"));
    MountSource::Tmpfs {
        options: size.into_iter().chain(mode).collect(),
    }
}

/// The API's socket, which is the one path of the host that can be had.
fn host_path(path: String, api_sockets: &[PathBuf]) -> Result<MountSource, MountError> {
    let cleaned = clean(&path);
    let is_api = cleaned.is_some_and(|path| api_sockets.contains(&PathBuf::from(path)));
    if is_api {
        Ok(MountSource::ApiSocket { path })
    } else {
        Err(MountError::HostPath(path))
    }
}

#[cfg(test)]
mod tests;
