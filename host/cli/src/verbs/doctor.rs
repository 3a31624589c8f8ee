//! `dhow doctor`: findings about this computer; starts no daemon.

use serde_json::json;

use crate::args::system::DoctorArgs;
use crate::doctor::{Finding, Verdict, examine};
use crate::failure::Outcome;
use crate::output;

/// `dhow doctor`: exit code 1 when something keeps containers from running.
pub(crate) fn doctor(args: &DoctorArgs) -> Outcome {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let findings = runtime.block_on(examine());
    if args.json {
        let list: Vec<_> = findings.iter().map(as_json).collect();
        output::line(&json!(list).to_string())?;
    } else {
        for finding in &findings {
            output::line(&format!(
                "[{}] {}: {}",
                mark(finding.verdict),
                finding.subject,
                finding.says
            ))?;
            if let Some(fix) = &finding.fix {
                output::line(&format!("       fix: {fix}"))?;
            }
        }
    }
    let broken = findings
        .iter()
        .any(|finding| finding.verdict == Verdict::Broken);
    Ok(u8::from(broken))
}

/// The verdict, in words as wide as each other; never in colour alone.
fn mark(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Fine => " ok ",
        Verdict::Limited => "note",
        Verdict::Broken => "FAIL",
    }
}

fn as_json(finding: &Finding) -> serde_json::Value {
    let verdict = match finding.verdict {
        Verdict::Fine => "fine",
        Verdict::Limited => "limited",
        Verdict::Broken => "broken",
    };
    json!({
        "subject": finding.subject,
        "verdict": verdict,
        "says": finding.says,
        "fix": finding.fix,
    })
}
