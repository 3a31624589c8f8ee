//! A daemon on a socket of its own, and the docker CLI to talk to it.

use std::path::PathBuf;
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use dhow_daemon::{Doors, ServeError, ServeOptions};
use dhow_engine::{Engine, EngineOptions};
use dhow_fake_agent::{FakeBoot, FakeImages};
use tokio::io::AsyncWriteExt;
use tokio::process::Command;
use tokio::runtime::Runtime;
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

/// Longest that one docker command may take.
const COMMAND_TIMEOUT: Duration = Duration::from_secs(60);

/// A running daemon.
pub(crate) struct Fixture {
    home: tempfile::TempDir,
    /// The daemon's own runtime, so that killing it takes all its tasks along.
    runtime: Option<Runtime>,
    serving: Option<JoinHandle<Result<(), ServeError>>>,
    idle_timeout: Option<Duration>,
}

/// What a command did.
pub(crate) struct Outcome {
    pub(crate) stdout: String,
    pub(crate) stderr: String,
    pub(crate) code: i32,
}

impl Fixture {
    /// A daemon that never leaves.
    pub(crate) async fn new() -> Self {
        Self::start(None).await
    }

    /// A daemon that leaves when idle for so long.
    pub(crate) async fn with_idle(idle_timeout: Duration) -> Self {
        Self::start(Some(idle_timeout)).await
    }

    async fn start(idle_timeout: Option<Duration>) -> Self {
        let docker = Command::new("docker").arg("--version").output().await;
        assert!(docker.is_ok(), "no docker: run `cargo xtask setup`");
        let mut fixture = Self {
            home: tempfile::tempdir().unwrap(),
            runtime: None,
            serving: None,
            idle_timeout,
        };
        fixture.come_up();
        fixture
    }

    fn socket(&self) -> PathBuf {
        self.home.path().join("docker.sock")
    }

    fn come_up(&mut self) {
        let runtime = Runtime::new().unwrap();
        let options = EngineOptions {
            home: self.home.path().to_owned(),
            boot: Arc::new(FakeBoot),
            images: Arc::new(FakeImages),
            registry_settings: self.home.path().join("daemon.json"),
            machine_idle: Duration::from_secs(60),
            api_socket: self.socket(),
        };
        let engine = Engine::open(options).unwrap();
        let serve_options = ServeOptions {
            idle_timeout: self.idle_timeout,
            shutdown: CancellationToken::new(),
        };
        let guard = runtime.enter();
        let listener = dhow_daemon::bind(&self.socket()).unwrap();
        self.serving = Some(runtime.spawn(dhow_daemon::serve(
            Doors {
                clients: listener,
                containers: None,
            },
            engine,
            serve_options,
        )));
        drop(guard);
        self.runtime = Some(runtime);
    }

    /// Drops every task of the daemon where it stands, as SIGKILL would, and starts a new one.
    pub(crate) async fn kill_and_come_back(&mut self) {
        self.runtime.take().unwrap().shutdown_background();
        tokio::time::sleep(Duration::from_millis(200)).await;
        self.come_up();
    }

    /// Waits until the daemon has left.
    pub(crate) async fn left(mut self) {
        let serving = self.serving.take().unwrap();
        timeout(COMMAND_TIMEOUT, serving)
            .await
            .unwrap()
            .unwrap()
            .unwrap();
    }

    /// Runs the docker CLI without input.
    pub(crate) async fn docker(&self, arguments: &[&str]) -> Outcome {
        self.docker_with_input(arguments, b"").await
    }

    /// Runs the docker CLI with input and its end.
    pub(crate) async fn docker_with_input(&self, arguments: &[&str], input: &[u8]) -> Outcome {
        let mut child = Command::new("docker")
            .arg("-H")
            .arg(format!("unix://{}", self.socket().display()))
            .args(arguments)
            .env("HOME", self.home.path())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let mut stdin = child.stdin.take().unwrap();
        // A command that reads no input may be gone already.
        let _unread = stdin.write_all(input).await;
        drop(stdin);
        let output = timeout(COMMAND_TIMEOUT, child.wait_with_output())
            .await
            .unwrap_or_else(|_| panic!("docker {arguments:?} hangs"))
            .unwrap();
        Outcome {
            stdout: String::from_utf8(output.stdout).unwrap(),
            stderr: String::from_utf8(output.stderr).unwrap(),
            code: output.status.code().unwrap_or(-1),
        }
    }
}

impl Drop for Fixture {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

/// A port that nobody has just now.
pub(crate) fn free_port() -> u16 {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap().port()
}
