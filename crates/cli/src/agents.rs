//! `trilane agents`: who may publish, and what holds for each where a task does not say.

use clap::Args;
use serde::Serialize;
use trilane_protocol::{AgentName, Sensitivity};
use trilane_routing::registry::{Agent, ModelChoice, Registry};
use trilane_service::Config;

use crate::output::{self, print};

/// Lists the agents of the registry: model, sensitivity and subject of each.
#[derive(Debug, Clone, Args)]
pub struct AgentsArgs {
    /// Print JSON instead of a table.
    #[arg(long)]
    json: bool,
}

/// One agent as it is listed. System prompts are not shown: they may say what is nobody's business.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
struct Row {
    name: AgentName,
    model: String,
    sensitivity: Option<Sensitivity>,
    has_system_prompt: bool,
    subject: String,
}

/// Runs `trilane agents`.
///
/// # Errors
/// Where stdout cannot be written.
pub fn run(args: &AgentsArgs, config: &Config) -> anyhow::Result<()> {
    let rows = rows(&config.registry);
    print(&rows, args.json, || table(&rows))
}

fn rows(registry: &Registry) -> Vec<Row> {
    registry.agents.iter().map(|(name, agent)| row(name, agent)).collect()
}

fn row(name: &AgentName, agent: &Agent) -> Row {
    let model = match &agent.model {
        ModelChoice::Auto => "auto".to_owned(),
        ModelChoice::Lane(lane) => lane.to_string(),
        ModelChoice::Model(model) => model.to_string(),
    };
    Row {
        name: name.clone(),
        model,
        sensitivity: agent.sensitivity,
        has_system_prompt: agent.system_prompt.is_some(),
        subject: trilane_protocol::subjects::task(name),
    }
}

fn table(rows: &[Row]) -> String {
    let mut table = output::table(&["agent", "model", "sensitivity", "system prompt", "subject"]);
    for row in rows {
        let sensitivity = match row.sensitivity {
            Some(Sensitivity::Private) => "private",
            Some(Sensitivity::Public) => "public",
            None => "-",
        };
        let has_prompt = if row.has_system_prompt { "yes" } else { "no" };
        table.add_row([row.name.as_str(), &row.model, sensitivity, has_prompt, &row.subject]);
    }
    table.trim_fmt()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn system_prompts_are_mentioned_and_never_shown() {
        let file =
            "[agents.legal]\nmodel = \"local-deep\"\nsensitivity = \"private\"\nsystem_prompt = \"hush\"";
        let config = trilane_service::config::load_from(Some(file), []).unwrap();
        let rows = rows(&config.registry);
        let shown = table(&rows) + &serde_json::to_string(&rows).unwrap();
        assert!(shown.contains("tasks.legal") && shown.contains("local-deep"), "{shown}");
        assert!(!shown.contains("hush"), "{shown}");
    }
}
