//! HTTP to registries: one exchange at a time, over connections that are kept.
//!
//! `ureq` blocks, which is what a layer's conversion wants: it reads its input as a plain [`Read`].
//! Everything has a time limit that counts from the last byte, so a silent registry is found out while
//! a slow one is not cut off. Redirects are followed here rather than by the library, because a blob's
//! redirect leads to a storage server that must not see the registry's authorization.

use std::collections::HashMap;
use std::io::{self, Read};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use ureq::config::AutoHeaderValue;
use ureq::http::header::{AUTHORIZATION, CONTENT_LENGTH, LOCATION, RETRY_AFTER};
use ureq::http::{HeaderMap, Method, Request, Response, StatusCode, request};
use ureq::tls::{Certificate, PemItem, RootCerts, TlsConfig, parse_pem};
use ureq::{Agent, Body, BodyReader, Proxy, SendBody};

use super::address::{host_of, is_https, join};
use super::error::RegistryError;
use super::proxy::Proxies;
use super::settings::RegistrySettings;

/// How long a connection may take.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(20);

/// How long a registry may be silent, or refuse to take bytes.
const SILENCE_TIMEOUT: Duration = Duration::from_secs(60);

/// Bytes read from a connection at once.
const INPUT_BUFFER_BYTES: usize = 128 << 10;

/// Redirects of one exchange; storage servers need one or two.
const MAX_REDIRECTS: usize = 8;

/// Most bytes of an answer that is only read for its message.
const MAX_MESSAGE_BYTES: u64 = 64 << 10;

/// Letters of a registry's message that are shown.
const MAX_MESSAGE_LETTERS: usize = 300;

/// How the standard library begins to say that a name does not resolve.
const LOOKUP_FAILURE: &str = "failed to lookup address information";

/// What we are to registries.
const USER_AGENT: &str = concat!("dhow/", env!("CARGO_PKG_VERSION"));

/// The agents of one operation. Dropping it closes all connections.
#[derive(Debug)]
pub(crate) struct Transport {
    settings: RegistrySettings,
    proxies: Proxies,
    /// One for each scheme and host, which differ in trust and proxy.
    agents: Mutex<HashMap<String, Agent>>,
    /// Whoever asked has gone.
    cancelled: AtomicBool,
    /// A part has failed, so that the rest is of no use.
    interrupted: AtomicBool,
}

/// What is sent after the headers.
pub(crate) enum Payload<'a> {
    /// Nothing.
    None,
    /// All of these, which may be sent again.
    Bytes(&'a [u8]),
    /// All of a reader, once, however much that is.
    Stream(&'a mut dyn Read),
}

/// A request.
pub(crate) struct Call<'a> {
    pub(crate) method: Method,
    pub(crate) address: String,
    pub(crate) headers: Vec<(&'static str, String)>,
    pub(crate) payload: Payload<'a>,
}

impl<'a> Call<'a> {
    /// A request without headers of its own.
    pub(crate) fn new(method: Method, address: impl Into<String>) -> Self {
        Self {
            method,
            address: address.into(),
            headers: Vec::new(),
            payload: Payload::None,
        }
    }

    pub(crate) fn header(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.headers.push((name, value.into()));
        self
    }

    pub(crate) fn payload(mut self, payload: Payload<'a>) -> Self {
        self.payload = payload;
        self
    }
}

/// What came back; the body is still to be read.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) host: String,
    /// Where it came from, after redirects.
    pub(crate) address: String,
    call: String,
    body: Body,
}

impl Transport {
    pub(crate) fn new(settings: RegistrySettings) -> Self {
        Self {
            settings,
            proxies: Proxies::read(|name| std::env::var(name).ok()),
            agents: Mutex::default(),
            cancelled: AtomicBool::new(false),
            interrupted: AtomicBool::new(false),
        }
    }

    pub(crate) fn settings(&self) -> &RegistrySettings {
        &self.settings
    }

    /// Ends everything that goes on, in whatever thread, for good.
    pub(crate) fn cancel(&self) {
        self.cancelled.store(true, Ordering::SeqCst);
        self.interrupt();
    }

    /// Ends everything that goes on, until [`restart`](Self::restart).
    pub(crate) fn interrupt(&self) {
        self.interrupted.store(true, Ordering::SeqCst);
        let agents =
            std::mem::take(&mut *self.agents.lock().unwrap_or_else(PoisonError::into_inner));
        for agent in agents.into_values() {
            agent.shutdown();
        }
    }

    /// Lets things go on after an interruption.
    pub(crate) fn restart(&self) {
        self.interrupted.store(false, Ordering::SeqCst);
    }

    pub(crate) fn is_cancelled(&self) -> bool {
        self.cancelled.load(Ordering::SeqCst) || self.interrupted.load(Ordering::SeqCst)
    }

    /// Waits, unless cancelled meanwhile.
    pub(crate) fn pause(&self, time: Duration) -> Result<(), RegistryError> {
        const STEP: Duration = Duration::from_millis(50);
        let mut left = time;
        while !left.is_zero() && !self.is_cancelled() {
            let step = left.min(STEP);
            std::thread::sleep(step);
            left -= step;
        }
        if self.is_cancelled() {
            return Err(RegistryError::Cancelled);
        }
        Ok(())
    }

    /// Sends a request and follows redirects of those that carry nothing.
    pub(crate) fn exchange(&self, mut call: Call<'_>) -> Result<Answer, RegistryError> {
        let follows = matches!(call.method, Method::GET | Method::HEAD);
        for _ in 0..=MAX_REDIRECTS {
            let (method, headers) = (call.method.clone(), call.headers.clone());
            let answer = self.once(call)?;
            let location = answer
                .headers
                .get(LOCATION)
                .filter(|_| follows && answer.status.is_redirection());
            let Some(location) = location else {
                return Ok(answer);
            };
            let target = location.to_str().ok();
            let target = target.and_then(|target| join(&answer.address, target));
            let target = target.ok_or_else(|| RegistryError::Invalid {
                host: answer.host.clone(),
                problem: "it redirects to nowhere".to_owned(),
            })?;
            if is_https(&answer.address) && !is_https(&target) {
                return Err(RegistryError::Invalid {
                    host: answer.host.clone(),
                    problem: "it redirects away from encryption".to_owned(),
                });
            }
            let same_host = host_of(&target) == answer.host;
            call = Call::new(method, target);
            call.headers = headers;
            if !same_host {
                call.headers
                    .retain(|(name, _)| !name.eq_ignore_ascii_case(AUTHORIZATION.as_str()));
            }
        }
        Err(RegistryError::Invalid {
            host: host_of(&call.address).to_owned(),
            problem: format!("it redirects more than {MAX_REDIRECTS} times"),
        })
    }

    fn once(&self, call: Call<'_>) -> Result<Answer, RegistryError> {
        if self.is_cancelled() {
            return Err(RegistryError::Cancelled);
        }
        let host = host_of(&call.address).to_owned();
        let shown = format!("{} {}", call.method, path_of(&call.address));
        let agent = self.agent(&call.address, &host)?;
        let mut request = Request::builder().method(call.method).uri(&call.address);
        for (name, value) in &call.headers {
            request = request.header(*name, value);
        }
        tracing::debug!(%host, call = %shown, "asking a registry");
        let response = match call.payload {
            Payload::None => run(&agent, request, SendBody::none()),
            Payload::Bytes(mut content) => {
                let request = request.header(CONTENT_LENGTH, content.len());
                run(&agent, request, SendBody::from_reader(&mut content))
            }
            Payload::Stream(reader) => run(&agent, request, SendBody::from_reader(reader)),
        };
        if self.is_cancelled() {
            return Err(RegistryError::Cancelled);
        }
        let (parts, body) = response
            .map_err(|error| self.failure(&host, error))?
            .into_parts();
        Ok(Answer {
            status: parts.status,
            headers: parts.headers,
            host,
            address: call.address,
            call: shown,
            body,
        })
    }

    /// The agent for an address.
    fn agent(&self, address: &str, host: &str) -> Result<Agent, RegistryError> {
        let is_https = is_https(address);
        let key = format!("{is_https} {host}");
        let mut agents = self.agents.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(agent) = agents.get(&key) {
            return Ok(agent.clone());
        }
        let proxy = self.proxies.for_host(is_https, host);
        let proxy = proxy.map(Proxy::new).transpose();
        let proxy = proxy.map_err(|error| self.failure(host, error))?;
        let config = Agent::config_builder()
            .http_status_as_error(false)
            .max_redirects(0)
            .max_redirects_will_error(false)
            .allow_non_standard_methods(true)
            .timeout_connect(Some(CONNECT_TIMEOUT))
            .timeout_per_read(Some(SILENCE_TIMEOUT))
            .timeout_per_write(Some(SILENCE_TIMEOUT))
            .input_buffer_size(INPUT_BUFFER_BYTES)
            .user_agent(USER_AGENT)
            .accept_encoding(AutoHeaderValue::None)
            .proxy(proxy)
            .tls_config(self.trust(host))
            .build();
        let agent = Agent::new_with_config(config);
        agents.insert(key, agent.clone());
        Ok(agent)
    }

    /// Whom to believe for a host.
    fn trust(&self, host: &str) -> TlsConfig {
        let mut roots = host_certificates().to_vec();
        for path in self.settings.certificates_of(host) {
            let items = std::fs::read(&path).unwrap_or_default();
            let certificates = parse_pem(&items).filter_map(|item| match item {
                Ok(PemItem::Certificate(certificate)) => Some(certificate),
                _ => None,
            });
            roots.extend(certificates);
        }
        TlsConfig::builder()
            .root_certs(RootCerts::new_with_certs(&roots))
            .disable_verification(self.settings.is_insecure(host))
            .unversioned_rustls_crypto_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .build()
    }

    /// What a failure of the library means.
    fn failure(&self, host: &str, error: ureq::Error) -> RegistryError {
        let host = host.to_owned();
        if self.is_cancelled() {
            return RegistryError::Cancelled;
        }
        match error {
            ureq::Error::HostNotFound => RegistryError::UnknownHost { host },
            ureq::Error::Rustls(error) => tls_failure(host, &error),
            ureq::Error::Io(source) => io_failure(host, source),
            ureq::Error::Timeout(_) => RegistryError::Unreachable {
                host,
                source: io::Error::new(io::ErrorKind::TimedOut, "no answer in time"),
            },
            other => RegistryError::Unreachable {
                host,
                source: io::Error::other(other),
            },
        }
    }
}

fn run(
    agent: &Agent,
    request: request::Builder,
    body: SendBody<'_>,
) -> Result<Response<Body>, ureq::Error> {
    agent.run(request.body(body).map_err(ureq::Error::Http)?)
}

/// Path of an address, without the query, which may hold secrets.
fn path_of(address: &str) -> &str {
    let rest = address.split_once("://").map_or(address, |(_, rest)| rest);
    let path = rest.find('/').map_or("/", |at| &rest[at..]);
    path.split('?').next().unwrap_or_default()
}

fn io_failure(host: String, source: io::Error) -> RegistryError {
    let tls = source
        .get_ref()
        .and_then(|inner| inner.downcast_ref::<rustls::Error>())
        .cloned();
    match tls {
        Some(error) => tls_failure(host, &error),
        // The standard library has no kind for it.
        None if source.to_string().starts_with(LOOKUP_FAILURE) => {
            RegistryError::UnknownHost { host }
        }
        None => RegistryError::Unreachable { host, source },
    }
}

fn tls_failure(host: String, error: &rustls::Error) -> RegistryError {
    let is_plain = matches!(
        error,
        rustls::Error::InvalidMessage(rustls::InvalidMessage::InvalidContentType)
    );
    if is_plain {
        return RegistryError::PlainHttp { host };
    }
    let source = match error.to_string() {
        // What `openssl req -x509` makes: common, and told by webpki in words for programmers.
        text if text.contains("CaUsedAsEndEntity") => io::Error::other(
            "its certificate is an authority's own (CA:TRUE), which cannot be a server's",
        ),
        _ => io::Error::other(error.clone()),
    };
    RegistryError::Tls { host, source }
}

/// The certificates this host trusts (`SSL_CERT_FILE` and `SSL_CERT_DIR` change what that is), read
/// once: there are some 140.
fn host_certificates() -> &'static [Certificate<'static>] {
    static CERTIFICATES: OnceLock<Vec<Certificate<'static>>> = OnceLock::new();
    CERTIFICATES.get_or_init(|| {
        let loaded = rustls_native_certs::load_native_certs();
        for error in &loaded.errors {
            tracing::warn!(%error, "some certificates of this host cannot be used");
        }
        let certificates = loaded.certs.iter();
        certificates
            .map(|certificate| Certificate::from_der(certificate).to_owned())
            .collect()
    })
}

impl Answer {
    /// A header as text.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    /// The body as it comes.
    pub(crate) fn into_reader(self) -> BodyReader<'static> {
        self.body.into_with_config().limit(u64::MAX).reader()
    }

    /// The whole body, if it has no more than `limit` bytes.
    pub(crate) fn read(self, limit: u64) -> Result<Vec<u8>, RegistryError> {
        let host = self.host.clone();
        let mut bytes = Vec::new();
        let mut reader = self.into_reader().take(limit + 1);
        if let Err(source) = reader.read_to_end(&mut bytes) {
            return Err(io_failure(host, source));
        }
        if bytes.len() as u64 > limit {
            let problem = format!("a document has more than {limit} bytes");
            return Err(RegistryError::Invalid { host, problem });
        }
        Ok(bytes)
    }

    /// The error that an unwelcome status means; `what` is the image or blob it is about.
    pub(crate) fn refusal(self, what: &str) -> RegistryError {
        let (host, status, call) = (self.host.clone(), self.status, self.call.clone());
        let retry_after = self.header(RETRY_AFTER.as_str());
        let retry_after = retry_after.and_then(|text| text.trim().parse().ok());
        let retry_after = retry_after.map(Duration::from_secs);
        let mut bytes = Vec::new();
        // Half a message is better than none.
        let _cut = self
            .into_reader()
            .take(MAX_MESSAGE_BYTES)
            .read_to_end(&mut bytes);
        let message = message(&bytes, status);
        let what = what.to_owned();
        match status {
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => RegistryError::Denied {
                host,
                what,
                message,
            },
            StatusCode::NOT_FOUND => RegistryError::NotFound { what, message },
            StatusCode::TOO_MANY_REQUESTS => RegistryError::RateLimited {
                host,
                message,
                retry_after,
            },
            status => RegistryError::Status {
                host,
                status: status.as_u16(),
                call,
                message,
            },
        }
    }
}

/// A registry's own words (OCI distribution specification, "Error Codes"), or the status's.
fn message(body: &[u8], status: StatusCode) -> String {
    #[derive(serde::Deserialize)]
    struct Errors {
        errors: Vec<Entry>,
    }
    #[derive(serde::Deserialize)]
    struct Entry {
        #[serde(default)]
        code: String,
        #[serde(default)]
        message: String,
    }
    let words = |entry: &Entry| {
        let code = entry.code.to_lowercase().replace('_', " ");
        match entry.message.is_empty() {
            true => code,
            false => format!("{code}: {}", entry.message),
        }
    };
    let parsed = serde_json::from_slice::<Errors>(body).ok();
    let text = parsed.and_then(|parsed| parsed.errors.first().map(words));
    let text = text.unwrap_or_else(|| {
        status
            .canonical_reason()
            .unwrap_or("no reason given")
            .to_lowercase()
    });
    let printable = text.chars().filter(|letter| !letter.is_control());
    printable.take(MAX_MESSAGE_LETTERS).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shows_the_registrys_words_without_control_characters() {
        let body =
            br#"{"errors":[{"code":"MANIFEST_UNKNOWN","message":"manifest \u001b[31munknown"}]}"#;
        assert_eq!(
            message(body, StatusCode::NOT_FOUND),
            "manifest unknown: manifest [31munknown"
        );
        assert_eq!(message(b"<html>", StatusCode::BAD_GATEWAY), "bad gateway");
    }

    #[test]
    fn a_query_is_never_shown() {
        assert_eq!(path_of("https://a.example/token?password=x"), "/token");
        assert_eq!(path_of("https://a.example"), "/");
    }
}
