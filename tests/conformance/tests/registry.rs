//! Images from and to a real registry, with the docker CLI and skopeo as the other clients.

use std::fs;
use std::net::ToSocketAddrs;

use dhow_conformance_tests::need;
use dhow_harness::{
    BUSYBOX, Home, REGISTRY_PASSWORD, REGISTRY_USER, Registry, RegistryOptions, image, run, skipped,
};

/// A registry with busybox in it, and an empty home.
fn registry_with_busybox(options: RegistryOptions) -> (Registry, Home) {
    need("docker");
    need("skopeo");
    let registry = Registry::start(options).expect("no docker-registry: run `cargo xtask setup`");
    if !options.password {
        let archive = format!("docker-archive:{}", image(BUSYBOX).display());
        registry.copy(
            &archive,
            &format!("docker://{}", registry.name("team/busybox:1")),
        );
    }
    (registry, started_home())
}

/// An empty home whose daemon runs, for clients that cannot start it.
fn started_home() -> Home {
    let home = Home::new();
    let _ = home.dhow(&["version"]).succeed();
    home
}

#[test]
fn docker_pulls_what_skopeo_pushed_and_runs_it() {
    let (registry, home) = registry_with_busybox(RegistryOptions::default());
    let name = registry.name("team/busybox:1");

    let pulled = home.docker(&["pull", &name]).succeed();
    let again = home.docker(&["pull", &name]).succeed();
    let ran = home
        .docker(&["run", "--rm", "--network", "none", &name, "echo", "hello"])
        .succeed();

    let digest = registry.digest("team/busybox:1");
    assert!(
        pulled.stdout.contains("Pulling from team/busybox"),
        "{pulled:?}"
    );
    assert!(pulled.stdout.contains("Pull complete"), "{pulled:?}");
    assert!(
        pulled.stdout.contains(&format!("Digest: {digest}")),
        "{pulled:?}"
    );
    assert!(
        pulled.stdout.contains("Downloaded newer image"),
        "{pulled:?}"
    );
    assert!(again.stdout.contains("Already exists"), "{again:?}");
    assert!(again.stdout.contains("Image is up to date"), "{again:?}");
    assert_eq!(ran.stdout, "hello\n");
    let format = "{{index .RepoDigests 0}}";
    let inspected = home.docker(&["inspect", "-f", format, &name]).succeed();
    assert_eq!(
        inspected.text(),
        registry.name(&format!("team/busybox@{digest}"))
    );
}

#[test]
fn skopeo_pulls_what_docker_pushed() {
    let (registry, home) = registry_with_busybox(RegistryOptions::default());
    let archive = image(BUSYBOX);
    let _ = home
        .docker(&["load", "-q", "-i", archive.to_str().expect("text")])
        .succeed();
    let name = registry.name("pushed/busybox:2");
    let _ = home.docker(&["tag", BUSYBOX, &name]).succeed();

    let pushed = home.docker(&["push", &name]).succeed();
    let again = home.docker(&["push", &name]).succeed();

    let digest = registry.digest("pushed/busybox:2");
    assert!(
        pushed.stdout.contains(&format!("digest: {digest}")),
        "{pushed:?}"
    );
    assert!(pushed.stdout.contains("Pushed"), "{pushed:?}");
    assert!(again.stdout.contains("Layer already exists"), "{again:?}");
    assert!(
        again.stdout.contains(&format!("digest: {digest}")),
        "{again:?}"
    );
    // Skopeo verifies each blob, and the image's id is the digest of its configuration.
    let folder = home.path().join("copied");
    registry.copy(
        &format!("docker://{name}"),
        &format!("dir:{}", folder.display()),
    );
    let id = home
        .docker(&["inspect", "-f", "{{.Id}}", BUSYBOX])
        .succeed();
    let configuration = folder.join(id.text().trim_start_matches("sha256:"));
    assert!(configuration.is_file(), "{}", configuration.display());
}

#[test]
fn an_image_that_goes_to_another_repository_keeps_its_digest() {
    let (registry, home) = registry_with_busybox(RegistryOptions::default());
    let (from, to) = (
        registry.name("team/busybox:1"),
        registry.name("other/box:1"),
    );
    let _ = home.dhow(&["pull", "-q", &from]).succeed();
    let _ = home.dhow(&["tag", &from, &to]).succeed();

    let pushed = home.dhow(&["push", &to]).succeed();

    assert!(
        pushed.stdout.contains("Mounted from team/busybox"),
        "{pushed:?}"
    );
    assert_eq!(
        registry.digest("other/box:1"),
        registry.digest("team/busybox:1")
    );
}

#[test]
fn run_pulls_an_image_that_is_not_here() {
    let (registry, home) = registry_with_busybox(RegistryOptions::default());
    let name = registry.name("team/busybox:1");
    let missing = registry.name("team/nothing:1");

    let never = home
        .dhow(&["run", "--rm", "--pull", "never", &name, "true"])
        .exit(125);
    let ran = home
        .dhow(&["run", "--rm", "--network", "none", &name, "echo", "hello"])
        .succeed();
    let docker = home
        .docker(&[
            "run",
            "--rm",
            "--network",
            "none",
            "--pull",
            "always",
            &name,
            "echo",
            "hello",
        ])
        .succeed();
    let failed = home.dhow(&["run", "--rm", &missing, "true"]).exit(125);

    assert!(never.stderr.contains("Unable to find image"), "{never:?}");
    assert_eq!(ran.stdout, "hello\n");
    assert!(ran.stderr.contains("Unable to find image"), "{ran:?}");
    assert!(ran.stderr.contains("Pull complete"), "{ran:?}");
    assert_eq!(docker.stdout, "hello\n");
    assert!(failed.stderr.contains("manifest unknown"), "{failed:?}");
}

#[test]
fn a_registry_with_passwords_wants_a_login_and_both_clients_share_it() {
    let options = RegistryOptions {
        password: true,
        ..RegistryOptions::default()
    };
    let (registry, home) = registry_with_busybox(options);
    let host = registry.host();
    let archive = image(BUSYBOX);
    let _ = home
        .dhow(&["load", "-q", "-i", archive.to_str().expect("text")])
        .succeed();
    let name = registry.name("busybox:1");
    let _ = home.dhow(&["tag", BUSYBOX, &name]).succeed();
    let login = |program: &str, password: &str| {
        let arguments = ["login", "-u", REGISTRY_USER, "--password-stdin", &host];
        match program {
            "dhow" => home.dhow_with_input(&arguments, password.as_bytes()),
            _ => run(&mut home.client("docker", &arguments), password.as_bytes()),
        }
    };

    let denied = home.dhow(&["push", &name]).exit(1);
    let wrong = login("dhow", "wrong").exit(1);
    let right = login("dhow", REGISTRY_PASSWORD).succeed();
    let pushed = home.docker(&["push", &name]).succeed();
    let logged_out = home.docker(&["logout", &host]).succeed();
    let denied_again = home.docker(&["pull", &name]).exit(1);
    let by_docker = login("docker", REGISTRY_PASSWORD).succeed();
    let pulled = home.dhow(&["pull", &name]).succeed();
    let gone = home.dhow(&["logout", &host]).succeed();

    assert!(denied.stderr.contains("access denied"), "{denied:?}");
    assert!(
        denied.stderr.contains(&format!("dhow login {host}")),
        "{denied:?}"
    );
    assert!(wrong.stderr.contains("refused the login"), "{wrong:?}");
    assert!(right.stdout.contains("Login Succeeded"), "{right:?}");
    assert!(pushed.stdout.contains("Pushed"), "{pushed:?}");
    assert!(
        logged_out.stdout.contains("Removing login credentials"),
        "{logged_out:?}"
    );
    assert!(
        denied_again.stderr.contains("access denied"),
        "{denied_again:?}"
    );
    assert!(
        by_docker.stdout.contains("Login Succeeded"),
        "{by_docker:?}"
    );
    assert!(pulled.stdout.contains("Image is up to date"), "{pulled:?}");
    assert!(
        gone.stdout.contains("Removing login credentials"),
        "{gone:?}"
    );
}

#[test]
fn an_unknown_authority_is_not_trusted_until_the_user_says_so() {
    let options = RegistryOptions {
        password: false,
        encryption: true,
    };
    let host = run(&mut std::process::Command::new("hostname"), b"").succeed();
    let resolves = (host.text(), 80)
        .to_socket_addrs()
        .is_ok_and(|mut found| found.any(|address| address.ip().is_loopback()));
    if !resolves {
        skipped("this host's own name is not on loopback");
        return;
    }
    let (registry, home) = registry_with_busybox(options);
    // On loopback nothing is verified, as with Docker; by its name it is.
    let server = format!("{}:{}", host.text(), registry.port());
    let name = format!("{server}/team/busybox:1");

    let refused = home.dhow(&["pull", &name]).exit(1);
    let folder = home.path().join("config/certs.d").join(&server);
    fs::create_dir_all(&folder).expect("the home is ours");
    fs::copy(registry.authority(), folder.join("ca.crt")).expect("it is there");
    let pulled = home.dhow(&["pull", &name]).succeed();

    assert!(
        refused.stderr.contains("failed to trust the registry"),
        "{refused:?}"
    );
    assert!(refused.stderr.contains("certs.d"), "{refused:?}");
    assert!(
        pulled.stdout.contains("Downloaded newer image"),
        "{pulled:?}"
    );
}

#[test]
fn plain_http_beyond_loopback_needs_the_users_word() {
    let (registry, home) = registry_with_busybox(RegistryOptions::default());
    let host = run(&mut std::process::Command::new("hostname"), b"").succeed();
    let resolves = (host.text(), registry.port())
        .to_socket_addrs()
        .is_ok_and(|mut found| found.any(|address| address.ip().is_loopback()));
    if !resolves {
        skipped("this host's own name is not on loopback");
        return;
    }
    let server = format!("{}:{}", host.text(), registry.port());
    let name = format!("{server}/team/busybox:1");

    let refused = home.dhow(&["pull", &name]).exit(1);
    let settings = home.path().join("config/daemon.json");
    fs::create_dir_all(home.path().join("config")).expect("the home is ours");
    fs::write(
        &settings,
        format!("{{\"insecure-registries\": [\"{server}\"]}}"),
    )
    .expect("written");
    let pulled = home.dhow(&["pull", &name]).succeed();
    fs::write(&settings, "{").expect("written");
    let broken = home.dhow(&["pull", &name]).exit(1);

    assert!(
        refused.stderr.contains("insecure-registries"),
        "{refused:?}"
    );
    assert!(
        pulled.stdout.contains("Downloaded newer image"),
        "{pulled:?}"
    );
    assert!(
        broken.stderr.contains("daemon.json is invalid"),
        "{broken:?}"
    );
}

#[test]
fn docker_saves_what_skopeo_and_dhow_load() {
    need("docker");
    need("skopeo");
    let home = Home::with_image(BUSYBOX);
    let other = started_home();
    let archive = home.path().join("saved.tar");
    let path = archive.to_str().expect("text");

    let _ = home.docker(&["save", "-o", path, BUSYBOX]).succeed();
    let ours = home.path().join("ours.tar");
    let _ = home
        .dhow(&["save", "-o", ours.to_str().expect("text"), BUSYBOX])
        .succeed();
    let loaded = other.docker(&["load", "-i", path]).succeed();

    assert!(fs::read(&archive).expect("saved") == fs::read(&ours).expect("saved"));
    assert!(
        loaded.stdout.contains("Loaded image: busybox:latest"),
        "{loaded:?}"
    );
    let folder = home.path().join("layout");
    fs::create_dir(&folder).expect("the home is ours");
    let unpack = ["-C", folder.to_str().expect("text"), "-xf", path];
    let _ = run(std::process::Command::new("tar").args(unpack), b"").succeed();
    for source in [
        format!("docker-archive:{path}"),
        format!("oci:{}", folder.display()),
    ] {
        let target = format!("dir:{}", home.path().join("copied").display());
        let copy = ["--insecure-policy", "copy", "--quiet", &source, &target];
        let _ = run(std::process::Command::new("skopeo").args(copy), b"").succeed();
    }
}

#[test]
fn history_prune_and_filters_are_as_dockers() {
    need("docker");
    let home = Home::with_image(BUSYBOX);
    let _ = home.docker(&["tag", BUSYBOX, "other:1"]).succeed();

    let history = home.docker(&["history", "-q", BUSYBOX]).succeed();
    let id = home.docker(&["images", "-q", BUSYBOX]).succeed();
    let referenced = home
        .docker(&["images", "-q", "-f", "reference=oth*"])
        .succeed();
    let dangling = home
        .docker(&["images", "-q", "-f", "dangling=true"])
        .succeed();
    let before = home
        .docker(&["images", "-q", "-f", "before=busybox"])
        .succeed();
    let kept = home.docker(&["image", "prune", "-f"]).succeed();
    let _ = home
        .docker(&["create", "--name", "user", BUSYBOX])
        .succeed();
    let in_use = home.docker(&["image", "prune", "-af"]).succeed();
    let _ = home.docker(&["rm", "user"]).succeed();
    let pruned = home.docker(&["image", "prune", "-af"]).succeed();

    assert_eq!(history.stdout.lines().next(), Some(id.text()));
    assert_eq!(referenced.text(), id.text());
    assert_eq!((dangling.text(), before.text()), ("", ""));
    assert!(
        kept.stdout.contains("Total reclaimed space: 0B"),
        "{kept:?}"
    );
    assert!(
        in_use.stdout.contains("Total reclaimed space: 0B"),
        "{in_use:?}"
    );
    assert!(pruned.stdout.contains("untagged: other:1"), "{pruned:?}");
    assert!(!pruned.stdout.contains("space: 0B"), "{pruned:?}");
    assert_eq!(home.docker(&["images", "-q"]).succeed().text(), "");
}
