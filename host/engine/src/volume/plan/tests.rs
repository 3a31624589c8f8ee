//! What becomes of `-v`, `--mount`, `--volumes-from` and `VOLUME`.

use super::*;

fn volumes(paths: &[&str]) -> ContainerConfig {
    ContainerConfig {
        volumes: paths.iter().map(|&path| path.to_owned()).collect(),
        ..ContainerConfig::default()
    }
}

fn binds(texts: &[&str]) -> HostConfig {
    HostConfig {
        binds: texts.iter().map(|&text| text.to_owned()).collect(),
        ..HostConfig::default()
    }
}

fn planned(config: &ContainerConfig, host: &HostConfig) -> Vec<PlannedMount> {
    plan(config, host, Vec::new(), &[]).unwrap()
}

fn only(mut mounts: Vec<PlannedMount>) -> MountPoint {
    assert_eq!(mounts.len(), 1);
    match mounts.remove(0) {
        PlannedMount::Known { mount, .. } => mount,
        PlannedMount::Fresh { destination, .. } => panic!("a fresh volume at {destination}"),
    }
}

#[test]
fn a_named_volume_takes_the_place_of_the_images() {
    let mount = only(planned(&volumes(&["/data"]), &binds(&["db:/data:ro"])));

    assert_eq!(mount.volume().unwrap().as_str(), "db");
    assert!(mount.read_only);
}

#[test]
fn an_images_volume_becomes_one_of_the_containers_own() {
    let mounts = planned(&volumes(&["/data"]), &HostConfig::default());

    assert!(
        matches!(&mounts[0], PlannedMount::Fresh { destination, .. } if destination == "/data")
    );
}

#[test]
fn a_tmpfs_takes_the_place_of_the_images_volume() {
    let mut host = HostConfig::default();
    host.tmpfs.insert("/data".to_owned(), String::new());

    assert!(planned(&volumes(&["/data"]), &host).is_empty());
}

#[test]
fn one_place_is_mounted_once() {
    let error = plan(
        &volumes(&[]),
        &binds(&["a1:/data", "b1:/data/"]),
        Vec::new(),
        &[],
    )
    .unwrap_err();

    assert_eq!(error.to_string(), "Duplicate mount point: /data");
}

#[test]
fn mounts_of_another_container_are_shared_and_not_filled() {
    let theirs = only(planned(&volumes(&[]), &binds(&["db:/data"])));
    let donor = Donor {
        mounts: vec![theirs],
        read_only: true,
    };

    let ours = plan(&volumes(&[]), &HostConfig::default(), vec![donor], &[]).unwrap();

    let ours = only(ours);
    assert!(ours.read_only);
    assert!(matches!(
        ours.source,
        MountSource::Volume { copy: false, .. }
    ));
}

#[test]
fn a_path_of_the_host_is_refused_but_for_the_apis_socket() {
    let sockets = [PathBuf::from("/var/run/docker.sock")];
    let with = |text: &str| plan(&volumes(&[]), &binds(&[text]), Vec::new(), &sockets);

    let socket = only(with("/var/run/docker.sock:/run/d.sock").unwrap());
    let refused = with("/etc:/x").unwrap_err();

    assert!(matches!(socket.source, MountSource::ApiSocket { .. }));
    assert_eq!(refused.class(), ErrorClass::NotImplemented);
}

#[test]
fn a_part_of_a_volume_stays_within_it() {
    let mut host = HostConfig::default();
    host.mounts.push(MountRequest {
        what: RequestedMount::Volume {
            source: "db".to_owned(),
            no_copy: false,
            labels: BTreeMap::new(),
            subpath: "a/../../b".to_owned(),
        },
        target: "/data".to_owned(),
        read_only: false,
    });

    let refused = plan(&volumes(&[]), &host, Vec::new(), &[]).unwrap_err();

    assert!(matches!(refused, MountError::Subpath));
}

#[test]
fn a_tmpfs_has_its_size_and_mode() {
    let mut host = HostConfig::default();
    host.mounts.push(MountRequest {
        what: RequestedMount::Tmpfs {
            size_bytes: 4096,
            mode: 0o1770,
        },
        target: "/scratch".to_owned(),
        read_only: false,
    });

    let mount = only(planned(&volumes(&[]), &host));

    let options = vec!["size=4096".to_owned(), "mode=1770".to_owned()];
    assert_eq!(mount.source, MountSource::Tmpfs { options });
}

#[test]
fn a_donors_mode_is_read() {
    assert_eq!(donor_reference("web").unwrap(), ("web", false));
    assert_eq!(donor_reference("web:ro").unwrap(), ("web", true));
    assert_eq!(
        donor_reference("web:fast").unwrap_err().to_string(),
        "invalid mode: fast"
    );
}
