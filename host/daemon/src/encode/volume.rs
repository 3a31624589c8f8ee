//! `GET /volumes`.

use std::collections::BTreeMap;

use dhow_engine::volume::{LOCAL_DRIVER, Volume};
use serde_json::{Value, json};

/// What a volume takes, for `docker system df`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Usage {
    /// Bytes on the data disk, where known.
    pub(crate) bytes: Option<u64>,
    /// Containers that have it.
    pub(crate) containers: usize,
}

/// A volume. Not the model: that has no `null` for what Docker leaves out.
pub(crate) fn volume(volume: &Volume, usage: Option<Usage>) -> Value {
    let mut value = json!({
        // Whole seconds, as Docker.
        "CreatedAt": seconds(&volume.created.to_string()),
        "Driver": LOCAL_DRIVER,
        "Labels": labels(&volume.labels),
        "Mountpoint": volume.mountpoint(),
        "Name": volume.name.as_str(),
        "Options": Value::Null,
        "Scope": "local",
    });
    if let Some(usage) = usage {
        let bytes = usage.bytes.and_then(|bytes| i64::try_from(bytes).ok());
        value["UsageData"] = json!({"RefCount": usage.containers, "Size": bytes.unwrap_or(-1)});
    }
    value
}

fn labels(labels: &BTreeMap<String, String>) -> Value {
    if labels.is_empty() {
        Value::Null
    } else {
        json!(labels)
    }
}

/// A time without its fraction.
fn seconds(time: &str) -> String {
    match time.split_once('.') {
        Some((seconds, _)) => format!("{seconds}Z"),
        None => time.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::seconds;

    #[test]
    fn a_time_loses_its_fraction() {
        assert_eq!(seconds("2026-01-02T03:04:05.678Z"), "2026-01-02T03:04:05Z");
        assert_eq!(seconds("2026-01-02T03:04:05Z"), "2026-01-02T03:04:05Z");
    }
}
