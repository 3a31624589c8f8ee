//! What the process with the devices uses beyond the guest's memory, after a container ran.
//!
//! Counted is every page that it has in memory, those of the program's file included, which it
//! shares with the daemon: more than it costs, never less.

use std::fs;

use anyhow::{Context as _, ensure};
use dhow_harness::BUSYBOX;

use crate::figures::Pairs;
use crate::stage::Dhow;

/// How a mapping that is shared and can be written is marked: of these the guest's memory is the
/// only one, and its file has no name any more that would tell.
const GUEST_MEMORY: &str = "rw-s";

pub(super) fn measure(rounds: usize) -> anyhow::Result<Pairs> {
    let dhow = Dhow::with_image(BUSYBOX)?;
    let mut figures = Vec::new();
    for _ in 0..rounds {
        dhow.run(&["run", "--rm", BUSYBOX, "true"])?;
        let processes = dhow.processes("dhow devices");
        ensure!(
            processes.len() == 1,
            "{} processes have devices",
            processes.len()
        );
        let path = format!("/proc/{}/smaps", processes[0]);
        let text = fs::read_to_string(&path).with_context(|| format!("failed to read {path}"))?;
        figures.push(beyond_guest(&text)?);
    }
    Ok(Pairs {
        ours: figures.into(),
        ..Pairs::default()
    })
}

/// Bytes in memory of all mappings but the guest's.
fn beyond_guest(smaps: &str) -> anyhow::Result<f64> {
    let (mut total, mut counted, mut guest_seen) = (0.0, false, false);
    for line in smaps.lines() {
        if let Some(resident) = line.strip_prefix("Rss:") {
            let kibibytes = resident.trim().trim_end_matches(" kB");
            let kibibytes: f64 = kibibytes.parse().context("an unknown kind of smaps")?;
            total += if counted { kibibytes * 1024.0 } else { 0.0 };
        } else if let Some(permissions) = permissions(line) {
            counted = permissions != GUEST_MEMORY;
            guest_seen |= !counted;
        }
    }
    ensure!(guest_seen, "the guest's memory is not among the mappings");
    Ok(total)
}

/// The permissions in a line that begins a mapping: `7f00-7f80 rw-p …`. Other lines have a colon
/// after their first word.
fn permissions(line: &str) -> Option<&str> {
    let mut words = line.split_whitespace();
    let range = words.next()?;
    let begins = range.contains('-') && !range.ends_with(':');
    words.next().filter(|_| begins)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn guest_memory_does_not_count() {
        let smaps = "\
00400000-00500000 r-xp 00000000 fe:00 42 /usr/bin/dhow\n\
Size:               1024 kB\n\
Rss:                 100 kB\n\
7f0000000000-7f0010000000 rw-s 00000000 00:1a 7 /dev/shm/#7 (deleted)\n\
Size:             262144 kB\n\
Rss:               30000 kB\n\
7ffc00000000-7ffc00021000 rw-p 00000000 00:00 0 [stack]\n\
Rss:                  12 kB\n";

        assert_eq!(beyond_guest(smaps).expect("figures"), 112.0 * 1024.0);
    }

    #[test]
    fn a_process_without_guest_memory_is_the_wrong_one() {
        let smaps = "00400000-00500000 r-xp 0 fe:00 42 /bin/dhow\nRss: 1 kB\n";

        let error = beyond_guest(smaps).expect_err("no guest memory");

        assert!(error.to_string().contains("guest's memory"), "{error}");
    }
}
