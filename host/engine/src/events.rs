//! What happened: Docker's events, to those who listen now and, a while back, to those who ask.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::broadcast;

use crate::filter::Filters;
use crate::time::Timestamp;

/// Past events kept, as Docker.
const KEPT_EVENTS: usize = 256;

/// Events a listener may be behind before it misses some.
const LISTENER_BUFFER_EVENTS: usize = 1024;

/// What an event is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EventKind {
    /// A container.
    Container,
    /// An image.
    Image,
    /// A volume.
    Volume,
    /// The daemon or its machine.
    Daemon,
    /// A network.
    Network,
}

/// Something that happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// What it is about.
    pub kind: EventKind,
    /// What happened: `start`, `die`…
    pub action: String,
    /// Whose id.
    pub actor: String,
    /// More about it.
    pub attributes: BTreeMap<String, String>,
    /// When.
    pub time: Timestamp,
}

/// Where events go in and come out.
#[derive(Debug)]
pub struct EventBus {
    past: Mutex<VecDeque<Event>>,
    sender: broadcast::Sender<Event>,
}

/// A listener's end.
#[derive(Debug)]
pub struct Subscription {
    /// Events of the past that were asked for.
    past: VecDeque<Event>,
    live: Option<broadcast::Receiver<Event>>,
    filters: Filters,
    until: Option<Timestamp>,
}

impl EventKind {
    /// Docker's word.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Container => "container",
            Self::Image => "image",
            Self::Volume => "volume",
            Self::Daemon => "daemon",
            Self::Network => "network",
        }
    }
}

impl EventBus {
    pub(crate) fn new() -> Self {
        Self {
            past: Mutex::default(),
            sender: broadcast::channel(LISTENER_BUFFER_EVENTS).0,
        }
    }

    pub(crate) fn publish(&self, event: Event) {
        let mut past = self.locked();
        if past.len() == KEPT_EVENTS {
            past.pop_front();
        }
        past.push_back(event.clone());
        // Under the lock, so that a subscriber sees each event once. Nobody listening is fine.
        let _listeners = self.sender.send(event);
    }

    /// Events from `since` (none of the past without it) to `until` (on and on without it).
    pub(crate) fn subscribe(
        &self,
        since: Option<Timestamp>,
        until: Option<Timestamp>,
        filters: Filters,
    ) -> Subscription {
        let past = self.locked();
        let over = until.is_some_and(|until| until <= Timestamp::now());
        let wanted = past
            .iter()
            .filter(|event| since.is_some_and(|since| event.time >= since))
            .cloned()
            .collect();
        Subscription {
            past: wanted,
            live: (!over).then(|| self.sender.subscribe()),
            filters,
            until,
        }
    }

    fn locked(&self) -> MutexGuard<'_, VecDeque<Event>> {
        self.past.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Subscription {
    /// The next event; `None` once `until` has passed.
    pub async fn next(&mut self) -> Option<Event> {
        loop {
            let event = match self.past.pop_front() {
                Some(event) => event,
                None => self.next_live().await?,
            };
            if self.until.is_some_and(|until| event.time > until) {
                return None;
            }
            if matches(&event, &self.filters) {
                return Some(event);
            }
        }
    }

    async fn next_live(&mut self) -> Option<Event> {
        let live = self.live.as_mut()?;
        let until = self.until;
        let over = async move {
            match until {
                Some(until) => tokio::time::sleep(Timestamp::now().until(until)).await,
                None => std::future::pending().await,
            }
        };
        tokio::pin!(over);
        loop {
            tokio::select! {
                received = live.recv() => match received {
                    Ok(event) => return Some(event),
                    Err(broadcast::error::RecvError::Lagged(_)) => {}
                    Err(broadcast::error::RecvError::Closed) => return None,
                },
                () = &mut over => return None,
            }
        }
    }
}

/// Docker's event filters: values of one key are alternatives, keys add up.
fn matches(event: &Event, filters: &Filters) -> bool {
    let attribute = |key: &str| event.attributes.get(key).map_or("", String::as_str);
    let is_about = |kind: EventKind, wanted: &str| {
        event.kind == kind
            && (event.actor.starts_with(wanted)
                || attribute("name") == wanted.trim_start_matches('/'))
    };
    filters.all_of(|key, value| match key {
        "type" => event.kind.name() == value,
        "event" => event.action == value || event.action.split(':').next() == Some(value),
        "container" => {
            is_about(EventKind::Container, value)
                || event.kind == EventKind::Network && attribute("container").starts_with(value)
        }
        "network" => is_about(EventKind::Network, value),
        "image" => {
            is_about(EventKind::Image, value)
                || event.kind == EventKind::Container && attribute("image") == value
        }
        "volume" => is_about(EventKind::Volume, value),
        "label" => Filters::label_matches(&event.attributes, value),
        "scope" => value == "local",
        _ => false,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(action: &str, actor: &str) -> Event {
        Event {
            kind: EventKind::Container,
            action: action.to_owned(),
            actor: actor.to_owned(),
            attributes: BTreeMap::from([("name".to_owned(), "web".to_owned())]),
            time: Timestamp::now(),
        }
    }

    #[tokio::test]
    async fn past_and_present_events_come_once_each() {
        let bus = EventBus::new();
        bus.publish(event("create", "a"));
        let since = Some(Timestamp::from_seconds(0));
        let mut subscription = bus.subscribe(since, None, Filters::default());
        bus.publish(event("start", "a"));

        assert_eq!(subscription.next().await.unwrap().action, "create");
        assert_eq!(subscription.next().await.unwrap().action, "start");
    }

    #[tokio::test]
    async fn without_since_the_past_is_silent() {
        let bus = EventBus::new();
        bus.publish(event("create", "a"));

        let mut subscription = bus.subscribe(None, Some(Timestamp::now()), Filters::default());

        assert_eq!(subscription.next().await, None);
    }

    #[tokio::test]
    async fn filters_choose() {
        let bus = EventBus::new();
        bus.publish(event("create", "a"));
        bus.publish(event("die", "a"));
        let filters = Filters::parse(r#"{"event":["die"],"container":["web"]}"#).unwrap();

        let mut subscription = bus.subscribe(Some(Timestamp::from_seconds(0)), None, filters);

        assert_eq!(subscription.next().await.unwrap().action, "die");
    }
}
