//! `dhow events`.

use std::time::SystemTime;

use anyhow::Context as _;
use dhow_api::client::Event;
use serde_json::Value;

use crate::args::look::EventsArgs;
use crate::context::Context;
use crate::failure::Outcome;
use crate::output;
use crate::output::template::{Template, unescape};
use crate::output::time;
use crate::resolve::{filters, timestamp};

/// `dhow events`.
pub(crate) async fn events(context: &Context, args: EventsArgs) -> Outcome {
    let now = SystemTime::now();
    let moment = |text: Option<&String>| text.map(|text| timestamp::parse(text, now)).transpose();
    let (since, until) = (moment(args.since.as_ref())?, moment(args.until.as_ref())?);
    let filters = filters::resolve(&args.filter)?;
    let as_json = args.format.as_deref() == Some("json");
    let template = match args.format.as_deref() {
        None | Some("json") => None,
        Some(text) => {
            Some(Template::parse(&unescape(text)).context("invalid template for --format")?)
        }
    };
    let client = context.client().await?;
    let mut body = client
        .events(since.as_deref(), until.as_deref(), filters.as_deref())
        .await?;
    while let Some(value) = body.next_json::<Value>().await? {
        if as_json {
            output::line(&value.to_string())?;
        } else if let Some(template) = &template {
            let text = template
                .render(&value)
                .context("--format does not fit the data")?;
            output::line(&text)?;
        } else {
            let event: Event =
                serde_json::from_value(value).context("failed to understand an event")?;
            output::line(&sentence(&event))?;
        }
    }
    Ok(0)
}

/// An event in one line.
fn sentence(event: &Event) -> String {
    const PER_SECOND: i64 = 1_000_000_000;
    let nanoseconds = match event.time_nanoseconds {
        0 => event.time.saturating_mul(PER_SECOND),
        precise => precise,
    };
    let attributes: Vec<String> = event
        .actor
        .attributes
        .iter()
        .map(|(key, value)| format!("{key}={value}"))
        .collect();
    let mut line = format!(
        "{} {} {} {}",
        time::precise(nanoseconds),
        event.kind,
        event.action,
        event.actor.id
    );
    if !attributes.is_empty() {
        line.push_str(&format!(" ({})", attributes.join(", ")));
    }
    line
}

#[cfg(test)]
mod tests {
    use dhow_api::client::{Event, EventActor};

    use super::sentence;

    #[test]
    fn an_event_is_one_line() {
        let event = Event {
            kind: "container".to_owned(),
            action: "die".to_owned(),
            actor: EventActor {
                id: "abc".to_owned(),
                attributes: [("exitCode".to_owned(), "1".to_owned())].into(),
            },
            time: 1_795_348_800,
            time_nanoseconds: 0,
        };
        assert_eq!(
            sentence(&event),
            "2026-11-22T12:00:00.000000000Z container die abc (exitCode=1)"
        );
    }
}
