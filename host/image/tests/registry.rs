//! Pulling from registries that behave and from those that do not: nothing wrong gets into the store,
//! and whoever asked learns why.
#![expect(
    clippy::unwrap_used,
    clippy::print_stderr,
    reason = "a test stops at what fails"
)]

mod mock_registry;
#[allow(dead_code, reason = "each test file uses its own part")]
mod support;

use std::collections::VecDeque;
use std::sync::Mutex;

use dhow_image::{
    Credentials, LayerStep, Platform, PullError, PullEvent, PullRequest, Pulled, RegistryClient,
    RegistryError, RegistrySettings,
};
use mock_registry::{Manners, MockRegistry, USER};
use support::{TemporaryStore, chain};

fn credentials() -> Credentials {
    let (user, password) = USER;
    let json = format!(r#"{{"username":"{user}","password":"{password}"}}"#);
    Credentials::from_json(json.as_bytes()).unwrap()
}

fn request(name: &str, credentials: Credentials) -> PullRequest {
    PullRequest {
        reference: name.parse().unwrap(),
        platform: None,
        credentials,
    }
}

fn pull_as(
    store: &TemporaryStore,
    name: &str,
    credentials: Credentials,
) -> Result<Pulled, PullError> {
    let client = RegistryClient::new(RegistrySettings::default());
    store
        .store
        .pull(&client, &request(name, credentials), &|_| ())
}

/// Pulls the image of a mock registry, as nobody.
fn pull(store: &TemporaryStore, registry: &MockRegistry) -> Result<Pulled, PullError> {
    let name = format!("{}/team/app:1", registry.host());
    pull_as(store, &name, Credentials::default())
}

/// What a pull that must fail says, after which the store must be empty.
#[track_caller]
fn refusal(manners: Manners) -> String {
    let store = TemporaryStore::new();
    let registry = MockRegistry::start(manners);
    let error = pull(&store, &registry).unwrap_err();
    assert_eq!(store.content(), Vec::<String>::new());
    assert_eq!(store.temporary_files(), 0);
    chain(&error)
}

#[test]
fn pulls_an_image_and_tells_how_it_goes() {
    let store = TemporaryStore::new();
    let registry = MockRegistry::start(Manners::default());
    let name = format!("{}/team/app:1", registry.host());
    let events = Mutex::new(Vec::new());
    let client = RegistryClient::new(RegistrySettings::default());

    let pulled = store
        .store
        .pull(&client, &request(&name, Credentials::default()), &|event| {
            events.lock().unwrap().push(event);
        })
        .unwrap();

    let image = store.store.resolve(&name).unwrap();
    assert_eq!(image.id, pulled.id);
    assert_eq!(image.repo_tags, std::slice::from_ref(&name));
    let digest = format!("{}/team/app@{}", registry.host(), pulled.digest);
    assert_eq!(image.repo_digests, [digest]);
    assert_eq!(pulled.fetched_bytes, registry.layer_bytes() as u64);
    let events = events.into_inner().unwrap();
    assert!(matches!(&events[0], PullEvent::Begun { repository, .. } if repository == "team/app"));
    let last = events.last().unwrap();
    assert!(
        matches!(
            last,
            PullEvent::Layer {
                step: LayerStep::Complete,
                ..
            }
        ),
        "{last:?}"
    );
}

#[test]
fn a_second_pull_fetches_no_layer() {
    let store = TemporaryStore::new();
    let registry = MockRegistry::start(Manners::default());
    pull(&store, &registry).unwrap();

    let again = pull(&store, &registry).unwrap();

    assert!(again.was_here);
    assert_eq!(again.fetched_bytes, 0);
    assert_eq!(registry.asked_for_layer().len(), 1);
}

#[test]
fn a_digest_is_pulled_without_a_tag() {
    let store = TemporaryStore::new();
    let registry = MockRegistry::start(Manners::default());
    let digest = pull(&store, &registry).unwrap().digest;
    let name = format!("{}/other@{digest}", registry.host());

    pull_as(&store, &name, Credentials::default()).unwrap();

    let image = store.store.resolve(&name).unwrap();
    assert!(image.repo_digests.contains(&name), "{image:?}");
    assert_eq!(image.repo_tags.len(), 1, "{image:?}");
}

#[test]
fn a_cut_layer_is_resumed_where_it_ended() {
    let store = TemporaryStore::new();
    let registry = MockRegistry::start(Manners {
        cuts: VecDeque::from([100_000, 50_000]),
        ..Manners::default()
    });

    pull(&store, &registry).unwrap();

    let asked = registry.asked_for_layer();
    let ranges: Vec<_> = asked.iter().map(|one| one.range.as_deref()).collect();
    assert_eq!(ranges, [None, Some("bytes=100000-"), Some("bytes=150000-")]);
}

#[test]
fn a_registry_without_ranges_may_cut_as_well() {
    let store = TemporaryStore::new();
    let registry = MockRegistry::start(Manners {
        cuts: VecDeque::from([200_000]),
        ignores_ranges: true,
        ..Manners::default()
    });

    pull(&store, &registry).unwrap();

    assert_eq!(registry.asked_for_layer().len(), 2);
}

#[test]
fn a_layer_that_never_goes_on_is_given_up() {
    let said = refusal(Manners {
        cuts: VecDeque::from([1000, 0, 0, 0, 0, 0, 0, 0]),
        ..Manners::default()
    });
    assert!(
        said.contains("the connection ended after 1000 of"),
        "{said}"
    );
}

#[test]
fn a_layer_with_another_digest_is_refused() {
    let registry = MockRegistry::start(Manners::default());
    let wrong = vec![0x1f; registry.layer_bytes()];
    let said = refusal(Manners {
        wrong_layer: Some(wrong),
        ..Manners::default()
    });
    assert!(
        said.contains("has the wrong digest: expected sha256:"),
        "{said}"
    );
}

#[test]
fn a_layer_longer_than_its_manifest_says_is_refused() {
    let said = refusal(Manners {
        surplus: 1000,
        ..Manners::default()
    });
    assert!(said.contains("is longer than its"), "{said}");
}

#[test]
fn a_layer_shorter_than_its_manifest_says_is_refused() {
    let said = refusal(Manners {
        wrong_layer: Some(b"short".to_vec()),
        ..Manners::default()
    });
    assert!(said.contains("the connection ended after 5 of"), "{said}");
}

#[test]
fn a_manifest_without_end_is_refused() {
    let said = refusal(Manners {
        endless_manifest: true,
        ..Manners::default()
    });
    assert!(said.contains("has more than 4194304 bytes"), "{said}");
}

#[test]
fn an_unknown_tag_is_said() {
    let store = TemporaryStore::new();
    let registry = MockRegistry::start(Manners::default());
    let name = format!("{}/team/app:missing", registry.host());

    let error = pull_as(&store, &name, Credentials::default()).unwrap_err();

    let expected = format!("manifest for {name} not found: manifest unknown: manifest unknown");
    assert_eq!(error.to_string(), expected);
}

#[test]
fn a_limit_that_lasts_is_said_with_its_time() {
    let said = refusal(Manners {
        manifest_status: Some((429, "Retry-After: 3600\r\n")),
        ..Manners::default()
    });
    assert!(said.contains("too many requests"), "{said}");
    assert!(said.contains("try again in 3600 s"), "{said}");
}

#[test]
fn a_registry_that_is_broken_is_asked_again_before_it_is_given_up() {
    let store = TemporaryStore::new();
    let registry = MockRegistry::start(Manners {
        manifest_status: Some((500, "")),
        ..Manners::default()
    });

    let error = pull(&store, &registry).unwrap_err();

    assert!(error.to_string().contains("answered 500"), "{error}");
    let asked = registry.asked().into_iter();
    let manifests = asked.filter(|one| one.line.contains("/manifests/"));
    assert_eq!(manifests.count(), 5);
}

#[test]
fn redirects_in_a_circle_come_to_an_end() {
    let said = refusal(Manners {
        blobs_at: Some(String::new()),
        ..Manners::default()
    });
    assert!(said.contains("redirects more than 8 times"), "{said}");
}

#[test]
fn a_storage_server_does_not_see_the_password() {
    let store = TemporaryStore::new();
    let storage = MockRegistry::start(Manners::default());
    let registry = MockRegistry::start(Manners {
        basic: true,
        blobs_at: Some(format!("http://{}", storage.host())),
        ..Manners::default()
    });
    let name = format!("{}/team/app:1", registry.host());

    pull_as(&store, &name, credentials()).unwrap();

    let seen = storage.asked();
    assert!(!seen.is_empty());
    assert!(
        seen.iter().all(|one| one.authorization.is_none()),
        "{seen:?}"
    );
}

#[test]
fn basic_authentication_needs_the_right_password() {
    let store = TemporaryStore::new();
    let registry = MockRegistry::start(Manners {
        basic: true,
        ..Manners::default()
    });
    let name = format!("{}/team/app:1", registry.host());
    let wrong = Credentials::from_json(br#"{"username":"me","password":"wrong"}"#).unwrap();

    let as_nobody = pull_as(&store, &name, Credentials::default()).unwrap_err();
    let as_other = pull_as(&store, &name, wrong).unwrap_err();
    pull_as(&store, &name, credentials()).unwrap();

    for error in [as_nobody, as_other] {
        let denied = matches!(error, PullError::Registry(RegistryError::Denied { .. }));
        assert!(denied, "{error:?}");
    }
}

#[test]
fn a_token_is_fetched_for_the_repository_and_used() {
    let store = TemporaryStore::new();
    let registry = MockRegistry::start(Manners {
        token: true,
        ..Manners::default()
    });
    let name = format!("{}/team/app:1", registry.host());

    let as_nobody = pull_as(&store, &name, Credentials::default()).unwrap_err();
    pull_as(&store, &name, credentials()).unwrap();

    assert!(
        as_nobody.to_string().contains("access denied for"),
        "{as_nobody}"
    );
    let asked = registry.asked();
    let token = asked
        .iter()
        .find(|one| one.line.contains("/token"))
        .unwrap();
    assert!(token.line.contains("service=mock"), "{token:?}");
    assert!(
        token.line.contains("scope=repository%3Ateam%2Fapp%3Apull"),
        "{token:?}"
    );
}

#[test]
fn logins_are_checked() {
    let registry = MockRegistry::start(Manners {
        basic: true,
        ..Manners::default()
    });
    let mut known = credentials();
    known.server_address = registry.host().to_owned();
    let mut unknown = known.clone();
    unknown.password = "wrong".to_owned();
    let client = RegistryClient::new(RegistrySettings::default());

    assert_eq!(client.login(&known).unwrap(), None);
    let refused = client.login(&unknown).unwrap_err();
    assert!(
        matches!(refused, RegistryError::Denied { .. }),
        "{refused:?}"
    );
}

#[test]
fn an_index_gives_the_image_for_this_machine() {
    let store = TemporaryStore::new();
    let registry = MockRegistry::start(Manners {
        index_platform: Some(("linux", "amd64")),
        ..Manners::default()
    });
    pull(&store, &registry).unwrap();
}

#[test]
fn an_index_for_other_machines_says_which() {
    let said = refusal(Manners {
        index_platform: Some(("linux", "s390x")),
        ..Manners::default()
    });
    let here = Platform::here();
    let expected = format!("it has no image for {here}, only for linux/s390x");
    assert!(said.contains(&expected), "{said}");
}

#[test]
fn mirrors_are_asked_first_and_nothing_is_lost_when_they_fail() {
    let store = TemporaryStore::new();
    let broken = MockRegistry::start(Manners {
        wrong_layer: Some(b"no layer".to_vec()),
        ..Manners::default()
    });
    let mirror = MockRegistry::start(Manners::default());
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("daemon.json");
    let text = format!(
        r#"{{"registry-mirrors":["http://{}","http://{}/"]}}"#,
        broken.host(),
        mirror.host()
    );
    std::fs::write(&path, text).unwrap();
    let client = RegistryClient::new(RegistrySettings::read(&path).unwrap());

    let pulled = store
        .store
        .pull(&client, &request("app:1", credentials()), &|_| ());

    pulled.unwrap();
    assert_eq!(store.store.resolve("app:1").unwrap().repo_tags, ["app:1"]);
    let asked = [broken.asked(), mirror.asked()].concat();
    assert!(
        asked
            .iter()
            .any(|one| one.line.contains("/v2/library/app/manifests/1")),
        "{asked:?}"
    );
    assert!(
        asked.iter().all(|one| one.authorization.is_none()),
        "{asked:?}"
    );
}

#[test]
fn a_cancelled_pull_ends_and_leaves_nothing() {
    let store = TemporaryStore::new();
    let registry = MockRegistry::start(Manners::default());
    let client = RegistryClient::new(RegistrySettings::default());
    let name = format!("{}/team/app:1", registry.host());

    let pulled = store
        .store
        .pull(&client, &request(&name, Credentials::default()), &|event| {
            if matches!(event, PullEvent::Layer { .. }) {
                client.cancel();
            }
        });

    let error = pulled.unwrap_err();
    assert!(
        matches!(error, PullError::Registry(RegistryError::Cancelled)),
        "{error:?}"
    );
    assert_eq!(store.content(), Vec::<String>::new());
}

#[test]
fn names_and_ports_that_are_not_there_are_said() {
    let store = TemporaryStore::new();
    let unknown = pull_as(&store, "registry.invalid/app:1", Credentials::default()).unwrap_err();
    let closed = pull_as(&store, "127.0.0.1:1/app:1", Credentials::default()).unwrap_err();

    assert!(
        chain(&unknown).contains("no address is known for that name"),
        "{unknown:?}"
    );
    assert!(
        chain(&closed).contains("127.0.0.1:1: Connection refused"),
        "{closed:?}"
    );
}
