//! `GET /events`.

use dhow_engine::events::Event;
use serde_json::{Value, json};

/// One event. The model lacks the `status`, `id` and `from` that older clients read.
pub(crate) fn event(event: &Event) -> Value {
    let mut value = json!({
        "Type": event.kind.name(),
        "Action": event.action,
        "Actor": {"ID": event.actor, "Attributes": event.attributes},
        "scope": "local",
        "time": event.time.seconds(),
        "timeNano": event.time.nanoseconds(),
        "status": event.action,
        "id": event.actor,
    });
    if let Some(image) = event.attributes.get("image") {
        value["from"] = image.as_str().into();
    }
    value
}
