//! The built kernels' configurations against what containers need: moby's documented requirements,
//! and our own promises (a reason for every option, no modules).
//!
//! The requirements are the facts that moby's configuration check reports for a kernel this new on a
//! cgroup v2 host. What we do without is listed with the reason; an exception that has become
//! untrue fails too, so that the list stays the truth.

use std::fs;

use dhow_xtask::kernel::config::{Config, options_without_reason};
use dhow_xtask::kernel::{self, Arch};
use dhow_xtask::workspace;

/// Named "generally necessary".
const NECESSARY: &[&str] = &[
    "NAMESPACES",
    "NET_NS",
    "PID_NS",
    "IPC_NS",
    "UTS_NS",
    "CGROUPS",
    "CGROUP_SCHED",
    "CGROUP_BPF",
    "KEYS",
    "POSIX_MQUEUE",
    "VETH",
    "BRIDGE",
    "BRIDGE_NETFILTER",
    "IP_NF_FILTER",
    "IP_NF_MANGLE",
    "IP_NF_RAW",
    "IP_NF_NAT",
    "IP_NF_TARGET_MASQUERADE",
    "IP6_NF_FILTER",
    "IP6_NF_MANGLE",
    "IP6_NF_RAW",
    "IP6_NF_NAT",
    "IP6_NF_TARGET_MASQUERADE",
    "NF_NAT",
    "NETFILTER_XT_MARK",
    "NETFILTER_XT_MATCH_ADDRTYPE",
    "NETFILTER_XT_MATCH_CONNTRACK",
    "NETFILTER_XT_MATCH_IPVS",
];

/// The cgroup v2 controllers `cpu cpuset io memory pids`, by the option that brings each.
const CONTROLLERS: &[&str] = &[
    "FAIR_GROUP_SCHED",
    "CPUSETS",
    "BLK_CGROUP",
    "MEMCG",
    "CGROUP_PIDS",
];

/// Named "optional": security, limits, load balancing, file systems.
const OPTIONAL: &[&str] = &[
    "USER_NS",
    "SECCOMP",
    "SECCOMP_FILTER",
    "BLK_DEV_THROTTLING",
    "CFS_BANDWIDTH",
    "CGROUP_PERF",
    "CGROUP_HUGETLB",
    "NET_CLS_CGROUP",
    "CGROUP_NET_PRIO",
    "IP_NF_TARGET_REDIRECT",
    "IP_VS",
    "IP_VS_NFCT",
    "IP_VS_PROTO_TCP",
    "IP_VS_PROTO_UDP",
    "IP_VS_RR",
    "SECURITY_SELINUX",
    "SECURITY_APPARMOR",
    "EXT4_FS",
    "EXT4_FS_POSIX_ACL",
    "EXT4_FS_SECURITY",
    "EXT4_USE_FOR_EXT2",
];

/// Network drivers overlay (also encrypted), ipvlan, macvlan; FTP and TFTP clients behind NAT.
const NETWORK_DRIVERS: &[&str] = &[
    "VXLAN",
    "BRIDGE_VLAN_FILTERING",
    "CRYPTO",
    "CRYPTO_AEAD",
    "CRYPTO_GCM",
    "CRYPTO_SEQIV",
    "CRYPTO_GHASH",
    "XFRM",
    "XFRM_USER",
    "XFRM_ALGO",
    "INET_ESP",
    "NETFILTER_XT_MATCH_BPF",
    "IPVLAN",
    "MACVLAN",
    "DUMMY",
    "NF_NAT_FTP",
    "NF_CONNTRACK_FTP",
    "NF_NAT_TFTP",
    "NF_CONNTRACK_TFTP",
];

/// Storage driver overlay; the one we use.
const STORAGE: &[&str] = &["OVERLAY_FS"];

/// Why an option is not there.
type Exception = (&'static str, &'static str);

/// Absent on every architecture.
const EXCEPTIONS: &[Exception] = &[
    (
        "CGROUP_PERF",
        "needs perf events, which UML lacks; no Docker option leads to it",
    ),
    (
        "CGROUP_HUGETLB",
        "no huge page pool is configured in a machine",
    ),
    (
        "NET_CLS_CGROUP",
        "a cgroup v1 controller; machines mount v2 only",
    ),
    (
        "CGROUP_NET_PRIO",
        "a cgroup v1 controller; machines mount v2 only",
    ),
    (
        "SECURITY_SELINUX",
        "policies are for hosts; the machine is the wall around its containers",
    ),
    (
        "SECURITY_APPARMOR",
        "policies are for hosts; the machine is the wall around its containers",
    ),
    (
        "CRYPTO_AEAD",
        "encrypted swarm networks only; no swarm spans our machines",
    ),
    (
        "CRYPTO_GCM",
        "encrypted swarm networks only; no swarm spans our machines",
    ),
    (
        "CRYPTO_SEQIV",
        "encrypted swarm networks only; no swarm spans our machines",
    ),
    (
        "CRYPTO_GHASH",
        "encrypted swarm networks only; no swarm spans our machines",
    ),
    (
        "XFRM",
        "encrypted swarm networks only; no swarm spans our machines",
    ),
    (
        "XFRM_USER",
        "encrypted swarm networks only; no swarm spans our machines",
    ),
    (
        "XFRM_ALGO",
        "encrypted swarm networks only; no swarm spans our machines",
    ),
    (
        "INET_ESP",
        "encrypted swarm networks only; no swarm spans our machines",
    ),
    (
        "NETFILTER_XT_MATCH_BPF",
        "encrypted swarm networks only; no swarm spans our machines",
    ),
    (
        "NF_NAT_FTP",
        "the guest does no NAT outward, so there is nothing to rewrite",
    ),
    (
        "NF_CONNTRACK_FTP",
        "the guest does no NAT outward, so there is nothing to rewrite",
    ),
    (
        "NF_NAT_TFTP",
        "the guest does no NAT outward, so there is nothing to rewrite",
    ),
    (
        "NF_CONNTRACK_TFTP",
        "the guest does no NAT outward, so there is nothing to rewrite",
    ),
];

/// Absent under User Mode Linux beyond that.
const EXCEPTIONS_UM: &[Exception] = &[(
    "CPUSETS",
    "depends on SMP, and arch/um has one CPU in Linux 6.12",
)];

/// Requirements that the configuration neither has nor is excused from, and excuses not needed.
fn judge(config: &Config, exceptions: &[Exception]) -> Vec<String> {
    let required = [NECESSARY, CONTROLLERS, OPTIONAL, NETWORK_DRIVERS, STORAGE].concat();
    let excused = |option: &str| exceptions.iter().any(|&(name, _)| name == option);
    let missing = required
        .iter()
        .filter(|option| !config.is_built_in(option) && !excused(option))
        .map(|option| format!("CONFIG_{option} is missing"));
    let stale = exceptions
        .iter()
        .filter(|(option, _)| config.is_built_in(option))
        .map(|(option, reason)| format!("CONFIG_{option} is there, yet excused: {reason}"));
    let unknown = exceptions
        .iter()
        .filter(|(option, _)| !required.contains(option))
        .map(|(option, _)| format!("CONFIG_{option} is excused, yet nobody asks for it"));
    missing.chain(stale).chain(unknown).collect()
}

fn configuration(arch: Arch) -> Config {
    let built = kernel::built(arch).expect("the kernel's inputs are readable");
    let kernel = built.expect("no kernel of this configuration yet: run `cargo xtask kernel`");
    Config::parse(&fs::read_to_string(kernel.config).expect("the kernel's configuration"))
}

#[test]
fn the_um_kernel_has_what_moby_requires() {
    let config = configuration(Arch::Um);

    let complaints = judge(&config, &[EXCEPTIONS, EXCEPTIONS_UM].concat());

    assert_eq!(complaints, [""; 0]);
}

#[test]
fn the_x86_64_kernel_has_what_moby_requires() {
    let config = configuration(Arch::X86_64);

    let complaints = judge(&config, EXCEPTIONS);

    assert_eq!(complaints, [""; 0]);
}

#[test]
fn no_kernel_has_modules() {
    assert_eq!(configuration(Arch::Um).modules(), [""; 0]);
    assert_eq!(configuration(Arch::X86_64).modules(), [""; 0]);
}

#[test]
fn a_missing_requirement_and_a_stale_exception_are_both_named() {
    let config = Config::parse("CONFIG_SECURITY_SELINUX=y\n");

    let complaints = judge(&config, EXCEPTIONS);

    assert!(complaints.contains(&"CONFIG_VETH is missing".to_owned()));
    assert!(
        complaints
            .iter()
            .any(|line| line.starts_with("CONFIG_SECURITY_SELINUX is there"))
    );
}

#[test]
fn every_option_in_a_fragment_has_a_reason() {
    let folder = workspace::root().join("kernel-config");
    let entries = fs::read_dir(folder).expect("kernel-config/");
    let fragments = entries
        .map(|entry| entry.expect("an entry").path())
        .filter(|path| {
            path.extension()
                .is_some_and(|extension| extension == "config")
        })
        .map(|path| fs::read_to_string(path).expect("a fragment"));

    let unexplained: Vec<String> = fragments
        .map(|text| options_without_reason(&text).join(" "))
        .filter(|options| !options.is_empty())
        .collect();

    assert_eq!(unexplained, [""; 0]);
}
