//! `dhow logs`.

use std::time::SystemTime;

use dhow_api::client::LogOptions;

use crate::args::look::LogsArgs;
use crate::context::Context;
use crate::failure::{Failure, Outcome};
use crate::resolve::timestamp;
use crate::terminal::session::Outputs;

/// `dhow logs`.
pub(crate) async fn logs(context: &Context, args: LogsArgs) -> Outcome {
    let now = SystemTime::now();
    let time = |text: Option<&String>| text.map(|text| timestamp::parse(text, now)).transpose();
    let options = LogOptions {
        follow: args.follow,
        timestamps: args.timestamps,
        since: time(args.since.as_ref())?,
        until: time(args.until.as_ref())?,
        tail: tail(&args.tail)?,
    };
    let client = context.client().await?;
    let (facts, body) = tokio::join!(
        client.container_facts(&args.container),
        client.logs(&args.container, &options)
    );
    let (facts, mut body) = (facts?, body?);
    let mut outputs = Outputs::new(facts.config.tty);
    while let Some(chunk) = body.next_chunk().await? {
        outputs.write(&chunk).await?;
    }
    Ok(0)
}

/// A number of lines, or all.
fn tail(text: &str) -> Result<String, Failure> {
    if text == "all" || text.starts_with('-') {
        return Ok("all".to_owned());
    }
    match text.parse::<u64>() {
        Ok(lines) => Ok(lines.to_string()),
        Err(_) => Err(Failure::new(format!(
            "invalid --tail \"{text}\": a number or \"all\""
        ))),
    }
}

#[cfg(test)]
mod tests {
    use super::tail;

    #[test]
    fn tail_is_a_number_or_all() {
        assert_eq!(tail("10").expect("a number"), "10");
        assert_eq!(tail("-1").expect("all"), "all");
        let _refused = tail("ten").expect_err("a refusal");
    }
}
