//! Mounts of a container in answers.

use dhow_api::models::{
    Mount, MountPoint as Model, MountTmpfsOptions, MountType, MountVolumeOptions,
};
use dhow_engine::volume::LOCAL_DRIVER;
use dhow_engine::volume::mount::{MountPoint, MountRequest, MountSource, RequestedMount};
use dhow_engine::volume::store::mountpoint;

/// What is mounted.
pub(super) fn mount_points(points: &[MountPoint]) -> Vec<Model> {
    points.iter().map(mount_point).collect()
}

fn mount_point(point: &MountPoint) -> Model {
    let common = Model {
        destination: Some(point.destination.clone()),
        mode: Some(point.mode.clone()),
        rw: Some(!point.read_only),
        propagation: Some(String::new()),
        ..Model::default()
    };
    match &point.source {
        MountSource::Volume { name, .. } => Model {
            typ: Some("volume".to_owned()),
            name: Some(name.to_string()),
            source: Some(mountpoint(name)),
            driver: Some(LOCAL_DRIVER.to_owned()),
            ..common
        },
        MountSource::Tmpfs { .. } => Model {
            typ: Some("tmpfs".to_owned()),
            source: Some(String::new()),
            ..common
        },
        MountSource::ApiSocket { path } => Model {
            typ: Some("bind".to_owned()),
            source: Some(path.clone()),
            propagation: Some("rprivate".to_owned()),
            ..common
        },
    }
}

/// `HostConfig.Mounts`, as asked for.
pub(super) fn requests(requests: &[MountRequest]) -> Option<Vec<Mount>> {
    let all: Vec<Mount> = requests.iter().map(request).collect();
    (!all.is_empty()).then_some(all)
}

fn request(request: &MountRequest) -> Mount {
    let common = Mount {
        target: Some(request.target.clone()),
        read_only: request.read_only.then_some(true),
        ..Mount::default()
    };
    match &request.what {
        RequestedMount::Volume {
            source,
            no_copy,
            labels,
            subpath,
        } => Mount {
            typ: Some(MountType::VOLUME),
            source: Some(source.clone()).filter(|source| !source.is_empty()),
            volume_options: Some(MountVolumeOptions {
                no_copy: no_copy.then_some(true),
                labels: (!labels.is_empty()).then(|| labels.clone().into_iter().collect()),
                subpath: Some(subpath.clone()).filter(|subpath| !subpath.is_empty()),
                ..MountVolumeOptions::default()
            })
            .filter(|options| *options != MountVolumeOptions::default()),
            ..common
        },
        RequestedMount::Tmpfs { size_bytes, mode } => Mount {
            typ: Some(MountType::TMPFS),
            tmpfs_options: Some(MountTmpfsOptions {
                size_bytes: Some(*size_bytes).filter(|bytes| *bytes != 0),
                mode: Some((*mode).into()).filter(|mode| *mode != 0),
                ..MountTmpfsOptions::default()
            }),
            ..common
        },
        RequestedMount::Bind { source } => Mount {
            typ: Some(MountType::BIND),
            source: Some(source.clone()),
            ..common
        },
    }
}
