//! What callers hold while they talk to registries.

use serde::Deserialize;
use ureq::http::{Method, StatusCode};

use super::address::{self, with_query};
use super::credentials::Credentials;
use super::error::RegistryError;
use super::repository::{Access, Repository};
use super::settings::RegistrySettings;
use super::transport::{Call, Transport};
use crate::reference::Reference;

/// Largest list of a registry.
const MAX_LIST_BYTES: u64 = 16 << 20;

/// Pages of a list that are asked for, at most.
const MAX_PAGES: usize = 100;

/// Names asked for at once; registries may give fewer.
const PAGE_NAMES: &str = "1000";

/// The connections of one operation.
#[derive(Debug)]
pub struct RegistryClient {
    transport: Transport,
}

/// A repository that a search found.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct FoundRepository {
    /// Its name.
    pub name: String,
    /// What it is, in its owner's words.
    pub description: String,
    /// How many people like it.
    #[serde(alias = "star_count")]
    pub stars: u64,
    /// Whether the registry's makers keep it.
    pub is_official: bool,
}

impl RegistryClient {
    /// A client that does as the settings say; proxies come from the environment.
    #[must_use]
    pub fn new(settings: RegistrySettings) -> Self {
        Self {
            transport: Transport::new(settings),
        }
    }

    /// Ends whatever is going on, from any thread; it fails with [`RegistryError::Cancelled`].
    pub fn cancel(&self) {
        self.transport.cancel();
    }

    pub(crate) fn transport(&self) -> &Transport {
        &self.transport
    }

    /// Where a domain's registry may be.
    pub(crate) fn bases(&self, domain: &str) -> Vec<String> {
        address::bases(domain, self.transport.settings().is_insecure(domain))
    }

    /// Who is asked before it.
    pub(crate) fn mirrors(&self, domain: &str) -> Vec<String> {
        match address::has_mirrors(domain) {
            true => self.transport.settings().mirrors.clone(),
            false => Vec::new(),
        }
    }

    /// Verifies credentials with the registry that a client's `serveraddress` means; gives back the
    /// refresh token, if the registry has such.
    ///
    /// # Errors
    /// [`RegistryError::Denied`] where they are wrong.
    pub fn login(&self, credentials: &Credentials) -> Result<Option<String>, RegistryError> {
        let domain = address::login_domain(&credentials.server_address);
        let bases = self.bases(&domain);
        let repository = Repository::open(&self.transport, &bases, "", Access::Login, credentials)?;
        repository.login()
    }

    /// All tags of a repository.
    ///
    /// # Errors
    /// If the registry does not tell.
    pub fn tags(
        &self,
        reference: &Reference,
        credentials: &Credentials,
    ) -> Result<Vec<String>, RegistryError> {
        #[derive(Deserialize)]
        struct Page {
            tags: Option<Vec<String>>,
        }
        let bases = self.bases(reference.domain());
        let path = reference.path();
        let repository =
            Repository::open(&self.transport, &bases, path, Access::Pull, credentials)?;
        let first = with_query(&repository.address("tags/list"), "n", PAGE_NAMES);
        let mut tags = Vec::new();
        pages(&repository, first, path, |page: Page| {
            tags.extend(page.tags.unwrap_or_default());
        })?;
        Ok(tags)
    }

    /// Repositories whose name or description has the term, in the registry that it may begin with
    /// (`host:5000/term`). Registries without a search are asked for their whole list.
    ///
    /// # Errors
    /// If the registry has neither.
    pub fn search(
        &self,
        term: &str,
        limit: usize,
        credentials: &Credentials,
    ) -> Result<Vec<FoundRepository>, RegistryError> {
        let (domain, term) = split_term(term);
        let is_insecure = self.transport.settings().is_insecure(&domain);
        let mut failed = None;
        for base in address::search_bases(&domain, is_insecure) {
            match self.search_index(&base, term, limit, credentials) {
                Ok(found) => return Ok(found),
                Err(RegistryError::Cancelled) => return Err(RegistryError::Cancelled),
                Err(error) => failed = Some(error),
            }
        }
        let not_found = matches!(failed, Some(RegistryError::NotFound { .. }));
        if let Some(error) = failed.filter(|_| !not_found) {
            return Err(error);
        }
        self.search_catalog(&domain, term, limit, credentials)
    }

    /// Version 1 of the API.
    fn search_index(
        &self,
        base: &str,
        term: &str,
        limit: usize,
        credentials: &Credentials,
    ) -> Result<Vec<FoundRepository>, RegistryError> {
        #[derive(Deserialize)]
        struct Results {
            #[serde(default)]
            results: Vec<FoundRepository>,
        }
        let address = with_query(&format!("{base}/v1/search"), "q", term);
        let mut call = Call::new(Method::GET, with_query(&address, "n", &limit.to_string()));
        if let Some(basic) = credentials.basic() {
            call = call.header("authorization", basic);
        }
        let answer = self.transport.exchange(call)?;
        if answer.status != StatusCode::OK {
            return Err(answer.refusal("the search"));
        }
        let results: Results = json(answer.host.clone(), &answer.read(MAX_LIST_BYTES)?)?;
        Ok(results.results)
    }

    fn search_catalog(
        &self,
        domain: &str,
        term: &str,
        limit: usize,
        credentials: &Credentials,
    ) -> Result<Vec<FoundRepository>, RegistryError> {
        #[derive(Deserialize)]
        struct Page {
            repositories: Option<Vec<String>>,
        }
        let bases = self.bases(domain);
        let repository =
            Repository::open(&self.transport, &bases, "", Access::Catalog, credentials)?;
        let first = repository.registry_address("/v2/_catalog");
        let mut found = Vec::new();
        pages(
            &repository,
            with_query(&first, "n", PAGE_NAMES),
            "the catalog",
            |page: Page| {
                let names = page.repositories.unwrap_or_default();
                let fitting = names.into_iter().filter(|name| name.contains(term));
                found.extend(fitting.map(|name| FoundRepository {
                    name: format!("{domain}/{name}"),
                    ..FoundRepository::default()
                }));
            },
        )?;
        found.truncate(limit);
        Ok(found)
    }
}

/// The registry and the words of a search.
fn split_term(term: &str) -> (String, &str) {
    match term.split_once('/') {
        Some((host, rest)) if host.contains(['.', ':']) || host == "localhost" => {
            (host.to_owned(), rest)
        }
        _ => (address::login_domain(""), term),
    }
}

fn json<T: serde::de::DeserializeOwned>(host: String, bytes: &[u8]) -> Result<T, RegistryError> {
    serde_json::from_slice(bytes).map_err(|error| RegistryError::Invalid {
        host,
        problem: format!("its list is no JSON: {error}"),
    })
}

/// Reads a list page by page (RFC 8288 links, as the distribution specification has it).
fn pages<T: serde::de::DeserializeOwned>(
    repository: &Repository<'_>,
    first: String,
    what: &str,
    mut take: impl FnMut(T),
) -> Result<(), RegistryError> {
    let mut next = Some(first);
    for _ in 0..MAX_PAGES {
        let Some(address) = next else { break };
        let call = || Call::new(Method::GET, address.clone());
        let answer = repository.fetch(call, &[StatusCode::OK], what)?;
        let link = answer.header("link").and_then(next_link);
        next = link.and_then(|link| address::join(&answer.address, link));
        let host = answer.host.clone();
        // A next page elsewhere would get our authorization.
        next = next.filter(|next| address::host_of(next) == host);
        take(json(host, &answer.read(MAX_LIST_BYTES)?)?);
    }
    Ok(())
}

/// The target of `<target>; rel="next"`.
fn next_link(header: &str) -> Option<&str> {
    let (target, rest) = header.trim().strip_prefix('<')?.split_once('>')?;
    rest.contains("next").then_some(target)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_search_may_name_its_registry() {
        assert_eq!(
            split_term("localhost:5000/web"),
            ("localhost:5000".to_owned(), "web")
        );
        assert_eq!(split_term("team/web"), ("docker.io".to_owned(), "team/web"));
    }

    #[test]
    fn reads_links_to_the_next_page() {
        assert_eq!(
            next_link("</v2/_catalog?n=1&last=a>; rel=\"next\""),
            Some("/v2/_catalog?n=1&last=a")
        );
        assert_eq!(next_link("nonsense"), None);
    }
}
