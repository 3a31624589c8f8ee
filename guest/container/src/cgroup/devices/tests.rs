//! The device programs, run by a small interpreter of the instructions they use.

use super::*;
use proptest::prelude::*;

/// An access to a device, as the kernel tells the program.
#[derive(Clone, Copy, Debug)]
struct Access {
    kind: i32,
    what: i32,
    major: u32,
    minor: u32,
}

/// Runs a program; panics on anything that the kernel's verifier would refuse.
fn run(program: &[Instruction], access: Access) -> bool {
    let mut registers = [0_u32; 6];
    let word = (access.kind | (access.what << 16)).cast_unsigned();
    let mut at = 0_usize;
    loop {
        let step = program[at];
        let target = usize::from(step.registers & 15);
        let source = usize::from(step.registers >> 4);
        let immediate = step.immediate.cast_unsigned();
        let skip = usize::try_from(step.offset).unwrap();
        at += 1;
        match step.code {
            LOAD_WORD => {
                assert_eq!(source, usize::from(CONTEXT));
                registers[target] = match step.offset {
                    ACCESS_OFFSET => word,
                    MAJOR_OFFSET => access.major,
                    _ => access.minor,
                };
            }
            MOVE_REGISTER => registers[target] = registers[source],
            MOVE_IMMEDIATE => registers[target] = immediate,
            AND_IMMEDIATE => registers[target] &= immediate,
            SHIFT_RIGHT_IMMEDIATE => registers[target] >>= immediate,
            JUMP_UNLESS_EQUAL if registers[target] != immediate => at += skip,
            JUMP_UNLESS_EQUAL_REGISTER if registers[target] != registers[source] => at += skip,
            JUMP_UNLESS_EQUAL | JUMP_UNLESS_EQUAL_REGISTER => {}
            EXIT => return registers[usize::from(ANSWER)] == 1,
            other => panic!("instruction {other:#x} is not expected"),
        }
    }
}

/// Docker's rules for a container without privileges, shortened.
const DOCKERS: &str = r#"[
    {"allow":false,"access":"rwm"},
    {"allow":true,"type":"c","access":"m"},
    {"allow":true,"type":"b","access":"m"},
    {"allow":true,"type":"c","major":1,"minor":3,"access":"rwm"},
    {"allow":true,"type":"c","major":136,"access":"rwm"},
    {"allow":false,"type":"c","major":10,"minor":229,"access":"rwm"}]"#;

fn compile(json: &str) -> Vec<Instruction> {
    let rules: Vec<LinuxDeviceCgroup> = serde_json::from_str(json).unwrap();
    program(&rules).unwrap()
}

fn character(major: u32, minor: u32, what: i32) -> Access {
    Access {
        kind: TYPE_CHARACTER,
        what,
        major,
        minor,
    }
}

#[test]
fn a_listed_device_may_be_read_and_written() {
    assert!(run(
        &compile(DOCKERS),
        character(1, 3, ACCESS_READ | ACCESS_WRITE)
    ));
}

#[test]
fn a_device_that_is_not_listed_may_be_made_but_not_opened() {
    let program = compile(DOCKERS);

    assert!(run(&program, character(9, 9, ACCESS_MKNOD)));
    assert!(!run(&program, character(9, 9, ACCESS_READ)));
}

#[test]
fn the_last_rule_that_matches_decides() {
    assert!(!run(&compile(DOCKERS), character(10, 229, ACCESS_MKNOD)));
}

#[test]
fn a_rule_without_a_minor_number_means_all() {
    assert!(run(&compile(DOCKERS), character(136, 77, ACCESS_READ)));
}

#[test]
fn a_character_rule_does_not_open_block_devices() {
    let access = Access {
        kind: TYPE_BLOCK,
        what: ACCESS_READ,
        major: 1,
        minor: 3,
    };

    assert!(!run(&compile(DOCKERS), access));
}

#[test]
fn everything_may_be_allowed() {
    let program = compile(r#"[{"allow":true,"access":"rwm"}]"#);

    assert!(run(&program, character(9, 9, ACCESS_READ)));
}

#[test]
fn without_rules_nothing_is_allowed() {
    assert!(!run(&compile("[]"), character(1, 3, ACCESS_READ)));
}

#[test]
fn refuses_an_unknown_access_letter() {
    let rules: Vec<LinuxDeviceCgroup> =
        serde_json::from_str(r#"[{"allow":true,"access":"rx"}]"#).unwrap();

    assert!(matches!(program(&rules), Err(DeviceFilterError::Rule(0))));
}

/// What the rules mean, said plainly.
fn by_the_book(rules: &[LinuxDeviceCgroup], access: Access) -> bool {
    let matches = |rule: &&LinuxDeviceCgroup| {
        let kind = match rule.typ() {
            Some(LinuxDeviceType::B) => access.kind == TYPE_BLOCK,
            Some(LinuxDeviceType::C) => access.kind == TYPE_CHARACTER,
            _ => true,
        };
        let bits = access_bits(rule.access().as_deref().unwrap()).unwrap();
        let number = |wanted: Option<i64>, is: u32| wanted.is_none_or(|n| n == i64::from(is));
        kind && access.what & bits == access.what
            && number(rule.major(), access.major)
            && number(rule.minor(), access.minor)
    };
    rules
        .iter()
        .rev()
        .find(matches)
        .is_some_and(LinuxDeviceCgroup::allow)
}

fn any_rule() -> impl Strategy<Value = String> {
    let kind = prop_oneof![Just("a"), Just("b"), Just("c")];
    let access = prop_oneof![Just("r"), Just("rw"), Just("rwm"), Just("m")];
    let number = || prop_oneof![Just(None), (0..3_i64).prop_map(Some)];
    (any::<bool>(), kind, access, number(), number()).prop_map(
        |(allow, kind, access, major, minor)| {
            let number = |name: &str, value: Option<i64>| {
                value.map_or_else(String::new, |value| format!(",\"{name}\":{value}"))
            };
            let (major, minor) = (number("major", major), number("minor", minor));
            format!(r#"{{"allow":{allow},"type":"{kind}","access":"{access}"{major}{minor}}}"#)
        },
    )
}

proptest! {
    #[test]
    fn a_program_decides_as_its_rules_say(
        rules in proptest::collection::vec(any_rule(), 0..8),
        kind in 1..3_i32, what in 1..8_i32, major in 0..3_u32, minor in 0..3_u32,
    ) {
        let json = format!("[{}]", rules.join(","));
        let rules: Vec<LinuxDeviceCgroup> = serde_json::from_str(&json).unwrap();
        let access = Access { kind, what, major, minor };

        prop_assert_eq!(run(&compile(&json), access), by_the_book(&rules, access));
    }
}
