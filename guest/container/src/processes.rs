//! Lists the processes of a running container, from `/proc` of this machine.

use std::collections::HashSet;
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use dhow_protocol::{Failure, FailureKind, ProcessFacts};

use crate::cgroup::CgroupError;
use crate::container::LookupError;
use crate::runtime::Runtime;

/// The most processes told of at once: a container without a limit may have any number, and a
/// message has room for so many.
const MAX_PROCESSES: usize = 4096;

/// The most of a command line that is told, in bytes. `ps` cuts it to the terminal's width.
const MAX_COMMAND_BYTES: usize = 512;

/// Clock ticks of `/proc/PID/stat` in a second (`sysconf(_SC_CLK_TCK)`, 100 on every Linux that
/// programs are compiled for).
const TICKS_PER_SECOND: u64 = 100;

const MILLISECONDS_PER_TICK: u64 = 1000 / TICKS_PER_SECOND;

/// Major numbers of pseudo terminals (`Documentation/admin-guide/devices.txt`).
const PTS_MAJORS: std::ops::RangeInclusive<u32> = 136..=143;

/// Why the processes were not listed.
#[derive(Debug, thiserror::Error)]
pub enum ProcessesError {
    /// There is no such container.
    #[error(transparent)]
    Lookup(#[from] LookupError),
    /// The group cannot be read.
    #[error("failed to list the processes of container {container}")]
    Group {
        /// The container.
        container: String,
        /// Why.
        #[source]
        source: CgroupError,
    },
    /// The machine's clock cannot be read.
    #[error("failed to read the machine's uptime")]
    Uptime(#[source] io::Error),
}

impl ProcessesError {
    /// The error as the host is told it.
    #[must_use]
    pub fn failure(&self) -> Failure {
        let kind = match self {
            Self::Lookup(error) => error.kind(),
            Self::Group { .. } | Self::Uptime(_) => FailureKind::Internal,
        };
        crate::failure(kind, self)
    }
}

impl Runtime {
    /// The processes of a running container, by process id. One that ends meanwhile is left out.
    ///
    /// # Errors
    /// [`ProcessesError`].
    pub fn processes(&self, container: &str) -> Result<Vec<ProcessFacts>, ProcessesError> {
        let found = self.register.get(container)?;
        let ids = found.cgroup.process_ids(MAX_PROCESSES);
        let ids = ids.map_err(|source| ProcessesError::Group {
            container: container.to_owned(),
            source,
        })?;
        let booted_ms = boot_time_ms().map_err(ProcessesError::Uptime)?;
        let unique: HashSet<u32> = ids.into_iter().collect();
        let mut facts: Vec<ProcessFacts> = unique
            .into_iter()
            .filter_map(|id| process(&Path::new("/proc").join(id.to_string()), booted_ms))
            .collect();
        facts.sort_unstable_by_key(|process| process.pid);
        Ok(facts)
    }
}

/// When the machine was started, in milliseconds since 1970 by its own clock.
fn boot_time_ms() -> io::Result<u64> {
    let uptime = fs::read_to_string("/proc/uptime")?;
    let uptime_ms = decimal_ms(uptime.split(' ').next().unwrap_or_default());
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    let now_ms = now.map_or(0, |now| u64::try_from(now.as_millis()).unwrap_or(u64::MAX));
    Ok(now_ms.saturating_sub(uptime_ms))
}

/// `12.34` seconds as milliseconds.
fn decimal_ms(text: &str) -> u64 {
    let (seconds, hundredths) = text.split_once('.').unwrap_or((text, "0"));
    let part = |text: &str| text.trim().parse::<u64>().unwrap_or(0);
    part(seconds) * 1000 + part(hundredths) * 10
}

/// One process from its folder in `/proc`; `None` once it has gone.
fn process(folder: &Path, booted_ms: u64) -> Option<ProcessFacts> {
    let stat = fs::read_to_string(folder.join("stat")).ok()?;
    let uid = fs::metadata(folder).ok()?.uid();
    let mut facts = parse_stat(&stat, booted_ms)?;
    facts.uid = effective_uid(&fs::read_to_string(folder.join("status")).ok()?).unwrap_or(uid);
    let line = fs::read(folder.join("cmdline")).ok()?;
    if !line.is_empty() {
        facts.command = command(&line);
    }
    Some(facts)
}

/// The second number of the `Uid:` line. The folder's owner is root where a process is not dumpable.
fn effective_uid(status: &str) -> Option<u32> {
    let line = status.lines().find_map(|line| line.strip_prefix("Uid:"))?;
    line.split_whitespace().nth(1)?.parse().ok()
}

/// Arguments with spaces between, cut.
fn command(line: &[u8]) -> String {
    let line = line.strip_suffix(&[0]).unwrap_or(line);
    let cut = &line[..line.len().min(MAX_COMMAND_BYTES)];
    String::from_utf8_lossy(cut).replace('\0', " ")
}

/// What `/proc/PID/stat` tells; see proc(5), whose fields are counted from 1.
fn parse_stat(stat: &str, booted_ms: u64) -> Option<ProcessFacts> {
    // The name is in parentheses and may hold anything, parentheses too.
    let (pid, rest) = stat.split_once(" (")?;
    let (name, rest) = rest.rsplit_once(") ")?;
    let fields: Vec<&str> = rest.split(' ').collect();
    // The first of these is field 3.
    let field = |number: usize| fields.get(number - 3).copied().unwrap_or_default();
    let number = |at: usize| field(at).parse::<u64>().unwrap_or(0);
    Some(ProcessFacts {
        pid: pid.parse().ok()?,
        parent: field(4).parse().ok()?,
        uid: 0,
        state: field(3).chars().next()?,
        terminal: field(7).parse().ok().and_then(pts_number),
        cpu_ms: (number(14) + number(15)) * MILLISECONDS_PER_TICK,
        started_unix_ms: booted_ms + number(22) * MILLISECONDS_PER_TICK,
        virtual_bytes: number(23),
        resident_bytes: number(24) * page_bytes(),
        command: format!("[{name}]"),
    })
}

fn page_bytes() -> u64 {
    u64::try_from(rustix::param::page_size()).unwrap_or(0)
}

/// The number of the pseudo terminal behind a device number.
fn pts_number(device: i64) -> Option<u32> {
    let device = u64::try_from(device).ok()?;
    let (major, minor) = (rustix::fs::major(device), rustix::fs::minor(device));
    PTS_MAJORS
        .contains(&major)
        .then(|| (major - PTS_MAJORS.start()) * 256 + minor)
}

#[cfg(test)]
mod tests {
    use super::*;

    const STAT: &str = "42 (a) (b) S 7 42 42 34816 42 4194560 1 2 3 4 150 50 0 0 20 0 1 0 300 \
                        4096000 10 0";

    #[test]
    fn a_name_may_look_like_fields() {
        let facts = parse_stat(STAT, 1_000_000).unwrap();

        assert_eq!((facts.pid, facts.parent, facts.state), (42, 7, 'S'));
        assert_eq!(facts.command, "[a) (b]");
    }

    #[test]
    fn ticks_become_milliseconds() {
        let facts = parse_stat(STAT, 1_000_000).unwrap();

        assert_eq!((facts.cpu_ms, facts.started_unix_ms), (2000, 1_003_000));
        assert_eq!(facts.terminal, Some(0));
    }

    #[test]
    fn a_command_line_has_spaces_for_zeros() {
        assert_eq!(command(b"sleep\x001000\0"), "sleep 1000");
        assert_eq!(command(&[b'x'; 10_000]).len(), MAX_COMMAND_BYTES);
    }

    #[test]
    fn our_own_process_is_found() {
        let facts = process(Path::new("/proc/self"), boot_time_ms().unwrap()).unwrap();

        assert_eq!(facts.pid, std::process::id());
        assert!(facts.resident_bytes > 0);
    }
}
