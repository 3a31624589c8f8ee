//! A registry that does as it is told, also what no registry should: cut, lie, refuse, fall silent.
//!
//! One thread per connection, HTTP/1.1, one request per connection. It has one image of one layer.

use std::collections::VecDeque;
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use dhow_image::Digest;
use flate2::Compression;
use flate2::write::GzEncoder;

/// The user the registry knows, in Base64 with the password.
pub(crate) const USER: (&str, &str) = ("me", "secret");

/// First byte of a client that begins to encrypt (RFC 8446, section 5.1).
const TLS_HANDSHAKE: u8 = 22;

/// How it misbehaves.
#[derive(Debug, Clone, Default)]
pub(crate) struct Manners {
    /// Bytes of a layer's answer after which the connection is cut, for the next answers.
    pub(crate) cuts: VecDeque<usize>,
    /// Whether it knows ranges.
    pub(crate) ignores_ranges: bool,
    /// Bytes that a layer has instead of its own.
    pub(crate) wrong_layer: Option<Vec<u8>>,
    /// Bytes that follow the layer.
    pub(crate) surplus: usize,
    /// Wants user and password.
    pub(crate) basic: bool,
    /// Wants a token, from itself.
    pub(crate) token: bool,
    /// A status with headers for all manifests.
    pub(crate) manifest_status: Option<(u16, &'static str)>,
    /// Redirects blobs to this address.
    pub(crate) blobs_at: Option<String>,
    /// Bytes of a manifest's answer beside its own.
    pub(crate) endless_manifest: bool,
    /// Hides its image behind an index with this platform.
    pub(crate) index_platform: Option<(&'static str, &'static str)>,
}

/// What it was asked: request line and authorization, and ranges.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Asked {
    pub(crate) line: String,
    pub(crate) authorization: Option<String>,
    pub(crate) range: Option<String>,
}

/// What all connections share.
#[derive(Debug)]
struct Shared {
    manners: Mutex<Manners>,
    asked: Mutex<Vec<Asked>>,
    layer: Vec<u8>,
    configuration: Vec<u8>,
    manifest: Vec<u8>,
    address: String,
}

/// The registry; its threads end with the test.
#[derive(Debug, Clone)]
pub(crate) struct MockRegistry {
    shared: Arc<Shared>,
}

/// A tar with one file of so many pseudo-random bytes, which gzip cannot make small.
fn layer_archive(bytes: usize) -> Vec<u8> {
    let mut state = 0x2545_f491_4f6c_dd1d_u64;
    let content: Vec<u8> = std::iter::repeat_with(|| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()[0]
    })
    .take(bytes)
    .collect();
    let mut header = tar::Header::new_ustar();
    header.set_size(content.len() as u64);
    header.set_mode(0o644);
    let mut archive = tar::Builder::new(Vec::new());
    archive
        .append_data(&mut header, "file", content.as_slice())
        .unwrap();
    archive.into_inner().unwrap()
}

impl MockRegistry {
    pub(crate) fn start(manners: Manners) -> Self {
        let archive = layer_archive(300_000);
        let mut packed = GzEncoder::new(Vec::new(), Compression::fast());
        packed.write_all(&archive).unwrap();
        let layer = packed.finish().unwrap();
        let configuration = format!(
            r#"{{"architecture":"amd64","os":"linux","config":{{}},"rootfs":{{"type":"layers","diff_ids":["{}"]}}}}"#,
            Digest::of(&archive)
        );
        let manifest = format!(
            r#"{{"schemaVersion":2,"config":{{"digest":"{}","size":{}}},"layers":[{{"digest":"{}","size":{}}}]}}"#,
            Digest::of(configuration.as_bytes()),
            configuration.len(),
            Digest::of(&layer),
            layer.len()
        );
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let shared = Arc::new(Shared {
            manners: Mutex::new(manners),
            asked: Mutex::default(),
            layer,
            configuration: configuration.into_bytes(),
            manifest: manifest.into_bytes(),
            address,
        });
        let registry = Self { shared };
        let server = registry.clone();
        thread::spawn(move || {
            for connection in listener.incoming() {
                let server = server.clone();
                // A client that leaves early is what some tests are about.
                thread::spawn(move || connection.and_then(|connection| server.serve(connection)));
            }
        });
        registry
    }

    /// `host:port`.
    pub(crate) fn host(&self) -> &str {
        &self.shared.address
    }

    /// Bytes of the layer.
    pub(crate) fn layer_bytes(&self) -> usize {
        self.shared.layer.len()
    }

    /// Everything it was asked, in order.
    pub(crate) fn asked(&self) -> Vec<Asked> {
        self.shared.asked.lock().unwrap().clone()
    }

    /// What it was asked about blobs of a layer.
    pub(crate) fn asked_for_layer(&self) -> Vec<Asked> {
        let digest = Digest::of(&self.shared.layer).to_string();
        let asked = self.asked().into_iter();
        asked.filter(|one| one.line.contains(&digest)).collect()
    }

    fn serve(&self, connection: TcpStream) -> std::io::Result<()> {
        let mut reader = BufReader::new(connection.try_clone()?);
        if reader.fill_buf()?.first() == Some(&TLS_HANDSHAKE) {
            return reply(&mut &connection, 400, "", b"plain HTTP only");
        }
        let mut line = String::new();
        reader.read_line(&mut line)?;
        let (mut authorization, mut range) = (None, None);
        loop {
            let mut header = String::new();
            reader.read_line(&mut header)?;
            let header = header.trim();
            let Some((name, value)) = header.split_once(':') else {
                break;
            };
            match name.to_ascii_lowercase().as_str() {
                "authorization" => authorization = Some(value.trim().to_owned()),
                "range" => range = Some(value.trim().to_owned()),
                _ => {}
            }
        }
        let asked = Asked {
            line: line.trim().to_owned(),
            authorization,
            range,
        };
        self.shared.asked.lock().unwrap().push(asked.clone());
        self.answer(&asked, connection)
    }

    fn answer(&self, asked: &Asked, mut to: TcpStream) -> std::io::Result<()> {
        let manners = self.shared.manners.lock().unwrap().clone();
        let path = asked.line.split(' ').nth(1).unwrap_or_default();
        let basic = format!(
            "Basic {}",
            STANDARD.encode(format!("{}:{}", USER.0, USER.1))
        );
        if path.starts_with("/token") {
            let body = match asked.authorization.as_ref() == Some(&basic) {
                true => r#"{"token":"full"}"#,
                false => r#"{"token":"anonymous"}"#,
            };
            return reply(&mut to, 200, "", body.as_bytes());
        }
        let wanted = match (manners.basic, manners.token) {
            (true, _) => Some((basic, "Basic realm=\"mock\"".to_owned())),
            (_, true) => {
                let host = self.host();
                let realm = format!("Bearer realm=\"http://{host}/token\",service=\"mock\"");
                Some(("Bearer full".to_owned(), realm))
            }
            _ => None,
        };
        if let Some((wanted, challenge)) = wanted
            && asked.authorization.as_ref() != Some(&wanted)
        {
            let header = format!("WWW-Authenticate: {challenge}\r\n");
            let body = br#"{"errors":[{"code":"UNAUTHORIZED","message":"who are you"}]}"#;
            return reply(&mut to, 401, &header, body);
        }
        match path {
            "/v2/" => reply(&mut to, 200, "", b"{}"),
            _ if path.contains("/manifests/") => self.manifest(&manners, path, &mut to),
            _ if path.contains("/blobs/") => self.blob(&manners, path, asked, &mut to),
            _ => reply(&mut to, 404, "", b""),
        }
    }

    fn manifest(&self, manners: &Manners, path: &str, to: &mut TcpStream) -> std::io::Result<()> {
        if let Some((status, headers)) = manners.manifest_status {
            let body = br#"{"errors":[{"code":"SOME_CODE","message":"as it was told"}]}"#;
            return reply(to, status, headers, body);
        }
        if path.ends_with("/missing") {
            let body = br#"{"errors":[{"code":"MANIFEST_UNKNOWN","message":"manifest unknown"}]}"#;
            return reply(to, 404, "", body);
        }
        if manners.endless_manifest {
            to.write_all(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n")?;
            loop {
                to.write_all(&[b' '; 4096])?;
            }
        }
        let manifest = &self.shared.manifest;
        let digest = Digest::of(manifest).to_string();
        if let Some((os, architecture)) = manners.index_platform
            && !path.ends_with(&digest)
        {
            let index = format!(
                r#"{{"schemaVersion":2,"manifests":[
                {{"digest":"{digest}","size":{},"platform":{{"os":"unknown","architecture":"unknown"}}}},
                {{"digest":"{digest}","size":{},"platform":{{"os":"{os}","architecture":"{architecture}"}}}}]}}"#,
                manifest.len(),
                manifest.len()
            );
            return reply(to, 200, "", index.as_bytes());
        }
        reply(to, 200, "", manifest)
    }

    fn blob(
        &self,
        manners: &Manners,
        path: &str,
        asked: &Asked,
        to: &mut TcpStream,
    ) -> std::io::Result<()> {
        if let Some(address) = &manners.blobs_at {
            let header = format!("Location: {address}{path}\r\n");
            return reply(to, 307, &header, b"");
        }
        let configuration = &self.shared.configuration;
        if path.ends_with(&Digest::of(configuration).to_string()) {
            return reply(to, 200, "", configuration);
        }
        let layer = manners.wrong_layer.as_ref().unwrap_or(&self.shared.layer);
        let range = asked.range.as_ref().filter(|_| !manners.ignores_ranges);
        let start = range.and_then(|range| {
            range
                .strip_prefix("bytes=")?
                .split('-')
                .next()?
                .parse::<usize>()
                .ok()
        });
        let rest = &layer[start.unwrap_or_default().min(layer.len())..];
        let (status, range) = match start {
            Some(start) => {
                let (last, all) = (layer.len() - 1, layer.len());
                (
                    206,
                    format!("Content-Range: bytes {start}-{last}/{all}\r\n"),
                )
            }
            None => (200, String::new()),
        };
        let mut body = rest.to_vec();
        body.extend(vec![b'x'; manners.surplus]);
        let cut = self.shared.manners.lock().unwrap().cuts.pop_front();
        let sent = cut.unwrap_or(body.len()).min(body.len());
        write!(
            to,
            "HTTP/1.1 {status} .\r\nConnection: close\r\nContent-Length: {}\r\n{range}\r\n",
            body.len()
        )?;
        to.write_all(&body[..sent])
    }
}

fn reply(to: &mut impl Write, status: u16, headers: &str, body: &[u8]) -> std::io::Result<()> {
    let length = body.len();
    write!(
        to,
        "HTTP/1.1 {status} .\r\nConnection: close\r\nContent-Length: {length}\r\n{headers}\r\n"
    )?;
    to.write_all(body)
}
