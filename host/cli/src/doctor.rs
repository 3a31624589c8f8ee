//! What this computer can do for dhow, found out without a daemon.
//!
//! [`examine`] is the list; each check is a function that returns one finding, with the exact fix
//! where something is wrong. Findings about engines belong to `host/machine`, which knows how to
//! try them; here they are only put into the list.

use std::fs::{self, File};

use dhow_machine::probe::{self, ProbePaths};
use dhow_machine::{Engine, EngineChoice};

use crate::daemon_start;
use crate::paths::{self, Paths};

/// How good a finding is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// As it should be.
    Fine,
    /// Works, with something missing.
    Limited,
    /// Keeps containers from running.
    Broken,
}

/// Something that was looked at.
#[derive(Debug, Clone)]
pub(crate) struct Finding {
    /// What was looked at.
    pub(crate) subject: &'static str,
    /// How good it is.
    pub(crate) verdict: Verdict,
    /// What was seen.
    pub(crate) says: String,
    /// What to do about it: a command, or as close to one as can be.
    pub(crate) fix: Option<String>,
}

impl Finding {
    fn fine(subject: &'static str, says: impl Into<String>) -> Self {
        Self {
            subject,
            verdict: Verdict::Fine,
            says: says.into(),
            fix: None,
        }
    }

    fn broken(subject: &'static str, says: impl Into<String>, fix: impl Into<String>) -> Self {
        Self {
            subject,
            verdict: Verdict::Broken,
            says: says.into(),
            fix: Some(fix.into()),
        }
    }

    fn limited(subject: &'static str, says: impl Into<String>, fix: impl Into<String>) -> Self {
        Self {
            subject,
            verdict: Verdict::Limited,
            says: says.into(),
            fix: Some(fix.into()),
        }
    }
}

/// Looks at everything.
pub(crate) async fn examine() -> Vec<Finding> {
    let paths = match Paths::prepare() {
        Ok(paths) => paths,
        Err(error) => {
            let fix = "set DHOW_HOME to a folder you can write to";
            return vec![Finding::broken("home", format!("{error:#}"), fix)];
        }
    };
    let mut findings = vec![home(&paths), daemon(&paths)];
    findings.extend(engines(&paths).await);
    findings
}

fn home(paths: &Paths) -> Finding {
    let probe = paths.home.join(".doctor");
    let written = File::create(&probe).and_then(|_| fs::remove_file(&probe));
    match written {
        Ok(()) => Finding::fine(
            "home",
            format!(
                "{} (sockets in {})",
                paths.home.display(),
                paths.run.display()
            ),
        ),
        Err(error) => Finding::broken(
            "home",
            format!("{} cannot be written to: {error}", paths.home.display()),
            format!(
                "chown -R \"$USER\" {}, or set DHOW_HOME",
                paths.home.display()
            ),
        ),
    }
}

fn daemon(paths: &Paths) -> Finding {
    if daemon_start::is_running(paths) {
        Finding::fine("daemon", format!("answers on {}", paths.socket().display()))
    } else {
        Finding::fine("daemon", "does not run; it starts by itself when needed")
    }
}

/// Each engine: usable, or why not. One that works is enough.
async fn engines(paths: &Paths) -> Vec<Finding> {
    let tried = match (std::env::current_exe(), paths::library()) {
        (Ok(program), Ok(library)) => {
            probe::findings(&ProbePaths {
                program,
                library,
                run: paths.run.clone(),
            })
            .await
        }
        (Err(error), _) => {
            let fix = "start dhow from a folder you can read";
            return vec![Finding::broken("engines", error.to_string(), fix)];
        }
        (_, Err(error)) => {
            let fix = "set DHOW_LIB to the folder with vmlinux, linux and initramfs.cpio";
            return vec![Finding::broken("engines", format!("{error:#}"), fix)];
        }
    };
    judge(tried, std::env::var("DHOW_ENGINE").ok().as_deref())
}

/// An engine that does not work matters only if it is the one asked for, or if none does.
fn judge(tried: Vec<probe::Finding>, asked: Option<&str>) -> Vec<Finding> {
    let any_works = tried.iter().any(|finding| finding.problem.is_none());
    let mut findings = Vec::new();
    let choice = asked.unwrap_or_default().parse::<EngineChoice>();
    if let Err(error) = &choice {
        findings.push(Finding::broken(
            "DHOW_ENGINE",
            error.to_string(),
            "unset DHOW_ENGINE",
        ));
    }
    for finding in tried {
        let subject = match finding.engine {
            Engine::Kvm => "engine kvm",
            Engine::Uml => "engine uml",
        };
        let is_asked = choice == Ok(EngineChoice::Only(finding.engine));
        findings.push(match finding.problem {
            None => Finding::fine(subject, "usable"),
            Some(problem) if any_works && !is_asked => {
                Finding::limited(subject, problem.reason, problem.fix)
            }
            Some(problem) => Finding::broken(subject, problem.reason, problem.fix),
        });
    }
    findings
}

#[cfg(test)]
mod tests {
    use dhow_machine::Engine;
    use dhow_machine::probe::{self, Problem};

    use super::{Verdict, judge};

    fn tried(kvm: Option<&str>, uml: Option<&str>) -> Vec<probe::Finding> {
        let problem = |reason: &str| Problem {
            reason: reason.to_owned(),
            fix: "mend".to_owned(),
        };
        vec![
            probe::Finding {
                engine: Engine::Kvm,
                problem: kvm.map(problem),
            },
            probe::Finding {
                engine: Engine::Uml,
                problem: uml.map(problem),
            },
        ]
    }

    fn verdicts(tried: Vec<probe::Finding>, asked: Option<&str>) -> Vec<Verdict> {
        judge(tried, asked)
            .iter()
            .map(|finding| finding.verdict)
            .collect()
    }

    #[test]
    fn one_engine_is_enough() {
        let verdicts = verdicts(tried(Some("no device"), None), None);
        assert_eq!(verdicts, [Verdict::Limited, Verdict::Fine]);
    }

    #[test]
    fn without_any_engine_all_are_broken() {
        let verdicts = verdicts(tried(Some("no device"), Some("no kernel")), None);
        assert_eq!(verdicts, [Verdict::Broken, Verdict::Broken]);
    }

    #[test]
    fn the_engine_asked_for_must_work() {
        let verdicts = verdicts(tried(Some("no device"), None), Some("kvm"));
        assert_eq!(verdicts, [Verdict::Broken, Verdict::Fine]);
    }

    #[test]
    fn a_wrong_choice_is_told() {
        let findings = judge(tried(None, None), Some("vbox"));
        assert_eq!(findings[0].verdict, Verdict::Broken);
        assert!(findings[0].says.contains("vbox"), "{}", findings[0].says);
    }
}
