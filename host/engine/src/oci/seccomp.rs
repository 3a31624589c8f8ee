//! Docker's default system call filter: rules for what [`super::seccomp_calls`] allows, and for calls
//! that depend on an argument. Anything else fails with EPERM. Sockets to the host (`AF_VSOCK`) are
//! the agent's alone.

use serde_json::{Value, json};

use super::seccomp_calls::{ALWAYS, WITH_CAPABILITY};
use super::seccomp_profile::{self, ProfileError};
use super::security::{SeccompChoice, Security};

/// Error number of a refused call.
const EPERM: u32 = 1;

/// Error number of calls that programs must take for missing, to fall back to an older one.
const ENOSYS: u32 = 38;

/// The address family of sockets between a machine and its host.
const AF_VSOCK: u64 = 40;

/// The flags of clone(2) that make namespaces.
const CLONE_NAMESPACE_FLAGS: u64 = 0x7e02_0000;

/// Execution domains that personality(2) may set: Linux, Linux with 32-bit uname, without address
/// randomisation (two spellings), and the query.
const PERSONALITIES: [u64; 5] = [0x0, 0x0008, 0x2_0000, 0x2_0008, 0xffff_ffff];

/// The `linux.seccomp` object, or `None` where nothing is filtered.
pub(super) fn filter(
    privileged: bool,
    security: &Security,
    capabilities: &[&str],
) -> Result<Option<Value>, ProfileError> {
    match &security.seccomp {
        SeccompChoice::Default if privileged => Ok(None),
        SeccompChoice::Default => Ok(Some(default_filter(capabilities))),
        SeccompChoice::Unconfined => Ok(None),
        SeccompChoice::Profile(text) => seccomp_profile::filter(text, capabilities).map(Some),
    }
}

fn default_filter(capabilities: &[&str]) -> Value {
    let mut rules = vec![
        json!({"names": ALWAYS.as_slice(), "action": "SCMP_ACT_ALLOW"}),
        json!({
            "names": ["socket"],
            "action": "SCMP_ACT_ALLOW",
            "args": [{"index": 0, "value": AF_VSOCK, "op": "SCMP_CMP_NE"}],
        }),
    ];
    rules.extend(PERSONALITIES.map(|personality| {
        json!({
            "names": ["personality"],
            "action": "SCMP_ACT_ALLOW",
            "args": [{"index": 0, "value": personality, "op": "SCMP_CMP_EQ"}],
        })
    }));
    for (capability, names) in WITH_CAPABILITY {
        if capabilities.contains(&capability) {
            rules.push(json!({"names": names, "action": "SCMP_ACT_ALLOW"}));
        }
    }
    if !capabilities.contains(&"CAP_SYS_ADMIN") {
        rules.extend(threads_without_namespaces());
    }
    json!({
        "defaultAction": "SCMP_ACT_ERRNO",
        "defaultErrnoRet": EPERM,
        "architectures": ["SCMP_ARCH_X86_64"],
        "syscalls": rules,
    })
}

/// clone(2) without namespaces. clone3(2) takes its flags from memory, which a filter cannot read,
/// so it is taken for missing.
fn threads_without_namespaces() -> [Value; 2] {
    [
        json!({
            "names": ["clone"],
            "action": "SCMP_ACT_ALLOW",
            "args": [{
                "index": 0,
                "value": CLONE_NAMESPACE_FLAGS,
                "valueTwo": 0,
                "op": "SCMP_CMP_MASKED_EQ",
            }],
        }),
        json!({"names": ["clone3"], "action": "SCMP_ACT_ERRNO", "errnoRet": ENOSYS}),
    ]
}
