//! The host's nameservers, as `/etc/resolv.conf` names them now.

use std::io::Read;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::SystemTime;

use crate::limits::{MAX_NAMESERVERS, MAX_RESOLVER_FILE_BYTES};
use crate::network::DNS_PORT;

/// A small file of the host that may change at any time: a VPN rewrites it, DHCP does.
pub(super) struct WatchedFile {
    path: PathBuf,
    /// Modification time and length of what was read last.
    seen: Option<(SystemTime, u64)>,
    read_once: bool,
}

impl WatchedFile {
    pub(super) fn new(path: PathBuf) -> Self {
        Self {
            path,
            seen: None,
            read_once: false,
        }
    }

    /// What the file holds, if that may differ from the last time; nothing for no file.
    pub(super) fn changed(&mut self) -> Option<String> {
        let metadata = std::fs::metadata(&self.path).ok();
        let seen = metadata.and_then(|found| Some((found.modified().ok()?, found.len())));
        if self.read_once && seen == self.seen {
            return None;
        }
        self.read_once = true;
        self.seen = seen;
        let mut bytes = Vec::new();
        if let Ok(file) = std::fs::File::open(&self.path) {
            // A file that cannot be read to its end counts as far as it can.
            let _ = file.take(MAX_RESOLVER_FILE_BYTES).read_to_end(&mut bytes);
        }
        Some(String::from_utf8_lossy(&bytes).into_owned())
    }
}

pub(super) struct Nameservers {
    file: WatchedFile,
    servers: Vec<SocketAddr>,
    /// Where to begin: whoever answered last.
    preferred: usize,
}

impl Nameservers {
    pub(super) fn new(path: PathBuf) -> Self {
        Self {
            file: WatchedFile::new(path),
            servers: Vec::new(),
            preferred: 0,
        }
    }

    /// All servers, in the order in which they are to be asked.
    pub(super) fn in_order(&mut self) -> Vec<SocketAddr> {
        if let Some(text) = self.file.changed() {
            self.servers = parse(&text);
            self.preferred = 0;
        }
        let mut servers = self.servers.clone();
        servers.rotate_left(self.preferred);
        servers
    }

    /// One has answered: it is asked first from now on.
    pub(super) fn prefer(&mut self, server: SocketAddr) {
        self.preferred = self
            .servers
            .iter()
            .position(|&known| known == server)
            .unwrap_or(0);
    }
}

fn parse(text: &str) -> Vec<SocketAddr> {
    let servers = text.lines().filter_map(|line| {
        let mut words = line.split_whitespace();
        (words.next()? == "nameserver")
            .then(|| words.next())
            .flatten()
    });
    let mut servers: Vec<SocketAddr> = servers
        .filter_map(parse_server)
        .take(MAX_NAMESERVERS)
        .collect();
    if servers.is_empty() {
        // As resolv.conf(5): with no server named, the one of this machine.
        servers.push(SocketAddr::new(Ipv4Addr::LOCALHOST.into(), DNS_PORT));
    }
    servers
}

/// An address, or an address and a port, as some resolvers allow and tests need.
fn parse_server(word: &str) -> Option<SocketAddr> {
    let address = word
        .parse::<IpAddr>()
        .map(|address| SocketAddr::new(address, DNS_PORT));
    address.ok().or_else(|| word.parse::<SocketAddr>().ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_as_many_servers_as_glibc_would() {
        let text = "search lan\nnameserver 192.0.2.1\n# nameserver 192.0.2.9\nnameserver fd00::1\n\
                    nameserver 192.0.2.3\nnameserver 192.0.2.4\n";

        let servers = parse(text);

        assert_eq!(servers.len(), MAX_NAMESERVERS);
        assert_eq!(servers[1], "[fd00::1]:53".parse().unwrap());
    }

    #[test]
    fn without_a_server_this_machine_is_asked() {
        assert_eq!(parse("options rotate\n"), ["127.0.0.1:53".parse().unwrap()]);
    }
}
