//! How long starts take.

use std::time::{Duration, Instant};

use crate::harness::{Machine, config, exec_request, finish, process, say};

/// How often each is measured.
const ROUNDS: usize = 20;

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort_unstable();
    times.get(times.len() / 2).copied().unwrap_or_default()
}

fn report(name: &str, times: Vec<Duration>) {
    let first = times.first().copied().unwrap_or_default();
    say(&format!(
        "BENCH {name}: first {first:?}, median {:?}",
        median(times)
    ));
}

/// Measures.
pub(crate) fn run(machine: &Machine) {
    let request = machine.request("bench", &config(&["/bin/true"]));
    let (mut starts, mut ends, mut clears, mut removes) = (vec![], vec![], vec![], vec![]);
    for _ in 0..ROUNDS {
        let begin = Instant::now();
        let process = machine.start(&request).expect("a container starts");
        starts.push(begin.elapsed());
        let _output = finish(process).expect("a container ends");
        ends.push(begin.elapsed());
        let begin = Instant::now();
        machine
            .runtime
            .finished("bench")
            .expect("a container is cleared up");
        clears.push(begin.elapsed());
        let begin = Instant::now();
        machine
            .runtime
            .remove("bench")
            .expect("a container is removed");
        removes.push(begin.elapsed());
    }
    report("run started", starts);
    report("run to the end", ends);
    report("finished", clears);
    report("remove", removes);
    exec(machine);
    say("RESULT benchmarks done");
}

fn exec(machine: &Machine) {
    let sleeper = machine.request("sleeper", &config(&["/bin/sleep", "1000"]));
    let _process = machine.start(&sleeper).expect("a container starts");
    let request = exec_request("sleeper", "exec", &process(&["/bin/true"]));
    let (mut starts, mut ends) = (vec![], vec![]);
    for _ in 0..ROUNDS {
        let begin = Instant::now();
        let process = machine.runtime.exec(&request).expect("a process starts");
        starts.push(begin.elapsed());
        let _output = finish(process).expect("a process ends");
        ends.push(begin.elapsed());
        let _finished = machine.runtime.exec_finished("sleeper", "exec");
    }
    report("exec started", starts);
    report("exec to the end", ends);
}
