//! `trilane prove`: states with figures that no private task was offered to the cloud zone, and that the routing log is
//! whole.
//!
//! [`walk`] reads the logs, [`audit`] holds them against each other; [`chains`], [`ledger`] and [`findings`] are its parts.

mod audit;
mod chains;
mod findings;
mod ledger;
mod walk;

use std::time::Duration;

use clap::Args;
use trilane_protocol::streams::{DEAD, RESULTS, ROUTES};
use trilane_service::Config;
use trilane_trust::Role;

use self::audit::{Chain, Proof};
use self::findings::{Finding, Kind};
use crate::length::parse_length;
use crate::output::{self, print};

/// States that no private task was offered to the cloud zone and that the routing log is whole, or names what is wrong.
///
/// Ends with status 1 where something is altered, missing or wrong.
#[derive(Debug, Clone, Args)]
pub struct ProveArgs {
    /// How far back, such as 2h or 7d. Default: all that is kept.
    #[arg(long, value_name = "LENGTH", value_parser = parse_length)]
    since: Option<Duration>,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

/// Runs `trilane prove`.
///
/// # Errors
/// No connection, no key to check signatures with, or a proof that does not hold.
pub async fn run(args: &ProveArgs, config: &Config) -> anyhow::Result<()> {
    let broker = crate::connect(config, Role::Observer).await?;
    let proof = walk::proof(&broker, config, args.since).await?;
    print(&proof, args.json, || text(&proof))?;
    anyhow::ensure!(proof.holds(), "the proof does not hold; the findings are above");
    Ok(())
}

fn text(proof: &Proof) -> String {
    let offered = match proof.private_on_cloud {
        0 => "no private task was offered to the cloud zone".to_owned(),
        count => format!("{count} records of PRIVATE TASKS IN THE CLOUD ZONE"),
    };
    let chain = match proof.chain {
        Chain::Whole => "the chain is whole",
        Chain::Broken => "the chain is BROKEN",
    };
    [format!("{offered}; {chain}"), figures_table(proof), findings_table(proof)]
        .into_iter()
        .filter(|part| !part.is_empty())
        .collect::<Vec<_>>()
        .join("\n\n")
}

fn figures_table(proof: &Proof) -> String {
    let found = |kind: Kind, stream: &str| {
        let of_it = |finding: &&Finding| finding.kind == kind && finding.place.starts_with(stream);
        proof.findings.iter().filter(of_it).count()
    };
    let Proof { private_records, cloud_records, classifiers, ambiguous_calls, .. } = proof;
    let (unsigned, unlogged) = (found(Kind::Altered, ROUTES), found(Kind::NoRecord, RESULTS));
    let (refused, spent) = (found(Kind::Refused, DEAD), output::dollars(proof.spent_usd));
    let mut table = output::table(&["what", "count", "of it"]);
    let rows = [
        (
            "decisions",
            proof.records,
            format!("private: {private_records}, in the cloud zone: {cloud_records}"),
        ),
        ("segments", proof.segments, format!("chains: {classifiers}, without a valid signature: {unsigned}")),
        ("results", proof.results, format!("without a record of their decision: {unlogged}")),
        ("dead letters", proof.dead_letters, format!("refused attempts: {refused}")),
        (
            "ledger entries",
            proof.ledger_entries,
            format!("spent: {spent}, calls without a known end: {ambiguous_calls}"),
        ),
    ];
    for (what, count, of_it) in rows {
        table.add_row([what, &count.to_string(), &of_it]);
    }
    table.trim_fmt()
}

fn findings_table(proof: &Proof) -> String {
    if proof.findings.is_empty() {
        return String::new();
    }
    let mut table = output::table(&["finding", "where", "what"]);
    for finding in &proof.findings {
        table.add_row([finding.kind.as_str(), &finding.place, &finding.message]);
    }
    table.trim_fmt()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn proof() -> Proof {
        Proof {
            classifiers: 1,
            segments: 9,
            records: 12,
            private_records: 7,
            cloud_records: 3,
            results: 12,
            ledger_entries: 6,
            spent_usd: 0.0031,
            ..Proof::default()
        }
    }

    #[test]
    fn a_proof_that_holds_reads_well() {
        insta::assert_snapshot!(text(&proof()), @r"
        no private task was offered to the cloud zone; the chain is whole

         what            count  of it
         decisions       12     private: 7, in the cloud zone: 3
         segments        9      chains: 1, without a valid signature: 0
         results         12     without a record of their decision: 0
         dead letters    0      refused attempts: 0
         ledger entries  6      spent: $0.0031, calls without a known end: 0
        ");
    }

    #[test]
    fn a_proof_that_does_not_hold_names_what_is_wrong() {
        let finding = Finding { kind: Kind::Altered, place: "ROUTES 7".into(), message: "a message".into() };
        let proof = Proof { chain: Chain::Broken, private_on_cloud: 1, findings: vec![finding], ..proof() };
        assert!(!proof.holds());
        insta::assert_snapshot!(text(&proof), @r"
        1 records of PRIVATE TASKS IN THE CLOUD ZONE; the chain is BROKEN

         what            count  of it
         decisions       12     private: 7, in the cloud zone: 3
         segments        9      chains: 1, without a valid signature: 1
         results         12     without a record of their decision: 0
         dead letters    0      refused attempts: 0
         ledger entries  6      spent: $0.0031, calls without a known end: 0

         finding  where     what
         altered  ROUTES 7  a message
        ");
    }

    #[test]
    fn the_object_has_the_fields_that_scripts_read() {
        let json = serde_json::to_value(proof()).unwrap();
        let keys: Vec<&str> = json.as_object().unwrap().keys().map(String::as_str).collect();
        let expected = [
            "private_on_cloud",
            "chain",
            "classifiers",
            "segments",
            "records",
            "private_records",
            "cloud_records",
            "results",
            "dead_letters",
            "ledger_entries",
            "spent_usd",
            "ambiguous_calls",
            "findings",
        ];
        assert!(expected.iter().all(|key| keys.contains(key)) && keys.len() == expected.len(), "{keys:?}");
        assert_eq!(json["chain"], "whole");
        let finding = Finding { kind: Kind::NoRecord, place: "RESULTS 1".into(), message: "m".into() };
        let expected = serde_json::json!({"kind": "no_record", "where": "RESULTS 1", "message": "m"});
        assert_eq!(serde_json::to_value(finding).unwrap(), expected);
    }
}
