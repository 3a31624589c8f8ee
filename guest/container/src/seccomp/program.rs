//! Writes the classic BPF program for a list of intervals.

use nix::libc::{self, sock_filter};
use oci_spec::runtime::{LinuxSeccompArg, LinuxSeccompOperator};

use super::{Interval, RETURN_KILL_PROCESS, Verdict};

/// `AUDIT_ARCH_X86_64`: also what User Mode Linux reports.
const ARCHITECTURE: u32 = 0xc000_003e;

/// Offsets in `struct seccomp_data`.
const NUMBER_OFFSET: u32 = 0;
const ARCHITECTURE_OFFSET: u32 = 4;
const ARGUMENTS_OFFSET: u32 = 16;

/// Bytes of an argument, and of its half: the machine's words are 32 bits, little end first.
const ARGUMENT_BYTES: u32 = 8;
const HALF_BYTES: u32 = 4;

/// Operations of classic BPF (`linux/bpf_common.h`).
const LOAD: u16 = 0x20;
const AND: u16 = 0x54;
const JUMP: u16 = 0x05;
const JUMP_EQUAL: u16 = 0x15;
const JUMP_GREATER: u16 = 0x25;
const JUMP_GREATER_OR_EQUAL: u16 = 0x35;
const RETURN: u16 = 0x06;

/// The farthest a conditional jump reaches.
const MAX_JUMP: usize = 255;

fn statement(code: u16, k: u32) -> sock_filter {
    sock_filter {
        code,
        jt: 0,
        jf: 0,
        k,
    }
}

fn jump(code: u16, k: u32, jt: usize, jf: usize) -> sock_filter {
    let offset = |offset| u8::try_from(offset).expect("conditional jumps stay within MAX_JUMP");
    sock_filter {
        code,
        jt: offset(jt),
        jf: offset(jf),
        k,
    }
}

/// The whole program. Calls in another architecture's numbering end the process, as with
/// libseccomp: the numbers would mean something else.
pub(super) fn assemble(intervals: &[Interval]) -> Vec<sock_filter> {
    let mut program = vec![
        statement(LOAD, ARCHITECTURE_OFFSET),
        jump(JUMP_EQUAL, ARCHITECTURE, 1, 0),
        statement(RETURN, RETURN_KILL_PROCESS),
        statement(LOAD, NUMBER_OFFSET),
    ];
    program.extend(tree(intervals));
    program
}

/// A balanced tree of comparisons over the intervals.
fn tree(intervals: &[Interval]) -> Vec<sock_filter> {
    let (low, high) = match intervals {
        [] => return vec![statement(RETURN, RETURN_KILL_PROCESS)],
        [only] => return leaf(&only.verdict),
        several => several.split_at(several.len() / 2),
    };
    let boundary = high.first().map_or(0, |interval| interval.start);
    let (low, high) = (tree(low), tree(high));
    let mut program = Vec::with_capacity(low.len() + high.len() + 2);
    if high.len() <= MAX_JUMP {
        program.push(jump(JUMP_GREATER_OR_EQUAL, boundary, 0, high.len()));
    } else {
        program.push(jump(JUMP_GREATER_OR_EQUAL, boundary, 1, 0));
        program.push(statement(JUMP, length(&high)));
    }
    program.extend(high);
    program.extend(low);
    program
}

fn length(program: &[sock_filter]) -> u32 {
    u32::try_from(program.len()).expect("MAX_CONDITIONS and the system calls bound a program")
}

/// What happens at the calls of an interval: each set of conditions, then the answer otherwise.
fn leaf(verdict: &Verdict) -> Vec<sock_filter> {
    let mut program = Vec::new();
    for (conditions, answer) in &verdict.conditional {
        program.extend(conditional(conditions, *answer));
    }
    program.push(statement(RETURN, verdict.otherwise));
    program
}

/// Returns the answer if all conditions hold, falls through otherwise.
fn conditional(conditions: &[LinuxSeccompArg], answer: u32) -> Vec<sock_filter> {
    // From the last to the first: each test is told how far the end is.
    let mut program = vec![statement(RETURN, answer)];
    for condition in conditions.iter().rev() {
        let past = program.len();
        let mut tested = test(condition, past);
        tested.append(&mut program);
        program = tested;
    }
    program
}

/// Falls through if the condition holds, jumps `past` instructions beyond the test otherwise.
fn test(condition: &LinuxSeccompArg, past: usize) -> Vec<sock_filter> {
    let index = u32::try_from(condition.index()).expect("there are six arguments");
    let low_offset = ARGUMENTS_OFFSET + index * ARGUMENT_BYTES;
    let high_offset = low_offset + HALF_BYTES;
    let (high, low) = halves(condition.value());
    let load = |offset| statement(LOAD, offset);
    match condition.op() {
        LinuxSeccompOperator::ScmpCmpEq => vec![
            load(high_offset),
            jump(JUMP_EQUAL, high, 0, past + 2),
            load(low_offset),
            jump(JUMP_EQUAL, low, 0, past),
        ],
        LinuxSeccompOperator::ScmpCmpNe => vec![
            load(high_offset),
            jump(JUMP_EQUAL, high, 0, 2),
            load(low_offset),
            jump(JUMP_EQUAL, low, past, 0),
        ],
        LinuxSeccompOperator::ScmpCmpMaskedEq => {
            let (high_mask, low_mask) = halves(condition.value());
            let (high, low) = halves(condition.value_two().unwrap_or(0));
            vec![
                load(high_offset),
                statement(AND, high_mask),
                jump(JUMP_EQUAL, high, 0, past + 3),
                load(low_offset),
                statement(AND, low_mask),
                jump(JUMP_EQUAL, low, 0, past),
            ]
        }
        LinuxSeccompOperator::ScmpCmpGt => greater(JUMP_GREATER, low_offset, (high, low), past),
        LinuxSeccompOperator::ScmpCmpGe => {
            greater(JUMP_GREATER_OR_EQUAL, low_offset, (high, low), past)
        }
        LinuxSeccompOperator::ScmpCmpLe => less(JUMP_GREATER, low_offset, (high, low), past),
        LinuxSeccompOperator::ScmpCmpLt => {
            less(JUMP_GREATER_OR_EQUAL, low_offset, (high, low), past)
        }
    }
}

/// Holds if the argument is greater (or equal).
fn greater(code: u16, offset: u32, (high, low): (u32, u32), past: usize) -> Vec<sock_filter> {
    vec![
        statement(LOAD, offset + HALF_BYTES),
        jump(JUMP_GREATER, high, 3, 0),
        jump(JUMP_EQUAL, high, 0, past + 2),
        statement(LOAD, offset),
        jump(code, low, 0, past),
    ]
}

/// Holds unless the argument is greater (or equal).
fn less(code: u16, offset: u32, (high, low): (u32, u32), past: usize) -> Vec<sock_filter> {
    vec![
        statement(LOAD, offset + HALF_BYTES),
        jump(JUMP_GREATER, high, past + 3, 0),
        jump(JUMP_EQUAL, high, 0, 2),
        statement(LOAD, offset),
        jump(code, low, past, 0),
    ]
}

/// The high and the low half of an argument's value.
fn halves(value: u64) -> (u32, u32) {
    let [a, b, c, d, e, f, g, h] = value.to_be_bytes();
    (
        u32::from_be_bytes([a, b, c, d]),
        u32::from_be_bytes([e, f, g, h]),
    )
}

/// The kernel's bound on a program.
#[cfg(test)]
pub(super) const MAX_INSTRUCTIONS: usize = 4096;

#[cfg(test)]
const _: () = assert!(size_of::<libc::seccomp_data>() == 64);

#[cfg(not(test))]
const _: () = assert!(size_of::<libc::sock_filter>() == 8);
