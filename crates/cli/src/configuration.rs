//! `trilane config`: whether the configuration holds, and what is in force.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use trilane_service::Config;

use crate::output::{print, print_line};
use crate::settings::Settings;

/// Checks the configuration, or shows what is in force.
#[derive(Debug, Clone, Args)]
pub struct ConfigArgs {
    #[command(subcommand)]
    verb: ConfigVerb,
}

#[derive(Debug, Clone, Subcommand)]
enum ConfigVerb {
    /// Says whether the configuration holds; ends with status 64 where it does not.
    Check {
        /// The file; left out: the one of `--config` or TRILANE_CONFIG.
        file: Option<PathBuf>,
    },
    /// Shows the default, the file and the environment put on top of each other.
    Show {
        /// Print JSON instead of TOML.
        #[arg(long)]
        json: bool,
    },
}

/// Runs `trilane config`.
///
/// # Errors
/// A configuration that does not hold, with the key at fault.
pub fn run(args: ConfigArgs, settings: &Settings) -> anyhow::Result<()> {
    match args.verb {
        ConfigVerb::Check { file } => check(file, settings),
        ConfigVerb::Show { json } => show(&settings.load()?, json),
    }
}

fn check(file: Option<PathBuf>, settings: &Settings) -> anyhow::Result<()> {
    let config = match file {
        Some(file) => Settings::new(Some(file)).load()?,
        None => settings.load()?,
    };
    let registry = &config.registry;
    print_line(&format!(
        "the configuration holds: {} lanes, {} models, {} agents, policy `{}`",
        registry.lanes.len(),
        registry.models.len(),
        registry.agents.len(),
        config.policy.version
    ))
}

fn show(config: &Config, json: bool) -> anyhow::Result<()> {
    let shown = shown(config);
    let text = toml::to_string(&shown)?;
    print(&shown, json, || text.trim_end().to_owned())
}

/// The configuration without what must not be shown. API keys are never part of it; the server's address may
/// carry a password.
fn shown(config: &Config) -> Config {
    let mut shown = config.clone();
    shown.nats.url = without_credentials(&config.nats.url);
    shown
}

/// A list of server addresses without user names and passwords.
pub(crate) fn without_credentials(urls: &str) -> String {
    let one = |url: &str| match url.split_once("://") {
        Some((scheme, rest)) => {
            format!("{scheme}://{}", rest.rsplit_once('@').map_or(rest, |(_, host)| host))
        }
        None => url.rsplit_once('@').map_or(url, |(_, host)| host).to_owned(),
    };
    urls.split(',').map(|url| one(url.trim())).collect::<Vec<_>>().join(",")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_shown_holds_no_password() {
        let variables = [("TRILANE__NATS__URL".to_owned(), "nats://me:secret@a:1,tls://b:2".to_owned())];
        let config = trilane_service::config::load_from(None, variables).unwrap();
        let text = toml::to_string(&shown(&config)).unwrap();
        assert!(text.contains("nats://a:1,tls://b:2") && !text.contains("secret"), "{text}");
    }

    #[test]
    fn a_named_file_is_checked_instead_of_the_configured_one() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "[policy]\nuntaged = \"public\"").unwrap();
        let error = check(Some(file.path().to_owned()), &Settings::default()).unwrap_err();
        assert!(error.to_string().contains("did you mean `untagged`?"), "{error}");
        assert_eq!(crate::exit_status(&error), 64);
    }
}
