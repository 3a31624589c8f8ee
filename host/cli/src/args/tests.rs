//! What can be typed.

use std::ffi::OsString;

use clap::error::ErrorKind;

use super::{Source, Verb};

fn words(line: &[&str]) -> Vec<OsString> {
    ["dhow"].iter().chain(line).map(OsString::from).collect()
}

fn parse(line: &[&str]) -> Verb {
    super::parse(words(line)).expect("a valid line").verb
}

fn refusal(line: &[&str]) -> ErrorKind {
    super::parse(words(line)).expect_err("a refusal").kind()
}

#[test]
fn the_definitions_are_sound() {
    super::help::command().debug_assert();
}

#[test]
fn short_flags_of_run_go_together() {
    let Verb::Run(args) = parse(&["run", "-dit", "-p", "80:80", "-eA=1", "busybox"]) else {
        panic!("not run");
    };
    assert!(args.detach && args.container.interactive && args.container.tty);
    assert_eq!(args.container.publish, ["80:80"]);
    assert_eq!(args.container.env, ["A=1"]);
}

#[test]
fn h_is_the_host_name_of_run() {
    let Verb::Run(args) = parse(&["run", "-h", "web", "busybox"]) else {
        panic!("not run")
    };
    assert_eq!(args.container.hostname.as_deref(), Some("web"));
}

#[test]
fn signals_are_passed_on_unless_told_not_to() {
    let sig_proxy = |line: &[&str]| match parse(line) {
        Verb::Run(args) => args.sig_proxy,
        other => panic!("not run: {other:?}"),
    };
    assert!(sig_proxy(&["run", "busybox"]));
    assert!(sig_proxy(&["run", "--sig-proxy", "busybox"]));
    assert!(!sig_proxy(&["run", "--sig-proxy=false", "busybox"]));
}

#[test]
fn switches_take_a_value_as_docker_s_do() {
    let Verb::Run(args) = parse(&["run", "--rm=true", "-t=false", "-it=false", "busybox", "-x"])
    else {
        panic!("not run");
    };
    assert!(args.container.rm && args.container.interactive && !args.container.tty);
    assert_eq!(args.container.command, ["-x"]);
}

#[test]
fn the_last_of_a_repeated_flag_counts() {
    let Verb::Run(args) = parse(&[
        "run", "--rm", "--rm", "--name", "a", "--name", "b", "busybox",
    ]) else {
        panic!("not run");
    };
    assert!(args.container.rm);
    assert_eq!(args.container.name.as_deref(), Some("b"));
}

#[test]
fn a_command_for_exec_keeps_its_flags() {
    let Verb::Exec(args) = parse(&["exec", "-it", "web", "ls", "-it"]) else {
        panic!("not exec")
    };
    assert_eq!(args.container, "web");
    assert_eq!(args.command, ["ls", "-it"]);
}

#[test]
fn mistakes_are_told() {
    assert_eq!(refusal(&["run"]), ErrorKind::MissingRequiredArgument);
    assert_eq!(refusal(&["ps", "--nope"]), ErrorKind::UnknownArgument);
    assert_eq!(refusal(&["fly"]), ErrorKind::InvalidSubcommand);
    assert_eq!(refusal(&["rm"]), ErrorKind::MissingRequiredArgument);
    assert_eq!(
        refusal(&["run", "--rm=maybe", "busybox"]),
        ErrorKind::InvalidValue
    );
}

#[test]
fn a_dash_is_standard_input() {
    assert_eq!(Source::from(None), Source::Stdin);
    assert_eq!(Source::from(Some("-".into())), Source::Stdin);
    assert_eq!(
        Source::from(Some("a.tar".into())),
        Source::File("a.tar".into())
    );
}

#[test]
fn a_mistake_is_one_line_and_a_hint() {
    let error = super::parse(words(&["run"])).expect_err("a refusal");
    let mistake = super::mistake(&error).expect("a mistake");
    assert_eq!(
        mistake.line(),
        "the following required arguments were not provided: <IMAGE>"
    );
    assert_eq!(
        mistake.advice().as_deref(),
        Some("usage: dhow run [OPTIONS] IMAGE [COMMAND] [ARGUMENT]...")
    );
}

#[test]
fn asking_for_help_is_no_mistake() {
    let error = super::parse(words(&["ps", "--help"])).expect_err("help");
    assert!(super::mistake(&error).is_none());
}
