//! What `trilane prove` says of the routing log, the results and the ledger after a drill.

use std::path::PathBuf;
use std::process::Command;

use anyhow::Context;
use serde::Deserialize;

/// Findings of this kind are attempts that the fleet has refused; they do not fail the proof.
const REFUSED: &str = "refused";

/// What was proven.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Proof {
    /// `whole` or `broken`.
    pub chain: String,
    /// What does not hold.
    pub findings: Vec<String>,
}

/// How the program says it.
#[derive(Debug, Deserialize)]
struct Said {
    chain: String,
    findings: Vec<Finding>,
}

#[derive(Debug, Deserialize)]
struct Finding {
    kind: String,
    r#where: String,
    message: String,
}

/// Runs `program`, with its configuration in `file` and the queue at `url`.
///
/// # Errors
/// Where it cannot be started, or says nothing that can be read.
pub async fn prove(program: PathBuf, file: PathBuf, url: String) -> anyhow::Result<Proof> {
    let running = tokio::task::spawn_blocking(move || {
        let mut command = Command::new(program);
        command.arg("--config").arg(file).args(["prove", "--json"]).env("TRILANE__NATS__URL", url).output()
    });
    let output = running.await?.context("cannot start trilane")?;
    read(&output.stdout, output.status.success())
        .with_context(|| format!("trilane prove says: {}", String::from_utf8_lossy(&output.stderr)))
}

fn read(output: &[u8], succeeded: bool) -> anyhow::Result<Proof> {
    let Said { chain, findings } = serde_json::from_slice(output)?;
    let findings = findings.into_iter().filter(|finding| finding.kind != REFUSED);
    let mut findings: Vec<_> = findings
        .map(|Finding { kind, r#where, message }| format!("{kind}, {}: {message}", r#where))
        .collect();
    // Whatever it is that the program minds.
    if findings.is_empty() && (!succeeded || chain != "whole") {
        findings.push(format!("the proof does not hold; the chain is {chain}"));
    }
    Ok(Proof { chain, findings })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(chain: &str, kind: &str, succeeded: bool) -> usize {
        let output = format!(
            r#"{{"chain": "{chain}", "records": 1, "findings": [{{"kind": "{kind}", "where": "ROUTES 1", "message": "m"}}]}}"#
        );
        read(output.as_bytes(), succeeded).unwrap().findings.len()
    }

    #[test]
    fn everything_but_a_refused_attempt_is_a_finding() {
        assert_eq!(said("whole", "refused", true), 0);
        assert_eq!(said("whole", "altered", true), 1);
        assert_eq!(said("broken", "refused", false), 1, "it need not say why");
        assert!(read(b"trilane: no such verb", false).is_err());
    }
}
