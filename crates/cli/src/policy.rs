//! `trilane policy`: which version of the learned policy is in force, which there are, and another in its place.

mod report;

use anyhow::bail;
use clap::{Args, Subcommand};
use jiff::Timestamp;
use trilane_broker::{Broker, Role};
use trilane_routing::snapshot::{By, HAND_MADE, InForce, Manifest};
use trilane_service::Config;

use crate::output::print;
use report::{History, Shown};

/// Shows what the fleet has learned and follows, and puts another version in force.
#[derive(Debug, Clone, Args)]
pub struct PolicyArgs {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Clone, Subcommand)]
enum Verb {
    /// The version in force: since when, by whom, on what evidence, and what its evaluation found.
    Show(Reading),
    /// All versions that are kept, the newest first.
    History(Reading),
    /// Puts a version in force; classifiers follow within a second. Needs the key of the learner.
    Promote(PromoteArgs),
    /// Goes back to the version before, or to another. Needs the key of the learner.
    Rollback(RollbackArgs),
}

#[derive(Debug, Clone, Copy, Args)]
struct Reading {
    /// Print JSON instead of tables.
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Clone, Args)]
struct PromoteArgs {
    /// The version, as `trilane policy history` lists it.
    #[arg(value_name = "VERSION")]
    number: u64,
    /// Why, for whoever looks later.
    #[arg(long, value_name = "TEXT", default_value = "promoted by the operator")]
    reason: String,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Clone, Args)]
struct RollbackArgs {
    /// The version to go back to; 0 is the hand-made score. Without it, the one before.
    #[arg(long, value_name = "VERSION")]
    to: Option<u64>,
    /// Why, for whoever looks later.
    #[arg(long, value_name = "TEXT")]
    reason: Option<String>,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

/// Runs `trilane policy`.
///
/// # Errors
/// No connection, no such version, one that does not read, or none to go back to.
pub async fn run(args: PolicyArgs, config: &Config) -> anyhow::Result<()> {
    match args.verb {
        Verb::Show(Reading { json }) => {
            let shown = show(&crate::connect(config, Role::Observer).await?).await?;
            print(&shown, json, || shown.text())
        }
        Verb::History(Reading { json }) => {
            let history = history(&crate::connect(config, Role::Observer).await?).await?;
            print(&history, json, || history.text())
        }
        Verb::Promote(args) => {
            let broker = crate::connect(config, Role::Learner).await?;
            let in_force = promote(&broker, config, args.number, args.reason).await?;
            print(&in_force, args.json, || report::in_force(&in_force))
        }
        Verb::Rollback(args) => {
            let broker = crate::connect(config, Role::Learner).await?;
            let in_force = rollback(&broker, config, args.to, args.reason).await?;
            print(&in_force, args.json, || report::in_force(&in_force))
        }
    }
}

async fn show(broker: &Broker) -> anyhow::Result<Shown> {
    let (in_force, _) = broker.policy_in_force().await?;
    let manifest = match in_force.version {
        HAND_MADE => None,
        version => Some(broker.policy_manifest(version).await?),
    };
    Ok(Shown { in_force, manifest })
}

/// A version that does not read is listed as such: it is the one that somebody looks for.
async fn history(broker: &Broker) -> anyhow::Result<History> {
    let (in_force, _) = broker.policy_in_force().await?;
    let mut versions = Vec::new();
    for version in broker.policy_versions().await?.into_iter().rev() {
        versions.push(report::row(version, broker.policy_manifest(version).await, &in_force));
    }
    Ok(History { versions })
}

async fn promote(broker: &Broker, config: &Config, version: u64, reason: String) -> anyhow::Result<InForce> {
    let (current, revision) = broker.policy_in_force().await?;
    if version == current.version {
        bail!("version {version} is in force already, since {}", report::time(current.since));
    }
    if version == HAND_MADE {
        bail!("version 0 is the hand-made score; go back to it with `trilane policy rollback --to 0`");
    }
    fits(&broker.policy_manifest(version).await?, config)?;
    put(broker, version, reason, Some(current.version), revision).await
}

async fn rollback(
    broker: &Broker,
    config: &Config,
    to: Option<u64>,
    reason: Option<String>,
) -> anyhow::Result<InForce> {
    let (current, revision) = broker.policy_in_force().await?;
    let Some(version) = to.or(current.previous) else {
        bail!("there is no version before the one in force ({})", report::name(current.version));
    };
    if version == current.version {
        bail!("{} is in force already; name an earlier version with --to", report::name(version));
    }
    // What it was learned from is where a further rollback goes.
    let previous = match version {
        HAND_MADE => None,
        version => {
            let manifest = broker.policy_manifest(version).await?;
            fits(&manifest, config)?;
            Some(manifest.based_on).filter(|before| *before != version)
        }
    };
    let reason = reason.unwrap_or_else(|| format!("rolled back from {}", report::name(current.version)));
    put(broker, version, reason, previous, revision).await
}

async fn put(
    broker: &Broker,
    version: u64,
    reason: String,
    previous: Option<u64>,
    revision: u64,
) -> anyhow::Result<InForce> {
    let in_force = InForce { version, since: Timestamp::now(), by: By::Operator, reason, previous };
    broker.put_in_force(&in_force, revision).await?;
    Ok(in_force)
}

/// A version that knows none of the fleet's lanes would change nothing, and is not what anybody means.
fn fits(manifest: &Manifest, config: &Config) -> anyhow::Result<()> {
    let lanes = &config.registry.lanes;
    let unknown: Vec<&str> = manifest
        .heads
        .keys()
        .filter(|lane| !lanes.contains_key(*lane))
        .map(trilane_protocol::LaneName::as_str)
        .collect();
    if !manifest.heads.keys().any(|lane| lanes.contains_key(lane)) {
        bail!(
            "version {} has learned of no lane of this fleet; its lanes are: {}",
            manifest.version,
            unknown.join(", ")
        );
    }
    if !unknown.is_empty() {
        eprintln!("what it has learned of lanes that are no more is not used: {}", unknown.join(", "));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use trilane_routing::learn::Weights;

    use super::*;

    #[test]
    fn a_version_of_other_lanes_is_refused() {
        let config = trilane_service::config::load_from(None, []).unwrap();
        let manifest = Manifest::of(3, Timestamp::UNIX_EPOCH, 0, 2, &Weights::default());
        let with = |lanes: &[&str]| {
            let entry = |lane: &&str| {
                let entry =
                    trilane_routing::snapshot::HeadEntry { sha256: "0".repeat(64), bytes: 1, evidence: 1.0 };
                (lane.parse().unwrap(), entry)
            };
            Manifest { heads: lanes.iter().map(entry).collect(), ..manifest.clone() }
        };
        assert!(fits(&with(&["local-fast", "gone"]), &config).is_ok());
        let error = fits(&with(&["elsewhere"]), &config).unwrap_err().to_string();
        assert!(error.contains("elsewhere") && error.contains("version 3"), "{error}");
    }
}
