//! The filters, run by a small interpreter of classic BPF.

use super::*;
use nix::libc::sock_filter;
use proptest::prelude::*;

/// `AUDIT_ARCH_X86_64` and `AUDIT_ARCH_I386`.
const X86_64: u32 = 0xc000_003e;
const I386: u32 = 0x4000_0003;

/// Runs a program; returns its answer and how many instructions that took.
fn run_counted(program: &[sock_filter], data: &[u32; 16]) -> (u32, usize) {
    let (mut accumulator, mut at, mut count) = (0_u32, 0_usize, 0_usize);
    loop {
        let step = program[at];
        let (jt, jf) = (usize::from(step.jt), usize::from(step.jf));
        at += 1;
        count += 1;
        match step.code {
            0x20 => accumulator = data[usize::try_from(step.k / 4).unwrap()],
            0x54 => accumulator &= step.k,
            0x05 => at += usize::try_from(step.k).unwrap(),
            0x15 => at += if accumulator == step.k { jt } else { jf },
            0x25 => at += if accumulator > step.k { jt } else { jf },
            0x35 => at += if accumulator >= step.k { jt } else { jf },
            0x06 => return (step.k, count),
            other => panic!("instruction {other:#x} is not expected"),
        }
    }
}

fn data(architecture: u32, number: u32, arguments: [u64; 6]) -> [u32; 16] {
    let mut words = [0; 16];
    words[0] = number;
    words[1] = architecture;
    for (index, argument) in arguments.iter().enumerate() {
        words[4 + index * 2] = u32::try_from(argument & 0xffff_ffff).unwrap();
        words[5 + index * 2] = u32::try_from(argument >> 32).unwrap();
    }
    words
}

fn run(filter: &Filter, name: &str, arguments: [u64; 6]) -> u32 {
    let number = names::number(name).unwrap();
    run_counted(&filter.program, &data(X86_64, number, arguments)).0
}

fn compile_json(json: &str) -> Filter {
    compile(&serde_json::from_str(json).unwrap()).unwrap()
}

/// The shape of Docker's default profile.
const PROFILE: &str = r#"{
    "defaultAction":"SCMP_ACT_ERRNO","defaultErrnoRet":1,
    "architectures":["SCMP_ARCH_X86_64","SCMP_ARCH_X86","SCMP_ARCH_X32"],
    "syscalls":[
        {"names":["read","write","close","futex","execve","of_another_machine"],
         "action":"SCMP_ACT_ALLOW"},
        {"names":["personality"],"action":"SCMP_ACT_ALLOW",
         "args":[{"index":0,"value":0,"op":"SCMP_CMP_EQ"}]},
        {"names":["personality"],"action":"SCMP_ACT_ALLOW",
         "args":[{"index":0,"value":8,"op":"SCMP_CMP_EQ"}]},
        {"names":["socket"],"action":"SCMP_ACT_ALLOW",
         "args":[{"index":0,"value":40,"op":"SCMP_CMP_NE"}]},
        {"names":["clone"],"action":"SCMP_ACT_ALLOW",
         "args":[{"index":0,"value":2114060288,"valueTwo":0,"op":"SCMP_CMP_MASKED_EQ"}]},
        {"names":["clone3"],"action":"SCMP_ACT_ERRNO","errnoRet":38}]}"#;

const EPERM: u32 = RETURN_ERRNO | 1;
const ENOSYS: u32 = RETURN_ERRNO | 38;

#[test]
fn a_listed_call_is_allowed() {
    assert_eq!(run(&compile_json(PROFILE), "read", [0; 6]), RETURN_ALLOW);
}

#[test]
fn a_call_that_is_not_listed_is_refused() {
    assert_eq!(run(&compile_json(PROFILE), "reboot", [0; 6]), EPERM);
}

#[test]
fn clone3_looks_as_if_it_did_not_exist() {
    assert_eq!(run(&compile_json(PROFILE), "clone3", [0; 6]), ENOSYS);
}

#[test]
fn one_of_several_rules_is_enough() {
    let filter = compile_json(PROFILE);

    assert_eq!(
        run(&filter, "personality", [8, 0, 0, 0, 0, 0]),
        RETURN_ALLOW
    );
    assert_eq!(run(&filter, "personality", [9, 0, 0, 0, 0, 0]), EPERM);
}

#[test]
fn a_vsock_socket_is_refused() {
    let filter = compile_json(PROFILE);

    assert_eq!(run(&filter, "socket", [40, 1, 0, 0, 0, 0]), EPERM);
    assert_eq!(run(&filter, "socket", [2, 1, 0, 0, 0, 0]), RETURN_ALLOW);
}

#[test]
fn a_new_namespace_is_refused() {
    let filter = compile_json(PROFILE);
    let new_user_namespace = 0x1000_0000;

    assert_eq!(
        run(&filter, "clone", [new_user_namespace, 0, 0, 0, 0, 0]),
        EPERM
    );
    assert_eq!(run(&filter, "clone", [0x11, 0, 0, 0, 0, 0]), RETURN_ALLOW);
}

#[test]
fn a_call_newer_than_the_profile_does_not_exist() {
    let filter = compile_json(PROFILE);
    let newer = data(X86_64, names::HIGHEST + 1, [0; 6]);

    assert_eq!(run_counted(&filter.program, &newer).0, ENOSYS);
}

#[test]
fn another_architectures_calls_end_the_process() {
    let filter = compile_json(PROFILE);
    let foreign = data(I386, 3, [0; 6]);

    assert_eq!(
        run_counted(&filter.program, &foreign).0,
        RETURN_KILL_PROCESS
    );
}

#[test]
fn a_rule_without_conditions_beats_those_with() {
    let filter = compile_json(
        r#"{"defaultAction":"SCMP_ACT_ALLOW","syscalls":[
            {"names":["kill"],"action":"SCMP_ACT_TRAP","args":[{"index":1,"value":9,"op":"SCMP_CMP_EQ"}]},
            {"names":["kill"],"action":"SCMP_ACT_LOG"}]}"#,
    );

    assert_eq!(run(&filter, "kill", [1, 9, 0, 0, 0, 0]), RETURN_LOG);
}

#[test]
fn conditions_on_one_argument_are_alternatives() {
    let filter = compile_json(
        r#"{"defaultAction":"SCMP_ACT_ERRNO","syscalls":[
            {"names":["socket"],"action":"SCMP_ACT_ALLOW","args":[
                {"index":0,"value":1,"op":"SCMP_CMP_EQ"},{"index":0,"value":2,"op":"SCMP_CMP_EQ"}]}]}"#,
    );

    assert_eq!(run(&filter, "socket", [2, 0, 0, 0, 0, 0]), RETURN_ALLOW);
    assert_eq!(run(&filter, "socket", [3, 0, 0, 0, 0, 0]), EPERM);
}

#[test]
fn a_program_over_every_other_call_stays_short() {
    let names: Vec<String> = (0..names::HIGHEST)
        .step_by(2)
        .filter_map(names::name)
        .map(|name| format!("\"{name}\""))
        .collect();
    let json = format!(
        r#"{{"defaultAction":"SCMP_ACT_ERRNO","syscalls":[{{"names":[{}],"action":"SCMP_ACT_ALLOW"}}]}}"#,
        names.join(",")
    );

    let filter = compile_json(&json);

    let (answer, count) = run_counted(&filter.program, &data(X86_64, 0, [0; 6]));
    assert_eq!(answer, RETURN_ALLOW);
    assert!(count < 20 && filter.program.len() < program::MAX_INSTRUCTIONS);
}

#[test]
fn refuses_a_notifier() {
    let profile = serde_json::from_str(r#"{"defaultAction":"SCMP_ACT_NOTIFY"}"#).unwrap();

    assert!(matches!(compile(&profile), Err(SeccompError::Action(_))));
}

#[test]
fn refuses_an_argument_that_no_call_has() {
    let profile = serde_json::from_str(
        r#"{"defaultAction":"SCMP_ACT_ALLOW","syscalls":[{"names":["read"],
            "action":"SCMP_ACT_LOG","args":[{"index":6,"value":0,"op":"SCMP_CMP_EQ"}]}]}"#,
    )
    .unwrap();

    assert!(matches!(compile(&profile), Err(SeccompError::Argument(6))));
}

fn holds(operator: &str, argument: u64, value: u64, second: u64) -> bool {
    match operator {
        "NE" => argument != value,
        "LT" => argument < value,
        "LE" => argument <= value,
        "EQ" => argument == value,
        "GE" => argument >= value,
        "GT" => argument > value,
        _ => argument & value == second,
    }
}

proptest! {
    #[test]
    fn every_operator_compares_all_64_bits(
        operator in prop_oneof![
            Just("NE"), Just("LT"), Just("LE"), Just("EQ"), Just("GE"), Just("GT"), Just("MASKED_EQ")],
        high in 0..3_u64, low in 0..3_u64, value_high in 0..3_u64, value_low in 0..3_u64,
    ) {
        let (argument, value) = (high << 32 | low, value_high << 32 | value_low);
        let second = argument & value & !1;
        let filter = compile_json(&format!(
            r#"{{"defaultAction":"SCMP_ACT_ERRNO","syscalls":[{{"names":["read"],
                "action":"SCMP_ACT_ALLOW","args":[{{"index":3,"value":{value},
                "valueTwo":{second},"op":"SCMP_CMP_{operator}"}}]}}]}}"#
        ));

        let allowed = run(&filter, "read", [0, 0, 0, argument, 0, 0]) == RETURN_ALLOW;

        prop_assert_eq!(allowed, holds(operator, argument, value, second));
    }
}
