//! What becomes of a container's configuration: one property a test.

use oci_spec::runtime::{LinuxNamespaceType, Spec};

use super::*;
use crate::container::{ContainerConfig, HostConfig, Status, Ulimit};
use crate::id::Id;
use crate::name::ContainerName;
use crate::time::Timestamp;

fn record(config: ContainerConfig, host_config: HostConfig) -> Record {
    Record {
        id: Id::random().unwrap(),
        name: ContainerName::random(0).unwrap(),
        created: Timestamp::now(),
        image_id: "sha256:0".to_owned(),
        arguments: vec!["/bin/sh".to_owned()],
        config,
        host_config,
        networks: Vec::new(),
        status: Status::default(),
        restart_count: 0,
        stopped_by_user: false,
        has_files: false,
    }
}

fn spec(config_: ContainerConfig, host: HostConfig) -> Spec {
    let value = config(&record(config_, host)).unwrap();
    serde_json::from_value(value).unwrap()
}

#[test]
fn the_configuration_is_one_of_the_runtime_spec() {
    let spec = spec(ContainerConfig::default(), HostConfig::default());

    let linux = spec.linux().as_ref().unwrap();
    let namespaces = linux.namespaces().as_ref().unwrap();
    assert!(
        namespaces
            .iter()
            .any(|namespace| namespace.typ() == LinuxNamespaceType::Network)
    );
    assert!(linux.seccomp().is_some());
    assert_eq!(spec.mounts().as_ref().unwrap().len(), 7);
}

#[test]
fn a_privileged_container_is_not_filtered() {
    let host = HostConfig {
        privileged: true,
        ..HostConfig::default()
    };

    let spec = spec(ContainerConfig::default(), host);

    let linux = spec.linux().as_ref().unwrap();
    assert!(linux.seccomp().is_none());
    assert_eq!(linux.masked_paths().as_ref().unwrap().len(), 0);
}

#[test]
fn limits_reach_the_cgroup() {
    let mut host = HostConfig::default();
    host.resources.memory = 64 << 20;
    host.resources.pids_limit = 100;
    host.resources.ulimits = vec![Ulimit {
        name: "nofile".to_owned(),
        soft: 10,
        hard: 20,
    }];

    let spec = spec(ContainerConfig::default(), host);

    let resources = spec.linux().as_ref().unwrap().resources().as_ref().unwrap();
    assert_eq!(resources.memory().as_ref().unwrap().limit(), Some(64 << 20));
    assert_eq!(
        spec.process()
            .as_ref()
            .unwrap()
            .rlimits()
            .as_ref()
            .unwrap()
            .len(),
        1
    );
}

#[test]
fn a_terminal_brings_its_variables() {
    let config = ContainerConfig {
        tty: true,
        env: vec!["TERM=vt100".to_owned()],
        ..ContainerConfig::default()
    };

    let spec = spec(config, HostConfig::default());

    let process = spec.process().as_ref().unwrap();
    assert_eq!(process.terminal(), Some(true));
    assert!(
        process
            .env()
            .as_ref()
            .unwrap()
            .contains(&"TERM=vt100".to_owned())
    );
}

#[test]
fn refuses_a_kernel_parameter_of_the_whole_machine() {
    let mut host = HostConfig::default();
    host.sysctls
        .insert("vm.swappiness".to_owned(), "1".to_owned());

    let error = config(&record(ContainerConfig::default(), host)).unwrap_err();

    assert!(matches!(error, ConfigError::Sysctl(_)));
}

#[test]
fn a_container_cannot_reach_the_host_by_vsock() {
    let value = config(&record(ContainerConfig::default(), HostConfig::default())).unwrap();

    let rules = value["linux"]["seccomp"]["syscalls"].as_array().unwrap();

    let socket: Vec<_> = rules
        .iter()
        .filter(|rule| rule["names"].as_array().unwrap().contains(&"socket".into()))
        .collect();
    assert_eq!(socket.len(), 1);
    assert_eq!(socket[0]["args"][0]["value"], 40);
}
