//! `/_ping`, `/version`, `/info`, `/system/df`, `/auth`.

use std::collections::HashMap;

use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, header};
use axum::response::IntoResponse;
use axum::routing::{get, post};
use axum::{Json, Router};
use dhow_api::NOTICES_HEADER;
use dhow_api::models::{
    Commit, LocalNodeState, PluginsInfo, Runtime, SwarmInfo, SystemInfo,
    SystemInfoCgroupDriverEnum, SystemInfoCgroupVersionEnum, SystemVersion,
    SystemVersionComponents, SystemVersionPlatform,
};
use dhow_engine::container::Phase;
use dhow_engine::{Engine, Timestamp};
use serde_json::{Value, json};

use super::Shared;
use crate::failure::Failure;
use crate::{encode, version};

/// The version of dhow, which is the "engine" of Docker's answers.
const DHOW_VERSION: &str = env!("CARGO_PKG_VERSION");

/// The only classic builder there is: 2 would make clients speak gRPC to us.
const BUILDER_VERSION: HeaderValue = HeaderValue::from_static("1");

pub(super) fn routes() -> Router<Shared> {
    Router::new()
        .route("/_ping", get(ping))
        .route("/version", get(version_of_everything))
        .route("/info", get(info))
        .route("/system/df", get(disk_usage))
        .route("/auth", post(no_registry))
}

async fn ping(State(engine): State<Engine>) -> impl IntoResponse {
    let mut headers = HeaderMap::new();
    if engine.has_notices() {
        headers.insert(NOTICES_HEADER, HeaderValue::from_static("1"));
    }
    headers.insert("builder-version", BUILDER_VERSION);
    headers.insert("swarm", HeaderValue::from_static("inactive"));
    headers.insert(
        header::CACHE_CONTROL,
        HeaderValue::from_static("no-cache, no-store, must-revalidate"),
    );
    headers.insert(header::PRAGMA, HeaderValue::from_static("no-cache"));
    (headers, "OK")
}

async fn version_of_everything(State(engine): State<Engine>) -> Json<SystemVersion> {
    let status = engine.machine_status();
    let kernel = status
        .facts
        .as_ref()
        .map(|facts| facts.kernel_release.clone());
    let mut components = vec![SystemVersionComponents {
        name: "Engine".to_owned(),
        version: DHOW_VERSION.to_owned(),
        details: Some(HashMap::from([
            ("ApiVersion".to_owned(), version::NEWEST.to_string()),
            ("MinAPIVersion".to_owned(), version::OLDEST.to_string()),
            ("Os".to_owned(), "linux".to_owned()),
            ("Arch".to_owned(), architecture().to_owned()),
        ])),
    }];
    if let Some(facts) = &status.facts {
        components.push(SystemVersionComponents {
            name: "Machine".to_owned(),
            version: facts.kernel_release.clone(),
            details: Some(HashMap::from([("Engine".to_owned(), facts.engine.clone())])),
        });
    }
    Json(SystemVersion {
        platform: Some(SystemVersionPlatform {
            name: "dhow".to_owned(),
        }),
        components: Some(components),
        version: Some(DHOW_VERSION.to_owned()),
        api_version: Some(version::NEWEST.to_string()),
        min_api_version: Some(version::OLDEST.to_string()),
        git_commit: Some(String::new()),
        go_version: Some(String::new()),
        os: Some("linux".to_owned()),
        arch: Some(architecture().to_owned()),
        kernel_version: kernel,
        experimental: Some(false),
        build_time: Some(String::new()),
    })
}

/// Go's word for the architecture.
fn architecture() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}

async fn info(State(engine): State<Engine>) -> Json<SystemInfo> {
    let containers = engine.containers().all();
    let count = |wanted: fn(Phase) -> bool| {
        let matching = containers.iter().filter(|one| wanted(one.status().phase));
        i64::try_from(matching.count()).ok()
    };
    let images = engine.images_list().await.map_or(0, |images| images.len());
    let status = engine.machine_status();
    let facts = status.facts.as_ref();
    let mut driver_status = vec![
        vec!["Backing".to_owned(), "EROFS layers".to_owned()],
        vec!["Machine".to_owned(), status.phase.to_owned()],
    ];
    if let Some(facts) = facts {
        driver_status.push(vec!["Machine engine".to_owned(), facts.engine.clone()]);
    }
    Json(SystemInfo {
        id: Some(engine.instance().to_owned()),
        containers: count(|_| true),
        containers_running: count(|phase| matches!(phase, Phase::Running { .. })),
        containers_paused: count(|phase| matches!(phase, Phase::Paused { .. })),
        containers_stopped: count(|phase| !phase.is_running()),
        images: i64::try_from(images).ok(),
        driver: Some("erofs".to_owned()),
        driver_status: Some(driver_status),
        docker_root_dir: Some(engine.home().display().to_string()),
        plugins: Some(PluginsInfo {
            log: Some(vec!["json-file".to_owned()]),
            ..PluginsInfo::default()
        }),
        memory_limit: Some(true),
        swap_limit: Some(true),
        cpu_cfs_period: Some(true),
        cpu_cfs_quota: Some(true),
        cpu_shares: Some(true),
        cpu_set: Some(true),
        pids_limit: Some(true),
        system_time: Some(Timestamp::now().to_string()),
        logging_driver: Some("json-file".to_owned()),
        cgroup_driver: Some(SystemInfoCgroupDriverEnum::CGROUPFS),
        cgroup_version: Some(SystemInfoCgroupVersionEnum::_2),
        kernel_version: Some(facts.map_or_else(String::new, |facts| facts.kernel_release.clone())),
        operating_system: Some("dhow".to_owned()),
        os_type: Some("linux".to_owned()),
        architecture: Some(std::env::consts::ARCH.to_owned()),
        ncpu: Some(facts.map_or(0, |facts| facts.cpus.into())),
        mem_total: facts.map_or(Some(0), |facts| i64::try_from(facts.memory_bytes).ok()),
        index_server_address: Some(String::new()),
        name: Some("dhow".to_owned()),
        labels: Some(Vec::new()),
        experimental_build: Some(false),
        server_version: Some(DHOW_VERSION.to_owned()),
        runtimes: Some(HashMap::from([("dhow".to_owned(), Runtime::default())])),
        default_runtime: Some("dhow".to_owned()),
        swarm: Some(SwarmInfo {
            local_node_state: Some(LocalNodeState::INACTIVE),
            control_available: Some(false),
            ..SwarmInfo::default()
        }),
        live_restore_enabled: Some(false),
        init_binary: Some("dhow".to_owned()),
        containerd_commit: Some(Commit::default()),
        runc_commit: Some(Commit::default()),
        init_commit: Some(Commit::default()),
        security_options: Some(vec!["name=seccomp,profile=builtin".to_owned()]),
        warnings: Some(engine.take_notices()),
        ..SystemInfo::default()
    })
}

async fn disk_usage(State(engine): State<Engine>) -> Result<Json<Value>, Failure> {
    let images = engine.images_list().await?;
    let size: u64 = images.iter().map(dhow_engine::image::Image::size).sum();
    let listed = engine
        .list(dhow_engine::verb::list::ListOptions {
            all: true,
            ..Default::default()
        })
        .await?;
    let containers: Vec<_> = listed.into_iter().map(encode::summary).collect();
    let images: Vec<_> = images.iter().map(encode::image_summary).collect();
    Ok(Json(json!({
        "LayersSize": size,
        "Images": images,
        "Containers": containers,
        "Volumes": [],
        "BuildCache": [],
    })))
}

async fn no_registry() -> Failure {
    Failure::unsupported("logging in to a registry")
}
