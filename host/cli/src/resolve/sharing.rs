//! `--device`, `--security-opt`, `--annotation`, and whose namespaces a container uses.

use std::collections::HashMap;
use std::fs;

use anyhow::{Context, Result, bail};
use dhow_api::client::request::{DeviceMapping, HostConfig, HostConfigCgroupnsModeEnum};
use serde_json::Value;

use crate::args::sharing::{CgroupNamespace, SharingArgs};

/// What a device may be used for unless said.
const ALL_ACCESS: &str = "rwm";

/// Adds what was typed to the configuration.
pub(crate) fn resolve(args: &SharingArgs, config: HostConfig) -> Result<HostConfig> {
    let devices = args.device.iter().map(|text| device(text));
    let list = |given: &[String]| (!given.is_empty()).then(|| given.to_vec());
    Ok(HostConfig {
        volumes_from: list(&args.volumes_from),
        volume_driver: args.volume_driver.clone(),
        devices: Some(devices.collect::<Result<_>>()?),
        device_cgroup_rules: list(&args.device_cgroup_rule),
        pid_mode: args.pid.clone(),
        ipc_mode: args.ipc.clone(),
        uts_mode: args.uts.clone(),
        userns_mode: args.userns.clone(),
        cgroupns_mode: args.cgroupns.map(|namespace| match namespace {
            CgroupNamespace::Host => HostConfigCgroupnsModeEnum::HOST,
            CgroupNamespace::Private => HostConfigCgroupnsModeEnum::PRIVATE,
        }),
        annotations: annotations(&args.annotation)?,
        ..config
    })
}

/// `path[:path][:rwm]`.
fn device(text: &str) -> Result<DeviceMapping> {
    let is_access =
        |part: &str| !part.is_empty() && part.chars().all(|letter| ALL_ACCESS.contains(letter));
    let parts: Vec<&str> = text.split(':').collect();
    let (outside, inside, access) = match parts.as_slice() {
        [path] => (*path, *path, ALL_ACCESS),
        [path, access] if is_access(access) => (*path, *path, *access),
        [outside, inside] => (*outside, *inside, ALL_ACCESS),
        [outside, inside, access] if is_access(access) => (*outside, *inside, *access),
        _ => bail!("invalid --device \"{text}\": it must be path[:path][:rwm]"),
    };
    if outside.is_empty() {
        bail!("invalid --device \"{text}\": no path");
    }
    Ok(DeviceMapping {
        path_on_host: Some(outside.to_owned()),
        path_in_container: Some(inside.to_owned()),
        cgroup_permissions: Some(access.to_owned()),
    })
}

fn annotations(given: &[String]) -> Result<Option<HashMap<String, String>>> {
    let mut annotations = HashMap::new();
    for text in given {
        match text.split_once('=') {
            Some((key, value)) if !key.is_empty() => {
                annotations.insert(key.to_owned(), value.to_owned());
            }
            _ => bail!("invalid --annotation \"{text}\": it must be key=value"),
        }
    }
    Ok((!annotations.is_empty()).then_some(annotations))
}

/// What `--security-opt` comes to: options for the daemon, and whether the kernel's paths are to be
/// open.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct SecurityOptions {
    /// What the daemon is told; the content of profiles in place of their paths.
    pub(crate) options: Vec<String>,
    /// `systempaths=unconfined`.
    pub(crate) open_system_paths: bool,
}

/// Reads `--security-opt`; profiles of system calls are read here, where their files are.
pub(crate) fn security(given: &[String]) -> Result<SecurityOptions> {
    let mut resolved = SecurityOptions {
        options: Vec::new(),
        open_system_paths: false,
    };
    for option in given {
        let split = option.split_once('=').or_else(|| option.split_once(':'));
        match split {
            Some(("systempaths", "unconfined")) => resolved.open_system_paths = true,
            Some(("seccomp", path)) if !matches!(path, "unconfined" | "builtin") => {
                resolved.options.push(format!("seccomp={}", profile(path)?));
            }
            _ => resolved.options.push(option.clone()),
        }
    }
    Ok(resolved)
}

/// A profile without the white space of its file.
fn profile(path: &str) -> Result<String> {
    let text = fs::read_to_string(path)
        .with_context(|| format!("opening seccomp profile ({path}) failed"))?;
    let json: Value = serde_json::from_str(&text)
        .with_context(|| format!("compacting json for seccomp profile ({path}) failed"))?;
    Ok(json.to_string())
}

#[cfg(test)]
mod tests {
    use super::{annotations, device, security};

    fn read(text: &str) -> (String, String, String) {
        let device = device(text).expect("a device");
        (
            device.path_on_host.unwrap_or_default(),
            device.path_in_container.unwrap_or_default(),
            device.cgroup_permissions.unwrap_or_default(),
        )
    }

    fn owned(outside: &str, inside: &str, access: &str) -> (String, String, String) {
        (outside.to_owned(), inside.to_owned(), access.to_owned())
    }

    #[test]
    fn a_device_has_one_to_three_parts() {
        assert_eq!(read("/dev/fuse"), owned("/dev/fuse", "/dev/fuse", "rwm"));
        assert_eq!(read("/dev/fuse:r"), owned("/dev/fuse", "/dev/fuse", "r"));
        assert_eq!(read("/dev/a:/dev/b"), owned("/dev/a", "/dev/b", "rwm"));
        assert_eq!(read("/dev/a:/dev/b:rw"), owned("/dev/a", "/dev/b", "rw"));
        let _refused = device("/dev/a:/dev/b:fly").expect_err("a refusal");
    }

    #[test]
    fn a_profile_is_sent_and_not_its_path() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join("profile.json");
        std::fs::write(&path, "{ \"defaultAction\" : \"SCMP_ACT_ALLOW\" }").expect("a file");
        let given = [
            format!("seccomp={}", path.display()),
            "no-new-privileges".to_owned(),
            "systempaths=unconfined".to_owned(),
        ];
        let resolved = security(&given).expect("options");
        assert!(resolved.open_system_paths);
        assert_eq!(
            resolved.options,
            [
                "seccomp={\"defaultAction\":\"SCMP_ACT_ALLOW\"}",
                "no-new-privileges"
            ]
        );
    }

    #[test]
    fn a_missing_profile_is_told_by_its_path() {
        let error = security(&["seccomp=/nowhere".to_owned()]).expect_err("a refusal");
        assert_eq!(
            error.to_string(),
            "opening seccomp profile (/nowhere) failed"
        );
    }

    #[test]
    fn an_annotation_needs_a_name() {
        assert_eq!(annotations(&[]).expect("none"), None);
        let _refused = annotations(&["=x".to_owned()]).expect_err("a refusal");
    }
}
