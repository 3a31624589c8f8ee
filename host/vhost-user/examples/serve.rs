//! Serves a layer disk, a data disk and an entropy source for one machine, for trying by hand.
//!
//! `serve FOLDER LAYER DATA`: sockets `layers`, `data` and `rng` appear in FOLDER; it ends when the
//! machine does, and says how much memory it used.

use std::fs::{self, File};
use std::os::unix::net::UnixListener;
use std::path::PathBuf;

use dhow_vhost_user::Server;
use dhow_virtio::block::{DataDisk, LayerDisk};
use dhow_virtio::rng::Rng;

const LAYER_DISK_BYTES: u64 = 1 << 40;

#[expect(
    clippy::print_stdout,
    reason = "an example reports to whoever tries it"
)]
fn main() -> Result<(), Box<dyn std::error::Error>> {
    tracing_subscriber::fmt()
        .with_max_level(tracing_subscriber::filter::LevelFilter::DEBUG)
        .with_writer(std::io::stderr)
        .init();
    let mut arguments = std::env::args_os().skip(1).map(PathBuf::from);
    let mut next = || arguments.next().ok_or("usage: serve FOLDER LAYER DATA");
    let (folder, layer, data) = (next()?, next()?, next()?);
    let (layers, map) = LayerDisk::new(LAYER_DISK_BYTES);
    let layer = File::open(layer)?;
    let length = layer.metadata()?.len();
    map.map(0, layer, length)?;
    let data = DataDisk::new(File::options().read(true).write(true).open(data)?)?;
    let mut server = Server::new();
    server.add(Box::new(layers), UnixListener::bind(folder.join("layers"))?)?;
    server.add(Box::new(data), UnixListener::bind(folder.join("data"))?)?;
    for name in ["rng", "rng2"] {
        server.add(Box::new(Rng::new()), UnixListener::bind(folder.join(name))?)?;
    }
    let (never, _keep) = std::io::pipe()?;
    let exit = server.run(never)?;
    println!("{exit:?}");
    for line in fs::read_to_string("/proc/self/status")?.lines() {
        if line.starts_with("VmHWM") || line.starts_with("Rss") || line.starts_with("VmRSS") {
            println!("{line}");
        }
    }
    Ok(())
}
