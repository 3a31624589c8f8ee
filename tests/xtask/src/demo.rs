//! `cargo xtask demo`: from a fresh machine to a web server in a container that answers through a
//! published port, with the time of each phase.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};

use crate::{child, dist, images, report, setup};

/// The page that the demo's web server shows.
const PAGE: &str = "Hello from a container in a microVM.";

/// How long the page may take before the demo counts as failed.
const PAGE_TIMEOUT: Duration = Duration::from_secs(20);

/// Builds what is missing, then shows it.
///
/// # Errors
/// When a phase fails; the demo's home and processes are gone all the same.
pub fn run() -> Result<()> {
    setup::run()?;
    let dist = dist::build()?;
    let archive = images::build(images::Image::Busybox)?;
    let home = tempfile::tempdir().context("failed to make a home for the demo")?;
    let demo = Demo {
        dhow: &dist.join("bin/dhow"),
        home: home.path(),
    };
    let shown = demo.show(&archive);
    // Whatever happened, nothing stays behind.
    let stopped = demo.dhow(&["daemon", "stop"]);
    shown?;
    stopped.map(drop)
}

/// A dhow with a home of its own.
struct Demo<'a> {
    dhow: &'a Path,
    home: &'a Path,
}

impl Demo<'_> {
    fn show(&self, archive: &Path) -> Result<()> {
        let archive = archive.to_str().context("the archive's path is no text")?;
        let script = format!("echo '{PAGE}' >/index.html; exec httpd -f -p 80 -h /");
        let run = [
            "run", "-d", "--init", "--name", "web", "-p", "0:80", "busybox", "sh", "-c", &script,
        ];

        report::say("");
        self.phase("load the image", &["load", "-q", "-i", archive])?;
        self.phase("boot a machine and run a web server in it", &run)?;
        let address = self.dhow(&["port", "web", "80"])?;
        let address = address
            .lines()
            .next()
            .context("the port is not published")?
            .to_owned();
        let begin = Instant::now();
        let page = fetch(&address)?;
        tell(
            &format!("curl http://{address}/  →  {page}"),
            begin.elapsed(),
        );
        self.phase("exec a command in it", &["exec", "web", "true"])?;
        self.phase("run another container", &["run", "--rm", "busybox", "true"])?;
        self.phase("stop it", &["stop", "-t", "1", "web"])?;
        self.phase("remove it", &["rm", "web"])
    }

    fn phase(&self, what: &str, arguments: &[&str]) -> Result<()> {
        let begin = Instant::now();
        self.dhow(arguments)?;
        tell(what, begin.elapsed());
        Ok(())
    }

    fn dhow(&self, arguments: &[&str]) -> Result<String> {
        let mut command = Command::new(self.dhow);
        command.args(arguments).env("DHOW_HOME", self.home);
        child::output(&mut command)
    }
}

fn tell(what: &str, time: Duration) {
    report::say(&format!("{:>8.1} ms  {what}", time.as_secs_f64() * 1000.0));
}

/// The page at `address`.
fn fetch(address: &str) -> Result<String> {
    let mut stream = TcpStream::connect(address).context("failed to connect")?;
    stream
        .set_read_timeout(Some(PAGE_TIMEOUT))
        .context("failed to bound the wait")?;
    stream
        .write_all(b"GET / HTTP/1.0\r\n\r\n")
        .context("failed to ask for the page")?;
    let mut answer = String::new();
    stream
        .read_to_string(&mut answer)
        .context("failed to read the page")?;
    ensure!(
        answer.contains(PAGE),
        "the page is not the container's: {answer}"
    );
    Ok(PAGE.to_owned())
}
