//! What each virtual CPU says it is: what KVM supports, with the topology made our own.
//!
//! Every vCPU is one core of one package without hyper-threads; its APIC ID is its index.

use kvm_bindings::{CpuId, kvm_cpuid_entry2};

/// Leaf 1: version, APIC ID and features.
const LEAF_FEATURES: u32 = 0x1;
/// Leaf 4: caches and cores, on Intel.
const LEAF_CACHES: u32 = 0x4;
/// Leaf 0xa: performance counters, which the machine does not have.
const LEAF_COUNTERS: u32 = 0xa;
/// Leaf 0xb: the x2APIC topology.
const LEAF_TOPOLOGY: u32 = 0xb;
/// Leaf 0x1f: topology with dies; left out, so that leaf 0xb is read.
const LEAF_DIE_TOPOLOGY: u32 = 0x1f;
/// Leaf 0xd: the parts of the processor's state that XSAVE can save.
const LEAF_STATE: u32 = 0xd;
/// Number of cores, on AMD.
const LEAF_AMD_CORES: u32 = 0x8000_0008;
/// Caches, on AMD.
const LEAF_AMD_CACHES: u32 = 0x8000_001d;
/// APIC ID, core and node, on AMD.
const LEAF_AMD_TOPOLOGY: u32 = 0x8000_001e;

/// Leaf 1 `ecx`: the local APIC's timer takes a TSC deadline. KVM leaves it out of what it
/// supports, for it depends on the in-kernel interrupt controller, which we use.
const ECX_TSC_DEADLINE: u32 = 1 << 24;
/// Leaf 1 `ecx`: there is a hypervisor.
const ECX_HYPERVISOR: u32 = 1 << 31;
/// Leaf 1 `edx`: more than one logical processor in the package.
const EDX_MULTIPLE: u32 = 1 << 28;
/// Leaf 1 `ebx` bits 15:8: the cache line flushed by `clflush`, in units of 8 bytes.
const CACHE_LINE_QWORDS: u32 = 8;
/// Leaf 0xb: level types.
const LEVEL_THREAD: u32 = 1;
const LEVEL_CORE: u32 = 2;
/// The lowest cache level that all cores share.
const SHARED_CACHE_LEVEL: u32 = 3;
/// `KVM_CPUID_FLAG_SIGNIFCANT_INDEX`: the entry is for one value of `ecx`.
const BY_INDEX: u32 = kvm_bindings::KVM_CPUID_FLAG_SIGNIFCANT_INDEX;

/// What one vCPU's answers depend on.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Cpu {
    /// Its index and APIC ID.
    pub(crate) index: u8,
    /// How many there are.
    pub(crate) count: u8,
    /// Whether KVM's local APIC has a TSC deadline timer.
    pub(crate) tsc_deadline: bool,
}

/// The answers of one vCPU, from those that KVM supports.
pub(crate) fn answers(supported: &CpuId, cpu: Cpu) -> Result<CpuId, vmm_sys_util::fam::Error> {
    let mut entries: Vec<_> = supported
        .as_slice()
        .iter()
        .filter(|entry| !matches!(entry.function, LEAF_TOPOLOGY | LEAF_DIE_TOPOLOGY))
        .copied()
        .collect();
    for entry in &mut entries {
        adjust(entry, cpu);
    }
    let last_leaf = entries
        .iter()
        .find(|entry| entry.function == 0)
        .map_or(0, |entry| entry.eax);
    if last_leaf >= LEAF_TOPOLOGY {
        entries.extend(topology(cpu));
    }
    CpuId::from_entries(&entries)
}

/// Every part of the state that XSAVE can save, as a value of `xcr0`; none where it cannot.
pub(crate) fn state_components(supported: &CpuId) -> Option<u64> {
    let leaf = supported
        .as_slice()
        .iter()
        .find(|entry| entry.function == LEAF_STATE && entry.index == 0)?;
    let components = u64::from(leaf.eax) | (u64::from(leaf.edx) << 32);
    (components != 0).then_some(components)
}

fn adjust(entry: &mut kvm_cpuid_entry2, cpu: Cpu) {
    let (index, count) = (u32::from(cpu.index), u32::from(cpu.count));
    match entry.function {
        LEAF_FEATURES => {
            entry.ebx = (index << 24)
                | (count.next_power_of_two() << 16)
                | (CACHE_LINE_QWORDS << 8)
                | (entry.ebx & 0xff);
            entry.ecx |= ECX_HYPERVISOR;
            set(&mut entry.ecx, ECX_TSC_DEADLINE, cpu.tsc_deadline);
            set(&mut entry.edx, EDX_MULTIPLE, count > 1);
        }
        // Bits 31:26: cores of the package, less one; 25:14: CPUs that share the cache, less one.
        LEAF_CACHES if entry.eax & 0x1f != 0 => {
            entry.eax =
                (entry.eax & 0x3fff) | ((count - 1) << 26) | (sharing(entry.eax, count) << 14);
        }
        LEAF_AMD_CACHES if entry.eax & 0x1f != 0 => {
            entry.eax = (entry.eax & 0x3fff) | (sharing(entry.eax, count) << 14);
        }
        LEAF_COUNTERS => (entry.eax, entry.ebx, entry.ecx, entry.edx) = (0, 0, 0, 0),
        // Bits 15:12: width of an APIC ID; 7:0: cores, less one.
        LEAF_AMD_CORES => entry.ecx = (identifier_bits(cpu.count) << 12) | (count - 1),
        // Extended APIC ID; core ID with one thread a core; node 0 of one.
        LEAF_AMD_TOPOLOGY => (entry.eax, entry.ebx, entry.ecx) = (index, index, 0),
        _ => {}
    }
}

/// How many CPUs share the cache described by `eax` of a cache leaf, less one.
fn sharing(eax: u32, count: u32) -> u32 {
    let level = (eax >> 5) & 0x7;
    if level >= SHARED_CACHE_LEVEL {
        count - 1
    } else {
        0
    }
}

/// Leaf 0xb: one thread a core, all cores in one package.
fn topology(cpu: Cpu) -> [kvm_cpuid_entry2; 2] {
    let level = |index, shift, processors, kind: u32| kvm_cpuid_entry2 {
        function: LEAF_TOPOLOGY,
        index,
        flags: BY_INDEX,
        eax: shift,
        ebx: processors,
        ecx: (kind << 8) | index,
        edx: u32::from(cpu.index),
        ..Default::default()
    };
    [
        level(0, 0, 1, LEVEL_THREAD),
        level(
            1,
            identifier_bits(cpu.count),
            u32::from(cpu.count),
            LEVEL_CORE,
        ),
    ]
}

/// Bits of an APIC ID that tell `count` cores apart.
fn identifier_bits(count: u8) -> u32 {
    count.next_power_of_two().trailing_zeros()
}

fn set(register: &mut u32, bit: u32, on: bool) {
    if on {
        *register |= bit;
    } else {
        *register &= !bit;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(function: u32, eax: u32) -> kvm_cpuid_entry2 {
        kvm_cpuid_entry2 {
            function,
            eax,
            ..Default::default()
        }
    }

    fn second_of_three(supported: &[kvm_cpuid_entry2]) -> Vec<kvm_cpuid_entry2> {
        let supported = CpuId::from_entries(supported).unwrap();
        let cpu = Cpu {
            index: 1,
            count: 3,
            tsc_deadline: true,
        };
        answers(&supported, cpu).unwrap().as_slice().to_vec()
    }

    #[test]
    fn tells_each_cpu_its_own_apic_identifier() {
        let answers = second_of_three(&[entry(LEAF_FEATURES, 0)]);

        assert_eq!(answers[0].ebx >> 24, 1);
        assert_eq!(answers[0].ecx & ECX_HYPERVISOR, ECX_HYPERVISOR);
    }

    #[test]
    fn finds_the_state_that_can_be_saved() {
        let supported = CpuId::from_entries(&[entry(LEAF_STATE, 7)]).unwrap();

        assert_eq!(state_components(&supported), Some(7));
    }

    #[test]
    fn replaces_the_hosts_topology() {
        let answers = second_of_three(&[entry(0, 0xd), entry(LEAF_TOPOLOGY, 99)]);

        let levels: Vec<_> = answers
            .iter()
            .filter(|answer| answer.function == 0xb)
            .collect();
        assert_eq!((levels[0].eax, levels[0].ebx, levels[0].edx), (0, 1, 1));
        assert_eq!((levels[1].eax, levels[1].ebx, levels[1].edx), (2, 3, 1));
    }

    #[test]
    fn adds_no_topology_to_a_cpu_without_that_leaf() {
        let answers = second_of_three(&[entry(0, 0xa)]);

        assert_eq!(answers.len(), 1);
    }
}
