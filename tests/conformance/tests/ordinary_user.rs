//! The whole of it as a user without any right: as `nobody` where the tests run as root.

use std::os::unix::fs::{PermissionsExt, chown};
use std::path::Path;
use std::process::Command;

use dhow_conformance_tests::{ask, need};
use dhow_harness::{BUSYBOX, Finished, dist, image, run};

/// The user and the group that own nothing.
const NOBODY: u32 = 65534;

/// An ordinary user with an empty home folder and nothing else in the environment.
struct User {
    home: tempfile::TempDir,
}

impl User {
    fn new() -> Self {
        let home = tempfile::tempdir().expect("a temporary folder can be made");
        if nix::unistd::geteuid().is_root() {
            chown(home.path(), Some(NOBODY), Some(NOBODY)).expect("root may");
        }
        Self { home }
    }

    fn act(&self, program: &Path, arguments: &[&str]) -> Finished {
        let number = NOBODY.to_string();
        let mut command = if nix::unistd::geteuid().is_root() {
            let mut command = Command::new("setpriv");
            command.args(["--reuid", &number, "--regid", &number, "--clear-groups"]);
            command
                .args(["--inh-caps=-all", "--no-new-privs"])
                .arg(program);
            command
        } else {
            Command::new(program)
        };
        let path = std::env::var_os("PATH").unwrap_or_default();
        command.args(arguments).current_dir(self.home.path());
        command
            .env_clear()
            .env("HOME", self.home.path())
            .env("PATH", path);
        run(&mut command, b"")
    }

    fn dhow(&self, arguments: &[&str]) -> Finished {
        self.act(&self.home.path().join("dhow/bin/dhow"), arguments)
    }

    /// Gives the user a copy of the distribution: the checkout may lie where others cannot read.
    fn install(&self) {
        let to = self.home.path().join("dhow");
        std::fs::create_dir(&to).expect("the folder is ours");
        for part in ["bin", "lib"] {
            let from = dist().join(part);
            let _ = run(Command::new("cp").arg("-rL").arg(from).arg(&to), b"").succeed();
        }
        let _ = run(Command::new("chmod").args(["-R", "a+rX"]).arg(&to), b"").succeed();
    }
}

impl Drop for User {
    fn drop(&mut self) {
        let stopped = self.dhow(&["daemon", "stop"]);
        if !std::thread::panicking() {
            let _ = stopped.succeed();
        }
    }
}

#[test]
fn everything_works_without_any_right() {
    need("setpriv");
    let user = User::new();
    user.install();
    let archive = image(BUSYBOX);
    let copy = user.home.path().join("busybox.tar");
    std::fs::copy(archive, &copy).expect("the folder is writable");
    std::fs::set_permissions(&copy, std::fs::Permissions::from_mode(0o644)).expect("ours");

    let _ = user.dhow(&["load", "-i", "busybox.tar"]).succeed();
    let identity = user.dhow(&["run", "--rm", BUSYBOX, "id", "-u"]).succeed();
    let script = "echo from the container >/index.html; exec httpd -f -p 80 -h /";
    let line = [
        "run", "-d", "--name", "web", "--memory", "64m", "-p", "0:80", BUSYBOX, "sh", "-c",
    ];
    let _ = user.dhow(&[&line[..], &[script]].concat()).succeed();
    let address = user.dhow(&["port", "web", "80"]).succeed();
    let (_, port) = address.text().rsplit_once(':').expect("ADDRESS:PORT");
    let answer = ask(
        port.parse().expect("a port"),
        b"GET /index.html HTTP/1.0\r\n\r\n",
    );
    let limit = user
        .dhow(&["exec", "web", "cat", "/sys/fs/cgroup/memory.max"])
        .succeed();
    let _ = user.dhow(&["stop", "-t", "0", "web"]).succeed();
    let _ = user.dhow(&["start", "web"]).succeed();
    let _ = user.dhow(&["rm", "-f", "web"]).succeed();

    assert_eq!(identity.text(), "0");
    assert!(answer.is_some_and(|answer| answer.ends_with("from the container\n")));
    assert_eq!(limit.text(), "67108864");
    assert_eq!(user.dhow(&["ps", "-aq"]).succeed().text(), "");
}
