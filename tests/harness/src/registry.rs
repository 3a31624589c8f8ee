//! A registry of a test's own: Debian's docker-registry on a free port of loopback, its data in a
//! temporary folder.

use std::fs;
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use tempfile::TempDir;

use crate::command::run;

/// The program.
const PROGRAM: &str = "docker-registry";

/// How long it may take to listen.
const START_TIMEOUT: Duration = Duration::from_secs(20);

/// The user of a registry that wants one.
pub const REGISTRY_USER: &str = "me";

/// That user's password; the colon is part of it.
pub const REGISTRY_PASSWORD: &str = "se:cret";

/// What a registry asks of its clients.
#[derive(Clone, Copy, Debug, Default)]
pub struct RegistryOptions {
    /// [`REGISTRY_USER`] and [`REGISTRY_PASSWORD`].
    pub password: bool,
    /// Encryption, with a certificate of an authority that nobody knows yet.
    pub encryption: bool,
}

/// A running registry; it ends when dropped.
#[derive(Debug)]
pub struct Registry {
    folder: TempDir,
    child: Child,
    port: u16,
}

impl Registry {
    /// Starts one; nothing where docker-registry is not installed.
    ///
    /// # Panics
    /// Where it does not start.
    #[must_use]
    #[track_caller]
    pub fn start(options: RegistryOptions) -> Option<Self> {
        let found = Command::new(PROGRAM).arg("--version").output();
        if !found.is_ok_and(|output| output.status.success()) {
            return None;
        }
        let folder = tempfile::tempdir().expect("a temporary folder can be made");
        let port = free_port();
        let configuration = folder.path().join("config.yml");
        fs::write(&configuration, configured(folder.path(), port, options)).expect("it is ours");
        let child = Command::new(PROGRAM)
            .args(["serve", configuration.to_str().expect("a text path")])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("its version could be asked for");
        let registry = Self {
            folder,
            child,
            port,
        };
        registry.wait_until_it_listens();
        Some(registry)
    }

    fn wait_until_it_listens(&self) {
        let deadline = Instant::now() + START_TIMEOUT;
        while TcpStream::connect(("127.0.0.1", self.port)).is_err() {
            assert!(Instant::now() < deadline, "{PROGRAM} does not listen");
            thread::sleep(Duration::from_millis(20));
        }
    }

    /// `127.0.0.1:port`.
    #[must_use]
    pub fn host(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// Its port.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// An image's name in it.
    #[must_use]
    pub fn name(&self, image: &str) -> String {
        format!("{}/{image}", self.host())
    }

    /// The certificate of its authority, where it is encrypted.
    #[must_use]
    pub fn authority(&self) -> PathBuf {
        self.folder.path().join("authority.crt")
    }

    /// Runs skopeo, which trusts it.
    ///
    /// # Panics
    /// Where skopeo fails.
    #[track_caller]
    pub fn copy(&self, from: &str, to: &str) {
        let arguments = [
            "--insecure-policy",
            "copy",
            "--quiet",
            "--src-tls-verify=false",
            "--dest-tls-verify=false",
            from,
            to,
        ];
        let _copied = run(Command::new("skopeo").args(arguments), b"").succeed();
    }

    /// The digest that skopeo finds under a name.
    ///
    /// # Panics
    /// Where it finds nothing.
    #[must_use]
    #[track_caller]
    pub fn digest(&self, image: &str) -> String {
        let address = format!("docker://{}", self.name(image));
        let arguments = [
            "inspect",
            "--tls-verify=false",
            "--format",
            "{{.Digest}}",
            &address,
        ];
        let found = run(Command::new("skopeo").args(arguments), b"").succeed();
        found.text().to_owned()
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        // Gone already is what we want.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A port that nobody listens on, taken from the kernel a moment before.
fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("loopback has free ports");
    listener.local_addr().expect("it is bound").port()
}

fn configured(folder: &Path, port: u16, options: RegistryOptions) -> String {
    let data = folder.join("data");
    let mut text = format!(
        "version: 0.1\nlog: {{level: error}}\nstorage:\n  filesystem: {{rootdirectory: {}}}\n",
        data.display()
    );
    if options.password {
        let arguments = ["-Bbn", REGISTRY_USER, REGISTRY_PASSWORD];
        let line = run(Command::new("htpasswd").args(arguments), b"").succeed();
        let path = folder.join("htpasswd");
        fs::write(&path, line.stdout).expect("it is ours");
        text += &format!(
            "auth:\n  htpasswd: {{realm: test, path: {}}}\n",
            path.display()
        );
    }
    let encryption = match options.encryption {
        true => {
            make_certificates(folder);
            let (key, certificate) = (folder.join("key.pem"), folder.join("registry.crt"));
            let (key, certificate) = (key.display(), certificate.display());
            format!(", tls: {{certificate: {certificate}, key: {key}}}")
        }
        false => String::new(),
    };
    text + &format!("http: {{addr: \"127.0.0.1:{port}\"{encryption}}}\n")
}

/// An authority, and a certificate from it for every name of this host.
fn make_certificates(folder: &Path) {
    let script = "set -e
        host=$(hostname)
        openssl req -x509 -newkey rsa:2048 -nodes -keyout authority.pem -out authority.crt -days 2 -subj /CN=authority
        openssl req -newkey rsa:2048 -nodes -keyout key.pem -out request.pem -subj /CN=registry
        printf 'subjectAltName=DNS:localhost,DNS:%s,IP:127.0.0.1\nbasicConstraints=CA:FALSE\n' \"$host\" > extensions
        openssl x509 -req -in request.pem -CA authority.crt -CAkey authority.pem -CAcreateserial -days 2 \
            -extfile extensions -out registry.crt";
    let mut shell = Command::new("sh");
    shell.args(["-c", script]).current_dir(folder);
    let _made = run(&mut shell, b"").succeed();
}
