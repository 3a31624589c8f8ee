//! `HostConfig.Mounts`, devices, and volumes to be made.

use dhow_api::request::{DeviceMappingRequest, MountRequest, VolumeCreateRequest};
use dhow_engine::container::DeviceMapping;
use dhow_engine::verb::volumes::VolumeOptions;
use dhow_engine::volume;
use dhow_engine::volume::{LOCAL_DRIVER, RequestedMount};

use crate::failure::Failure;

/// What a device may be used for unless said.
const ALL_ACCESS: &str = "rwm";

/// One mount.
pub(super) fn mount(request: MountRequest) -> Result<volume::MountRequest, Failure> {
    let kind = request.kind.unwrap_or_default();
    let source = request.source.unwrap_or_default();
    let target = request.target.unwrap_or_default();
    let invalid =
        |what: &str| Failure::invalid(format!("invalid mount config for type {kind:?}: {what}"));
    if target.is_empty() {
        return Err(invalid("field Target must not be empty"));
    }
    let what = match kind.as_str() {
        "volume" => {
            let options = request.volume_options.unwrap_or_default();
            driver(options.driver_config)?;
            let subpath = options.subpath.unwrap_or_default();
            if !subpath.is_empty() && source.is_empty() {
                return Err(invalid("must not set Subpath when using anonymous volumes"));
            }
            RequestedMount::Volume {
                source,
                no_copy: options.no_copy.unwrap_or_default(),
                labels: options.labels.unwrap_or_default(),
                subpath,
            }
        }
        "tmpfs" if !source.is_empty() => return Err(invalid("field Source must not be specified")),
        "tmpfs" => {
            let options = request.tmpfs_options.unwrap_or_default();
            if options.options.is_some_and(|options| !options.is_empty()) {
                return Err(Failure::unsupported(
                    "--mount type=tmpfs with tmpfs-options",
                ));
            }
            RequestedMount::Tmpfs {
                size_bytes: options.size_bytes.unwrap_or_default(),
                mode: options.mode.unwrap_or_default(),
            }
        }
        "bind" if source.is_empty() => return Err(invalid("field Source must not be empty")),
        "bind" => RequestedMount::Bind { source },
        "image" | "cluster" | "npipe" => {
            return Err(Failure::unsupported(&format!("--mount type={kind}")));
        }
        _ => return Err(Failure::invalid("mount type unknown")),
    };
    Ok(volume::MountRequest {
        what,
        target,
        read_only: request.read_only.unwrap_or_default(),
    })
}

fn driver(config: Option<dhow_api::request::DriverRequest>) -> Result<(), Failure> {
    let config = config.unwrap_or_default();
    let local = matches!(config.name.as_deref(), None | Some("" | LOCAL_DRIVER));
    let optionless = config.options.is_none_or(|options| options.is_empty());
    if local && optionless {
        Ok(())
    } else {
        Err(Failure::unsupported("a volume driver with options"))
    }
}

/// A device of the machine.
pub(super) fn device(request: DeviceMappingRequest) -> Result<DeviceMapping, Failure> {
    let path_on_host = request.path_on_host.unwrap_or_default();
    let path_in_container = request
        .path_in_container
        .filter(|path| !path.is_empty())
        .unwrap_or_else(|| path_on_host.clone());
    let permissions = request
        .cgroup_permissions
        .filter(|letters| !letters.is_empty())
        .unwrap_or_else(|| ALL_ACCESS.to_owned());
    if !permissions
        .chars()
        .all(|letter| ALL_ACCESS.contains(letter))
    {
        return Err(Failure::invalid(format!(
            "invalid device mode: {permissions}"
        )));
    }
    if !path_on_host.starts_with('/') || !path_in_container.starts_with('/') {
        return Err(Failure::invalid(format!(
            "invalid device path: {path_on_host}"
        )));
    }
    Ok(DeviceMapping {
        path_on_host,
        path_in_container,
        permissions,
    })
}

/// What a volume is to be.
pub(crate) fn volume_options(request: VolumeCreateRequest) -> VolumeOptions {
    VolumeOptions {
        name: request.name.unwrap_or_default(),
        driver: request.driver.unwrap_or_default(),
        driver_options: request.driver_opts.unwrap_or_default(),
        labels: request.labels.unwrap_or_default(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decoded(text: &str) -> Result<volume::MountRequest, String> {
        mount(serde_json::from_str(text).unwrap()).map_err(|failure| failure.message().to_owned())
    }

    #[test]
    fn a_volume_with_every_option_is_read() {
        let mount = decoded(
            r#"{"Type":"volume","Source":"db","Target":"/data","ReadOnly":true,"VolumeOptions":
            {"NoCopy":true,"Labels":{"a":"b"},"DriverConfig":{"Name":"local"},"Subpath":"x"}}"#,
        )
        .unwrap();

        assert!(mount.read_only);
        assert!(matches!(
            mount.what,
            RequestedMount::Volume { no_copy: true, labels, subpath, .. }
            if labels.len() == 1 && subpath == "x"
        ));
    }

    #[test]
    fn mistakes_are_told_as_docker_tells_them() {
        assert_eq!(
            decoded(r#"{"Type":"volume"}"#).unwrap_err(),
            "invalid mount config for type \"volume\": field Target must not be empty"
        );
        assert_eq!(
            decoded(r#"{"Type":"carpet","Target":"/x"}"#).unwrap_err(),
            "mount type unknown"
        );
    }

    #[test]
    fn a_device_is_itself_and_open_unless_said() {
        let fuse = DeviceMappingRequest {
            path_on_host: Some("/dev/fuse".to_owned()),
            ..DeviceMappingRequest::default()
        };

        let device = device(fuse).unwrap();

        assert_eq!(device.path_in_container, "/dev/fuse");
        assert_eq!(device.permissions, "rwm");
    }
}
