//! The trilane command.
//!
//! Data goes to stdout, everything else to stderr. Modules in reading order:
//!
//! * [`settings`]: where the configuration comes from
//! * [`up`]: starts the whole fleet on this machine and keeps it running
//! * [`submit`], [`results`], [`cancel`], [`feedback`]: tasks in, answers out, tasks taken back, answers judged
//! * [`lanes`], [`agents`], [`alerts`], [`budget`], [`dashboard`], [`configuration`], [`provision`]: the fleet as it is
//! * [`explain`], [`export`]: why tasks went where they went, and what is known of them
//! * [`keys`]: who may do what
//! * [`dead`]: what ended without an answer
//! * [`policy`]: what the fleet has learned and follows
//! * [`report`]: what a week was worth, and what to change
//! * [`prove`]: that nothing private was offered to the cloud zone
//! * [`screen`]: how good the detectors are, measured on labelled texts; `rows` reads them
//! * [`evaluate`]: how well the learned score tells which tasks need the strong lane
//! * [`models`], [`doctor`]: what this machine has and lacks
//! * `wait`, `output`, `length`: parts of them

pub mod agents;
pub mod alerts;
pub mod budget;
pub mod cancel;
pub mod configuration;
pub mod dashboard;
pub mod dead;
pub mod doctor;
pub mod evaluate;
pub mod explain;
pub mod export;
pub mod feedback;
pub mod keys;
pub mod lanes;
mod length;
pub mod models;
mod output;
pub mod policy;
pub mod prove;
pub mod provision;
pub mod report;
pub mod results;
mod rows;
pub mod screen;
pub mod settings;
pub mod submit;
pub mod up;
mod wait;

use std::path::PathBuf;

use clap::{Parser, Subcommand};
use trilane_broker::{Broker, ConnectError, Role};
use trilane_service::config::{Config, ConfigError, EXIT_BAD_CONFIG, Telemetry};

use crate::settings::Settings;

/// Log filter where RUST_LOG does not say: what is wrong, and no more.
const LOG_FILTER: &str = "warn";

/// A fleet of queue workers for LLM tasks: private data stays local, deep reasoning earns the cloud, everything
/// routine is local.
#[derive(Debug, Clone, Parser)]
#[command(name = "trilane", version, propagate_version = true)]
pub struct Arguments {
    /// Configuration file, put on top of the embedded default. Also TRILANE_CONFIG.
    #[arg(long, global = true, value_name = "FILE")]
    config: Option<PathBuf>,
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Clone, Subcommand)]
enum Verb {
    Up(up::UpArgs),
    Submit(Box<submit::SubmitArgs>),
    Results(results::ResultsArgs),
    Cancel(cancel::CancelArgs),
    Feedback(feedback::FeedbackArgs),
    Lanes(lanes::LanesArgs),
    Agents(agents::AgentsArgs),
    Dashboard(dashboard::DashboardArgs),
    Dead(dead::DeadArgs),
    Budget(budget::BudgetArgs),
    Alerts(alerts::AlertsArgs),
    Explain(explain::ExplainArgs),
    Export(export::ExportArgs),
    Policy(policy::PolicyArgs),
    Prove(prove::ProveArgs),
    Screen(screen::ScreenArgs),
    Report(report::ReportArgs),
    Evaluate(evaluate::EvaluateArgs),
    Models(models::ModelsArgs),
    Doctor(doctor::DoctorArgs),
    Config(configuration::ConfigArgs),
    Keys(keys::KeysArgs),
    /// Creates or updates streams, consumers and buckets; running it again changes nothing.
    Provision,
    #[command(hide = true)]
    RunChild(up::RunChildArgs),
}

/// Runs the command.
///
/// # Errors
/// What went wrong and what to do. [`exit_status`] says how the process ends.
pub async fn run(arguments: Arguments) -> anyhow::Result<()> {
    // This one becomes another program, whose own configuration counts.
    if let Verb::RunChild(args) = arguments.verb {
        return Err(up::run_child(&args));
    }
    let mut settings = Settings::new(arguments.config);
    if let Verb::Config(args) = arguments.verb {
        return configuration::run(args, &settings);
    }
    if let Verb::Evaluate(args) = &arguments.verb {
        return evaluate::run(args);
    }
    if let Verb::Up(args) = &arguments.verb {
        up::apply(args, &mut settings)?;
    }
    if let Verb::Screen(args) = &arguments.verb {
        return screen::run(args);
    }
    let config = settings.load()?;
    trilane_service::telemetry::start_logging(&Telemetry {
        log: LOG_FILTER.into(),
        ..config.telemetry.clone()
    })?;
    match arguments.verb {
        Verb::Up(args) => up::run(args, &settings, &config).await,
        Verb::Submit(args) => submit::run(*args, &config).await,
        Verb::Results(args) => results::run(args, &config).await,
        Verb::Cancel(args) => cancel::run(args, &config).await,
        Verb::Feedback(args) => feedback::run(args, &config).await,
        Verb::Lanes(args) => lanes::run(args, &config).await,
        Verb::Agents(args) => agents::run(&args, &config),
        Verb::Dashboard(args) => dashboard::run(&args, &config),
        Verb::Dead(args) => dead::run(args, &config).await,
        Verb::Budget(args) => budget::run(args, &config).await,
        Verb::Alerts(args) => alerts::run(args, &config).await,
        Verb::Explain(args) => explain::run(args, &config).await,
        Verb::Export(args) => export::run(args, &config).await,
        Verb::Policy(args) => policy::run(args, &config).await,
        Verb::Prove(args) => prove::run(&args, &config).await,
        Verb::Report(args) => report::run(&args, &config).await,
        Verb::Models(args) => models::run(args, &config).await,
        Verb::Doctor(args) => doctor::run(args, &config).await,
        Verb::Keys(args) => keys::run(&args, &config),
        Verb::Provision => provision::run(&config).await,
        Verb::Config(_) | Verb::Evaluate(_) | Verb::Screen(_) | Verb::RunChild(_) => Ok(()),
    }
}

/// The exit status for an error: 64 for a bad configuration, else 1.
pub fn exit_status(error: &anyhow::Error) -> u8 {
    let is_bad_config = |cause: &(dyn std::error::Error + 'static)| {
        cause.is::<ConfigError>() || cause.is::<up::BadConfiguration>()
    };
    if error.chain().any(is_bad_config) { EXIT_BAD_CONFIG } else { 1 }
}

/// A connection for this command.
async fn connect(config: &Config, role: Role) -> Result<Broker, ConnectError> {
    Broker::connect(config, role, &format!("trilane-{}", std::process::id())).await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_holds_together() {
        use clap::CommandFactory;
        Arguments::command().debug_assert();
    }

    #[test]
    fn the_file_may_be_named_before_or_after_the_verb() {
        for line in [["trilane", "--config", "x.toml", "agents"], ["trilane", "agents", "--config", "x.toml"]]
        {
            assert_eq!(Arguments::parse_from(line).config, Some("x.toml".into()));
        }
    }

    #[test]
    fn a_bad_configuration_has_a_status_of_its_own() {
        let bad = Settings::new(Some("/nowhere/trilane.toml".into())).load().unwrap_err();
        assert_eq!(exit_status(&anyhow::Error::new(bad).context("while starting")), EXIT_BAD_CONFIG);
        assert_eq!(exit_status(&anyhow::anyhow!("anything else")), 1);
    }
}
