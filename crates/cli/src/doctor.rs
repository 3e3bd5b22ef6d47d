//! `trilane doctor`: what this machine lacks, and the command that gets it.
//!
//! [`facts`] looks at the machine; [`checks`] judges what was seen, without touching anything.

mod checks;
pub(crate) mod facts;

use std::io::IsTerminal;

use anyhow::bail;
use clap::Args;
use comfy_table::ContentArrangement;
use serde::Serialize;
use trilane_service::Config;

use crate::output::{self, print};

/// Says what this machine lacks to run the fleet, and the command that gets it.
#[derive(Debug, Clone, Args)]
pub struct DoctorArgs {
    /// Print JSON instead of a table.
    #[arg(long)]
    json: bool,
}

/// One thing that was looked at.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
struct Check {
    name: String,
    verdict: Verdict,
    finding: String,
    /// What to do, as a command where there is one. Absent where nothing is to be done.
    remedy: Option<String>,
}

/// What a check says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
enum Verdict {
    /// As it should be.
    Ok,
    /// The fleet runs, with something missing.
    Warn,
    /// The fleet does not run, or not with this configuration.
    Fail,
}

impl Check {
    fn ok(name: impl Into<String>, finding: impl Into<String>) -> Self {
        Self { name: name.into(), verdict: Verdict::Ok, finding: finding.into(), remedy: None }
    }

    fn warn(name: impl Into<String>, finding: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { verdict: Verdict::Warn, remedy: Some(remedy.into()), ..Self::ok(name, finding) }
    }

    fn fail(name: impl Into<String>, finding: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { verdict: Verdict::Fail, remedy: Some(remedy.into()), ..Self::ok(name, finding) }
    }
}

/// Runs `trilane doctor`.
///
/// # Errors
/// The number of checks that failed, so that the command's exit status says whether the fleet can run.
pub async fn run(args: DoctorArgs, config: &Config) -> anyhow::Result<()> {
    let facts = facts::probe(config).await?;
    let checks = checks::all(&facts);
    print(&checks, args.json, || table(&checks))?;
    match checks.iter().filter(|check| check.verdict == Verdict::Fail).count() {
        0 => Ok(()),
        1 => bail!("1 check failed; its remedy is above"),
        failed => bail!("{failed} checks failed; their remedies are above"),
    }
}

fn table(checks: &[Check]) -> String {
    let mut table = output::table(&["check", "", "finding", "remedy"]);
    if std::io::stdout().is_terminal() {
        table.set_content_arrangement(ContentArrangement::Dynamic);
    }
    for check in checks {
        let verdict = match check.verdict {
            Verdict::Ok => "ok",
            Verdict::Warn => "warn",
            Verdict::Fail => "FAIL",
        };
        table.add_row([check.name.as_str(), verdict, &check.finding, check.remedy.as_deref().unwrap_or("")]);
    }
    table.trim_fmt()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_has_a_line_for_each_check_with_its_remedy() {
        let checks = [Check::ok("cmake", "3.25.1"), Check::fail("disk", "1 MB free", "free some")];
        let text = table(&checks);
        assert_eq!(text.lines().count(), 3);
        assert!(text.lines().any(|line| line.contains("FAIL") && line.contains("free some")), "{text}");
    }

    #[test]
    fn verdicts_are_lower_case_in_json() {
        let json = serde_json::to_value(Check::warn("gpu", "none", "x")).unwrap();
        assert_eq!(json["verdict"], "warn");
        assert_eq!(json["remedy"], "x");
    }
}
