//! `trilane dead`: what ended without an answer; read it, publish it again, or take it away.
//!
//! [`rebuild`] makes the task of a letter again, [`replay`] publishes it, [`show`] is how letters look.

mod rebuild;
mod replay;
mod show;

use std::time::Duration;

use anyhow::{Context, ensure};
use clap::{Args, Subcommand};
use jiff::Timestamp;
use trilane_broker::letters::{Letter, LettersWanted};
use trilane_broker::{Broker, Role};
use trilane_protocol::{AgentName, LaneName};
use trilane_service::Config;

pub(crate) use self::rebuild::is_security_refusal;
use crate::length::parse_length;
use crate::output::{print, print_line};

/// Letters that are listed where `--last` does not say.
const DEFAULT_LAST: usize = 50;

/// Letters that one command replays or discards at most; a second run takes the next ones.
const MAX_CHOSEN: usize = 10_000;

/// Shows dead letters, publishes them again, or takes them away.
#[derive(Debug, Clone, Args)]
pub struct DeadArgs {
    #[command(subcommand)]
    verb: DeadVerb,
    /// Print JSON.
    #[arg(long, global = true)]
    json: bool,
}

#[derive(Debug, Clone, Subcommand)]
enum DeadVerb {
    /// List letters, oldest first. Says nothing of what is in them.
    List(Filters),
    /// Show one letter.
    Show {
        /// Its sequence, as `dead list` shows it.
        sequence: u64,
        /// With the message as it came, which may be private.
        #[arg(long)]
        payload: bool,
    },
    /// Publish tasks again, under new ids. They are screened like any other; each runs once, however often it is
    /// asked for, and its letter goes once the queue has it.
    Replay {
        #[command(flatten)]
        chosen: Chosen,
        /// Say what would be done, and do nothing.
        #[arg(long)]
        dry_run: bool,
        /// Also what was refused for security's sake; as private.
        #[arg(long)]
        force: bool,
        /// Leave deadlines out.
        #[arg(long)]
        without_deadline: bool,
    },
    /// Take letters away for good.
    Discard {
        #[command(flatten)]
        chosen: Chosen,
        /// Do it; without this, letters that are not named by their sequence are counted only.
        #[arg(long)]
        yes: bool,
    },
}

/// Which letters.
#[derive(Debug, Clone, Default, Args)]
struct Filters {
    /// Of this agent.
    #[arg(long)]
    agent: Option<AgentName>,
    /// Which died on this lane, or at the `intake`.
    #[arg(long, value_name = "LANE")]
    place: Option<LaneName>,
    /// With this error code, such as poison_task.
    #[arg(long)]
    code: Option<String>,
    /// Which died within this time, such as 2h or 7d. Default: all that are kept.
    #[arg(long, value_name = "LENGTH", value_parser = parse_length)]
    since: Option<Duration>,
    /// The newest so many.
    #[arg(long, value_name = "COUNT")]
    last: Option<usize>,
}

/// Letters by their sequence, or by filters.
#[derive(Debug, Clone, Default, Args)]
struct Chosen {
    /// Sequences, as `dead list` shows them.
    #[arg(value_name = "SEQ")]
    sequences: Vec<u64>,
    /// All letters, or all that the filters leave.
    #[arg(long)]
    all: bool,
    #[command(flatten)]
    filters: Filters,
}

/// Runs `trilane dead`.
///
/// # Errors
/// No connection, no such letter, or letters that could not be replayed.
pub async fn run(args: DeadArgs, config: &Config) -> anyhow::Result<()> {
    match args.verb {
        DeadVerb::List(filters) => {
            let broker = crate::connect(config, Role::Observer).await?;
            let letters = filters.letters(&broker, DEFAULT_LAST).await?;
            if letters.is_empty() && !args.json {
                eprintln!("no dead letters");
                return Ok(());
            }
            let lines = show::lines(&letters);
            print(&lines, args.json, || show::table(&lines))
        }
        DeadVerb::Show { sequence, payload } => {
            let broker = crate::connect(config, Role::Observer).await?;
            let letter = one(&broker, sequence).await?;
            show::one(&letter, payload, args.json)
        }
        DeadVerb::Replay { chosen, dry_run, force, without_deadline } => {
            let broker = crate::connect(config, Role::Admin).await?;
            let sequences = chosen.sequences(&broker).await?;
            let options = rebuild::Options { force, without_deadline };
            replay::run(&broker, config, &sequences, options, dry_run, args.json).await
        }
        DeadVerb::Discard { chosen, yes } => {
            let broker = crate::connect(config, Role::Admin).await?;
            let sequences = chosen.sequences(&broker).await?;
            discard(&broker, &chosen, &sequences, yes, args.json).await
        }
    }
}

async fn one(broker: &Broker, sequence: u64) -> anyhow::Result<Letter> {
    let letter = broker.letter(sequence).await?;
    letter.with_context(|| {
        format!("there is no dead letter {sequence}; `trilane dead list` shows those there are")
    })
}

async fn discard(
    broker: &Broker,
    chosen: &Chosen,
    sequences: &[u64],
    yes: bool,
    json: bool,
) -> anyhow::Result<()> {
    ensure!(
        yes || !chosen.sequences.is_empty(),
        "letters that would be gone for good: {}; add `--yes` to do it",
        sequences.len()
    );
    for sequence in sequences {
        if !chosen.sequences.is_empty() {
            one(broker, *sequence).await?;
        }
        broker.discard(*sequence).await?;
    }
    if json {
        return print_line(&serde_json::json!({ "discarded": sequences }).to_string());
    }
    eprintln!("letters that are gone: {}", sequences.len());
    Ok(())
}

impl Filters {
    /// The letters that they leave, the newest `default` where `--last` does not say.
    async fn letters(&self, broker: &Broker, default: usize) -> anyhow::Result<Vec<Letter>> {
        let wanted = LettersWanted {
            agent: self.agent.as_ref(),
            place: self.place.as_ref().map(LaneName::as_str),
            code: self.code.as_deref(),
            since: self.since.map(|length| Timestamp::now().checked_sub(length).unwrap_or(Timestamp::MIN)),
        };
        Ok(broker.letters(wanted, self.last.unwrap_or(default)).await?)
    }

    fn is_any_set(&self) -> bool {
        let Self { agent, place, code, since, last } = self;
        agent.is_some() || place.is_some() || code.is_some() || since.is_some() || last.is_some()
    }
}

impl Chosen {
    /// # Errors
    /// Where nothing is chosen, or in two ways at once.
    fn check(&self) -> anyhow::Result<()> {
        let by_filter = self.all || self.filters.is_any_set();
        match (self.sequences.is_empty(), by_filter) {
            (true, false) => {
                anyhow::bail!("name letters by their sequence, or choose with `--all` or filters")
            }
            (false, true) => anyhow::bail!("name letters by their sequence or choose with filters, not both"),
            _ => Ok(()),
        }
    }

    async fn sequences(&self, broker: &Broker) -> anyhow::Result<Vec<u64>> {
        self.check()?;
        if !self.sequences.is_empty() {
            return Ok(self.sequences.clone());
        }
        let letters = self.filters.letters(broker, MAX_CHOSEN).await?;
        Ok(letters.iter().map(|letter| letter.sequence).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn letters_are_chosen_in_exactly_one_way() {
        let by_code = Filters { code: Some("poison_task".into()), ..Filters::default() };
        let chosen = |sequences: &[u64], all, filters: &Filters| {
            Chosen { sequences: sequences.to_vec(), all, filters: filters.clone() }.check().is_ok()
        };
        assert!(chosen(&[1], false, &Filters::default()));
        assert!(chosen(&[], true, &Filters::default()));
        assert!(chosen(&[], true, &by_code) && chosen(&[], false, &by_code));
        assert!(!chosen(&[], false, &Filters::default()));
        assert!(!chosen(&[1], true, &Filters::default()) && !chosen(&[1], false, &by_code));
    }
}
