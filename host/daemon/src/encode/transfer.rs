//! How a pull or push goes on, in the words that Docker's clients show.

use dhow_engine::image::{LayerStep, PullEvent, Pulled, PushEvent, PushStep, Pushed};
use serde_json::{Value, json};

fn layer(id: &str, status: &str) -> Value {
    json!({"status": status, "progressDetail": {}, "id": id})
}

fn layer_at(id: &str, status: &str, current: u64, total: u64) -> Value {
    let detail = json!({"current": current, "total": total});
    json!({"status": status, "progressDetail": detail, "id": id})
}

/// A step of a pull.
pub(crate) fn pull_step(event: &PullEvent) -> Value {
    let (id, step) = match event {
        PullEvent::Begun {
            repository,
            reference,
        } => return json!({"status": format!("Pulling from {repository}"), "id": reference}),
        PullEvent::Layer { id, step } => (id, step),
    };
    match step {
        LayerStep::Waiting => layer(id, "Pulling fs layer"),
        LayerStep::Exists => layer(id, "Already exists"),
        LayerStep::Downloading { current, total } => layer_at(id, "Downloading", *current, *total),
        LayerStep::Verified => layer(id, "Download complete"),
        LayerStep::Complete => layer(id, "Pull complete"),
    }
}

/// The end of a pull.
pub(crate) fn pulled(name: &str, pulled: &Pulled) -> [Value; 2] {
    let outcome = match pulled.was_here {
        true => format!("Status: Image is up to date for {name}"),
        false => format!("Status: Downloaded newer image for {name}"),
    };
    [
        json!({"status": format!("Digest: {}", pulled.digest)}),
        json!({"status": outcome}),
    ]
}

/// A step of a push.
pub(crate) fn push_step(event: &PushEvent) -> Value {
    let (id, step) = match event {
        PushEvent::Begun { repository } => {
            let status = format!("The push refers to repository [{repository}]");
            return json!({"status": status});
        }
        PushEvent::Layer { id, step } => (id, step),
    };
    match step {
        PushStep::Preparing => layer(id, "Preparing"),
        PushStep::Exists => layer(id, "Layer already exists"),
        PushStep::Mounted { from } => layer(id, &format!("Mounted from {from}")),
        PushStep::Pushing { current, total } => layer_at(id, "Pushing", *current, *total),
        PushStep::Pushed => layer(id, "Pushed"),
    }
}

/// The end of a push, once for people and once for programs.
pub(crate) fn pushed(pushed: &Pushed) -> [Value; 2] {
    let Pushed { tag, digest, size } = pushed;
    let digest = digest.to_string();
    [
        json!({"status": format!("{tag}: digest: {digest} size: {size}")}),
        json!({"progressDetail": {}, "aux": {"Tag": tag, "Digest": digest, "Size": size}}),
    ]
}
