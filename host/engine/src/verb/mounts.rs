//! Mounts of containers: their volumes made at create and removed with them, and what a start is
//! given of them.

use dhow_protocol::grants::{DeviceGrant, Grants, VolumeMount};

use super::start::StartError;
use super::volumes::{VolumeCreateError, fresh_name};
use crate::container::{Container, ContainerConfig, HostConfig, Record};
use crate::engine::Engine;
use crate::volume::ANONYMOUS_LABEL;
use crate::volume::mount::{MountPoint, MountSource};
use crate::volume::plan::{self, Donor, MountError, PlannedMount};
use crate::volume::store::Hold;

/// Mounts of a container that is being created, their volumes held.
#[derive(Debug)]
pub(super) struct MadeMounts {
    pub(super) mounts: Vec<MountPoint>,
    holds: Vec<Hold>,
}

impl Engine {
    /// Plans the mounts of a container; nothing is made.
    pub(super) fn plan_mounts(
        &self,
        config: &ContainerConfig,
        host: &HostConfig,
    ) -> Result<Vec<PlannedMount>, MountError> {
        let donors = host.volumes_from.iter().map(|text| {
            let (reference, read_only) = plan::donor_reference(text)?;
            let donor = self.container(reference)?;
            Ok(Donor {
                mounts: donor.record().mounts,
                read_only,
            })
        });
        let donors = donors.collect::<Result<_, MountError>>()?;
        plan::plan(config, host, donors, self.api_sockets())
    }

    /// Makes the volumes of planned mounts.
    pub(super) async fn make_mounts(
        &self,
        planned: Vec<PlannedMount>,
    ) -> Result<MadeMounts, VolumeCreateError> {
        let mut made = MadeMounts {
            mounts: Vec::new(),
            holds: Vec::new(),
        };
        for one in planned {
            match self.make_mount(one).await {
                Ok((mount, hold)) => {
                    made.mounts.push(mount);
                    made.holds.extend(hold);
                }
                Err(error) => {
                    self.unmake_mounts(made).await;
                    return Err(error);
                }
            }
        }
        Ok(made)
    }

    async fn make_mount(
        &self,
        planned: PlannedMount,
    ) -> Result<(MountPoint, Option<Hold>), VolumeCreateError> {
        match planned {
            PlannedMount::Known { mount, labels } => {
                let hold = match mount.volume() {
                    Some(name) => Some(self.volume_held(name.clone(), labels).await?.1),
                    None => None,
                };
                Ok((mount, hold))
            }
            PlannedMount::Fresh {
                destination,
                mode,
                mut labels,
            } => {
                labels.insert(ANONYMOUS_LABEL.to_owned(), String::new());
                let name = fresh_name()?;
                let (_, hold) = self.volume_held(name.clone(), labels).await?;
                let source = MountSource::Volume {
                    name,
                    anonymous: true,
                    copy: !mode.no_copy,
                    subpath: String::new(),
                };
                let mount = MountPoint {
                    source,
                    destination,
                    read_only: mode.read_only,
                    mode: mode.text,
                };
                Ok((mount, Some(hold)))
            }
        }
    }

    /// Removes the volumes that were made for a container that is not to be.
    pub(super) async fn unmake_mounts(&self, made: MadeMounts) {
        let MadeMounts { mounts, holds } = made;
        drop(holds);
        self.remove_anonymous(&mounts).await;
    }

    /// Removes the volumes that were made for a container alone, now that it is gone.
    pub(super) async fn remove_own_volumes(&self, container: &Container) {
        self.remove_anonymous(&container.record().mounts).await;
    }

    async fn remove_anonymous(&self, mounts: &[MountPoint]) {
        for name in mounts.iter().filter_map(MountPoint::anonymous_volume) {
            // Another container may share it; then it goes with that one, or stays.
            if let Err(error) = self.remove_volume(name.as_str()).await {
                tracing::debug!(%error, "a container's own volume stays");
            }
        }
    }

    /// What a container is given beyond its root.
    pub(super) fn grants(&self, record: &Record) -> Result<Grants, StartError> {
        // As Docker, which fills volumes when it creates a container and not when it starts one
        // again.
        let first = record.status.started_at.is_none();
        let volumes = record
            .mounts
            .iter()
            .filter_map(|mount| match &mount.source {
                MountSource::Volume {
                    name,
                    copy,
                    subpath,
                    ..
                } => Some(VolumeMount {
                    volume: name.to_string(),
                    destination: mount.destination.clone(),
                    subpath: subpath.clone(),
                    copy: *copy && first,
                }),
                _ => None,
            });
        let devices = record.host_config.devices.iter().map(|device| DeviceGrant {
            machine_path: device.path_on_host.clone(),
            container_path: device.path_in_container.clone(),
            access: device.permissions.clone(),
        });
        let wants_api = |mount: &MountPoint| matches!(mount.source, MountSource::ApiSocket { .. });
        let api = record.mounts.iter().any(wants_api);
        Ok(Grants {
            volumes: volumes.collect(),
            devices: devices.collect(),
            pid_of: self.pid_donor(&record.host_config)?,
            api: api.then(|| self.api_token().clone()),
        })
    }

    /// The running container whose process ids another is to share.
    fn pid_donor(&self, host: &HostConfig) -> Result<Option<String>, StartError> {
        let Some(reference) = host.modes.pid.strip_prefix("container:") else {
            return Ok(None);
        };
        let donor = self.container(reference)?;
        if donor.status().phase.is_running() {
            Ok(Some(donor.id().to_string()))
        } else {
            Err(StartError::Donor(donor.id().to_string()))
        }
    }

    /// Tells listeners that a container's volumes are in use, or no more.
    pub(super) fn announce_mounts(&self, container: &Container, action: &str) {
        for mount in container.record().mounts {
            let Some(name) = mount.volume() else {
                continue;
            };
            let id = ("container", container.id().to_string());
            if action == "mount" {
                let more = [
                    id,
                    ("destination", mount.destination.clone()),
                    ("propagation", String::new()),
                    ("read/write", (!mount.read_only).to_string()),
                ];
                self.announce_volume(action, name.as_str(), &more);
            } else {
                self.announce_volume(action, name.as_str(), &[id]);
            }
        }
    }
}
