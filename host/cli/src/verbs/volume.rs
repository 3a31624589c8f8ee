//! `dhow volume create|inspect|ls|rm|prune`.

use std::collections::HashMap;
use std::io::{self, BufRead, IsTerminal, Write};

use anyhow::{Context as _, bail};
use dhow_api::client::VolumeFacts;
use dhow_api::client::request::VolumeCreateRequest;
use serde_json::{Map, Value};

use super::each::for_each;
use super::inspect;
use crate::args::volume::{
    CreateVolumeArgs, InspectVolumeArgs, ListVolumesArgs, PruneVolumesArgs, RemoveVolumesArgs,
    VolumeVerb,
};
use crate::context::Context;
use crate::failure::{Failure, Outcome};
use crate::output::listing::{self, Column, Format};
use crate::output::{self, size};
use crate::resolve::{filters, labels};

/// Columns of the usual table.
const COLUMNS: [Column; 2] = [("Driver", "DRIVER"), ("Name", "VOLUME NAME")];

/// Columns that templates ask for.
const ALL_COLUMNS: [Column; 10] = [
    ("Driver", "DRIVER"),
    ("Name", "VOLUME NAME"),
    ("Scope", "SCOPE"),
    ("Mountpoint", "MOUNTPOINT"),
    ("Labels", "LABELS"),
    ("Links", "LINKS"),
    ("Size", "SIZE"),
    ("Group", "GROUP"),
    ("Status", "STATUS"),
    ("Availability", "AVAILABILITY"),
];

/// What Docker shows for what it did not ask the daemon.
const NOT_ASKED: &str = "N/A";

/// `dhow volume …`.
pub(crate) async fn volume(context: &Context, verb: VolumeVerb) -> Outcome {
    match verb {
        VolumeVerb::Create(args) => create(context, args).await,
        VolumeVerb::Inspect(args) => inspect_each(context, args).await,
        VolumeVerb::Ls(args) => list(context, args).await,
        VolumeVerb::Rm(args) => remove(context, args).await,
        VolumeVerb::Prune(args) => prune(context, args).await,
    }
}

async fn create(context: &Context, args: CreateVolumeArgs) -> Outcome {
    let no_files: [&str; 0] = [];
    let request = VolumeCreateRequest {
        name: args.name,
        driver: Some(args.driver),
        driver_opts: Some(options(&args.opt)?),
        labels: Some(labels::resolve(&args.label, &no_files)?),
        ..VolumeCreateRequest::default()
    };
    let client = context.client().await?;
    let made = client.create_volume(&request).await?;
    output::line(&made.name)?;
    Ok(0)
}

fn options(given: &[String]) -> anyhow::Result<HashMap<String, String>> {
    let mut options = HashMap::new();
    for text in given {
        let Some((key, value)) = text.split_once('=') else {
            bail!("invalid --opt \"{text}\": it must be key=value");
        };
        options.insert(key.to_owned(), value.to_owned());
    }
    Ok(options)
}

async fn inspect_each(context: &Context, args: InspectVolumeArgs) -> Outcome {
    let client = context.client().await?;
    inspect::show(args.format.as_deref(), &args.names, async |name| {
        Ok(client.inspect_volume(name).await?)
    })
    .await
}

async fn list(context: &Context, args: ListVolumesArgs) -> Outcome {
    let format = Format::parse(args.format.as_deref())?;
    let filters = filters::resolve(&args.filter)?;
    let client = context.client().await?;
    let volumes = client.list_volumes(filters.as_deref()).await?;
    if args.quiet {
        for volume in &volumes {
            output::line(&volume.name)?;
        }
        return Ok(0);
    }
    let rows: Vec<_> = volumes.iter().map(row).collect();
    output::raw(&listing::render(&format, &COLUMNS, &ALL_COLUMNS, &rows)?)?;
    Ok(0)
}

fn row(volume: &VolumeFacts) -> Map<String, Value> {
    let labels: Vec<String> = volume
        .labels
        .iter()
        .map(|(key, value)| format!("{key}={value}"))
        .collect();
    listing::row([
        ("Availability", NOT_ASKED.to_owned()),
        ("Driver", volume.driver.clone()),
        ("Group", NOT_ASKED.to_owned()),
        ("Labels", labels.join(",")),
        ("Links", NOT_ASKED.to_owned()),
        ("Mountpoint", volume.mountpoint.clone()),
        ("Name", volume.name.clone()),
        ("Scope", volume.scope.clone()),
        ("Size", NOT_ASKED.to_owned()),
        ("Status", NOT_ASKED.to_owned()),
    ])
}

async fn remove(context: &Context, args: RemoveVolumesArgs) -> Outcome {
    let client = context.client().await?;
    for_each(&args.names, async |name| {
        client.remove_volume(name, args.force).await
    })
    .await
}

async fn prune(context: &Context, args: PruneVolumesArgs) -> Outcome {
    let mut wanted = args.filter;
    if args.all {
        wanted.push("all=true".to_owned());
    }
    let filters = filters::resolve(&wanted)?;
    if !args.force && !confirmed(args.all)? {
        return Err(Failure::new("volume prune has been cancelled"));
    }
    let client = context.client().await?;
    let pruned = client.prune_volumes(filters.as_deref()).await?;
    if !pruned.volumes_deleted.is_empty() {
        output::line("Deleted Volumes:")?;
        for name in &pruned.volumes_deleted {
            output::line(name)?;
        }
        output::line("")?;
    }
    let reclaimed = size::decimal(pruned.space_reclaimed);
    output::line(&format!("Total reclaimed space: {reclaimed}"))?;
    Ok(0)
}

/// Asks whoever types; without a terminal the answer is what comes in, and no where nothing does.
fn confirmed(all: bool) -> anyhow::Result<bool> {
    let which = if all { "all" } else { "anonymous local" };
    let question = format!(
        "WARNING! This will remove {which} volumes not used by at least one container.\n\
         Are you sure you want to continue? [y/N] "
    );
    let mut stdout = io::stdout().lock();
    stdout.write_all(question.as_bytes())?;
    stdout.flush()?;
    let mut answer = String::new();
    let stdin = io::stdin();
    stdin
        .lock()
        .read_line(&mut answer)
        .context("failed to read the answer")?;
    if !stdin.is_terminal() {
        stdout.write_all(b"\n")?;
    }
    Ok(matches!(answer.trim(), "y" | "Y" | "yes"))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use dhow_api::client::VolumeFacts;

    use super::{ALL_COLUMNS, COLUMNS, options, row};
    use crate::output::listing::{self, Format};

    #[test]
    fn volumes_are_listed_as_docker_lists_them() {
        let volume = VolumeFacts {
            name: "db".to_owned(),
            driver: "local".to_owned(),
            mountpoint: "/data/volumes/db/_data".to_owned(),
            scope: "local".to_owned(),
            labels: BTreeMap::from([("a".to_owned(), "b".to_owned())]),
        };
        let show = |format: Option<&str>| {
            let format = Format::parse(format).expect("a format");
            listing::render(&format, &COLUMNS, &ALL_COLUMNS, &[row(&volume)]).expect("a list")
        };
        assert_eq!(show(None), "DRIVER    VOLUME NAME\nlocal     db\n");
        assert_eq!(show(Some("{{.Name}} {{.Labels}}")), "db a=b\n");
    }

    #[test]
    fn an_option_needs_a_value() {
        let error = options(&["type".to_owned()]).expect_err("a refusal");
        assert_eq!(
            error.to_string(),
            "invalid --opt \"type\": it must be key=value"
        );
    }
}
