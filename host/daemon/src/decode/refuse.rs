//! Parts of a request that dhow does not have yet: refused by the name of the option, never taken
//! and forgotten.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::failure::Failure;

/// Fields of `HostConfig` by the option that sets them.
const HOST_OPTIONS: [(&str, &str); 22] = [
    ("Binds", "--volume"),
    ("Mounts", "--mount"),
    ("VolumesFrom", "--volumes-from"),
    ("VolumeDriver", "--volume-driver"),
    ("Links", "--link"),
    ("Devices", "--device"),
    ("DeviceCgroupRules", "--device-cgroup-rule"),
    ("DeviceRequests", "--gpus"),
    ("BlkioWeight", "--blkio-weight"),
    ("BlkioWeightDevice", "--blkio-weight-device"),
    ("BlkioDeviceReadBps", "--device-read-bps"),
    ("BlkioDeviceWriteBps", "--device-write-bps"),
    ("BlkioDeviceReadIOps", "--device-read-iops"),
    ("BlkioDeviceWriteIOps", "--device-write-iops"),
    ("CpuRealtimePeriod", "--cpu-rt-period"),
    ("CpuRealtimeRuntime", "--cpu-rt-runtime"),
    ("OomKillDisable", "--oom-kill-disable"),
    ("CgroupParent", "--cgroup-parent"),
    ("StorageOpt", "--storage-opt"),
    ("Runtime", "--runtime"),
    ("PidMode", "--pid"),
    ("Annotations", "--annotation"),
];

/// Fields that may hold these words: what dhow does anyway.
const AS_IT_IS: [(&str, &[&str]); 7] = [
    ("CgroupnsMode", &["private"]),
    ("IpcMode", &["private"]),
    ("UTSMode", &["private"]),
    ("UsernsMode", &[]),
    ("Isolation", &["default"]),
    ("Cgroup", &[]),
    ("Runtime", &["dhow"]),
];

/// Fields that change nothing.
const WITHOUT_EFFECT: [&str; 1] = ["ContainerIDFile"];

/// Refuses what is left of `HostConfig` and asks for something.
pub(super) fn host_config(rest: &BTreeMap<String, Value>) -> Result<(), Failure> {
    for (field, value) in rest {
        if asks_for_nothing(value)
            || WITHOUT_EFFECT.contains(&field.as_str())
            || is_as_it_is(field, value)
        {
            continue;
        }
        let option = HOST_OPTIONS
            .iter()
            .find(|(known, _)| known == field)
            .map_or_else(
                || format!("HostConfig.{field}"),
                |(_, option)| (*option).to_owned(),
            );
        return Err(Failure::unsupported(&option));
    }
    Ok(())
}

fn is_as_it_is(field: &str, value: &Value) -> bool {
    AS_IT_IS.iter().any(|(known, words)| {
        *known == field && value.as_str().is_some_and(|value| words.contains(&value))
    })
}

/// What clients send for an option that was not given.
fn asks_for_nothing(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Bool(value) => !value,
        Value::Number(value) => value.as_f64() == Some(0.0),
        Value::String(value) => value.is_empty(),
        Value::Array(values) => values.is_empty(),
        Value::Object(values) => values.is_empty(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(text: &str) -> Option<String> {
        let rest: BTreeMap<String, Value> = serde_json::from_str(text).unwrap();
        host_config(&rest)
            .err()
            .map(|failure| failure.message().to_owned())
    }

    #[test]
    fn a_volume_is_refused_by_the_options_name() {
        assert_eq!(
            refused(r#"{"Binds":["/a:/b"]}"#),
            Some("--volume is not supported by dhow yet".to_owned())
        );
    }

    #[test]
    fn what_clients_always_send_is_taken() {
        let sent = r#"{"Binds":null,"VolumeDriver":"","Links":[],"BlkioWeight":0,
            "OomKillDisable":false,"CgroupnsMode":"","IpcMode":"private","ContainerIDFile":"/x",
            "Isolation":"","Devices":[]}"#;

        assert_eq!(refused(sent), None);
    }

    #[test]
    fn an_unknown_field_is_refused_by_its_own_name() {
        assert!(
            refused(r#"{"Teleport":true}"#)
                .unwrap()
                .contains("HostConfig.Teleport")
        );
    }
}
