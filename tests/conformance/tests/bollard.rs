//! bollard, Rust's client library for Docker, as programs use it.

use bollard::Docker;
use bollard::container::LogOutput;
use bollard::exec::{CreateExecOptions, StartExecResults};
use bollard::models::ContainerCreateBody;
use bollard::query_parameters::{
    CreateContainerOptionsBuilder, LogsOptionsBuilder, RemoveContainerOptionsBuilder,
    WaitContainerOptions,
};
use dhow_harness::{BUSYBOX, Home};
use futures_util::{StreamExt, TryStreamExt};

/// Seconds until bollard gives up an answer.
const TIMEOUT_SECONDS: u64 = 60;

fn connect(home: &Home) -> Docker {
    let host = home.docker_host();
    Docker::connect_with_unix(&host, TIMEOUT_SECONDS, bollard::API_DEFAULT_VERSION)
        .expect("a socket's address")
}

async fn create(docker: &Docker, name: &str, command: &[&str]) {
    let options = CreateContainerOptionsBuilder::new().name(name).build();
    let config = ContainerCreateBody {
        image: Some(BUSYBOX.to_owned()),
        cmd: Some(command.iter().map(ToString::to_string).collect()),
        ..ContainerCreateBody::default()
    };
    let _ = docker
        .create_container(Some(options), config)
        .await
        .expect("a container");
    docker.start_container(name, None).await.expect("it starts");
}

async fn remove(docker: &Docker, name: &str) {
    let options = RemoveContainerOptionsBuilder::new().force(true).build();
    docker
        .remove_container(name, Some(options))
        .await
        .expect("it can be removed");
}

#[tokio::test]
async fn a_container_runs_is_waited_for_and_read() {
    let home = Home::with_image(BUSYBOX);
    let docker = connect(&home);
    create(&docker, "short", &["sh", "-c", "echo out; echo err >&2"]).await;

    let ended: Vec<_> = docker
        .wait_container("short", None::<WaitContainerOptions>)
        .try_collect()
        .await
        .expect("its end");
    let logs = LogsOptionsBuilder::new().stdout(true).stderr(true).build();
    let said: Vec<LogOutput> = docker
        .logs("short", Some(logs))
        .try_collect()
        .await
        .expect("its logs");
    remove(&docker, "short").await;

    assert_eq!(ended.first().map(|end| end.status_code), Some(0));
    assert!(said.contains(&LogOutput::StdOut {
        message: "out\n".into()
    }));
    assert!(said.contains(&LogOutput::StdErr {
        message: "err\n".into()
    }));
}

#[tokio::test]
async fn an_exec_gives_its_output_and_exit_code() {
    let home = Home::with_image(BUSYBOX);
    let docker = connect(&home);
    create(&docker, "long", &["sleep", "1000"]).await;
    let options = CreateExecOptions {
        cmd: Some(vec!["sh", "-c", "echo inside; exit 3"]),
        attach_stdout: Some(true),
        ..CreateExecOptions::default()
    };

    let exec = docker.create_exec("long", options).await.expect("an exec");
    let started = docker.start_exec(&exec.id, None).await.expect("it starts");
    let StartExecResults::Attached { mut output, .. } = started else {
        panic!("not attached");
    };
    let mut said = Vec::new();
    while let Some(chunk) = output.next().await {
        said.extend_from_slice(&chunk.expect("output").into_bytes());
    }
    let facts = docker.inspect_exec(&exec.id).await.expect("its facts");
    remove(&docker, "long").await;

    assert_eq!(said, b"inside\n");
    assert_eq!(facts.exit_code, Some(3));
}

#[tokio::test]
async fn what_is_not_there_is_a_404() {
    let home = Home::with_image(BUSYBOX);

    let refused = connect(&home)
        .inspect_container("no-such-container", None)
        .await;

    assert!(matches!(
        refused,
        Err(bollard::errors::Error::DockerResponseServerError {
            status_code: 404,
            ..
        })
    ));
}
