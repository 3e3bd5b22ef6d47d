//! `trilane keys`: the keys of roles and producers, and what the server must know of them.

use anyhow::Context;
use clap::{Args, Subcommand};
use trilane_protocol::AgentName;
use trilane_service::Config;
use trilane_trust::Keys;

use crate::output::print_line;
use crate::up;

/// Makes the keys that roles connect and seal with. `trilane up` does so by itself; this is for servers of your own.
#[derive(Debug, Clone, Args)]
pub struct KeysArgs {
    #[command(subcommand)]
    verb: KeysVerb,
}

#[derive(Debug, Clone, Subcommand)]
enum KeysVerb {
    /// Make the keys that are missing in `security.keys`, and write the server's accounts anew.
    Init,
    /// Make the key of one producer, who may then publish as this agent and read its results, and nothing else.
    Agent {
        /// The agent.
        name: AgentName,
    },
}

/// Runs `trilane keys`.
///
/// # Errors
/// A folder that cannot be written, or holds something else.
pub fn run(args: &KeysArgs, config: &Config) -> anyhow::Result<()> {
    let keys = Keys::new(config.keys_folder());
    let (zones, is_anonymous_let_in) = (config.zones(), up::nats::lets_strangers_in(config));
    match &args.verb {
        KeysVerb::Init => {
            keys.init(&zones, is_anonymous_let_in)?;
            print_line(&keys.folder().display().to_string())?;
        }
        KeysVerb::Agent { name } => {
            let file = keys
                .add_agent(name, &zones, is_anonymous_let_in)
                .context("the keys of the roles come first: `trilane keys init`, or `trilane up` once")?;
            print_line(&file.display().to_string())?;
            eprintln!(
                "its client connects with this seed and the inbox prefix `_INBOX_AGENT.{name}`, and publishes on \
                 `tasks.{name}`; `trilane` does so with TRILANE__SECURITY__AGENT={name}"
            );
        }
    }
    match up::nats::restart(config, &keys)? {
        true => eprintln!("the server that `trilane up` has started begins anew with it; nothing is lost"),
        false => eprintln!(
            "the server is to include {}, and to be restarted: a reload does not join new accounts to old ones",
            keys.accounts_file().display()
        ),
    }
    Ok(())
}
