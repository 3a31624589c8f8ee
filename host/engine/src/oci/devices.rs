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

/// Why a rule for devices was refused, in Docker's words.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("invalid device cgroup rule format: '{0}'")]
pub struct DeviceRuleError(String);

/// One rule as cgroup v1 writes it: `c 10:229 rwm`, a star for any number.
fn rule(text: &str) -> Result<Value, DeviceRuleError> {
    let wrong = || DeviceRuleError(text.to_owned());
    let words: Vec<&str> = text.split_whitespace().collect();
    let [kind, numbers, access] = words.as_slice() else {
        return Err(wrong());
    };
    let (major, minor) = numbers.split_once(':').ok_or_else(wrong)?;
    if !matches!(*kind, "a" | "b" | "c")
        || access.is_empty()
        || !access.chars().all(|letter| "rwm".contains(letter))
    {
        return Err(wrong());
    }
    let mut rule = json!({"allow": true, "type": kind, "access": access});
    for (key, number) in [("major", major), ("minor", minor)] {
        if number != "*" {
            let number: u32 = number.parse().map_err(|_none| wrong())?;
            rule[key] = number.into();
        }
    }
    Ok(rule)
}

/// What the cgroup lets through; `further` rules are the user's.
pub(super) fn rules(privileged: bool, further: &[String]) -> Result<Value, DeviceRuleError> {
    let further = further.iter().map(|text| rule(text));
    let further = further.collect::<Result<Vec<_>, _>>()?;
    if privileged {
        return Ok(json!([{"allow": true, "access": "rwm"}]));
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
    rules.extend(further);
    Ok(Value::from(rules))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rule_of_cgroup_v1_is_read() {
        let read = rule("c 10:* rw").unwrap();

        assert_eq!(
            read,
            json!({"allow": true, "type": "c", "major": 10, "access": "rw"})
        );
    }

    #[test]
    fn refuses_a_rule_that_is_none() {
        for text in ["", "c 1 rw", "x 1:2 rw", "c 1:2 fly", "c a:2 r"] {
            assert_eq!(rule(text), Err(DeviceRuleError(text.to_owned())));
        }
    }
}
