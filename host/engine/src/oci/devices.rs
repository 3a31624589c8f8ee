//! Device nodes, and the devices a container may open.

use serde_json::{Value, json};

/// World-readable and -writable, as the kernel itself makes these nodes.
const OPEN_TO_ALL: u32 = 0o666;

/// Character devices of every container (runtime spec, "Default Devices"): path, major, minor.
const DEFAULT_NODES: [(&str, i64, i64); 6] = [
    ("/dev/null", 1, 3),
    ("/dev/zero", 1, 5),
    ("/dev/full", 1, 7),
    ("/dev/random", 1, 8),
    ("/dev/urandom", 1, 9),
    ("/dev/tty", 5, 0),
];

/// Further character devices that may be opened: `/dev/console`, `/dev/ptmx`, and ptys of any
/// number.
const FURTHER_RULES: [(i64, Option<i64>); 3] = [(5, Some(1)), (5, Some(2)), (136, None)];

/// The nodes to make. A container with a terminal gets `/dev/console` from the agent, which has the
/// pty.
pub(super) fn nodes() -> Value {
    DEFAULT_NODES
        .iter()
        .map(|(path, major, minor)| {
            json!({
                "path": path, "type": "c", "major": major, "minor": minor,
                "fileMode": OPEN_TO_ALL, "uid": 0, "gid": 0,
            })
        })
        .collect()
}

/// What the cgroup lets through.
pub(super) fn rules(privileged: bool) -> Value {
    if privileged {
        return json!([{"allow": true, "access": "rwm"}]);
    }
    let nodes = DEFAULT_NODES
        .iter()
        .map(|&(_, major, minor)| (major, Some(minor)));
    // Making nodes is harmless where opening them is refused, and package managers do it.
    let mut rules = vec![
        json!({"allow": false, "access": "rwm"}),
        json!({"allow": true, "type": "c", "access": "m"}),
        json!({"allow": true, "type": "b", "access": "m"}),
    ];
    for (major, minor) in nodes.chain(FURTHER_RULES) {
        let mut rule = json!({"allow": true, "type": "c", "major": major, "access": "rwm"});
        if let Some(minor) = minor {
            rule["minor"] = minor.into();
        }
        rules.push(rule);
    }
    Value::from(rules)
}
