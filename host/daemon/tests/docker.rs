//! The real docker CLI against the daemon, with an agent that runs containers as host processes.

#[expect(
    clippy::unwrap_used,
    reason = "what fails here fails the test that uses it"
)]
mod support;

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use support::{Fixture, free_port};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

#[tokio::test(flavor = "multi_thread")]
async fn run_shows_output_and_passes_the_exit_code_on() {
    let fixture = Fixture::new().await;

    let run = fixture
        .docker(&[
            "run",
            "--rm",
            "busybox",
            "sh",
            "-c",
            "echo out; echo err >&2; exit 3",
        ])
        .await;

    assert_eq!(run.stdout, "out\n");
    assert_eq!(run.stderr, "err\n");
    assert_eq!(run.code, 3);
    assert_eq!(fixture.docker(&["ps", "-aq"]).await.stdout, "");
}

#[tokio::test(flavor = "multi_thread")]
async fn run_carries_input_to_its_end() {
    let fixture = Fixture::new().await;

    let run = fixture
        .docker_with_input(&["run", "-i", "--rm", "busybox", "cat"], b"hello\n")
        .await;

    assert_eq!((run.stdout.as_str(), run.code), ("hello\n", 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn large_output_arrives_whole() {
    let fixture = Fixture::new().await;

    let run = fixture
        .docker(&[
            "run",
            "--rm",
            "busybox",
            "head",
            "-c",
            "20000000",
            "/dev/zero",
        ])
        .await;

    assert_eq!(run.stdout.len(), 20_000_000);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_missing_image_is_exit_125_and_one_line() {
    let fixture = Fixture::new().await;

    let run = fixture.docker(&["run", "--rm", "missing"]).await;

    assert_eq!(run.code, 125);
    assert!(
        run.stderr.contains("No such image: missing:latest"),
        "{}",
        run.stderr
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_missing_command_is_exit_127() {
    let fixture = Fixture::new().await;

    let run = fixture
        .docker(&["run", "--rm", "busybox", "no-such-command"])
        .await;

    assert_eq!(run.code, 127, "{}", run.stderr);
    assert!(
        run.stderr.contains("executable file not found in $PATH"),
        "{}",
        run.stderr
    );
    assert_eq!(fixture.docker(&["ps", "-aq"]).await.stdout, "");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_detached_container_lives_through_its_verbs() {
    let fixture = Fixture::new().await;

    let run = fixture
        .docker(&[
            "run",
            "-d",
            "--name",
            "web",
            "busybox",
            "sh",
            "-c",
            "echo ready; exec sleep 1000",
        ])
        .await;
    assert_eq!(run.code, 0, "{}", run.stderr);
    let listed = fixture
        .docker(&["ps", "--format", "{{.Names}} {{.State}}"])
        .await;
    assert_eq!(listed.stdout, "web running\n");
    let exec = fixture
        .docker_with_input(&["exec", "-i", "web", "sh", "-c", "cat; exit 7"], b"typed")
        .await;
    assert_eq!((exec.stdout.as_str(), exec.code), ("typed", 7));
    let exec = fixture.docker(&["exec", "web", "no-such-command"]).await;
    assert_eq!(exec.code, 127, "{}", exec.stderr);
    let exec = fixture.docker(&["exec", "-d", "web", "true"]).await;
    assert_eq!(exec.code, 0, "{}", exec.stderr);
    let logs = fixture.docker(&["logs", "web"]).await;
    assert_eq!(logs.stdout, "ready\n");
    let removed = fixture.docker(&["rm", "web"]).await;
    assert_eq!(removed.code, 1);
    assert!(
        removed.stderr.contains("container is running"),
        "{}",
        removed.stderr
    );
    let paused = fixture.docker(&["pause", "web"]).await;
    assert_eq!(paused.code, 0, "{}", paused.stderr);
    let unpaused = fixture.docker(&["unpause", "web"]).await;
    assert_eq!(unpaused.code, 0, "{}", unpaused.stderr);
    let stopped = fixture.docker(&["stop", "web"]).await;
    assert_eq!(stopped.code, 0, "{}", stopped.stderr);
    let state = fixture
        .docker(&[
            "inspect",
            "-f",
            "{{.State.Status}} {{.State.ExitCode}}",
            "web",
        ])
        .await;
    assert_eq!(state.stdout, "exited 143\n");
    let started = fixture.docker(&["start", "web"]).await;
    assert_eq!(started.code, 0, "{}", started.stderr);
    let killed = fixture.docker(&["rm", "-f", "web"]).await;
    assert_eq!(killed.code, 0, "{}", killed.stderr);
    assert_eq!(fixture.docker(&["ps", "-aq"]).await.stdout, "");
}

#[tokio::test(flavor = "multi_thread")]
async fn logs_follow_until_the_end() {
    let fixture = Fixture::new().await;
    let script = "echo one; sleep 0.3; echo two; sleep 0.3; printf three";
    fixture
        .docker(&[
            "run", "-d", "--name", "talker", "busybox", "sh", "-c", script,
        ])
        .await;

    let logs = fixture.docker(&["logs", "-f", "talker"]).await;

    assert_eq!(logs.stdout, "one\ntwo\nthree");
    let tail = fixture.docker(&["logs", "--tail", "1", "talker"]).await;
    assert_eq!(tail.stdout, "three");
}

#[tokio::test(flavor = "multi_thread")]
async fn attach_hears_what_comes_and_wait_tells_the_end() {
    let fixture = Fixture::new().await;
    fixture
        .docker(&[
            "run",
            "-di",
            "--name",
            "echo",
            "busybox",
            "sh",
            "-c",
            "read line; echo got $line; exit 5",
        ])
        .await;

    let attached = fixture
        .docker_with_input(&["attach", "echo"], b"word\n")
        .await;

    assert_eq!(attached.stdout, "got word\n");
    assert_eq!(attached.code, 5);
    assert_eq!(fixture.docker(&["wait", "echo"]).await.stdout, "5\n");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_published_port_is_open_when_run_returns() {
    let fixture = Fixture::new().await;
    // The container's listener is a process of this host here, so it has a port of its own.
    let (inside, outside) = (free_port(), free_port());
    let script = "import socket,sys,time\ntime.sleep(0.5)\ns=socket.create_server(('127.0.0.1',int(sys.argv[1])))\n\
                  while True:\n c,_=s.accept()\n d=c.recv(99)\n c.sendall(b'echo '+d)\n c.close()";
    let run = fixture
        .docker(&[
            "run",
            "-d",
            "--name",
            "web",
            "-p",
            &format!("{outside}:{inside}"),
            "busybox",
            "python3",
            "-c",
            script,
            &inside.to_string(),
        ])
        .await;
    assert_eq!(run.code, 0, "{}", run.stderr);

    let mut client = TcpStream::connect(("127.0.0.1", outside)).await.unwrap();
    client.write_all(b"hi").await.unwrap();
    let mut answer = String::new();
    client.read_to_string(&mut answer).await.unwrap();

    assert_eq!(answer, "echo hi");
    let port = fixture.docker(&["port", "web"]).await;
    assert_eq!(
        port.stdout,
        format!("{inside}/tcp -> 127.0.0.1:{outside}\n")
    );
    let conflict = fixture
        .docker(&[
            "run",
            "-d",
            "-p",
            &format!("{outside}:80"),
            "busybox",
            "sleep",
            "1000",
        ])
        .await;
    assert_eq!(conflict.code, 125);
    assert!(
        conflict.stderr.contains(&format!(
            "Bind for 127.0.0.1:{outside} failed: port is already allocated"
        )),
        "{}",
        conflict.stderr
    );
    fixture.docker(&["rm", "-f", "web"]).await;
    TcpStream::connect(("127.0.0.1", outside))
        .await
        .unwrap_err();
}

#[tokio::test(flavor = "multi_thread")]
async fn containers_that_ran_are_marked_when_the_daemon_comes_back() {
    let mut fixture = Fixture::new().await;
    fixture
        .docker(&["run", "-d", "--name", "web", "busybox", "sleep", "1000"])
        .await;

    fixture.kill_and_come_back().await;

    let state = fixture
        .docker(&[
            "inspect",
            "-f",
            "{{.State.Status}} {{.State.ExitCode}} {{.State.Error}}",
            "web",
        ])
        .await;
    assert_eq!(
        state.stdout,
        "exited 137 the machine ended with the daemon\n"
    );
    let started = fixture.docker(&["start", "web"]).await;
    assert_eq!(started.code, 0, "{}", started.stderr);
}

#[tokio::test(flavor = "multi_thread")]
async fn events_tell_a_containers_life() {
    let fixture = Fixture::new().await;
    fixture
        .docker(&["run", "--rm", "--name", "short", "busybox", "true"])
        .await;

    let soon = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap()
        .as_secs()
        + 1;
    let events = fixture
        .docker(&[
            "events",
            "--since",
            "1h",
            "--until",
            &soon.to_string(),
            "--format",
            "{{.Action}}",
        ])
        .await;

    // Docker's order, too: its networks go before the end is told.
    let life = "create\nattach\nconnect\nstart\ndisconnect\ndie\ndestroy\n";
    assert_eq!(events.stdout, life);
}

#[tokio::test(flavor = "multi_thread")]
async fn names_are_unique_and_prefixes_resolve() {
    let fixture = Fixture::new().await;
    let created = fixture
        .docker(&["create", "--name", "one", "busybox"])
        .await;
    let id = created.stdout.trim().to_owned();

    let again = fixture
        .docker(&["create", "--name", "one", "busybox"])
        .await;

    assert!(
        again.stderr.contains("is already in use by container"),
        "{}",
        again.stderr
    );
    let name = fixture
        .docker(&["inspect", "-f", "{{.Name}}", &id[..8]])
        .await;
    assert_eq!(name.stdout, "/one\n");
    let renamed = fixture.docker(&["rename", "one", "two"]).await;
    assert_eq!(renamed.code, 0, "{}", renamed.stderr);
    let filtered = fixture
        .docker(&[
            "ps",
            "-a",
            "--filter",
            "name=^/two$",
            "--format",
            "{{.Names}}",
        ])
        .await;
    assert_eq!(filtered.stdout, "two\n");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_there_yet_is_refused_by_name() {
    let fixture = Fixture::new().await;

    let volume = fixture
        .docker(&["run", "--rm", "-v", "/tmp:/x", "busybox", "true"])
        .await;
    let cgroup = fixture
        .docker(&["run", "-d", "--cgroup-parent", "x", "busybox", "true"])
        .await;

    assert!(
        volume
            .stderr
            .contains("bind mounts of the host's files are not supported"),
        "{}",
        volume.stderr
    );
    assert_eq!(volume.code, 125);
    assert!(
        cgroup.stderr.contains("--cgroup-parent is not supported"),
        "{}",
        cgroup.stderr
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn the_docker_cli_reads_our_facts() {
    let fixture = Fixture::new().await;

    let version = fixture
        .docker(&[
            "version",
            "--format",
            "{{.Server.Version}} {{.Server.APIVersion}}",
        ])
        .await;
    let info = fixture
        .docker(&["info", "--format", "{{.Driver}} {{.DefaultRuntime}}"])
        .await;
    let images = fixture
        .docker(&["images", "--format", "{{.Repository}}:{{.Tag}}"])
        .await;
    let df = fixture.docker(&["system", "df"]).await;
    let networks = fixture
        .docker(&["network", "ls", "--format", "{{.Name}}"])
        .await;

    assert_eq!(
        version.stdout,
        concat!(env!("CARGO_PKG_VERSION"), " 1.51\n"),
        "{}",
        version.stderr
    );
    assert_eq!(info.stdout, "erofs dhow\n", "{}", info.stderr);
    assert_eq!(images.stdout, "busybox:latest\n", "{}", images.stderr);
    assert_eq!(df.code, 0, "{}", df.stderr);
    assert_eq!(
        networks.stdout, "bridge\nhost\nnone\n",
        "{}",
        networks.stderr
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn the_daemon_leaves_when_idle_and_not_before() {
    let fixture = Fixture::with_idle(Duration::from_millis(300)).await;
    fixture
        .docker(&["run", "-d", "--name", "web", "busybox", "sleep", "1000"])
        .await;
    tokio::time::sleep(Duration::from_millis(900)).await;
    assert_eq!(
        fixture.docker(&["ps", "-q"]).await.stdout.lines().count(),
        1
    );

    fixture.docker(&["rm", "-f", "web"]).await;

    fixture.left().await;
}
