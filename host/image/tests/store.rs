//! Loading, naming and removing images, and what is left when it goes wrong.
#![expect(
    clippy::unwrap_used,
    clippy::print_stderr,
    reason = "a test stops at what fails"
)]

#[allow(dead_code, reason = "each test file uses its own part")]
mod support;

use std::fs;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use dhow_image::{
    Digest, ImageId, ImageStore, ImportError, ImportOptions, LoadError, LoadEvent, RemoveError,
    Removed, ResolveError,
};
use support::{TemporaryStore, chain, need, shell};

fn nobody(_: &ImageId) -> Option<String> {
    None
}

/// A docker-archive of one image with two layers, written by tar as old `docker save` did: layers
/// first, the second one a link to a file elsewhere, `manifest.json` last.
fn docker_archive(folder: &Path, content: &str) -> Vec<u8> {
    shell(
        folder,
        &format!(
            "rm -rf in save; mkdir -p in save/one save/two save/three; echo '{content}' > in/file
             tar -C in --mtime=@0 --owner=0 --group=0 -cf save/one/layer.tar file
             echo second > in/second; tar -C in --mtime=@0 --owner=0 --group=0 -cf save/two/layer.tar second
             ln -s ../two/layer.tar save/three/layer.tar
             one=$(sha256sum < save/one/layer.tar | cut -c1-64)
             two=$(sha256sum < save/two/layer.tar | cut -c1-64)
             cat > save/config.json <<END
{{\"architecture\":\"amd64\",\"os\":\"linux\",\"created\":\"2020-01-01T00:00:00Z\",
\"config\":{{\"Cmd\":[\"sh\"],\"Labels\":{{\"a\":\"b\"}},\"Healthcheck\":{{\"Test\":[\"NONE\"]}}}},
\"rootfs\":{{\"type\":\"layers\",\"diff_ids\":[\"sha256:$one\",\"sha256:$two\"]}}}}
END
             id=$(sha256sum < save/config.json | cut -c1-64); mv save/config.json save/$id.json
             echo \"[{{\\\"Config\\\":\\\"$id.json\\\",\\\"RepoTags\\\":[\\\"test/image:v1\\\"],\
             \\\"Layers\\\":[\\\"one/layer.tar\\\",\\\"three/layer.tar\\\"]}}]\" > save/manifest.json"
        ),
    );
    shell(&folder.join("save"), "tar -cf - three two one *.json").stdout
}

/// The same image as newer programs write it: layers named by their digests, no links.
fn named_archive(folder: &Path) -> Vec<u8> {
    docker_archive(folder, "hello");
    let script = "cd save; for d in one two; do mv $d/layer.tar $(sha256sum < $d/layer.tar | cut -c1-64).tar; done
                 one=$(ls *.tar | head -1); two=$(ls *.tar | tail -1)
                 config=$(ls *.json | grep -v manifest)
                 diff=$(grep -o 'sha256:[0-9a-f]*' $config | head -1 | cut -c8-)
                 if [ $diff.tar != $one ]; then other=$one; one=$two; two=$other; fi
                 echo \"[{\\\"Config\\\":\\\"$config\\\",\\\"Layers\\\":[\\\"$one\\\",\\\"$two\\\"]}]\" > manifest.json
                 tar -cf - *.tar *.json";
    shell(folder, script).stdout
}

fn load(store: &ImageStore, archive: &[u8]) -> Result<String, LoadError> {
    let loaded = store.load(archive, &mut |_| ())?;
    Ok(loaded[0].id.to_string())
}

#[test]
fn loads_a_docker_archive_whose_manifest_comes_last() {
    let temporary = TemporaryStore::new();
    let archive = docker_archive(temporary.folder.path(), "hello");

    let loaded = temporary
        .store
        .load(archive.as_slice(), &mut |_| ())
        .unwrap();

    assert_eq!(loaded[0].references, ["test/image:v1"]);
    let image = temporary.store.resolve("test/image:v1").unwrap();
    assert_eq!((image.id, image.layers.len()), (loaded[0].id, 2));
    assert!(
        String::from_utf8(image.config_json)
            .unwrap()
            .contains("Healthcheck")
    );
    assert_eq!(temporary.temporary_files(), 0);
}

#[test]
fn loads_what_is_compressed_as_a_whole() {
    let temporary = TemporaryStore::new();
    let folder = temporary.folder.path();
    fs::write(folder.join("a.tar"), docker_archive(folder, "hello")).unwrap();
    let gzip = shell(folder, "gzip -c a.tar").stdout;
    load(&temporary.store, &gzip).unwrap();
    need("zstd");
    let zstd = shell(folder, "zstd -qc a.tar").stdout;
    load(&temporary.store, &zstd).unwrap();
}

#[test]
fn loads_what_skopeo_writes() {
    need("skopeo");
    let temporary = TemporaryStore::new();
    let folder = temporary.folder.path();
    fs::write(folder.join("a.tar"), named_archive(folder)).unwrap();
    shell(
        folder,
        "skopeo --insecure-policy copy -q docker-archive:a.tar oci-archive:oci.tar:name/of:it
         skopeo --insecure-policy copy -q docker-archive:a.tar oci:layout:name/of:it
         skopeo --insecure-policy copy -q docker-archive:a.tar docker-archive:again.tar:a/b:c",
    );

    let oci = temporary
        .store
        .load(fs::File::open(folder.join("oci.tar")).unwrap(), &mut |_| ());
    let layout = temporary
        .store
        .load_layout(&folder.join("layout"), &mut |_| ());
    let again = temporary.store.load(
        fs::File::open(folder.join("again.tar")).unwrap(),
        &mut |_| (),
    );

    let (oci, layout, again) = (oci.unwrap(), layout.unwrap(), again.unwrap());
    assert_eq!(oci[0].references, ["name/of:it"]);
    assert_eq!(layout, oci);
    assert_eq!(again[0].references, ["a/b:c"]);
    let image = temporary.store.resolve("name/of:it").unwrap();
    assert_eq!(image.repo_digests.len(), 1);
    assert_eq!(
        temporary.store.resolve(&image.repo_digests[0]).unwrap().id,
        image.id
    );
}

#[test]
fn writes_a_layer_once() {
    let temporary = TemporaryStore::new();
    let folder = temporary.folder.path();
    let archive = named_archive(folder);
    load(&temporary.store, &archive).unwrap();

    let mut present = Vec::new();
    let mut note = |event| {
        if let LoadEvent::Layer {
            present: already, ..
        } = event
        {
            present.push(already);
        }
    };
    temporary.store.load(archive.as_slice(), &mut note).unwrap();

    assert_eq!(present, [true, true]);
}

#[test]
fn refuses_a_truncated_archive_and_leaves_nothing() {
    let temporary = TemporaryStore::new();
    let archive = docker_archive(temporary.folder.path(), "hello");

    for length in [100, 700, archive.len() / 2, archive.len() - 11_000] {
        let result = load(&temporary.store, &archive[..length]);
        assert!(
            matches!(result, Err(LoadError::Read(_))),
            "{length}: {result:?}"
        );
    }

    assert_eq!(temporary.content(), Vec::<String>::new());
    assert_eq!(temporary.temporary_files(), 0);
}

#[test]
fn refuses_input_that_is_no_archive() {
    let temporary = TemporaryStore::new();
    let message = |bytes: &[u8]| chain(&load(&temporary.store, bytes).unwrap_err());
    assert!(message(&[7; 5000]).contains("checksum"));
    assert!(message(b"").contains("neither manifest.json nor index.json"));
    assert!(message(&[0x1f, 0x8b, 8, 0, 1, 2]).contains("archive"));
}

#[test]
fn refuses_content_with_another_digest() {
    let temporary = TemporaryStore::new();
    let folder = temporary.folder.path();
    docker_archive(folder, "hello");
    let changed_layer = shell(
        &folder.join("save"),
        "echo changed > ../in/file; tar -C ../in -cf one/layer.tar file; tar -cf - one two three *.json",
    );
    let result = temporary
        .store
        .load(changed_layer.stdout.as_slice(), &mut |_| ());
    assert!(
        matches!(result, Err(LoadError::Digest { .. })),
        "{result:?}"
    );

    let changed_config = shell(
        &folder.join("save"),
        "for f in *.json; do sed -i s/amd64/arm64/ $f; done; tar -cf - one two three *.json",
    );
    let result = temporary
        .store
        .load(changed_config.stdout.as_slice(), &mut |_| ());
    assert!(chain(&result.unwrap_err()).contains("wrong digest"));
    assert_eq!(temporary.content(), Vec::<String>::new());
}

#[test]
fn names_the_layer_and_the_path_that_climbs_out() {
    let temporary = TemporaryStore::new();
    let folder = temporary.folder.path();
    docker_archive(folder, "hello");
    let archive = shell(
        &folder.join("save"),
        "tar -C ../in -P --transform 's,^,../,' -cf one/layer.tar file; tar -cf - one two three *.json",
    );
    let message = chain(&load(&temporary.store, &archive.stdout).unwrap_err());
    assert!(
        message.contains("one/layer.tar") && message.contains("../file"),
        "{message}"
    );
    assert_eq!(temporary.temporary_files(), 0);
}

#[test]
fn refuses_an_archive_that_lacks_a_layer() {
    let temporary = TemporaryStore::new();
    let folder = temporary.folder.path();
    docker_archive(folder, "hello");
    let archive = shell(&folder.join("save"), "tar -cf - one three *.json").stdout;
    let message = chain(&load(&temporary.store, &archive).unwrap_err());
    assert!(message.contains("lacks three/layer.tar"), "{message}");
}

#[test]
fn resolves_names_ids_and_their_starts() {
    let temporary = TemporaryStore::new();
    let store = &temporary.store;
    let id = load(store, &docker_archive(temporary.folder.path(), "hello")).unwrap();
    store.tag("test/image:v1", "short").unwrap();

    for text in [
        "test/image:v1",
        "short",
        "docker.io/library/short:latest",
        &id,
        &id[7..],
        &id[7..10],
    ] {
        assert_eq!(store.resolve(text).unwrap().id.to_string(), id, "{text}");
    }
    assert!(matches!(
        store.resolve("test/image"),
        Err(ResolveError::NotFound { .. })
    ));
    assert!(matches!(
        store.resolve("Upper"),
        Err(ResolveError::Invalid(_))
    ));
    let unknown = Digest::of(b"unknown").to_string();
    assert!(matches!(
        store.resolve(&unknown),
        Err(ResolveError::NotFound { .. })
    ));
}

#[test]
fn removes_by_dockers_rules() {
    let temporary = TemporaryStore::new();
    let store = &temporary.store;
    let id = load(store, &docker_archive(temporary.folder.path(), "hello")).unwrap();
    store.tag(&id, "other:x").unwrap();

    let many = store.remove(&id[7..19], false, &nobody);
    assert!(matches!(many, Err(RemoveError::ManyNames { .. })));
    let first = store.remove("other:x", false, &nobody).unwrap();
    assert_eq!(first, [Removed::Untagged("other:x".to_owned())]);
    let used = store.remove("test/image:v1", false, &|_| {
        Some("container abc".to_owned())
    });
    assert!(matches!(used, Err(RemoveError::InUse { .. })));
    let last = store.remove("test/image:v1", false, &nobody).unwrap();
    let untagged = Removed::Untagged("test/image:v1".to_owned());
    assert_eq!(last, [untagged, Removed::Deleted(id.parse().unwrap())]);
    assert_eq!(temporary.content(), ["./references.json"]);
}

#[test]
fn keeps_layers_that_another_image_has() {
    let temporary = TemporaryStore::new();
    let folder = temporary.folder.path();
    let one = load(&temporary.store, &docker_archive(folder, "one")).unwrap();
    let two = load(&temporary.store, &docker_archive(folder, "two")).unwrap();

    let summaries = temporary.store.list().unwrap();
    assert!(
        summaries
            .iter()
            .any(|image| image.dangling && image.id.to_string() == one)
    );
    temporary.store.remove(&one, false, &nobody).unwrap();

    let image = temporary.store.resolve(&two).unwrap();
    assert!(image.layers.iter().all(|layer| layer.path.exists()));
    // Each layer has an image file and what makes its archive again.
    assert_eq!(
        fs::read_dir(temporary.root().join("layers"))
            .unwrap()
            .count(),
        4
    );
}

#[test]
fn imports_a_root_file_system_with_changes() {
    let temporary = TemporaryStore::new();
    let folder = temporary.folder.path();
    let archive = shell(folder, "mkdir root; echo x > root/x; tar -C root -czf - .").stdout;
    let changes = [
        "CMD [\"sh\",\"-c\"]",
        "ENV A=1 B=\"two words\"",
        "EXPOSE 80",
        "ENTRYPOINT run it",
    ];
    let options = ImportOptions {
        changes: changes.map(str::to_owned).to_vec(),
        ..ImportOptions::default()
    };

    let reference = Some("imported".parse().unwrap());
    temporary
        .store
        .import(archive.as_slice(), &options, reference)
        .unwrap();

    let image = temporary.store.resolve("imported").unwrap();
    let config = image.config.config().clone().unwrap();
    assert_eq!(config.cmd().clone().unwrap(), ["sh", "-c"]);
    assert_eq!(config.env().clone().unwrap(), ["A=1", "B=two words"]);
    assert_eq!(config.exposed_ports().clone().unwrap(), ["80/tcp"]);
    assert_eq!(
        config.entrypoint().clone().unwrap(),
        ["/bin/sh", "-c", "run it"]
    );
    let bad = ImportOptions {
        changes: vec!["FROM x".to_owned()],
        ..ImportOptions::default()
    };
    let refused = temporary.store.import(archive.as_slice(), &bad, None);
    assert!(matches!(refused, Err(ImportError::Change { .. })));
}

#[test]
fn a_reader_that_fails_leaves_nothing() {
    struct Failing<'a>(&'a [u8]);
    impl Read for Failing<'_> {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            if self.0.is_empty() {
                return Err(io::ErrorKind::ConnectionReset.into());
            }
            self.0.read(buffer)
        }
    }
    let temporary = TemporaryStore::new();
    let archive = docker_archive(temporary.folder.path(), "hello");

    let result = temporary
        .store
        .load(Failing(&archive[..archive.len() / 2]), &mut |_| ());

    assert!(matches!(result, Err(LoadError::Read(_))), "{result:?}");
    assert_eq!(
        (temporary.content(), temporary.temporary_files()),
        (Vec::new(), 0)
    );
}

/// The example that `cargo test` builds beside the tests: a process to kill.
fn loader() -> PathBuf {
    let tests = std::env::current_exe().unwrap();
    let profile = tests.ancestors().nth(2).unwrap();
    profile.join("examples").join("image-store")
}

#[test]
fn recovers_from_a_process_killed_while_loading() {
    let temporary = TemporaryStore::new();
    let archive = docker_archive(temporary.folder.path(), "hello");
    let mut child = Command::new(loader())
        .arg(temporary.root())
        .args(["load", "-"])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    let mut input = child.stdin.take().unwrap();
    input.write_all(&archive[..archive.len() - 11_000]).unwrap();
    while temporary.temporary_files() == 0 {
        assert!(
            child.try_wait().unwrap().is_none(),
            "the loader ended early"
        );
        std::thread::yield_now();
    }
    child.kill().unwrap();
    child.wait().unwrap();

    let again = ImageStore::open(&temporary.root()).unwrap();

    assert_eq!(temporary.temporary_files(), 0);
    load(&again, &archive).unwrap();
}

#[test]
fn several_processes_worth_of_stores_may_load_at_once() {
    let temporary = TemporaryStore::new();
    let archive = docker_archive(temporary.folder.path(), "hello");
    let root = temporary.root();

    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                let store = ImageStore::open(&root).unwrap();
                load(&store, &archive).unwrap();
                let _ = store.remove("test/image:v1", false, &nobody);
                load(&store, &archive).unwrap();
            });
        }
    });

    let image = temporary.store.resolve("test/image:v1").unwrap();
    assert!(image.layers.iter().all(|layer| layer.path.exists()));
}
