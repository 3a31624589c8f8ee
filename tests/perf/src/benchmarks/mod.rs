//! What is measured: a line for each promise, the measuring in a module of its own.

mod boot;
mod compute;
mod load;
mod memory;
mod nested;
mod port;
mod pull;
mod run;

use std::panic::{self, AssertUnwindSafe};

use crate::figures::{Goal, Pairs, Unit};
use crate::table::Row;
use crate::traffic::Direction;

/// One promise and how it is measured.
#[derive(Clone, Copy, Debug)]
pub struct Benchmark {
    /// How one asks for it.
    pub name: &'static str,
    /// What is measured.
    pub what: &'static str,
    /// Against what; empty where there is no peer.
    pub peer: &'static str,
    /// What the figures count.
    pub unit: Unit,
    /// What must be reached.
    pub goal: Goal,
    /// How often each side is measured unless asked otherwise.
    pub rounds: usize,
    measure: fn(usize) -> anyhow::Result<Pairs>,
}

/// Devices are lean: what a process may use beyond the guest's memory.
const DEVICE_BYTES: f64 = 8.0 * 1024.0 * 1024.0;

const PODMAN: &str = "podman run (runc)";
const HOST_FORWARD: &str = "QEMU hostfwd (TCG)";

/// Every benchmark, in the order of `docs/spec.md`.
pub const ALL: [Benchmark; 14] = [
    Benchmark {
        name: "boot",
        what: "machine start → agent answered",
        peer: "QEMU microvm (TCG)",
        unit: Unit::Seconds,
        goal: Goal::RatioAtMost(0.2),
        rounds: 10,
        measure: boot::measure,
    },
    Benchmark {
        name: "cold",
        what: "cold run --rm busybox true",
        peer: PODMAN,
        unit: Unit::Seconds,
        goal: Goal::RatioAtMost(1.5),
        rounds: 10,
        measure: run::cold,
    },
    Benchmark {
        name: "warm",
        what: "warm run --rm busybox true",
        peer: PODMAN,
        unit: Unit::Seconds,
        goal: Goal::RatioAtMost(0.5),
        rounds: 20,
        measure: run::warm,
    },
    Benchmark {
        name: "exec",
        what: "exec web true",
        peer: PODMAN,
        unit: Unit::Seconds,
        goal: Goal::RatioAtMost(0.2),
        rounds: 20,
        measure: run::exec,
    },
    Benchmark {
        name: "cpu",
        what: "CPU-bound work in a container",
        peer: "native",
        unit: Unit::Seconds,
        goal: Goal::RatioAtMost(1.05),
        rounds: 5,
        measure: compute::measure,
    },
    Benchmark {
        name: "port-in-1",
        what: "published port, 1 stream in",
        peer: HOST_FORWARD,
        unit: Unit::BytesPerSecond,
        goal: Goal::RatioAtLeast(3.0),
        rounds: 5,
        measure: |rounds| port::measure(rounds, Direction::In, 1),
    },
    Benchmark {
        name: "port-out-1",
        what: "published port, 1 stream out",
        peer: HOST_FORWARD,
        unit: Unit::BytesPerSecond,
        goal: Goal::RatioAtLeast(3.0),
        rounds: 5,
        measure: |rounds| port::measure(rounds, Direction::Out, 1),
    },
    Benchmark {
        name: "port-in-8",
        what: "published port, 8 streams in",
        peer: HOST_FORWARD,
        unit: Unit::BytesPerSecond,
        goal: Goal::RatioAtLeast(3.0),
        rounds: 5,
        measure: |rounds| port::measure(rounds, Direction::In, 8),
    },
    Benchmark {
        name: "port-out-8",
        what: "published port, 8 streams out",
        peer: HOST_FORWARD,
        unit: Unit::BytesPerSecond,
        goal: Goal::RatioAtLeast(3.0),
        rounds: 5,
        measure: |rounds| port::measure(rounds, Direction::Out, 8),
    },
    Benchmark {
        name: "nested",
        what: "KVM, nested: start → userspace",
        peer: "QEMU microvm (KVM)",
        unit: Unit::Seconds,
        goal: Goal::RatioAtMost(0.5),
        rounds: 5,
        measure: nested::measure,
    },
    Benchmark {
        name: "memory",
        what: "device process beyond guest RAM",
        peer: "",
        unit: Unit::Bytes,
        goal: Goal::AtMost(DEVICE_BYTES),
        rounds: 3,
        measure: memory::measure,
    },
    Benchmark {
        name: "load",
        what: "load of the Debian image",
        peer: "podman load",
        unit: Unit::Seconds,
        goal: Goal::RatioAtMost(0.7),
        rounds: 5,
        measure: load::measure,
    },
    Benchmark {
        name: "pull-podman",
        what: "pull of the Debian image",
        peer: "podman pull",
        unit: Unit::Seconds,
        goal: Goal::RatioAtMost(0.5),
        rounds: 5,
        measure: pull::against_podman,
    },
    Benchmark {
        name: "pull-skopeo",
        what: "pull of the Debian image",
        peer: "skopeo copy + umoci",
        unit: Unit::Seconds,
        goal: Goal::RatioAtMost(0.4),
        rounds: 5,
        measure: pull::against_skopeo,
    },
];

impl Benchmark {
    /// Measures. What goes wrong is in the row: one benchmark's failure is none of the others'.
    #[must_use]
    pub fn run(&self, rounds: Option<usize>) -> Row {
        let rounds = rounds.unwrap_or(self.rounds);
        // The harness speaks to tests: it panics.
        let measured = panic::catch_unwind(AssertUnwindSafe(|| (self.measure)(rounds)));
        let outcome = match measured {
            Ok(Ok(pairs)) => Ok(pairs),
            Ok(Err(error)) => Err(format!("{error:#}")),
            Err(panicked) => Err(panicked
                .downcast_ref::<String>()
                .cloned()
                .unwrap_or_else(|| "it panicked".to_owned())),
        };
        Row {
            name: self.name,
            what: self.what.to_owned(),
            peer: self.peer,
            unit: self.unit,
            goal: self.goal,
            outcome,
        }
    }
}

/// The benchmarks whose names begin with one of these; all of them where none is given.
///
/// # Errors
/// The name that fits none.
pub fn select(names: &[String]) -> Result<Vec<Benchmark>, String> {
    let fits = |benchmark: &Benchmark, name: &String| benchmark.name.starts_with(name.as_str());
    if let Some(unknown) = names
        .iter()
        .find(|name| !ALL.iter().any(|benchmark| fits(benchmark, name)))
    {
        return Err(unknown.clone());
    }
    let wanted =
        |benchmark: &Benchmark| names.is_empty() || names.iter().any(|name| fits(benchmark, name));
    Ok(ALL.into_iter().filter(wanted).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(asked: &[&str]) -> Result<Vec<&'static str>, String> {
        let asked: Vec<String> = asked.iter().map(|&name| name.to_owned()).collect();
        let chosen = select(&asked)?;
        Ok(chosen.iter().map(|benchmark| benchmark.name).collect())
    }

    #[test]
    fn a_name_selects_what_begins_with_it() {
        let ports = ["port-in-1", "port-out-1", "port-in-8", "port-out-8"];

        assert_eq!(names(&["port"]).expect("known"), ports);
        assert_eq!(names(&["warm", "cold"]).expect("known"), ["cold", "warm"]);
    }

    #[test]
    fn no_name_selects_all() {
        assert_eq!(names(&[]).expect("known").len(), ALL.len());
    }

    #[test]
    fn an_unknown_name_is_told() {
        assert_eq!(names(&["warm", "hot"]), Err("hot".to_owned()));
    }
}
