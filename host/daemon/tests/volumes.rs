//! Volumes with the real docker CLI, with an agent that has none.

#[expect(
    clippy::unwrap_used,
    dead_code,
    reason = "what fails here fails the test that uses it; not every test uses everything"
)]
mod support;

use support::Fixture;

#[tokio::test(flavor = "multi_thread")]
async fn a_volume_is_made_listed_and_removed() {
    let fixture = Fixture::new().await;

    let made = fixture.docker(&["volume", "create", "data"]).await;
    let again = fixture.docker(&["volume", "create", "data"]).await;
    let listed = fixture.docker(&["volume", "ls", "-q"]).await;
    let bad = fixture.docker(&["volume", "create", "a/b"]).await;
    let removed = fixture.docker(&["volume", "rm", "data"]).await;
    let missing = fixture.docker(&["volume", "rm", "data"]).await;

    assert_eq!(
        (made.stdout.as_str(), again.stdout.as_str()),
        ("data\n", "data\n")
    );
    assert_eq!(listed.stdout, "data\n");
    assert!(
        bad.stderr.contains("includes invalid characters"),
        "{}",
        bad.stderr
    );
    assert_eq!(removed.code, 0);
    assert!(
        missing.stderr.contains("get data: no such volume"),
        "{}",
        missing.stderr
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn volumes_outlive_the_daemon_and_those_of_a_removed_container_do_not() {
    let mut fixture = Fixture::new().await;
    let created = fixture
        .docker(&[
            "create", "--name", "user", "-v", "named:/a", "-v", "/b", "busybox",
        ])
        .await;
    assert_eq!(created.code, 0, "{}", created.stderr);

    fixture.kill_and_come_back().await;
    let held = fixture.docker(&["volume", "ls", "-q"]).await;
    let in_use = fixture.docker(&["volume", "rm", "named"]).await;
    let _ = fixture.docker(&["rm", "-v", "user"]).await;
    let left = fixture.docker(&["volume", "ls", "-q"]).await;

    assert_eq!(held.stdout.lines().count(), 2);
    assert!(
        in_use.stderr.contains("volume is in use - ["),
        "{}",
        in_use.stderr
    );
    assert_eq!(left.stdout, "named\n");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_create_that_fails_leaves_no_volume() {
    let fixture = Fixture::new().await;

    for options in [
        &["-v", "/own", "-v", "new:/x", "-v", "other:/x"][..],
        &["-v", "/own", "-v", "new:/x:fast"],
        &["-v", "new:/x", "--volumes-from", "nobody"],
        &["-v", "new:/x", "--memory", "1k"],
        &["-v", "new:/x", "--volume-driver", "cloud"],
    ] {
        let refused = fixture
            .docker(&[&["create"], options, &["busybox"]].concat())
            .await;
        assert_ne!(refused.code, 0, "{options:?}");
    }

    assert_eq!(fixture.docker(&["volume", "ls", "-q"]).await.stdout, "");
}

#[tokio::test(flavor = "multi_thread")]
async fn pruning_spares_what_was_named_unless_all_is_asked_for() {
    let fixture = Fixture::new().await;
    let _ = fixture.docker(&["volume", "create", "named"]).await;
    let _ = fixture.docker(&["volume", "create"]).await;

    let some = fixture.docker(&["volume", "prune", "-f"]).await;
    let kept = fixture.docker(&["volume", "ls", "-q"]).await;
    let all = fixture.docker(&["volume", "prune", "-af"]).await;

    assert!(
        some.stdout.starts_with("Deleted Volumes:\n"),
        "{}",
        some.stdout
    );
    assert_eq!(kept.stdout, "named\n");
    assert!(all.stdout.contains("\nnamed\n"), "{}", all.stdout);
}
