//! `dhow stats`: what containers use, once or again and again.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use dhow_api::client::{Client, ContainerStats, ListOptions};
use serde_json::{Map, Value};
use tokio::sync::mpsc;

use crate::args::look::StatsArgs;
use crate::context::Context;
use crate::failure::{Failure, Outcome};
use crate::output::listing::{self, Column, Format};
use crate::output::{self, size};
use crate::terminal::window;

/// Columns of the usual table.
const COLUMNS: [Column; 8] = [
    ("ID", "CONTAINER ID"),
    ("Name", "NAME"),
    ("CPUPerc", "CPU %"),
    ("MemUsage", "MEM USAGE / LIMIT"),
    ("MemPerc", "MEM %"),
    ("NetIO", "NET I/O"),
    ("BlockIO", "BLOCK I/O"),
    ("PIDs", "PIDS"),
];

/// Columns only templates ask for.
const MORE_COLUMNS: [Column; 1] = [("Container", "CONTAINER")];

/// Between two tables of a stream.
const INTERVAL: Duration = Duration::from_millis(500);

/// Samples on their way to the table.
const QUEUED_SAMPLES: usize = 64;

/// Letters of an id that are shown.
const SHORT_ID: usize = 12;

/// Takes a terminal's cursor home and clears what is below.
const CLEAR: &str = "\x1b[2J\x1b[H";

/// `dhow stats`.
pub(crate) async fn stats(context: &Context, args: StatsArgs) -> Outcome {
    let format = Format::parse(args.format.as_deref())?;
    let client = Arc::new(context.client().await?);
    let names = if args.containers.is_empty() {
        all(&client, args.all).await?
    } else {
        args.containers.clone()
    };
    let full_ids = args.no_trunc;
    if args.no_stream {
        let mut rows = Vec::new();
        // At once, for each takes a second.
        let mut asked = Vec::new();
        for name in names {
            let client = Arc::clone(&client);
            asked.push((
                name.clone(),
                tokio::spawn(async move { client.stats_once(&name).await }),
            ));
        }
        for (name, answer) in asked {
            rows.push(row(&name, &answer.await??, full_ids));
        }
        output::raw(&listing::render(&format, &COLUMNS, &MORE_COLUMNS, &rows)?)?;
        return Ok(0);
    }
    follow(client, names, &format, full_ids).await
}

async fn all(client: &Client, stopped_too: bool) -> Result<Vec<String>, Failure> {
    let options = ListOptions {
        all: stopped_too,
        ..ListOptions::default()
    };
    let containers = client.list_containers(&options).await?;
    Ok(containers
        .into_iter()
        .map(|container| container.id)
        .collect())
}

/// Shows a table again and again, until every container is gone or the user has seen enough.
async fn follow(
    client: Arc<Client>,
    names: Vec<String>,
    format: &Format,
    full_ids: bool,
) -> Outcome {
    let (sender, mut samples) = mpsc::channel(QUEUED_SAMPLES);
    for (place, name) in names.iter().cloned().enumerate() {
        let (client, sender) = (Arc::clone(&client), sender.clone());
        tokio::spawn(async move {
            let told = watch(&client, place, &name, &sender).await;
            if let Err(failure) = told {
                let _nobody_looks = sender.send(Err(failure)).await;
            }
        });
    }
    drop(sender);
    let mut rows: BTreeMap<usize, Map<String, Value>> = BTreeMap::new();
    let mut ticks = tokio::time::interval(INTERVAL);
    let mut fresh = false;
    loop {
        tokio::select! {
            sample = samples.recv() => match sample {
                Some(sample) => {
                    let (place, sample): (usize, ContainerStats) = sample?;
                    rows.insert(place, row(&names[place], &sample, full_ids));
                    fresh = true;
                }
                None => return Ok(0),
            },
            _ = ticks.tick(), if fresh => {
                fresh = false;
                let rows: Vec<_> = rows.values().cloned().collect();
                let table = listing::render(format, &COLUMNS, &MORE_COLUMNS, &rows)?;
                let clear = if window::stdout_is_terminal() { CLEAR } else { "" };
                output::raw(&format!("{clear}{table}"))?;
            }
        }
    }
}

/// Passes a container's samples on.
async fn watch(
    client: &Client,
    place: usize,
    name: &str,
    samples: &mpsc::Sender<Result<(usize, ContainerStats), Failure>>,
) -> Result<(), Failure> {
    let mut stream = client.stats(name).await?;
    while let Some(sample) = stream.next_json::<ContainerStats>().await? {
        if samples.send(Ok((place, sample))).await.is_err() {
            return Ok(());
        }
    }
    Ok(())
}

fn row(asked: &str, stats: &ContainerStats, full_ids: bool) -> Map<String, Value> {
    let length = if full_ids { stats.id.len() } else { SHORT_ID };
    let id = stats.id.get(..length).unwrap_or(&stats.id);
    let used = stats.memory_used();
    let limit = stats.memory.limit.unwrap_or_default();
    let (received, sent) = stats.network_bytes();
    let (read, written) = stats.block_bytes();
    let runs = stats.cpu.system_usage.is_some();
    let known = |text: String| if runs { text } else { "--".to_owned() };
    let pair = |one: String, other: String| known(format!("{one} / {other}"));
    let decimal = |bytes: u64| size::decimal(i64::try_from(bytes).unwrap_or(i64::MAX));
    let binary = |bytes: u64| size::binary(i64::try_from(bytes).unwrap_or(i64::MAX));
    let fields = [
        ("Container", asked.to_owned()),
        ("ID", id.to_owned()),
        ("Name", stats.name.trim_start_matches('/').to_owned()),
        ("CPUPerc", known(format!("{:.2}%", stats.cpu_percent()))),
        ("MemUsage", pair(binary(used), binary(limit))),
        ("MemPerc", known(format!("{:.2}%", percent(used, limit)))),
        ("NetIO", pair(decimal(received), decimal(sent))),
        ("BlockIO", pair(decimal(read), decimal(written))),
        (
            "PIDs",
            known(stats.pids.current.unwrap_or_default().to_string()),
        ),
    ];
    fields
        .into_iter()
        .map(|(name, value)| (name.to_owned(), value.into()))
        .collect()
}

#[expect(clippy::cast_precision_loss, reason = "two digits of it are shown")]
fn percent(part: u64, whole: u64) -> f64 {
    if whole == 0 {
        return 0.0;
    }
    part as f64 / whole as f64 * 100.0
}
