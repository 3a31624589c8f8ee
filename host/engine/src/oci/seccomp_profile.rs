//! `--security-opt seccomp=FILE`: a profile as Docker's documentation has them, made into the one
//! filter that fits this container.
//!
//! A profile is the runtime specification's filter with conditions: a rule may apply only to
//! containers that hold a capability, to an architecture, or from a kernel version on.

use serde::Deserialize;
use serde_json::{Value, json};

/// The kernel version of the machine, for `minKernel`: all machines of a build have the same.
const KERNEL_VERSION: (u32, u32) = (6, 12);

/// This architecture in a rule's conditions (Go's word) and in `archMap`.
const ARCHITECTURE: (&str, &str) = ("amd64", "SCMP_ARCH_X86_64");

/// The most rules of a profile; Docker's own has some forty.
const MAX_RULES: usize = 4096;

/// Why a profile was refused.
#[derive(Debug, thiserror::Error)]
pub enum ProfileError {
    /// Not such JSON.
    #[error("the profile is not valid")]
    Malformed(#[source] serde_json::Error),
    /// Two ways to say the same.
    #[error(
        "both 'architectures' and 'archMap' are specified in the seccomp profile, use only one"
    )]
    ArchitecturesTwice,
    /// Two ways to say the same, in a rule.
    #[error("both 'name' and 'names' are specified in the seccomp profile, use only one")]
    NamesTwice,
    /// A kernel version that is none.
    #[error("invalid kernel version {0:?}")]
    KernelVersion(String),
    /// More rules than anybody needs.
    #[error("{0} rules are more than {MAX_RULES}")]
    TooMany(usize),
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Profile {
    default_action: String,
    default_errno_ret: Option<u32>,
    #[serde(default)]
    architectures: Vec<String>,
    #[serde(default)]
    arch_map: Vec<ArchMap>,
    #[serde(default)]
    flags: Vec<String>,
    #[serde(default)]
    syscalls: Option<Vec<Rule>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ArchMap {
    architecture: String,
    #[serde(default)]
    sub_architectures: Option<Vec<String>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Rule {
    #[serde(default)]
    name: String,
    #[serde(default)]
    names: Vec<String>,
    action: String,
    errno_ret: Option<u32>,
    #[serde(default)]
    args: Option<Vec<Value>>,
    #[serde(default)]
    includes: Option<Conditions>,
    #[serde(default)]
    excludes: Option<Conditions>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Conditions {
    caps: Vec<String>,
    arches: Vec<String>,
    min_kernel: String,
}

/// The `linux.seccomp` object of a profile, for a container with these capabilities.
pub(super) fn filter(text: &str, capabilities: &[&str]) -> Result<Value, ProfileError> {
    let profile: Profile = serde_json::from_str(text).map_err(ProfileError::Malformed)?;
    let rules = profile.syscalls.unwrap_or_default();
    if rules.len() > MAX_RULES {
        return Err(ProfileError::TooMany(rules.len()));
    }
    let mut kept = Vec::new();
    for rule in rules {
        if applies(&rule, capabilities)? {
            kept.push(plain(rule)?);
        }
    }
    let architectures = architectures(profile.architectures, profile.arch_map)?;
    let mut filter = json!({
        "defaultAction": profile.default_action,
        "architectures": architectures,
        "syscalls": kept,
    });
    if let Some(number) = profile.default_errno_ret {
        filter["defaultErrnoRet"] = number.into();
    }
    if !profile.flags.is_empty() {
        filter["flags"] = profile.flags.into();
    }
    Ok(filter)
}

fn architectures(plain: Vec<String>, mapped: Vec<ArchMap>) -> Result<Vec<String>, ProfileError> {
    if !plain.is_empty() && !mapped.is_empty() {
        return Err(ProfileError::ArchitecturesTwice);
    }
    let ours = mapped
        .into_iter()
        .find(|map| map.architecture == ARCHITECTURE.1);
    let mapped = ours.map(|map| {
        let mut all = vec![map.architecture];
        all.extend(map.sub_architectures.unwrap_or_default());
        all
    });
    Ok(mapped.unwrap_or(plain))
}

fn applies(rule: &Rule, capabilities: &[&str]) -> Result<bool, ProfileError> {
    if let Some(excludes) = &rule.excludes {
        let excluded = excludes.arches.iter().any(|name| name == ARCHITECTURE.0)
            || excludes
                .caps
                .iter()
                .any(|name| capabilities.contains(&name.as_str()))
            || !excludes.min_kernel.is_empty() && is_reached(&excludes.min_kernel)?;
        if excluded {
            return Ok(false);
        }
    }
    let Some(includes) = &rule.includes else {
        return Ok(true);
    };
    let architecture =
        includes.arches.is_empty() || includes.arches.iter().any(|name| name == ARCHITECTURE.0);
    let held = includes
        .caps
        .iter()
        .all(|name| capabilities.contains(&name.as_str()));
    let kernel = includes.min_kernel.is_empty() || is_reached(&includes.min_kernel)?;
    Ok(architecture && held && kernel)
}

/// Whether the machine's kernel is of this version or later.
fn is_reached(version: &str) -> Result<bool, ProfileError> {
    let parsed = version
        .split_once('.')
        .and_then(|(major, minor)| Some((major.parse::<u32>().ok()?, minor.parse::<u32>().ok()?)));
    let parsed = parsed.ok_or_else(|| ProfileError::KernelVersion(version.to_owned()))?;
    Ok(KERNEL_VERSION >= parsed)
}

/// A rule without its conditions.
fn plain(rule: Rule) -> Result<Value, ProfileError> {
    let names = match (rule.name.as_str(), rule.names) {
        ("", names) => names,
        (_, names) if !names.is_empty() => return Err(ProfileError::NamesTwice),
        (name, _) => vec![name.to_owned()],
    };
    let mut plain = json!({"names": names, "action": rule.action});
    if let Some(arguments) = rule.args.filter(|arguments| !arguments.is_empty()) {
        plain["args"] = arguments.into();
    }
    if let Some(number) = rule.errno_ret {
        plain["errnoRet"] = number.into();
    }
    Ok(plain)
}

#[cfg(test)]
mod tests {
    use super::*;

    const PROFILE: &str = r#"{"defaultAction":"SCMP_ACT_ERRNO","defaultErrnoRet":1,
        "archMap":[{"architecture":"SCMP_ARCH_X86_64","subArchitectures":["SCMP_ARCH_X86"]},
                   {"architecture":"SCMP_ARCH_AARCH64","subArchitectures":["SCMP_ARCH_ARM"]}],
        "syscalls":[
            {"names":["read","write"],"action":"SCMP_ACT_ALLOW"},
            {"name":"mount","action":"SCMP_ACT_ALLOW","includes":{"caps":["CAP_SYS_ADMIN"]}},
            {"names":["clone3"],"action":"SCMP_ACT_ERRNO","errnoRet":38,
             "excludes":{"caps":["CAP_SYS_ADMIN"]}},
            {"names":["ptrace"],"action":"SCMP_ACT_ALLOW","includes":{"minKernel":"4.8"}},
            {"names":["later"],"action":"SCMP_ACT_ALLOW","includes":{"minKernel":"99.0"}},
            {"names":["arm"],"action":"SCMP_ACT_ALLOW","includes":{"arches":["arm64"]}}]}"#;

    fn names(filter: &Value) -> Vec<&str> {
        let rules = filter["syscalls"].as_array().unwrap();
        let names = rules.iter().map(|rule| rule["names"][0].as_str().unwrap());
        names.collect()
    }

    #[test]
    fn rules_apply_by_capability_kernel_and_architecture() {
        let without = filter(PROFILE, &[]).unwrap();
        let with = filter(PROFILE, &["CAP_SYS_ADMIN"]).unwrap();

        assert_eq!(names(&without), ["read", "clone3", "ptrace"]);
        assert_eq!(names(&with), ["read", "mount", "ptrace"]);
    }

    #[test]
    fn the_architecture_comes_with_its_relatives() {
        let filter = filter(PROFILE, &[]).unwrap();

        assert_eq!(
            filter["architectures"],
            json!(["SCMP_ARCH_X86_64", "SCMP_ARCH_X86"])
        );
        assert_eq!(filter["defaultErrnoRet"], 1);
    }

    #[test]
    fn refuses_what_says_the_same_twice() {
        let text = r#"{"defaultAction":"SCMP_ACT_ALLOW",
            "syscalls":[{"name":"a","names":["b"],"action":"SCMP_ACT_ERRNO"}]}"#;

        assert!(matches!(filter(text, &[]), Err(ProfileError::NamesTwice)));
        assert!(matches!(filter("{}", &[]), Err(ProfileError::Malformed(_))));
    }
}
