//! One repository of one registry: who we are to it, and asking again where that helps.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use serde::Deserialize;
use ureq::http::{Method, StatusCode};

use super::address::{encode, is_https, with_query};
use super::challenge::Challenge;
use super::credentials::Credentials;
use super::error::{MAX_OBEYED_RETRY_AFTER, RegistryError};
use super::transport::{Answer, Call, Payload, Transport};

/// Largest answer of a token server; tokens that name many rights have some kilobytes.
const MAX_TOKEN_BYTES: u64 = 1 << 20;

/// What we are to token servers that give refresh tokens.
const CLIENT_ID: &str = "dhow";

/// How often something that failed in passing is tried.
pub(crate) const MAX_ATTEMPTS: u32 = 5;

/// How long to wait before trying again; doubled each time.
const FIRST_DELAY: Duration = Duration::from_millis(500);

/// What may be done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Access {
    Pull,
    Push,
    /// Only to show who we are.
    Login,
    /// To list what there is.
    Catalog,
}

/// A repository, or a registry as such where `path` is empty.
#[derive(Debug)]
pub(crate) struct Repository<'a> {
    pub(crate) transport: &'a Transport,
    /// Scheme and host.
    base: String,
    path: String,
    access: Access,
    /// Repositories that blobs are to be taken from.
    sources: Vec<String>,
    credentials: &'a Credentials,
    authorization: Mutex<Option<String>>,
    challenge: Mutex<Option<Challenge>>,
}

/// What a token server answers.
#[derive(Debug, Deserialize)]
struct Token {
    token: Option<String>,
    access_token: Option<String>,
    refresh_token: Option<String>,
}

impl<'a> Repository<'a> {
    /// Finds out under which of some addresses a registry answers, and how it wants to be asked.
    pub(crate) fn open(
        transport: &'a Transport,
        bases: &[String],
        path: &str,
        access: Access,
        credentials: &'a Credentials,
    ) -> Result<Self, RegistryError> {
        let mut failed = None;
        for (at, base) in bases.iter().enumerate() {
            let repository = Self {
                transport,
                base: base.clone(),
                path: path.to_owned(),
                access,
                sources: Vec::new(),
                credentials,
                authorization: Mutex::default(),
                challenge: Mutex::default(),
            };
            // Where there is another address, that is the next attempt.
            let is_last = at + 1 == bases.len();
            let greeted = match is_last {
                true => repository.retrying(|| repository.greet()),
                false => repository.greet(),
            };
            match greeted {
                Ok(()) => return Ok(repository),
                Err(RegistryError::Cancelled) => return Err(RegistryError::Cancelled),
                // The first address's failure says more than that of its plain sibling.
                Err(error) => failed = failed.or(Some(error)),
            }
        }
        Err(failed.expect("a registry has an address"))
    }

    /// Also asks for reading other repositories, which blobs are to be mounted from.
    pub(crate) fn reading(mut self, sources: Vec<String>) -> Self {
        self.sources = sources;
        self
    }

    /// The address of something in this repository.
    pub(crate) fn address(&self, rest: &str) -> String {
        format!("{}/v2/{}/{rest}", self.base, self.path)
    }

    /// The address of something of the registry.
    pub(crate) fn registry_address(&self, rest: &str) -> String {
        format!("{}{rest}", self.base)
    }

    fn greet(&self) -> Result<(), RegistryError> {
        let call = Call::new(Method::GET, format!("{}/v2/", self.base));
        let answer = self.transport.exchange(call)?;
        match answer.status {
            StatusCode::OK | StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => {}
            StatusCode::NOT_FOUND => {
                return Err(RegistryError::Invalid {
                    host: answer.host,
                    problem: "it is no registry of version 2".to_owned(),
                });
            }
            _ => return Err(answer.refusal("the registry")),
        }
        if answer.status == StatusCode::UNAUTHORIZED {
            *self
                .challenge
                .lock()
                .unwrap_or_else(PoisonError::into_inner) = challenge(&answer);
        }
        Ok(())
    }

    /// Verifies the credentials; a refresh token if the registry gives one.
    pub(crate) fn login(&self) -> Result<Option<String>, RegistryError> {
        let known = self.known_challenge();
        let Some(known) = known else {
            return Ok(None);
        };
        let refresh = self.answer_challenge(&known)?;
        let call = self.authorized(Call::new(Method::GET, format!("{}/v2/", self.base)));
        let answer = self.transport.exchange(call)?;
        if answer.status.is_success() {
            Ok(refresh)
        } else {
            Err(answer.refusal("the registry"))
        }
    }

    /// Sends a request, with authorization. Where that is missing or has expired it is fetched and the
    /// request sent once more, unless it carried a reader. Statuses are for the caller to judge.
    pub(crate) fn send(&self, call: Call<'_>) -> Result<Answer, RegistryError> {
        if self.locked_authorization().is_none()
            && let Some(known) = self.known_challenge()
        {
            self.answer_challenge(&known)?;
        }
        let again = match &call.payload {
            Payload::None => Some(Payload::None),
            Payload::Bytes(bytes) => Some(Payload::Bytes(bytes)),
            Payload::Stream(_) => None,
        };
        let again = again.map(|payload| Call {
            method: call.method.clone(),
            address: call.address.clone(),
            headers: call.headers.clone(),
            payload,
        });
        let answer = self.transport.exchange(self.authorized(call))?;
        if answer.status != StatusCode::UNAUTHORIZED {
            return Ok(answer);
        }
        let (Some(again), Some(challenge)) = (again, challenge(&answer)) else {
            return Ok(answer);
        };
        self.answer_challenge(&challenge)?;
        self.transport.exchange(self.authorized(again))
    }

    /// As [`send`](Self::send) for a request that carries nothing, repeated where that may help, with
    /// only these statuses as success.
    pub(crate) fn fetch(
        &self,
        call: impl Fn() -> Call<'static>,
        expected: &[StatusCode],
        what: &str,
    ) -> Result<Answer, RegistryError> {
        self.retrying(|| {
            let answer = self.send(call())?;
            if expected.contains(&answer.status) {
                Ok(answer)
            } else {
                Err(answer.refusal(what))
            }
        })
    }

    /// Tries until it succeeds, fails for good, or has failed too often.
    pub(crate) fn retrying<T>(
        &self,
        attempt: impl Fn() -> Result<T, RegistryError>,
    ) -> Result<T, RegistryError> {
        let mut failures = 0;
        loop {
            match attempt() {
                Err(error) if error.is_transient() && may_answer_later(&error) => {
                    failures += 1;
                    if failures >= MAX_ATTEMPTS {
                        return Err(error);
                    }
                    self.wait(failures, &error)?;
                }
                other => return other,
            }
        }
    }

    /// Waits before another attempt, longer each time, or as long as the registry asks for.
    pub(crate) fn wait(&self, failures: u32, error: &RegistryError) -> Result<(), RegistryError> {
        let delay = match error {
            RegistryError::RateLimited {
                retry_after: Some(time),
                ..
            } => (*time).min(MAX_OBEYED_RETRY_AFTER),
            _ => FIRST_DELAY * 2_u32.pow(failures.saturating_sub(1).min(MAX_ATTEMPTS)),
        };
        tracing::info!(%error, failures, "asking a registry again");
        self.transport.pause(delay)
    }

    fn authorized<'c>(&self, mut call: Call<'c>) -> Call<'c> {
        if let Some(value) = &*self.locked_authorization() {
            call.headers.push(("authorization", value.clone()));
        }
        call
    }

    fn locked_authorization(&self) -> std::sync::MutexGuard<'_, Option<String>> {
        self.authorization
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    fn known_challenge(&self) -> Option<Challenge> {
        let known = self
            .challenge
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        known.clone()
    }

    /// Gets what the registry wants to see; a refresh token if one came with it.
    fn answer_challenge(&self, challenge: &Challenge) -> Result<Option<String>, RegistryError> {
        if !self.credentials.registry_token.is_empty() {
            let value = format!("Bearer {}", self.credentials.registry_token);
            *self.locked_authorization() = Some(value);
            return Ok(None);
        }
        let (value, refresh) = match challenge {
            Challenge::Basic => {
                let basic = self.credentials.basic();
                let denied = || RegistryError::Denied {
                    host: super::address::host_of(&self.base).to_owned(),
                    what: self.subject(),
                    message: "unauthorized: no basic auth credentials".to_owned(),
                };
                (basic.ok_or_else(denied)?, None)
            }
            Challenge::Bearer {
                realm,
                service,
                scope,
            } => {
                let token = self.token(realm, service.as_deref(), scope.as_deref())?;
                let text = token.token.or(token.access_token);
                let text = text.filter(|text| !text.is_empty() && is_header_text(text));
                let text = text.ok_or_else(|| RegistryError::Invalid {
                    host: super::address::host_of(realm).to_owned(),
                    problem: "it gave no token".to_owned(),
                })?;
                (format!("Bearer {text}"), token.refresh_token)
            }
        };
        *self.locked_authorization() = Some(value);
        Ok(refresh)
    }

    fn subject(&self) -> String {
        match self.path.is_empty() {
            true => "the registry".to_owned(),
            false => self.path.clone(),
        }
    }

    /// The rights to ask for: ours, and where a registry wants others, its.
    fn scopes(&self, demanded: Option<&str>) -> Vec<String> {
        let mut scopes = match self.access {
            Access::Pull => vec![format!("repository:{}:pull", self.path)],
            Access::Push => vec![format!("repository:{}:pull,push", self.path)],
            Access::Login => Vec::new(),
            Access::Catalog => vec!["registry:catalog:*".to_owned()],
        };
        scopes.extend(
            self.sources
                .iter()
                .map(|source| format!("repository:{source}:pull")),
        );
        if let Some(demanded) = demanded
            && scopes.is_empty()
        {
            scopes.push(demanded.to_owned());
        }
        scopes
    }

    /// Asks a token server (distribution specification, "Token Authentication").
    fn token(
        &self,
        realm: &str,
        service: Option<&str>,
        demanded: Option<&str>,
    ) -> Result<Token, RegistryError> {
        let host = super::address::host_of(realm).to_owned();
        let is_secret = !self.credentials.is_empty();
        if is_secret && !is_https(realm) && !self.transport.settings().is_insecure(&host) {
            return Err(RegistryError::Invalid {
                host,
                problem: "its token server would get the password without encryption".to_owned(),
            });
        }
        let scopes = self.scopes(demanded);
        let answer = self.retrying(|| {
            let answer = if self.credentials.identity_token.is_empty() {
                self.transport
                    .exchange(self.token_query(realm, service, &scopes))
            } else {
                let form = self.token_form(service, &scopes);
                let call = Call::new(Method::POST, realm)
                    .header("content-type", "application/x-www-form-urlencoded")
                    .payload(Payload::Bytes(form.as_bytes()));
                self.transport.exchange(call)
            }?;
            if answer.status.is_success() {
                Ok(answer)
            } else {
                Err(answer.refusal(&self.subject()))
            }
        })?;
        let bytes = answer.read(MAX_TOKEN_BYTES)?;
        serde_json::from_slice(&bytes).map_err(|error| RegistryError::Invalid {
            host,
            problem: format!("its token server does not speak JSON: {error}"),
        })
    }

    fn token_query(&self, realm: &str, service: Option<&str>, scopes: &[String]) -> Call<'static> {
        let mut address = realm.to_owned();
        if !self.credentials.username.is_empty() {
            address = with_query(&address, "account", &self.credentials.username);
        }
        if self.access == Access::Login {
            address = with_query(&address, "client_id", CLIENT_ID);
            address = with_query(&address, "offline_token", "true");
        }
        if let Some(service) = service {
            address = with_query(&address, "service", service);
        }
        for scope in scopes {
            address = with_query(&address, "scope", scope);
        }
        let call = Call::new(Method::GET, address);
        match self.credentials.basic() {
            Some(basic) => call.header("authorization", basic),
            None => call,
        }
    }

    /// OAuth2 with the refresh token of a login.
    fn token_form(&self, service: Option<&str>, scopes: &[String]) -> String {
        format!(
            "grant_type=refresh_token&refresh_token={}&client_id={CLIENT_ID}&service={}&scope={}",
            encode(&self.credentials.identity_token),
            encode(service.unwrap_or_default()),
            encode(&scopes.join(" ")),
        )
    }
}

/// A name that does not resolve and a trust that is not there do not come by waiting; a refused
/// connection hardly does.
fn may_answer_later(error: &RegistryError) -> bool {
    match error {
        RegistryError::Unreachable { source, .. } => {
            source.kind() != std::io::ErrorKind::ConnectionRefused
        }
        _ => true,
    }
}

fn challenge(answer: &Answer) -> Option<Challenge> {
    let headers = answer.headers.get_all("www-authenticate");
    Challenge::choose(headers.iter().filter_map(|value| value.to_str().ok()))
}

/// Whether a token can be sent as it is.
fn is_header_text(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_graphic())
}
