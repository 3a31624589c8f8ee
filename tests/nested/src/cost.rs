//! What a machine that runs costs its host: exits, and memory beyond the guest's own.

use std::fs;
use std::path::Path;

use anyhow::Context as _;

/// Where KVM counts what its machines do, summed over those that live.
const COUNTERS: &str = "/sys/kernel/debug/kvm";

/// A machine's cost at one moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cost {
    /// Times that the guest was left, of all machines; none where KVM's counters are not there.
    pub exits: Option<u64>,
    /// Memory of the process alone that no file backs, in KiB, without the guest's memory.
    pub anonymous_kib: u64,
    /// The process's resident memory in KiB, without the guest's memory.
    pub resident_kib: u64,
}

impl Cost {
    /// Of the process `id`, whose mappings of at least `guest_kib` are the guest's memory.
    ///
    /// # Errors
    /// Where the process is gone.
    pub fn of(id: u32, guest_kib: u64) -> anyhow::Result<Self> {
        let path = format!("/proc/{id}/smaps");
        let text = fs::read_to_string(&path).with_context(|| format!("failed to read {path}"))?;
        let (anonymous_kib, resident_kib) = beyond(&text, guest_kib);
        Ok(Self {
            exits: counter("exits"),
            anonymous_kib,
            resident_kib,
        })
    }
}

/// One of KVM's counters.
#[must_use]
pub fn counter(name: &str) -> Option<u64> {
    let text = fs::read_to_string(Path::new(COUNTERS).join(name)).ok()?;
    text.trim().parse().ok()
}

/// Anonymous and resident KiB of the mappings smaller than `guest_kib` (`/proc/PID/smaps`).
fn beyond(text: &str, guest_kib: u64) -> (u64, u64) {
    let (mut anonymous, mut resident) = (0, 0);
    let mut counted = false;
    for line in text.lines() {
        let mut words = line.split_whitespace();
        let (Some(name), Some(value)) = (words.next(), words.next()) else {
            continue;
        };
        let value: u64 = value.parse().unwrap_or_default();
        match name {
            "Size:" => counted = value < guest_kib,
            "Rss:" if counted => resident += value,
            "Anonymous:" if counted => anonymous += value,
            _ => {}
        }
    }
    (anonymous, resident)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn leaves_guest_memory_out() {
        let text = "7f00-7f01 rw-p 0 00:00 0\nSize: 1024 kB\nRss: 800 kB\nAnonymous: 700 kB\n\
                    5500-5501 rw-p 0 00:00 0 [heap]\nSize: 64 kB\nRss: 8 kB\nAnonymous: 4 kB\n";

        assert_eq!(beyond(text, 1024), (4, 8));
    }
}
